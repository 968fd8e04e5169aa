// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{C1: expected a static, non-empty tensor of f32, bf16 or f16, got 'tensor<?x64xf32>'}}
moe.weight @moe_weight_c1_dynamic : tensor<?x64xf32> from ["w"]

// -----

// expected-error @+1 {{C1: expected a static, non-empty tensor of f32, bf16 or f16, got 'tensor<8x64xi32>'}}
moe.weight @moe_weight_c1_element : tensor<8x64xi32> from ["w"]

// -----

// expected-error @+1 {{C1: expected a static, non-empty tensor of f32, bf16 or f16, got 'tensor<0x64xf32>'}}
moe.weight @moe_weight_c1_empty : tensor<0x64xf32> from ["w"]

// -----

// expected-error @+1 {{C2: a weight needs at least one source}}
moe.weight @moe_weight_c2_none : tensor<8x64xf32> from []

// -----

// expected-error @+1 {{C2: 4 sources without 'stack'; expected exactly one}}
moe.weight @moe_weight_c2_several : tensor<4x64xf32> from ["w.{0..3}"]

// -----

// expected-error @+1 {{C3: 4 sources do not stack to 'tensor<8x64xf32>'}}
moe.weight @moe_weight_c3 : tensor<8x64xf32> from ["w.{0..3}"] stack

// -----

// expected-error @+1 {{C3: 1 sources do not stack to 'tensor<f32>'}}
moe.weight @moe_weight_c3_scalar : tensor<f32> from ["w"] stack

// -----

// expected-error @+1 {{C4: split [1, 0, 4] must be [dimension, begin, end, step, extent]}}
moe.weight @moe_weight_c4_size : tensor<8x4xf32> from ["w"] split [1, 0, 4]

// -----

// Dimensions count in the source: the stacked one is not among them.
// expected-error @+1 {{C4: split [2, 0, 4, 1, 16] names dimension 2 of sources of rank 2}}
moe.weight @moe_weight_c4_dim : tensor<2x8x4xf32> from ["w.{0..1}"] stack split [2, 0, 4, 1, 16]

// -----

// expected-error @+1 {{C4: split [1, 4, 4, 1, 16] must have 0 <= begin < end <= extent}}
moe.weight @moe_weight_c4_empty : tensor<8x4xf32> from ["w"] split [1, 4, 4, 1, 16]

// -----

// The source ends before.
// expected-error @+1 {{C4: split [1, 2, 10, 2, 9] must have 0 <= begin < end <= extent}}
moe.weight @moe_weight_c4_outside : tensor<8x4xf32> from ["w"] split [1, 2, 10, 2, 9]

// -----

// expected-error @+1 {{C4: split [1, 0, 8, 0, 16] must have a step >= 1}}
moe.weight @moe_weight_c4_step : tensor<8x4xf32> from ["w"] split [1, 0, 8, 0, 16]

// -----

// expected-error @+1 {{C4: split [1, 0, 8, 1, 16] takes 8 elements where the type has 4}}
moe.weight @moe_weight_c4_extent : tensor<8x4xf32> from ["w"] split [1, 0, 8, 1, 16]

// -----

// The split comes before the transposition.
// expected-error @+1 {{C4: split [1, 0, 4, 1, 16] takes 4 elements where the type has 8}}
moe.weight @moe_weight_c4_transposed : tensor<8x4xf32> from ["w"] transpose split [1, 0, 4, 1, 16]

// -----

// expected-error @+1 {{C5: 'transpose' needs sources of rank >= 2, got rank 1}}
moe.weight @moe_weight_c5 : tensor<2x4xf32> from ["w.{0..1}"] stack transpose

// -----

// expected-error @+1 {{C6: range {3..1} of "w.{3..1}" is empty}}
moe.weight @moe_weight_c6_order : tensor<8x4xf32> from ["w.{3..1}"] stack

// -----

// expected-error @+1 {{C6: "{0..1}.{0..1}" must have at most one range, written {first..last}}}
moe.weight @moe_weight_c6_two : tensor<4x4xf32> from ["{0..1}.{0..1}"] stack

// -----

// expected-error @+1 {{C6: "w.{0-3}" must have at most one range, written {first..last}}}
moe.weight @moe_weight_c6_dash : tensor<4x4xf32> from ["w.{0-3}"] stack

// -----

// expected-error @+1 {{C6: "w.{0..3" must have at most one range, written {first..last}}}
moe.weight @moe_weight_c6_open : tensor<4x4xf32> from ["w.{0..3"] stack

// -----

// expected-error @+1 {{C6: "w.}0..3{" must have at most one range, written {first..last}}}
moe.weight @moe_weight_c6_swapped : tensor<4x4xf32> from ["w.}0..3{"] stack

// -----

// expected-error @+1 {{C6: "w.{-1..3}" must have at most one range, written {first..last}}}
moe.weight @moe_weight_c6_negative : tensor<4x4xf32> from ["w.{-1..3}"] stack

// -----

// expected-error @+1 {{C6: "w.{00..03}" must have at most one range, written {first..last}}}
moe.weight @moe_weight_c6_zeros : tensor<4x4xf32> from ["w.{00..03}"] stack

// -----

// expected-error @+1 {{C6: range {0..18446744073709551615} of "w.{0..18446744073709551615}" has more than 65536 names}}
moe.weight @moe_weight_c6_huge : tensor<4x4xf32> from ["w.{0..18446744073709551615}"] stack

// -----

// expected-error @+1 {{C6: a source name is empty}}
moe.weight @moe_weight_c6_empty : tensor<4x4xf32> from [""]

// -----

// expected-error @+1 {{C6: source "w.2" occurs twice}}
moe.weight @moe_weight_c6_twice : tensor<4x4xf32> from ["w.{0..2}", "w.2"] stack

// -----

// expected-error @+1 {{C7: encoding and scales are given together}}
moe.weight @moe_weight_c7_missing : tensor<8x64xf32> from ["w"] encoding int8_scaled

// -----

// expected-error @+1 {{C7: encoding and scales are given together}}
moe.weight @moe_weight_c7_plain : tensor<8x64xf32> from ["w"] scales ["s"]

// -----

// expected-error @+1 {{C7: 2 scales for 4 sources}}
moe.weight @moe_weight_c7_count : tensor<4x64xf32> from ["w.{0..3}"] encoding int8_scaled scales ["s.{0..1}"] stack

// -----

// expected-error @+1 {{C7: "s.{0-3}" must have at most one range, written {first..last}}}
moe.weight @moe_weight_c7_name : tensor<8x64xf32> from ["w"] encoding int8_scaled scales ["s.{0-3}"]

// -----

// expected-error @+1 {{C7: scales "s" occur twice}}
moe.weight @moe_weight_c7_twice : tensor<2x64xf32> from ["w", "v"] encoding int8_scaled scales ["s", "s"] stack

// -----

// expected-error @+1 {{C8: block is given exactly with fp8_block}}
moe.weight @moe_weight_c8_missing : tensor<8x64xf32> from ["w"] encoding fp8_block scales ["s"]

// -----

// expected-error @+1 {{C8: block is given exactly with fp8_block}}
moe.weight @moe_weight_c8_other : tensor<8x64xf32> from ["w"] encoding int8_scaled scales ["s"] block [128, 128]

// -----

// expected-error @+1 {{C8: block must be two numbers of at least 1, got [128, 0]}}
moe.weight @moe_weight_c8_size : tensor<8x64xf32> from ["w"] encoding fp8_block scales ["s"] block [128, 0]

// -----

// expected-error @+1 {{C8: block must be two numbers of at least 1, got [128]}}
moe.weight @moe_weight_c8_rank : tensor<8x64xf32> from ["w"] encoding fp8_block scales ["s"] block [128]

// -----

// expected-error @+1 {{C9: mxfp4 needs the stored shape}}
moe.weight @moe_weight_c9_missing : tensor<8x64xf32> from ["w"] encoding mxfp4 scales ["s"]

// -----

// expected-error @+1 {{C9: stored [8, 32] must end with K / 32 and 16 for mxfp4}}
moe.weight @moe_weight_c9_mxfp4 : tensor<8x64xf32> from ["w"] encoding mxfp4 scales ["s"] stored [8, 32]

// -----

// expected-error @+1 {{C9: stored [8, 4, 16] decodes to 1024 elements where a source has 512}}
moe.weight @moe_weight_c9_mxfp4_count : tensor<8x64xf32> from ["w"] encoding mxfp4 scales ["s"] stored [8, 4, 16]

// -----

// expected-error @+1 {{C9: stored [8, 32] decodes to 256 elements where a source has 512}}
moe.weight @moe_weight_c9_count : tensor<8x64xf32> from ["w"] stored [8, 32]

// -----

// expected-error @+1 {{C9: stored [0, 32] must have extents of at least 1}}
moe.weight @moe_weight_c9_extent : tensor<8x64xf32> from ["w"] stored [0, 32]

// -----

// expected-error @+1 {{C9: fp8_block needs sources of rank >= 2, got rank 1}}
moe.weight @moe_weight_c9_fp8_rank : tensor<64xf32> from ["w"] encoding fp8_block scales ["s"] block [1, 32]

// -----

// expected-error @+1 {{C9: int8_scaled needs sources of rank >= 1}}
moe.weight @moe_weight_c9_int8_rank : tensor<f32> from ["w"] encoding int8_scaled scales ["s"]

// -----

func.func @moe_get_weight_c1_missing() {
  // expected-error @+1 {{C1: no moe.weight named @w}}
  %w = moe.get_weight @w : tensor<8x4xf32>
  return
}

// -----

func.func private @w()
func.func @moe_get_weight_c1_other() {
  // expected-error @+1 {{C1: no moe.weight named @w}}
  %w = moe.get_weight @w : tensor<8x4xf32>
  return
}

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
func.func @moe_get_weight_c1_type() {
  // expected-error @+1 {{C1: @w has type 'tensor<8x4xf32>', not 'tensor<8x4xbf16>'}}
  %w = moe.get_weight @w : tensor<8x4xbf16>
  return
}

// -----

func.func @moe_router_logits_c1_hidden(%x: tensor<?x64xf32>, %w: tensor<8x32xf32>) {
  // expected-error @+1 {{C1: expected N x H, E x H and N x E with static H and E, got 'tensor<?x64xf32>', 'tensor<8x32xf32>' and 'tensor<?x8xf32>'}}
  %l = moe.router_logits ins(%x, %w) : tensor<?x64xf32>, tensor<8x32xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_router_logits_c1_experts(%x: tensor<?x64xf32>, %w: tensor<8x64xf32>) {
  // expected-error @+1 {{C1: expected N x H, E x H and N x E}}
  %l = moe.router_logits ins(%x, %w) : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @moe_router_logits_c1_dynamic(%x: tensor<?x?xf32>, %w: tensor<8x?xf32>) {
  // expected-error @+1 {{C1: expected N x H, E x H and N x E with static H and E}}
  %l = moe.router_logits ins(%x, %w) : tensor<?x?xf32>, tensor<8x?xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_router_logits_c1_tokens(%x: tensor<3x64xf32>, %w: tensor<8x64xf32>) {
  // expected-error @+1 {{C1: expected N x H, E x H and N x E}}
  %l = moe.router_logits ins(%x, %w) : tensor<3x64xf32>, tensor<8x64xf32> -> tensor<4x8xf32>
  return
}

// -----

func.func @moe_router_logits_c2(%x: tensor<?x64xf32>, %w: tensor<8x64xf32>, %b: tensor<64xf32>) {
  // expected-error @+1 {{C2: bias must have 8 elements, got 'tensor<64xf32>'}}
  %l = moe.router_logits ins(%x, %w, %b) : tensor<?x64xf32>, tensor<8x64xf32>, tensor<64xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_router_logits_c3(%x: tensor<?x64xf32>, %w: tensor<8x64xf32>) {
  // expected-error @+1 {{C3: round must be bf16 or f16, got 'f64'}}
  %l = moe.router_logits ins(%x, %w) round f64 : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_route_c1(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C1: a routing over 16 experts from logits 'tensor<?x8xf32>'}}
  %r = moe.route %l policy<top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 16, per_token = 2>
  return
}

// -----

func.func @moe_route_c2(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: per_token = 3, but top_k = 2}}
  %r = moe.route %l policy<top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 3>
  return
}

// -----

func.func @moe_route_c3(%l: tensor<?x8xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{C3: bias must have 8 elements, got 'tensor<4xf32>'}}
  %r = moe.route %l bias(%b) policy<top_k = 2> : tensor<?x8xf32>, tensor<4xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c4_divide(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C4: 8 experts do not divide into 3 groups}}
  %r = moe.route %l policy<groups = 3 keep 2 by max, top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c4_hold(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C4: 1 groups of 2 experts hold fewer than top_k = 3}}
  %r = moe.route %l policy<groups = 4 keep 1 by max, top_k = 3> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 3>
  return
}

// -----

func.func @moe_route_c4_top2(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C4: 'by top2_sum' needs at least two experts per group, got 1}}
  %r = moe.route %l policy<groups = 8 keep 4 by top2_sum, top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_assign_c1(%i: tensor<?x2xi32>, %w: tensor<?x3xf32>) {
  // expected-error @+1 {{C1: indices and weights must both be N x 2, got 'tensor<?x2xi32>' and 'tensor<?x3xf32>'}}
  %r = moe.assign %i, %w : tensor<?x2xi32>, tensor<?x3xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_assign_all_c1(%x: tensor<?x4xf32>) {
  // expected-error @+1 {{C1: every token visits all 2 experts, but per_token = 1}}
  %r = moe.assign_all %x : tensor<?x4xf32> -> !moe.routing<experts = 2, per_token = 1>
  return
}

// -----

func.func @moe_assign_all_c2(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @+1 {{C2: weights must be N x 2 for x of type 'tensor<?x4xf32>', got 'tensor<?x1xf32>'}}
  %r = moe.assign_all %x weights(%w) : tensor<?x4xf32>, tensor<?x1xf32> -> !moe.routing<experts = 2, per_token = 2>
  return
}

// -----

func.func @moe_assign_all_c2_tokens(%x: tensor<5x4xf32>, %w: tensor<6x2xf32>) {
  // expected-error @+1 {{C2: weights must be N x 2 for x of type 'tensor<5x4xf32>', got 'tensor<6x2xf32>'}}
  %r = moe.assign_all %x weights(%w) : tensor<5x4xf32>, tensor<6x2xf32> -> !moe.routing<experts = 2, per_token = 2>
  return
}

// -----

func.func @moe_dispatch_c1_length(%x: tensor<?x64xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C1: the result is 'tensor<?x32xf32>', but rows of x have 64 elements of 'f32'}}
  %xs = moe.dispatch %x by %r : tensor<?x64xf32>, !moe.routing<experts = 8, per_token = 2> -> tensor<?x32xf32>
  return
}

// -----

func.func @moe_dispatch_c1_element(%x: tensor<?x64xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C1: the result is 'tensor<?x64xbf16>', but rows of x have 64 elements of 'f32'}}
  %xs = moe.dispatch %x by %r : tensor<?x64xf32>, !moe.routing<experts = 8, per_token = 2> -> tensor<?x64xbf16>
  return
}

// -----

func.func @moe_dispatch_c1_dynamic(%x: tensor<?x?xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C1: the row length of x must be static, got 'tensor<?x?xf32>'}}
  %xs = moe.dispatch %x by %r : tensor<?x?xf32>, !moe.routing<experts = 8, per_token = 2> -> tensor<?x?xf32>
  return
}

// -----

func.func @moe_experts_c1(%x: tensor<?x4xf32>, %w: tensor<4x4xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C1: the leading dimension of every weight must be the number of experts 8, got 'tensor<4x4xf32>'}}
  %y = moe.experts ins(%x) weights(%w) by %r : (tensor<?x4xf32>, tensor<4x4xf32>), !moe.routing<experts = 8, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %v: tensor<4xf32>):
    moe.yield %t : tensor<?x4xf32>
  }
  return
}

// -----

func.func @moe_experts_c2(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C2: the region must take ('tensor<?x4xf32>', 'tensor<4xf32>'), got ('tensor<?x4xf32>', 'tensor<8x4xf32>')}}
  %y = moe.experts ins(%x) weights(%w) by %r : (tensor<?x4xf32>, tensor<8x4xf32>), !moe.routing<experts = 8, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %v: tensor<8x4xf32>):
    moe.yield %t : tensor<?x4xf32>
  }
  return
}

// -----

func.func @moe_experts_c3(%x: tensor<?x4xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C3: the region must yield one 'tensor<?x8xf32>' for rows of type 'tensor<?x4xf32>', got ('tensor<?x4xf32>')}}
  %y = moe.experts ins(%x) by %r : (tensor<?x4xf32>), !moe.routing<experts = 8, per_token = 2> -> tensor<?x8xf32> {
  ^bb0(%t: tensor<?x4xf32>):
    moe.yield %t : tensor<?x4xf32>
  }
  return
}

// -----

func.func @moe_experts_c3_nothing(%x: tensor<?x4xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C3: the region must yield one 'tensor<?x4xf32>' for rows of type 'tensor<?x4xf32>', got ()}}
  %y = moe.experts ins(%x) by %r : (tensor<?x4xf32>), !moe.routing<experts = 8, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>):
  }
  return
}

// -----

func.func @moe_experts_c4(%x: tensor<?x?xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C4: the row length of the result must be static, got 'tensor<?x?xf32>'}}
  %y = moe.experts ins(%x) by %r : (tensor<?x?xf32>), !moe.routing<experts = 8, per_token = 2> -> tensor<?x?xf32> {
  ^bb0(%t: tensor<?x?xf32>):
    moe.yield %t : tensor<?x?xf32>
  }
  return
}

// -----

func.func @moe_combine_c1(%x: tensor<?x64xbf16>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C1: the result is 'tensor<?x64xf32>', but rows of the experts have 64 elements of 'bf16'}}
  %y = moe.combine %x by %r : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2> -> tensor<?x64xf32>
  return
}

// -----

func.func @moe_expert_counts_c1(%r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C1: expected tensor<8xi64>, got 'tensor<?xi64>'}}
  %n = moe.expert_counts %r : !moe.routing<experts = 8, per_token = 2> -> tensor<?xi64>
  return
}
