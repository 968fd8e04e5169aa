// RUN: moe-opt %s --canonicalize --cse | FileCheck %s

// The rows of a whole block are those of its input.
// CHECK-LABEL: func.func @block
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %{{.*}}: tensor<8x4xf32>)
// CHECK: %[[C0:.*]] = arith.constant 0 : index
// CHECK: %[[N:.*]] = tensor.dim %[[X]], %[[C0]]
// CHECK-NOT: moe.
// CHECK: return %[[N]]
func.func @block(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> index {
  %c0 = arith.constant 0 : index
  %l = moe.router_logits ins(%x, %w)
      : tensor<?x4xf32>, tensor<8x4xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<top_k = 2>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r
      : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32>
  %n = tensor.dim %y, %c0 : tensor<?x4xf32>
  return %n : index
}

// CHECK-LABEL: func.func @given
// CHECK-SAME: %[[I:[^ ]*]]: tensor<?x2xi32>
// CHECK: tensor.dim %[[I]]
func.func @given(%y: tensor<?x4xf32>, %i: tensor<?x2xi32>,
                 %w: tensor<?x2xf32>) -> index {
  %c0 = arith.constant 0 : index
  %r = moe.assign %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
      -> !moe.routing<experts = 8, per_token = 2>
  %z = moe.combine %y by %r
      : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32>
  %n = tensor.dim %z, %c0 : tensor<?x4xf32>
  return %n : index
}

// One expert that all visit has as many rows as there are tokens.
// CHECK-LABEL: func.func @shared
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>)
// CHECK: %[[N:.*]] = tensor.dim %[[X]]
// CHECK: return %[[N]]
func.func @shared(%x: tensor<?x4xf32>) -> index {
  %c0 = arith.constant 0 : index
  %r = moe.assign_all %x : tensor<?x4xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) by %r
      : (tensor<?x4xf32>), !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>):
    moe.yield %t : tensor<?x4xf32>
  }
  %n = tensor.dim %ys, %c0 : tensor<?x4xf32>
  return %n : index
}

// The number of pairs is no operand's extent: it may depend on the routing.
// CHECK-LABEL: func.func @pairs
// CHECK: %[[XS:.*]] = moe.dispatch
// CHECK: tensor.dim %[[XS]]
func.func @pairs(%x: tensor<?x4xf32>,
                 %r: !moe.routing<experts = 8, per_token = 2>) -> index {
  %c0 = arith.constant 0 : index
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32>
  %n = tensor.dim %xs, %c0 : tensor<?x4xf32>
  return %n : index
}

// Nothing is known of a routing that comes from outside.
// CHECK-LABEL: func.func @unknown
// CHECK: %[[Y:.*]] = moe.combine
// CHECK: tensor.dim %[[Y]]
func.func @unknown(%x: tensor<?x4xf32>,
                   %r: !moe.routing<experts = 8, per_token = 2>) -> index {
  %c0 = arith.constant 0 : index
  %y = moe.combine %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32>
  %n = tensor.dim %y, %c0 : tensor<?x4xf32>
  return %n : index
}

// CHECK-LABEL: func.func @routed
// CHECK-SAME: (%[[L:.*]]: tensor<?x8xf32>, %[[X:.*]]: tensor<?x4xf32>, %[[T:.*]]: tensor<?xi32>, %{{.*}}: tensor<9xi32>
// CHECK-DAG: %[[N0:.*]] = tensor.dim %[[L]]
// CHECK-DAG: %[[N1:.*]] = tensor.dim %[[T]]
// CHECK-DAG: %[[N2:.*]] = tensor.dim %[[X]]
// CHECK: return %[[N0]], %[[N1]], %[[N1]], %[[N2]]
func.func @routed(%l: tensor<?x8xf32>, %x: tensor<?x4xf32>, %t: tensor<?xi32>,
                  %eo: tensor<9xi32>, %g: tensor<8x6x4xf32>,
                  %d: tensor<8x4x6xf32>) -> (index, index, index, index) {
  %c0 = arith.constant 0 : index
  %i, %w = moe.select_topk %l policy<top_k = 2>
      : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %n0 = tensor.dim %w, %c0 : tensor<?x2xf32>
  %rows = moe.gather_rows %x[%t]
      : tensor<?x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  %n1 = tensor.dim %rows, %c0 : tensor<?x4xf32>
  %ys = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%eo : tensor<9xi32>)
      tokens(%t : tensor<?xi32>)
      weights(%g, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  %n2 = tensor.dim %ys, %c0 : tensor<?x4xf32>
  %z = moe.map_rows rows(%x : tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: tensor<1x4xf32>):
    moe.yield %p : tensor<1x4xf32>
  }
  %n3 = tensor.dim %z, %c0 : tensor<?x4xf32>
  return %n0, %n1, %n2, %n3 : index, index, index, index
}

// Routers have as many rows as their tokens.
// CHECK-LABEL: func.func @routers
// CHECK-SAME: (%[[L:.*]]: tensor<?x8xf32>, %[[X:.*]]: tensor<?x4xf32>, %[[T:.*]]: tensor<?xi32>
// CHECK-DAG: %[[N0:.*]] = tensor.dim %[[L]]
// CHECK-DAG: %[[N1:.*]] = tensor.dim %[[T]]
// CHECK: return %[[N0]], %[[N0]], %[[N1]], %[[N0]], %[[N0]]
func.func @routers(%l: tensor<?x8xf32>, %x: tensor<?x4xf32>, %t: tensor<?xi32>,
                   %s: tensor<1xi64>, %b: tensor<9x2xi32>,
                   %slots: tensor<8x4xf32>)
    -> (index, index, index, index, index) {
  %c0 = arith.constant 0 : index
  %r = moe.choose_tokens %l score none capacity <slots 3> : tensor<?x8xf32>
      -> !moe.routing<experts = 8, per_token = 8, rows = 0, extra = 24>
  %p = moe.restrict %r[0, 4]
      : !moe.routing<experts = 8, per_token = 8, rows = 0, extra = 24>
      -> !moe.routing<experts = 4, per_token = 4, rows = 0, extra = 24>
  %xs = moe.dispatch %x by %p
      : tensor<?x4xf32>,
        !moe.routing<experts = 4, per_token = 4, rows = 0, extra = 24>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %p
      : tensor<?x4xf32>,
        !moe.routing<experts = 4, per_token = 4, rows = 0, extra = 24>
      -> tensor<?x4xf32>
  %n0 = tensor.dim %y, %c0 : tensor<?x4xf32>
  %u = moe.random uniform seed(%s) like %l
      : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x2xf32>
  %n1 = tensor.dim %u, %c0 : tensor<?x2xf32>
  %i = moe.lookup %b[%t] : tensor<9x2xi32>, tensor<?xi32> -> tensor<?x2xi32>
  %n2 = tensor.dim %i, %c0 : tensor<?x2xi32>
  %z = moe.soft_combine %slots by %l
      : tensor<8x4xf32>, tensor<?x8xf32> -> tensor<?x4xf32>
  %n3 = tensor.dim %z, %c0 : tensor<?x4xf32>
  %j, %w = moe.select_products %l, %l policy<score = none, top_k = 2>
      : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  %n4 = tensor.dim %w, %c0 : tensor<?x2xf32>
  return %n0, %n1, %n2, %n3, %n4 : index, index, index, index, index
}
