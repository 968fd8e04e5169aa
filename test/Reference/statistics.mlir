// Statistics, losses, Soft MoE and the fold over rows that they become.

// RUN: moe-interpret %s --function=counts --print | FileCheck %s --check-prefix=COUNTS
// RUN: moe-interpret %s --function=scores --print | FileCheck %s --check-prefix=SCORES
// RUN: moe-interpret %s --function=balance --print | FileCheck %s --check-prefix=BALANCE
// RUN: moe-interpret %s --function=null_balance --print | FileCheck %s --check-prefix=NULL
// RUN: moe-interpret %s --function=losses --print | FileCheck %s --check-prefix=LOSSES
// RUN: moe-interpret %s --function=update --print | FileCheck %s --check-prefix=UPDATE
// RUN: moe-interpret %s --function=no_tokens --print | FileCheck %s --check-prefix=EMPTY
// RUN: moe-interpret %s --function=soft --print | FileCheck %s --check-prefix=SOFT
// RUN: moe-interpret %s --function=fold --print | FileCheck %s --check-prefix=FOLD
// RUN: moe-interpret %s --function=ffn --print | FileCheck %s --check-prefix=FFN

// The same numbers at routed level.
// RUN: moe-opt %s --moe-lower-routing -o %t.mlir
// RUN: moe-interpret %t.mlir --function=counts --print | FileCheck %s --check-prefix=COUNTS
// RUN: moe-interpret %t.mlir --function=scores --print | FileCheck %s --check-prefix=SCORES
// RUN: moe-interpret %t.mlir --function=balance --print | FileCheck %s --check-prefix=BALANCE
// RUN: moe-interpret %t.mlir --function=null_balance --print | FileCheck %s --check-prefix=NULL
// RUN: moe-interpret %t.mlir --function=losses --print | FileCheck %s --check-prefix=LOSSES
// RUN: moe-interpret %t.mlir --function=update --print | FileCheck %s --check-prefix=UPDATE
// RUN: moe-interpret %t.mlir --function=no_tokens --print | FileCheck %s --check-prefix=EMPTY
// RUN: moe-interpret %t.mlir --function=soft --print | FileCheck %s --check-prefix=SOFT

!r = !moe.routing<experts = 2, per_token = 1>
!r2 = !moe.routing<experts = 2, per_token = 2>

// COUNTS: y0: 3xf32 = {{\[}}0.25, 0, 0.75]
// COUNTS: y1: 2xf32 = {{\[}}0, 0]
func.func @counts() -> (tensor<3xf32>, tensor<2xf32>) {
  %n = arith.constant dense<[2, 0, 6]> : tensor<3xi64>
  %z = arith.constant dense<0> : tensor<2xi64>
  %f = moe.expert_fractions %n : tensor<3xi64> -> tensor<3xf32>
  %g = moe.expert_fractions %z : tensor<2xi64> -> tensor<2xf32>
  return %f, %g : tensor<3xf32>, tensor<2xf32>
}

// (1, 3) and (2, 2); divided by their sums 1/4, 3/4 and 1/2, 1/2.
// SCORES: y0: 2xf32 = {{\[}}1.5, 2.5]
// SCORES: y1: 2xf32 = {{\[}}0.375, 0.625]
func.func @scores() -> (tensor<2xf32>, tensor<2xf32>) {
  %l = arith.constant dense<[[1.0, 3.0], [2.0, 2.0]]> : tensor<2x2xf32>
  %p = moe.mean_scores none %l : tensor<2x2xf32> -> tensor<2xf32>
  %q = moe.mean_scores none %l normalized : tensor<2x2xf32> -> tensor<2xf32>
  return %p, %q : tensor<2xf32>, tensor<2xf32>
}

// Three tokens of scores (3, 1), (1, 2), (2, 0); P = (2, 1). Both experts are
// chosen by all, first by 2 and 1; one slot each, which does not count.
// Sequences of two: P = (2, 1.5) and (2, 0).
// BALANCE: y0: 1xf32 = {{\[}}6]
// BALANCE: y1: 1xf32 = {{\[}}3.333333]
// BALANCE: y2: 1xf32 = {{\[}}3]
// BALANCE: y3: 1xf32 = {{\[}}5.5]
func.func @balance() -> (tensor<1xf32>, tensor<1xf32>, tensor<1xf32>,
                         tensor<1xf32>) {
  %l = arith.constant dense<[[3.0, 1.0], [1.0, 2.0], [2.0, 0.0]]>
      : tensor<3x2xf32>
  %r = moe.route %l policy<score = none, top_k = 2,
                           capacity = slots 1 by choice>
      : tensor<3x2xf32> -> !r2
  %a = moe.load_balance_loss none %l by %r
      : tensor<3x2xf32>, !r2 -> tensor<1xf32>
  %b = moe.load_balance_loss none %l by %r first_choice
      : tensor<3x2xf32>, !r2 -> tensor<1xf32>
  %c = moe.load_balance_loss none %l by %r per_choice
      : tensor<3x2xf32>, !r2 -> tensor<1xf32>
  %d = moe.load_balance_loss none %l by %r every 2
      : tensor<3x2xf32>, !r2 -> tensor<1xf32>
  return %a, %b, %c, %d
      : tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>
}

// The null expert has a column: E is 3, its share of the choices is 0.
// f = (1/2, 1, 0), P = (3/2, 1, 1), normalised (3/8, 7/24, 1/3).
// NULL: y0: 1xf32 = {{\[}}5.25]
// NULL: y1: 1xf32 = {{\[}}1.4375]
func.func @null_balance() -> (tensor<1xf32>, tensor<1xf32>) {
  %l = arith.constant dense<[[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]]>
      : tensor<2x3xf32>
  %r = moe.route %l policy<score = none, top_k = 2, null_experts = 1>
      : tensor<2x3xf32> -> !r2
  %a = moe.load_balance_loss none %l by %r
      : tensor<2x3xf32>, !r2 -> tensor<1xf32>
  %b = moe.load_balance_loss none %l by %r normalized
      : tensor<2x3xf32>, !r2 -> tensor<1xf32>
  return %a, %b : tensor<1xf32>, tensor<1xf32>
}

// log(2 e^3) squared is 13.6395; weights 1 and 3: variance 1, mean 2.
// LOSSES: y0: 1xf32 = {{\[}}13.63934]
// LOSSES: y1: 1xf32 = {{\[}}0.25]
func.func @losses() -> (tensor<1xf32>, tensor<1xf32>) {
  %l = arith.constant dense<[[3.0, 3.0]]> : tensor<1x2xf32>
  %z = moe.router_z_loss %l : tensor<1x2xf32> -> tensor<1xf32>
  %i = arith.constant dense<[[0, -1], [1, -1], [1, -1]]> : tensor<3x2xi32>
  %w = arith.constant dense<[[1.0, 9.0], [2.0, 9.0], [1.0, 9.0]]>
      : tensor<3x2xf32>
  %r = moe.assign %i, %w : tensor<3x2xi32>, tensor<3x2xf32> -> !r2
  %v = moe.importance_loss %r : !r2 -> tensor<1xf32>
  return %z, %v : tensor<1xf32>, tensor<1xf32>
}

// The mean of 1, 2, 4 is no whole number; that of 1, 2, 3 is.
// UPDATE: y0: 3xf32 = {{\[}}1.5, 1.5, 0.5]
// UPDATE: y1: 3xf32 = {{\[}}1.5, 1, 0.5]
func.func @update() -> (tensor<3xf32>, tensor<3xf32>) {
  %b = arith.constant dense<1.0> : tensor<3xf32>
  %n = arith.constant dense<[1, 2, 4]> : tensor<3xi64>
  %m = arith.constant dense<[1, 2, 3]> : tensor<3xi64>
  %u = moe.update_bias %b by %n rate 0.5
      : tensor<3xf32>, tensor<3xi64> -> tensor<3xf32>
  %v = moe.update_bias %b by %m rate 0.5
      : tensor<3xf32>, tensor<3xi64> -> tensor<3xf32>
  return %u, %v : tensor<3xf32>, tensor<3xf32>
}

// EMPTY: y0: 2xf32 = {{\[}}0, 0]
// EMPTY: y1: 1xf32 = {{\[}}0]
// EMPTY: y2: 1xf32 = {{\[}}0]
// EMPTY: y3: 2xf32 = {{\[}}0, 0]
func.func @no_tokens() -> (tensor<2xf32>, tensor<1xf32>, tensor<1xf32>,
                           tensor<2xf32>) {
  %n = arith.constant 0 : index
  %l = tensor.empty(%n) : tensor<?x2xf32>
  %m = arith.constant dense<1> : tensor<2xi32>
  %r = moe.route %l resident(%m : tensor<2xi32>)
      policy<top_k = 1, prefer = 0.5> : tensor<?x2xf32> -> !r
  %p = moe.mean_scores softmax %l : tensor<?x2xf32> -> tensor<2xf32>
  %z = moe.router_z_loss %l : tensor<?x2xf32> -> tensor<1xf32>
  %i = moe.importance_loss %r : !r -> tensor<1xf32>
  %g = moe.routing_regret %r : !r -> tensor<2xf32>
  return %p, %z, %i, %g
      : tensor<2xf32>, tensor<1xf32>, tensor<1xf32>, tensor<2xf32>
}

// Slot 0 is the mean of the tokens, slot 1 token 1. Token 0 is all slot 0,
// token 1 half of each.
// SOFT: y0: 2x1xf32 = {{\[\[}}3], [4]]
// SOFT: y1: 2x1xf32 = {{\[\[}}3], [3.5]]
func.func @soft() -> (tensor<2x1xf32>, tensor<2x1xf32>) {
  %x = arith.constant dense<[[2.0], [4.0]]> : tensor<2x1xf32>
  %l = arith.constant dense<[[7.0, 0xFF800000], [7.0, 7.0]]> : tensor<2x2xf32>
  %s = moe.soft_dispatch %x by %l
      : tensor<2x1xf32>, tensor<2x2xf32> -> tensor<2x1xf32>
  %y = moe.soft_combine %s by %l
      : tensor<2x1xf32>, tensor<2x2xf32> -> tensor<2x1xf32>
  return %s, %y : tensor<2x1xf32>, tensor<2x1xf32>
}

// Sums of rows times an invariant, and the number of the last row.
// FOLD: y0: 1x2xf32 = {{\[\[}}9.5, 60.5]]
// FOLD: y1: 1xi64 = {{\[}}2]
// FOLD: y2: 1x2xf32 = {{\[\[}}0.5, 0.5]]
// FOLD: y3: 1xi64 = {{\[}}-1]
func.func @fold() -> (tensor<1x2xf32>, tensor<1xi64>, tensor<1x2xf32>,
                      tensor<1xi64>) {
  %a = arith.constant dense<[[1.0, 1.0], [3.0, 2.0], [5.0, 3.0]]>
      : tensor<3x2xf32>
  %k = arith.constant dense<[[1.0, 10.0]]> : tensor<1x2xf32>
  %n = arith.constant 0 : index
  %none = tensor.empty(%n) : tensor<?x2xf32>
  %s, %i = moe.fold_rows rows(%a : tensor<3x2xf32>)
      invariants(%k : tensor<1x2xf32>) inits [0.5, -1.0]
      -> tensor<1x2xf32>, tensor<1xi64> {
  ^bb0(%row: index, %r: tensor<1x2xf32>, %c: tensor<1x2xf32>,
       %acc: tensor<1x2xf32>, %last: tensor<1xi64>):
    %p = arith.mulf %r, %c : tensor<1x2xf32>
    %next = arith.addf %acc, %p : tensor<1x2xf32>
    %number = arith.index_cast %row : index to i64
    %t = tensor.from_elements %number : tensor<1xi64>
    moe.yield %next, %t : tensor<1x2xf32>, tensor<1xi64>
  }
  %e, %j = moe.fold_rows rows(%none : tensor<?x2xf32>) inits [0.5, -1.0]
      -> tensor<1x2xf32>, tensor<1xi64> {
  ^bb0(%row: index, %r: tensor<1x2xf32>, %acc: tensor<1x2xf32>,
       %last: tensor<1xi64>):
    moe.yield %r, %last : tensor<1x2xf32>, tensor<1xi64>
  }
  return %s, %i, %e, %j
      : tensor<1x2xf32>, tensor<1xi64>, tensor<1x2xf32>, tensor<1xi64>
}

// Expert 0 takes token 1 times 0.5: 2 * (2 * 0.5 * 3 + 1) + 10. Expert 1 has
// no rows; the second row is behind the last one.
// FFN: y: 2x1xf32 = {{\[\[}}18], [0]]
func.func @ffn() -> tensor<2x1xf32> {
  %x = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %o = arith.constant dense<[0, 1, 1]> : tensor<3xi32>
  %t = arith.constant dense<[1, 0]> : tensor<2xi32>
  %s = arith.constant dense<[0.5, 9.0]> : tensor<2xf32>
  %u = arith.constant dense<[[[3.0]], [[7.0]]]> : tensor<2x1x1xf32>
  %d = arith.constant dense<[[[2.0]], [[7.0]]]> : tensor<2x1x1xf32>
  %ub = arith.constant dense<[[1.0], [7.0]]> : tensor<2x1xf32>
  %db = arith.constant dense<[[10.0], [7.0]]> : tensor<2x1xf32>
  %y = moe.grouped_ffn ins(%x : tensor<2x1xf32>) offsets(%o : tensor<3xi32>)
      tokens(%t : tensor<2xi32>) scales(%s : tensor<2xf32>)
      weights(%u, %d : tensor<2x1x1xf32>, tensor<2x1x1xf32>)
      biases(%ub, %db : tensor<2x1xf32>, tensor<2x1xf32>) parts 1
      -> tensor<2x1xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return %y : tensor<2x1xf32>
}
