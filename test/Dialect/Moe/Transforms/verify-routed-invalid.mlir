// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-verify-routed))' \
// RUN:   -split-input-file -verify-diagnostics

// expected-error@below {{function 'declaration' has no body to compile}}
func.func private @declaration(tensor<?x8xf32>)

// -----

// expected-error@below {{function 'blocks' has control flow; expected a single block}}
func.func @blocks(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  cf.br ^bb1
^bb1:
  return %x : tensor<?x8xf32>
}

// -----

// expected-error@below {{function 'scalar' takes a value of type 'f32'; expected one row per token}}
func.func @scalar(%x: tensor<?x8xf32>, %s: f32) -> tensor<?x8xf32> {
  return %x : tensor<?x8xf32>
}

// -----

// expected-error@below {{function 'columns' returns a value of type 'tensor<8x?xf32>'; expected one row per token, or a static tensor}}
func.func @columns(%x: tensor<?x8xf32>) -> tensor<8x?xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x8xf32>
  %e = tensor.empty(%n) : tensor<8x?xf32>
  return %e : tensor<8x?xf32>
}

// -----

// Tensor code outside of a kernel.
func.func @tensor_op(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@below {{'arith.addf' stands outside a kernel region after the phase 'routed'}}
  %y = arith.addf %x, %x : tensor<?x8xf32>
  return %x : tensor<?x8xf32>
}

// -----

// A graph op that is left.
func.func @graph_op(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@below {{'moe.assign_all' stands outside a kernel region after the phase 'routed'}}
  %r = moe.assign_all %x : tensor<?x8xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  return %x : tensor<?x8xf32>
}

// -----

// Lists that no op of the function made may point anywhere.
func.func @list_from_outside(%x: tensor<?x8xf32>, %i: tensor<?xi32>)
    -> tensor<?x8xf32> {
  // expected-error@below {{'moe.gather_rows' reads an index list that is not result 1 of 'moe.group_rows' or another op that makes index lists}}
  %xs = moe.gather_rows %x[%i]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %x : tensor<?x8xf32>
}

// -----

// A list in the place of another.
func.func @wrong_list(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // expected-error@below {{'moe.gather_rows' reads an index list that is not result 1 of 'moe.group_rows' or another op that makes index lists}}
  %xs = moe.gather_rows %x[%tr]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %x : tensor<?x8xf32>
}

// -----

func.func @map_offsets(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // expected-error@below {{'moe.map_rows' reads an index list that is not result 0}}
  %y = moe.map_rows rows(%x : tensor<?x8xf32>)
      offsets(%rt : tensor<?xi32>) -> tensor<?x8xf32> {
  ^bb0(%a: tensor<1x8xf32>):
    moe.yield %a : tensor<1x8xf32>
  }
  return %x : tensor<?x8xf32>
}

// -----

moe.weight @u : tensor<2x6x8xf32> from ["u"]
moe.weight @d : tensor<2x8x6xf32> from ["d"]
func.func @ffn_two_routings(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = moe.get_weight @u : tensor<2x6x8xf32>
  %d = moe.get_weight @d : tensor<2x8x6xf32>
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %eo2, %rt2, %rw2, %to2, %tr2 = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // expected-error@below {{'moe.grouped_ffn' reads lists of two routings}}
  %y = moe.grouped_ffn ins(%x : tensor<?x8xf32>)
      offsets(%eo : tensor<3xi32>) tokens(%rt2 : tensor<?xi32>)
      weights(%u, %d : tensor<2x6x8xf32>, tensor<2x8x6xf32>) parts 1
      -> tensor<?x8xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return %x : tensor<?x8xf32>
}

// -----

moe.weight @u : tensor<2x6x8xf32> from ["u"]
moe.weight @d : tensor<2x8x6xf32> from ["d"]
func.func @ffn_lists(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = moe.get_weight @u : tensor<2x6x8xf32>
  %d = moe.get_weight @d : tensor<2x8x6xf32>
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // expected-error@below {{'moe.grouped_ffn' reads an index list that is not result 1}}
  %y = moe.grouped_ffn ins(%x : tensor<?x8xf32>)
      offsets(%eo : tensor<3xi32>) tokens(%tr : tensor<?xi32>)
      weights(%u, %d : tensor<2x6x8xf32>, tensor<2x8x6xf32>) parts 1
      -> tensor<?x8xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return %x : tensor<?x8xf32>
}

// -----

func.func @combine_two_routings(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %eo2, %rt2, %rw2, %to2, %tr2 = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // expected-error@below {{'moe.combine_rows' reads lists of two routings}}
  %y = moe.combine_rows rows(%xs : tensor<?x8xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw2 : tensor<?xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

func.func @combine_lists(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // expected-error@below {{'moe.combine_rows' reads an index list that is not result 4}}
  %y = moe.combine_rows rows(%xs : tensor<?x8xf32>)
      offsets(%to : tensor<?xi32>) indices(%rt : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

func.func @combine_weights(%x: tensor<?x8xf32>, %f: tensor<?xf32>)
    -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // expected-error@below {{'moe.combine_rows' reads an index list that is not result 2}}
  %y = moe.combine_rows rows(%xs : tensor<?x8xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%f : tensor<?xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Rows of tokens read as rows of pairs.
func.func @combine_tokens(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // expected-error@below {{'moe.combine_rows' expects one row per pair of its routing, but its operand has others}}
  %y = moe.combine_rows rows(%x : tensor<?x8xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Rows of pairs read as rows of tokens.
func.func @gather_pairs(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // expected-error@below {{'moe.gather_rows' expects one row per token, but its operand has others}}
  %z = moe.gather_rows %xs[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %x : tensor<?x8xf32>
}

// -----

moe.weight @u : tensor<2x6x8xf32> from ["u"]
moe.weight @d : tensor<2x8x6xf32> from ["d"]
func.func @ffn_pairs(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %u = moe.get_weight @u : tensor<2x6x8xf32>
  %d = moe.get_weight @d : tensor<2x8x6xf32>
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // expected-error@below {{'moe.grouped_ffn' expects one row per token, but its operand has others}}
  %y = moe.grouped_ffn ins(%xs : tensor<?x8xf32>)
      offsets(%eo : tensor<3xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<2x6x8xf32>, tensor<2x8x6xf32>) parts 1
      -> tensor<?x8xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return %x : tensor<?x8xf32>
}

// -----

// Without offsets a kernel would stop after as many rows as there are tokens.
func.func @map_pairs(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // expected-error@below {{'moe.map_rows' expects one row per token, but its operand has others}}
  %y = moe.map_rows rows(%xs : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%a: tensor<1x8xf32>):
    moe.yield %a : tensor<1x8xf32>
  }
  return %x : tensor<?x8xf32>
}

// -----

func.func @map_tokens(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // expected-error@below {{'moe.map_rows' expects one row per pair of its routing, but its operand has others}}
  %y = moe.map_rows rows(%x : tensor<?x8xf32>)
      offsets(%eo : tensor<3xi32>) -> tensor<?x8xf32> {
  ^bb0(%a: tensor<1x8xf32>):
    moe.yield %a : tensor<1x8xf32>
  }
  return %x : tensor<?x8xf32>
}

// -----

// Rows of a routing have routers of their own; those of tokens do not nest.
func.func @nest_tokens(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %i, %p = moe.select_topk %x policy<score = softmax, top_k = 1>
      : tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  // expected-error@below {{'moe.nest_ids' expects one row per pair of its routing, but its operand has others}}
  %n = moe.nest_ids %i offsets(%eo) inner 8
      : tensor<?x1xi32>, tensor<3xi32> -> tensor<?x1xi32>
  return %x : tensor<?x8xf32>
}

// -----

func.func @random_of_pairs(%x: tensor<?x8xf32>, %s: tensor<1xi64>)
    -> tensor<?x2xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  %u = moe.random uniform seed(%s) like %xs
      : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x2xf32>
  // expected-error@below {{'moe.select_topk' expects one row per token, but its operand has others}}
  %i, %p = moe.select_topk %x random(%u : tensor<?x2xf32>)
      policy<score = softmax, top_k = 2, keep = random 0.5>
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %p : tensor<?x2xf32>
}

// -----

func.func @returns_pairs(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  // expected-error@below {{'func.return' expects one row per token, but its operand has others}}
  return %xs : tensor<?x8xf32>
}

// -----

func.func @returns_list(%x: tensor<?x8xf32>) -> tensor<?xi32> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  // expected-error@below {{'func.return' expects one row per token, but its operand has others}}
  return %rt : tensor<?xi32>
}

// -----

func.func @dynamic_invariant(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@below {{'moe.map_rows' has an invariant of dynamic shape 'tensor<?x8xf32>'}}
  %y = moe.map_rows rows(%x : tensor<?x8xf32>)
      invariants(%x : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%a: tensor<1x8xf32>, %b: tensor<?x8xf32>):
    moe.yield %a : tensor<1x8xf32>
  }
  return %x : tensor<?x8xf32>
}

// -----

// Room for seven rows would not do for eight.
func.func @static_rows(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@below {{'moe.map_rows' has a result of type 'tensor<7x8xf32>'; expected a dynamic number of rows}}
  %y = moe.map_rows rows(%x : tensor<?x8xf32>) -> tensor<7x8xf32> {
  ^bb0(%a: tensor<1x8xf32>):
    moe.yield %a : tensor<1x8xf32>
  }
  return %x : tensor<?x8xf32>
}

// -----

// The size of a buffer in bytes must fit 64 bits.
func.func @long_rows(%x: tensor<?x8xf32>, %y: tensor<?x16777217xf32>)
    -> tensor<?x16777217xf32> {
  // expected-error@below {{'func.return' handles a value of type 'tensor<?x16777217xf32>'; a row has at most 16777216 elements, a static tensor 1099511627776}}
  return %y : tensor<?x16777217xf32>
}

// -----

func.func @overflow(%x: tensor<?x8xf32>, %y: tensor<?x4294967296x4294967296xf32>)
    -> tensor<?x4294967296x4294967296xf32> {
  // expected-error@below {{'func.return' handles a value of type 'tensor<?x4294967296x4294967296xf32>'}}
  return %y : tensor<?x4294967296x4294967296xf32>
}

// -----

// An element that is no whole number of bytes has no place in a buffer.
func.func @boolean(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@below {{'moe.map_rows' exchanges a value of type 'tensor<?x8xi1>' with other kernels; expected elements of f32, bf16, f16, i64, i32 or i8}}
  %y = moe.map_rows rows(%x : tensor<?x8xf32>) -> tensor<?x8xi1> {
  ^bb0(%a: tensor<1x8xf32>):
    %b = arith.cmpf olt, %a, %a : tensor<1x8xf32>
    moe.yield %b : tensor<1x8xi1>
  }
  return %x : tensor<?x8xf32>
}
