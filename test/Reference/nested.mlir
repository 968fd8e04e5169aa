// Experts within experts: a body may route, too.

// RUN: moe-interpret %s --print | FileCheck %s --check-prefix=BODIES

!outer = !moe.routing<experts = 2, per_token = 1>
!inner = !moe.routing<experts = 3, per_token = 1>

// Experts whose body routes again: outer expert e multiplies by what its inner
// router chooses.
// BODIES: y: 3x1xf32 = {{\[\[}}10], [4], [8]]
func.func @nested_bodies() -> tensor<3x1xf32> {
  %i = arith.constant dense<[[1], [0], [0]]> : tensor<3x1xi32>
  %w = arith.constant dense<1.0> : tensor<3x1xf32>
  %x = arith.constant dense<[[1.0], [2.0], [4.0]]> : tensor<3x1xf32>
  %outer = moe.assign %i, %w : tensor<3x1xi32>, tensor<3x1xf32> -> !outer
  %xs = moe.dispatch %x by %outer : tensor<3x1xf32>, !outer -> tensor<?x1xf32>
  %routers = arith.constant dense<[[[1.0], [0.0], [0.5]],
                                   [[0.0], [1.0], [2.0]]]> : tensor<2x3x1xf32>
  %scales = arith.constant dense<[[[[2.0]], [[3.0]], [[4.0]]],
                                  [[[5.0]], [[6.0]], [[10.0]]]]>
      : tensor<2x3x1x1xf32>
  %ys = moe.experts ins(%xs) weights(%routers, %scales) by %outer
      : (tensor<?x1xf32>, tensor<2x3x1xf32>, tensor<2x3x1x1xf32>), !outer
      -> tensor<?x1xf32> {
  ^bb0(%t: tensor<?x1xf32>, %router: tensor<3x1xf32>,
       %factor: tensor<3x1x1xf32>):
    %l = moe.router_logits ins(%t, %router)
        : tensor<?x1xf32>, tensor<3x1xf32> -> tensor<?x3xf32>
    %r = moe.route %l policy<score = none, top_k = 1, weights = constant>
        : tensor<?x3xf32> -> !inner
    %ts = moe.dispatch %t by %r : tensor<?x1xf32>, !inner -> tensor<?x1xf32>
    %us = moe.experts ins(%ts) weights(%factor) by %r
        : (tensor<?x1xf32>, tensor<3x1x1xf32>), !inner -> tensor<?x1xf32> {
    ^bb0(%u: tensor<?x1xf32>, %f: tensor<1x1xf32>):
      %c0 = arith.constant 0 : index
      %n = tensor.dim %u, %c0 : tensor<?x1xf32>
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty(%n) : tensor<?x1xf32>
      %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x1xf32>)
          -> tensor<?x1xf32>
      %v = linalg.matmul ins(%u, %f : tensor<?x1xf32>, tensor<1x1xf32>)
          outs(%z : tensor<?x1xf32>) -> tensor<?x1xf32>
      moe.yield %v : tensor<?x1xf32>
    }
    %o = moe.combine %us by %r : tensor<?x1xf32>, !inner -> tensor<?x1xf32>
    moe.yield %o : tensor<?x1xf32>
  }
  %y = moe.combine %ys by %outer : tensor<?x1xf32>, !outer -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}
