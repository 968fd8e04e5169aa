// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-verify-routed))' \
// RUN:   | FileCheck %s

// Everything that a routed function may hold; the pass changes nothing.

moe.weight @w : tensor<4x8xf32> from ["w"]
moe.weight @u : tensor<4x6x8xf32> from ["u"]
moe.weight @d : tensor<4x8x6xf32> from ["d"]

// CHECK-LABEL: func @all_ops
// CHECK: moe.get_weight
// CHECK: moe.router_logits
// CHECK: moe.select_topk
// CHECK: moe.group_rows
// CHECK: moe.all_rows
// CHECK: moe.gather_rows
// CHECK: moe.map_rows
// CHECK: moe.map_rows
// CHECK: moe.grouped_ffn
// CHECK: moe.combine_rows
// CHECK: moe.count_rows
func.func @all_ops(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<4xi64>) {
  %w = moe.get_weight @w : tensor<4x8xf32>
  %u = moe.get_weight @u : tensor<4x6x8xf32>
  %d = moe.get_weight @d : tensor<4x8x6xf32>
  %l = moe.router_logits ins(%x, %w)
      : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  %i, %p = moe.select_topk %l policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%srt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  %zs = moe.map_rows rows(%xs : tensor<?x8xf32>) offsets(%seo : tensor<2xi32>)
      -> tensor<?x8xf32> {
  ^bb0(%a: tensor<1x8xf32>):
    moe.yield %a : tensor<1x8xf32>
  }
  %t = moe.map_rows rows(%x : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%a: tensor<1x8xf32>):
    moe.yield %a : tensor<1x8xf32>
  }
  %ys = moe.grouped_ffn ins(%t : tensor<?x8xf32>)
      offsets(%eo : tensor<5xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<4x6x8xf32>, tensor<4x8x6xf32>) parts 1
      -> tensor<?x8xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  %y = moe.combine_rows rows(%ys, %zs : tensor<?x8xf32>, tensor<?x8xf32>)
      offsets(%to, %sto : tensor<?xi32>, tensor<?xi32>)
      indices(%tr, %str : tensor<?xi32>, tensor<?xi32>)
      weights(%rw, %srw : tensor<?xf32>, tensor<?xf32>) -> tensor<?x8xf32>
  %n = moe.count_rows %eo : tensor<5xi32> -> tensor<4xi64>
  return %y, %n : tensor<?x8xf32>, tensor<4xi64>
}
