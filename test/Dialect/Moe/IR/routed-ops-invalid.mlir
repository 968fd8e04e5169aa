// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @moe_select_topk_c1(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C1: ids and weights must be N x 2 for logits 'tensor<?x8xf32>', got 'tensor<?x3xi32>'}}
  %i, %w = moe.select_topk %l policy<top_k = 2> : tensor<?x8xf32> -> tensor<?x3xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_topk_c1_tokens(%l: tensor<4x8xf32>) {
  // expected-error @+1 {{C1: ids and weights must be N x 2 for logits 'tensor<4x8xf32>', got 'tensor<5x2xf32>'}}
  %i, %w = moe.select_topk %l policy<top_k = 2> : tensor<4x8xf32> -> tensor<4x2xi32>, tensor<5x2xf32>
  return
}

// -----

func.func @moe_select_topk_c2(%l: tensor<?x8xf32>, %b: tensor<2xf32>) {
  // expected-error @+1 {{C2: bias must have 8 elements, got 'tensor<2xf32>'}}
  %i, %w = moe.select_topk %l bias(%b) policy<top_k = 2> : tensor<?x8xf32>, tensor<2xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_topk_c3_many(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: top_k = 9 exceeds the number of experts 8}}
  %i, %w = moe.select_topk %l policy<top_k = 9> : tensor<?x8xf32> -> tensor<?x9xi32>, tensor<?x9xf32>
  return
}

// -----

func.func @moe_select_topk_c3_groups(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: 8 experts do not divide into 3 groups}}
  %i, %w = moe.select_topk %l policy<groups = 3 keep 1 by max, top_k = 2> : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_select_topk_c3_dynamic(%l: tensor<?x?xf32>) {
  // expected-error @+1 {{C3: the number of experts must be static, got 'tensor<?x?xf32>'}}
  %i, %w = moe.select_topk %l policy<top_k = 2> : tensor<?x?xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @moe_group_rows_c1(%i: tensor<?x2xi32>, %w: tensor<?x3xf32>) {
  // expected-error @+1 {{C1: ids and weights must both be N x k with a static k, got 'tensor<?x2xi32>' and 'tensor<?x3xf32>'}}
  %a:5 = moe.group_rows %i, %w : tensor<?x2xi32>, tensor<?x3xf32> -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_group_rows_c2(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{C2: expert_offsets must have E+1 elements with E >= 2, got 'tensor<2xi32>'}}
  %a:5 = moe.group_rows %i, %w : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_group_rows_c3_pairs(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @+1 {{C3: lists over pairs must have one length, got 'tensor<10xi32>', 'tensor<9xf32>' and 'tensor<?xi32>'}}
  %a:5 = moe.group_rows %i, %w : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<9xi32>, tensor<10xi32>, tensor<9xf32>, tensor<6xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_group_rows_c3_tokens(%i: tensor<5x2xi32>, %w: tensor<5x2xf32>) {
  // expected-error @+1 {{C3: token_offsets must have 6 elements, got 'tensor<5xi32>'}}
  %a:5 = moe.group_rows %i, %w : tensor<5x2xi32>, tensor<5x2xf32> -> tensor<9xi32>, tensor<10xi32>, tensor<10xf32>, tensor<5xi32>, tensor<10xi32>
  return
}

// -----

func.func @moe_all_rows_c1_offsets(%x: tensor<?x4xf32>) {
  // expected-error @+1 {{C1: expert_offsets must have E+1 elements with E >= 1, got 'tensor<1xi32>'}}
  %a:5 = moe.all_rows %x : tensor<?x4xf32> -> tensor<1xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_all_rows_c1_weights(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @+1 {{C1: weights must be N x 2 for x of type 'tensor<?x4xf32>', got 'tensor<?x1xf32>'}}
  %a:5 = moe.all_rows %x weights(%w) : tensor<?x4xf32>, tensor<?x1xf32> -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_all_rows_c2(%x: tensor<5x4xf32>) {
  // expected-error @+1 {{C2: lists over pairs must have one length, got 'tensor<5xi32>', 'tensor<?xf32>' and 'tensor<?xi32>'}}
  %a:5 = moe.all_rows %x : tensor<5x4xf32> -> tensor<3xi32>, tensor<5xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  return
}

// -----

func.func @moe_gather_rows_c1_length(%x: tensor<?x64xbf16>, %t: tensor<?xi32>) {
  // expected-error @+1 {{C1: the result is 'tensor<?x64xf32>', but rows of x have 64 elements of 'bf16'}}
  %r = moe.gather_rows %x[%t] : tensor<?x64xbf16>, tensor<?xi32> -> tensor<?x64xf32>
  return
}

// -----

func.func @moe_gather_rows_c1_rows(%x: tensor<?x64xbf16>, %t: tensor<5xi32>) {
  // expected-error @+1 {{C1: 'tensor<5xi32>' does not give 'tensor<6x64xbf16>'}}
  %r = moe.gather_rows %x[%t] : tensor<?x64xbf16>, tensor<5xi32> -> tensor<6x64xbf16>
  return
}

// -----

func.func @moe_grouped_ffn_c1_parts(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C1: parts must be 1 or 2, got 3}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %g, %g, %d : tensor<8x6x4xf32>, tensor<8x6x4xf32>, tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 3 -> tensor<?x4xf32> {
  ^bb0(%a: f32, %b: f32, %c: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c1_counts(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C1: 1 results need as many offsets and tokens and 3 weights, got 1, 1 and 2}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 2 -> tensor<?x4xf32> {
  ^bb0(%a: f32, %b: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c2_offsets(%x: tensor<?x4xf32>, %eo: tensor<8xi32>, %rt: tensor<?xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C2: segment 0: expert_offsets must have 9 elements, got 'tensor<8xi32>'}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<8xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c2_first(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<8x4x6xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C2: segment 0: a first weight must be 8 x 6 x 4, got 'tensor<8x4x6xf32>'}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<8x4x6xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c2_result(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C2: segment 0: the result must have a row of 4 elements for each of 'tensor<?xi32>', got 'tensor<?x6xf32>'}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<?x6xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c2_dynamic(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<?x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C2: segment 0: weights must be static, got 'tensor<?x6x4xf32>' and 'tensor<8x4x6xf32>'}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<?x6x4xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c3_weights(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xbf16>) {
  // expected-error @+1 {{C3: weights must have one element type, got 'f32' and 'bf16'}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xbf16>) parts 1 -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c3_result(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C3: x and the results must have one element type, got 'f32' and 'bf16'}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<?x4xbf16> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @moe_grouped_ffn_c4_takes(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C4: the region must take 1 values of f32, got ('bf16')}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<?x4xf32> {
  ^bb0(%a: bf16):
    moe.yield %a : bf16
  }
  return
}

// -----

func.func @moe_grouped_ffn_c4_yields(%x: tensor<?x4xf32>, %eo: tensor<9xi32>, %rt: tensor<?xi32>, %g: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @+1 {{C4: the region must yield one f32, got ('f32', 'f32')}}
  %y = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>) weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1 -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a, %a : f32, f32
  }
  return
}

// -----

func.func @moe_map_rows_c1_none(%c: tensor<4xf32>) {
  // expected-error @+1 {{C1: there must be at least one of rows}}
  %y = "moe.map_rows"(%c) <{operandSegmentSizes = array<i32: 0, 0, 0, 1>}> ({
  ^bb0(%u: tensor<4xf32>):
    "moe.yield"(%u) : (tensor<4xf32>) -> ()
  }) : (tensor<4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @moe_map_rows_c1_number(%a: tensor<3x4xf32>, %b: tensor<5x4xf32>) {
  // expected-error @+1 {{C1: rows must agree in their number and have static extents but for it, got 'tensor<3x4xf32>', 'tensor<5x4xf32>'}}
  %y = moe.map_rows rows(%a, %b : tensor<3x4xf32>, tensor<5x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: tensor<1x4xf32>, %q: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_map_rows_c1_dynamic(%a: tensor<?x?xf32>) {
  // expected-error @+1 {{C1: rows must agree in their number and have static extents but for it, got 'tensor<?x?xf32>'}}
  %y = moe.map_rows rows(%a : tensor<?x?xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: tensor<1x?xf32>):
    moe.yield %p : tensor<1x?xf32>
  }
  return
}

// -----

func.func @moe_map_rows_c2(%a: tensor<?x4xf32>, %c: tensor<4xf32>) {
  // expected-error @+1 {{C2: the region must take ('tensor<1x4xf32>', 'tensor<4xf32>'), got ('tensor<4xf32>', 'tensor<4xf32>')}}
  %y = moe.map_rows rows(%a : tensor<?x4xf32>) invariants(%c : tensor<4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: tensor<4xf32>, %u: tensor<4xf32>):
    moe.yield %p : tensor<4xf32>
  }
  return
}

// -----

func.func @moe_map_rows_c3_missing(%a: tensor<?x4xf32>, %w: tensor<8x4xf32>) {
  // expected-error @+1 {{C3: expert weights need offsets}}
  %y = moe.map_rows rows(%a : tensor<?x4xf32>) weights(%w : tensor<8x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: tensor<1x4xf32>, %v: tensor<4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_map_rows_c3_experts(%a: tensor<?x4xf32>, %eo: tensor<8xi32>, %w: tensor<8x4xf32>) {
  // expected-error @+1 {{C3: a leading dimension of E needs E+1 offsets, got 'tensor<8x4xf32>' and 'tensor<8xi32>'}}
  %y = moe.map_rows rows(%a : tensor<?x4xf32>) offsets(%eo : tensor<8xi32>) weights(%w : tensor<8x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: tensor<1x4xf32>, %v: tensor<4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_map_rows_c4_yield(%a: tensor<?x4xf32>) {
  // expected-error @+1 {{C4: the region must yield ('tensor<1x2xf32>'), got ('tensor<1x4xf32>')}}
  %y = moe.map_rows rows(%a : tensor<?x4xf32>) -> tensor<?x2xf32> {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_map_rows_c4_number(%a: tensor<3x4xf32>) {
  // expected-error @+1 {{C4: a result must have as many rows as rows and static extents but for it, got 'tensor<2x4xf32>'}}
  %y = moe.map_rows rows(%a : tensor<3x4xf32>) -> tensor<2x4xf32> {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  return
}

// -----

func.func @moe_combine_rows_c1(%r: tensor<?x64xf32>, %to: tensor<?xi32>, %tr: tensor<?xi32>, %w: tensor<?xf32>) {
  // expected-error @+1 {{C1: expected at least one of rows and as many of each list, got 2 rows, 1 offsets, 1 indices and 1 weights}}
  %y = moe.combine_rows rows(%r, %r : tensor<?x64xf32>, tensor<?x64xf32>) offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>) weights(%w : tensor<?xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @moe_combine_rows_c2(%r: tensor<?x64xf32>, %to: tensor<?xi32>, %tr: tensor<?xi32>, %w: tensor<?xf32>) {
  // expected-error @+1 {{C2: an operand of rows is 'tensor<?x64xf32>', but rows of the result have 64 elements of 'bf16'}}
  %y = moe.combine_rows rows(%r : tensor<?x64xf32>) offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>) weights(%w : tensor<?xf32>) -> tensor<?x64xbf16>
  return
}

// -----

func.func @moe_combine_rows_c3_pairs(%r: tensor<6x64xf32>, %to: tensor<?xi32>, %tr: tensor<5xi32>, %w: tensor<?xf32>) {
  // expected-error @+1 {{C3: rows, indices and weights of segment 0 must have one length, got 'tensor<6x64xf32>', 'tensor<5xi32>' and 'tensor<?xf32>'}}
  %y = moe.combine_rows rows(%r : tensor<6x64xf32>) offsets(%to : tensor<?xi32>) indices(%tr : tensor<5xi32>) weights(%w : tensor<?xf32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @moe_combine_rows_c3_tokens(%r: tensor<?x64xf32>, %to: tensor<3xi32>, %tr: tensor<?xi32>, %w: tensor<?xf32>) {
  // expected-error @+1 {{C3: offsets of segment 0 must have 4 elements, got 'tensor<3xi32>'}}
  %y = moe.combine_rows rows(%r : tensor<?x64xf32>) offsets(%to : tensor<3xi32>) indices(%tr : tensor<?xi32>) weights(%w : tensor<?xf32>) -> tensor<3x64xf32>
  return
}

// -----

func.func @moe_count_rows_c1(%eo: tensor<9xi32>) {
  // expected-error @+1 {{C1: expected E+1 offsets and E counts, got 'tensor<9xi32>' and 'tensor<9xi64>'}}
  %n = moe.count_rows %eo : tensor<9xi32> -> tensor<9xi64>
  return
}
