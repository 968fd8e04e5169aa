// RUN: moe-opt %s -pass-pipeline='builtin.module(moe-import)' | FileCheck %s --check-prefix=IMPORT
// RUN: moe-opt %s -pass-pipeline='builtin.module(moe-import,moe-graph)' -o %t.graph.mlir
// RUN: FileCheck %s --check-prefix=GRAPH --input-file=%t.graph.mlir
// RUN: moe-opt %t.graph.mlir -pass-pipeline='builtin.module(moe-routed)' -o %t.routed.mlir
// RUN: FileCheck %s --check-prefix=ROUTED --input-file=%t.routed.mlir
// RUN: moe-opt %t.routed.mlir -pass-pipeline='builtin.module(moe-tiled)' -o %t.tiled.mlir
// RUN: FileCheck %s --check-prefix=TILED --input-file=%t.tiled.mlir
// RUN: moe-opt %t.tiled.mlir -pass-pipeline='builtin.module(moe-target)' -o %t.target.mlir
// RUN: FileCheck %s --check-prefix=TARGET --input-file=%t.target.mlir
// RUN: moe-opt %t.target.mlir -pass-pipeline='builtin.module(moe-module{output=%t.moe})' -o /dev/null
// RUN: moe-inspect %t.moe | FileCheck %s --check-prefix=MODULE

// What each registered pipeline makes of one function.

// Changes nothing.
// IMPORT: arith.addf
// IMPORT: arith.addf
// IMPORT: moe.route %
// IMPORT: moe.dispatch

// Simplifies: one of two equal sums is left, unused weights are gone.
// GRAPH: func.func @f
// GRAPH: arith.addf
// GRAPH-NOT: arith.addf
// GRAPH: moe.route %
// GRAPH: moe.experts ins(%{{[^ ,]+}}) weights(%{{[^ ,]+}}) by
// GRAPH: moe.combine

// ROUTED: func.func @f
// ROUTED-NOT: tensor.
// ROUTED: moe.map_rows
// ROUTED: moe.select_topk
// ROUTED: moe.group_rows
// ROUTED: moe.map_rows
// ROUTED: moe.combine_rows
// ROUTED-NOT: !moe.routing

// TILED-NOT: func.func
// TILED: plan.func @f
// TILED: plan.kernel @map_rows({{.*}}variants [#moe.cpu<isa = avx2,

// TARGET-NOT: plan.kernel
// TARGET: plan.binary @{{.*}} "elf-x86_64-object"
// TARGET-SAME: map_rows
// TARGET-NOT: plan.kernel

// MODULE: f

module attributes {moe.targets = ["x86-64"]} {
  moe.weight @router : tensor<4x8xf32> from ["router"]
  moe.weight @scale : tensor<4x8xf32> from ["scale"]
  moe.weight @unused : tensor<4x8xf32> from ["unused"]
  func.func @f(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
    %w = moe.get_weight @router : tensor<4x8xf32>
    %s = moe.get_weight @scale : tensor<4x8xf32>
    %u = moe.get_weight @unused : tensor<4x8xf32>
    %a = arith.addf %x, %x : tensor<?x8xf32>
    %b = arith.addf %x, %x : tensor<?x8xf32>
    %l = moe.router_logits ins(%a, %w)
        : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
    %r = moe.route %l policy<score = softmax, top_k = 2>
        : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
    %xs = moe.dispatch %b by %r
        : tensor<?x8xf32>, !moe.routing<experts = 4, per_token = 2>
        -> tensor<?x8xf32>
    %ys = moe.experts ins(%xs) weights(%s, %u) by %r
        : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>),
          !moe.routing<experts = 4, per_token = 2> -> tensor<?x8xf32> {
    ^bb0(%t: tensor<?x8xf32>, %v: tensor<8xf32>, %z: tensor<8xf32>):
      %c0 = arith.constant 0 : index
      %n = tensor.dim %t, %c0 : tensor<?x8xf32>
      %e = tensor.empty(%n) : tensor<?x8xf32>
      %m = linalg.broadcast ins(%v : tensor<8xf32>)
          outs(%e : tensor<?x8xf32>) dimensions = [0]
      %o = arith.mulf %t, %m : tensor<?x8xf32>
      moe.yield %o : tensor<?x8xf32>
    }
    %y = moe.combine %ys by %r
        : tensor<?x8xf32>, !moe.routing<experts = 4, per_token = 2>
        -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }
}
