// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-lower-routing))' \
// RUN:   -split-input-file -verify-diagnostics

// A body that sums over its rows depends on who else visits the expert.
func.func @sums_rows(%x: tensor<?x4xf32>, %w: tensor<1x4xf32>)
    -> tensor<?x4xf32> {
  %r = moe.assign_all %x : tensor<?x4xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%w) by %r
      : (tensor<?x4xf32>, tensor<1x4xf32>),
        !moe.routing<experts = 1, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %v: tensor<4xf32>):
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    // expected-error@below {{the body of an expert must treat rows independently; 'linalg.reduce' does not: it reduces over rows}}
    %s = linalg.reduce ins(%t : tensor<?x4xf32>) outs(%v : tensor<4xf32>)
        dimensions = [0] (%a: f32, %b: f32) {
      %c = arith.addf %a, %b : f32
      linalg.yield %c : f32
    }
    %e = tensor.empty(%n) : tensor<?x4xf32>
    %y = linalg.broadcast ins(%s : tensor<4xf32>)
        outs(%e : tensor<?x4xf32>) dimensions = [0]
    moe.yield %y : tensor<?x4xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// A routing from nowhere has no lists.
func.func @argument(%x: tensor<?x4xf32>,
                    %r: !moe.routing<experts = 2, per_token = 1>)
    -> tensor<?x4xf32> {
  // expected-error@below {{'moe.dispatch' uses a routing in a way that has no index lists; expected the result of a router (moe.route, moe.assign, moe.assign_all, moe.choose_tokens, moe.route_products, moe.restrict, moe.nest) in moe.dispatch, moe.experts, moe.combine, moe.restrict, moe.nest, moe.grouped_logits or a statistic, all in the block of the function}}
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %xs : tensor<?x4xf32>
}

// -----

// A routing cannot leave the function.
func.func @returned(%x: tensor<?x4xf32>)
    -> !moe.routing<experts = 1, per_token = 1> {
  %r = moe.assign_all %x : tensor<?x4xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  // expected-error@below {{'func.return' uses a routing in a way that has no index lists}}
  return %r : !moe.routing<experts = 1, per_token = 1>
}

// -----

// Nor be made by another function.
func.func private @other() -> !moe.routing<experts = 1, per_token = 1>
func.func @called() {
  // expected-error@below {{'func.call' makes a routing that cannot be lowered}}
  %r = func.call @other() : () -> !moe.routing<experts = 1, per_token = 1>
  return
}

// -----

// Nor be used or made in a nested region.
func.func @nested(%x: tensor<?x4xf32>, %c: i1) {
  scf.if %c {
    // expected-error@below {{'moe.assign_all' makes a routing that cannot be lowered}}
    %r = moe.assign_all %x : tensor<?x4xf32>
        -> !moe.routing<experts = 1, per_token = 1>
  }
  return
}

// -----

func.func @user_in_region(%x: tensor<?x4xf32>, %c: i1) {
  %r = moe.assign_all %x : tensor<?x4xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  scf.if %c {
    // expected-error@below {{'moe.expert_counts' uses a routing in a way that has no index lists}}
    %n = moe.expert_counts %r
        : !moe.routing<experts = 1, per_token = 1> -> tensor<1xi64>
  }
  return
}

// -----

// expected-error@below {{function 'blocks' has control flow; expected a single block}}
func.func @blocks(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  cf.br ^bb1
^bb1:
  return %x : tensor<?x4xf32>
}
