// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @moe_expert_fractions_c1(%n: tensor<8xi64>) {
  // expected-error @+1 {{C1: expected one static number of elements, got 'tensor<8xi64>' and 'tensor<4xf32>'}}
  %f = moe.expert_fractions %n : tensor<8xi64> -> tensor<4xf32>
  return
}

// -----

func.func @moe_expert_fractions_c1_dynamic(%n: tensor<?xi64>) {
  // expected-error @+1 {{C1: expected one static number of elements, got 'tensor<?xi64>' and 'tensor<?xf32>'}}
  %f = moe.expert_fractions %n : tensor<?xi64> -> tensor<?xf32>
  return
}

// -----

func.func @moe_mean_scores_c1(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C1: the result must be tensor<8xf32>, got 'tensor<1xf32>'}}
  %m = moe.mean_scores none %l : tensor<?x8xf32> -> tensor<1xf32>
  return
}

// -----

func.func @moe_mean_scores_c1_dynamic(%l: tensor<?x?xf32>) {
  // expected-error @+1 {{C1: the number of experts must be static, got 'tensor<?x?xf32>'}}
  %m = moe.mean_scores none %l : tensor<?x?xf32> -> tensor<?xf32>
  return
}

// -----

func.func @moe_load_balance_loss_c1(%l: tensor<?x8xf32>, %k: tensor<?x4xf32>) {
  %r = moe.route %l policy<top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  // expected-error @+1 {{C1: logits must have one column for each of 8 experts, got 'tensor<?x4xf32>'}}
  %a = moe.load_balance_loss softmax %k by %r : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  return
}

// -----

func.func @moe_load_balance_loss_c2(%l: tensor<?x8xf32>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C2: the routing must be the result of moe.route}}
  %a = moe.load_balance_loss softmax %l by %r : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  return
}

// -----

func.func @moe_load_balance_loss_c3_every(%l: tensor<?x8xf32>) {
  %r = moe.route %l policy<top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  // expected-error @+1 {{C3: every must be at least 1 and below 2^31, got 0}}
  %a = moe.load_balance_loss softmax %l by %r every 0 : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  return
}

// -----

func.func @moe_load_balance_loss_c3_result(%l: tensor<?x8xf32>) {
  %r = moe.route %l policy<top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  // expected-error @+1 {{C3: the result must be tensor<1xf32>, got 'tensor<8xf32>'}}
  %a = moe.load_balance_loss softmax %l by %r : tensor<?x8xf32>, !moe.routing<experts = 8, per_token = 2> -> tensor<8xf32>
  return
}

// -----

func.func @moe_router_z_loss_c1(%l: tensor<?x8xf32>) {
  // expected-error @+1 {{C1: the result must be tensor<1xf32>, got 'tensor<?xf32>'}}
  %z = moe.router_z_loss %l : tensor<?x8xf32> -> tensor<?xf32>
  return
}

// -----

func.func @moe_importance_loss_c1(%l: tensor<?x8xf32>) {
  %r = moe.route %l policy<top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  // expected-error @+1 {{C1: the result must be tensor<1xf32>, got 'tensor<2xf32>'}}
  %z = moe.importance_loss %r : !moe.routing<experts = 8, per_token = 2> -> tensor<2xf32>
  return
}

// -----

func.func @moe_importance_loss_c2(%r: !moe.routing<experts = 8, per_token = 2>) {
  // expected-error @+1 {{C2: the routing must be the result of moe.route or moe.assign}}
  %z = moe.importance_loss %r : !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  return
}

// -----

func.func @moe_update_bias_c1(%b: tensor<8xf32>, %n: tensor<4xi64>) {
  // expected-error @+1 {{C1: expected one static number of elements, got 'tensor<8xf32>', 'tensor<4xi64>' and 'tensor<8xf32>'}}
  %c = moe.update_bias %b by %n rate 0.1 : tensor<8xf32>, tensor<4xi64> -> tensor<8xf32>
  return
}

// -----

func.func @moe_update_bias_c2(%b: tensor<8xf32>, %n: tensor<8xi64>) {
  // expected-error @+1 {{C2: rate must be finite and greater than 0, got 0}}
  %c = moe.update_bias %b by %n rate 0.0 : tensor<8xf32>, tensor<8xi64> -> tensor<8xf32>
  return
}

// -----

func.func @moe_update_bias_c2_infinite(%b: tensor<8xf32>, %n: tensor<8xi64>) {
  // expected-error @+1 {{C2: rate must be finite and greater than 0, got INF}}
  %c = moe.update_bias %b by %n rate 0x7F800000 : tensor<8xf32>, tensor<8xi64> -> tensor<8xf32>
  return
}

// -----

func.func @moe_routing_regret_c1(%l: tensor<?x8xf32>) {
  %r = moe.route %l policy<top_k = 2> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  // expected-error @+1 {{C1: the routing must be the result of moe.route with 'prefer'}}
  %g = moe.routing_regret %r : !moe.routing<experts = 8, per_token = 2> -> tensor<2xf32>
  return
}

// -----

func.func @moe_routing_regret_c2(%l: tensor<?x8xf32>, %p: tensor<8xi32>) {
  %r = moe.route %l resident(%p : tensor<8xi32>) policy<top_k = 2, prefer = 0.5> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  // expected-error @+1 {{C2: the result must be tensor<2xf32>, got 'tensor<1xf32>'}}
  %g = moe.routing_regret %r : !moe.routing<experts = 8, per_token = 2> -> tensor<1xf32>
  return
}
