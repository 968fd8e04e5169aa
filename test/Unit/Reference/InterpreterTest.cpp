//===- InterpreterTest.cpp - The interpreter as a library ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReferenceTest.h"
#include "moe/Reference/Router.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

namespace {

class InterpreterTest : public ReferenceTest {};

/// Gives the number of elements asked for, as 0, 1, 2, ...
class CountingWeights : public WeightProvider {
public:
  FailureOr<Tensor> load(WeightOp weight) override {
    ++loads;
    auto type = cast<RankedTensorType>(weight.getType());
    std::vector<double> values(type.getNumElements());
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = i;
    return Tensor::ofFloats(type.getElementType(), type.getShape(), values);
  }
  int loads = 0;
};

} // namespace

TEST_F(InterpreterTest, RunsAFunctionWithWeights) {
  OwningOpRef<ModuleOp> module = parse(R"(
    moe.weight @w : tensor<2x3xf32> from ["w"]
    func.func @f(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
      %w = moe.get_weight @w : tensor<2x3xf32>
      %l = moe.router_logits ins(%x, %w)
          : tensor<?x3xf32>, tensor<2x3xf32> -> tensor<?x2xf32>
      return %l : tensor<?x2xf32>
    })");
  CountingWeights weights;
  Interpreter interpreter(*module, weights);
  auto results = interpreter.call("f", floats({1, 3}, {1, 10, 100}));
  ASSERT_TRUE(succeeded(results)) << errors;
  EXPECT_EQ(std::get<Tensor>((*results)[0]).getFloats(),
            (std::vector<double>{210, 543}));
  EXPECT_EQ(weights.loads, 1);
}

TEST_F(InterpreterTest, ErrorsAreDiagnostics) {
  OwningOpRef<ModuleOp> module = parse(R"(
    func.func @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
      return %x : tensor<?x3xf32>
    })");
  NoWeights weights;
  Interpreter interpreter(*module, weights);
  EXPECT_TRUE(failed(interpreter.call("g", {})));
  EXPECT_TRUE(failed(interpreter.call("f", {})));
  EXPECT_TRUE(failed(interpreter.call("f", floats({1, 2}, {1, 2}))));
  EXPECT_EQ(errors,
            "[MOE0002] the module has no function @g\n"
            "[MOE0013] @f takes 1 inputs, but 0 were given\n"
            "[MOE0013] input 0 of @f is 1x2xf32, but the function takes "
            "'tensor<?x3xf32>'\n");
}

TEST_F(InterpreterTest, KeepsF64InSumsAndRoundsElements) {
  // 1 + 2^-30 is no f32. It survives in a contraction, not in an addition.
  OwningOpRef<ModuleOp> module = parse(R"(
    func.func @f(%x: tensor<1xf32>, %e: tensor<1xf32>, %a: tensor<2xf32>)
        -> (tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xbf16>) {
      %ones = arith.constant dense<1.0> : tensor<2xf32>
      %zero = arith.constant dense<0.0> : tensor<f32>
      %p = linalg.dot ins(%a, %ones : tensor<2xf32>, tensor<2xf32>)
          outs(%zero : tensor<f32>) -> tensor<f32>
      %p1 = tensor.expand_shape %p [] output_shape [1]
          : tensor<f32> into tensor<1xf32>
      %pd = arith.subf %p1, %x : tensor<1xf32>
      %s = arith.addf %x, %e : tensor<1xf32>
      %d = arith.subf %s, %x : tensor<1xf32>
      %n = arith.truncf %s : tensor<1xf32> to tensor<1xbf16>
      return %p1, %pd, %d, %n
          : tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xbf16>
    })");
  NoWeights weights;
  Interpreter interpreter(*module, weights);
  auto results =
      interpreter.call("f", {floats({1}, {1}), floats({1}, {0x1p-30}),
                             floats({2}, {1, 0x1p-30})});
  ASSERT_TRUE(succeeded(results)) << errors;
  EXPECT_EQ(std::get<Tensor>((*results)[0]).getFloat(0), 1.0);
  EXPECT_EQ(std::get<Tensor>((*results)[1]).getFloat(0), 0x1p-30);
  EXPECT_EQ(std::get<Tensor>((*results)[2]).getFloat(0), 0.0);
  EXPECT_EQ(std::get<Tensor>((*results)[3]).getFloat(0), 1.0);
}

TEST_F(InterpreterTest, RouterArithmeticIsThatOfTheRouter) {
  OwningOpRef<ModuleOp> module = parse(R"(
    #id = affine_map<(i) -> (i)>
    func.func @f(%x: tensor<?xf32>)
        -> (tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) {
      %e = math.exp %x : tensor<?xf32>
      %l = math.log %x : tensor<?xf32>
      %g = linalg.generic {indexing_maps = [#id, #id],
                           iterator_types = ["parallel"]}
          ins(%x : tensor<?xf32>) outs(%x : tensor<?xf32>) {
      ^bb0(%a: f32, %b: f32):
        %one = arith.constant 1.0 : f32
        %m = arith.negf %a : f32
        %t = math.exp %m : f32
        %s = arith.addf %one, %t : f32
        %r = arith.divf %one, %s : f32
        linalg.yield %r : f32
      } -> tensor<?xf32>
      return %e, %l, %g : tensor<?xf32>, tensor<?xf32>, tensor<?xf32>
    })");
  NoWeights weights;
  Interpreter interpreter(*module, weights);
  std::vector<double> x;
  for (float value = 1e-3f; value < 80; value *= 1.37f)
    x.push_back(value);
  int64_t count = x.size();
  auto results = interpreter.call("f", floats({count}, x));
  ASSERT_TRUE(succeeded(results)) << errors;
  for (int64_t i = 0; i < count; ++i) {
    EXPECT_EQ(std::get<Tensor>((*results)[0]).getFloat(i), routerExp(x[i]));
    EXPECT_EQ(std::get<Tensor>((*results)[1]).getFloat(i), routerLog(x[i]));
    EXPECT_EQ(std::get<Tensor>((*results)[2]).getFloat(i), routerSigmoid(x[i]));
  }
}

TEST_F(InterpreterTest, RecursionEndsWithAnError) {
  OwningOpRef<ModuleOp> module = parse(R"(
    func.func @f(%x: tensor<1xf32>) -> tensor<1xf32> {
      %y = call @f(%x) : (tensor<1xf32>) -> tensor<1xf32>
      return %y : tensor<1xf32>
    })");
  NoWeights weights;
  Interpreter interpreter(*module, weights);
  EXPECT_TRUE(failed(interpreter.call("f", floats({1}, {1}))));
  EXPECT_EQ(errors, "'func.call' op calls deeper than 100 levels\n");
}

TEST_F(InterpreterTest, RanksHaveTheirOwnInputs) {
  OwningOpRef<ModuleOp> module = parse(R"(
    func.func @f(%x: tensor<?xf32>) -> tensor<?xf32> {
      %y = arith.addf %x, %x : tensor<?xf32>
      return %y : tensor<?xf32>
    })");
  NoWeights weights;
  ProcessGrid grid(*module, weights, 3);
  std::vector<std::vector<Tensor>> inputs = {
      {floats({1}, {1})}, {floats({0}, {})}, {floats({2}, {2, 3})}};
  auto results = grid.call("f", inputs);
  ASSERT_TRUE(succeeded(results)) << errors;
  EXPECT_EQ(std::get<Tensor>((*results)[0][0]).getFloats(),
            (std::vector<double>{2}));
  EXPECT_EQ(std::get<Tensor>((*results)[1][0]).getNumElements(), 0);
  EXPECT_EQ(std::get<Tensor>((*results)[2][0]).getFloats(),
            (std::vector<double>{4, 6}));
  // One rank that fails fails the call.
  inputs[1] = {};
  EXPECT_TRUE(failed(grid.call("f", inputs)));
}
