// RUN: moe-opt %s -moe-flatten-experts -split-input-file -verify-diagnostics

#rows = affine_map<(m, n) -> (m, n)>
#columns = affine_map<(m, n) -> (n)>

func.func @reads_weight(%x: tensor<?x4xf32>, %r0: tensor<?x3xf32>,
                        %w: tensor<3x2x4xf32>, %g: tensor<3x4xf32>)
    -> tensor<?x4xf32> {
  %r = moe.route %r0 policy<top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%w, %g) by %r
      : (tensor<?x4xf32>, tensor<3x2x4xf32>, tensor<3x4xf32>),
        !moe.routing<experts = 3, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<2x4xf32>, %b: tensor<4xf32>):
    // expected-error@below {{'linalg.generic' keeps experts within experts from being one routing: it reads a weight of the outer experts, which only moe.router_logits and moe.experts can}}
    %s = linalg.generic {indexing_maps = [#columns, #rows],
                         iterator_types = ["parallel", "parallel"]}
        ins(%b : tensor<4xf32>) outs(%t : tensor<?x4xf32>) {
    ^bb0(%p: f32, %q: f32):
      %m = arith.mulf %p, %q : f32
      linalg.yield %m : f32
    } -> tensor<?x4xf32>
    %l = moe.router_logits ins(%s, %a)
        : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
    moe.yield %s : tensor<?x4xf32>
  }
  return %x : tensor<?x4xf32>
}

// -----

func.func @rounded(%x: tensor<?x4xf32>, %r0: tensor<?x3xf32>,
                   %w: tensor<3x2x4xf32>) -> tensor<?x4xf32> {
  %r = moe.route %r0 policy<top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%w) by %r
      : (tensor<?x4xf32>, tensor<3x2x4xf32>),
        !moe.routing<experts = 3, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<2x4xf32>):
    // expected-error@below {{'moe.router_logits' keeps experts within experts from being one routing: expected a weight of the outer experts, and neither bias, round nor cosine}}
    %l = moe.router_logits ins(%t, %a) round bf16
        : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
    moe.yield %t : tensor<?x4xf32>
  }
  return %x : tensor<?x4xf32>
}

// -----

func.func @counts(%x: tensor<?x4xf32>, %r0: tensor<?x3xf32>,
                  %w: tensor<3x2x4xf32>) -> tensor<?x4xf32> {
  %r = moe.route %r0 policy<top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%w) by %r
      : (tensor<?x4xf32>, tensor<3x2x4xf32>),
        !moe.routing<experts = 3, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<2x4xf32>):
    %l = moe.router_logits ins(%t, %a)
        : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
    %i = moe.route %l policy<top_k = 1>
        : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
    // expected-error@below {{'moe.expert_counts' keeps experts within experts from being one routing: expected moe.router_logits, moe.route, moe.assign, moe.dispatch, moe.experts, moe.combine or tensor code}}
    %n = moe.expert_counts %i
        : !moe.routing<experts = 2, per_token = 1> -> tensor<2xi64>
    moe.yield %t : tensor<?x4xf32>
  }
  return %x : tensor<?x4xf32>
}

// -----

moe.weight @w : tensor<3x2x4x4xf32> from ["w.{0..2}"] stack
func.func @stacked(%x: tensor<?x4xf32>, %r0: tensor<?x3xf32>,
                   %wr: tensor<3x2x4xf32>) -> tensor<?x4xf32> {
  %w = moe.get_weight @w : tensor<3x2x4x4xf32>
  %r = moe.route %r0 policy<top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%wr, %w) by %r
      : (tensor<?x4xf32>, tensor<3x2x4xf32>, tensor<3x2x4x4xf32>),
        !moe.routing<experts = 3, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<2x4xf32>, %b: tensor<2x4x4xf32>):
    %l = moe.router_logits ins(%t, %a)
        : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
    %i = moe.route %l policy<top_k = 1>
        : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
    %xi = moe.dispatch %t by %i
        : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
        -> tensor<?x4xf32>
    // expected-error@below {{'moe.experts' keeps experts within experts from being one routing: weight '@w' is stacked, split or encoded; give it all experts in the leading dimension and expand that with tensor.expand_shape}}
    %yi = moe.experts ins(%xi) weights(%b) by %i
        : (tensor<?x4xf32>, tensor<2x4x4xf32>),
          !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
    ^bb0(%u: tensor<?x4xf32>, %d: tensor<4x4xf32>):
      moe.yield %u : tensor<?x4xf32>
    }
    moe.yield %t : tensor<?x4xf32>
  }
  return %x : tensor<?x4xf32>
}

// -----

moe.weight @wi : tensor<3x2x4xf32> from ["inner.{0..2}"] stack

func.func @capacity(%x: tensor<?x4xf32>, %lo: tensor<?x3xf32>)
    -> tensor<?x4xf32> {
  %w = moe.get_weight @wi : tensor<3x2x4xf32>
  %r = moe.route %lo policy<top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%w) by %r
      : (tensor<?x4xf32>, tensor<3x2x4xf32>),
        !moe.routing<experts = 3, per_token = 2> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<2x4xf32>):
    %l = moe.router_logits ins(%t, %a)
        : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
    // expected-error@below {{'moe.route' keeps experts within experts from being one routing: a capacity counts the rows of one outer expert only}}
    %i = moe.route %l policy<top_k = 1, capacity = slots 1 by position>
        : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
    %xi = moe.dispatch %t by %i
        : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
        -> tensor<?x4xf32>
    %yi = moe.combine %xi by %i
        : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
        -> tensor<?x4xf32>
    moe.yield %yi : tensor<?x4xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
