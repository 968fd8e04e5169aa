// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-fuse-token-rows))' \
// RUN:   -split-input-file -verify-diagnostics

func.func @reduces_rows(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>)
    -> tensor<?x4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  // expected-error@below {{'linalg.reduce' is not token-wise: it reduces over rows}}
  %s = linalg.reduce ins(%x : tensor<?x4xf32>) outs(%e : tensor<4xf32>)
      dimensions = [0] (%a: f32, %b: f32) {
    %c = arith.addf %a, %b : f32
    linalg.yield %c : f32
  }
  %b = linalg.broadcast ins(%s : tensor<4xf32>) outs(%y : tensor<?x4xf32>)
      dimensions = [0]
  return %b : tensor<?x4xf32>
}

// -----

func.func @static_result(%x: tensor<?x4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  // expected-error@below {{'linalg.reduce' yields no rows of tokens; only token-wise tensor code can be compiled}}
  %s = linalg.reduce ins(%x : tensor<?x4xf32>) outs(%e : tensor<4xf32>)
      dimensions = [0] (%a: f32, %b: f32) {
    %c = arith.addf %a, %b : f32
    linalg.yield %c : f32
  }
  return %s : tensor<4xf32>
}

// -----

func.func @transposes(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>)
    -> tensor<?x4xf32> {
  %e = tensor.empty() : tensor<4x4xf32>
  // expected-error@below {{'linalg.matmul' is not token-wise: it reduces over rows}}
  %g = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (k, m)>,
                                      affine_map<(m, n, k) -> (k, n)>,
                                      affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %y : tensor<?x4xf32>, tensor<?x4xf32>)
      outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %z = linalg.matmul ins(%x, %g : tensor<?x4xf32>, tensor<4x4xf32>)
      outs(%y : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#id = affine_map<(m, n) -> (m, n)>
#swap = affine_map<(m, n) -> (n, m)>
func.func @two_loops(%x: tensor<?x4xf32>, %y: tensor<4x?xf32>)
    -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<4x?xf32>
  // expected-error@below {{'linalg.transpose' reads a value of type 'tensor<4x?xf32>'; expected a tensor with no dynamic dimension but the first}}
  %t = linalg.transpose ins(%x : tensor<?x4xf32>) outs(%y : tensor<4x?xf32>)
      permutation = [1, 0]
  %z = linalg.generic {indexing_maps = [#swap, #id],
                       iterator_types = ["parallel", "parallel"]}
      ins(%t : tensor<4x?xf32>) outs(%x : tensor<?x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

func.func @other_dynamic(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  // expected-error@below {{'tensor.empty' is not token-wise: it has another dynamic dimension than its rows}}
  %e = tensor.empty(%n) : tensor<4x?xf32>
  %t = linalg.transpose ins(%x : tensor<?x4xf32>) outs(%e : tensor<4x?xf32>)
      permutation = [1, 0]
  %z = linalg.generic {indexing_maps = [affine_map<(m, n) -> (n, m)>,
                                        affine_map<(m, n) -> (m, n)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%t : tensor<4x?xf32>) outs(%x : tensor<?x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

func.func @shifted(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'linalg.generic' is not token-wise: its rows are not walked by one loop}}
  %z = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, n)>,
                                        affine_map<(m, n, k) -> (k, n)>],
                       iterator_types = ["reduction", "parallel", "parallel"]}
      ins(%x : tensor<?x4xf32>) outs(%x : tensor<?x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

func.func @row_number(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'linalg.generic' is not token-wise: its body uses the number of the row}}
  %z = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>],
                       iterator_types = ["parallel", "parallel"]}
      outs(%x : tensor<?x4xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %j = arith.index_cast %i : index to i32
    %f = arith.sitofp %j : i32 to f32
    %s = arith.addf %f, %o : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

func.func @positions(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>)
    -> tensor<?x4xf32> {
  %table = arith.constant dense<1.0> : tensor<8x4xf32>
  // expected-error@below {{'linalg.generic' is not token-wise: the number of the row indexes something else than rows}}
  %z = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>,
                                        affine_map<(m, n) -> (m, n)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%table : tensor<8x4xf32>) outs(%x : tensor<?x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

func.func @other_row(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  // expected-error@below {{'linalg.generic' is not token-wise: its body reads rows by number}}
  %z = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>],
                       iterator_types = ["parallel", "parallel"]}
      outs(%x : tensor<?x4xf32>) {
  ^bb0(%o: f32):
    %a = tensor.extract %x[%c0, %c0] : tensor<?x4xf32>
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

func.func @first_row(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  // expected-error@below {{'tensor.extract' is not token-wise: it is not known to treat rows independently}}
  %a = tensor.extract %x[%c0, %c0] : tensor<?x4xf32>
  %z = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>],
                       iterator_types = ["parallel", "parallel"]}
      outs(%x : tensor<?x4xf32>) {
  ^bb0(%o: f32):
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// A mean over the batch would silently become a mean over one token.
func.func @number_of_tokens(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  // expected-error@below {{'tensor.dim' is not token-wise: the number of rows is used as a value}}
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %i = arith.index_cast %n : index to i32
  %f = arith.sitofp %i : i32 to f32
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %z = linalg.fill ins(%f : f32) outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = arith.divf %x, %z : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @other_number(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c9 = arith.constant 9 : index
  %zero = arith.constant 0.0 : f32
  // expected-error@below {{'tensor.empty' is not token-wise: its number of rows is not that of another tensor}}
  %e = tensor.empty(%c9) : tensor<?x4xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x4xf32>)
      -> tensor<?x4xf32>
  %y = arith.addf %x, %z : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @unknown_size(%x: tensor<?x4xf32>, %i: index) -> tensor<?x4xf32> {
  // expected-error@below {{'tensor.dim' is not token-wise: it asks for a dimension that is not known}}
  %n = tensor.dim %x, %i : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %y = linalg.add ins(%x, %x : tensor<?x4xf32>, tensor<?x4xf32>)
      outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @splits_rows(%x: tensor<?x4xf32>) -> tensor<?x2x4xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  // expected-error@below {{'tensor.expand_shape' is not token-wise: it splits rows}}
  %y = tensor.expand_shape %x [[0, 1], [2]] output_shape [%n, 2, 4]
      : tensor<?x4xf32> into tensor<?x2x4xf32>
  return %y : tensor<?x2x4xf32>
}

// -----

func.func @joins_rows(%x: tensor<?x4xf32>) -> tensor<?xf32> {
  // expected-error@below {{'tensor.collapse_shape' is not token-wise: it joins rows}}
  %y = tensor.collapse_shape %x [[0, 1]] : tensor<?x4xf32> into tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @concats_rows(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'tensor.concat' is not token-wise: it joins rows}}
  %y = tensor.concat dim(0) %x, %x
      : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @fixed_rows(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'tensor.cast' is not token-wise: it changes which extents are known}}
  %a = tensor.cast %x : tensor<?x4xf32> to tensor<3x4xf32>
  %b = tensor.cast %a : tensor<3x4xf32> to tensor<?x4xf32>
  return %b : tensor<?x4xf32>
}

// -----

func.func @half_of_rows(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c2 = arith.constant 2 : index
  // expected-error@below {{'tensor.extract_slice' is not token-wise: it does not take the same columns of every row}}
  %y = tensor.extract_slice %x[0, 0] [%c2, 4] [1, 1]
      : tensor<?x4xf32> to tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @replaced_rows(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c2 = arith.constant 2 : index
  // expected-error@below {{'tensor.insert_slice' is not token-wise: it does not fill the same columns of every row}}
  %y = tensor.insert_slice %x into %x[0, 0] [%c2, 4] [1, 1]
      : tensor<?x4xf32> into tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @softmax_over_tokens(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'linalg.softmax' is not token-wise: it reduces over rows}}
  %y = linalg.softmax dimension(0) ins(%x : tensor<?x4xf32>)
      outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @writes_reduced(%x: tensor<?x4xf32>, %e: tensor<?xf32>)
    -> tensor<?x4xf32> {
  // expected-error@below {{'linalg.generic' is not token-wise: it writes along a dimension that it reduces}}
  %y:2 = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>,
                                          affine_map<(m, n) -> (m)>],
                         iterator_types = ["parallel", "reduction"]}
      outs(%x, %e : tensor<?x4xf32>, tensor<?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %v = arith.mulf %a, %o : f32
    linalg.yield %v, %o : f32, f32
  } -> (tensor<?x4xf32>, tensor<?xf32>)
  return %y#0 : tensor<?x4xf32>
}

// -----

// A kind of op that the pass knows nothing about.
func.func @padded(%x: tensor<?x4xf32>) -> tensor<?x6xf32> {
  %zero = arith.constant 0.0 : f32
  // expected-error@below {{'tensor.pad' is not token-wise: it is not known to treat rows independently}}
  %y = tensor.pad %x low[0, 1] high[0, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<?x4xf32> to tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// -----

func.func @mixed_rows(%x: tensor<?x4xf32>, %i: tensor<?x1xi32>,
                      %p: tensor<?x1xf32>) -> tensor<?x4xf32> {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p
      : tensor<?x1xi32>, tensor<?x1xf32>
      -> tensor<6xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@below {{'arith.addf' mixes rows of tokens with rows of experts, or rows of two routings}}
  %y = arith.addf %x, %xs : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

moe.weight @w : tensor<2x4xbf16> from ["w"]
func.func @computed_weight(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = moe.get_weight @w : tensor<2x4xbf16>
  // expected-error@below {{'arith.negf' yields no rows of tokens; only token-wise tensor code can be compiled}}
  %v = arith.negf %w : tensor<2x4xbf16>
  %l = moe.router_logits ins(%x, %v)
      : tensor<?x4xf32>, tensor<2x4xbf16> -> tensor<?x2xf32>
  return %l : tensor<?x2xf32>
}

// -----

func.func @scalar_input(%x: tensor<?x4xf32>, %s: f32) -> tensor<?x4xf32> {
  // expected-error@below {{'linalg.fill' reads a value of type 'f32'; expected a tensor with no dynamic dimension but the first}}
  %y = linalg.fill ins(%s : f32) outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func private @other(tensor<?x4xf32>) -> tensor<?x4xf32>
func.func @call(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'func.call' is not token-wise: it is not known to treat rows independently}}
  %y = func.call @other(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func private @effect()
func.func @no_rows(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{'func.call' depends on no rows of tokens; precompute it or make it a weight}}
  func.call @effect() : () -> ()
  return %x : tensor<?x4xf32>
}

// -----

// expected-error@below {{function 'blocks' has control flow; expected a single block}}
func.func @blocks(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  cf.br ^bb1
^bb1:
  return %x : tensor<?x4xf32>
}
