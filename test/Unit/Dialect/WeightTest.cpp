//===- WeightTest.cpp - Where weights come from ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DialectTest.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

struct WeightTest : moe_test::DialectTest {
  /// The one weight of a module; kept until the next call.
  WeightOp weight(const std::string &text) {
    module = parse(text);
    EXPECT_TRUE(module) << text << "\n" << diagnostics;
    return *module->getOps<WeightOp>().begin();
  }

  RankedTensorType type(ArrayRef<int64_t> shape) {
    return RankedTensorType::get(shape, Float32Type::get(&context));
  }

  OwningOpRef<ModuleOp> module;
};

using Names = SmallVector<std::string>;

} // namespace

TEST_F(WeightTest, NamesWithoutRange) {
  EXPECT_EQ(
      weight(R"(moe.weight @w : tensor<4xf32> from ["a.b"])").getSourceNames(),
      Names({"a.b"}));
}

// Ranges may stand anywhere, count numbers (not digits), and keep their order.
TEST_F(WeightTest, NamesOfRanges) {
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<3x4xf32>
                      from ["e.{9..11}.w"] stack)")
                .getSourceNames(),
            Names({"e.9.w", "e.10.w", "e.11.w"}));
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<2x4xf32>
                      from ["{0..1}"] stack)")
                .getSourceNames(),
            Names({"0", "1"}));
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<4x4xf32>
                      from ["b.{7..7}", "a", "c.{0..1}"] stack)")
                .getSourceNames(),
            Names({"b.7", "a", "c.0", "c.1"}));
}

// Dots outside braces are only dots.
TEST_F(WeightTest, NamesWithDots) {
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<2x4xf32>
                      from ["a..b.{0..1}..c"] stack)")
                .getSourceNames(),
            Names({"a..b.0..c", "a..b.1..c"}));
}

// A range of one name needs no stack.
TEST_F(WeightTest, NamesOfSingleRange) {
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<4xf32> from ["x.{5..5}"])")
                .getSourceNames(),
            Names({"x.5"}));
}

// Scales stand beside encoded sources only, and stack as these do.
TEST_F(WeightTest, NamesOfScales) {
  EXPECT_EQ(
      weight(R"(moe.weight @w : tensor<4xf32> from ["a.b"])").getScaleNames(),
      Names());
  WeightOp encoded = weight(R"(moe.weight @w : tensor<3x4x8xf32>
      from ["e.{9..11}.w"] encoding int8_scaled
      scales ["s.{9..10}", "t"] stack)");
  EXPECT_EQ(encoded.getSourceNames(), Names({"e.9.w", "e.10.w", "e.11.w"}));
  EXPECT_EQ(encoded.getScaleNames(), Names({"s.9", "s.10", "t"}));
}

TEST_F(WeightTest, ManyNames) {
  auto names = weight(R"(moe.weight @w : tensor<65536x1xf32>
                         from ["{0..65535}"] stack)")
                   .getSourceNames();
  ASSERT_EQ(names.size(), 65536u);
  EXPECT_EQ(names.back(), "65535");
}

// Stacking takes the leading dimension away, transposition swaps the last two,
// and the split dimension has the extent that the checkpoint gives it.
TEST_F(WeightTest, SourceTypes) {
  EXPECT_EQ(
      weight(R"(moe.weight @w : tensor<8x4xf32> from ["a"])").getSourceType(),
      type({8, 4}));
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<2x8x4xf32>
                      from ["{0..1}"] stack)")
                .getSourceType(),
            type({8, 4}));
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<2x8x4xf32>
                      from ["a"] transpose)")
                .getSourceType(),
            type({2, 4, 8}));
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<2x8x4xf32>
                      from ["{0..1}"] stack transpose)")
                .getSourceType(),
            type({4, 8}));
  EXPECT_EQ(weight(R"(moe.weight @w : tensor<2x8x4xf32> from ["a"] transpose
                      split [2, 8, 16, 1, 24])")
                .getSourceType(),
            type({2, 4, 24}));
}
