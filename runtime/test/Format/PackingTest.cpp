//===- PackingTest.cpp - Tests of packing recipes -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <thread>

using namespace moert;
using namespace moert::test;

namespace {

/// One source of a recipe, by the definition in Plan.fbs.
struct Recipe {
  fb::DType dtype = fb::DType::F32;
  int64_t experts = 1, n = 1, k = 1;
  uint64_t parts = 1;
  bool stack = false;  // one tensor per expert
  bool matrix = false; // [n][k] without a leading dimension
  bool transpose = false;
  int64_t sliceStep = 1; // part p takes rows p, p + step, ... of step * n
  uint32_t kTile = 1, kInner = 1;
  fb::Layout layout = fb::Layout::Panels;
};

/// Builds a checkpoint and a plan for a recipe, packs, and compares each
/// element with a direct reading of the documented formula.
class Packing : public testing::Test {
protected:
  void check(const Recipe &r) {
    const uint64_t size = r.dtype == fb::DType::F32 ? 4 : 2;
    const DType type = checkpointType(r.dtype);
    fb::PlanT plan;
    plan.format_major = 1;
    std::vector<TensorSpec> specs;
    // As stored: rows before slicing and before transposing.
    const int64_t rows = r.n * r.sliceStep;
    std::vector<int64_t> matrix = {rows, r.k};
    if (r.transpose)
      matrix = {r.k, rows};
    auto constant = std::make_unique<fb::ConstantT>();
    constant->name = "c";
    constant->layout = r.layout;
    constant->dtype = r.dtype;
    constant->k_tile = r.kTile;
    constant->k_inner = r.kInner;
    for (uint64_t p = 0; p < r.parts; ++p) {
      auto w = std::make_unique<fb::WeightT>();
      w->name = "w" + std::to_string(p);
      w->dtype = r.dtype;
      w->stack = r.stack;
      w->transpose = r.transpose;
      w->shape = r.matrix ? std::vector<int64_t>{r.n, r.k}
                          : std::vector<int64_t>{r.experts, r.n, r.k};
      w->source_shape = matrix;
      if (!r.stack && !r.matrix)
        w->source_shape.insert(w->source_shape.begin(), r.experts);
      if (r.sliceStep > 1) {
        w->slice_dim = static_cast<int32_t>(w->source_shape.size()) -
                       (r.transpose ? 1 : 2);
        w->slice_begin = p;
        w->slice_end = rows;
        w->slice_step = r.sliceStep;
      }
      // Interleaved parts share their sources.
      std::string base = r.sliceStep > 1 ? "t" : "t" + std::to_string(p);
      for (int64_t e = 0; e < (r.stack ? r.experts : 1); ++e) {
        std::string name = base + "." + std::to_string(e);
        w->sources.push_back(name);
        if (r.sliceStep == 1 || p == 0)
          specs.push_back({name, type, w->source_shape});
      }
      constant->weights.push_back(p);
      plan.weights.push_back(std::move(w));
    }
    plan.constants.push_back(std::move(constant));

    std::string path = folder.file("model.safetensors");
    std::map<std::string, std::string> contents;
    auto writer = SafetensorsWriter::create(path, specs);
    ASSERT_TRUE(writer.ok());
    for (const TensorSpec &spec : specs) {
      std::string bytes(*shapeBytes(spec.shape, size), '\0');
      for (char &c : bytes)
        c = static_cast<char>(random());
      ASSERT_TRUE(writer->write(bytes.data(), bytes.size()).ok());
      contents[spec.name] = bytes;
    }
    ASSERT_TRUE(writer->finish().ok());
    auto checkpoint = Checkpoint::open(folder.path);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().toString();

    std::string planBytes = packPlan(std::move(plan));
    const fb::Plan *read = fb::GetPlan(planBytes.data());
    ASSERT_TRUE(verifyPlan(*read).ok()) << verifyPlan(*read).toString();
    const fb::Constant &c = *read->constants()->Get(0);
    std::string packed(c.bytes() + 64, '\x5a');
    ParallelFor threads = [](int64_t count,
                             const std::function<void(int64_t)> &body) {
      std::thread other([&] {
        for (int64_t i = 1; i < count; i += 2)
          body(i);
      });
      for (int64_t i = 0; i < count; i += 2)
        body(i);
      other.join();
    };
    auto *target = reinterpret_cast<uint8_t *>(packed.data());
    Status status = packConstant(*read, c, **checkpoint, target, threads);
    ASSERT_TRUE(status.ok()) << status.toString();

    // In pieces the bytes are the same.
    const uint64_t pieces = packingPieces(*read, c);
    std::string whole;
    for (uint64_t begin = 0, end; begin < pieces; begin = end) {
      end = std::min<uint64_t>(begin + 2, pieces);
      std::string some((end - begin) * (c.bytes() / pieces), '\x5b');
      ASSERT_TRUE(packPieces(*read, c, **checkpoint, begin, end,
                             reinterpret_cast<uint8_t *>(some.data()))
                      .ok());
      whole += some;
    }
    ASSERT_EQ(whole, packed.substr(0, c.bytes()));

    // The formulas of Plan.fbs, element by element.
    uint64_t at = 0;
    auto next = [&](int64_t e, int64_t part, int64_t column, int64_t k) {
      std::string expected(size, '\0');
      if (column < r.n && k < r.k) {
        int64_t row = r.sliceStep > 1 ? part + column * r.sliceStep : column;
        int64_t index = r.transpose ? k * rows + row : row * r.k + k;
        if (!r.stack)
          index += e * rows * r.k;
        std::string name =
            (r.sliceStep > 1 ? "t" : "t" + std::to_string(part)) + "." +
            std::to_string(r.stack ? e : 0);
        expected = contents[name].substr(index * size, size);
      }
      ASSERT_EQ(packed.substr(at, size), expected)
          << "expert " << e << " part " << part << " column " << column << " k "
          << k;
      at += size;
    };
    if (r.layout == fb::Layout::Rows)
      forEachOfRows(r, next);
    else
      forEachOfPanels(r, next);
    EXPECT_EQ(at, c.bytes());
    EXPECT_EQ(packed.substr(at), std::string(64, '\x5a')) << "wrote past it";
  }

  using Next = std::function<void(int64_t, int64_t, int64_t, int64_t)>;
  static void forEachOfPanels(const Recipe &r, const Next &next) {
    const int64_t tiles = 2, parts = r.parts;
    const int64_t panels = (r.n + 32 / parts - 1) / (32 / parts);
    const int64_t kTiles = (r.k + r.kTile - 1) / r.kTile;
    for (int64_t e = 0; e < r.experts; ++e)
      for (int64_t p = 0; p < panels; ++p)
        for (int64_t kt = 0; kt < kTiles; ++kt)
          for (int64_t t = 0; t < tiles; ++t)
            for (int64_t ko = 0; ko < int64_t(r.kTile / r.kInner); ++ko)
              for (int64_t lane = 0; lane < 16; ++lane)
                for (int64_t ki = 0; ki < int64_t(r.kInner); ++ki)
                  next(e, t % parts, (p * (2 / parts) + t / parts) * 16 + lane,
                       kt * r.kTile + ko * r.kInner + ki);
  }
  static void forEachOfRows(const Recipe &r, const Next &next) {
    const int64_t kEnd = (r.k + r.kTile - 1) / r.kTile * r.kTile;
    for (int64_t e = 0; e < r.experts; ++e)
      for (int64_t group = 0; group < (r.n + 7) / 8; ++group)
        for (int64_t part = 0; part < int64_t(r.parts); ++part)
          for (int64_t row = 0; row < 8; ++row)
            for (int64_t k = 0; k < kEnd; ++k)
              next(e, part, group * 8 + row, k);
  }

  TemporaryFolder folder;
};

Recipe bf16(int64_t e, int64_t n, int64_t k) {
  Recipe r;
  r.dtype = fb::DType::BF16;
  r.experts = e;
  r.n = n;
  r.k = k;
  r.kTile = 32;
  r.kInner = 2;
  return r;
}

Recipe rows(fb::DType dtype, int64_t e, int64_t n, int64_t k) {
  Recipe r;
  r.dtype = dtype;
  r.experts = e;
  r.n = n;
  r.k = k;
  r.kTile = dtype == fb::DType::F32 ? 4 : 8;
  r.layout = fb::Layout::Rows;
  return r;
}

Recipe f32(int64_t e, int64_t n, int64_t k) {
  Recipe r;
  r.experts = e;
  r.n = n;
  r.k = k;
  return r;
}

} // namespace

TEST_F(Packing, OnePart) {
  for (Recipe r : {bf16(1, 32, 32), bf16(3, 40, 56), bf16(2, 17, 33),
                   bf16(1, 1, 1), bf16(2, 100, 65), f32(1, 32, 32),
                   f32(3, 40, 56), f32(2, 17, 33), f32(1, 1, 1), f32(5, 31, 7)})
    check(r);
}

TEST_F(Packing, StackedTensors) {
  for (Recipe r : {bf16(3, 40, 56), f32(4, 33, 5)}) {
    r.stack = true;
    check(r);
  }
}

TEST_F(Packing, PlainMatrix) {
  for (Recipe r : {bf16(1, 40, 56), f32(1, 33, 5)}) {
    r.matrix = true;
    check(r);
  }
}

TEST_F(Packing, TwoParts) {
  for (Recipe r : {bf16(2, 16, 32), bf16(3, 40, 56), f32(3, 40, 56),
                   f32(2, 17, 3), bf16(1, 15, 31)})
    for (bool stack : {false, true}) {
      r.parts = 2;
      r.stack = stack;
      check(r);
    }
}

TEST_F(Packing, Transposed) {
  for (Recipe r : {bf16(2, 40, 56), f32(3, 17, 33)})
    for (uint64_t parts : {1, 2}) {
      r.transpose = true;
      r.parts = parts;
      check(r);
    }
}

TEST_F(Packing, InterleavedParts) {
  for (Recipe r : {bf16(2, 40, 56), f32(3, 17, 33)})
    for (bool transpose : {false, true}) {
      r.parts = 2;
      r.sliceStep = 2;
      r.transpose = transpose;
      check(r);
    }
}

TEST_F(Packing, EmptySizes) {
  check(bf16(0, 40, 56));
  check(bf16(2, 0, 56));
  check(bf16(2, 40, 0));
}

TEST_F(Packing, Rows) {
  for (fb::DType type : {fb::DType::F32, fb::DType::BF16, fb::DType::F16})
    for (uint64_t parts : {1, 2})
      for (auto [e, n, k] : {std::make_tuple(1, 8, 8),
                             {3, 40, 56},
                             {2, 17, 33},
                             {1, 1, 1},
                             {5, 31, 7},
                             {0, 8, 8},
                             {2, 0, 8},
                             {2, 8, 0}})
        for (bool transpose : {false, true}) {
          Recipe r = rows(type, e, n, k);
          r.parts = parts;
          r.transpose = transpose;
          check(r);
          r.stack = e > 0;
          check(r);
          r.kTile *= 3;
          r.matrix = e == 1;
          r.stack = false;
          check(r);
          if (parts == 2 && n > 0) {
            r.sliceStep = 2;
            check(r);
          }
        }
}

TEST_F(Packing, RowMajorSliceAndTranspose) {
  fb::PlanT plan;
  plan.format_major = 1;
  auto w = std::make_unique<fb::WeightT>();
  w->name = "w";
  w->sources = {"t"};
  w->source_shape = {3, 6, 4};
  w->slice_dim = 1;
  w->slice_begin = 1;
  w->slice_end = 6;
  w->slice_step = 2;
  w->transpose = true;
  w->shape = {3, 4, 3};
  plan.weights.push_back(std::move(w));
  auto constant = std::make_unique<fb::ConstantT>();
  constant->name = "c";
  constant->weights = {0};
  plan.constants.push_back(std::move(constant));
  std::vector<float> t = randomFloats(72, 5);
  auto writer = SafetensorsWriter::create(folder.file("m.safetensors"),
                                          {{"t", DType::F32, {3, 6, 4}}});
  ASSERT_TRUE(writer->write(t.data(), 288).ok() && writer->finish().ok());
  auto checkpoint = Checkpoint::open(folder.path);
  ASSERT_TRUE(checkpoint.ok());
  std::string bytes = packPlan(std::move(plan));
  const fb::Plan *read = fb::GetPlan(bytes.data());
  ASSERT_TRUE(verifyPlan(*read).ok()) << verifyPlan(*read).toString();
  std::vector<float> out(36);
  const fb::Constant &c = *read->constants()->Get(0);
  ASSERT_EQ(packingPieces(*read, c), 3u);
  for (uint64_t piece = 0; piece < 3; ++piece)
    ASSERT_TRUE(packPieces(*read, c, **checkpoint, piece, piece + 1,
                           reinterpret_cast<uint8_t *>(&out[12 * piece]))
                    .ok());
  for (int e = 0; e < 3; ++e)
    for (int j = 0; j < 4; ++j)
      for (int i = 0; i < 3; ++i)
        EXPECT_EQ(out[(e * 4 + j) * 3 + i], t[(e * 6 + 1 + 2 * i) * 4 + j]);
}

TEST_F(Packing, PackedFileHoldsTheSameBytes) {
  writeWeights(folder.path, 3);
  auto checkpoint = Checkpoint::open(folder.path);
  ASSERT_TRUE(checkpoint.ok());
  std::string bytes = packPlan(makePlan());
  const fb::Plan *plan = fb::GetPlan(bytes.data());
  std::string path = folder.file("p.weights.safetensors");
  Status status = writePackedWeights(*plan, **checkpoint, path);
  ASSERT_TRUE(status.ok()) << status.toString();
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->metadata().at("layout"), "moe.packed/1");
  EXPECT_EQ((*file)->metadata().at("fingerprint"), plan->fingerprint()->str());
  for (const fb::Constant *constant : *plan->constants()) {
    std::string expected(constant->bytes(), '\0');
    ASSERT_TRUE(packConstant(*plan, *constant, **checkpoint,
                             reinterpret_cast<uint8_t *>(expected.data()))
                    .ok());
    const TensorEntry *entry = (*file)->find(constant->name()->string_view());
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->offset % 4096, 0u);
    EXPECT_EQ(std::memcmp(entry->data, expected.data(), expected.size()), 0);
  }
}

TEST_F(Packing, MismatchNamesTensorsAndShapes) {
  auto writer = SafetensorsWriter::create(folder.file("model.safetensors"),
                                          {{"w0", DType::BF16, {40, 4}}});
  std::string zeros(320, '\0');
  ASSERT_TRUE(writer->write(zeros.data(), 320).ok() && writer->finish().ok());
  auto checkpoint = Checkpoint::open(folder.path);
  ASSERT_TRUE(checkpoint.ok());
  std::string bytes = packPlan(makePlan());
  Status status = matchCheckpoint(*fb::GetPlan(bytes.data()), **checkpoint);
  EXPECT_EQ(status.toString(),
            "error[MOE0402]: 2 tensors do not match this artifact: tensor "
            "'w0' is BF16 [40, 4], needed is F32 [40, 5]; tensor 'bias' is "
            "missing\n --> " +
                folder.path +
                "\nbecause the artifact was compiled for other weights\n"
                "fix: give the checkpoint it was compiled from with "
                "--weights=DIR, or compile again\n");
}

TEST(Fingerprint, DependsOnEverything) {
  auto of = [](const char *name, DType type, std::vector<int64_t> shape) {
    FingerprintBuilder builder;
    builder.add(name, type, shape, *shapeBytes(shape, byteSize(type)));
    return builder.finish();
  };
  std::string base = of("a", DType::F32, {2, 3});
  EXPECT_EQ(base.size(), 16u);
  EXPECT_EQ(base, of("a", DType::F32, {2, 3}));
  EXPECT_NE(base, of("b", DType::F32, {2, 3}));
  EXPECT_NE(base, of("a", DType::I32, {2, 3}));
  EXPECT_NE(base, of("a", DType::F32, {3, 2}));
  // The documented bytes of one weight.
  const char text[] = "a\0F32\0"
                      "2,3,\0"
                      "24\n";
  EXPECT_EQ(base, xxh3Hex(text, sizeof(text) - 1));
}
