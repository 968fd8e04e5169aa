// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @moe_select_topk
func.func @moe_select_topk(%l: tensor<?x8xf32>, %b: tensor<?x8xf32>,
                           %p: tensor<8xi32>, %u: tensor<?x2xf32>) {
  // CHECK: moe.select_topk %{{.*}} bias(%{{.*}}) resident(%{{.*}} : tensor<8xi32>) random(%{{.*}} : tensor<?x2xf32>) policy<score = softmax, prefer = 0.25, top_k = 2, null_experts = 1, keep = random 0.2> : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %i, %w = moe.select_topk %l bias(%b) resident(%p : tensor<8xi32>)
      random(%u : tensor<?x2xf32>)
      policy<top_k = 2, prefer = 0.25, keep = random 0.2, null_experts = 1>
      : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: moe.apply_capacity %{{.*}}, %{{.*}} policy<score = softmax, top_k = 2, capacity = factor 1.25 by choice> : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>, tensor<8xi32>
  %j, %v, %d = moe.apply_capacity %i, %w
      policy<top_k = 2, capacity = factor 1.25 by choice>
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<?x2xi32>, tensor<?x2xf32>, tensor<8xi32>
  // CHECK: moe.count_ids %{{.*}} : tensor<?x2xi32> -> tensor<8xi64>
  %n = moe.count_ids %i : tensor<?x2xi32> -> tensor<8xi64>
  return
}

// CHECK-LABEL: func.func @moe_select_products
func.func @moe_select_products(%a: tensor<?x32xf32>, %b: tensor<?x16xf32>) {
  // CHECK: moe.select_products %{{.*}}, %{{.*}} policy<score = none, top_k = 4> : tensor<?x32xf32>, tensor<?x16xf32> -> tensor<?x4xi32>, tensor<?x4xf32>
  %i, %w = moe.select_products %a, %b policy<score = none, top_k = 4>
      : tensor<?x32xf32>, tensor<?x16xf32>
      -> tensor<?x4xi32>, tensor<?x4xf32>
  return
}

// CHECK-LABEL: func.func @moe_lists
func.func @moe_lists(%l: tensor<?x8xf32>) {
  // CHECK: moe.choose_rows %{{.*}} score softmax capacity<factor 2.0> average scale 2.000000e+00 round bf16 rows 2 extra 24 : tensor<?x8xf32> -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  %eo, %rt, %rw, %to, %tr = moe.choose_rows %l score softmax
      capacity <factor 2.0> average scale 2.0 round bf16 rows 2 extra 24
      : tensor<?x8xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // CHECK: moe.slice_rows %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}[2, 6] : tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  %a:5 = moe.slice_rows %eo, %rt, %rw, %to, %tr [2, 6]
      : tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
        tensor<?xi32>
      -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  return
}

// CHECK-LABEL: func.func @moe_row_logits
func.func @moe_row_logits(%x: tensor<?x64xf32>, %w: tensor<4x8x64xf32>,
                          %eo: tensor<5xi32>, %i: tensor<?x2xi32>) {
  // CHECK: moe.row_logits ins(%{{.*}}, %{{.*}}) offsets(%{{.*}}) : tensor<?x64xf32>, tensor<4x8x64xf32>, tensor<5xi32> -> tensor<?x8xf32>
  %l = moe.row_logits ins(%x, %w) offsets(%eo)
      : tensor<?x64xf32>, tensor<4x8x64xf32>, tensor<5xi32> -> tensor<?x8xf32>
  // CHECK: moe.nest_ids %{{.*}} offsets(%{{.*}}) inner 8 : tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2xi32>
  %n = moe.nest_ids %i offsets(%eo) inner 8
      : tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2xi32>
  return
}

// CHECK-LABEL: func.func @moe_fold_rows
func.func @moe_fold_rows(%a: tensor<?x8xf32>, %b: tensor<?xi32>,
                         %c: tensor<8xf32>) {
  // CHECK: moe.fold_rows rows(%{{.*}} : tensor<?x8xf32>) inits [0.000000e+00] -> tensor<1x8xf32> {
  // CHECK-NEXT: ^bb0(%{{.*}}: index, %{{.*}}: tensor<1x8xf32>, %{{.*}}: tensor<1x8xf32>):
  %s = moe.fold_rows rows(%a : tensor<?x8xf32>) inits [0.0]
      -> tensor<1x8xf32> {
  ^bb0(%i: index, %r: tensor<1x8xf32>, %acc: tensor<1x8xf32>):
    %n = arith.addf %acc, %r : tensor<1x8xf32>
    moe.yield %n : tensor<1x8xf32>
  }
  // CHECK: moe.fold_rows rows(%{{.*}}, %{{.*}} : tensor<?x8xf32>, tensor<?xi32>) invariants(%{{.*}} : tensor<8xf32>) inits [-1.000000e+00, 7.000000e+00] -> tensor<8xf32>, tensor<1xi32> {
  %t:2 = moe.fold_rows rows(%a, %b : tensor<?x8xf32>, tensor<?xi32>)
      invariants(%c : tensor<8xf32>) inits [-1.0, 7.0]
      -> tensor<8xf32>, tensor<1xi32> {
  ^bb0(%i: index, %r: tensor<1x8xf32>, %q: tensor<1xi32>, %v: tensor<8xf32>,
       %acc: tensor<8xf32>, %n: tensor<1xi32>):
    moe.yield %v, %q : tensor<8xf32>, tensor<1xi32>
  }
  return
}

// CHECK-LABEL: func.func @moe_scales_and_biases
func.func @moe_scales_and_biases(
    %x: tensor<?x64xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>,
    %rw: tensor<?xf32>, %g: tensor<8x96x64xf32>, %d: tensor<8x64x96xf32>,
    %bg: tensor<8x96xbf16>, %bd: tensor<8x64xbf16>, %to: tensor<?xi32>,
    %tr: tensor<?xi32>) {
  // CHECK: moe.gather_rows %{{.*}}[%{{.*}}] weights(%{{.*}} : tensor<?xf32>) : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %xs = moe.gather_rows %x[%rt] weights(%rw : tensor<?xf32>)
      : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  // CHECK: moe.grouped_ffn ins(%{{.*}}) offsets(%{{.*}}) tokens(%{{.*}}) scales(%{{.*}} : tensor<?xf32>) weights(%{{.*}}) biases(%{{.*}}, %{{.*}} : tensor<8x96xbf16>, tensor<8x64xbf16>) parts 1 -> tensor<?x64xf32>
  %ys = moe.grouped_ffn ins(%x : tensor<?x64xf32>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      scales(%rw : tensor<?xf32>)
      weights(%g, %d : tensor<8x96x64xf32>, tensor<8x64x96xf32>)
      biases(%bg, %bd : tensor<8x96xbf16>, tensor<8x64xbf16>) parts 1
      -> tensor<?x64xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  // CHECK: moe.combine_rows rows(%{{.*}}, %{{.*}} : tensor<?x64xf32>, tensor<?x64xf32>) {{.*}} unweighted [true, false] -> tensor<?x64xf32>
  %y = moe.combine_rows rows(%ys, %xs : tensor<?x64xf32>, tensor<?x64xf32>)
      offsets(%to, %to : tensor<?xi32>, tensor<?xi32>)
      indices(%tr, %tr : tensor<?xi32>, tensor<?xi32>)
      weights(%rw, %rw : tensor<?xf32>, tensor<?xf32>)
      unweighted [true, false] -> tensor<?x64xf32>
  return
}
