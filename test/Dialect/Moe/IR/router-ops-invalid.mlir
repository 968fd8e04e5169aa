// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @moe_router_logits_c4(%x: tensor<?x64xf32>, %w: tensor<8x64xf32>) {
  // expected-error @+1 {{C4: cosine must be finite and not negative, got -1}}
  %l = moe.router_logits ins(%x, %w) cosine -1.0 : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_router_logits_c4_infinite(%x: tensor<?x64xf32>, %w: tensor<8x64xf32>) {
  // expected-error @+1 {{C4: cosine must be finite and not negative, got INF}}
  %l = moe.router_logits ins(%x, %w) cosine 0x7F800000 : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_route_c1_null(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C1: a routing over 8 experts from logits 'tensor<?x8xf32>' with 2 null experts}}
  %r = moe.route %l policy<top_k = 2, null_experts = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c1_dynamic(%l: tensor<?x?xf32>) {
  // expected-error @+1 {{C1: a routing over 8 experts from logits 'tensor<?x?xf32>'}}
  %r = moe.route %l policy<top_k = 2> : tensor<?x?xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c3_tokens(%l: tensor<4x8xf32>, %b: tensor<5x8xf32>) {
  // expected-error @+1 {{C3: bias must be N x 8 for logits 'tensor<4x8xf32>', got 'tensor<5x8xf32>'}}
  %r = moe.route %l bias(%b) policy<top_k = 2> : tensor<4x8xf32>, tensor<5x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c3_after_first(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: 'bias_after_first' needs a bias}}
  %r = moe.route %l policy<top_k = 2, bias_after_first> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c5_missing(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C5: resident and 'prefer' are given together}}
  %r = moe.route %l policy<top_k = 2, prefer = 0.5> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c5_unused(%l: tensor<?x8xf32>, %p: tensor<8xi32>) {
  // expected-error @+1 {{C5: resident and 'prefer' are given together}}
  %r = moe.route %l resident(%p : tensor<8xi32>) policy<top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c5_size(%l: tensor<?x8xf32>, %p: tensor<9xi32>) {
  // expected-error @+1 {{C5: resident must have 8 elements, got 'tensor<9xi32>'}}
  %r = moe.route %l resident(%p : tensor<9xi32>) policy<top_k = 2, prefer = 0.5> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c6_missing(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C6: random and 'keep = random' are given together}}
  %r = moe.route %l policy<top_k = 2, keep = random 0.5> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c6_unused(%l: tensor<?x8xf32>, %u: tensor<?x2xf32>) {
  // expected-error @+1 {{C6: random and 'keep = random' are given together}}
  %r = moe.route %l random(%u : tensor<?x2xf32>) policy<top_k = 2, keep = threshold 0.5> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c6_size(%l: tensor<?x8xf32>, %u: tensor<?x8xf32>) {
  // expected-error @+1 {{C6: random must be N x 2 for logits 'tensor<?x8xf32>', got 'tensor<?x8xf32>'}}
  %r = moe.route %l random(%u : tensor<?x8xf32>) policy<top_k = 2, keep = random 0.5> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_route_c7(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C7: null_experts = 8 leaves none of 8 experts}}
  %r = moe.route %l policy<top_k = 1, null_experts = 8> : tensor<?x8xf32> -> !moe.routing<experts = 1, per_token = 1>
  return
}

// -----

func.func @moe_route_c8(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C8: a token may have all its rows; expected '!moe.routing<experts = 8, per_token = 2>', got '!moe.routing<experts = 8, per_token = 2, rows = 1, extra = 8>'}}
  %r = moe.route %l policy<top_k = 2, capacity = factor 1.0 by choice> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2, rows = 1, extra = 8>
  return
}

// -----

func.func @moe_assign_c1_rows(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{C1: a token may have all its rows; expected '!moe.routing<experts = 8, per_token = 2>', got '!moe.routing<experts = 8, per_token = 2, rows = 1, extra = 0>'}}
  %r = moe.assign %i, %w : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<experts = 8, per_token = 2, rows = 1, extra = 0>
  return
}

// -----

func.func @moe_expert_counts_c2(%r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C2: 'chosen' needs the result of moe.route}}
  %n = moe.expert_counts %r chosen : !moe.routing<experts = 8, per_token = 2> -> tensor<8xi64>
  return
}

// -----

func.func @moe_choose_tokens_c1(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C1: logits 'tensor<?x8xf32>' need a routing of as many experts and per_token, got '!moe.routing<experts = 8, per_token = 2>'}}
  %r = moe.choose_tokens %l score none capacity <factor 2.0> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  return
}

// -----

func.func @moe_choose_tokens_c2(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: the capacity bounds the rows by rows = 2 and extra = 24, got '!moe.routing<experts = 8, per_token = 8>'}}
  %r = moe.choose_tokens %l score none capacity <factor 2.0> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8>
  return
}

// -----

func.func @moe_choose_tokens_c2_slots(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: the capacity bounds the rows by rows = 0 and extra = 32, got '!moe.routing<experts = 8, per_token = 8, rows = 0, extra = 31>'}}
  %r = moe.choose_tokens %l score none capacity <slots 4> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8, rows = 0, extra = 31>
  return
}

// -----

func.func @moe_choose_tokens_c3_scale(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: scale must be finite and not zero, got 0}}
  %r = moe.choose_tokens %l score none capacity <slots 3> scale 0.0 : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8, rows = 0, extra = 24>
  return
}

// -----

func.func @moe_choose_tokens_c3_round(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: round must be bf16 or f16, got 'f32'}}
  %r = moe.choose_tokens %l score none capacity <slots 3> round f32 : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8, rows = 0, extra = 24>
  return
}

// -----

func.func @moe_route_products_c1_experts(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C1: expected N x A, N x B and a routing of A * B experts with per_token = 2, got 'tensor<?x4xf32>', 'tensor<?x6xf32>' and '!moe.routing<experts = 10, per_token = 2>'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 10, per_token = 2>
  return
}

// -----

func.func @moe_route_products_c1_per_token(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C1: expected N x A, N x B and a routing of A * B experts with per_token = 2}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 3>
  return
}

// -----

func.func @moe_route_products_c1_many(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C1: top_k = 5 exceeds 4 or 6 candidates}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 5> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 5>
  return
}

// -----

func.func @moe_route_products_c1_rows(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C1: a token may have all its rows; expected '!moe.routing<experts = 24, per_token = 2>', got '!moe.routing<experts = 24, per_token = 2, rows = 1, extra = 9>'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2, rows = 1, extra = 9>
  return
}

// -----

func.func @moe_route_products_c2_score(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: score must be none or sigmoid, got softmax}}
  %r = moe.route_products %a, %b policy<top_k = 2> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2>
  return
}

// -----

func.func @moe_route_products_c2_groups(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: pairs of two lists have no 'groups'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2, groups = 2 keep 1 by max> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2>
  return
}

// -----

func.func @moe_route_products_c2_prefer(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: pairs of two lists have no 'prefer'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2, prefer = 0.5> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2>
  return
}

// -----

func.func @moe_route_products_c2_bias_after_first(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: pairs of two lists have no 'bias_after_first'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2, bias_after_first> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2>
  return
}

// -----

func.func @moe_route_products_c2_null_experts(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: pairs of two lists have no 'null_experts'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2, null_experts = 1> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2>
  return
}

// -----

func.func @moe_route_products_c2_keep(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: pairs of two lists have no 'keep'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2, keep = top_p 0.5> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2>
  return
}

// -----

func.func @moe_route_products_c2_capacity(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: pairs of two lists have no 'capacity'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2, capacity = slots 3 by weight> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2>
  return
}

// -----

func.func @moe_route_products_c2_sparsemixer(%a: tensor<?x4xf32>, %b: tensor<?x6xf32>) {
  // expected-error @+1 {{C2: pairs of two lists have no 'sparsemixer'}}
  %r = moe.route_products %a, %b policy<score = none, top_k = 2, weights = sparsemixer jitter 0.1> : tensor<?x4xf32>, tensor<?x6xf32> -> !moe.routing<experts = 24, per_token = 2>
  return
}

// -----

func.func @moe_restrict_c1_empty(%r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C1: expected 0 <= begin < end <= 8, got [3, 3]}}
  %s = moe.restrict %r[3, 3] : !moe.routing<experts = 8, per_token = 2> -> !moe.routing<experts = 1, per_token = 1>
  return
}

// -----

func.func @moe_restrict_c1_outside(%r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C1: expected 0 <= begin < end <= 8, got [3, 9]}}
  %s = moe.restrict %r[3, 9] : !moe.routing<experts = 8, per_token = 2> -> !moe.routing<experts = 6, per_token = 2>
  return
}

// -----

func.func @moe_restrict_c2_experts(%r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C2: the result must be '!moe.routing<experts = 5, per_token = 2>', got '!moe.routing<experts = 6, per_token = 2>'}}
  %s = moe.restrict %r[3, 8] : !moe.routing<experts = 8, per_token = 2> -> !moe.routing<experts = 6, per_token = 2>
  return
}

// -----

func.func @moe_restrict_c2_per_token(%r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C2: the result must be '!moe.routing<experts = 1, per_token = 1>', got '!moe.routing<experts = 2, per_token = 2>'}}
  %s = moe.restrict %r[3, 4] : !moe.routing<experts = 8, per_token = 2> -> !moe.routing<experts = 2, per_token = 2>
  return
}

// -----

func.func @moe_restrict_c2_rows(%r: !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>) {
  // expected-error @+1 {{C2: the result must be '!moe.routing<experts = 4, per_token = 4, rows = 2, extra = 24>', got '!moe.routing<experts = 4, per_token = 4, rows = 2, extra = 12>'}}
  %s = moe.restrict %r[0, 4] : !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24> -> !moe.routing<experts = 4, per_token = 4, rows = 2, extra = 12>
  return
}

// -----

func.func @moe_grouped_logits_c1_experts(%x: tensor<?x64xf32>, %w: tensor<5x8x64xf32>, %r: !moe.routing<experts = 4, per_token = 2>) {
  // expected-error @+1 {{C1: expected P x H, 4 x J x H and P x J with static H and J, got 'tensor<?x64xf32>', 'tensor<5x8x64xf32>' and 'tensor<?x8xf32>'}}
  %l = moe.grouped_logits ins(%x, %w) by %r : tensor<?x64xf32>, tensor<5x8x64xf32>, !moe.routing<experts = 4, per_token = 2> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_grouped_logits_c1_hidden(%x: tensor<?x64xf32>, %w: tensor<4x8x32xf32>, %r: !moe.routing<experts = 4, per_token = 2>) {
  // expected-error @+1 {{C1: expected P x H, 4 x J x H and P x J with static H and J, got 'tensor<?x64xf32>', 'tensor<4x8x32xf32>' and 'tensor<?x8xf32>'}}
  %l = moe.grouped_logits ins(%x, %w) by %r : tensor<?x64xf32>, tensor<4x8x32xf32>, !moe.routing<experts = 4, per_token = 2> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_grouped_logits_c1_inner(%x: tensor<?x64xf32>, %w: tensor<4x8x64xf32>, %r: !moe.routing<experts = 4, per_token = 2>) {
  // expected-error @+1 {{C1: expected P x H, 4 x J x H and P x J with static H and J, got 'tensor<?x64xf32>', 'tensor<4x8x64xf32>' and 'tensor<?x4xf32>'}}
  %l = moe.grouped_logits ins(%x, %w) by %r : tensor<?x64xf32>, tensor<4x8x64xf32>, !moe.routing<experts = 4, per_token = 2> -> tensor<?x4xf32>
  return
}

// -----

func.func @moe_grouped_logits_c1_rows(%x: tensor<3x64xf32>, %w: tensor<4x8x64xf32>, %r: !moe.routing<experts = 4, per_token = 2>) {
  // expected-error @+1 {{C1: expected P x H, 4 x J x H and P x J with static H and J, got 'tensor<3x64xf32>', 'tensor<4x8x64xf32>' and 'tensor<4x8xf32>'}}
  %l = moe.grouped_logits ins(%x, %w) by %r : tensor<3x64xf32>, tensor<4x8x64xf32>, !moe.routing<experts = 4, per_token = 2> -> tensor<4x8xf32>
  return
}

// -----

func.func @moe_grouped_logits_c1_dynamic(%x: tensor<?x?xf32>, %w: tensor<4x8x?xf32>, %r: !moe.routing<experts = 4, per_token = 2>) {
  // expected-error @+1 {{C1: expected P x H, 4 x J x H and P x J with static H and J, got 'tensor<?x?xf32>', 'tensor<4x8x?xf32>' and 'tensor<?x8xf32>'}}
  %l = moe.grouped_logits ins(%x, %w) by %r : tensor<?x?xf32>, tensor<4x8x?xf32>, !moe.routing<experts = 4, per_token = 2> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_nest_c1(%l: tensor<?x8xf32>, %o: !moe.routing<experts = 4, per_token = 2>) {
  %i = moe.route %l policy<top_k = 1> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 1>
  // expected-error @+1 {{C1: the result must be '!moe.routing<experts = 32, per_token = 1>', got '!moe.routing<experts = 32, per_token = 2>'}}
  %n = moe.nest %i in %o : !moe.routing<experts = 8, per_token = 1>, !moe.routing<experts = 4, per_token = 2> -> !moe.routing<experts = 32, per_token = 2>
  return
}

// -----

func.func @moe_nest_c2(%i: !moe.routing<experts = 8, per_token = 1>, %o: !moe.routing<experts = 4, per_token = 2>) {
  // expected-error @+1 {{C2: inner must be the result of moe.route or moe.assign}}
  %n = moe.nest %i in %o : !moe.routing<experts = 8, per_token = 1>, !moe.routing<experts = 4, per_token = 2> -> !moe.routing<experts = 32, per_token = 1>
  return
}

// -----

func.func @moe_random_c1_rows(%s: tensor<1xi64>, %l: tensor<4x8xf32>) {
  // expected-error @+1 {{C1: expected as many rows as 'tensor<4x8xf32>' and a static number of columns, got 'tensor<5x8xf32>'}}
  %u = moe.random uniform seed(%s) like %l : tensor<1xi64>, tensor<4x8xf32> -> tensor<5x8xf32>
  return
}

// -----

func.func @moe_random_c1_columns(%s: tensor<1xi64>, %l: tensor<4x8xf32>) {
  // expected-error @+1 {{C1: expected as many rows as 'tensor<4x8xf32>' and a static number of columns, got 'tensor<4x?xf32>'}}
  %u = moe.random uniform seed(%s) like %l : tensor<1xi64>, tensor<4x8xf32> -> tensor<4x?xf32>
  return
}

// -----

func.func @moe_random_c1_scalar(%s: tensor<1xi64>, %l: tensor<f32>) {
  // expected-error @+1 {{C1: expected as many rows as 'tensor<f32>' and a static number of columns, got 'tensor<4x2xf32>'}}
  %u = moe.random uniform seed(%s) like %l : tensor<1xi64>, tensor<f32> -> tensor<4x2xf32>
  return
}

// -----

func.func @moe_random_c2(%s: tensor<1xi64>, %l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: expected 0 <= stream < 65536, got 65536}}
  %u = moe.random uniform seed(%s) like %l stream 65536 : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_random_c2_negative(%s: tensor<1xi64>, %l: tensor<?x8xf32>) {
  // expected-error @+1 {{C2: expected 0 <= stream < 65536, got -1}}
  %u = moe.random uniform seed(%s) like %l stream -1 : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_random_c3(%s: tensor<2xi64>, %l: tensor<?x8xf32>) {
  // expected-error @+1 {{C3: seed must have one element, got 'tensor<2xi64>'}}
  %u = moe.random gumbel seed(%s) like %l : tensor<2xi64>, tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_lookup_c1_dynamic(%t: tensor<?x2xi32>, %i: tensor<?xi32>) {
  // expected-error @+1 {{C1: expected a static V x D, N indices and N x D of one element type, got 'tensor<?x2xi32>', 'tensor<?xi32>' and 'tensor<?x2xi32>'}}
  %r = moe.lookup %t[%i] : tensor<?x2xi32>, tensor<?xi32> -> tensor<?x2xi32>
  return
}

// -----

func.func @moe_lookup_c1_columns(%t: tensor<9x2xi32>, %i: tensor<?xi32>) {
  // expected-error @+1 {{C1: expected a static V x D, N indices and N x D of one element type, got 'tensor<9x2xi32>', 'tensor<?xi32>' and 'tensor<?x3xi32>'}}
  %r = moe.lookup %t[%i] : tensor<9x2xi32>, tensor<?xi32> -> tensor<?x3xi32>
  return
}

// -----

func.func @moe_lookup_c1_rows(%t: tensor<9x2xi32>, %i: tensor<4xi32>) {
  // expected-error @+1 {{C1: expected a static V x D, N indices and N x D of one element type, got 'tensor<9x2xi32>', 'tensor<4xi32>' and 'tensor<5x2xi32>'}}
  %r = moe.lookup %t[%i] : tensor<9x2xi32>, tensor<4xi32> -> tensor<5x2xi32>
  return
}

// -----

func.func @moe_lookup_c1_element(%t: tensor<9x2xf32>, %i: tensor<?xi32>) {
  // expected-error @+1 {{C1: expected a static V x D, N indices and N x D of one element type, got 'tensor<9x2xf32>', 'tensor<?xi32>' and 'tensor<?x2xbf16>'}}
  %r = moe.lookup %t[%i] : tensor<9x2xf32>, tensor<?xi32> -> tensor<?x2xbf16>
  return
}

// -----

func.func @moe_soft_dispatch_c1_slots(%x: tensor<?x64xf32>, %l: tensor<?x16xf32>) {
  // expected-error @+1 {{C1: expected N x H, N x S and S x H with static S and H, got 'tensor<?x64xf32>', 'tensor<?x16xf32>' and 'tensor<8x64xf32>'}}
  %s = moe.soft_dispatch %x by %l : tensor<?x64xf32>, tensor<?x16xf32> -> tensor<8x64xf32>
  return
}

// -----

func.func @moe_soft_dispatch_c1_dynamic(%x: tensor<?x64xf32>, %l: tensor<?x?xf32>) {
  // expected-error @+1 {{C1: expected N x H, N x S and S x H with static S and H, got 'tensor<?x64xf32>', 'tensor<?x?xf32>' and 'tensor<?x64xf32>'}}
  %s = moe.soft_dispatch %x by %l : tensor<?x64xf32>, tensor<?x?xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @moe_soft_dispatch_c1_element(%x: tensor<?x64xf32>, %l: tensor<?x16xf32>) {
  // expected-error @+1 {{C1: expected N x H, N x S and S x H with static S and H, got 'tensor<?x64xf32>', 'tensor<?x16xf32>' and 'tensor<16x64xbf16>'}}
  %s = moe.soft_dispatch %x by %l : tensor<?x64xf32>, tensor<?x16xf32> -> tensor<16x64xbf16>
  return
}

// -----

func.func @moe_soft_dispatch_c1_tokens(%x: tensor<3x64xf32>, %l: tensor<4x16xf32>) {
  // expected-error @+1 {{C1: expected N x H, N x S and S x H with static S and H, got 'tensor<3x64xf32>', 'tensor<4x16xf32>' and 'tensor<16x64xf32>'}}
  %s = moe.soft_dispatch %x by %l : tensor<3x64xf32>, tensor<4x16xf32> -> tensor<16x64xf32>
  return
}

// -----

func.func @moe_soft_dispatch_c1_hidden(%x: tensor<?x64xf32>, %l: tensor<?x16xf32>) {
  // expected-error @+1 {{C1: expected N x H, N x S and S x H with static S and H, got 'tensor<?x64xf32>', 'tensor<?x16xf32>' and 'tensor<16x32xf32>'}}
  %s = moe.soft_dispatch %x by %l : tensor<?x64xf32>, tensor<?x16xf32> -> tensor<16x32xf32>
  return
}

// -----

func.func @moe_soft_combine_c1_slots(%s: tensor<8x64xf32>, %l: tensor<?x16xf32>) {
  // expected-error @+1 {{C1: expected S x H, N x S and N x H with static S and H, got 'tensor<8x64xf32>', 'tensor<?x16xf32>' and 'tensor<?x64xf32>'}}
  %y = moe.soft_combine %s by %l : tensor<8x64xf32>, tensor<?x16xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @moe_soft_combine_c1_dynamic(%s: tensor<?x64xf32>, %l: tensor<?x?xf32>) {
  // expected-error @+1 {{C1: expected S x H, N x S and N x H with static S and H, got 'tensor<?x64xf32>', 'tensor<?x?xf32>' and 'tensor<?x64xf32>'}}
  %y = moe.soft_combine %s by %l : tensor<?x64xf32>, tensor<?x?xf32> -> tensor<?x64xf32>
  return
}

// -----

func.func @moe_soft_combine_c1_element(%s: tensor<16x64xf32>, %l: tensor<?x16xf32>) {
  // expected-error @+1 {{C1: expected S x H, N x S and N x H with static S and H, got 'tensor<16x64xf32>', 'tensor<?x16xf32>' and 'tensor<?x64xbf16>'}}
  %y = moe.soft_combine %s by %l : tensor<16x64xf32>, tensor<?x16xf32> -> tensor<?x64xbf16>
  return
}

// -----

func.func @moe_soft_combine_c1_tokens(%s: tensor<16x64xf32>, %l: tensor<4x16xf32>) {
  // expected-error @+1 {{C1: expected S x H, N x S and N x H with static S and H, got 'tensor<16x64xf32>', 'tensor<4x16xf32>' and 'tensor<3x64xf32>'}}
  %y = moe.soft_combine %s by %l : tensor<16x64xf32>, tensor<4x16xf32> -> tensor<3x64xf32>
  return
}

// -----

func.func @moe_soft_combine_c1_hidden(%s: tensor<16x64xf32>, %l: tensor<?x16xf32>) {
  // expected-error @+1 {{C1: expected S x H, N x S and N x H with static S and H, got 'tensor<16x64xf32>', 'tensor<?x16xf32>' and 'tensor<?x32xf32>'}}
  %y = moe.soft_combine %s by %l : tensor<16x64xf32>, tensor<?x16xf32> -> tensor<?x32xf32>
  return
}

// -----

func.func @moe_lookup_c1_empty(%t: tensor<0x2xi32>, %i: tensor<?xi32>) {
  // expected-error @+1 {{C1: expected a static V x D, N indices and N x D of one element type, got 'tensor<0x2xi32>', 'tensor<?xi32>' and 'tensor<?x2xi32>'}}
  %r = moe.lookup %t[%i] : tensor<0x2xi32>, tensor<?xi32> -> tensor<?x2xi32>
  return
}

// -----

func.func @moe_random_c3_dynamic(%s: tensor<?xi64>, %x: tensor<?x4xf32>) {
  // expected-error @+1 {{C3: seed must have one element, got 'tensor<?xi64>'}}
  %r = moe.random uniform seed(%s) like %x : tensor<?xi64>, tensor<?x4xf32> -> tensor<?x4xf32>
  return
}
