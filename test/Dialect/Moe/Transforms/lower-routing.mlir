// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-lower-routing))' \
// RUN:   -remarks-filter='moe-.*' -split-input-file -verify-diagnostics | FileCheck %s

// The lists of a routing decision; k and E reach the types.
// CHECK-LABEL: func @route
// CHECK-SAME: %[[L:[^ ,:]+]]: tensor<?x8xf32>, %[[B:[^ ,:]+]]: tensor<8xf32>, %[[X:[^ ,:]+]]: tensor<?x4xf32>
func.func @route(%l: tensor<?x8xf32>, %b: tensor<8xf32>, %x: tensor<?x4xf32>)
    -> tensor<?x4xf32> {
  // CHECK: %[[I:[^ ,:]+]], %[[W:[^ ,:]+]] = moe.select_topk %[[L]] bias(%[[B]]) policy<score = sigmoid, top_k = 3>
  // CHECK-SAME: -> tensor<?x3xi32>, tensor<?x3xf32>
  // CHECK: %{{[^ ,]+}}, %[[RT:[^ ,:]+]], %[[RW:[^ ,:]+]], %[[TO:[^ ,:]+]], %[[TR:[^ ,:]+]] = moe.group_rows %[[I]], %[[W]] :
  // CHECK-SAME: -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  // CHECK: %[[XS:[^ ,:]+]] = moe.gather_rows %[[X]][%[[RT]]]
  // CHECK: %[[Y:[^ ,:]+]] = moe.combine_rows rows(%[[XS]]
  // CHECK-SAME: offsets(%[[TO]] {{.*}} indices(%[[TR]] {{.*}} weights(%[[RW]]
  // CHECK: return %[[Y]]
  %r = moe.route %l bias(%b) policy<score = sigmoid, top_k = 3>
      : tensor<?x8xf32>, tensor<8xf32>
      -> !moe.routing<experts = 8, per_token = 3>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 3>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r
      : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 3>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Ids from outside are marked, so that they are checked at run time.
// CHECK-LABEL: func @assign
func.func @assign(%i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<5xi64> {
  // CHECK: %[[EO:[^ ,:]+]], %{{.*}} = moe.group_rows %{{.*}}, %{{.*}} given
  // CHECK: %[[N:[^ ,:]+]] = moe.count_rows %[[EO]] : tensor<6xi32> -> tensor<5xi64>
  // CHECK: return %[[N]]
  %r = moe.assign %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
      -> !moe.routing<experts = 5, per_token = 2>
  %n = moe.expert_counts %r
      : !moe.routing<experts = 5, per_token = 2> -> tensor<5xi64>
  return %n : tensor<5xi64>
}

// -----

// Both forms of assign_all; a routing that nothing uses leaves nothing.
// CHECK-LABEL: func @assign_all
func.func @assign_all(%x: tensor<?x4xbf16>, %w: tensor<?x2xf32>)
    -> (tensor<?x4xbf16>, tensor<1xi64>) {
  // CHECK: %{{[^ ,]+}}, %[[RT:[^ ,:]+]], %{{.*}} = moe.all_rows %{{.*}} weights(%{{.*}}) :
  // CHECK-SAME: -> tensor<3xi32>,
  // CHECK: %[[EO:[^ ,:]+]], %{{.*}} = moe.all_rows %{{[^ ]*}} : {{.*}} -> tensor<2xi32>,
  // CHECK-NOT: moe.assign_all
  // CHECK: moe.gather_rows %{{.*}}[%[[RT]]]
  // CHECK: moe.count_rows %[[EO]]
  %r = moe.assign_all %x weights(%w) : tensor<?x4xbf16>, tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 2>
  %s = moe.assign_all %x : tensor<?x4xbf16>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x4xbf16>
  %y = moe.combine %xs by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x4xbf16>
  %n = moe.expert_counts %s
      : !moe.routing<experts = 1, per_token = 1> -> tensor<1xi64>
  return %y, %n : tensor<?x4xbf16>, tensor<1xi64>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

// A gated body: the op gathers by itself, products become block arguments in
// the order of the activation's reading them, and weights follow that order.
// CHECK-LABEL: func @gated
// CHECK-SAME: %[[X:[^ ,:]+]]: tensor<?x4xf32>, %{{.*}}, %[[G:[^ ,:]+]]: tensor<2x6x4xf32>, %[[U:[^ ,:]+]]: tensor<2x6x4xf32>, %[[D:[^ ,:]+]]: tensor<2x4x6xf32>)
func.func @gated(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
                 %g: tensor<2x6x4xf32>, %u: tensor<2x6x4xf32>,
                 %d: tensor<2x4x6xf32>) -> tensor<?x4xf32> {
  // CHECK: %[[EO:[^ ,:]+]], %[[RT:[^ ,:]+]], %{{.*}}, %{{.*}}, %{{.*}} = moe.group_rows
  // CHECK-NOT: moe.gather_rows
  // CHECK: moe.grouped_ffn ins(%[[X]] : {{.*}} offsets(%[[EO]] : {{.*}} tokens(%[[RT]] :
  // CHECK-SAME: weights(%[[U]], %[[G]], %[[D]] : {{.*}} parts 2
  // CHECK: ^bb0(%[[A:[^ ,:]+]]: f32, %[[B:[^ ,:]+]]: f32):
  // CHECK-NEXT: %[[S:[^ ,:]+]] = arith.mulf %[[A]], %[[A]]
  // CHECK-NEXT: %[[M:[^ ,:]+]] = arith.mulf %[[S]], %[[B]]
  // CHECK-NEXT: moe.yield %[[M]] : f32
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) weights(%g, %u, %d) by %r
      : (tensor<?x4xf32>, tensor<2x6x4xf32>, tensor<2x6x4xf32>,
         tensor<2x4x6xf32>), !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %tg: tensor<6x4xf32>, %tu: tensor<6x4xf32>,
       %td: tensor<4x6xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %a = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tg : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %b = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xf32>, tensor<6x4xf32>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%b, %a : tensor<?x6xf32>, tensor<?x6xf32>)
        outs(%ef : tensor<?x6xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.mulf %p, %p : f32
      %m = arith.mulf %s, %q : f32
      linalg.yield %m : f32
    } -> tensor<?x6xf32>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %y = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xf32>, tensor<4x6xf32>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

// Ungated in bf16: one part; named elementwise ops and arith on tensors join
// into one scalar body; the op's own roundings of h and of the result are gone
// from it, the rounding in the middle stays.
// CHECK-LABEL: func @ungated_bf16
func.func @ungated_bf16(%x: tensor<?x4xbf16>, %u: tensor<1x6x4xbf16>,
                        %d: tensor<1x4x6xbf16>) -> tensor<?x4xbf16> {
  // CHECK: moe.grouped_ffn {{.*}} parts 1
  // CHECK: ^bb0(%[[C:[^ ,:]+]]: f32):
  // CHECK-DAG: %[[ZERO:[^ ,:]+]] = arith.constant 0.000000e+00 : f32
  // CHECK-DAG: %[[R:[^ ,:]+]] = arith.maximumf %[[C]], %[[ZERO]] : f32
  // CHECK: %[[T:[^ ,:]+]] = arith.truncf %[[R]] : f32 to bf16
  // CHECK-NEXT: %[[E:[^ ,:]+]] = arith.extf %[[T]] : bf16 to f32
  // CHECK-NEXT: %[[S:[^ ,:]+]] = arith.mulf %[[E]], %[[E]] : f32
  // CHECK-NEXT: moe.yield %[[S]] : f32
  %r = moe.assign_all %x : tensor<?x4xbf16>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xbf16>
  %ys = moe.experts ins(%xs) weights(%u, %d) by %r
      : (tensor<?x4xbf16>, tensor<1x6x4xbf16>, tensor<1x4x6xbf16>),
        !moe.routing<experts = 1, per_token = 1> -> tensor<?x4xbf16> {
  ^bb0(%t: tensor<?x4xbf16>, %tu: tensor<6x4xbf16>, %td: tensor<4x6xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x4xbf16>
    %ef = tensor.empty(%n) : tensor<?x6xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x6xf32>)
        -> tensor<?x6xf32>
    %c = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %tu : tensor<?x4xbf16>, tensor<6x4xbf16>)
        outs(%zf : tensor<?x6xf32>) -> tensor<?x6xf32>
    %relu = linalg.max ins(%c, %zf : tensor<?x6xf32>, tensor<?x6xf32>)
        outs(%ef : tensor<?x6xf32>) -> tensor<?x6xf32>
    %r16 = arith.truncf %relu : tensor<?x6xf32> to tensor<?x6xbf16>
    %r32 = arith.extf %r16 : tensor<?x6xbf16> to tensor<?x6xf32>
    %sq = arith.mulf %r32, %r32 : tensor<?x6xf32>
    %h = arith.truncf %sq : tensor<?x6xf32> to tensor<?x6xbf16>
    %eh = tensor.empty(%n) : tensor<?x4xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x4xf32>)
        -> tensor<?x4xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %td : tensor<?x6xbf16>, tensor<4x6xbf16>)
        outs(%zh : tensor<?x4xf32>) -> tensor<?x4xf32>
    %e16 = tensor.empty(%n) : tensor<?x4xbf16>
    %y = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%p : tensor<?x4xf32>) outs(%e16 : tensor<?x4xbf16>) {
    ^bb0(%a: f32, %o: bf16):
      %v = arith.truncf %a : f32 to bf16
      linalg.yield %v : bf16
    } -> tensor<?x4xbf16>
    moe.yield %y : tensor<?x4xbf16>
  }
  %y = moe.combine %ys by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// No product at the end: row by row, with weights by expert, and a remark.
// CHECK-LABEL: func @no_product
// CHECK-SAME: %{{.*}}, %{{.*}}, %[[W:[^ ,:]+]]: tensor<2x4xf32>)
func.func @no_product(%x: tensor<?x4xf32>, %l: tensor<?x2xf32>,
                      %w: tensor<2x4xf32>) -> tensor<?x4xf32> {
  // CHECK: %[[EO:[^ ,:]+]], %{{.*}} = moe.group_rows
  // CHECK: %[[XS:[^ ,:]+]] = moe.gather_rows
  // CHECK: %[[YS:[^ ,:]+]] = moe.map_rows rows(%[[XS]] : {{.*}}) offsets(%[[EO]] : {{.*}}) weights(%[[W]] : tensor<2x4xf32>)
  // CHECK: ^bb0(%[[T:[^ ,:]+]]: tensor<1x4xf32>, %[[V:[^ ,:]+]]: tensor<4xf32>):
  // CHECK: tensor.empty() : tensor<1x4xf32>
  // CHECK: linalg.broadcast ins(%[[V]]
  // CHECK: arith.mulf %[[T]], %{{.*}} : tensor<1x4xf32>
  // CHECK: moe.combine_rows rows(%[[YS]]
  %r = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> !moe.routing<experts = 2, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  // expected-remark@below {{expert body runs row by row: the body does not end in a product with transposed weights, summed in f32 from zero}}
  %ys = moe.experts ins(%xs) weights(%w) by %r
      : (tensor<?x4xf32>, tensor<2x4xf32>),
        !moe.routing<experts = 2, per_token = 1> -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %v: tensor<4xf32>):
    %c0 = arith.constant 0 : index
    %n = tensor.dim %t, %c0 : tensor<?x4xf32>
    %e = tensor.empty(%n) : tensor<?x4xf32>
    %b = linalg.broadcast ins(%v : tensor<4xf32>)
        outs(%e : tensor<?x4xf32>) dimensions = [0]
    %y = arith.mulf %t, %b : tensor<?x4xf32>
    moe.yield %y : tensor<?x4xf32>
  }
  %y = moe.combine %ys by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
