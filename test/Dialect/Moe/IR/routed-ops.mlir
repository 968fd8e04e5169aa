// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @moe_select_topk
// CHECK-SAME: (%[[L:.*]]: tensor<?x8xf32>, %[[B:.*]]: tensor<8xf32>)
func.func @moe_select_topk(%l: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // CHECK: moe.select_topk %[[L]] policy<score = softmax, top_k = 2> : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %i0, %w0 = moe.select_topk %l policy<top_k = 2>
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: moe.select_topk %[[L]] bias(%[[B]]) policy<score = sigmoid, top_k = 2> : tensor<?x8xf32>, tensor<8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %i1, %w1 = moe.select_topk %l bias(%b) policy<score = sigmoid, top_k = 2>
      : tensor<?x8xf32>, tensor<8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// CHECK-LABEL: func.func @moe_group_rows
// CHECK-SAME: (%[[I:.*]]: tensor<?x2xi32>, %[[W:.*]]: tensor<?x2xf32>)
func.func @moe_group_rows(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // CHECK: moe.group_rows %[[I]], %[[W]] : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  %a:5 = moe.group_rows %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // CHECK: moe.group_rows %[[I]], %[[W]] given :
  %b:5 = moe.group_rows %i, %w given : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  return
}

// Known numbers of tokens give lists of known length.
// CHECK-LABEL: func.func @moe_group_rows_static
func.func @moe_group_rows_static(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // CHECK: -> tensor<9xi32>, tensor<10xi32>, tensor<10xf32>, tensor<6xi32>, tensor<10xi32>
  %a:5 = moe.group_rows %i, %w : tensor<5x2xi32>, tensor<5x2xf32>
      -> tensor<9xi32>, tensor<10xi32>, tensor<10xf32>, tensor<6xi32>,
         tensor<10xi32>
  return
}

// CHECK-LABEL: func.func @moe_all_rows
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xbf16>, %[[W:.*]]: tensor<?x2xf32>)
func.func @moe_all_rows(%x: tensor<?x64xbf16>, %w: tensor<?x2xf32>) {
  // CHECK: moe.all_rows %[[X]] : tensor<?x64xbf16> -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  %a:5 = moe.all_rows %x : tensor<?x64xbf16>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // CHECK: moe.all_rows %[[X]] weights(%[[W]]) : tensor<?x64xbf16>, tensor<?x2xf32> ->
  %b:5 = moe.all_rows %x weights(%w) : tensor<?x64xbf16>, tensor<?x2xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  return
}

// CHECK-LABEL: func.func @moe_gather_rows
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xbf16>, %[[T:.*]]: tensor<?xi32>)
func.func @moe_gather_rows(%x: tensor<?x64xbf16>, %t: tensor<?xi32>) {
  // CHECK: moe.gather_rows %[[X]][%[[T]]] : tensor<?x64xbf16>, tensor<?xi32> -> tensor<?x64xbf16>
  %r = moe.gather_rows %x[%t]
      : tensor<?x64xbf16>, tensor<?xi32> -> tensor<?x64xbf16>
  return
}

// Two segments: routed experts and a shared one of another width.
// CHECK-LABEL: func.func @moe_grouped_ffn
func.func @moe_grouped_ffn(
    %x: tensor<?x4xbf16>, %eo: tensor<9xi32>, %so: tensor<2xi32>,
    %et: tensor<?xi32>, %st: tensor<?xi32>, %g: tensor<8x6x4xbf16>,
    %d: tensor<8x4x6xbf16>, %sg: tensor<1x10x4xbf16>,
    %sd: tensor<1x4x10xbf16>) {
  // CHECK: moe.grouped_ffn ins(%{{.*}} : tensor<?x4xbf16>) offsets(%{{.*}}, %{{.*}} : tensor<9xi32>, tensor<2xi32>) tokens(%{{.*}}, %{{.*}} : tensor<?xi32>, tensor<?xi32>) weights(%{{.*}} : tensor<8x6x4xbf16>, tensor<8x6x4xbf16>, tensor<8x4x6xbf16>, tensor<1x10x4xbf16>, tensor<1x10x4xbf16>, tensor<1x4x10xbf16>) parts 2 -> tensor<?x4xbf16>, tensor<?x4xbf16> {
  // CHECK-NEXT: ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32):
  // CHECK-NEXT: %[[P:.*]] = arith.mulf %[[A]], %[[B]] : f32
  // CHECK-NEXT: moe.yield %[[P]] : f32
  %y:2 = moe.grouped_ffn ins(%x : tensor<?x4xbf16>)
      offsets(%eo, %so : tensor<9xi32>, tensor<2xi32>)
      tokens(%et, %st : tensor<?xi32>, tensor<?xi32>)
      weights(%g, %g, %d, %sg, %sg, %sd
              : tensor<8x6x4xbf16>, tensor<8x6x4xbf16>, tensor<8x4x6xbf16>,
                tensor<1x10x4xbf16>, tensor<1x10x4xbf16>, tensor<1x4x10xbf16>)
      parts 2 -> tensor<?x4xbf16>, tensor<?x4xbf16> {
  ^bb0(%a: f32, %b: f32):
    %p = arith.mulf %a, %b : f32
    moe.yield %p : f32
  }
  return
}

// CHECK-LABEL: func.func @moe_map_rows
func.func @moe_map_rows(%a: tensor<?x4xf32>, %b: tensor<?x2x2xbf16>,
                        %eo: tensor<9xi32>, %w: tensor<8x4xf32>,
                        %c: tensor<4xf32>) {
  // CHECK: moe.map_rows rows(%{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<?x2x2xbf16>) offsets(%{{.*}} : tensor<9xi32>) weights(%{{.*}} : tensor<8x4xf32>) invariants(%{{.*}} : tensor<4xf32>) -> tensor<?x4xf32>, tensor<?x2x2xbf16> {
  // CHECK-NEXT: ^bb0(%[[P:.*]]: tensor<1x4xf32>, %[[Q:.*]]: tensor<1x2x2xbf16>, %{{.*}}: tensor<4xf32>, %{{.*}}: tensor<4xf32>):
  // CHECK-NEXT: moe.yield %[[P]], %[[Q]] : tensor<1x4xf32>, tensor<1x2x2xbf16>
  %0:2 = moe.map_rows rows(%a, %b : tensor<?x4xf32>, tensor<?x2x2xbf16>)
      offsets(%eo : tensor<9xi32>) weights(%w : tensor<8x4xf32>)
      invariants(%c : tensor<4xf32>)
      -> tensor<?x4xf32>, tensor<?x2x2xbf16> {
  ^bb0(%p: tensor<1x4xf32>, %q: tensor<1x2x2xbf16>, %v: tensor<4xf32>,
       %u: tensor<4xf32>):
    moe.yield %p, %q : tensor<1x4xf32>, tensor<1x2x2xbf16>
  }
  // CHECK: moe.map_rows rows(%{{.*}} : tensor<?x4xf32>) -> tensor<?x4xf32> {
  %1 = moe.map_rows rows(%a : tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// CHECK-LABEL: func.func @moe_combine_rows
func.func @moe_combine_rows(%r: tensor<?x64xbf16>, %to: tensor<?xi32>,
                            %tr: tensor<?xi32>, %w: tensor<?xf32>) {
  // CHECK: moe.combine_rows rows(%{{.*}}, %{{.*}} : tensor<?x64xbf16>, tensor<?x64xbf16>) offsets(%{{.*}}, %{{.*}} : tensor<?xi32>, tensor<?xi32>) indices(%{{.*}}, %{{.*}} : tensor<?xi32>, tensor<?xi32>) weights(%{{.*}}, %{{.*}} : tensor<?xf32>, tensor<?xf32>) -> tensor<?x64xbf16>
  %y = moe.combine_rows
      rows(%r, %r : tensor<?x64xbf16>, tensor<?x64xbf16>)
      offsets(%to, %to : tensor<?xi32>, tensor<?xi32>)
      indices(%tr, %tr : tensor<?xi32>, tensor<?xi32>)
      weights(%w, %w : tensor<?xf32>, tensor<?xf32>) -> tensor<?x64xbf16>
  return
}

// CHECK-LABEL: func.func @moe_count_rows
// CHECK-SAME: (%[[O:.*]]: tensor<9xi32>)
func.func @moe_count_rows(%eo: tensor<9xi32>) -> tensor<8xi64> {
  // CHECK: moe.count_rows %[[O]] : tensor<9xi32> -> tensor<8xi64>
  %n = moe.count_rows %eo : tensor<9xi32> -> tensor<8xi64>
  return %n : tensor<8xi64>
}
