// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @moe_select_topk_c2_tokens(%l: tensor<4x8xf32>, %b: tensor<5x8xf32>) {
  // expected-error @+1 {{C2: bias must be N x 8 for logits 'tensor<4x8xf32>', got 'tensor<5x8xf32>'}}
  %i, %w = moe.select_topk %l bias(%b) policy<top_k = 2> : tensor<4x8xf32>, tensor<5x8xf32> -> tensor<4x2xi32>, tensor<4x2xf32>
  return
}

// -----

func.func @moe_select_topk_c2_after_first(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: 'bias_after_first' needs a bias}}
  %i, %w = moe.select_topk %l policy<top_k = 2, bias_after_first> : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_topk_c3_null(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: top_k = 2 exceeds the number of experts 8 less 7 null ones}}
  %i, %w = moe.select_topk %l policy<top_k = 2, null_experts = 7> : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_topk_c4_prefer(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C4: resident and 'prefer' are given together}}
  %i, %w = moe.select_topk %l policy<top_k = 2, prefer = 0.5> : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_topk_c4_resident(%l: tensor<?x8xf32>, %p: tensor<2xi32>) {
  // expected-error @+1 {{C4: resident must have 8 elements, got 'tensor<2xi32>'}}
  %i, %w = moe.select_topk %l resident(%p : tensor<2xi32>) policy<top_k = 2, prefer = 0.5> : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_topk_c4_keep(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C4: random and 'keep = random' are given together}}
  %i, %w = moe.select_topk %l policy<top_k = 2, keep = random 0.5> : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_topk_c4_random(%l: tensor<4x8xf32>, %u: tensor<3x2xf32>) {
  // expected-error @+1 {{C4: random must be N x 2 for logits 'tensor<4x8xf32>', got 'tensor<3x2xf32>'}}
  %i, %w = moe.select_topk %l random(%u : tensor<3x2xf32>) policy<top_k = 2, keep = random 0.5> : tensor<4x8xf32> -> tensor<4x2xi32>, tensor<4x2xf32>
  return
}

// -----

func.func @moe_apply_capacity_c1(%i: tensor<?x2xi32>, %w: tensor<?x3xf32>) {
  // expected-error @+1 {{C1: all ids and weights must be N x 2, got 'tensor<?x3xf32>'}}
  %a:3 = moe.apply_capacity %i, %w policy<top_k = 2, capacity = factor 1.0 by choice> : tensor<?x2xi32>, tensor<?x3xf32> -> tensor<?x2xi32>, tensor<?x2xf32>, tensor<8xi32>
  return
}

// -----

func.func @moe_apply_capacity_c1_tokens(%i: tensor<3x2xi32>, %w: tensor<3x2xf32>) {
  // expected-error @+1 {{C1: all ids and weights must be N x 2, got 'tensor<4x2xi32>'}}
  %a:3 = moe.apply_capacity %i, %w policy<top_k = 2, capacity = factor 1.0 by choice> : tensor<3x2xi32>, tensor<3x2xf32> -> tensor<4x2xi32>, tensor<3x2xf32>, tensor<8xi32>
  return
}

// -----

func.func @moe_apply_capacity_c2(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{C2: dropped must have one element for each of at least 2 experts, got 'tensor<?xi32>'}}
  %a:3 = moe.apply_capacity %i, %w policy<top_k = 2, capacity = factor 1.0 by choice> : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>, tensor<?xi32>
  return
}

// -----

func.func @moe_apply_capacity_c3(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{C3: the policy has no capacity}}
  %a:3 = moe.apply_capacity %i, %w policy<top_k = 2> : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>, tensor<8xi32>
  return
}

// -----

func.func @moe_select_products_c1(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C1: ids and weights must be N x 2 for lists 'tensor<?x4xf32>', got 'tensor<?x3xf32>'}}
  %i, %w = moe.select_products %a, %b policy<score = none, top_k = 2> : tensor<?x4xf32>, tensor<?x6xf32> -> tensor<?x2xi32>, tensor<?x3xf32>
  return
}

// -----

func.func @moe_select_products_c1_dynamic(%a: tensor<?x4xf32>, %b: tensor<?x?xf32>) {
  // expected-error @+1 {{C1: expected N x A and N x B with static A and B, got 'tensor<?x4xf32>' and 'tensor<?x?xf32>'}}
  %i, %w = moe.select_products %a, %b policy<score = none, top_k = 2> : tensor<?x4xf32>, tensor<?x?xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_products_c2(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: top_k = 5 exceeds 4 or 6 candidates}}
  %i, %w = moe.select_products %a, %b policy<score = none, top_k = 5> : tensor<?x4xf32>, tensor<?x6xf32> -> tensor<?x5xi32>, tensor<?x5xf32>
  return
}

// -----

func.func @moe_select_products_c3(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C3: pairs of two lists have no 'keep'}}
  %i, %w = moe.select_products %a, %b policy<score = none, top_k = 2, keep = top_p 0.5> : tensor<?x4xf32>, tensor<?x6xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_choose_rows_c1(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C1: expected N x E and E+1 offsets, got 'tensor<?x8xf32>' and 'tensor<8xi32>'}}
  %a:5 = moe.choose_rows %l score none capacity <slots 3> rows 0 extra 24 : tensor<?x8xf32> -> tensor<8xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_choose_rows_c1_tokens(%l: tensor<4x8xf32>) {
  // expected-error @+1 {{C1: token_offsets must have 5 elements, got 'tensor<4xi32>'}}
  %a:5 = moe.choose_rows %l score none capacity <slots 3> rows 0 extra 24 : tensor<4x8xf32> -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<4xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_choose_rows_c2(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: rows and extra must not be negative nor both 0, got 0 and 0}}
  %a:5 = moe.choose_rows %l score none capacity <slots 3> rows 0 extra 0 : tensor<?x8xf32> -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_choose_rows_c2_negative(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: rows and extra must not be negative nor both 0, got -1 and 8}}
  %a:5 = moe.choose_rows %l score none capacity <slots 3> rows -1 extra 8 : tensor<?x8xf32> -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_slice_rows_c1(%0: tensor<9xi32>, %1: tensor<?xi32>, %2: tensor<?xf32>, %3: tensor<?xi32>, %4: tensor<?xi32>) {
  // expected-error @+1 {{C1: expected 0 <= begin < end < number of source offsets, got [2, 9] of 'tensor<9xi32>'}}
  %a:5 = moe.slice_rows %0, %1, %2, %3, %4 [2, 9] : tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<8xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_slice_rows_c1_empty(%0: tensor<9xi32>, %1: tensor<?xi32>, %2: tensor<?xf32>, %3: tensor<?xi32>, %4: tensor<?xi32>) {
  // expected-error @+1 {{C1: expected 0 <= begin < end < number of source offsets, got [2, 2] of 'tensor<9xi32>'}}
  %a:5 = moe.slice_rows %0, %1, %2, %3, %4 [2, 2] : tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<1xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_slice_rows_c2(%0: tensor<9xi32>, %1: tensor<?xi32>, %2: tensor<?xf32>, %3: tensor<?xi32>, %4: tensor<?xi32>) {
  // expected-error @+1 {{C2: expert_offsets must have 5 elements, got 'tensor<4xi32>'}}
  %a:5 = moe.slice_rows %0, %1, %2, %3, %4 [2, 6] : tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32> -> tensor<4xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_slice_rows_c2_tokens(%0: tensor<9xi32>, %1: tensor<?xi32>, %2: tensor<?xf32>, %3: tensor<6xi32>, %4: tensor<?xi32>) {
  // expected-error @+1 {{C2: token_offsets must have 6 elements, got 'tensor<7xi32>'}}
  %a:5 = moe.slice_rows %0, %1, %2, %3, %4 [2, 6] : tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<6xi32>, tensor<?xi32> -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<7xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_nest_ids_c1(%i: tensor<?x2xi32>, %o: tensor<5xi32>) {
  // expected-error @+1 {{C1: ids and the result must have one shape, got 'tensor<?x2xi32>' and 'tensor<?x3xi32>'}}
  %n = moe.nest_ids %i offsets(%o) inner 8 : tensor<?x2xi32>, tensor<5xi32> -> tensor<?x3xi32>
  return
}

// -----

func.func @moe_nest_ids_c1_inner(%i: tensor<?x2xi32>, %o: tensor<5xi32>) {
  // expected-error @+1 {{C1: inner must be at least 1, got 0}}
  %n = moe.nest_ids %i offsets(%o) inner 0 : tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2xi32>
  return
}

// -----

func.func @moe_count_ids_c1(%i: tensor<?x2xi32>) {
  // expected-error @+1 {{C1: the number of experts must be static, got 'tensor<?xi64>'}}
  %n = moe.count_ids %i : tensor<?x2xi32> -> tensor<?xi64>
  return
}

// -----

func.func @moe_gather_rows_c1_weights(%x: tensor<?x4xf32>, %t: tensor<6xi32>, %w: tensor<5xf32>) {
  // expected-error @+1 {{C1: weights of type 'tensor<5xf32>' do not weight 'tensor<6x4xf32>'}}
  %r = moe.gather_rows %x[%t] weights(%w : tensor<5xf32>) : tensor<?x4xf32>, tensor<6xi32> -> tensor<6x4xf32>
  return
}

// -----

func.func @moe_row_logits_c1_offsets(%x: tensor<?x64xf32>, %w: tensor<4x8x64xf32>, %o: tensor<4xi32>) {
  // expected-error @+1 {{C1: expected P x H, E x J x H, E+1 and P x J with static E, J and H, got 'tensor<?x64xf32>', 'tensor<4x8x64xf32>', 'tensor<4xi32>' and 'tensor<?x8xf32>'}}
  %l = moe.row_logits ins(%x, %w) offsets(%o) : tensor<?x64xf32>, tensor<4x8x64xf32>, tensor<4xi32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_row_logits_c1_hidden(%x: tensor<?x64xf32>, %w: tensor<4x8x32xf32>, %o: tensor<5xi32>) {
  // expected-error @+1 {{C1: expected P x H, E x J x H, E+1 and P x J with static E, J and H, got 'tensor<?x64xf32>', 'tensor<4x8x32xf32>', 'tensor<5xi32>' and 'tensor<?x8xf32>'}}
  %l = moe.row_logits ins(%x, %w) offsets(%o) : tensor<?x64xf32>, tensor<4x8x32xf32>, tensor<5xi32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_row_logits_c1_inner(%x: tensor<?x64xf32>, %w: tensor<4x8x64xf32>, %o: tensor<5xi32>) {
  // expected-error @+1 {{C1: expected P x H, E x J x H, E+1 and P x J with static E, J and H, got 'tensor<?x64xf32>', 'tensor<4x8x64xf32>', 'tensor<5xi32>' and 'tensor<?x4xf32>'}}
  %l = moe.row_logits ins(%x, %w) offsets(%o) : tensor<?x64xf32>, tensor<4x8x64xf32>, tensor<5xi32> -> tensor<?x4xf32>
  return
}

// -----

func.func @moe_row_logits_c1_rows(%x: tensor<3x64xf32>, %w: tensor<4x8x64xf32>, %o: tensor<5xi32>) {
  // expected-error @+1 {{C1: expected P x H, E x J x H, E+1 and P x J with static E, J and H, got 'tensor<3x64xf32>', 'tensor<4x8x64xf32>', 'tensor<5xi32>' and 'tensor<4x8xf32>'}}
  %l = moe.row_logits ins(%x, %w) offsets(%o) : tensor<3x64xf32>, tensor<4x8x64xf32>, tensor<5xi32> -> tensor<4x8xf32>
  return
}

// -----

func.func @moe_row_logits_c1_dynamic(%x: tensor<?x64xf32>, %w: tensor<?x8x64xf32>, %o: tensor<5xi32>) {
  // expected-error @+1 {{C1: expected P x H, E x J x H, E+1 and P x J with static E, J and H, got 'tensor<?x64xf32>', 'tensor<?x8x64xf32>', 'tensor<5xi32>' and 'tensor<?x8xf32>'}}
  %l = moe.row_logits ins(%x, %w) offsets(%o) : tensor<?x64xf32>, tensor<?x8x64xf32>, tensor<5xi32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_fold_rows_c1(%a: tensor<3x8xf32>, %b: tensor<4x8xf32>) {
  // expected-error @+1 {{C1: rows must agree in their number and have static extents but for it, got 'tensor<3x8xf32>', 'tensor<4x8xf32>'}}
  %f = moe.fold_rows rows(%a, %b : tensor<3x8xf32>, tensor<4x8xf32>) inits [0.0] -> tensor<8xf32> {
  ^bb0(%i: index, %r: tensor<1x8xf32>, %s: tensor<8xf32>):
    moe.yield %s : tensor<8xf32>
  }
  return
}

// -----

func.func @moe_fold_rows_c2_type(%a: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: results must be of f32, i32 or i64, got 'tensor<8xbf16>'}}
  %f = moe.fold_rows rows(%a : tensor<?x8xf32>) inits [0.0] -> tensor<8xbf16> {
  ^bb0(%i: index, %r: tensor<1x8xf32>, %s: tensor<8xbf16>):
    moe.yield %s : tensor<8xbf16>
  }
  return
}

// -----

func.func @moe_fold_rows_c2_inits(%a: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: expected one init for each of 1 results, got 2}}
  %f = moe.fold_rows rows(%a : tensor<?x8xf32>) inits [0.0, 1.0] -> tensor<8xf32> {
  ^bb0(%i: index, %r: tensor<1x8xf32>, %s: tensor<8xf32>):
    moe.yield %s : tensor<8xf32>
  }
  return
}

// -----

func.func @moe_fold_rows_c3_index(%a: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: the region must take ('index', 'tensor<1x8xf32>', 'tensor<8xf32>'), got ('tensor<1x8xf32>', 'tensor<8xf32>')}}
  %f = moe.fold_rows rows(%a : tensor<?x8xf32>) inits [0.0] -> tensor<8xf32> {
  ^bb0(%r: tensor<1x8xf32>, %s: tensor<8xf32>):
    moe.yield %s : tensor<8xf32>
  }
  return
}

// -----

func.func @moe_fold_rows_c3_yield(%a: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: the region must yield ('tensor<8xf32>'), got ('tensor<1x8xf32>')}}
  %f = moe.fold_rows rows(%a : tensor<?x8xf32>) inits [0.0] -> tensor<8xf32> {
  ^bb0(%i: index, %r: tensor<1x8xf32>, %s: tensor<8xf32>):
    moe.yield %r : tensor<1x8xf32>
  }
  return
}

// -----

func.func @moe_grouped_ffn_c5_count(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %t: tensor<5xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>, %s: tensor<5xf32>) {
  // expected-error @+1 {{C5: expected 1 scales or none, got 2}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%t : tensor<5xi32>) scales(%s, %s : tensor<5xf32>, tensor<5xf32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<5x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c5_length(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %t: tensor<5xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>, %s: tensor<6xf32>) {
  // expected-error @+1 {{C5: scales must be as long as tokens, got 'tensor<6xf32>' and 'tensor<5xi32>'}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%t : tensor<5xi32>) scales(%s : tensor<6xf32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<5x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c6_count(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %t: tensor<5xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>, %b: tensor<8x6xf32>) {
  // expected-error @+1 {{C6: expected 2 biases or none, got 1}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%t : tensor<5xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) biases(%b : tensor<8x6xf32>) parts 1 -> tensor<5x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c6_shape(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %t: tensor<5xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>, %b: tensor<8x6xf32>) {
  // expected-error @+1 {{C6: the bias of 'tensor<8x4x6xf32>' must have one element for each of its rows, got 'tensor<8x6xf32>'}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%t : tensor<5xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) biases(%b, %b : tensor<8x6xf32>, tensor<8x6xf32>) parts 1 -> tensor<5x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_combine_rows_c4(%ys: tensor<?x64xf32>, %to: tensor<?xi32>, %tr: tensor<?xi32>, %rw: tensor<?xf32>) {
  // expected-error @+1 {{C4: unweighted must have 1 elements, got 2}}
  %y = moe.combine_rows rows(%ys : tensor<?x64xf32>) offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>) weights(%rw : tensor<?xf32>) unweighted [true, false] -> tensor<?x64xf32>
  return
}

// -----

func.func @moe_choose_rows_c2_bound(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: the capacity bounds the rows by rows = 8 and extra = 0, got 1 and 0}}
  %a:5 = moe.choose_rows %l score none capacity <factor 8.0> rows 1 extra 0 : tensor<?x8xf32> -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_choose_rows_c2_round(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: round must be bf16 or f16, got 'f64'}}
  %a:5 = moe.choose_rows %l score none capacity <slots 3> round f64 rows 0 extra 24 : tensor<?x8xf32> -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}
