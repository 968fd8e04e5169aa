// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @moe_kernel_router_logits_c4(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C4: cosine must be finite and not negative, got -5.000000e-01}}
  moe.kernel.router_logits ins(%f, %f : memref<?xf32>, memref<?xf32>) outs(%f : memref<?xf32>) tokens(%n) {experts = 8 : i64, hidden = 4 : i64, cosine = -0.5 : f32}
  return
}

// -----

func.func @moe_kernel_select_topk_c2_null(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C2: top_k = 2 exceeds the number of experts 8 less 7 null ones}}
  moe.kernel.select_topk ins(%f : memref<?xf32>) outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8 : i64, policy = #moe.policy<top_k = 2, null_experts = 7>}
  return
}

// -----

func.func @moe_kernel_select_topk_c3_after_first(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C3: 'bias_after_first' needs a bias}}
  moe.kernel.select_topk ins(%f : memref<?xf32>) outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8 : i64, policy = #moe.policy<top_k = 2, bias_after_first>}
  return
}

// -----

func.func @moe_kernel_select_topk_c3_per_token(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C3: bias_per_token needs a bias}}
  moe.kernel.select_topk ins(%f : memref<?xf32>) outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8 : i64, bias_per_token, policy = #moe.policy<top_k = 2>}
  return
}

// -----

func.func @moe_kernel_select_topk_c4_prefer(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C4: resident and 'prefer' are given together}}
  moe.kernel.select_topk ins(%f : memref<?xf32>) outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8 : i64, policy = #moe.policy<top_k = 2, prefer = 0.5>}
  return
}

// -----

func.func @moe_kernel_select_topk_c4_resident(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %p: memref<7xi32>) {
  // expected-error @+1 {{C4: resident must hold 8 elements, got 'memref<7xi32>'}}
  moe.kernel.select_topk ins(%f : memref<?xf32>) resident(%p : memref<7xi32>) outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8 : i64, policy = #moe.policy<top_k = 2, prefer = 0.5>}
  return
}

// -----

func.func @moe_kernel_select_topk_c4_random(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C4: random and 'keep = random' are given together}}
  moe.kernel.select_topk ins(%f : memref<?xf32>) random(%f : memref<?xf32>) outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n) {experts = 8 : i64, policy = #moe.policy<top_k = 2>}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c6(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %eo: memref<9xi32>, %b: memref<?xi8>) {
  // expected-error @+1 {{C6: expected 1 biases or none, got 2}}
  moe.kernel.grouped_gemm ins(%b, %b, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) biases(%f, %f : memref<?xf32>, memref<?xf32>) outs(%f : memref<?xf32>) attributes {experts = 8 : i64, n = 4 : i64, k = 6 : i64, parts = 1 : i64, weight_type = f32, row_type = f32}
  return
}

// -----

func.func @moe_kernel_grouped_gemm_c6_length(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %eo: memref<9xi32>, %b: memref<?xi8>, %v: memref<31xf32>) {
  // expected-error @+1 {{C6: a bias must hold 32 elements, got 'memref<31xf32>'}}
  moe.kernel.grouped_gemm ins(%b, %b, %eo : memref<?xi8>, memref<?xi8>, memref<9xi32>) biases(%v : memref<31xf32>) outs(%f : memref<?xf32>) attributes {experts = 8 : i64, n = 4 : i64, k = 6 : i64, parts = 1 : i64, weight_type = f32, row_type = f32}
  return
}

// -----

func.func @moe_kernel_combine_rows_c1_unweighted(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: unweighted must have 1 elements, got 2}}
  moe.kernel.combine_rows rows(%f : memref<?xf32>) offsets(%i : memref<?xi32>) indices(%i : memref<?xi32>) weights(%f : memref<?xf32>) outs(%f : memref<?xf32>) tokens(%n) {hidden = 4 : i64, unweighted = array<i1: true, false>}
  return
}

// -----

func.func @moe_kernel_apply_capacity_c1_experts(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %d: memref<8xi32>) {
  // expected-error @+1 {{C1: experts must be at least 1, got 0}}
  moe.kernel.apply_capacity ins(%i, %f : memref<?xi32>, memref<?xf32>) outs(%i, %f, %d : memref<?xi32>, memref<?xf32>, memref<8xi32>) scratch(%i : memref<?xi32>) tokens(%n) {experts = 0 : i64, policy = #moe.policy<top_k = 2, capacity = slots 4 by weight>}
  return
}

// -----

func.func @moe_kernel_apply_capacity_c1_policy(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %d: memref<8xi32>) {
  // expected-error @+1 {{C1: the policy has no capacity}}
  moe.kernel.apply_capacity ins(%i, %f : memref<?xi32>, memref<?xf32>) outs(%i, %f, %d : memref<?xi32>, memref<?xf32>, memref<8xi32>) scratch(%i : memref<?xi32>) tokens(%n) {experts = 8 : i64, policy = #moe.policy<top_k = 2>}
  return
}

// -----

func.func @moe_kernel_apply_capacity_c1_dropped(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %d: memref<8xi32>) {
  // expected-error @+1 {{C1: dropped must hold 9 elements, got 'memref<8xi32>'}}
  moe.kernel.apply_capacity ins(%i, %f : memref<?xi32>, memref<?xf32>) outs(%i, %f, %d : memref<?xi32>, memref<?xf32>, memref<8xi32>) scratch(%i : memref<?xi32>) tokens(%n) {experts = 9 : i64, policy = #moe.policy<top_k = 2, capacity = slots 4 by weight>}
  return
}

// -----

func.func @moe_kernel_select_products_c1(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: top_k = 4 exceeds 8 or 3 candidates}}
  moe.kernel.select_products ins(%f, %f : memref<?xf32>, memref<?xf32>) outs(%i, %f : memref<?xi32>, memref<?xf32>) tokens(%n) {first_size = 8 : i64, second_size = 3 : i64, policy = #moe.policy<score = none, top_k = 4>}
  return
}

// -----

func.func @moe_kernel_choose_rows_c1(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: experts must be at least 1, got 0}}
  moe.kernel.choose_rows ins(%f : memref<?xf32>) outs(%i, %i, %f, %i, %i : memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) scratch(%i : memref<?xi32>) tokens(%n) {experts = 0 : i64, score = #moe<token_score none>, capacity = #moe.capacity<slots 3>}
  return
}

// -----

func.func @moe_kernel_slice_rows_c1(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %eo: memref<9xi32>) {
  // expected-error @+1 {{C1: expected 0 <= begin < end, got 4 and 4}}
  moe.kernel.slice_rows ins(%i, %i, %f, %i, %i : memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%eo, %i, %f, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {begin = 4 : i64, end = 4 : i64}
  return
}

// -----

func.func @moe_kernel_slice_rows_c1_offsets(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %eo: memref<9xi32>) {
  // expected-error @+1 {{C1: expert_offsets must hold 5 elements, got 'memref<9xi32>'}}
  moe.kernel.slice_rows ins(%i, %i, %f, %i, %i : memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%eo, %i, %f, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {begin = 4 : i64, end = 8 : i64}
  return
}

// -----

func.func @moe_kernel_slice_rows_c2(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %eo: memref<9xi32>) {
  // expected-error @+1 {{C2: worklist and tile_rows are given together}}
  moe.kernel.slice_rows ins(%i, %i, %f, %i, %i : memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%eo, %i, %f, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {begin = 4 : i64, end = 12 : i64, tile_rows = 16 : i64}
  return
}

// -----

func.func @moe_kernel_slice_rows_c2_size(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %eo: memref<9xi32>) {
  // expected-error @+1 {{C2: tile_rows must be at least 1, got 0}}
  moe.kernel.slice_rows ins(%i, %i, %f, %i, %i : memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) outs(%eo, %i, %f, %i, %i : memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) worklist(%i : memref<?xi32>) {begin = 4 : i64, end = 12 : i64, tile_rows = 0 : i64}
  return
}

// -----

func.func @moe_kernel_row_logits_c1(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: inner_experts must be at least 1, got 0}}
  moe.kernel.row_logits ins(%f, %f, %i : memref<?xf32>, memref<?xf32>, memref<?xi32>) outs(%f : memref<?xf32>) {experts = 4 : i64, inner_experts = 0 : i64, hidden = 64 : i64}
  return
}

// -----

func.func @moe_kernel_nest_ids_c1(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: per_token must be at least 1, got 0}}
  moe.kernel.nest_ids ins(%i, %i : memref<?xi32>, memref<?xi32>) outs(%i : memref<?xi32>) tokens(%n) {experts = 4 : i64, inner_experts = 8 : i64, per_token = 0 : i64}
  return
}

// -----

func.func @moe_kernel_count_ids_c1(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %c: memref<8xi64>) {
  // expected-error @+1 {{C1: experts must be at least 1, got 0}}
  moe.kernel.count_ids ins(%i : memref<?xi32>) outs(%c : memref<8xi64>) tokens(%n) {experts = 0 : i64, per_token = 2 : i64}
  return
}

// -----

func.func @moe_kernel_random_c1_columns(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %s: memref<1xi64>) {
  // expected-error @+1 {{C1: columns must be at least 1, got 0}}
  moe.kernel.random ins(%s : memref<1xi64>) outs(%f : memref<?xf32>) tokens(%n) {distribution = #moe<distribution uniform>, columns = 0 : i64, stream = 0 : i64}
  return
}

// -----

func.func @moe_kernel_random_c1_stream(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %s: memref<1xi64>) {
  // expected-error @+1 {{C1: expected 0 <= stream < 65536, got -3}}
  moe.kernel.random ins(%s : memref<1xi64>) outs(%f : memref<?xf32>) tokens(%n) {distribution = #moe<distribution uniform>, columns = 1 : i64, stream = -3 : i64}
  return
}

// -----

func.func @moe_kernel_lookup_rows_c1(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %t: memref<?xbf16>) {
  // expected-error @+1 {{C1: size must be at least 1, got 0}}
  moe.kernel.lookup_rows ins(%t, %i : memref<?xbf16>, memref<?xi32>) outs(%t : memref<?xbf16>) tokens(%n) {size = 0 : i64, columns = 2 : i64}
  return
}

// -----

func.func @moe_kernel_lookup_rows_c2(%f: memref<?xf32>, %i: memref<?xi32>, %n: index, %t: memref<?xbf16>) {
  // expected-error @+1 {{C2: table and out must have one element type, got 'bf16' and 'f32'}}
  moe.kernel.lookup_rows ins(%t, %i : memref<?xbf16>, memref<?xi32>) outs(%f : memref<?xf32>) tokens(%n) {size = 9 : i64, columns = 2 : i64}
  return
}

// -----

func.func @moe_kernel_fold_rows_c1_count(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: expected at least one of rows and a block argument for the row's number and each of 2 buffers, got 2}}
  moe.kernel.fold_rows rows(%f : memref<?xf32>) outs(%f : memref<?xf32>) inits [0.0] tokens(%n) {
  ^bb0(%j: index, %s: tensor<2xf32>):
    moe.yield %s : tensor<2xf32>
  }
  return
}

// -----

func.func @moe_kernel_fold_rows_c1_index(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: block argument 0 must be an index, got 'i64'}}
  moe.kernel.fold_rows rows(%f : memref<?xf32>) outs(%f : memref<?xf32>) inits [0.0] tokens(%n) {
  ^bb0(%j: i64, %r: tensor<1x4xf32>, %s: tensor<2xf32>):
    moe.yield %s : tensor<2xf32>
  }
  return
}

// -----

func.func @moe_kernel_fold_rows_c1_row(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: block argument 1 must be a static tensor 1 x ... of 'f32', got 'tensor<2x4xf32>'}}
  moe.kernel.fold_rows rows(%f : memref<?xf32>) outs(%f : memref<?xf32>) inits [0.0] tokens(%n) {
  ^bb0(%j: index, %r: tensor<2x4xf32>, %s: tensor<2xf32>):
    moe.yield %s : tensor<2xf32>
  }
  return
}

// -----

func.func @moe_kernel_fold_rows_c1_result(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: block argument 2 must be a static tensor of 'f32', got 'tensor<2xi32>'}}
  moe.kernel.fold_rows rows(%f : memref<?xf32>) outs(%f : memref<?xf32>) inits [0.0] tokens(%n) {
  ^bb0(%j: index, %r: tensor<1x4xf32>, %s: tensor<2xi32>):
    moe.yield %s : tensor<2xi32>
  }
  return
}

// -----

func.func @moe_kernel_fold_rows_c2(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C2: the region must yield ('tensor<2xf32>'), got ('tensor<1x4xf32>')}}
  moe.kernel.fold_rows rows(%f : memref<?xf32>) outs(%f : memref<?xf32>) inits [0.0] tokens(%n) {
  ^bb0(%j: index, %r: tensor<1x4xf32>, %s: tensor<2xf32>):
    moe.yield %r : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_kernel_fold_rows_c3(%f: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C3: expected one init for each of 1 outs, got 0}}
  moe.kernel.fold_rows rows(%f : memref<?xf32>) outs(%f : memref<?xf32>) inits [] tokens(%n) {
  ^bb0(%j: index, %r: tensor<1x4xf32>, %s: tensor<2xf32>):
    moe.yield %s : tensor<2xf32>
  }
  return
}
