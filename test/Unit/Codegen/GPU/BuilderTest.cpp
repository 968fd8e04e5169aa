//===- BuilderTest.cpp - What the kernel builder refuses ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Codegen/GPU/Builder/Budget.h"
#include "lib/Codegen/GPU/Builder/Pipeline.h"
#include "lib/Codegen/GPU/Expand/RaggedGemm.h"
#include "lib/Codegen/GPU/TuneGemm.h"

#include "gtest/gtest.h"

#include <set>

using namespace mlir;
using namespace mlir::moe::gpu;

namespace {

class BuilderTest : public ::testing::Test {
protected:
  /// The diagnostics of a verifier; empty when it accepts.
  template <typename Check> std::string diagnose(Check check) {
    std::string text;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      text += diagnostic.str() + "\n";
    });
    Location loc = UnknownLoc::get(&context);
    LogicalResult result = check([&] { return emitError(loc); });
    EXPECT_EQ(succeeded(result), text.empty());
    return text;
  }
  template <typename Value> std::string diagnoseValue(const Value &value) {
    return diagnose([&](EmitError error) { return value.verify(error); });
  }

  SharedTile tile(Type element, int64_t rows, int64_t columns) {
    int64_t bytes = columns * element.getIntOrFloatBitWidth() / 8;
    return {element, rows, columns, 3, Swizzle::forRows(bytes), {}};
  }

  MLIRContext context;
  Type bf16 = BFloat16Type::get(&context);
  Type f32 = Float32Type::get(&context);
};

TEST_F(BuilderTest, BankConflictsCountPassesOverTheBanks) {
  // 32 lanes side by side; all at one word; two words of one bank.
  std::vector<int64_t> side, same, far;
  for (int64_t lane = 0; lane < 32; ++lane) {
    side.push_back(lane * 4);
    same.push_back(64);
    far.push_back(lane % 2 * 128);
  }
  EXPECT_EQ(bankConflicts(side, 4), 1);
  EXPECT_EQ(bankConflicts(same, 4), 1);
  EXPECT_EQ(bankConflicts(far, 4), 2);
  // Eight lanes of 16 bytes are served at once: rows of 128 bytes collide.
  std::vector<int64_t> rows;
  for (int64_t lane = 0; lane < 8; ++lane)
    rows.push_back(lane * 128);
  EXPECT_EQ(bankConflicts(rows, 16), 8);
  rows.resize(2);
  EXPECT_EQ(bankConflicts(rows, 16), 2);
  EXPECT_EQ(bankConflicts({0, 16, 32, 48, 64, 80, 96, 112, 0, 16}, 16), 1);
}

TEST_F(BuilderTest, SwizzlesForRowsAreFreeOfConflicts) {
  for (int64_t columns : {16, 32, 64, 128, 256})
    EXPECT_EQ(diagnoseValue(tile(bf16, 64, columns)), "") << columns;
  for (int64_t columns : {8, 16, 32, 64})
    EXPECT_EQ(diagnoseValue(tile(f32, 16, columns)), "") << columns;
}

TEST_F(BuilderTest, SwizzleIsAPermutationOfEachRow) {
  SharedTile swizzled = tile(bf16, 64, 64);
  for (int64_t row = 0; row < 64; ++row) {
    std::set<int64_t> offsets;
    for (int64_t chunk = 0; chunk < 8; ++chunk)
      offsets.insert(swizzled.offsetOf(row, chunk));
    EXPECT_EQ(offsets.size(), 8u);
    EXPECT_EQ(*offsets.begin(), row * 128);
    EXPECT_EQ(*offsets.rbegin(), row * 128 + 112);
  }
}

TEST_F(BuilderTest, ConflictingSwizzleIsRejected) {
  SharedTile plain = tile(bf16, 64, 64);
  plain.swizzle = {};
  EXPECT_EQ(diagnoseValue(plain),
            "ldmatrix of chunk 0 of rows 0 to 7 has a 8-way bank conflict\n");
  SharedTile half = tile(bf16, 64, 64);
  half.swizzle = {0, 3};
  EXPECT_EQ(diagnoseValue(half),
            "ldmatrix of chunk 0 of rows 0 to 7 has a 2-way bank conflict\n");
  // Two rows share the banks; a swizzle by single rows hits the same ones.
  SharedTile narrow = tile(bf16, 64, 32);
  narrow.swizzle = {0, 3};
  EXPECT_EQ(diagnoseValue(narrow),
            "ldmatrix of chunk 0 of rows 0 to 7 has a 2-way bank conflict\n");
}

TEST_F(BuilderTest, MalformedTilesAreRejected) {
  EXPECT_EQ(diagnoseValue(tile(bf16, 12, 64)),
            "a shared tile has whole groups of 8 rows and at least one stage, "
            "got 12 rows and 3 stages\n");
  SharedTile odd = tile(bf16, 16, 64);
  odd.columns = 24;
  EXPECT_EQ(diagnoseValue(odd),
            "the rows of a shared tile are a power of two of 16-byte chunks, "
            "got 48 bytes\n");
  SharedTile wide = tile(bf16, 16, 16);
  wide.swizzle = {0, 7};
  EXPECT_EQ(diagnoseValue(wide), "a swizzle over 8 chunks leaves a row of 2\n");
}

TEST_F(BuilderTest, CopiesAreChecked) {
  SharedTile swizzled = tile(bf16, 64, 64);
  for (int64_t bytes : {4, 8, 16})
    EXPECT_EQ(diagnoseValue(TileCopy{swizzled, 128, bytes}), "") << bytes;
  EXPECT_EQ(diagnoseValue(TileCopy{swizzled, 128, 2}),
            "an asynchronous copy moves 4, 8 or 16 bytes, got 2\n");
  EXPECT_EQ(diagnoseValue(TileCopy{tile(bf16, 64, 256), 32, 4}),
            "32 threads do not copy whole rows of 128 pieces\n");
  TileCopy copy{swizzled, 160, 16};
  EXPECT_EQ(copy.rounds(), 4);
  EXPECT_TRUE(copy.isLastPartial());
  EXPECT_EQ(copy.offsetOf(8 * 9 + 3), 9 * 128 + (3 ^ 1) * 16);
}

TEST_F(BuilderTest, SumsMeetInNoBank) {
  for (int64_t columns : {16, 64, 96, 128, 160}) {
    SumsTile sums{64, columns};
    auto check = [&](int64_t lanes, int64_t bytes, auto place) {
      std::vector<int64_t> addresses;
      for (int64_t lane = 0; lane < lanes; ++lane) {
        auto [row, column] = place(lane);
        addresses.push_back(4 * sums.indexOf(row, column));
      }
      EXPECT_EQ(bankConflicts(addresses, bytes), 1) << columns;
    };
    for (int64_t tile = 0; tile < columns; tile += 8) {
      // Accumulators of tensor cores, and those of f32.
      check(32, 8, [&](int64_t lane) {
        return std::pair(lane / 4, tile + lane % 4 * 2);
      });
      check(32, 4,
            [&](int64_t lane) { return std::pair(lane / 8, tile + lane % 8); });
    }
    // Groups of eight channels, of one part and of two.
    for (int64_t group : {8, 16})
      for (int64_t first = 0; first < group; first += 4)
        check(std::min<int64_t>(32, columns / group), 16,
              [&](int64_t lane) { return std::pair(0, lane * group + first); });
  }
}

TEST_F(BuilderTest, PipelineCountsAreChecked) {
  for (int64_t stages : {2, 3, 4, 7})
    EXPECT_EQ(diagnoseValue(PipelineSpec::of(stages)), "") << stages;
  EXPECT_EQ(diagnoseValue(PipelineSpec{3, 2, 2}),
            "stage 0 is used for tile 0 before its copies are done: of 2 "
            "groups 2 may be pending\n");
  EXPECT_EQ(diagnoseValue(PipelineSpec{3, 3, 2}),
            "stage 0 is overwritten by tile 3 while tile 0 needs it\n");
  EXPECT_EQ(diagnoseValue(PipelineSpec{4, 5, 1}),
            "stage 1 is overwritten by tile 5 while tile 1 needs it\n");
  EXPECT_EQ(diagnoseValue(PipelineSpec::of(1)),
            "a pipeline has stages and copies ahead, got 1 stages, 0 ahead, "
            "-1 pending\n");
}

TEST_F(BuilderTest, BudgetsDependOnTheArchitecture) {
  auto verify = [&](Budget budget, StringRef arch) {
    return diagnose(
        [&](EmitError error) { return budget.verify(*findArch(arch), error); });
  };
  Budget large{256, 1, 160 * 1024, 200};
  EXPECT_EQ(verify(large, "sm_80"), "");
  EXPECT_EQ(verify(large, "sm_90a"), "");
  for (StringRef arch : {"sm_86", "sm_89", "sm_120a"})
    EXPECT_EQ(verify(large, arch),
              "a block needs 163840 bytes of shared memory, " + arch.str() +
                  " has 101376\n");
  Budget two{256, 2, 100 * 1024, 100};
  EXPECT_EQ(verify(two, "sm_100a"), "");
  EXPECT_EQ(verify(two, "sm_80"),
            "2 blocks need 206848 bytes of shared memory, a multiprocessor of "
            "sm_80 has 167936\n");
  Budget threads{1024, 2, 0, 32};
  EXPECT_EQ(verify(threads, "sm_80"), "");
  EXPECT_EQ(verify(threads, "sm_89"),
            "2 blocks of 1024 threads, a multiprocessor of sm_89 has room for "
            "1536\n");
  EXPECT_EQ(verify({128, 1, 0, 256}, "sm_80"),
            "a thread needs about 256 registers, the limit is 255\n");
  EXPECT_EQ(verify({512, 1, 0, 200}, "sm_80"),
            "1 blocks of 512 threads need about 102400 registers, a "
            "multiprocessor of sm_80 has 65536\n");
}

TEST_F(BuilderTest, TunedShapesFitEveryArchitecture) {
  for (const ArchInfo &arch : allArchs())
    for (Type element : {bf16, f32})
      for (int64_t channels : {1, 80, 704, 14336})
        for (int64_t k : {1, 17, 80, 704, 7168})
          for (int64_t parts : {1, 2})
            for (int64_t tileRows : {1, 40, 64, 128}) {
              RaggedGemmShape shape;
              shape.element = element;
              shape.channels = channels;
              shape.k = k;
              shape.parts = parts;
              shape.tileRows = tileRows;
              tuneShape(shape, arch);
              EXPECT_EQ(diagnose([&](EmitError error) {
                          return shape.verify(arch, error);
                        }),
                        "")
                  << arch.name.str() << ", " << channels << " x " << k
                  << ", parts " << parts << ", rows " << tileRows;
            }
}

TEST_F(BuilderTest, UntileableShapesAreRejected) {
  RaggedGemmShape shape;
  shape.element = bf16;
  shape.channels = 128;
  shape.k = 128;
  shape.tileRows = 64;
  shape.threads = 128;
  shape.tileColumns = 128;
  shape.tileK = 64;
  shape.stages = 3;
  auto verify = [&](StringRef arch) {
    return diagnose(
        [&](EmitError error) { return shape.verify(*findArch(arch), error); });
  };
  EXPECT_EQ(verify("sm_80"), "");
  shape.tileColumns = 72;
  EXPECT_EQ(verify("sm_80"), "4 warps cannot share a tile of 16 x 72\n");
  shape.tileColumns = 128;
  shape.tileK = 48;
  EXPECT_EQ(verify("sm_80"),
            "a tile of k = 48 channels of 'bf16' is not a power of two of 32 "
            "bytes\n");
  shape.tileK = 64;
  shape.stages = 5;
  EXPECT_EQ(verify("sm_80"), "");
  EXPECT_EQ(verify("sm_86"),
            "a block needs 122880 bytes of shared memory, sm_86 has 101376\n");
  shape.stages = 3;
  shape.tileColumns = 512;
  EXPECT_EQ(verify("sm_90a"),
            "a thread needs about 352 registers, the limit is 255\n");
}

} // namespace
