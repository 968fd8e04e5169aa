// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @moe_kernel_operands
func.func @moe_kernel_operands(
    %f: memref<?xf32>, %i: memref<?xi32>, %eo: memref<9xi32>, %p: memref<?xi8>,
    %b: memref<32xbf16>, %n: index) {
  // CHECK: moe.kernel.router_logits ins(%{{.*}}, %{{.*}} : memref<?xf32>, memref<?xf32>) outs(%{{.*}} : memref<?xf32>) tokens(%{{.*}}) {cosine = 9.99999997E-7 : f32, experts = 8 : i64, hidden = 4 : i64}
  moe.kernel.router_logits ins(%f, %f : memref<?xf32>, memref<?xf32>)
      outs(%f : memref<?xf32>) tokens(%n)
      {experts = 8, hidden = 4, cosine = 1.0e-6 : f32}
  // CHECK: moe.kernel.select_topk ins(%{{.*}}, %{{.*}} : memref<?xf32>, memref<?xf32>) resident(%{{.*}} : memref<?xi32>) random(%{{.*}} : memref<?xf32>) outs(%{{.*}}, %{{.*}} : memref<?xi32>, memref<?xf32>) tokens(%{{.*}}) {bias_per_token, experts = 8 : i64, policy = #moe.policy<score = softmax, prefer = 0.5, top_k = 2, keep = random 0.2>}
  moe.kernel.select_topk ins(%f, %f : memref<?xf32>, memref<?xf32>)
      resident(%i : memref<?xi32>) random(%f : memref<?xf32>)
      outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 8, bias_per_token,
       policy = #moe.policy<top_k = 2, prefer = 0.5, keep = random 0.2>}
  // CHECK: moe.kernel.gather_rows {{.*}} weights(%{{.*}} : memref<?xf32>) outs(%{{.*}} : memref<?xf32>)
  moe.kernel.gather_rows
      ins(%f, %i, %eo : memref<?xf32>, memref<?xi32>, memref<9xi32>)
      weights(%f : memref<?xf32>) outs(%f : memref<?xf32>)
      {experts = 8, hidden = 4}
  // CHECK: moe.kernel.pack_rows {{.*}} weights(%{{.*}} : memref<?xf32>) outs(%{{.*}} : memref<?xi8>)
  moe.kernel.pack_rows
      ins(%f, %i, %eo : memref<?xf32>, memref<?xi32>, memref<9xi32>)
      weights(%f : memref<?xf32>) outs(%p : memref<?xi8>)
      {experts = 8, hidden = 4, weight_type = bf16}
  // CHECK: moe.kernel.grouped_gemm {{.*}} biases(%{{.*}} : memref<32xbf16>) outs(%{{.*}} : memref<?xf32>)
  moe.kernel.grouped_gemm
      ins(%p, %p, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>)
      biases(%b : memref<32xbf16>) outs(%f : memref<?xf32>)
      attributes {experts = 8, n = 4, k = 6, parts = 1, weight_type = bf16,
                  row_type = f32}
  // CHECK: moe.kernel.combine_rows {{.*}} {hidden = 4 : i64, unweighted = array<i1: true>}
  moe.kernel.combine_rows rows(%f : memref<?xf32>)
      offsets(%i : memref<?xi32>) indices(%i : memref<?xi32>)
      weights(%f : memref<?xf32>) outs(%f : memref<?xf32>) tokens(%n)
      {hidden = 4, unweighted = array<i1: true>}
  return
}

// CHECK-LABEL: func.func @moe_kernel_routing
func.func @moe_kernel_routing(
    %f: memref<?xf32>, %i: memref<?xi32>, %d: memref<8xi32>,
    %eo: memref<9xi32>, %so: memref<5xi32>, %n: index) {
  // CHECK: moe.kernel.apply_capacity ins(%{{.*}}, %{{.*}} : memref<?xi32>, memref<?xf32>) outs(%{{.*}}, %{{.*}}, %{{.*}} : memref<?xi32>, memref<?xf32>, memref<8xi32>) scratch(%{{.*}} : memref<?xi32>) tokens(%{{.*}}) {experts = 8 : i64, policy = #moe.policy<score = softmax, top_k = 2, capacity = slots 4 by weight>}
  moe.kernel.apply_capacity ins(%i, %f : memref<?xi32>, memref<?xf32>)
      outs(%i, %f, %d : memref<?xi32>, memref<?xf32>, memref<8xi32>)
      scratch(%i : memref<?xi32>) tokens(%n)
      {experts = 8, policy = #moe.policy<top_k = 2, capacity = slots 4 by weight>}
  // CHECK: moe.kernel.select_products ins(%{{.*}}, %{{.*}} : memref<?xf32>, memref<?xf32>) outs(%{{.*}}, %{{.*}} : memref<?xi32>, memref<?xf32>) tokens(%{{.*}}) {first_size = 8 : i64, policy = #moe.policy<score = none, top_k = 4>, second_size = 16 : i64}
  moe.kernel.select_products ins(%f, %f : memref<?xf32>, memref<?xf32>)
      outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n)
      {first_size = 8, second_size = 16,
       policy = #moe.policy<score = none, top_k = 4>}
  // CHECK: moe.kernel.choose_rows ins(%{{.*}} : memref<?xf32>) outs(%{{.*}} : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) scratch(%{{.*}} : memref<?xi32>) tokens(%{{.*}}) {average, capacity = #moe.capacity<factor 2.0>, experts = 8 : i64, round_weights = bf16, scale = 2.500000e+00 : f32, score = #moe<token_score softmax_over_tokens>}
  moe.kernel.choose_rows ins(%f : memref<?xf32>)
      outs(%eo, %i, %f, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>,
           memref<?xi32>, memref<?xi32>) scratch(%i : memref<?xi32>) tokens(%n)
      {experts = 8, score = #moe<token_score softmax_over_tokens>,
       capacity = #moe.capacity<factor 2.0>, average, scale = 2.5 : f32,
       round_weights = bf16}
  // CHECK: moe.kernel.slice_rows ins(%{{.*}} : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%{{.*}} : memref<5xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%{{.*}}) worklist(%{{.*}} : memref<?xi32>) {begin = 2 : i64, end = 6 : i64, tile_rows = 16 : i64}
  moe.kernel.slice_rows
      ins(%eo, %i, %f, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>,
          memref<?xi32>, memref<?xi32>)
      outs(%so, %i, %f, %i, %i : memref<5xi32>, memref<?xi32>, memref<?xf32>,
           memref<?xi32>, memref<?xi32>) tokens(%n)
      worklist(%i : memref<?xi32>) {begin = 2, end = 6, tile_rows = 16}
  return
}

// CHECK-LABEL: func.func @moe_kernel_nested
func.func @moe_kernel_nested(
    %f: memref<?xf32>, %i: memref<?xi32>, %w: memref<?xbf16>,
    %eo: memref<5xi32>, %c: memref<8xi64>, %s: memref<1xi64>, %n: index) {
  // CHECK: moe.kernel.row_logits ins(%{{.*}} : memref<?xf32>, memref<?xbf16>, memref<5xi32>) outs(%{{.*}} : memref<?xf32>) {experts = 4 : i64, hidden = 64 : i64, inner_experts = 8 : i64}
  moe.kernel.row_logits
      ins(%f, %w, %eo : memref<?xf32>, memref<?xbf16>, memref<5xi32>)
      outs(%f : memref<?xf32>) {experts = 4, inner_experts = 8, hidden = 64}
  // CHECK: moe.kernel.nest_ids ins(%{{.*}} : memref<?xi32>, memref<5xi32>) outs(%{{.*}} : memref<?xi32>) tokens(%{{.*}}) {experts = 4 : i64, inner_experts = 8 : i64, per_token = 2 : i64}
  moe.kernel.nest_ids ins(%i, %eo : memref<?xi32>, memref<5xi32>)
      outs(%i : memref<?xi32>) tokens(%n)
      {experts = 4, inner_experts = 8, per_token = 2}
  // CHECK: moe.kernel.count_ids ins(%{{.*}} : memref<?xi32>) outs(%{{.*}} : memref<8xi64>) tokens(%{{.*}}) {experts = 8 : i64, per_token = 2 : i64}
  moe.kernel.count_ids ins(%i : memref<?xi32>) outs(%c : memref<8xi64>)
      tokens(%n) {experts = 8, per_token = 2}
  // CHECK: moe.kernel.random ins(%{{.*}} : memref<1xi64>) outs(%{{.*}} : memref<?xf32>) tokens(%{{.*}}) {columns = 3 : i64, distribution = #moe<distribution gumbel>, stream = 2 : i64}
  moe.kernel.random ins(%s : memref<1xi64>) outs(%f : memref<?xf32>) tokens(%n)
      {distribution = #moe<distribution gumbel>, columns = 3, stream = 2}
  // CHECK: moe.kernel.lookup_rows ins(%{{.*}} : memref<?xbf16>, memref<?xi32>) outs(%{{.*}} : memref<?xbf16>) tokens(%{{.*}}) {columns = 3 : i64, size = 9 : i64}
  moe.kernel.lookup_rows ins(%w, %i : memref<?xbf16>, memref<?xi32>)
      outs(%w : memref<?xbf16>) tokens(%n) {size = 9, columns = 3}
  return
}

// CHECK-LABEL: func.func @moe_kernel_fold_rows
func.func @moe_kernel_fold_rows(%a: memref<?xf32>, %c: memref<8xf32>,
                                %s: memref<8xf32>, %m: memref<1xi64>,
                                %n: index) {
  // CHECK: moe.kernel.fold_rows rows(%{{.*}} : memref<?xf32>) invariants(%{{.*}} : memref<8xf32>) outs(%{{.*}}, %{{.*}} : memref<8xf32>, memref<1xi64>) inits [0.000000e+00, 3.000000e+00] tokens(%{{.*}}) {
  // CHECK-NEXT: ^bb0(%{{.*}}: index, %{{.*}}: tensor<1x8xf32>, %{{.*}}: tensor<1x8xf32>, %{{.*}}: tensor<1x8xf32>, %{{.*}}: tensor<1xi64>):
  moe.kernel.fold_rows rows(%a : memref<?xf32>)
      invariants(%c : memref<8xf32>) outs(%s, %m : memref<8xf32>, memref<1xi64>)
      inits [0.0, 3.0] tokens(%n) {
  ^bb0(%i: index, %r: tensor<1x8xf32>, %v: tensor<1x8xf32>,
       %acc: tensor<1x8xf32>, %k: tensor<1xi64>):
    %0 = arith.mulf %r, %v : tensor<1x8xf32>
    %1 = arith.addf %acc, %0 : tensor<1x8xf32>
    moe.yield %1, %k : tensor<1x8xf32>, tensor<1xi64>
  }
  return
}
