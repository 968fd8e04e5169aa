// RUN: split-file %s %t
// RUN: not moe-opt %t/graph.mlir -pass-pipeline='builtin.module(moe-import)' 2>&1 | FileCheck %s --check-prefix=BORDER
// RUN: not moe-opt %t/graph.mlir -pass-pipeline='builtin.module(moe-graph)' 2>&1 | FileCheck %s --check-prefix=BORDER
// RUN: not moe-opt %t/routed.mlir -pass-pipeline='builtin.module(moe-routed)' 2>&1 | FileCheck %s --check-prefix=ROUTED
// RUN: not moe-opt %t/routed.mlir -pass-pipeline='builtin.module(moe-tiled)' 2>&1 | FileCheck %s --check-prefix=TILED
// RUN: not moe-opt %t/empty.mlir -pass-pipeline='builtin.module(moe-tiled)' 2>&1 | FileCheck %s --check-prefix=TARGETS
// RUN: not moe-opt %t/empty.mlir -pass-pipeline='builtin.module(moe-module{output=%t/x.moe})' 2>&1 | FileCheck %s --check-prefix=MODULE
// RUN: not moe-opt %t/empty.mlir -pass-pipeline='builtin.module(moe-module)' 2>&1 | FileCheck %s --check-prefix=OUTPUT
// RUN: not ls %t/x.moe %t/x.moe.tmp

// Each phase refuses what the one before it should not have let through.

// BORDER: graph.mlir:2:8: error: 'func.call' cannot be compiled
// ROUTED: routed.mlir:3:8: error: 'linalg.reduce' is not token-wise: it reduces over rows
// TILED: routed.mlir:2:8: error: 'tensor.empty' stands outside a kernel region after the phase 'routed'
// TARGETS: error: module has no attribute 'moe.targets'
// MODULE: error: expected a plan.binary with the host's code; run the phase 'target' first
// OUTPUT: error: the pass option 'output' is missing

//--- graph.mlir
func.func @f(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = func.call @f(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
//--- routed.mlir
func.func @f(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %s = linalg.reduce ins(%x : tensor<?x4xf32>) outs(%e : tensor<4xf32>)
      dimensions = [0] (%a: f32, %b: f32) {
    %c = arith.addf %a, %b : f32
    linalg.yield %c : f32
  }
  %b = linalg.broadcast ins(%s : tensor<4xf32>) outs(%y : tensor<?x4xf32>)
      dimensions = [0]
  return %b : tensor<?x4xf32>
}
//--- empty.mlir
module {
}
