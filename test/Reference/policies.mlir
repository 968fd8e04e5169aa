// Operands of policies, capacity and what becomes of their pairs, at graph and
// at routed level. PolicyTest.cpp has the clauses one by one.

// RUN: moe-interpret %s --function=capacity --print | FileCheck %s --check-prefix=CAPACITY
// RUN: moe-interpret %s --function=routed_capacity --print | FileCheck %s --check-prefix=ROUTED
// RUN: moe-interpret %s --function=keep_in_order --print | FileCheck %s --check-prefix=ORDER
// RUN: moe-interpret %s --function=bias_per_token --print | FileCheck %s --check-prefix=PER-TOKEN
// RUN: moe-interpret %s --function=resident --print | FileCheck %s --check-prefix=RESIDENT
// RUN: moe-interpret %s --function=random --print | FileCheck %s --check-prefix=RANDOM
// RUN: moe-interpret %s --function=null_experts --print | FileCheck %s --check-prefix=NULL
// RUN: moe-interpret %s --function=assigned --print | FileCheck %s --check-prefix=ASSIGNED
// RUN: moe-interpret %s --function=weighted_input --print | FileCheck %s --check-prefix=WEIGHTED
// RUN: moe-interpret %s --function=no_tokens --print | FileCheck %s --check-prefix=EMPTY
// RUN: not moe-interpret %s --function=bad_bias 2>&1 | FileCheck %s --check-prefix=BAD-BIAS
// RUN: not moe-interpret %s --function=bad_choice 2>&1 | FileCheck %s --check-prefix=BAD-CHOICE

// The same numbers at routed level.
// RUN: moe-opt %s --moe-lower-routing -o %t.mlir
// RUN: moe-interpret %t.mlir --function=capacity --print | FileCheck %s --check-prefix=CAPACITY
// RUN: moe-interpret %t.mlir --function=resident --print | FileCheck %s --check-prefix=RESIDENT
// RUN: moe-interpret %t.mlir --function=null_experts --print | FileCheck %s --check-prefix=NULL
// RUN: moe-interpret %t.mlir --function=assigned --print | FileCheck %s --check-prefix=ASSIGNED
// RUN: moe-interpret %t.mlir --function=weighted_input --print | FileCheck %s --check-prefix=WEIGHTED
// RUN: moe-interpret %t.mlir --function=no_tokens --print | FileCheck %s --check-prefix=EMPTY

!r3 = !moe.routing<experts = 3, per_token = 2>

// Choices 0 1, 0 1, 0 2, 1 0 with two slots. Tokens 2 and 3 of expert 0 and
// token 1 of expert 1 get none.
// CAPACITY: y0: 3xi64 = {{\[}}2, 2, 1]
// CAPACITY: y1: 3xi64 = {{\[}}4, 3, 1]
// CAPACITY: y2: 4x1xf32 = {{\[\[}}9], [6], [1], [7]]
func.func @capacity() -> (tensor<3xi64>, tensor<3xi64>, tensor<4x1xf32>) {
  %l = arith.constant dense<[[5.0, 4.0, -9.0], [6.0, 3.0, -9.0],
                             [9.0, -9.0, 1.0], [2.0, 7.0, -9.0]]>
      : tensor<4x3xf32>
  %r = moe.route %l policy<score = none, top_k = 2,
                           capacity = slots 2 by choice>
      : tensor<4x3xf32> -> !r3
  %n = moe.expert_counts %r : !r3 -> tensor<3xi64>
  %c = moe.expert_counts %r chosen : !r3 -> tensor<3xi64>
  %x = arith.constant dense<1.0> : tensor<4x1xf32>
  %xs = moe.dispatch %x by %r : tensor<4x1xf32>, !r3 -> tensor<?x1xf32>
  %y = moe.combine %xs by %r : tensor<?x1xf32>, !r3 -> tensor<4x1xf32>
  return %n, %c, %y : tensor<3xi64>, tensor<3xi64>, tensor<4x1xf32>
}

// The same in two steps: choices in order of selection, then those left.
// Static lists are filled up behind the last row.
// ROUTED: y0: 4x2xi32 = {{\[\[}}0, 1], [0, 1], [0, 2], [1, 0]]
// ROUTED: y1: 4x2xi32 = {{\[\[}}0, 1], [0, -1], [2, -1], [1, -1]]
// ROUTED: y2: 4x2xf32 = {{\[\[}}5, 4], [6, 0], [1, 0], [7, 0]]
// ROUTED: y3: 3xi32 = {{\[}}2, 1, 0]
// ROUTED: y4: 4xi32 = {{\[}}0, 2, 4, 5]
// ROUTED: y5: 8xi32 = {{\[}}0, 1, 0, 3, 2, 0, 0, 0]
// ROUTED: y6: 5xi32 = {{\[}}0, 2, 3, 4, 5]
// ROUTED: y7: 8xi32 = {{\[}}0, 2, 1, 4, 3, 0, 0, 0]
// ROUTED: y8: 3xi64 = {{\[}}4, 3, 1]
func.func @routed_capacity()
    -> (tensor<4x2xi32>, tensor<4x2xi32>, tensor<4x2xf32>, tensor<3xi32>,
        tensor<4xi32>, tensor<8xi32>, tensor<5xi32>, tensor<8xi32>,
        tensor<3xi64>) {
  %l = arith.constant dense<[[5.0, 4.0, -9.0], [6.0, 3.0, -9.0],
                             [9.0, -9.0, 1.0], [2.0, 7.0, -9.0]]>
      : tensor<4x3xf32>
  %i, %w = moe.select_topk %l policy<score = none, top_k = 2,
                                     capacity = slots 2 by choice>
      : tensor<4x3xf32> -> tensor<4x2xi32>, tensor<4x2xf32>
  %j, %v, %d = moe.apply_capacity %i, %w policy<score = none, top_k = 2,
                                                capacity = slots 2 by choice>
      : tensor<4x2xi32>, tensor<4x2xf32>
      -> tensor<4x2xi32>, tensor<4x2xf32>, tensor<3xi32>
  %eo, %rt, %rw, %to, %tr = moe.group_rows %j, %v
      : tensor<4x2xi32>, tensor<4x2xf32> -> tensor<4xi32>, tensor<8xi32>,
        tensor<8xf32>, tensor<5xi32>, tensor<8xi32>
  %n = moe.count_ids %i : tensor<4x2xi32> -> tensor<3xi64>
  return %i, %j, %v, %d, %eo, %rt, %to, %tr, %n
      : tensor<4x2xi32>, tensor<4x2xi32>, tensor<4x2xf32>, tensor<3xi32>,
        tensor<4xi32>, tensor<8xi32>, tensor<5xi32>, tensor<8xi32>,
        tensor<3xi64>
}

// A choice that does not stay keeps its place until capacity was applied.
// ORDER: y0: 1x3xi32 = {{\[\[}}2, -1, -1]]
// ORDER: y1: 1x3xf32 = {{\[\[}}6, 0, 0]]
// ORDER: y2: 1x3xi32 = {{\[\[}}0, 2, -1]]
// ORDER: y3: 1x3xf32 = {{\[\[}}4, 6, 0]]
func.func @keep_in_order() -> (tensor<1x3xi32>, tensor<1x3xf32>,
                               tensor<1x3xi32>, tensor<1x3xf32>) {
  %l = arith.constant dense<[[4.0, 1.0, 6.0]]> : tensor<1x3xf32>
  %i, %w = moe.select_topk %l policy<score = none, top_k = 3,
                                     keep = threshold 5.0,
                                     capacity = slots 2 by choice>
      : tensor<1x3xf32> -> tensor<1x3xi32>, tensor<1x3xf32>
  %j, %v = moe.select_topk %l policy<score = none, top_k = 3,
                                     keep = threshold 3.0>
      : tensor<1x3xf32> -> tensor<1x3xi32>, tensor<1x3xf32>
  return %i, %w, %j, %v
      : tensor<1x3xi32>, tensor<1x3xf32>, tensor<1x3xi32>, tensor<1x3xf32>
}

// PER-TOKEN: y0: 2x1xi32 = {{\[\[}}1], [0]]
// PER-TOKEN: y1: 2x1xf32 = {{\[\[}}2], [3]]
func.func @bias_per_token() -> (tensor<2x1xi32>, tensor<2x1xf32>) {
  %l = arith.constant dense<[[3.0, 2.0], [3.0, 2.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[[0.0, 2.0], [1.0, 1.0]]> : tensor<2x2xf32>
  %i, %w = moe.select_topk %l bias(%b) policy<score = none, top_k = 1>
      : tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x1xi32>, tensor<2x1xf32>
  return %i, %w : tensor<2x1xi32>, tensor<2x1xf32>
}

// Token 0 gives up expert 0 (score 3) for 1 (score 2); token 1 nothing.
// RESIDENT: y0: 2xi64 = {{\[}}0, 2]
// RESIDENT: y1: 2xf32 = {{\[}}1, 0.5]
func.func @resident() -> (tensor<2xi64>, tensor<2xf32>) {
  %l = arith.constant dense<[[3.0, 2.0], [2.0, 3.0]]> : tensor<2x2xf32>
  %m = arith.constant dense<[0, 1]> : tensor<2xi32>
  %r = moe.route %l resident(%m : tensor<2xi32>)
      policy<score = none, top_k = 1, prefer = 1.5>
      : tensor<2x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %n = moe.expert_counts %r
      : !moe.routing<experts = 2, per_token = 1> -> tensor<2xi64>
  %g = moe.routing_regret %r
      : !moe.routing<experts = 2, per_token = 1> -> tensor<2xf32>
  return %n, %g : tensor<2xi64>, tensor<2xf32>
}

// The second choice, weight 0.25, stays below 0.5 * 0.5 only.
// RANDOM: y: 3x2xi32 = {{\[\[}}0, 1], [0, -1], [0, -1]]
func.func @random() -> tensor<3x2xi32> {
  %l = arith.constant dense<[[3.0, 1.0], [3.0, 1.0], [3.0, 1.0]]>
      : tensor<3x2xf32>
  %u = arith.constant dense<[[0.9, 0.4], [0.1, 0.5], [0.0, 0.6]]>
      : tensor<3x2xf32>
  %i, %w = moe.select_topk %l random(%u : tensor<3x2xf32>)
      policy<score = none, top_k = 2, normalize, keep = random 0.5>
      : tensor<3x2xf32> -> tensor<3x2xi32>, tensor<3x2xf32>
  return %i : tensor<3x2xi32>
}

// Expert 2 is null: token 0 visits one expert, token 1 two.
// NULL: y0: 2xi64 = {{\[}}2, 1]
// NULL: y1: 2x1xf32 = {{\[\[}}4], [7]]
func.func @null_experts() -> (tensor<2xi64>, tensor<2x1xf32>) {
  %l = arith.constant dense<[[4.0, 1.0, 5.0], [4.0, 3.0, 2.0]]>
      : tensor<2x3xf32>
  %r = moe.route %l policy<score = none, top_k = 2, null_experts = 1>
      : tensor<2x3xf32> -> !moe.routing<experts = 2, per_token = 2>
  %n = moe.expert_counts %r
      : !moe.routing<experts = 2, per_token = 2> -> tensor<2xi64>
  %x = arith.constant dense<1.0> : tensor<2x1xf32>
  %xs = moe.dispatch %x by %r
      : tensor<2x1xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x1xf32>
  %y = moe.combine %xs by %r
      : tensor<?x1xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<2x1xf32>
  return %n, %y : tensor<2xi64>, tensor<2x1xf32>
}

// -1 is no visit; a token without any gets zero.
// ASSIGNED: y0: 3xi64 = {{\[}}1, 0, 2]
// ASSIGNED: y1: 3x1xf32 = {{\[\[}}50], [0], [20]]
func.func @assigned() -> (tensor<3xi64>, tensor<3x1xf32>) {
  %i = arith.constant dense<[[2, 0], [-1, -1], [-1, 2]]> : tensor<3x2xi32>
  %w = arith.constant dense<[[2.0, 3.0], [5.0, 5.0], [5.0, 2.0]]>
      : tensor<3x2xf32>
  %r = moe.assign %i, %w : tensor<3x2xi32>, tensor<3x2xf32> -> !r3
  %n = moe.expert_counts %r : !r3 -> tensor<3xi64>
  %x = arith.constant dense<10.0> : tensor<3x1xf32>
  %xs = moe.dispatch %x by %r : tensor<3x1xf32>, !r3 -> tensor<?x1xf32>
  %y = moe.combine %xs by %r : tensor<?x1xf32>, !r3 -> tensor<3x1xf32>
  return %n, %y : tensor<3xi64>, tensor<3x1xf32>
}

// Weights on the way in, where they are rounded to the type, and not again on
// the way out: 3 * 1.00390625 is 3.01171875, in bf16 3.015625.
// WEIGHTED: y0: 2x1xbf16 = {{\[\[}}3.015625], [6]]
// WEIGHTED: y1: 2x1xbf16 = {{\[\[}}3.015625], [6]]
// WEIGHTED: y2: 1x1xbf16 = {{\[\[}}9]]
// WEIGHTED: y3: 1x1xbf16 = {{\[\[}}9]]
func.func @weighted_input() -> (tensor<2x1xbf16>, tensor<2x1xbf16>,
                                tensor<1x1xbf16>, tensor<1x1xbf16>) {
  %x = arith.constant dense<3.0> : tensor<1x1xbf16>
  %i = arith.constant dense<[[0, 1]]> : tensor<1x2xi32>
  %w = arith.constant dense<[[1.00390625, 2.0]]> : tensor<1x2xf32>
  %r = moe.assign %i, %w : tensor<1x2xi32>, tensor<1x2xf32> -> !r3
  %xs = moe.dispatch %x by %r weighted
      : tensor<1x1xbf16>, !r3 -> tensor<2x1xbf16>
  %y = moe.combine %xs by %r unweighted
      : tensor<2x1xbf16>, !r3 -> tensor<1x1xbf16>
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w given
      : tensor<1x2xi32>, tensor<1x2xf32> -> tensor<4xi32>, tensor<2xi32>,
        tensor<2xf32>, tensor<2xi32>, tensor<2xi32>
  %ys = moe.gather_rows %x[%rt] weights(%rw : tensor<2xf32>)
      : tensor<1x1xbf16>, tensor<2xi32> -> tensor<2x1xbf16>
  %z = moe.combine_rows rows(%ys : tensor<2x1xbf16>)
      offsets(%to : tensor<2xi32>) indices(%tr : tensor<2xi32>)
      weights(%rw : tensor<2xf32>) unweighted [true]
      -> tensor<1x1xbf16>
  return %xs, %ys, %y, %z : tensor<2x1xbf16>, tensor<2x1xbf16>,
                            tensor<1x1xbf16>, tensor<1x1xbf16>
}

// EMPTY: y0: 3xi64 = {{\[}}0, 0, 0]
// EMPTY: y1: 1xf32 = {{\[}}0]
func.func @no_tokens() -> (tensor<3xi64>, tensor<1xf32>) {
  %n = arith.constant 0 : index
  %l = tensor.empty(%n) : tensor<?x3xf32>
  %r = moe.route %l policy<top_k = 2, capacity = factor 1.0 by weight>
      : tensor<?x3xf32> -> !r3
  %c = moe.expert_counts %r : !r3 -> tensor<3xi64>
  %a = moe.load_balance_loss softmax %l by %r
      : tensor<?x3xf32>, !r3 -> tensor<1xf32>
  return %c, %a : tensor<3xi64>, tensor<1xf32>
}

// BAD-BIAS: 'moe.select_topk' op has a bias of 4 elements for logits of 1x2xf32
func.func @bad_bias() -> tensor<?x1xi32> {
  %l = arith.constant dense<1.0> : tensor<1x2xf32>
  %b = arith.constant dense<1.0> : tensor<2x2xf32>
  %ld = tensor.cast %l : tensor<1x2xf32> to tensor<?x2xf32>
  %bd = tensor.cast %b : tensor<2x2xf32> to tensor<?x2xf32>
  %i, %w = moe.select_topk %ld bias(%bd) policy<top_k = 1>
      : tensor<?x2xf32>, tensor<?x2xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %i : tensor<?x1xi32>
}

// BAD-CHOICE: 'moe.apply_capacity' op has expert 3 of 3 in token 0
func.func @bad_choice() -> tensor<1x2xi32> {
  %i = arith.constant dense<[[3, 0]]> : tensor<1x2xi32>
  %w = arith.constant dense<1.0> : tensor<1x2xf32>
  %j, %v, %d = moe.apply_capacity %i, %w
      policy<top_k = 2, capacity = slots 2 by choice>
      : tensor<1x2xi32>, tensor<1x2xf32>
      -> tensor<1x2xi32>, tensor<1x2xf32>, tensor<3xi32>
  return %j : tensor<1x2xi32>
}
