// linalg: contractions have a path of their own, the rest runs element by
// element; both must mean the same.

// RUN: moe-interpret %s --function=products --print | FileCheck %s --check-prefix=PRODUCTS
// RUN: moe-interpret %s --function=narrow --print | FileCheck %s --check-prefix=NARROW
// RUN: moe-interpret %s --function=shapes --print | FileCheck %s --check-prefix=SHAPES
// RUN: moe-interpret %s --function=maps --print | FileCheck %s --check-prefix=MAPS
// RUN: moe-interpret %s --function=both_paths --print | FileCheck %s --check-prefix=PATHS

// PRODUCTS: y0: 2x2xf32 = {{\[\[}}19, 22], [43, 50]]
// PRODUCTS: y1: 2x2xf32 = {{\[\[}}117, 123], [139, 153]]
// PRODUCTS: y2: 2x1x1xf32 = {{\[\[\[}}11]], {{\[\[}}25]]]
// PRODUCTS: y3: 2xf32 = [11, 25]
func.func @products() -> (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x1x1xf32>,
                          tensor<2xf32>) {
  %a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  %zero = arith.constant dense<0.0> : tensor<2x2xf32>
  %hundred = arith.constant dense<100.0> : tensor<2x2xf32>
  %p = linalg.matmul ins(%a, %b : tensor<2x2xf32>, tensor<2x2xf32>)
      outs(%zero : tensor<2x2xf32>) -> tensor<2x2xf32>
  // 100 + a . b^T.
  %q = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
                                      affine_map<(m, n, k) -> (n, k)>,
                                      affine_map<(m, n, k) -> (m, n)>]
      ins(%a, %b : tensor<2x2xf32>, tensor<2x2xf32>)
      outs(%hundred : tensor<2x2xf32>) -> tensor<2x2xf32>
  %l = tensor.expand_shape %a [[0], [1, 2]] output_shape [2, 1, 2]
      : tensor<2x2xf32> into tensor<2x1x2xf32>
  %v = arith.constant dense<[[[3.0], [4.0]], [[3.0], [4.0]]]>
      : tensor<2x2x1xf32>
  %z = arith.constant dense<0.0> : tensor<2x1x1xf32>
  %r = linalg.batch_matmul ins(%l, %v : tensor<2x1x2xf32>, tensor<2x2x1xf32>)
      outs(%z : tensor<2x1x1xf32>) -> tensor<2x1x1xf32>
  %w = arith.constant dense<[3.0, 4.0]> : tensor<2xf32>
  %y = arith.constant dense<0.0> : tensor<2xf32>
  %s = linalg.matvec ins(%a, %w : tensor<2x2xf32>, tensor<2xf32>)
      outs(%y : tensor<2xf32>) -> tensor<2xf32>
  return %p, %q, %r, %s
      : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x1x1xf32>, tensor<2xf32>
}

// 256 + 1 + 1 is 258 in one rounding, but 256 in two.
// NARROW: y0: 1x1xf32 = {{\[\[}}258]]
// NARROW: y1: 1x1xbf16 = {{\[\[}}258]]
func.func @narrow() -> (tensor<1x1xf32>, tensor<1x1xbf16>) {
  %a = arith.constant dense<[[256.0, 1.0, 1.0]]> : tensor<1x3xbf16>
  %b = arith.constant dense<1.0> : tensor<3x1xbf16>
  %z = arith.constant dense<0.0> : tensor<1x1xf32>
  %n = arith.constant dense<0.0> : tensor<1x1xbf16>
  %p = linalg.matmul ins(%a, %b : tensor<1x3xbf16>, tensor<3x1xbf16>)
      outs(%z : tensor<1x1xf32>) -> tensor<1x1xf32>
  %q = linalg.matmul ins(%a, %b : tensor<1x3xbf16>, tensor<3x1xbf16>)
      outs(%n : tensor<1x1xbf16>) -> tensor<1x1xbf16>
  return %p, %q : tensor<1x1xf32>, tensor<1x1xbf16>
}

// SHAPES: y0: 3x2xf32 = {{\[\[}}1, 4], [2, 5], [3, 6]]
// SHAPES: y1: 2xf32 = [6, 15]
// SHAPES: y2: 2x2xf32 = {{\[\[}}6, 6], [15, 15]]
// SHAPES: y3: 2x3xf32 = {{\[\[}}2, 4, 6], [8, 10, 12]]
// SHAPES: y4: 1x2xf32 = {{\[\[}}0.2689414, 0.7310586]]
func.func @shapes() -> (tensor<3x2xf32>, tensor<2xf32>, tensor<2x2xf32>,
                        tensor<2x3xf32>, tensor<1x2xf32>) {
  %a = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]>
      : tensor<2x3xf32>
  %e = tensor.empty() : tensor<3x2xf32>
  %t = linalg.transpose ins(%a : tensor<2x3xf32>) outs(%e : tensor<3x2xf32>)
      permutation = [1, 0]
  %z = arith.constant dense<0.0> : tensor<2xf32>
  %r = linalg.reduce { arith.addf } ins(%a : tensor<2x3xf32>)
      outs(%z : tensor<2xf32>) dimensions = [1]
  %f = tensor.empty() : tensor<2x2xf32>
  %b = linalg.broadcast ins(%r : tensor<2xf32>) outs(%f : tensor<2x2xf32>)
      dimensions = [1]
  %g = tensor.empty() : tensor<2x3xf32>
  %m = linalg.map { arith.addf } ins(%a, %a : tensor<2x3xf32>, tensor<2x3xf32>)
      outs(%g : tensor<2x3xf32>)
  %x = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %h = tensor.empty() : tensor<1x2xf32>
  %s = linalg.softmax dimension(1) ins(%x : tensor<1x2xf32>)
      outs(%h : tensor<1x2xf32>) -> tensor<1x2xf32>
  return %t, %r, %b, %m, %s
      : tensor<3x2xf32>, tensor<2xf32>, tensor<2x2xf32>, tensor<2x3xf32>,
        tensor<1x2xf32>
}

// Maps that are no permutations, indices, and tensors read at an index.
// MAPS: y0: 4xf32 = [1, 2, 1, 2]
// MAPS: y1: 2x2xi64 = {{\[\[}}0, 1], [10, 11]]
// MAPS: y2: 3xf32 = [3, 2, 1]
func.func @maps() -> (tensor<4xf32>, tensor<2x2xi64>, tensor<3xf32>) {
  %a = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %e = tensor.empty() : tensor<4xf32>
  %w = linalg.generic {indexing_maps = [affine_map<(i) -> (i mod 2)>,
                                        affine_map<(i) -> (i)>],
                       iterator_types = ["parallel"]}
      ins(%a : tensor<2xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%v: f32, %u: f32):
    linalg.yield %v : f32
  } -> tensor<4xf32>
  %f = tensor.empty() : tensor<2x2xi64>
  %n = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>],
                       iterator_types = ["parallel", "parallel"]}
      outs(%f : tensor<2x2xi64>) {
  ^bb0(%u: i64):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %ten = arith.constant 10 : index
    %t = arith.muli %i, %ten : index
    %s = arith.addi %t, %j : index
    %c = arith.index_cast %s : index to i64
    linalg.yield %c : i64
  } -> tensor<2x2xi64>
  %b = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %g = tensor.empty() : tensor<3xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>],
                       iterator_types = ["parallel"]}
      outs(%g : tensor<3xf32>) {
  ^bb0(%u: f32):
    %i = linalg.index 0 : index
    %two = arith.constant 2 : index
    %k = arith.subi %two, %i : index
    %x = tensor.extract %b[%k] : tensor<3xf32>
    linalg.yield %x : f32
  } -> tensor<3xf32>
  return %w, %n, %r : tensor<4xf32>, tensor<2x2xi64>, tensor<3xf32>
}

// The same contraction with m, n and k of two loops each, on the path for
// contractions and (with a body that has an op more) on the other.
// PATHS: y: 2x2x2x2xf32 = {{\[\[\[\[}}0, 0], [0, 0]], {{\[\[}}0, 0], [0, 0]]], {{\[\[\[}}0, 0], [0, 0]], {{\[\[}}0, 0], [0, 0]]]]
func.func @both_paths() -> tensor<2x2x2x2xf32> {
  %e = tensor.empty() : tensor<2x2x2x2xf32>
  %a = linalg.generic {indexing_maps = [affine_map<(i, j, k, l) -> (i, j, k, l)>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      outs(%e : tensor<2x2x2x2xf32>) {
  ^bb0(%u: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %k = linalg.index 2 : index
    %l = linalg.index 3 : index
    %three = arith.constant 3 : index
    %p = arith.muli %i, %three : index
    %q = arith.addi %p, %j : index
    %r = arith.muli %q, %three : index
    %s = arith.addi %r, %k : index
    %t = arith.muli %s, %s : index
    %v = arith.addi %t, %l : index
    %w = arith.index_cast %v : index to i32
    %x = arith.sitofp %w : i32 to f32
    linalg.yield %x : f32
  } -> tensor<2x2x2x2xf32>
  %z = arith.constant dense<0.0> : tensor<2x2x2x2xf32>
  %fast = linalg.generic {indexing_maps = [
      affine_map<(m, n, k, o, p, l) -> (k, m, l, o)>,
      affine_map<(m, n, k, o, p, l) -> (n, l, k, p)>,
      affine_map<(m, n, k, o, p, l) -> (p, m, o, n)>],
      iterator_types = ["parallel", "parallel", "reduction", "parallel",
                        "parallel", "reduction"]}
      ins(%a, %a : tensor<2x2x2x2xf32>, tensor<2x2x2x2xf32>)
      outs(%z : tensor<2x2x2x2xf32>) {
  ^bb0(%x: f32, %y: f32, %s: f32):
    %p = arith.mulf %x, %y : f32
    %t = arith.addf %s, %p : f32
    linalg.yield %t : f32
  } -> tensor<2x2x2x2xf32>
  %slow = linalg.generic {indexing_maps = [
      affine_map<(m, n, k, o, p, l) -> (k, m, l, o)>,
      affine_map<(m, n, k, o, p, l) -> (n, l, k, p)>,
      affine_map<(m, n, k, o, p, l) -> (p, m, o, n)>],
      iterator_types = ["parallel", "parallel", "reduction", "parallel",
                        "parallel", "reduction"]}
      ins(%a, %a : tensor<2x2x2x2xf32>, tensor<2x2x2x2xf32>)
      outs(%z : tensor<2x2x2x2xf32>) {
  ^bb0(%x: f32, %y: f32, %s: f32):
    %neg = arith.negf %x : f32
    %p = arith.mulf %neg, %y : f32
    %t = arith.subf %s, %p : f32
    linalg.yield %t : f32
  } -> tensor<2x2x2x2xf32>
  %d = arith.subf %fast, %slow : tensor<2x2x2x2xf32>
  return %d : tensor<2x2x2x2xf32>
}
