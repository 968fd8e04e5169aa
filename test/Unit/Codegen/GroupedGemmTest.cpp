//===- GroupedGemmTest.cpp - Grouped GEMMs at every level -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <random>

#include <sys/syscall.h>
#include <unistd.h>

using namespace moe_test;

namespace {

float fromBf16(uint16_t bits) {
  uint32_t word = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

uint16_t toBf16(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  return (word + 0x7fff + ((word >> 16) & 1)) >> 16;
}

/// A kernel argument: the address of a buffer.
Arg arg(const void *ptr) { return Arg(reinterpret_cast<int64_t>(ptr)); }

/// Compiles a module, once per text.
const Kernels *compile(const std::string &text) {
  static std::map<std::string, std::unique_ptr<Kernels>> known;
  auto [entry, isNew] = known.try_emplace(text);
  if (isNew) {
    std::string diagnostics;
    entry->second = Kernels::compile(text, diagnostics);
    EXPECT_TRUE(entry->second) << diagnostics;
  }
  return entry->second.get();
}

/// Asks the operating system for the tile registers.
bool machineHasAmx() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  static const bool granted =
      syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return __builtin_cpu_supports("x86-64-v4") &&
         __builtin_cpu_supports("amx-bf16") && granted;
}

bool machineRuns(int level) {
  if (level == MOERT_ISA_AMX)
    return machineHasAmx();
  return level == MOERT_ISA_AVX2 ? __builtin_cpu_supports("x86-64-v3")
                                 : __builtin_cpu_supports("x86-64-v4");
}

/// Values of f32 or bf16, as doubles and as bytes in a guarded buffer.
struct Values {
  bool bf16;
  std::vector<double> value;
  std::vector<char> bytes;

  Values(bool bf16, size_t count) : bf16(bf16), value(count) {
    bytes.resize(count * width() + kGuard, char(0xab));
  }
  size_t width() const { return bf16 ? 2 : 4; }
  void set(size_t i, float x) {
    if (bf16) {
      uint16_t bits = toBf16(x);
      std::memcpy(&bytes[i * 2], &bits, 2);
      value[i] = fromBf16(bits);
    } else {
      std::memcpy(&bytes[i * 4], &x, 4);
      value[i] = x;
    }
  }
  double get(size_t i) const {
    if (bf16) {
      uint16_t bits;
      std::memcpy(&bits, &bytes[i * 2], 2);
      return fromBf16(bits);
    }
    float x;
    std::memcpy(&x, &bytes[i * 4], 4);
    return x;
  }
  static constexpr size_t kGuard = 256;
  bool guardIntact() const {
    for (size_t i = bytes.size() - kGuard; i < bytes.size(); ++i)
      if (bytes[i] != char(0xab))
        return false;
    return true;
  }
};

Values randomValues(std::mt19937 &rng, bool bf16, size_t count, float scale) {
  std::normal_distribution<float> normal(0, scale);
  Values result(bf16, count);
  for (size_t i = 0; i < count; ++i)
    result.set(i, normal(rng));
  return result;
}

/// `parts` weights [experts][n][k] in layout `panels` of Plan.fbs.
std::vector<char> packPanels(const std::vector<Values> &parts, int experts,
                             int n, int k) {
  bool bf16 = parts[0].bf16;
  int numParts = parts.size(), tile = bf16 ? 32 : 1, inner = bf16 ? 2 : 1;
  int columns = 32 / numParts, panels = (n + columns - 1) / columns;
  int kPadded = (k + tile - 1) / tile * tile;
  Values packed(bf16, size_t(experts) * panels * kPadded * 32);
  size_t at = 0;
  for (int e = 0; e < experts; ++e)
    for (int p = 0; p < panels; ++p)
      for (int k0 = 0; k0 < kPadded; k0 += tile)
        for (int t = 0; t < 2; ++t)
          for (int k1 = 0; k1 < tile; k1 += inner)
            for (int c = 0; c < 16; ++c)
              for (int k2 = 0; k2 < inner; ++k2) {
                int column = (p * (2 / numParts) + t / numParts) * 16 + c;
                int channel = k0 + k1 + k2;
                float value = 0;
                if (column < n && channel < k)
                  value = parts[t % numParts]
                              .value[(size_t(e) * n + column) * k + channel];
                packed.set(at++, value);
              }
  return packed.bytes;
}

struct Shape {
  int hidden, inner;
  std::vector<int> rows; // per expert
  bool bf16;
  // Rows are multiplied by their weight, products have a bias.
  bool extras = false;
};

const char *kActivation = R"(
    ^bb0(%g: f32, %u: f32):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %g : f32
      %exp = math.exp %neg : f32
      %sum = arith.addf %one, %exp : f32
      %silu = arith.divf %g, %sum : f32
      %h = arith.mulf %silu, %u : f32
      moe.yield %h : f32
)";

/// Kernels `pack`, `up`, `down` of a gated FFN, and `gate`: the first half of
/// `up` as rows of f32.
std::string moduleText(const Shape &shape, bool emulate) {
  std::string type = shape.bf16 ? "bf16" : "f32";
  std::string m = "memref<?x", i8 = m + "i8>", i32 = m + "i32>",
              rows = m + type + ">";
  std::string experts =
      "experts = " + std::to_string(shape.rows.size()) + " : i64, ";
  // The second bias is f32 whatever the first is.
  std::string f32 = m + "f32>", oneBias = " biases(%b : " + rows + ")",
              twoBiases = " biases(%b, %d : " + rows + ", " + f32 + ")";
  auto gemm = [&](const std::string &name, const std::string &out, int n, int k,
                  int parts, const std::string &rowType,
                  const std::string &region) {
    std::string biases = parts == 2 ? twoBiases : oneBias;
    return "plan.kernel @" + name + "(%a: " + i8 + ", %w: " + i8 +
           ", %o: " + i32 + ", %b: " + rows + ", %d: " + f32 + ", %c: " + out +
           ") { moe.kernel.grouped_gemm ins(%a, %w, %o : " + i8 + ", " + i8 +
           ", " + i32 + ")" + (shape.extras ? biases : "") +
           " outs(%c : " + out + ") attributes {" + experts +
           "n = " + std::to_string(n) + " : i64, k = " + std::to_string(k) +
           " : i64, parts = " + std::to_string(parts) +
           " : i64, weight_type = " + type + ", row_type = " + rowType + "} {" +
           region + "} }\n";
  };
  std::string text = emulate ? "module attributes {moe.emulate_amx}" : "module";
  text += " {\nplan.kernel @pack(%x: " + rows + ", %t: " + i32 +
          ", %o: " + i32 + ", %s: " + f32 + ", %p: " + i8 +
          ") { moe.kernel.pack_rows ins(%x, %t, %o : " + rows + ", " + i32 +
          ", " + i32 + ")" +
          (shape.extras ? " weights(%s : " + f32 + ")" : "") +
          " outs(%p : " + i8 + ") {" + experts +
          "hidden = " + std::to_string(shape.hidden) +
          " : i64, weight_type = " + type + "} }\n";
  text += gemm("up", i8, shape.inner, shape.hidden, 2, type, kActivation);
  text += gemm("down", rows, shape.hidden, shape.inner, 1, type, "");
  text += gemm("gate", m + "f32>", shape.inner, shape.hidden, 1, "f32", "");
  return text + "}\n";
}

/// Inputs and expected outputs of one shape.
struct Problem {
  Shape shape;
  int experts, tokens = 29, total = 0, blocks = 0;
  std::vector<int32_t> offsets, rowToken;
  Values x, gate, up, down, rowWeight, gateBias, upBias, downBias;
  std::vector<char> gateUpPanels, gatePanels, downPanels;
  std::vector<double> expectedGate, expected;

  Problem(const Shape &shape, unsigned seed)
      : shape(shape), experts(shape.rows.size()), x(shape.bf16, 0),
        gate(shape.bf16, 0), up(shape.bf16, 0), down(shape.bf16, 0),
        rowWeight(false, 0), gateBias(shape.bf16, 0), upBias(false, 0),
        downBias(shape.bf16, 0) {
    std::mt19937 rng(seed);
    offsets.push_back(0);
    for (int rows : shape.rows) {
      total += rows;
      blocks += (rows + 15) / 16;
      offsets.push_back(total);
    }
    for (int r = 0; r < total; ++r)
      rowToken.push_back(rng() % tokens);
    size_t h = shape.hidden, f = shape.inner;
    x = randomValues(rng, shape.bf16, tokens * h, 1);
    gate = randomValues(rng, shape.bf16, experts * f * h, 1 / std::sqrt(h));
    up = randomValues(rng, shape.bf16, experts * f * h, 1 / std::sqrt(h));
    down = randomValues(rng, shape.bf16, experts * f * h, 1 / std::sqrt(f));
    rowWeight = randomValues(rng, false, total, 1);
    gateBias = randomValues(rng, shape.bf16, experts * f, 1);
    upBias = randomValues(rng, false, experts * f, 1);
    downBias = randomValues(rng, shape.bf16, experts * h, 1);
    gateUpPanels = packPanels({gate, up}, experts, f, h);
    gatePanels = packPanels({gate}, experts, f, h);
    downPanels = packPanels({down}, experts, h, f);
    compute();
  }

  void compute() {
    int h = shape.hidden, f = shape.inner;
    for (int e = 0; e < experts; ++e)
      for (int r = offsets[e]; r < offsets[e + 1]; ++r) {
        const double *token = &x.value[size_t(rowToken[r]) * h];
        std::vector<double> row(token, token + h);
        for (double &value : row)
          if (shape.extras) {
            value *= rowWeight.value[r];
            value = shape.bf16 ? fromBf16(toBf16(value)) : value;
          }
        auto dot = [&](const Values &weight, const Values &bias, int n, int k,
                       int column, const double *from) {
          const double *w = &weight.value[(size_t(e) * n + column) * k];
          double sum = shape.extras ? bias.value[size_t(e) * n + column] : 0;
          for (int i = 0; i < k; ++i)
            sum += from[i] * w[i];
          return sum;
        };
        std::vector<double> inner(f);
        for (int c = 0; c < f; ++c) {
          double g = dot(gate, gateBias, f, h, c, row.data());
          expectedGate.push_back(g);
          double value =
              g / (1 + std::exp(-g)) * dot(up, upBias, f, h, c, row.data());
          inner[c] = shape.bf16 ? fromBf16(toBf16(value)) : value;
        }
        for (int c = 0; c < h; ++c)
          expected.push_back(dot(down, downBias, h, f, c, inner.data()));
      }
  }

  size_t packedBytes(int channels) const {
    return size_t(blocks) * 16 * ((channels + 31) / 32 * 32) * 4;
  }
};

struct Outputs {
  Values rows, gate;
  std::vector<char> packed, inner;
};

Outputs runAll(const Kernels &kernels, const Problem &p, int level,
               int workers) {
  Outputs out{
      Values(p.shape.bf16, size_t(p.total) * p.shape.hidden),
      Values(false, size_t(p.total) * p.shape.inner),
      std::vector<char>(p.packedBytes(p.shape.hidden) + 256, char(0xff)),
      std::vector<char>(p.packedBytes(p.shape.inner) + 256, char(0xff))};
  const int32_t *offsets = p.offsets.data();
  EXPECT_EQ(
      kernels.run("pack", level, workers,
                  {arg(p.x.bytes.data()), arg(p.rowToken.data()), arg(offsets),
                   arg(p.rowWeight.bytes.data()), arg(out.packed.data())},
                  workers > 1),
      0);
  EXPECT_EQ(kernels.run("up", level, workers,
                        {arg(out.packed.data()), arg(p.gateUpPanels.data()),
                         arg(offsets), arg(p.gateBias.bytes.data()),
                         arg(p.upBias.bytes.data()), arg(out.inner.data())},
                        workers > 1),
            0);
  EXPECT_EQ(
      kernels.run("down", level, workers,
                  {arg(out.inner.data()), arg(p.downPanels.data()),
                   arg(offsets), arg(p.downBias.bytes.data()),
                   arg(p.upBias.bytes.data()), arg(out.rows.bytes.data())},
                  workers > 1),
      0);
  EXPECT_EQ(
      kernels.run("gate", level, workers,
                  {arg(out.packed.data()), arg(p.gatePanels.data()),
                   arg(offsets), arg(p.gateBias.bytes.data()),
                   arg(p.upBias.bytes.data()), arg(out.gate.bytes.data())},
                  workers > 1),
      0);
  EXPECT_TRUE(out.rows.guardIntact());
  EXPECT_TRUE(out.gate.guardIntact());
  return out;
}

/// Relative Frobenius error.
double relativeError(const Values &got, const std::vector<double> &want) {
  double difference = 0, norm = 1e-30;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(got.get(i) - want[i], 2);
    norm += want[i] * want[i];
  }
  return std::sqrt(difference / norm);
}

const std::vector<std::vector<int>> kRows = {
    {0, 1, 15, 16, 17}, {33, 0, 2, 7, 0}, {0, 0, 0, 0, 0}, {150, 3, 0, 9, 5}};

std::vector<Shape> shapes() {
  std::vector<Shape> result;
  for (bool bf16 : {false, true}) {
    for (const std::vector<int> &rows : kRows)
      result.push_back({40, 56, rows, bf16});
    result.push_back({320, 200, {0, 21}, bf16});
    result.push_back({64, 1, {17, 2}, bf16});
    result.push_back({1, 33, {3}, bf16});
    for (const std::vector<int> &rows : kRows)
      result.push_back({40, 56, rows, bf16, /*extras=*/true});
    result.push_back({320, 192, {0, 21}, bf16, /*extras=*/true});
    result.push_back({65, 1, {17, 2}, bf16, /*extras=*/true});
    result.push_back({1, 33, {3}, bf16, /*extras=*/true});
  }
  return result;
}

class GroupedGemm : public ::testing::TestWithParam<int> {};

TEST_P(GroupedGemm, MatchesDoublePrecision) {
  Shape shape = shapes()[GetParam()];
  Problem problem(shape, /*seed=*/GetParam() + 1);
  const Kernels *native = compile(moduleText(shape, /*emulate=*/false));
  // Without bf16 there is nothing to emulate.
  const Kernels *emulated =
      shape.bf16 ? compile(moduleText(shape, /*emulate=*/true)) : native;
  ASSERT_TRUE(native && emulated);

  std::unique_ptr<Outputs> nativeAmx;
  for (int run = 0; run < 4; ++run) {
    bool emulate = run == 3;
    int level = emulate ? int(MOERT_ISA_AMX) : run;
    const Kernels &kernels = emulate ? *emulated : *native;
    if ((level == MOERT_ISA_AMX && !shape.bf16) ||
        !machineRuns(emulate ? int(MOERT_ISA_AVX2) : level))
      continue;
    SCOPED_TRACE("level " + std::to_string(level) +
                 (emulate ? ", emulated" : ""));
    Outputs one = runAll(kernels, problem, level, 1);
    EXPECT_LT(relativeError(one.gate, problem.expectedGate), 2e-6);
    EXPECT_LT(relativeError(one.rows, problem.expected),
              shape.bf16 ? 4e-3 : 2e-6);
    for (int workers : {2, 3}) {
      Outputs many = runAll(kernels, problem, level, workers);
      EXPECT_EQ(one.packed, many.packed);
      EXPECT_EQ(one.inner, many.inner);
      EXPECT_EQ(one.rows.bytes, many.rows.bytes);
      EXPECT_EQ(one.gate.bytes, many.gate.bytes);
    }
    if (level != MOERT_ISA_AMX)
      continue;
    if (!emulate) {
      nativeAmx = std::make_unique<Outputs>(one);
    } else if (nativeAmx) {
      // Native and emulated tiles give the same bits.
      EXPECT_EQ(one.inner, nativeAmx->inner);
      EXPECT_EQ(one.rows.bytes, nativeAmx->rows.bytes);
      EXPECT_EQ(one.gate.bytes, nativeAmx->gate.bytes);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GroupedGemm,
                         ::testing::Range(0, int(shapes().size())));

/// Code of every level runs in one way or the other; the log says in which.
TEST(GroupedGemmLevels, AllRun) {
  bool v3 = machineRuns(MOERT_ISA_AVX2);
  for (int level = 0; level < MOERT_ISA_COUNT; ++level) {
    bool native = machineRuns(level), emulated = level == MOERT_ISA_AMX && v3;
    printf("level %s: %s%s%s\n", levelName(level), native ? "native" : "",
           native && emulated ? " and " : "", emulated ? "emulated" : "");
    // No test emulates AVX-512: a machine without it cannot judge its code.
    if (level != MOERT_ISA_AVX512 || native) {
      EXPECT_TRUE(native || emulated) << levelName(level);
    } else {
      printf("level %s: not run, this machine has no AVX-512\n",
             levelName(level));
    }
  }
}

/// A row's bits are those of the row alone in its expert, whatever number of
/// rows stands beside it.
TEST(GroupedGemmStrict, RowsDoNotSeeTheBatch) {
  for (bool bf16 : {false, true}) {
    Shape shape{72, 48, {37}, bf16, /*extras=*/true};
    Problem all(shape, /*seed=*/99);
    const Kernels *kernels = compile(moduleText(shape, /*emulate=*/false));
    ASSERT_TRUE(kernels);
    for (int level = 0; level < MOERT_ISA_COUNT; ++level) {
      if ((level == MOERT_ISA_AMX && !bf16) || !machineRuns(level))
        continue;
      Outputs batch = runAll(*kernels, all, level, 2);
      for (int row : {0, 9, 16, 31, 36}) {
        Problem single = all;
        single.total = 1;
        single.blocks = 1;
        single.offsets = {0, 1};
        single.rowToken = {all.rowToken[row]};
        single.rowWeight.set(0, all.rowWeight.value[row]);
        Outputs alone = runAll(*kernels, single, level, 1);
        size_t bytes = shape.hidden * batch.rows.width();
        EXPECT_EQ(std::memcmp(&batch.rows.bytes[row * bytes],
                              alone.rows.bytes.data(), bytes),
                  0)
            << "row " << row << " at level " << level;
      }
    }
  }
}

/// Rows and channels of padding are zero, so that no garbage is multiplied.
TEST(GroupedGemmPadding, IsZero) {
  Shape shape{40, 24, {5}, /*bf16=*/false, /*extras=*/true};
  Problem problem(shape, /*seed=*/7);
  const Kernels *kernels = compile(moduleText(shape, /*emulate=*/false));
  ASSERT_TRUE(kernels);
  for (int level : {MOERT_ISA_AVX2, MOERT_ISA_AVX512}) {
    if (!machineRuns(level))
      continue;
    Outputs out = runAll(*kernels, problem, level, 2);
    auto check = [&](const std::vector<char> &packed, int channels) {
      int padded = (channels + 31) / 32 * 32;
      for (int c = 0; c < padded; ++c)
        for (int r = 0; r < 16; ++r) {
          float value;
          std::memcpy(&value, &packed[(c * 16 + r) * 4], 4);
          if (c >= channels || r >= 5) {
            EXPECT_EQ(value, 0) << "channel " << c << ", row " << r;
          } else {
            EXPECT_TRUE(std::isfinite(value));
          }
        }
    };
    check(out.packed, shape.hidden);
    check(out.inner, shape.inner);
  }
}

} // namespace
