// Routers beyond the choice of a token among all experts, and what routings
// are composed of.

// RUN: moe-interpret %s --function=choose_tokens --print | FileCheck %s --check-prefix=CHOOSE
// RUN: moe-interpret %s --function=choose_rows --print | FileCheck %s --check-prefix=ROWS
// RUN: moe-interpret %s --function=softmax_over_tokens --print | FileCheck %s --check-prefix=OVER-TOKENS
// RUN: moe-interpret %s --function=products --print | FileCheck %s --check-prefix=PRODUCTS
// RUN: moe-interpret %s --function=restrict --print | FileCheck %s --check-prefix=RESTRICT
// RUN: moe-interpret %s --function=slice_rows --print | FileCheck %s --check-prefix=SLICE
// RUN: moe-interpret %s --function=nest --print | FileCheck %s --check-prefix=NEST
// RUN: moe-interpret %s --function=nest_ids --print | FileCheck %s --check-prefix=IDS
// RUN: moe-interpret %s --function=cosine --print | FileCheck %s --check-prefix=COSINE
// RUN: moe-interpret %s --function=random --print | FileCheck %s --check-prefix=RANDOM
// RUN: moe-interpret %s --function=lookup --print | FileCheck %s --check-prefix=LOOKUP
// RUN: bash -c 'moe-interpret %s --function=bad_lookup; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=BAD-LOOKUP

// The same numbers at routed level.
// RUN: moe-opt %s --moe-lower-routing -o %t.mlir
// RUN: moe-interpret %t.mlir --function=choose_tokens --print | FileCheck %s --check-prefix=CHOOSE
// RUN: moe-interpret %t.mlir --function=softmax_over_tokens --print | FileCheck %s --check-prefix=OVER-TOKENS
// RUN: moe-interpret %t.mlir --function=products --print | FileCheck %s --check-prefix=PRODUCTS
// RUN: moe-interpret %t.mlir --function=restrict --print | FileCheck %s --check-prefix=RESTRICT
// RUN: moe-interpret %t.mlir --function=nest --print | FileCheck %s --check-prefix=NEST

!e2 = !moe.routing<experts = 2, per_token = 2, rows = 1, extra = 6>

// Half of four tokens each: expert 0 takes 1 and 3, expert 1 takes 0 and 1.
// CHOOSE: y0: 2xi64 = {{\[}}2, 2]
// CHOOSE: y1: 4x1xf32 = {{\[\[}}14], [11], [0], [10]]
func.func @choose_tokens() -> (tensor<2xi64>, tensor<4x1xf32>) {
  %l = arith.constant dense<[[0.0, 7.0], [5.0, 6.0], [-1.0, 0x7FC00000],
                             [5.0, -8.0]]> : tensor<4x2xf32>
  %r = moe.choose_tokens %l score none capacity <tokens 0.5> average scale 2.0
      : tensor<4x2xf32> -> !e2
  %n = moe.expert_counts %r : !e2 -> tensor<2xi64>
  %x = arith.constant dense<1.0> : tensor<4x1xf32>
  %xs = moe.dispatch %x by %r : tensor<4x1xf32>, !e2 -> tensor<?x1xf32>
  %y = moe.combine %xs by %r : tensor<?x1xf32>, !e2 -> tensor<4x1xf32>
  return %n, %y : tensor<2xi64>, tensor<4x1xf32>
}

// ROWS: y0: 3xi32 = {{\[}}0, 2, 4]
// ROWS: y1: 4xi32 = {{\[}}1, 3, 0, 1]
// ROWS: y2: 4xf32 = {{\[}}5, 10, 14, 6]
// ROWS: y3: 5xi32 = {{\[}}0, 1, 3, 3, 4]
// ROWS: y4: 4xi32 = {{\[}}2, 0, 3, 1]
func.func @choose_rows() -> (tensor<3xi32>, tensor<?xi32>, tensor<?xf32>,
                             tensor<?xi32>, tensor<?xi32>) {
  %l = arith.constant dense<[[0.0, 7.0], [5.0, 6.0], [-1.0, 0x7FC00000],
                             [5.0, -8.0]]> : tensor<4x2xf32>
  %eo, %rt, %rw, %to, %tr = moe.choose_rows %l score none
      capacity <tokens 0.5> average scale 2.0 rows 1 extra 6
      : tensor<4x2xf32> -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>,
        tensor<?xi32>, tensor<?xi32>
  return %eo, %rt, %rw, %to, %tr : tensor<3xi32>, tensor<?xi32>, tensor<?xf32>,
                                   tensor<?xi32>, tensor<?xi32>
}

// Each group of two tokens has a softmax of its own: 1/2 each, then the third
// token alone.
// OVER-TOKENS: y: 3x1xf32 = {{\[\[}}0.5], [0.5], [1]]
func.func @softmax_over_tokens() -> tensor<3x1xf32> {
  %l = arith.constant dense<[[3.0], [3.0], [-7.0]]> : tensor<3x1xf32>
  %r = moe.choose_tokens %l score softmax_over_tokens
      capacity <tokens 1.0 every 2>
      : tensor<3x1xf32> -> !moe.routing<experts = 1, per_token = 1>
  %x = arith.constant dense<1.0> : tensor<3x1xf32>
  %xs = moe.dispatch %x by %r
      : tensor<3x1xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x1xf32>
  %y = moe.combine %xs by %r
      : tensor<?x1xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}

// Pairs (1, 2) with 9, and (1, 0) before (2, 2) with 8.
// PRODUCTS: y0: 1x2xi32 = {{\[\[}}4, 6]]
// PRODUCTS: y1: 1x2xf32 = {{\[\[}}8, 9]]
// PRODUCTS: y2: 12xi64 = {{\[}}0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]
func.func @products() -> (tensor<1x2xi32>, tensor<1x2xf32>, tensor<12xi64>) {
  %a = arith.constant dense<[[1.0, 3.0, 2.0]]> : tensor<1x3xf32>
  %b = arith.constant dense<[[5.0, 4.0, 6.0, 0.0]]> : tensor<1x4xf32>
  %i, %w = moe.select_products %a, %b policy<score = none, top_k = 2>
      : tensor<1x3xf32>, tensor<1x4xf32> -> tensor<1x2xi32>, tensor<1x2xf32>
  %r = moe.route_products %a, %b policy<score = none, top_k = 2>
      : tensor<1x3xf32>, tensor<1x4xf32>
      -> !moe.routing<experts = 12, per_token = 2>
  %n = moe.expert_counts %r
      : !moe.routing<experts = 12, per_token = 2> -> tensor<12xi64>
  return %i, %w, %n : tensor<1x2xi32>, tensor<1x2xf32>, tensor<12xi64>
}

// Experts 1 and 2 of four.
// RESTRICT: y0: 2xi64 = {{\[}}2, 1]
// RESTRICT: y1: 3x1xf32 = {{\[\[}}1], [3], [9]]
func.func @restrict() -> (tensor<2xi64>, tensor<3x1xf32>) {
  %i = arith.constant dense<[[0, 1], [1, 3], [3, 2]]> : tensor<3x2xi32>
  %w = arith.constant dense<[[0.0, 1.0], [3.0, 5.0], [7.0, 9.0]]>
      : tensor<3x2xf32>
  %r = moe.assign %i, %w : tensor<3x2xi32>, tensor<3x2xf32>
      -> !moe.routing<experts = 4, per_token = 2>
  %s = moe.restrict %r [1, 3] : !moe.routing<experts = 4, per_token = 2>
      -> !moe.routing<experts = 2, per_token = 2>
  %n = moe.expert_counts %s
      : !moe.routing<experts = 2, per_token = 2> -> tensor<2xi64>
  %x = arith.constant dense<1.0> : tensor<3x1xf32>
  %xs = moe.dispatch %x by %s
      : tensor<3x1xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x1xf32>
  %y = moe.combine %xs by %s
      : tensor<?x1xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<3x1xf32>
  return %n, %y : tensor<2xi64>, tensor<3x1xf32>
}

// SLICE: y0: 3xi32 = {{\[}}0, 2, 3]
// SLICE: y1: 3xi32 = {{\[}}0, 1, 2]
// SLICE: y2: 3xf32 = {{\[}}1, 3, 9]
// SLICE: y3: 4xi32 = {{\[}}0, 1, 2, 3]
// SLICE: y4: 3xi32 = {{\[}}0, 1, 2]
func.func @slice_rows() -> (tensor<3xi32>, tensor<?xi32>, tensor<?xf32>,
                            tensor<?xi32>, tensor<?xi32>) {
  %i = arith.constant dense<[[0, 1], [1, 3], [3, 2]]> : tensor<3x2xi32>
  %w = arith.constant dense<[[0.0, 1.0], [3.0, 5.0], [7.0, 9.0]]>
      : tensor<3x2xf32>
  %0, %1, %2, %3, %4 = moe.group_rows %i, %w given
      : tensor<3x2xi32>, tensor<3x2xf32> -> tensor<5xi32>, tensor<6xi32>,
        tensor<6xf32>, tensor<4xi32>, tensor<6xi32>
  %eo, %rt, %rw, %to, %tr = moe.slice_rows %0, %1, %2, %3, %4 [1, 3]
      : tensor<5xi32>, tensor<6xi32>, tensor<6xf32>, tensor<4xi32>,
        tensor<6xi32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  return %eo, %rt, %rw, %to, %tr : tensor<3xi32>, tensor<?xi32>, tensor<?xf32>,
                                   tensor<?xi32>, tensor<?xi32>
}

!outer = !moe.routing<experts = 2, per_token = 1>
!inner = !moe.routing<experts = 3, per_token = 1>
!nested = !moe.routing<experts = 6, per_token = 1>

// Tokens 1 and 2 visit expert 0, token 0 expert 1; rows are 1, 2, 0. Inner
// logits of a row of expert e are those of router e.
// NEST: y0: 3x3xf32 = {{\[\[}}2, 0, 1], [4, 0, 2], [0, 1, 2]]
// NEST: y1: 6xi64 = {{\[}}2, 0, 0, 0, 0, 1]
// NEST: y2: 3x1xf32 = {{\[\[}}2], [4], [16]]
func.func @nest() -> (tensor<3x3xf32>, tensor<6xi64>, tensor<3x1xf32>) {
  %i = arith.constant dense<[[1], [0], [0]]> : tensor<3x1xi32>
  %w = arith.constant dense<1.0> : tensor<3x1xf32>
  %x = arith.constant dense<[[1.0], [2.0], [4.0]]> : tensor<3x1xf32>
  %outer = moe.assign %i, %w : tensor<3x1xi32>, tensor<3x1xf32> -> !outer
  %xs = moe.dispatch %x by %outer : tensor<3x1xf32>, !outer -> tensor<3x1xf32>
  %routers = arith.constant dense<[[[1.0], [0.0], [0.5]],
                                   [[0.0], [1.0], [2.0]]]> : tensor<2x3x1xf32>
  %l = moe.grouped_logits ins(%xs, %routers) by %outer
      : tensor<3x1xf32>, tensor<2x3x1xf32>, !outer -> tensor<3x3xf32>
  %inner = moe.route %l policy<score = none, top_k = 1>
      : tensor<3x3xf32> -> !inner
  %n = moe.nest %inner in %outer : !inner, !outer -> !nested
  %c = moe.expert_counts %n : !nested -> tensor<6xi64>
  %xss = moe.dispatch %xs by %n : tensor<3x1xf32>, !nested -> tensor<3x1xf32>
  %ys = moe.combine %xss by %n : tensor<3x1xf32>, !nested -> tensor<3x1xf32>
  %y = moe.combine %ys by %outer : tensor<3x1xf32>, !outer -> tensor<3x1xf32>
  return %l, %c, %y : tensor<3x3xf32>, tensor<6xi64>, tensor<3x1xf32>
}

// What lies behind the last row is no pair, and its logits are 0.
// IDS: y0: 3x2xi32 = {{\[\[}}1, -1], [4, 5], [-1, -1]]
// IDS: y1: 3x1xf32 = {{\[\[}}3], [5], [0]]
func.func @nest_ids() -> (tensor<3x2xi32>, tensor<3x1xf32>) {
  %i = arith.constant dense<[[1, -1], [1, 2], [0, 1]]> : tensor<3x2xi32>
  %o = arith.constant dense<[0, 1, 2]> : tensor<3xi32>
  %n = moe.nest_ids %i offsets(%o) inner 3
      : tensor<3x2xi32>, tensor<3xi32> -> tensor<3x2xi32>
  %x = arith.constant dense<1.0> : tensor<3x1xf32>
  %w = arith.constant dense<[[[3.0]], [[5.0]]]> : tensor<2x1x1xf32>
  %l = moe.row_logits ins(%x, %w) offsets(%o)
      : tensor<3x1xf32>, tensor<2x1x1xf32>, tensor<3xi32> -> tensor<3x1xf32>
  return %n, %l : tensor<3x2xi32>, tensor<3x1xf32>
}

// (3, 4) against (8, 6) and (3, 0), the second with a norm of at least 4; then
// the bias.
// COSINE: y: 1x2xf32 = {{\[\[}}0.96, 1.45]]
func.func @cosine() -> tensor<1x2xf32> {
  %x = arith.constant dense<[[3.0, 4.0]]> : tensor<1x2xf32>
  %w = arith.constant dense<[[8.0, 6.0], [3.0, 0.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %l = moe.router_logits ins(%x, %w, %b) cosine 4.0
      : tensor<1x2xf32>, tensor<2x2xf32>, tensor<2xf32> -> tensor<1x2xf32>
  return %l : tensor<1x2xf32>
}

// Three different distributions; `like` only gives the number of rows.
// RANDOM: y0: 1x1xf32 = {{\[\[}}0.3500795]]
// RANDOM: y1: 1x1xf32 = {{\[\[}}-0.3851056]]
// RANDOM: y2: 1x1xf32 = {{\[\[}}-0.04840415]]
func.func @random() -> (tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>) {
  %s = arith.constant dense<1234567> : tensor<1xi64>
  %x = arith.constant dense<1.0> : tensor<1x7xf32>
  %u = moe.random uniform seed(%s) like %x
      : tensor<1xi64>, tensor<1x7xf32> -> tensor<1x1xf32>
  %n = moe.random normal seed(%s) like %x
      : tensor<1xi64>, tensor<1x7xf32> -> tensor<1x1xf32>
  %g = moe.random gumbel seed(%s) like %x
      : tensor<1xi64>, tensor<1x7xf32> -> tensor<1x1xf32>
  return %u, %n, %g : tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>
}

// LOOKUP: y0: 3x2xi32 = {{\[\[}}5, 6], [1, 2], [5, 6]]
// LOOKUP: y1: 3x1xbf16 = {{\[\[}}3], [1], [3]]
func.func @lookup() -> (tensor<3x2xi32>, tensor<3x1xbf16>) {
  %i = arith.constant dense<[2, 0, 2]> : tensor<3xi32>
  %t = arith.constant dense<[[1, 2], [3, 4], [5, 6]]> : tensor<3x2xi32>
  %b = arith.constant dense<[[1.0], [2.0], [3.0]]> : tensor<3x1xbf16>
  %y = moe.lookup %t[%i] : tensor<3x2xi32>, tensor<3xi32> -> tensor<3x2xi32>
  %z = moe.lookup %b[%i] : tensor<3x1xbf16>, tensor<3xi32> -> tensor<3x1xbf16>
  return %y, %z : tensor<3x2xi32>, tensor<3x1xbf16>
}

// BAD-LOOKUP: error[MOE0017]: index 1 is 3, but the table has rows 0 to 2
// BAD-LOOKUP: exit=1
func.func @bad_lookup() -> tensor<2x1xi32> {
  %i = arith.constant dense<[2, 3]> : tensor<2xi32>
  %t = arith.constant dense<[[1], [3], [5]]> : tensor<3x1xi32>
  %y = moe.lookup %t[%i] : tensor<3x1xi32>, tensor<2xi32> -> tensor<2x1xi32>
  return %y : tensor<2x1xi32>
}
