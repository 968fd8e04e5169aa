// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @moe_kernel_router_logits
func.func @moe_kernel_router_logits(
    %x: memref<?xbf16>, %w: memref<512xf32>, %b: memref<8xf32>,
    %out: memref<?xf32>, %n: index) {
  // CHECK: moe.kernel.router_logits ins(%{{.*}}, %{{.*}} : memref<?xbf16>, memref<512xf32>) outs(%{{.*}} : memref<?xf32>) tokens(%{{.*}}) {experts = 8 : i64, hidden = 64 : i64}
  moe.kernel.router_logits ins(%x, %w : memref<?xbf16>, memref<512xf32>)
      outs(%out : memref<?xf32>) tokens(%n) {experts = 8, hidden = 64}
  // CHECK: moe.kernel.router_logits ins(%{{.*}}, %{{.*}}, %{{.*}} : memref<?xbf16>, memref<512xf32>, memref<8xf32>) outs(%{{.*}} : memref<?xf32>) tokens(%{{.*}}) {experts = 8 : i64, hidden = 64 : i64, round = bf16}
  moe.kernel.router_logits
      ins(%x, %w, %b : memref<?xbf16>, memref<512xf32>, memref<8xf32>)
      outs(%out : memref<?xf32>) tokens(%n)
      {experts = 8, hidden = 64, round = bf16}
  return
}

// CHECK-LABEL: func.func @moe_kernel_select_topk
func.func @moe_kernel_select_topk(
    %l: memref<?xf32>, %b: memref<8xf32>, %i: memref<?xi32>, %w: memref<?xf32>,
    %n: index) {
  // CHECK: moe.kernel.select_topk ins(%{{.*}} : memref<?xf32>) outs(%{{.*}}, %{{.*}} : memref<?xi32>, memref<?xf32>) tokens(%{{.*}}) {experts = 8 : i64, policy = #moe.policy<score = softmax, top_k = 2>}
  moe.kernel.select_topk ins(%l : memref<?xf32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 8, policy = #moe.policy<top_k = 2>}
  // CHECK: moe.kernel.select_topk ins(%{{.*}}, %{{.*}} : memref<?xf32>, memref<8xf32>)
  moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<8xf32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 8, policy = #moe.policy<top_k = 2>}
  return
}

// CHECK-LABEL: func.func @moe_kernel_lists
func.func @moe_kernel_lists(
    %i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<9xi32>,
    %rt: memref<?xi32>, %rw: memref<?xf32>, %to: memref<?xi32>,
    %tr: memref<?xi32>, %c: memref<8xi64>, %n: index) {
  // CHECK: moe.kernel.group_rows ins(%{{.*}}, %{{.*}} : memref<?xi32>, memref<?xf32>) outs(%{{.*}} : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%{{.*}}) {experts = 8 : i64, given, per_token = 2 : i64}
  moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)
      outs(%eo, %rt, %rw, %to, %tr : memref<9xi32>, memref<?xi32>,
           memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      {experts = 8, per_token = 2, given}
  // CHECK: moe.kernel.all_rows outs(%{{.*}} : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%{{.*}}) {experts = 8 : i64}
  moe.kernel.all_rows
      outs(%eo, %rt, %rw, %to, %tr : memref<9xi32>, memref<?xi32>,
           memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      {experts = 8}
  // CHECK: moe.kernel.all_rows ins(%{{.*}} : memref<?xf32>) outs(
  moe.kernel.all_rows ins(%w : memref<?xf32>)
      outs(%eo, %rt, %rw, %to, %tr : memref<9xi32>, memref<?xi32>,
           memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      {experts = 8}
  // CHECK: moe.kernel.count_rows ins(%{{.*}} : memref<9xi32>) outs(%{{.*}} : memref<8xi64>) {experts = 8 : i64}
  moe.kernel.count_rows ins(%eo : memref<9xi32>) outs(%c : memref<8xi64>)
      {experts = 8}
  return
}

// CHECK-LABEL: func.func @moe_kernel_rows
func.func @moe_kernel_rows(
    %x: memref<?xbf16>, %rt: memref<?xi32>, %eo: memref<?xi32>,
    %rows: memref<?xbf16>, %packed: memref<?xi8>, %to: memref<?xi32>,
    %tr: memref<?xi32>, %rw: memref<?xf32>, %n: index) {
  // CHECK: moe.kernel.gather_rows ins(%{{.*}} : memref<?xbf16>, memref<?xi32>, memref<?xi32>) outs(%{{.*}} : memref<?xbf16>) {experts = 8 : i64, hidden = 64 : i64}
  moe.kernel.gather_rows
      ins(%x, %rt, %eo : memref<?xbf16>, memref<?xi32>, memref<?xi32>)
      outs(%rows : memref<?xbf16>) {experts = 8, hidden = 64}
  // CHECK: moe.kernel.pack_rows ins(%{{.*}} : memref<?xbf16>, memref<?xi32>, memref<?xi32>) outs(%{{.*}} : memref<?xi8>) {experts = 8 : i64, hidden = 64 : i64, weight_type = bf16}
  moe.kernel.pack_rows
      ins(%x, %rt, %eo : memref<?xbf16>, memref<?xi32>, memref<?xi32>)
      outs(%packed : memref<?xi8>)
      {experts = 8, hidden = 64, weight_type = bf16}
  // CHECK: moe.kernel.combine_rows rows(%{{.*}}, %{{.*}} : memref<?xbf16>, memref<?xbf16>) offsets(%{{.*}}) indices(%{{.*}}) weights(%{{.*}}) outs(%{{.*}} : memref<?xbf16>) tokens(%{{.*}}) {hidden = 64 : i64}
  moe.kernel.combine_rows rows(%rows, %rows : memref<?xbf16>, memref<?xbf16>)
      offsets(%to, %to : memref<?xi32>, memref<?xi32>)
      indices(%tr, %tr : memref<?xi32>, memref<?xi32>)
      weights(%rw, %rw : memref<?xf32>, memref<?xf32>)
      outs(%x : memref<?xbf16>) tokens(%n) {hidden = 64}
  return
}

// CHECK-LABEL: func.func @moe_kernel_grouped_gemm
func.func @moe_kernel_grouped_gemm(
    %a: memref<?xi8>, %w: memref<?xi8>, %eo: memref<9xi32>, %h: memref<?xi8>,
    %y: memref<?xbf16>) {
  // CHECK: moe.kernel.grouped_gemm ins(%{{.*}} : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%{{.*}} : memref<?xi8>) attributes {experts = 8 : i64, k = 64 : i64, n = 96 : i64, parts = 2 : i64, row_type = bf16, weight_type = bf16} {
  // CHECK-NEXT: ^bb0(%{{.*}}: f32, %{{.*}}: f32):
  moe.kernel.grouped_gemm
      ins(%a, %w, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>)
      outs(%h : memref<?xi8>)
      attributes {experts = 8, n = 96, k = 64, parts = 2, weight_type = bf16,
                  row_type = bf16} {
  ^bb0(%g: f32, %u: f32):
    %p = arith.mulf %g, %u : f32
    moe.yield %p : f32
  }
  // No region stays none.
  // CHECK: moe.kernel.grouped_gemm {{.*}} outs(%{{.*}} : memref<?xbf16>) attributes {{{.*}}}{{$}}
  moe.kernel.grouped_gemm
      ins(%a, %w, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>)
      outs(%y : memref<?xbf16>)
      attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = bf16,
                  row_type = bf16}
  // CHECK-NEXT: moe.kernel.grouped_gemm {{.*}} outs(%{{.*}} : memref<?xbf16>)
  moe.kernel.grouped_gemm
      ins(%a, %w, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>)
      outs(%y : memref<?xbf16>)
      attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = bf16,
                  row_type = bf16} {}
  return
}

// CHECK-LABEL: func.func @moe_kernel_map_rows
func.func @moe_kernel_map_rows(
    %a: memref<?xf32>, %eo: memref<9xi32>, %w: memref<?xbf16>,
    %c: memref<1xf32>, %out: memref<?xbf16>, %n: index) {
  // CHECK: moe.kernel.map_rows rows(%{{.*}} : memref<?xf32>) offsets(%{{.*}} : memref<9xi32>) weights(%{{.*}} : memref<?xbf16>) invariants(%{{.*}} : memref<1xf32>) outs(%{{.*}} : memref<?xbf16>) tokens(%{{.*}}) attributes {experts = 8 : i64} {
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<1x4xf32>, %{{.*}}: tensor<2x4xbf16>, %{{.*}}: tensor<f32>):
  moe.kernel.map_rows rows(%a : memref<?xf32>) offsets(%eo : memref<9xi32>)
      weights(%w : memref<?xbf16>) invariants(%c : memref<1xf32>)
      outs(%out : memref<?xbf16>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<1x4xf32>, %v: tensor<2x4xbf16>, %u: tensor<f32>):
    %r = arith.truncf %p : tensor<1x4xf32> to tensor<1x4xbf16>
    moe.yield %r : tensor<1x4xbf16>
  }
  // CHECK: moe.kernel.map_rows rows(%{{.*}} : memref<?xf32>) outs(%{{.*}} : memref<?xf32>) tokens(%{{.*}}) attributes {experts = 0 : i64} {
  moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%a : memref<?xf32>)
      tokens(%n) attributes {experts = 0} {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// CHECK-LABEL: func.func @moe_ukernel
func.func @moe_ukernel(%a: memref<?xi8>, %b: memref<?xi8>, %c: memref<?xf32>,
                       %i: index, %j: index, %k: index) {
  // CHECK: moe.ukernel %{{.*}}[%{{.*}}, %{{.*}}], %{{.*}}[%{{.*}}], %{{.*}}[%{{.*}}] k(%{{.*}} of %{{.*}}) {accumulate, isa = #moe.isa<avx512>, mr = 8 : i64, prefetch = 1024 : i64, weight_type = bf16} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  moe.ukernel %a[%i, %j], %b[%i], %c[%j] k(%k of %k)
      {mr = 8, isa = #moe.isa<avx512>, weight_type = bf16, prefetch = 1024,
       accumulate} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}
