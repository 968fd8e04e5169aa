// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-verify-graph))' \
// RUN:   -split-input-file -verify-diagnostics -allow-unregistered-dialect

// expected-error@below {{function 'declaration' has no body to compile}}
func.func private @declaration(tensor<?x4xf32>) -> tensor<?x4xf32>

// -----

// expected-error@below {{function 'blocks' has control flow; expected a single block}}
func.func @blocks(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  cf.br ^bb1
^bb1:
  return %x : tensor<?x4xf32>
}

// -----

// expected-error@below {{function 'no_input' has no input}}
func.func @no_input() -> tensor<4xf32> {
  %c = arith.constant dense<0.0> : tensor<4xf32>
  return %c : tensor<4xf32>
}

// -----

// expected-error@below {{function 'no_result' has no result}}
func.func @no_result(%x: tensor<?x4xf32>) {
  return
}

// -----

// expected-error@below {{no input of function 'no_tokens' has one row per token; expected a tensor whose first dimension, and no other, is dynamic}}
func.func @no_tokens(%x: tensor<7x4xf32>) -> tensor<7x4xf32> {
  return %x : tensor<7x4xf32>
}

// -----

// expected-error@below {{input 1 of function 'scalar_input' has type 'tensor<f32>'; expected a tensor whose first dimension is dynamic (the number of tokens) and no other, or a static one}}
func.func @scalar_input(%x: tensor<?x4xf32>, %y: tensor<f32>)
    -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}

// -----

// expected-error@below {{input 0 of function 'dynamic_columns' has type 'tensor<?x?xf32>'}}
func.func @dynamic_columns(%x: tensor<?x?xf32>) -> tensor<?x?xf32> {
  return %x : tensor<?x?xf32>
}

// -----

// expected-error@below {{input 0 of function 'unranked' has type 'tensor<*xf32>'}}
func.func @unranked(%x: tensor<*xf32>) -> tensor<*xf32> {
  return %x : tensor<*xf32>
}

// -----

// expected-error@below {{input 0 of function 'scalar' has type 'f32'}}
func.func @scalar(%x: f32) -> f32 {
  return %x : f32
}

// -----

// expected-error@below {{input 0 of function 'double' has element type 'f64'; expected f32, bf16, f16, i64, i32 or i8}}
func.func @double(%x: tensor<?x4xf64>) -> tensor<?x4xf64> {
  return %x : tensor<?x4xf64>
}

// -----

// expected-error@below {{result 0 of function 'dynamic_result' has type 'tensor<4x?xf32>'; expected a tensor with no dynamic dimension but the first}}
func.func @dynamic_result(%x: tensor<?x4xf32>) -> tensor<4x?xf32> {
  %y = "test.transpose"(%x) : (tensor<?x4xf32>) -> tensor<4x?xf32>
  return %y : tensor<4x?xf32>
}

// -----

// expected-error@below {{result 0 of function 'boolean' has element type 'i1'; expected f32, bf16, f16, i64, i32 or i8}}
func.func @boolean(%x: tensor<?x4xf32>) -> tensor<?x4xi1> {
  %y = arith.cmpf olt, %x, %x : tensor<?x4xf32>
  return %y : tensor<?x4xi1>
}

// -----

func.func @unregistered(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'test.op' cannot be compiled; expected graph ops of the moe dialect and ops of arith, linalg, math and tensor}}
  "test.op"() : () -> ()
  return %x : tensor<?x4xf32>
}

// -----

func.func @callee(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}
func.func @call(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'func.call' cannot be compiled}}
  %y = func.call @callee(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @loop(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // expected-error@below {{'scf.for' cannot be compiled}}
  %y = scf.for %i = %c0 to %c1 step %c1 iter_args(%a = %x)
      -> tensor<?x4xf32> {
    scf.yield %a : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// -----

// What is nested counts too.
func.func @call_inside(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>],
                       iterator_types = ["parallel", "parallel"]}
      outs(%x : tensor<?x4xf32>) {
  ^bb0(%a: f32):
    // expected-error@below {{'test.random' cannot be compiled}}
    %v = "test.random"() : () -> f32
    linalg.yield %v : f32
  } -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Routed ops are of a later phase.
func.func @routed(%x: tensor<?x4xf32>) -> tensor<2xi64> {
  // expected-error@below {{'moe.all_rows' cannot be compiled}}
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x4xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %n = moe.count_rows %eo : tensor<3xi32> -> tensor<2xi64>
  return %n : tensor<2xi64>
}

// -----

// There are fewer tokens than pairs; reading one for the other is out of range.
func.func @combines_tokens(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %r = moe.route %x policy<score = softmax, top_k = 2>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 2>
  // expected-error@below {{'moe.combine' expects one row per pair of its routing, but its operand has one row per token}}
  %y = moe.combine %x by %r
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @other_routing(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %r = moe.route %x policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %s = moe.route %x policy<score = sigmoid, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x2xf32>
  // expected-error@below {{'moe.experts' expects one row per pair of its routing, but its operand has one row per pair of another routing}}
  %ys = moe.experts ins(%xs) by %s
      : (tensor<?x2xf32>), !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x2xf32> {
  ^bb0(%a: tensor<?x2xf32>):
    moe.yield %a : tensor<?x2xf32>
  }
  %y = moe.combine %ys by %s
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @dispatched_twice(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %r = moe.assign_all %x : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x2xf32>
  %s = moe.route %xs policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  // expected-error@below {{'moe.dispatch' expects one row per pair of its routing, but its operand has one row per token}}
  %zs = moe.dispatch %x by %s
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x2xf32>
  %y = moe.combine %xs by %r
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// The plan gives a result room for one row per token.
func.func @returns_pairs(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %r = moe.assign_all %x : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x2xf32>
  // expected-error@below {{'func.return' expects one row per token, but its operand has one row per (token, expert) pair}}
  return %xs : tensor<?x2xf32>
}

// -----

func.func @mixes(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %r = moe.assign_all %x : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x2xf32>
  // expected-error@below {{'arith.addf' mixes rows of tokens with rows of experts, or rows of two routings}}
  %z = arith.addf %x, %xs : tensor<?x2xf32>
  return %z : tensor<?x2xf32>
}

// -----

func.func @nests_tokens(%l: tensor<?x4xf32>, %x: tensor<?x2xf32>)
    -> tensor<8xi64> {
  %r = moe.route %l policy<top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %i = moe.route %x policy<top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  // expected-error@below {{'moe.nest' nests a routing of other rows than those that moe.dispatch by the outer routing gives}}
  %n = moe.nest %i in %r
      : !moe.routing<experts = 2, per_token = 1>,
        !moe.routing<experts = 4, per_token = 2>
      -> !moe.routing<experts = 8, per_token = 1>
  %c = moe.expert_counts %n
      : !moe.routing<experts = 8, per_token = 1> -> tensor<8xi64>
  return %c : tensor<8xi64>
}

// -----

func.func @known_pairs(%l: tensor<?x4xf32>, %x: tensor<?x2xf32>)
    -> tensor<?x2xf32> {
  %r = moe.route %l policy<top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  // expected-error@below {{'moe.dispatch' has a result of type 'tensor<8x2xf32>'; the number of pairs is not known at compile time}}
  %xs = moe.dispatch %x by %r
      : tensor<?x2xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<8x2xf32>
  return %x : tensor<?x2xf32>
}

// -----

func.func @slots_unknown(%x: tensor<?x2xf32>, %l: tensor<?x4xf32>)
    -> tensor<?x2xf32> {
  %i = arith.constant dense<[[0], [0], [1], [1]]> : tensor<4x1xi32>
  %w = arith.constant dense<1.0> : tensor<4x1xf32>
  %s = moe.soft_dispatch %x by %l
      : tensor<?x2xf32>, tensor<?x4xf32> -> tensor<4x2xf32>
  %r = moe.assign %i, %w : tensor<4x1xi32>, tensor<4x1xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %s by %r
      : tensor<4x2xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x2xf32>
  // expected-error@below {{'moe.combine' has a result of type 'tensor<?x2xf32>'; expected 4 rows, as many as its routing has tokens}}
  %y = moe.combine %xs by %r
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @slots_of_tokens(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %i = arith.constant dense<[[0], [0], [1], [1]]> : tensor<4x1xi32>
  %w = arith.constant dense<1.0> : tensor<4x1xf32>
  %r = moe.assign %i, %w : tensor<4x1xi32>, tensor<4x1xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  // expected-error@below {{'moe.dispatch' expects 4 rows, but its operand has one row per token}}
  %xs = moe.dispatch %x by %r
      : tensor<?x2xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x2xf32>
  return %x : tensor<?x2xf32>
}
