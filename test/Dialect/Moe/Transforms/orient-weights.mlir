// RUN: moe-opt %s -moe-orient-weights | FileCheck %s

// Weights that are multiplied by as they are become others, which read the same
// tensors turned around; what is transposed already stays.

#plain = affine_map<(m, n, k) -> (k, n)>
#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// CHECK-NOT: moe.weight @gate : tensor<2x4x6xf32>
// CHECK: moe.weight @gate.transposed : tensor<2x6x4xf32> from ["both"] transpose split [2, 0, 12, 2, 12]
moe.weight @gate : tensor<2x4x6xf32> from ["both"] split [2, 0, 12, 2, 12]
// CHECK-NEXT: moe.weight @up.transposed : tensor<2x6x4xf32> from ["w.{0..1}"] stack{{$}}
moe.weight @up : tensor<2x4x6xf32> from ["w.{0..1}"] stack transpose
// Something else reads it, so both stay.
// CHECK-NEXT: moe.weight @down : tensor<2x6x4xf32> from ["down"]
// CHECK-NEXT: moe.weight @down.transposed : tensor<2x4x6xf32> from ["down"] transpose
moe.weight @down : tensor<2x6x4xf32> from ["down"]
// CHECK-NEXT: moe.weight @last : tensor<2x4x4xf32> from ["last"]
moe.weight @last : tensor<2x4x4xf32> from ["last"]
// CHECK-NEXT: func

// CHECK-LABEL: func @f
func.func @f(%l: tensor<?x2xf32>, %x: tensor<?x4xf32>)
    -> (tensor<?x4xf32>, tensor<2x6x4xf32>) {
  %g = moe.get_weight @gate : tensor<2x4x6xf32>
  %u = moe.get_weight @up : tensor<2x4x6xf32>
  %d = moe.get_weight @down : tensor<2x6x4xf32>
  %w = moe.get_weight @last : tensor<2x4x4xf32>
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // CHECK: moe.experts ins(%{{.*}}) weights(%[[G:.*]], %[[U:.*]], %[[D:.*]], %[[W:.*]]) by
  // CHECK-NEXT: ^bb0(%[[T:.*]]: tensor<?x4xf32>, %[[A:.*]]: tensor<6x4xf32>, %[[B:.*]]: tensor<6x4xf32>, %[[C:.*]]: tensor<4x6xf32>, %[[E:.*]]: tensor<4x4xf32>):
  %ys = moe.experts ins(%xs) weights(%g, %u, %d, %w) by %r
      : (tensor<?x4xf32>, tensor<2x4x6xf32>, tensor<2x4x6xf32>,
         tensor<2x6x4xf32>, tensor<2x4x4xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<4x6xf32>, %b: tensor<4x6xf32>,
       %c: tensor<6x4xf32>, %e: tensor<4x4xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    // CHECK: linalg.matmul indexing_maps = [#[[X:.*]], #[[Y:.*]], #[[Z:.*]]] ins(%[[T]], %[[A]] : tensor<?x4xf32>, tensor<6x4xf32>)
    %p = linalg.matmul ins(%t, %a : tensor<?x4xf32>, tensor<4x6xf32>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    // CHECK-NOT: linalg.transpose
    // CHECK: linalg.matmul indexing_maps = [#[[X]], #[[Y]], #[[Z]]] ins(%[[T]], %[[B]] : tensor<?x4xf32>, tensor<6x4xf32>)
    %et = tensor.empty() : tensor<6x4xf32>
    %bt = linalg.transpose ins(%b : tensor<4x6xf32>)
        outs(%et : tensor<6x4xf32>) permutation = [1, 0]
    %q = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %bt : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %h = arith.mulf %p, %q : tensor<?x6xf32>
    // CHECK: linalg.generic {indexing_maps = [#[[X]], #[[Y]], #[[Z]]]{{.*}} ins(%{{.*}}, %[[C]] : tensor<?x6xf32>, tensor<4x6xf32>)
    %y = linalg.generic {indexing_maps = [#act, #plain, #out],
        iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%h, %c : tensor<?x6xf32>, tensor<6x4xf32>)
        outs(%z4 : tensor<?x4xf32>) {
    ^bb0(%i: f32, %j: f32, %o: f32):
      %m = arith.mulf %i, %j : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<?x4xf32>
    // CHECK: linalg.matmul indexing_maps = [#[[X]], #[[Y]], #[[Z]]] ins(%{{.*}}, %[[E]] : tensor<?x4xf32>, tensor<4x4xf32>)
    %v = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%y, %e : tensor<?x4xf32>, tensor<4x4xf32>)
        outs(%z4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %v : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z, %d : tensor<?x4xf32>, tensor<2x6x4xf32>
}
