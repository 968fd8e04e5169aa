// Routed-level ops, on the same routing as graph.mlir.

// RUN: moe-interpret %s --function=lists --print | FileCheck %s --check-prefix=LISTS
// RUN: moe-interpret %s --function=all --print | FileCheck %s --check-prefix=ALL
// RUN: moe-interpret %s --function=rows --print | FileCheck %s --check-prefix=ROWS
// RUN: moe-interpret %s --function=ffn --print | FileCheck %s --check-prefix=FFN
// RUN: moe-interpret %s --function=map --print | FileCheck %s --check-prefix=MAP

// LISTS: y0: 5xi32 = [0, 2, 4, 4, 6]
// LISTS: y1: 6xi32 = [0, 1, 1, 2, 0, 2]
// LISTS: y2: 6xf32 = [0.75, 1, 1, 0, 0.25, 0.5]
// LISTS: y3: 4xi32 = [0, 2, 4, 6]
// LISTS: y4: 6xi32 = [0, 4, 1, 2, 3, 5]
// LISTS: y5: 4xi64 = [2, 2, 0, 2]
func.func @lists() -> (tensor<5xi32>, tensor<6xi32>, tensor<6xf32>,
                       tensor<4xi32>, tensor<6xi32>, tensor<4xi64>) {
  %i = arith.constant dense<[[3, 0], [0, 1], [1, 3]]> : tensor<3x2xi32>
  %w = arith.constant dense<[[0.25, 0.75], [1.0, 1.0], [0.0, 0.5]]>
      : tensor<3x2xf32>
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w given
      : tensor<3x2xi32>, tensor<3x2xf32> -> tensor<5xi32>, tensor<6xi32>,
        tensor<6xf32>, tensor<4xi32>, tensor<6xi32>
  %c = moe.count_rows %eo : tensor<5xi32> -> tensor<4xi64>
  return %eo, %rt, %rw, %to, %tr, %c
      : tensor<5xi32>, tensor<6xi32>, tensor<6xf32>, tensor<4xi32>,
        tensor<6xi32>, tensor<4xi64>
}

// Row e * N + t.
// ALL: y0: 3xi32 = [0, 2, 4]
// ALL: y1: 4xi32 = [0, 1, 0, 1]
// ALL: y2: 4xf32 = [5, 7, 6, 8]
// ALL: y3: 3xi32 = [0, 2, 4]
// ALL: y4: 4xi32 = [0, 2, 1, 3]
func.func @all() -> (tensor<3xi32>, tensor<4xi32>, tensor<4xf32>,
                     tensor<3xi32>, tensor<4xi32>) {
  %x = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %w = arith.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x weights(%w)
      : tensor<2x1xf32>, tensor<2x2xf32> -> tensor<3xi32>, tensor<4xi32>,
        tensor<4xf32>, tensor<3xi32>, tensor<4xi32>
  return %eo, %rt, %rw, %to, %tr
      : tensor<3xi32>, tensor<4xi32>, tensor<4xf32>, tensor<3xi32>,
        tensor<4xi32>
}

// Two segments: token 0 gets 2 * 10 + 3 * 20 + 1 * 1, token 1 gets 4 * 20 + 1 * 2.
// ROWS: y0: 3x1xf32 = {{\[\[}}10], [20], [20]]
// ROWS: y1: 2x1xf32 = {{\[\[}}81], [82]]
func.func @rows() -> (tensor<3x1xf32>, tensor<2x1xf32>) {
  %x = arith.constant dense<[[10.0], [20.0]]> : tensor<2x1xf32>
  %t = arith.constant dense<[0, 1, 1]> : tensor<3xi32>
  %rows = moe.gather_rows %x[%t]
      : tensor<2x1xf32>, tensor<3xi32> -> tensor<3x1xf32>
  %to = arith.constant dense<[0, 2, 3]> : tensor<3xi32>
  %tr = arith.constant dense<[0, 2, 1]> : tensor<3xi32>
  %rw = arith.constant dense<[2.0, 4.0, 3.0]> : tensor<3xf32>
  %s = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %so = arith.constant dense<[0, 1, 2]> : tensor<3xi32>
  %sr = arith.constant dense<[0, 1]> : tensor<2xi32>
  %sw = arith.constant dense<1.0> : tensor<2xf32>
  %y = moe.combine_rows rows(%rows, %s : tensor<3x1xf32>, tensor<2x1xf32>)
      offsets(%to, %so : tensor<3xi32>, tensor<3xi32>)
      indices(%tr, %sr : tensor<3xi32>, tensor<2xi32>)
      weights(%rw, %sw : tensor<3xf32>, tensor<2xf32>) -> tensor<2x1xf32>
  return %rows, %y : tensor<3x1xf32>, tensor<2x1xf32>
}

// Expert 0 has token 1, expert 1 has tokens 0 and 1:
// h = relu(gate . x) * (up . x), y = down . h, for x = (1, 2), (3, -4).
// Expert 0: gate (1, 0), up (0, 1), down (1, 2): h = 3 * -4.
// Expert 1: gate (0, 1), up (1, 1), down (10, 1): h = 2 * 3, h = 0 * -1.
// FFN: y: 3x2xf32 = {{\[\[}}-12, -24], [60, 6], [{{-?}}0, {{-?}}0]]
func.func @ffn() -> tensor<?x2xf32> {
  %x = arith.constant dense<[[1.0, 2.0], [3.0, -4.0]]> : tensor<2x2xf32>
  %eo = arith.constant dense<[0, 1, 3]> : tensor<3xi32>
  %rt = arith.constant dense<[1, 0, 1]> : tensor<3xi32>
  %g = arith.constant dense<[[[1.0, 0.0]], [[0.0, 1.0]]]> : tensor<2x1x2xf32>
  %u = arith.constant dense<[[[0.0, 1.0]], [[1.0, 1.0]]]> : tensor<2x1x2xf32>
  %d = arith.constant dense<[[[1.0], [2.0]], [[10.0], [1.0]]]>
      : tensor<2x2x1xf32>
  %y = moe.grouped_ffn ins(%x : tensor<2x2xf32>) offsets(%eo : tensor<3xi32>)
      tokens(%rt : tensor<3xi32>)
      weights(%g, %u, %d
              : tensor<2x1x2xf32>, tensor<2x1x2xf32>, tensor<2x2x1xf32>)
      parts 2 -> tensor<?x2xf32> {
  ^bb0(%a: f32, %b: f32):
    %zero = arith.constant 0.0 : f32
    %relu = arith.maximumf %a, %zero : f32
    %h = arith.mulf %relu, %b : f32
    moe.yield %h : f32
  }
  return %y : tensor<?x2xf32>
}

// Rows 0 and 1 belong to expert 1, row 2 to expert 2; expert 0 has none.
// MAP: y0: 3x2xf32 = {{\[\[}}11, 12], [13, 14], [25, 26]]
// MAP: y1: 3x1xf32 = {{\[\[}}3], [7], [11]]
func.func @map() -> (tensor<3x2xf32>, tensor<3x1xf32>) {
  %x = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]>
      : tensor<3x2xf32>
  %eo = arith.constant dense<[0, 0, 2, 3]> : tensor<4xi32>
  %w = arith.constant dense<[[0.0], [10.0], [20.0]]> : tensor<3x1xf32>
  %z = arith.constant dense<0.0> : tensor<1x1xf32>
  %y:2 = moe.map_rows rows(%x : tensor<3x2xf32>) offsets(%eo : tensor<4xi32>)
      weights(%w : tensor<3x1xf32>) invariants(%z : tensor<1x1xf32>)
      -> tensor<3x2xf32>, tensor<3x1xf32> {
  ^bb0(%r: tensor<1x2xf32>, %e: tensor<1xf32>, %init: tensor<1x1xf32>):
    %o = linalg.generic {
        indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (0)>,
                         affine_map<(m, n) -> (m, n)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%r, %e : tensor<1x2xf32>, tensor<1xf32>)
        outs(%r : tensor<1x2xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %s = arith.addf %a, %b : f32
      linalg.yield %s : f32
    } -> tensor<1x2xf32>
    %sum = linalg.generic {
        indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
                         affine_map<(m, n, k) -> (m, n)>],
        iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%r : tensor<1x2xf32>) outs(%init : tensor<1x1xf32>) {
    ^bb0(%a: f32, %c: f32):
      %s = arith.addf %a, %c : f32
      linalg.yield %s : f32
    } -> tensor<1x1xf32>
    moe.yield %o, %sum : tensor<1x2xf32>, tensor<1x1xf32>
  }
  return %y#0, %y#1 : tensor<3x2xf32>, tensor<3x1xf32>
}
