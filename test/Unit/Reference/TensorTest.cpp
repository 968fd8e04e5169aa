//===- TensorTest.cpp - Tensors, routings and their comparison ----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Tensor.h"
#include "moe/Reference/Compare.h"

#include "mlir/IR/Builders.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe::reference;

namespace {

class TensorTest : public testing::Test {
protected:
  Tensor floats(std::vector<double> values) {
    int64_t count = values.size();
    return Tensor::ofFloats(f32, {count}, std::move(values));
  }
  MLIRContext context;
  Type f32 = Float32Type::get(&context);
};

} // namespace

TEST_F(TensorTest, RoundsToNarrowTypes) {
  Type f16 = Float16Type::get(&context), bf16 = BFloat16Type::get(&context);
  EXPECT_EQ(roundToType(1 + 0x1p-8, bf16), 1.0);
  EXPECT_EQ(roundToType(1 + 0x1p-8 + 0x1p-40, bf16), 1 + 0x1p-7);
  EXPECT_EQ(roundToType(65519, f16), 65504);
  EXPECT_EQ(roundToType(65520, f16), HUGE_VAL);
  EXPECT_EQ(roundToType(-0x1p-25, f16), -0.0);
  EXPECT_EQ(roundToType(0x1.8p-24, f16), 0x1p-23);
  EXPECT_EQ(roundToType(1 + 0x1p-24, f32), 1.0);
}

TEST_F(TensorTest, ReadsEveryStorage) {
  uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x7c00};
  Tensor tensor =
      Tensor::borrowed(Float16Type::get(&context), {4}, Storage::F16, half, {});
  EXPECT_EQ(tensor.getFloats(),
            (std::vector<double>{1, -2, 0x1p-24, HUGE_VAL}));
  uint16_t brain[] = {0x3f80, 0xc000, 0x0001};
  tensor = Tensor::borrowed(BFloat16Type::get(&context), {3}, Storage::BF16,
                            brain, {});
  EXPECT_EQ(tensor.getFloats(), (std::vector<double>{1, -2, 0x1p-133}));
}

TEST_F(TensorTest, SlicesAndStacksAgree) {
  Tensor stack = Tensor::stacked({floats({1, 2}), floats({3, 4})});
  EXPECT_EQ(stack.getTypeString(), "2x2xf32");
  EXPECT_EQ(stack.slice(1).getFloats(), (std::vector<double>{3, 4}));
  Tensor whole = stack.contiguous();
  EXPECT_EQ(whole.getFloats(), (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(whole.slice(1).getFloats(), (std::vector<double>{3, 4}));
}

TEST_F(TensorTest, RoutingListsAgreeBothWays) {
  // Three tokens, two of four experts each, not in order.
  Routing routing = Routing::build(4, 2, 3, {3, 0, 0, 1, 3, 1},
                                   {.1f, .2f, .3f, .4f, .5f, .6f});
  EXPECT_EQ(routing.expertOffsets, (std::vector<int64_t>{0, 2, 4, 4, 6}));
  EXPECT_EQ(routing.rowToken, (std::vector<int64_t>{0, 1, 1, 2, 0, 2}));
  EXPECT_EQ(routing.rowWeight,
            (std::vector<float>{.2f, .3f, .4f, .6f, .1f, .5f}));
  EXPECT_EQ(routing.tokenOffsets, (std::vector<int64_t>{0, 2, 4, 6}));
  EXPECT_EQ(routing.tokenRows, (std::vector<int64_t>{0, 4, 1, 2, 3, 5}));
}

TEST_F(TensorTest, ComparesExactlyWithoutTolerance) {
  EXPECT_TRUE(compare(floats({1, 2}), floats({1, 2}), {}).equal);
  Comparison found = compare(floats({1, 2.5}), floats({1, 2}), {});
  EXPECT_FALSE(found.equal);
  EXPECT_EQ(found.text, "relative Frobenius norm 0.224, 1 of 2 elements "
                        "outside, worst at [1]: 2.5, expected 2");
  EXPECT_EQ(compare(floats({1}), floats({1, 2}), {}).text,
            "is 1xf32, expected 2xf32");
}

TEST_F(TensorTest, ComparesWithinBounds) {
  Tolerance frobenius;
  frobenius.relFrobenius = 1e-3;
  EXPECT_TRUE(compare(floats({1000, 1}), floats({1000, 1.5}), frobenius).equal);
  EXPECT_FALSE(compare(floats({1000, 1}), floats({1000, 3}), frobenius).equal);
  Tolerance elements;
  elements.rtol = 0.1;
  elements.atol = 0.5;
  EXPECT_TRUE(compare(floats({11.5}), floats({10}), elements).equal);
  EXPECT_FALSE(compare(floats({11.6}), floats({10}), elements).equal);
}

TEST_F(TensorTest, NaNEqualsOnlyNaN) {
  Tolerance loose;
  loose.atol = 1e9;
  EXPECT_TRUE(compare(floats({NAN}), floats({NAN}), loose).equal);
  EXPECT_TRUE(compare(floats({HUGE_VAL}), floats({HUGE_VAL}), loose).equal);
  EXPECT_FALSE(compare(floats({NAN}), floats({1}), loose).equal);
  EXPECT_FALSE(compare(floats({1}), floats({NAN}), loose).equal);
  EXPECT_FALSE(compare(floats({-HUGE_VAL}), floats({HUGE_VAL}), loose).equal);
}
