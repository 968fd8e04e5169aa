// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-lower-routing))' \
// RUN:   -remarks-filter='moe-.*' -split-input-file -verify-diagnostics | FileCheck %s

// What keeps an expert body from becoming a grouped op: each runs row by row,
// and the remark names the reason.

// CHECK-NOT: moe.grouped_ffn
// CHECK-COUNT-13: moe.map_rows
// CHECK-NOT: moe.grouped_ffn

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// A weight of the last product that is computed.
func.func @computed_weight(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: the last product's right side is not a weight}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>, %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %tt = arith.addf %td, %td : tensor<4x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %tt : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// An activation that reads the rows themselves.
func.func @residual(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x4x4xf32>, %d: tensor<2x4x4xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: the activation reads a block argument directly}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<4x4xf32>, %td: tensor<4x4xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<4x4xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    %h = arith.mulf %c, %t : tensor<?x4xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x4xf32>, tensor<4x4xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#first = affine_map<(m, n) -> (m, 0)>

// The first channel of the row.
func.func @first_channel(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: 'linalg.generic' is not element by element}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>,
       %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %h = linalg.generic {indexing_maps = [#id, #first, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c, %c : tensor<?x6xf32>, tensor<?x6xf32>)
        outs(%ef : tensor<?x6xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %s = arith.addf %a, %b : f32
      linalg.yield %s : f32
    } -> tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// An op of the tensor dialect.
func.func @shifted(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: 'tensor.extract_slice' is not element by element}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>, %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %h = tensor.extract_slice %c[0, 0] [%n, 6] [1, 1]
        : tensor<?x6xf32> to tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

// An activation that depends on the channel.
func.func @index(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: 'linalg.index' cannot stand in an activation}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>, %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %h = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c : tensor<?x6xf32>) outs(%ef : tensor<?x6xf32>) {
    ^bb0(%a: f32, %o: f32):
      %i = linalg.index 1 : index
      %i32 = arith.index_cast %i : index to i32
      %f = arith.sitofp %i32 : i32 to f32
      %s = arith.mulf %a, %f : f32
      linalg.yield %s : f32
    } -> tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

// A scalar read from a weight.
func.func @scalar(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: the activation reads a scalar that is not constant}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>, %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %s = tensor.extract %tu[%c0, %c0] : tensor<6x4xf32>
    %h = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c : tensor<?x6xf32>) outs(%ef : tensor<?x6xf32>) {
    ^bb0(%a: f32, %o: f32):
      %m = arith.mulf %a, %s : f32
      linalg.yield %m : f32
    } -> tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// Three products.
func.func @three(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %v: tensor<2x6x4xf32>,
    %w: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: the activation has 3 products as inputs, not one or two}}
  %ys = moe.experts ins(%xs) weights(%u, %v, %w, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x6x4xf32>,
         tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>, %tv: tensor<6x4xf32>,
       %tw: tensor<6x4xf32>, %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %a = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %b = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tv : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tw : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %ab = arith.mulf %a, %b : tensor<?x6xf32>
    %h = arith.mulf %ab, %c : tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// No product before the activation.
func.func @constant(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: the activation has 0 products as inputs, not one or two}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>, %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %h = math.exp %zf : tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// A first product of something else than the rows.
func.func @scaled_rows(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: a first product is not rows times weight}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>, %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %tt = arith.addf %t, %t : tensor<?x4xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%tt, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// Rows in bf16, weights in f32.
func.func @mixed(%x: tensor<?x4xbf16>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xbf16>) -> tensor<?x4xbf16> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xbf16>
  // expected-remark@below {{expert body runs row by row: rows and weights differ in type or shape}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xbf16>, tensor<2x6x4xf32>, tensor<2x4x6xbf16>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xbf16> {
  ^bb0(%t: tensor<?x4xbf16>, %tu: tensor<6x4xf32>, %td: tensor<4x6xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xbf16>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xbf16>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %h = arith.truncf %c : tensor<?x6xf32> to tensor<?x6xbf16>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xbf16>, tensor<4x6xbf16>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    %y = arith.truncf %p : tensor<?x4xf32> to tensor<?x4xbf16>
    moe.yield %y : tensor<?x4xbf16>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xbf16>
  return %z : tensor<?x4xbf16>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// A number format without a GEMM.
func.func @half(%x: tensor<?x4xf16>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf16>, %d: tensor<2x4x6xf16>) -> tensor<?x4xf16> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf16>
  // expected-remark@below {{expert body runs row by row: rows, weights and results are not all f32 or all bf16}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xf16>, tensor<2x6x4xf16>, tensor<2x4x6xf16>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf16> {
  ^bb0(%t: tensor<?x4xf16>, %tu: tensor<6x4xf16>, %td: tensor<4x6xf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf16>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf16>, tensor<6x4xf16>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %h = arith.truncf %c : tensor<?x6xf32> to tensor<?x6xf16>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf16>, tensor<4x6xf16>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    %y = arith.truncf %p : tensor<?x4xf32> to tensor<?x4xf16>
    moe.yield %y : tensor<?x4xf16>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf16>
  return %z : tensor<?x4xf16>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// An activation that is not rounded to bf16 before the last product.
func.func @unrounded(%x: tensor<?x4xbf16>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xbf16>, %d: tensor<2x4x6xbf16>) -> tensor<?x4xbf16> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xbf16>
  // expected-remark@below {{expert body runs row by row: rows, weights and results are not all f32 or all bf16}}
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xbf16>, tensor<2x6x4xbf16>, tensor<2x4x6xbf16>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xbf16> {
  ^bb0(%t: tensor<?x4xbf16>, %tu: tensor<6x4xbf16>, %td: tensor<4x6xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xbf16>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xbf16>, tensor<6x4xbf16>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xbf16>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    %y = arith.truncf %p : tensor<?x4xf32> to tensor<?x4xbf16>
    moe.yield %y : tensor<?x4xbf16>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xbf16>
  return %z : tensor<?x4xbf16>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// Rows that were changed between dispatch and experts.
func.func @rows(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  %xt = math.tanh %xs : tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: its rows do not come straight from moe.dispatch by the same routing}}
  %ys = moe.experts ins(%xt) weights(%u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tu: tensor<6x4xf32>, %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %p : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}
