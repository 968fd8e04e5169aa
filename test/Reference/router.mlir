// The steps of "Router" in docs/Numerics.md, on values that can be followed by
// hand.

// RUN: moe-interpret %s --function=mixtral --print | FileCheck %s --check-prefix=MIXTRAL
// RUN: moe-interpret %s --function=unnormalised --print | FileCheck %s --check-prefix=UNNORMALISED
// RUN: moe-interpret %s --function=ties --print | FileCheck %s --check-prefix=TIES
// RUN: moe-interpret %s --function=bad_logits --print | FileCheck %s --check-prefix=BAD
// RUN: moe-interpret %s --function=groups --print | FileCheck %s --check-prefix=GROUPS
// RUN: moe-interpret %s --function=bias --print | FileCheck %s --check-prefix=BIAS
// RUN: moe-interpret %s --function=weights --print | FileCheck %s --check-prefix=WEIGHTS
// RUN: moe-interpret %s --function=rounded --print | FileCheck %s --check-prefix=ROUNDED
// RUN: moe-interpret %s --function=logits --print | FileCheck %s --check-prefix=LOGITS
// RUN: moe-interpret %s --function=no_tokens --print | FileCheck %s --check-prefix=EMPTY

// p = [.141983, .38595, .086117, .38595].
// MIXTRAL: y0: 1x2xi32 = {{\[\[}}1, 3]]
// MIXTRAL: y1: 1x2xf32 = {{\[\[}}0.5, 0.5]]
func.func @mixtral() -> (tensor<1x2xi32>, tensor<1x2xf32>) {
  %l = arith.constant dense<[[1.0, 2.0, 0.5, 2.0]]> : tensor<1x4xf32>
  %i, %w = moe.select_topk %l policy<score = softmax, top_k = 2, normalize>
      : tensor<1x4xf32> -> tensor<1x2xi32>, tensor<1x2xf32>
  return %i, %w : tensor<1x2xi32>, tensor<1x2xf32>
}

// UNNORMALISED: y0: 1x4xi32 = {{\[\[}}0, 1, 2, 3]]
// UNNORMALISED: y1: 1x4xf32 = {{\[\[}}0.141983, 0.3859499, 0.08611707, 0.3859499]]
func.func @unnormalised() -> (tensor<1x4xi32>, tensor<1x4xf32>) {
  %l = arith.constant dense<[[1.0, 2.0, 0.5, 2.0]]> : tensor<1x4xf32>
  %i, %w = moe.select_topk %l policy<score = softmax, top_k = 4>
      : tensor<1x4xf32> -> tensor<1x4xi32>, tensor<1x4xf32>
  return %i, %w : tensor<1x4xi32>, tensor<1x4xf32>
}

// Equal keys: the lower expert first, also among zeros of both signs.
// TIES: y: 3x2xi32 = {{\[\[}}0, 1], [1, 2], [0, 2]]
func.func @ties() -> tensor<3x2xi32> {
  %l = arith.constant dense<[[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 2.0, 2.0],
                             [-0.0, -1.0, 0.0, 0.0]]> : tensor<3x4xf32>
  %i, %w = moe.select_topk %l policy<score = none, top_k = 2>
      : tensor<3x4xf32> -> tensor<3x2xi32>, tensor<3x2xf32>
  return %i : tensor<3x2xi32>
}

// A NaN, +inf, only -inf; one -inf among numbers changes nothing else.
// BAD: y0: 5x2xi32 = {{\[\[}}0, 1], [0, 1], [0, 1], [1, 3], [1, 2]]
// BAD: y1: 5x2xf32 = {{\[\[}}nan, nan], [nan, nan], [nan, nan], [0.5, 0.5], [0.5, 0.5]]
func.func @bad_logits() -> (tensor<5x2xi32>, tensor<5x2xf32>) {
  %l = arith.constant dense<[[1.0, 2.0, 0x7FC00000, 4.0],
                             [1.0, 0x7F800000, 2.0, 3.0],
                             [0xFF800000, 0xFF800000, 0xFF800000, 0xFF800000],
                             [0.0, 5.0, 0xFF800000, 5.0],
                             [0.0, 5.0, 5.0, 0.0]]> : tensor<5x4xf32>
  %i, %w = moe.select_topk %l policy<score = softmax, top_k = 2, normalize>
      : tensor<5x4xf32> -> tensor<5x2xi32>, tensor<5x2xf32>
  return %i, %w : tensor<5x2xi32>, tensor<5x2xf32>
}

// Three groups of two. By the sum of two: 9, 10, 8. By the largest: 9, 5, 8.
// Negative keys only: nothing of a dropped group counts as 0.
// GROUPS: y0: 2x2xi32 = {{\[\[}}2, 3], [4, 5]]
// GROUPS: y1: 2x2xi32 = {{\[\[}}0, 1], [4, 5]]
func.func @groups() -> (tensor<2x2xi32>, tensor<2x2xi32>) {
  %l = arith.constant dense<[[9.0, 0.0, 5.0, 5.0, 8.0, 0.0],
                             [-9.0, -1.5, -5.0, -5.0, -1.0, -2.0]]>
      : tensor<2x6xf32>
  %i, %w = moe.select_topk %l policy<score = none, groups = 3 keep 1 by top2_sum, top_k = 2>
      : tensor<2x6xf32> -> tensor<2x2xi32>, tensor<2x2xf32>
  %j, %v = moe.select_topk %l policy<score = none, groups = 3 keep 1 by max, top_k = 2>
      : tensor<2x6xf32> -> tensor<2x2xi32>, tensor<2x2xf32>
  return %i, %j : tensor<2x2xi32>, tensor<2x2xi32>
}

// The bias decides, the weights stay sigmoid(0) = 0.5; divided by their sum
// and scaled: 0.5 / 1 * 2.5.
// BIAS: y0: 1x2xi32 = {{\[\[}}2, 3]]
// BIAS: y1: 1x2xf32 = {{\[\[}}1.25, 1.25]]
func.func @bias() -> (tensor<1x2xi32>, tensor<1x2xf32>) {
  %l = arith.constant dense<[[3.0, 0.0, 0.0, 0.0]]> : tensor<1x4xf32>
  %b = arith.constant dense<[-1.0, 0.0, 1.0, 1.0]> : tensor<4xf32>
  %i, %w = moe.select_topk %l bias(%b) policy<score = sigmoid, top_k = 2, normalize epsilon 1.0e-20, scale = 2.5>
      : tensor<1x4xf32>, tensor<4xf32> -> tensor<1x2xi32>, tensor<1x2xf32>
  return %i, %w : tensor<1x2xi32>, tensor<1x2xf32>
}

// Softmax over the chosen: e^0 and e^-1, divided by their sum.
// WEIGHTS: y: 1x2xf32 = {{\[\[}}0.268941{{[0-9]*}}, 0.731058{{[0-9]*}}]]
func.func @weights() -> tensor<1x2xf32> {
  %l = arith.constant dense<[[1.0, 2.0, 0.5]]> : tensor<1x3xf32>
  %i, %w = moe.select_topk %l policy<score = none, top_k = 2, weights = softmax>
      : tensor<1x3xf32> -> tensor<1x2xi32>, tensor<1x2xf32>
  return %w : tensor<1x2xf32>
}

// 0.2689 in bf16 has 8 bits: 0.26953125.
// ROUNDED: y: 1x2xf32 = {{\[\[}}0.2695312, 0.7304688]]
func.func @rounded() -> tensor<1x2xf32> {
  %l = arith.constant dense<[[1.0, 2.0, 0.5]]> : tensor<1x3xf32>
  %i, %w = moe.select_topk %l policy<score = none, top_k = 2, weights = softmax, round_weights = bf16>
      : tensor<1x3xf32> -> tensor<1x2xi32>, tensor<1x2xf32>
  return %w : tensor<1x2xf32>
}

// 1*1 + 2*0.5 + 3*2 = 8, and 257 * 1 = 257, which bf16 rounds to 256; a bias
// comes before the rounding.
// LOGITS: y0: 2x2xf32 = {{\[\[}}8, 1], [257, 257]]
// LOGITS: y1: 2x2xf32 = {{\[\[}}9, 1.5], [258, 258]]
func.func @logits() -> (tensor<2x2xf32>, tensor<2x2xf32>) {
  %x = arith.constant dense<[[1.0, 2.0, 3.0], [257.0, 0.0, 0.0]]>
      : tensor<2x3xf32>
  %w = arith.constant dense<[[1.0, 0.5, 2.0], [1.0, 0.0, 0.0]]>
      : tensor<2x3xf32>
  %b = arith.constant dense<[1.0, 0.5]> : tensor<2xf32>
  %l = moe.router_logits ins(%x, %w)
      : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x2xf32>
  %m = moe.router_logits ins(%x, %w, %b) round bf16
      : tensor<2x3xf32>, tensor<2x3xf32>, tensor<2xf32> -> tensor<2x2xf32>
  return %l, %m : tensor<2x2xf32>, tensor<2x2xf32>
}

// EMPTY: y: 0x2xi32 = []
func.func @no_tokens() -> tensor<?x2xi32> {
  %zero = arith.constant 0 : index
  %l = tensor.empty(%zero) : tensor<?x4xf32>
  %i, %w = moe.select_topk %l policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %i : tensor<?x2xi32>
}
