// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-lower-routing))' \
// RUN:   -remarks-filter='moe-.*' -split-input-file -verify-diagnostics | FileCheck %s

// Biases of the products of an expert, and weights of rows on the way in.

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>
#first = affine_map<(m, n) -> (0, n)>

// CHECK-LABEL: func @generic
func.func @generic(%l: tensor<?x2xf32>, %x: tensor<?x4xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>, %ub: tensor<2x6xf32>,
    %db: tensor<2x4xf32>) -> tensor<?x4xf32> {
  // CHECK: moe.grouped_ffn ins(%{{[^ ]*}} : tensor<?x4xf32>)
  // CHECK-SAME: weights(%{{[^ ]*}}, %{{[^ ]*}} : tensor<2x6x4xf32>, tensor<2x4x6xf32>) biases(%{{[^ ]*}}, %{{[^ ]*}} : tensor<2x6xf32>, tensor<2x4xf32>) parts 1
  // CHECK-NEXT: ^bb0(%[[C:.*]]: f32):
  // CHECK-NEXT: %[[H:.*]] = arith.mulf %[[C]], %[[C]] : f32
  // CHECK-NEXT: moe.yield %[[H]] : f32
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%u, %d, %ub, %db) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>, tensor<2x6xf32>,
         tensor<2x4xf32>), !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<6x4xf32>, %b: tensor<4x6xf32>,
       %p: tensor<6xf32>, %q: tensor<4xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %a : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %i = linalg.generic {indexing_maps = [#id, #column, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c, %p : tensor<?x6xf32>, tensor<6xf32>) outs(%e6 : tensor<?x6xf32>) {
    ^bb0(%s: f32, %v: f32, %o: f32):
      %w = arith.addf %s, %v : f32
      %m = arith.mulf %w, %w : f32
      linalg.yield %m : f32
    } -> tensor<?x6xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %b : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%z4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    %y = linalg.generic {indexing_maps = [#column, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%q, %h : tensor<4xf32>, tensor<?x4xf32>) outs(%e4 : tensor<?x4xf32>) {
    ^bb0(%v: f32, %s: f32, %o: f32):
      %w = arith.addf %v, %s : f32
      linalg.yield %w : f32
    } -> tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// Broadcast, then added; the sum of the last product starts from its bias.
#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>
#first = affine_map<(m, n) -> (0, n)>

// CHECK-LABEL: func @broadcast
func.func @broadcast(%l: tensor<?x2xf32>, %x: tensor<?x4xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>, %ub: tensor<2x6xf32>,
    %db: tensor<2x4xf32>) -> tensor<?x4xf32> {
  // CHECK: moe.grouped_ffn ins(%{{[^ ]*}} : tensor<?x4xf32>)
  // CHECK-NOT: scales
  // CHECK-SAME: weights(%{{[^ ]*}}, %{{[^ ]*}} : tensor<2x6x4xf32>, tensor<2x4x6xf32>) biases(%{{[^ ]*}}, %{{[^ ]*}} : tensor<2x6xf32>, tensor<2x4xf32>) parts 1
  // CHECK-NEXT: ^bb0(%[[C:.*]]: f32):
  // CHECK-NEXT: %[[H:.*]] = arith.mulf %[[C]], %[[C]] : f32
  // CHECK-NEXT: moe.yield %[[H]] : f32
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%u, %d, %ub, %db) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>, tensor<2x6xf32>,
         tensor<2x4xf32>), !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<6x4xf32>, %b: tensor<4x6xf32>,
       %p: tensor<6xf32>, %q: tensor<4xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %a : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %pa = linalg.broadcast ins(%p : tensor<6xf32>)
        outs(%e6 : tensor<?x6xf32>) dimensions = [0]
    %s = arith.addf %c, %pa : tensor<?x6xf32>
    %i = arith.mulf %s, %s : tensor<?x6xf32>
    %qa = linalg.broadcast ins(%q : tensor<4xf32>)
        outs(%e4 : tensor<?x4xf32>) dimensions = [0]
    %y = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %b : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%qa : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// With a leading dimension of one.
#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>
#first = affine_map<(m, n) -> (0, n)>

// CHECK-LABEL: func @leading_one
func.func @leading_one(%l: tensor<?x2xf32>, %x: tensor<?x4xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>, %ub: tensor<2x6xf32>,
    %db: tensor<2x4xf32>) -> tensor<?x4xf32> {
  // CHECK: moe.grouped_ffn ins(%{{[^ ]*}} : tensor<?x4xf32>)
  // CHECK-NOT: scales
  // CHECK-SAME: weights(%{{[^ ]*}}, %{{[^ ]*}} : tensor<2x6x4xf32>, tensor<2x4x6xf32>) biases(%{{[^ ]*}}, %{{[^ ]*}} : tensor<2x6xf32>, tensor<2x4xf32>) parts 1
  // CHECK-NEXT: ^bb0(%[[C:.*]]: f32):
  // CHECK-NEXT: %[[H:.*]] = arith.mulf %[[C]], %[[C]] : f32
  // CHECK-NEXT: moe.yield %[[H]] : f32
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%u, %d, %ub, %db) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>, tensor<2x6xf32>,
         tensor<2x4xf32>), !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<6x4xf32>, %b: tensor<4x6xf32>,
       %p: tensor<6xf32>, %q: tensor<4xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %a : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %p1 = tensor.expand_shape %p [[0, 1]] output_shape [1, 6]
        : tensor<6xf32> into tensor<1x6xf32>
    %i = linalg.generic {indexing_maps = [#id, #first, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c, %p1 : tensor<?x6xf32>, tensor<1x6xf32>) outs(%e6 : tensor<?x6xf32>) {
    ^bb0(%s: f32, %v: f32, %o: f32):
      %w = arith.addf %s, %v : f32
      %m = arith.mulf %w, %w : f32
      linalg.yield %m : f32
    } -> tensor<?x6xf32>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %b : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%z4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    %qa = linalg.broadcast ins(%q : tensor<4xf32>)
        outs(%e4 : tensor<?x4xf32>) dimensions = [0]
    %y = linalg.add ins(%h, %qa : tensor<?x4xf32>, tensor<?x4xf32>)
        outs(%e4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// Biases of bf16, and rows that are weighted on the way in.
#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>
#first = affine_map<(m, n) -> (0, n)>

// CHECK-LABEL: func @bf16
func.func @bf16(%l: tensor<?x2xf32>, %x: tensor<?x4xbf16>,
    %u: tensor<2x6x4xbf16>, %d: tensor<2x4x6xbf16>, %ub: tensor<2x6xbf16>,
    %db: tensor<2x4xbf16>) -> tensor<?x4xbf16> {
  // CHECK: moe.grouped_ffn ins(%{{[^ ]*}} : tensor<?x4xbf16>)
  // CHECK-SAME: scales(%{{[^ ]*}} : tensor<?xf32>)
  // CHECK-SAME: biases(%{{[^ ]*}}, %{{[^ ]*}} : tensor<2x6xbf16>, tensor<2x4xbf16>) parts 1
  // CHECK-NEXT: ^bb0(%[[C:.*]]: f32):
  // CHECK-NEXT: %[[H:.*]] = arith.mulf %[[C]], %[[C]] : f32
  // CHECK-NEXT: moe.yield %[[H]] : f32
  // CHECK: moe.combine_rows
  // CHECK-SAME: unweighted
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r weighted
      : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xbf16>
  %ys = moe.experts ins(%xs) weights(%u, %d, %ub, %db) by %r
      : (tensor<?x4xbf16>, tensor<2x6x4xbf16>, tensor<2x4x6xbf16>, tensor<2x6xbf16>,
         tensor<2x4xbf16>), !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xbf16> {
  ^bb0(%t: tensor<?x4xbf16>, %a: tensor<6x4xbf16>, %b: tensor<4x6xbf16>,
       %p: tensor<6xbf16>, %q: tensor<4xbf16>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xbf16>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %a : tensor<?x4xbf16>, tensor<6x4xbf16>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %e6b = tensor.empty(%n) : tensor<?x6xbf16>
    %i = linalg.generic {indexing_maps = [#id, #column, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c, %p : tensor<?x6xf32>, tensor<6xbf16>) outs(%e6b : tensor<?x6xbf16>) {
    ^bb0(%s: f32, %v: bf16, %o: bf16):
      %vw = arith.extf %v : bf16 to f32
      %w = arith.addf %s, %vw : f32
      %m = arith.mulf %w, %w : f32
      %k = arith.truncf %m : f32 to bf16
      linalg.yield %k : bf16
    } -> tensor<?x6xbf16>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %b : tensor<?x6xbf16>, tensor<4x6xbf16>)
        outs(%z4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    %q32 = arith.extf %q : tensor<4xbf16> to tensor<4xf32>
    %qa = linalg.broadcast ins(%q32 : tensor<4xf32>)
        outs(%e4 : tensor<?x4xf32>) dimensions = [0]
    %s = arith.addf %qa, %h : tensor<?x4xf32>
    %y = arith.truncf %s : tensor<?x4xf32> to tensor<?x4xbf16>
    moe.yield %y : tensor<?x4xbf16>
  }
  %z = moe.combine %ys by %r unweighted : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xbf16>
  return %z : tensor<?x4xbf16>
}

// -----

// A vector that is multiplied by is no bias.
#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>
#first = affine_map<(m, n) -> (0, n)>

// CHECK-LABEL: func @times_bias
func.func @times_bias(%l: tensor<?x2xf32>, %x: tensor<?x4xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>, %ub: tensor<2x6xf32>,
    %db: tensor<2x4xf32>) -> tensor<?x4xf32> {
  // CHECK: moe.map_rows
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: weight 2 has one value for each column, but is not a bias that is added to a product in f32}}
  %ys = moe.experts ins(%xs) weights(%u, %d, %ub, %db) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>, tensor<2x6xf32>,
         tensor<2x4xf32>), !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<6x4xf32>, %b: tensor<4x6xf32>,
       %p: tensor<6xf32>, %q: tensor<4xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %a : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %i = linalg.generic {indexing_maps = [#id, #column, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c, %p : tensor<?x6xf32>, tensor<6xf32>) outs(%e6 : tensor<?x6xf32>) {
    ^bb0(%s: f32, %v: f32, %o: f32):
      %w = arith.mulf %s, %v : f32
      linalg.yield %w : f32
    } -> tensor<?x6xf32>
    %y = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %b : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%z4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// Added to a product that was rounded before.
#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>
#first = affine_map<(m, n) -> (0, n)>

// CHECK-LABEL: func @rounded_first
func.func @rounded_first(%l: tensor<?x2xf32>, %x: tensor<?x4xbf16>,
    %u: tensor<2x6x4xbf16>, %d: tensor<2x4x6xbf16>, %ub: tensor<2x6xbf16>,
    %db: tensor<2x4xbf16>) -> tensor<?x4xbf16> {
  // CHECK: moe.map_rows
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xbf16>
  // expected-remark@below {{expert body runs row by row: weight 2 has one value for each column, but is not a bias that is added to a product in f32}}
  %ys = moe.experts ins(%xs) weights(%u, %d, %ub, %db) by %r
      : (tensor<?x4xbf16>, tensor<2x6x4xbf16>, tensor<2x4x6xbf16>, tensor<2x6xbf16>,
         tensor<2x4xbf16>), !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xbf16> {
  ^bb0(%t: tensor<?x4xbf16>, %a: tensor<6x4xbf16>, %b: tensor<4x6xbf16>,
       %p: tensor<6xbf16>, %q: tensor<4xbf16>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xbf16>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %a : tensor<?x4xbf16>, tensor<6x4xbf16>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %e6b = tensor.empty(%n) : tensor<?x6xbf16>
    %i = linalg.generic {indexing_maps = [#id, #column, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c, %p : tensor<?x6xf32>, tensor<6xbf16>) outs(%e6b : tensor<?x6xbf16>) {
    ^bb0(%s: f32, %v: bf16, %o: bf16):
      %k = arith.truncf %s : f32 to bf16
      %w = arith.addf %k, %v : bf16
      linalg.yield %w : bf16
    } -> tensor<?x6xbf16>
    %h = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %b : tensor<?x6xbf16>, tensor<4x6xbf16>)
        outs(%z4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    %y = arith.truncf %h : tensor<?x4xf32> to tensor<?x4xbf16>
    moe.yield %y : tensor<?x4xbf16>
  }
  %z = moe.combine %ys by %r : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xbf16>
  return %z : tensor<?x4xbf16>
}

// -----

// The product is also read without its bias.
#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>
#first = affine_map<(m, n) -> (0, n)>

// CHECK-LABEL: func @also_alone
func.func @also_alone(%l: tensor<?x2xf32>, %x: tensor<?x4xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>, %ub: tensor<2x6xf32>,
    %db: tensor<2x4xf32>) -> tensor<?x4xf32> {
  // CHECK: moe.map_rows
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: weight 2 has one value for each column, but is not a bias that is added to a product in f32}}
  %ys = moe.experts ins(%xs) weights(%u, %d, %ub, %db) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>, tensor<2x6xf32>,
         tensor<2x4xf32>), !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<6x4xf32>, %b: tensor<4x6xf32>,
       %p: tensor<6xf32>, %q: tensor<4xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %a : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %i = linalg.generic {indexing_maps = [#id, #column, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c, %p : tensor<?x6xf32>, tensor<6xf32>) outs(%e6 : tensor<?x6xf32>) {
    ^bb0(%s: f32, %v: f32, %o: f32):
      %w = arith.addf %s, %v : f32
      %m = arith.mulf %w, %s : f32
      linalg.yield %m : f32
    } -> tensor<?x6xf32>
    %y = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %b : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%z4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// No bias for the last product.
#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>
#first = affine_map<(m, n) -> (0, n)>

// CHECK-LABEL: func @only_first
func.func @only_first(%l: tensor<?x2xf32>, %x: tensor<?x4xf32>,
    %u: tensor<2x6x4xf32>, %d: tensor<2x4x6xf32>, %ub: tensor<2x6xf32>,
    %db: tensor<2x4xf32>) -> tensor<?x4xf32> {
  // CHECK: moe.map_rows
  %r = moe.route %l policy<top_k = 1> : tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: some of its products have a bias and others have none}}
  %ys = moe.experts ins(%xs) weights(%u, %d, %ub, %db) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x4x6xf32>, tensor<2x6xf32>,
         tensor<2x4xf32>), !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %a: tensor<6x4xf32>, %b: tensor<4x6xf32>,
       %p: tensor<6xf32>, %q: tensor<4xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e6 = tensor.empty(%n) : tensor<?x6xf32>
    %z6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %e4 = tensor.empty(%n) : tensor<?x4xf32>
    %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %a : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%z6 : tensor<?x6xf32>) -> tensor<?x6xf32>
    %i = linalg.generic {indexing_maps = [#id, #column, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c, %p : tensor<?x6xf32>, tensor<6xf32>) outs(%e6 : tensor<?x6xf32>) {
    ^bb0(%s: f32, %v: f32, %o: f32):
      %w = arith.addf %s, %v : f32
      linalg.yield %w : f32
    } -> tensor<?x6xf32>
    %y = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %b : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%z4 : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %z = moe.combine %ys by %r : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}
