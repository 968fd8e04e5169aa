// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-lower-routing,moe-merge-segments,moe-fuse-token-rows,canonicalize,cse,moe-verify-routed))' \
// RUN:   -split-input-file | FileCheck %s

// The softmax over tokens takes three folds, that over slots one map; slots go
// to experts by constant indices.
// CHECK-LABEL: func @soft
// CHECK-SAME: %[[X:[^ ,:]+]]: tensor<?x4xbf16>, %[[L:[^ ,:]+]]: tensor<?x6xf32>
func.func @soft(%x: tensor<?x4xbf16>, %l: tensor<?x6xf32>) -> tensor<?x4xbf16> {
  // CHECK-DAG: %[[I:[^ ,:]+]] = arith.constant dense<{{.*}}> : tensor<6x1xi32>
  // CHECK-DAG: %[[W:[^ ,:]+]] = arith.constant dense<1.0{{.*}}> : tensor<6x1xf32>
  // CHECK: %[[M:[^ ,:]+]] = moe.fold_rows rows(%[[L]] : {{.*}}) inits [0xFFF0000000000000 : f64] -> tensor<1x6xf32>
  // CHECK: arith.maximumf
  // CHECK: %[[D:[^ ,:]+]] = moe.fold_rows rows(%[[L]] : {{.*}}) invariants(%[[M]] :
  // CHECK: math.exp
  // CHECK: %[[S:[^ ,:]+]] = moe.fold_rows rows(%[[L]], %[[X]] : {{.*}}) invariants(%[[M]], %[[D]] :
  // CHECK-SAME: -> tensor<6x4xf32>
  // CHECK: %[[R:[^ ,:]+]] = moe.map_rows rows(%[[S]] : tensor<6x4xf32>) -> tensor<6x4xbf16>
  // CHECK: %{{[^ ,:]+}}, %[[RT:[^ ,:]+]], %{{.*}} = moe.group_rows %[[I]], %[[W]] given
  // CHECK: %[[XS:[^ ,:]+]] = moe.gather_rows %[[R]][%[[RT]]]
  // CHECK: %[[Y:[^ ,:]+]] = moe.combine_rows rows(%[[XS]] {{.*}} -> tensor<6x4xbf16>
  // CHECK: moe.map_rows rows(%[[L]] : {{.*}}) invariants(%[[Y]] : tensor<6x4xbf16>) -> tensor<?x4xbf16>
  // CHECK: arith.truncf
  %i = arith.constant dense<[[0], [0], [1], [1], [2], [2]]> : tensor<6x1xi32>
  %w = arith.constant dense<1.0> : tensor<6x1xf32>
  %s = moe.soft_dispatch %x by %l
      : tensor<?x4xbf16>, tensor<?x6xf32> -> tensor<6x4xbf16>
  %r = moe.assign %i, %w : tensor<6x1xi32>, tensor<6x1xf32>
      -> !moe.routing<experts = 3, per_token = 1>
  %xs = moe.dispatch %s by %r
      : tensor<6x4xbf16>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x4xbf16>
  %ys = moe.combine %xs by %r
      : tensor<?x4xbf16>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<6x4xbf16>
  %y = moe.soft_combine %ys by %l
      : tensor<6x4xbf16>, tensor<?x6xf32> -> tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}
