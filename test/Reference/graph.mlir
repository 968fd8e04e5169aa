// Graph-level ops on rows that can be followed by hand: the expert doubles its
// rows and adds its own number times 100.

// RUN: moe-interpret %s --function=tokens --print | FileCheck %s
// RUN: moe-interpret %s --function=no_tokens --print | FileCheck %s --check-prefix=EMPTY
// RUN: moe-interpret %s --function=shared --print | FileCheck %s --check-prefix=SHARED
// RUN: moe-interpret %s --function=rounding --print | FileCheck %s --check-prefix=ROUNDING

#id = affine_map<(m, n) -> (m, n)>
#one = affine_map<(m, n) -> ()>
!r = !moe.routing<experts = 4, per_token = 2>

func.func private @block(%x: tensor<?x2xf32>, %i: tensor<?x2xi32>,
                         %w: tensor<?x2xf32>)
    -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xi64>, tensor<?x2xf32>) {
  %add = arith.constant dense<[0.0, 100.0, 200.0, 300.0]> : tensor<4xf32>
  %r = moe.assign %i, %w : tensor<?x2xi32>, tensor<?x2xf32> -> !r
  %xs = moe.dispatch %x by %r : tensor<?x2xf32>, !r -> tensor<?x2xf32>
  %ys = moe.experts ins(%xs) weights(%add) by %r
      : (tensor<?x2xf32>, tensor<4xf32>), !r -> tensor<?x2xf32> {
  ^bb0(%t: tensor<?x2xf32>, %a: tensor<f32>):
    %o = linalg.generic {indexing_maps = [#id, #one, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%t, %a : tensor<?x2xf32>, tensor<f32>)
        outs(%t : tensor<?x2xf32>) {
    ^bb0(%v: f32, %n: f32, %u: f32):
      %d = arith.addf %v, %v : f32
      %s = arith.addf %d, %n : f32
      linalg.yield %s : f32
    } -> tensor<?x2xf32>
    moe.yield %o : tensor<?x2xf32>
  }
  %y = moe.combine %ys by %r : tensor<?x2xf32>, !r -> tensor<?x2xf32>
  %c = moe.expert_counts %r : !r -> tensor<4xi64>
  return %xs, %ys, %c, %y
      : tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xi64>, tensor<?x2xf32>
}

// Token 0 visits 3 and 0, token 1 visits 0 and 1, token 2 visits 1 and 3;
// expert 2 has no token.
// CHECK: y0: 6x2xf32 = {{\[\[}}1, 2], [3, 4], [3, 4], [5, 6], [1, 2], [5, 6]]
// CHECK: y1: 6x2xf32 = {{\[\[}}2, 4], [6, 8], [106, 108], [110, 112], [302, 304], [310, 312]]
// CHECK: y2: 4xi64 = [2, 2, 0, 2]
// Token 0: 0.25 * 302 + 0.75 * 2; token 1: 6 + 106; token 2: 0 * 110 + 310 / 2.
// CHECK: y3: 3x2xf32 = {{\[\[}}77, 79], [112, 116], [155, 156]]
func.func @tokens() -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xi64>,
                        tensor<?x2xf32>) {
  %x = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]>
      : tensor<3x2xf32>
  %i = arith.constant dense<[[3, 0], [0, 1], [1, 3]]> : tensor<3x2xi32>
  %w = arith.constant dense<[[0.25, 0.75], [1.0, 1.0], [0.0, 0.5]]>
      : tensor<3x2xf32>
  %xd = tensor.cast %x : tensor<3x2xf32> to tensor<?x2xf32>
  %id = tensor.cast %i : tensor<3x2xi32> to tensor<?x2xi32>
  %wd = tensor.cast %w : tensor<3x2xf32> to tensor<?x2xf32>
  %r:4 = call @block(%xd, %id, %wd)
      : (tensor<?x2xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
      -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xi64>, tensor<?x2xf32>)
  return %r#0, %r#1, %r#2, %r#3
      : tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xi64>, tensor<?x2xf32>
}

// EMPTY: y0: 0x2xf32 = []
// EMPTY: y1: 0x2xf32 = []
// EMPTY: y2: 4xi64 = [0, 0, 0, 0]
// EMPTY: y3: 0x2xf32 = []
func.func @no_tokens() -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xi64>,
                           tensor<?x2xf32>) {
  %zero = arith.constant 0 : index
  %x = tensor.empty(%zero) : tensor<?x2xf32>
  %i = tensor.empty(%zero) : tensor<?x2xi32>
  %r:4 = call @block(%x, %i, %x)
      : (tensor<?x2xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
      -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xi64>, tensor<?x2xf32>)
  return %r#0, %r#1, %r#2, %r#3
      : tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xi64>, tensor<?x2xf32>
}

// Every token at every expert, expert by expert; weights 1, then given ones.
// SHARED: y0: 4x1xf32 = {{\[\[}}1], [2], [1], [2]]
// SHARED: y1: 2x1xf32 = {{\[\[}}2], [4]]
// SHARED: y2: 2x1xf32 = {{\[\[}}3], [14]]
func.func @shared() -> (tensor<4x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>) {
  %x = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %r = moe.assign_all %x
      : tensor<2x1xf32> -> !moe.routing<experts = 2, per_token = 2>
  %s = moe.assign_all %x weights(%w)
      : tensor<2x1xf32>, tensor<2x2xf32>
      -> !moe.routing<experts = 2, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<2x1xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<4x1xf32>
  %y = moe.combine %xs by %r
      : tensor<4x1xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<2x1xf32>
  %z = moe.combine %xs by %s
      : tensor<4x1xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<2x1xf32>
  return %xs, %y, %z : tensor<4x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>
}

// In bf16: 256 + 1 is 257 in f32, and 256 after the one rounding at the end;
// three rows of 1 more give 259, which rounds to 260 (ties to even).
// ROUNDING: y: 1x1xbf16 = {{\[\[}}260]]
func.func @rounding() -> tensor<1x1xbf16> {
  %x = arith.constant dense<[[1.0]]> : tensor<1x1xbf16>
  %w = arith.constant dense<[[256.0, 1.0, 1.0, 1.0]]> : tensor<1x4xf32>
  %r = moe.assign_all %x weights(%w) : tensor<1x1xbf16>, tensor<1x4xf32>
      -> !moe.routing<experts = 4, per_token = 4>
  %xs = moe.dispatch %x by %r
      : tensor<1x1xbf16>, !moe.routing<experts = 4, per_token = 4>
      -> tensor<4x1xbf16>
  %y = moe.combine %xs by %r
      : tensor<4x1xbf16>, !moe.routing<experts = 4, per_token = 4>
      -> tensor<1x1xbf16>
  return %y : tensor<1x1xbf16>
}
