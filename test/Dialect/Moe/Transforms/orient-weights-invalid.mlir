// RUN: moe-opt %s -moe-orient-weights | FileCheck %s

// The pass never fails. These are the weights that it must leave alone.

// CHECK-NOT: transposed

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

moe.weight @both : tensor<2x4x4xf32> from ["both"]
moe.weight @left : tensor<2x4x4xf32> from ["left"]

// %a is multiplied by both ways, %b stands on the left, %c is no weight of a
// checkpoint.
func.func @f(%l: tensor<?x2xf32>, %x: tensor<?x4xf32>, %c: tensor<2x4x4xf32>)
    -> tensor<?x4xf32> {
  %a = moe.get_weight @both : tensor<2x4x4xf32>
  %b = moe.get_weight @left : tensor<2x4x4xf32>
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // CHECK: moe.experts
  %ys = moe.experts ins(%xs) weights(%a, %b, %c) by %r
      : (tensor<?x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>,
         tensor<2x4x4xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %p: tensor<4x4xf32>, %q: tensor<4x4xf32>,
       %w: tensor<4x4xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e = tensor.empty(%n) : tensor<?x4xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %es = tensor.empty() : tensor<4x4xf32>
    %zs = linalg.fill ins(%zero : f32) outs(%es : tensor<4x4xf32>)
        -> tensor<4x4xf32>
    // CHECK: linalg.matmul ins
    %s = linalg.matmul ins(%t, %p : tensor<?x4xf32>, tensor<4x4xf32>)
        outs(%z : tensor<?x4xf32>) -> tensor<?x4xf32>
    // CHECK: linalg.matmul indexing_maps
    %u = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%s, %p : tensor<?x4xf32>, tensor<4x4xf32>)
        outs(%z : tensor<?x4xf32>) -> tensor<?x4xf32>
    // CHECK: linalg.matmul ins
    %v = linalg.matmul ins(%q, %w : tensor<4x4xf32>, tensor<4x4xf32>)
        outs(%zs : tensor<4x4xf32>) -> tensor<4x4xf32>
    // CHECK: linalg.matmul ins
    %y = linalg.matmul ins(%u, %v : tensor<?x4xf32>, tensor<4x4xf32>)
        outs(%z : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
