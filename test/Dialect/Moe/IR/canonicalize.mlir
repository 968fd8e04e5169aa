// RUN: moe-opt %s --canonicalize | FileCheck %s

// Combining what one expert, whom all visit, was given gives it back.
// CHECK-LABEL: func.func @combine_of_dispatch
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>)
// CHECK-NEXT: return %[[X]]
func.func @combine_of_dispatch(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = moe.assign_all %x : tensor<?x4xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Weights would be lost.
// CHECK-LABEL: func.func @combine_of_dispatch_weighted
// CHECK: %[[Y:.*]] = moe.combine
// CHECK-NEXT: return %[[Y]]
func.func @combine_of_dispatch_weighted(%x: tensor<?x4xf32>,
                                        %w: tensor<?x1xf32>)
    -> tensor<?x4xf32> {
  %r = moe.assign_all %x weights(%w) : tensor<?x4xf32>, tensor<?x1xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Two experts sum to twice the token.
// CHECK-LABEL: func.func @combine_of_dispatch_two
// CHECK: moe.combine
func.func @combine_of_dispatch_two(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = moe.assign_all %x : tensor<?x4xf32>
      -> !moe.routing<experts = 2, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r
      : tensor<?x4xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// A type with more known extents is another type.
// CHECK-LABEL: func.func @combine_of_dispatch_types
// CHECK: moe.combine
func.func @combine_of_dispatch_types(%x: tensor<3x4xf32>) -> tensor<?x4xf32> {
  %r = moe.assign_all %x : tensor<3x4xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<3x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<3x4xf32>
  %y = moe.combine %xs by %r
      : tensor<3x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @experts_redundant_weights
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[A:.*]]: tensor<8x4xf32>, %[[B:.*]]: tensor<8x2xf32>, %[[R:.*]]: !moe
// CHECK-NEXT: moe.experts ins(%[[X]]) weights(%[[A]]) by %[[R]]
// CHECK-NEXT: ^bb0(%[[T:.*]]: tensor<?x4xf32>, %[[V:.*]]: tensor<4xf32>):
// CHECK-NEXT: tensor.insert_slice %[[V]] into %[[T]]
// CHECK-NEXT: tensor.insert_slice %[[V]] into
func.func @experts_redundant_weights(
    %x: tensor<?x4xf32>, %a: tensor<8x4xf32>, %b: tensor<8x2xf32>,
    %r: !moe.routing<experts = 8, per_token = 2>) -> tensor<?x4xf32> {
  %y = moe.experts ins(%x) weights(%b, %a, %b, %a) by %r
      : (tensor<?x4xf32>, tensor<8x2xf32>, tensor<8x4xf32>, tensor<8x2xf32>,
         tensor<8x4xf32>), !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>, %b0: tensor<2xf32>, %a0: tensor<4xf32>,
       %b1: tensor<2xf32>, %a1: tensor<4xf32>):
    %0 = tensor.insert_slice %a0 into %t[0, 0] [1, 4] [1, 1]
        : tensor<4xf32> into tensor<?x4xf32>
    %1 = tensor.insert_slice %a1 into %0[1, 0] [1, 4] [1, 1]
        : tensor<4xf32> into tensor<?x4xf32>
    moe.yield %1 : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// Nothing but what the function returns is computed.
// CHECK-LABEL: func.func @dead
// CHECK-NEXT: return
func.func @dead(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) {
  %l = moe.router_logits ins(%x, %w)
      : tensor<?x4xf32>, tensor<8x4xf32> -> tensor<?x8xf32>
  %r = moe.route %l policy<top_k = 2>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32>
  %ys = moe.experts ins(%xs) by %r
      : (tensor<?x4xf32>), !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x4xf32> {
  ^bb0(%t: tensor<?x4xf32>):
    moe.yield %t : tensor<?x4xf32>
  }
  %n = moe.expert_counts %r
      : !moe.routing<experts = 8, per_token = 2> -> tensor<8xi64>
  return
}

// The unused %b and %w go, the repeated %a and %c are merged. The offsets stay:
// they say how many rows there are.
// CHECK-LABEL: func.func @map_rows_redundant_operands
// CHECK-SAME: (%[[A:.*]]: tensor<?x4xf32>, %{{.*}}: tensor<?x4xf32>, %[[O:.*]]: tensor<9xi32>, %{{.*}}: tensor<8x4xf32>, %[[C:.*]]: tensor<1x4xf32>)
// CHECK-NEXT: moe.map_rows rows(%[[A]] : tensor<?x4xf32>) offsets(%[[O]] : tensor<9xi32>) invariants(%[[C]] : tensor<1x4xf32>) ->
// CHECK-NEXT: ^bb0(%[[P:.*]]: tensor<1x4xf32>, %[[U:.*]]: tensor<1x4xf32>):
// CHECK-NEXT: %[[S:.*]] = arith.addf %[[P]], %[[P]]
// CHECK-NEXT: %[[T:.*]] = arith.addf %[[S]], %[[U]]
// CHECK-NEXT: arith.addf %[[T]], %[[U]]
func.func @map_rows_redundant_operands(
    %a: tensor<?x4xf32>, %b: tensor<?x4xf32>, %eo: tensor<9xi32>,
    %w: tensor<8x4xf32>, %c: tensor<1x4xf32>) -> tensor<?x4xf32> {
  %y = moe.map_rows
      rows(%b, %a, %a : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>)
      offsets(%eo : tensor<9xi32>) weights(%w : tensor<8x4xf32>)
      invariants(%c, %c : tensor<1x4xf32>, tensor<1x4xf32>)
      -> tensor<?x4xf32> {
  ^bb0(%q: tensor<1x4xf32>, %p0: tensor<1x4xf32>, %p1: tensor<1x4xf32>,
       %v: tensor<4xf32>, %u0: tensor<1x4xf32>, %u1: tensor<1x4xf32>):
    %0 = arith.addf %p0, %p1 : tensor<1x4xf32>
    %1 = arith.addf %0, %u0 : tensor<1x4xf32>
    %2 = arith.addf %1, %u1 : tensor<1x4xf32>
    moe.yield %2 : tensor<1x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// The last of rows stays even when unused: it says how many there are.
// CHECK-LABEL: func.func @map_rows_keeps_one
// CHECK-SAME: (%[[A:.*]]: tensor<?x4xf32>, %{{.*}}: tensor<?x4xf32>, %[[C:.*]]: tensor<1x4xf32>)
// CHECK-NEXT: moe.map_rows rows(%[[A]] : tensor<?x4xf32>) invariants(%[[C]]
func.func @map_rows_keeps_one(%a: tensor<?x4xf32>, %b: tensor<?x4xf32>,
                              %c: tensor<1x4xf32>) -> tensor<?x4xf32> {
  %y = moe.map_rows rows(%a, %b : tensor<?x4xf32>, tensor<?x4xf32>)
      invariants(%c : tensor<1x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: tensor<1x4xf32>, %q: tensor<1x4xf32>, %u: tensor<1x4xf32>):
    moe.yield %u : tensor<1x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @map_rows_unused_result
// CHECK-SAME: (%[[A:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<?x4xf32>)
// CHECK-NEXT: %[[Y:.*]] = moe.map_rows rows(%[[B]] : tensor<?x4xf32>) -> tensor<?x4xf32> {
// CHECK-NEXT: ^bb0(%[[Q:.*]]: tensor<1x4xf32>):
// CHECK-NEXT: moe.yield %[[Q]] : tensor<1x4xf32>
// CHECK: return %[[Y]]
func.func @map_rows_unused_result(%a: tensor<?x4xf32>, %b: tensor<?x4xf32>)
    -> tensor<?x4xf32> {
  %y:2 = moe.map_rows rows(%a, %b : tensor<?x4xf32>, tensor<?x4xf32>)
      -> tensor<?x4xf32>, tensor<?x4xf32> {
  ^bb0(%p: tensor<1x4xf32>, %q: tensor<1x4xf32>):
    moe.yield %p, %q : tensor<1x4xf32>, tensor<1x4xf32>
  }
  return %y#1 : tensor<?x4xf32>
}

// Weights that neither side asks for are no obstacle.
// CHECK-LABEL: func.func @combine_unweighted
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %{{.*}}: tensor<?x1xf32>)
// CHECK-NEXT: return %[[X]]
func.func @combine_unweighted(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>)
    -> tensor<?x4xf32> {
  %r = moe.assign_all %x weights(%w) : tensor<?x4xf32>, tensor<?x1xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r unweighted
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// The input is multiplied already.
// CHECK-LABEL: func.func @combine_of_weighted_dispatch
// CHECK: %[[Y:.*]] = moe.combine
// CHECK-NEXT: return %[[Y]]
func.func @combine_of_weighted_dispatch(%x: tensor<?x4xf32>,
                                        %w: tensor<?x1xf32>)
    -> tensor<?x4xf32> {
  %r = moe.assign_all %x weights(%w) : tensor<?x4xf32>, tensor<?x1xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r weighted
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r unweighted
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Multiplying by 1 on both sides does nothing.
// CHECK-LABEL: func.func @combine_of_unit_weights
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>)
// CHECK-NEXT: return %[[X]]
func.func @combine_of_unit_weights(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = moe.assign_all %x : tensor<?x4xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %xs = moe.dispatch %x by %r weighted
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  %y = moe.combine %xs by %r
      : tensor<?x4xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// All experts are no restriction, and a part of a part is a part.
// CHECK-LABEL: func.func @restrict
// CHECK-SAME: (%[[R:.*]]: !moe.routing<experts = 8, per_token = 2>)
// CHECK: moe.expert_counts %[[R]]
// CHECK: %[[P:.*]] = moe.restrict %[[R]][3, 5] : !moe.routing<experts = 8, per_token = 2> -> !moe.routing<experts = 2, per_token = 2>
// CHECK: moe.expert_counts %[[P]]
func.func @restrict(%r: !moe.routing<experts = 8, per_token = 2>)
    -> (tensor<8xi64>, tensor<2xi64>) {
  %all = moe.restrict %r[0, 8] : !moe.routing<experts = 8, per_token = 2>
      -> !moe.routing<experts = 8, per_token = 2>
  %n = moe.expert_counts %all
      : !moe.routing<experts = 8, per_token = 2> -> tensor<8xi64>
  %a = moe.restrict %r[2, 7] : !moe.routing<experts = 8, per_token = 2>
      -> !moe.routing<experts = 5, per_token = 2>
  %b = moe.restrict %a[1, 3] : !moe.routing<experts = 5, per_token = 2>
      -> !moe.routing<experts = 2, per_token = 2>
  %m = moe.expert_counts %b
      : !moe.routing<experts = 2, per_token = 2> -> tensor<2xi64>
  return %n, %m : tensor<8xi64>, tensor<2xi64>
}

// A part with a bound of its own keeps it.
// CHECK-LABEL: func.func @restrict_bounds
// CHECK-SAME: (%[[R:.*]]: !moe
// CHECK: moe.restrict %[[R]][0, 2] : {{.*}} -> !moe.routing<experts = 2, per_token = 2, rows = 1, extra = 16>
// CHECK-NEXT: moe.expert_counts
// CHECK-NEXT: %[[P:.*]] = moe.restrict %[[R]][3, 4] : {{.*}} -> !moe.routing<experts = 1, per_token = 1>
func.func @restrict_bounds(
    %r: !moe.routing<experts = 8, per_token = 8, rows = 1, extra = 16>)
    -> (tensor<2xi64>, tensor<1xi64>) {
  %a = moe.restrict %r[0, 2]
      : !moe.routing<experts = 8, per_token = 8, rows = 1, extra = 16>
      -> !moe.routing<experts = 2, per_token = 2, rows = 1, extra = 16>
  %n = moe.expert_counts %a
      : !moe.routing<experts = 2, per_token = 2, rows = 1, extra = 16>
      -> tensor<2xi64>
  %b = moe.restrict %r[2, 8]
      : !moe.routing<experts = 8, per_token = 8, rows = 1, extra = 16>
      -> !moe.routing<experts = 6, per_token = 6, rows = 1, extra = 16>
  %c = moe.restrict %b[1, 2]
      : !moe.routing<experts = 6, per_token = 6, rows = 1, extra = 16>
      -> !moe.routing<experts = 1, per_token = 1>
  %m = moe.expert_counts %c
      : !moe.routing<experts = 1, per_token = 1> -> tensor<1xi64>
  return %n, %m : tensor<2xi64>, tensor<1xi64>
}
