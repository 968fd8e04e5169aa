// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @moe_kernel_router_logits_c1(%x: memref<?xf32>, %w: memref<512xf32>, %b: memref<8xf32>, %n: index) {
  // expected-error @+1 {{C1: hidden must be at least 1, got 0}}
  moe.kernel.router_logits ins(%x, %w, %b : memref<?xf32>, memref<512xf32>, memref<8xf32>) outs(%x : memref<?xf32>) tokens(%n) {experts = 8, hidden = 0}
  return
}

// -----

func.func @moe_kernel_router_logits_c2_weight(%x: memref<?xf32>, %w: memref<64xf32>, %b: memref<8xf32>, %n: index) {
  // expected-error @+1 {{C2: weight must hold 512 elements, got 'memref<64xf32>'}}
  moe.kernel.router_logits ins(%x, %w, %b : memref<?xf32>, memref<64xf32>, memref<8xf32>) outs(%x : memref<?xf32>) tokens(%n) {experts = 8, hidden = 64}
  return
}

// -----

func.func @moe_kernel_router_logits_c2_bias(%x: memref<?xf32>, %w: memref<512xf32>, %b: memref<9xf32>, %n: index) {
  // expected-error @+1 {{C2: bias must hold 8 elements, got 'memref<9xf32>'}}
  moe.kernel.router_logits ins(%x, %w, %b : memref<?xf32>, memref<512xf32>, memref<9xf32>) outs(%x : memref<?xf32>) tokens(%n) {experts = 8, hidden = 64}
  return
}

// -----

func.func @moe_kernel_router_logits_c3(%x: memref<?xf32>, %w: memref<512xf32>, %b: memref<8xf32>, %n: index) {
  // expected-error @+1 {{C3: round must be bf16 or f16, got 'f32'}}
  moe.kernel.router_logits ins(%x, %w, %b : memref<?xf32>, memref<512xf32>, memref<8xf32>) outs(%x : memref<?xf32>) tokens(%n) {experts = 8, hidden = 64, round = f32}
  return
}

// -----

func.func @moe_kernel_select_topk_c1(%l: memref<?xf32>, %b: memref<8xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: experts must be at least 1, got -8}}
  moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<8xf32>) outs(%i, %l : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = -8, policy = #moe.policy<top_k = 2>}
  return
}

// -----

func.func @moe_kernel_select_topk_c2(%l: memref<?xf32>, %b: memref<8xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C2: top_k = 9 exceeds the number of experts 8}}
  moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<8xf32>) outs(%i, %l : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8, policy = #moe.policy<top_k = 9>}
  return
}

// -----

func.func @moe_kernel_select_topk_c2_groups(%l: memref<?xf32>, %b: memref<8xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C2: 1 groups of 4 experts hold fewer than top_k = 5}}
  moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<8xf32>) outs(%i, %l : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8, policy = #moe.policy<groups = 2 keep 1 by max, top_k = 5>}
  return
}

// -----

func.func @moe_kernel_select_topk_c3(%l: memref<?xf32>, %b: memref<2xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C3: bias must hold 8 elements, got 'memref<2xf32>'}}
  moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<2xf32>) outs(%i, %l : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8, policy = #moe.policy<top_k = 2>}
  return
}

// -----

func.func @moe_kernel_group_rows_c1(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C1: per_token must lie between 1 and the number of experts 8, got 9}}
  moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>) outs(%eo, %i, %w, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 8, per_token = 9}
  return
}

// -----

func.func @moe_kernel_group_rows_c2(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<8xi32>, %n: index) {
  // expected-error @+1 {{C2: expert_offsets must hold 9 elements, got 'memref<8xi32>'}}
  moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>) outs(%eo, %i, %w, %i, %i : memref<8xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 8, per_token = 2}
  return
}

// -----

func.func @moe_kernel_all_rows_c1(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C1: experts must be at least 1, got 0}}
  moe.kernel.all_rows outs(%eo, %i, %w, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 0}
  return
}

// -----

func.func @moe_kernel_all_rows_c2(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C2: expert_offsets must hold 2 elements, got 'memref<9xi32>'}}
  moe.kernel.all_rows outs(%eo, %i, %w, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 1}
  return
}

// -----

func.func @moe_kernel_gather_rows_c1(%x: memref<?xbf16>, %t: memref<?xi32>, %eo: memref<9xi32>, %r: memref<?xbf16>) {
  // expected-error @+1 {{C1: hidden must be at least 1, got 0}}
  moe.kernel.gather_rows ins(%x, %t, %eo : memref<?xbf16>, memref<?xi32>, memref<9xi32>) outs(%r : memref<?xbf16>) {experts = 8, hidden = 0}
  return
}

// -----

func.func @moe_kernel_gather_rows_c2(%x: memref<?xbf16>, %t: memref<?xi32>, %eo: memref<10xi32>, %r: memref<?xbf16>) {
  // expected-error @+1 {{C2: expert_offsets must hold 9 elements, got 'memref<10xi32>'}}
  moe.kernel.gather_rows ins(%x, %t, %eo : memref<?xbf16>, memref<?xi32>, memref<10xi32>) outs(%r : memref<?xbf16>) {experts = 8, hidden = 64}
  return
}

// -----

func.func @moe_kernel_gather_rows_c3(%x: memref<?xbf16>, %t: memref<?xi32>, %eo: memref<9xi32>, %r: memref<?xf32>) {
  // expected-error @+1 {{C3: x and rows must have one element type, got 'bf16' and 'f32'}}
  moe.kernel.gather_rows ins(%x, %t, %eo : memref<?xbf16>, memref<?xi32>, memref<9xi32>) outs(%r : memref<?xf32>) {experts = 8, hidden = 64}
  return
}

// -----

func.func @moe_kernel_pack_rows_c1(%x: memref<?xbf16>, %t: memref<?xi32>, %eo: memref<9xi32>, %p: memref<?xi8>) {
  // expected-error @+1 {{C1: experts must be at least 1, got 0}}
  moe.kernel.pack_rows ins(%x, %t, %eo : memref<?xbf16>, memref<?xi32>, memref<9xi32>) outs(%p : memref<?xi8>) {experts = 0, hidden = 64, weight_type = bf16}
  return
}

// -----

func.func @moe_kernel_pack_rows_c2(%x: memref<?xbf16>, %t: memref<?xi32>, %eo: memref<1xi32>, %p: memref<?xi8>) {
  // expected-error @+1 {{C2: expert_offsets must hold 9 elements, got 'memref<1xi32>'}}
  moe.kernel.pack_rows ins(%x, %t, %eo : memref<?xbf16>, memref<?xi32>, memref<1xi32>) outs(%p : memref<?xi8>) {experts = 8, hidden = 64, weight_type = bf16}
  return
}

// -----

func.func @moe_kernel_pack_rows_c3(%x: memref<?xbf16>, %t: memref<?xi32>, %eo: memref<9xi32>, %p: memref<?xi8>) {
  // expected-error @+1 {{C3: weight_type must be f32 or bf16, got 'f16'}}
  moe.kernel.pack_rows ins(%x, %t, %eo : memref<?xbf16>, memref<?xi32>, memref<9xi32>) outs(%p : memref<?xi8>) {experts = 8, hidden = 64, weight_type = f16}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c1_k(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xbf16>) {
  // expected-error @+1 {{C1: k must be at least 1, got 0}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xbf16>) attributes {experts = 8, n = 64, k = 0, parts = 1, weight_type = bf16, row_type = bf16}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c1_parts(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xbf16>) {
  // expected-error @+1 {{C1: parts must be 1 or 2, got 3}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xbf16>) attributes {experts = 8, n = 64, k = 96, parts = 3, weight_type = bf16, row_type = bf16}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c2(%a: memref<?xi8>, %eo: memref<8xi32>, %y: memref<?xbf16>) {
  // expected-error @+1 {{C2: expert_offsets must hold 9 elements, got 'memref<8xi32>'}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<8xi32>) outs(%y : memref<?xbf16>) attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = bf16, row_type = bf16}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c3_weight(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xbf16>) {
  // expected-error @+1 {{C3: weight_type must be f32 or bf16, got 'f64'}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xbf16>) attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = f64, row_type = bf16}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c3_row(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xbf16>) {
  // expected-error @+1 {{C3: row_type must be f32, bf16 or f16, got 'f64'}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xbf16>) attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = bf16, row_type = f64}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c4_out(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xbf16>) {
  // expected-error @+1 {{C4: with an activation out must be i8, got 'memref<?xbf16>'}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xbf16>) attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = bf16, row_type = bf16} {
  ^bb0(%g: f32):
    moe.yield %g : f32
  }
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c4_takes(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xi8>) {
  // expected-error @+1 {{C4: the region must take 1 values of f32, got ('f32', 'f32')}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xi8>) attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = bf16, row_type = bf16} {
  ^bb0(%g: f32, %u: f32):
    moe.yield %g : f32
  }
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c4_yields(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xi8>) {
  // expected-error @+1 {{C4: the region must yield one f32, got ()}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xi8>) attributes {experts = 8, n = 64, k = 96, parts = 2, weight_type = bf16, row_type = bf16} {
  ^bb0(%g: f32, %u: f32):
    moe.yield
  }
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c4_none(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xi8>) {
  // expected-error @+1 {{C4: the region must take 1 values of f32, got ()}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xi8>) attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = bf16, row_type = bf16} {
    %c = arith.constant 0.0 : f32
    moe.yield %c : f32
  }
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c5_parts(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xbf16>) {
  // expected-error @+1 {{C5: without an activation parts must be 1, got 2}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xbf16>) attributes {experts = 8, n = 64, k = 96, parts = 2, weight_type = bf16, row_type = bf16}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c5_out(%a: memref<?xi8>, %eo: memref<9xi32>, %y: memref<?xf32>) {
  // expected-error @+1 {{C5: without an activation out must be of row_type 'bf16', got 'memref<?xf32>'}}
  moe.kernel.grouped_gemm ins(%a, %a, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) outs(%y : memref<?xf32>) attributes {experts = 8, n = 64, k = 96, parts = 1, weight_type = bf16, row_type = bf16}
  return
}

// -----

func.func @moe_kernel_combine_rows_c1(%r: memref<?xbf16>, %i: memref<?xi32>, %w: memref<?xf32>, %y: memref<?xbf16>, %n: index) {
  // expected-error @+1 {{C1: expected at least one of rows and as many of each list, got 2 rows, 1 offsets, 1 indices and 1 weights}}
  moe.kernel.combine_rows rows(%r, %r : memref<?xbf16>, memref<?xbf16>) offsets(%i : memref<?xi32>) indices(%i : memref<?xi32>) weights(%w : memref<?xf32>) outs(%y : memref<?xbf16>) tokens(%n) {hidden = 64}
  return
}

// -----

func.func @moe_kernel_combine_rows_c2(%r: memref<?xbf16>, %i: memref<?xi32>, %w: memref<?xf32>, %y: memref<?xbf16>, %n: index) {
  // expected-error @+1 {{C2: hidden must be at least 1, got 0}}
  moe.kernel.combine_rows rows(%r : memref<?xbf16>) offsets(%i : memref<?xi32>) indices(%i : memref<?xi32>) weights(%w : memref<?xf32>) outs(%y : memref<?xbf16>) tokens(%n) {hidden = 0}
  return
}

// -----

func.func @moe_kernel_combine_rows_c3(%r: memref<?xbf16>, %i: memref<?xi32>, %w: memref<?xf32>, %y: memref<?xf32>, %n: index) {
  // expected-error @+1 {{C3: rows and out must have one element type, got 'bf16' and 'f32'}}
  moe.kernel.combine_rows rows(%r : memref<?xbf16>) offsets(%i : memref<?xi32>) indices(%i : memref<?xi32>) weights(%w : memref<?xf32>) outs(%y : memref<?xf32>) tokens(%n) {hidden = 64}
  return
}

// -----

func.func @moe_kernel_count_rows_c1(%eo: memref<?xi32>, %c: memref<?xi64>) {
  // expected-error @+1 {{C1: experts must be at least 1, got 0}}
  moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%c : memref<?xi64>) {experts = 0}
  return
}

// -----

func.func @moe_kernel_count_rows_c2_offsets(%eo: memref<8xi32>, %c: memref<8xi64>) {
  // expected-error @+1 {{C2: expert_offsets must hold 9 elements, got 'memref<8xi32>'}}
  moe.kernel.count_rows ins(%eo : memref<8xi32>) outs(%c : memref<8xi64>) {experts = 8}
  return
}

// -----

func.func @moe_kernel_count_rows_c2_counts(%eo: memref<9xi32>, %c: memref<9xi64>) {
  // expected-error @+1 {{C2: counts must hold 8 elements, got 'memref<9xi64>'}}
  moe.kernel.count_rows ins(%eo : memref<9xi32>) outs(%c : memref<9xi64>) {experts = 8}
  return
}

// -----

func.func @moe_kernel_map_rows_c1_count(%a: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C1: expected at least one of rows and a block argument for each of 2 buffers, got 1}}
  moe.kernel.map_rows rows(%a, %a : memref<?xf32>, memref<?xf32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_kernel_map_rows_c1_row(%a: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C1: block argument 0 must be a static tensor 1 x ... of 'f32', got 'tensor<2x4xf32>'}}
  moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<2x4xf32>):
    moe.yield %p : tensor<2x4xf32>
  }
  return
}

// -----

func.func @moe_kernel_map_rows_c1_element(%a: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C1: block argument 0 must be a static tensor 1 x ... of 'f32', got 'tensor<1x4xbf16>'}}
  moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<1x4xbf16>):
    moe.yield %p : tensor<1x4xbf16>
  }
  return
}

// -----

func.func @moe_kernel_map_rows_c1_invariant(%a: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C1: block argument 1 must be a static tensor of 'f32', got 'tensor<?xf32>'}}
  moe.kernel.map_rows rows(%a : memref<?xf32>) invariants(%a : memref<?xf32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<1x4xf32>, %u: tensor<?xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_kernel_map_rows_c2_count(%a: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C2: expected a yielded value for each of 1 outs, got 0}}
  moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield
  }
  return
}

// -----

func.func @moe_kernel_map_rows_c2_type(%a: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C2: yielded value 0 must be a static tensor 1 x ... of 'f32', got 'f32'}}
  moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<1x4xf32>):
    %c = arith.constant 0.0 : f32
    moe.yield %c : f32
  }
  return
}

// -----

func.func @moe_kernel_map_rows_c3_missing(%a: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C3: expert weights need offsets}}
  moe.kernel.map_rows rows(%a : memref<?xf32>) weights(%a : memref<?xf32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<1x4xf32>, %v: tensor<4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_kernel_map_rows_c3_experts(%a: memref<?xf32>, %eo: memref<9xi32>, %n: index) {
  // expected-error @+1 {{C3: experts must be at least 1, got 0}}
  moe.kernel.map_rows rows(%a : memref<?xf32>) offsets(%eo : memref<9xi32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 0} {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_kernel_map_rows_c3_offsets(%a: memref<?xf32>, %eo: memref<7xi32>, %n: index) {
  // expected-error @+1 {{C3: expert_offsets must hold 9 elements, got 'memref<7xi32>'}}
  moe.kernel.map_rows rows(%a : memref<?xf32>) offsets(%eo : memref<7xi32>) outs(%a : memref<?xf32>) tokens(%n) attributes {experts = 8} {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_ukernel_c1_mr(%a: memref<?xi8>, %c: memref<?xf32>, %i: index) {
  // expected-error @+1 {{C1: mr must be at least 1, got 0}}
  moe.ukernel %a[%i, %i], %a[%i], %c[%i] k(%i of %i) {mr = 0, isa = #moe.isa<amx>, weight_type = bf16, prefetch = 0} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}

// -----

func.func @moe_ukernel_c1_prefetch(%a: memref<?xi8>, %c: memref<?xf32>, %i: index) {
  // expected-error @+1 {{C1: prefetch must not be negative, got -1}}
  moe.ukernel %a[%i, %i], %a[%i], %c[%i] k(%i of %i) {mr = 1, isa = #moe.isa<amx>, weight_type = bf16, prefetch = -1} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}

// -----

func.func @moe_ukernel_c2(%a: memref<?xi8>, %c: memref<?xf32>, %i: index) {
  // expected-error @+1 {{C2: weight_type must be f32 or bf16, got 'f16'}}
  moe.ukernel %a[%i, %i], %a[%i], %c[%i] k(%i of %i) {mr = 1, isa = #moe.isa<amx>, weight_type = f16, prefetch = 0} : memref<?xi8>, memref<?xi8>, memref<?xf32>
  return
}
