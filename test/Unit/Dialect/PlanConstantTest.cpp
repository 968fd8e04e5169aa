//===- PlanConstantTest.cpp - Sizes of packed weights ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DialectTest.h"

using namespace mlir;
using namespace mlir::plan;

namespace {

struct PlanConstantTest : moe_test::DialectTest {
  /// Size of a constant of `parts` weights of the given type.
  uint64_t size(const std::string &type, const std::string &layout, int parts) {
    std::string text, names;
    for (int i = 0; i < parts; ++i) {
      std::string n = std::to_string(i);
      text += "moe.weight @w" + n + " : tensor<" + type + "> from [\"" + n +
              "\"]\n";
      names += (i ? ", @w" : "@w") + n;
    }
    text += "plan.constant @c packs [" + names +
            "] #moe.layout<kind = " + layout + ">\n";
    auto module = parse(text);
    EXPECT_TRUE(module) << text << "\n" << diagnostics;
    return (*module->getOps<ConstantOp>().begin()).getNumBytes();
  }
};

const char *bf16Panels = "panels, kTile = 32, kInner = 2";

} // namespace

TEST_F(PlanConstantTest, RowMajor) {
  EXPECT_EQ(size("8x64xf32", "row_major", 1), 8u * 64 * 4);
  EXPECT_EQ(size("40x56xbf16", "row_major", 1), 40u * 56 * 2);
  EXPECT_EQ(size("3xf16", "row_major", 1), 3u * 2);
  EXPECT_EQ(size("2x3x5x7xf32", "row_major", 1), 2u * 3 * 5 * 7 * 4);
}

// Extents that fill their panels: as many bytes as elements.
TEST_F(PlanConstantTest, FullPanels) {
  EXPECT_EQ(size("8x96x64xf32", "panels", 1), 8u * 96 * 64 * 4);
  EXPECT_EQ(size("8x96x64xf32", "panels", 2), 2u * 8 * 96 * 64 * 4);
  EXPECT_EQ(size("8x96x64xbf16", bf16Panels, 2), 2u * 8 * 96 * 64 * 2);
  EXPECT_EQ(size("96x64xbf16", bf16Panels, 1), 96u * 64 * 2);
}

// Output channels are padded to 32, or 16 for each of two parts; input
// channels of bf16 to 32.
TEST_F(PlanConstantTest, PaddedPanels) {
  EXPECT_EQ(size("5x40x56xf32", "panels", 1), 5u * 64 * 56 * 4);
  EXPECT_EQ(size("5x40x56xf32", "panels", 2), 5u * 2 * 48 * 56 * 4);
  EXPECT_EQ(size("5x40x56xbf16", bf16Panels, 1), 5u * 64 * 64 * 2);
  EXPECT_EQ(size("5x40x56xbf16", bf16Panels, 2), 5u * 2 * 48 * 64 * 2);
  EXPECT_EQ(size("1x1xf32", "panels", 1), 32u * 4);
  EXPECT_EQ(size("1x1xbf16", bf16Panels, 1), 32u * 32 * 2);
}

// Sizes of models do not overflow 32 bits.
TEST_F(PlanConstantTest, LargePanels) {
  EXPECT_EQ(size("256x2048x7168xbf16", bf16Panels, 2),
            2ull * 256 * 2048 * 7168 * 2);
}
