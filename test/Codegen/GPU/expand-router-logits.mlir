// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   --canonicalize --cse | FileCheck %s
// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   | FileCheck %s --check-prefix=FAST

// FAST-NOT: fastmath<{{[^n]}}

// Few tokens: half a warp per logit, sixteen steps of loads before the first
// product, which are added in order.
module attributes {moe.targets = ["sm_80"]} {
  // CHECK-LABEL: func.func @logits
  // CHECK: scf.if
  // CHECK: } else {
  // CHECK: scf.for
  // CHECK: %[[SUM:.*]] = scf.for {{.*}} iter_args(%[[LANE:.*]] = %{{.*}}) -> (f32)
  // CHECK-COUNT-32: llvm.load {{.*}} -> bf16
  // CHECK-NOT: llvm.load
  // CHECK: %[[FIRST:.*]] = math.fma %{{.*}}, %{{.*}}, %[[LANE]] : f32
  // CHECK: %[[SECOND:.*]] = math.fma %{{.*}}, %{{.*}}, %[[FIRST]] : f32
  // CHECK-COUNT-14: math.fma
  // CHECK-NOT: math.fma
  // CHECK: scf.yield
  // The five elements behind the last sixteen: only five lanes have one.
  // CHECK: %[[HAS:.*]] = arith.cmpi ult, %{{.*}}, %c5_i32 : i32
  // CHECK: scf.if %[[HAS]]
  // CHECK: %[[TAIL:.*]] = math.fma %{{.*}}, %{{.*}}, %[[SUM]] : f32
  // CHECK: %[[ALL:.*]] = arith.select %[[HAS]], %[[TAIL]], %[[SUM]] : f32
  // Halves, in the order of the specification.
  // CHECK: %[[X8:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[ALL]], %c8_i32
  // CHECK: %[[H8:.*]] = arith.addf %[[ALL]], %[[X8]] : f32
  // CHECK: %[[X4:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[H8]], %c4_i32
  // CHECK: %[[H4:.*]] = arith.addf %[[H8]], %[[X4]] : f32
  // CHECK: %[[X2:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[H4]], %c2_i32
  // CHECK: %[[H2:.*]] = arith.addf %[[H4]], %[[X2]] : f32
  // CHECK: %[[X1:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[H2]], %c1_i32
  // CHECK: %[[H1:.*]] = arith.addf %[[H2]], %[[X1]] : f32
  // Bias, then rounding.
  // CHECK: %[[BIAS:.*]] = llvm.load {{.*}} -> f32
  // CHECK: %[[LOGIT:.*]] = arith.addf %[[H1]], %[[BIAS]] : f32
  // CHECK: arith.truncf %[[LOGIT]] : f32 to bf16
  plan.kernel @logits(%x: memref<?xbf16>, %w: memref<?xbf16>,
                      %b: memref<?xf32>, %o: memref<?xf32>, %n: index)
      on cuda {
    moe.kernel.router_logits
        ins(%x, %w, %b : memref<?xbf16>, memref<?xbf16>, memref<?xf32>)
        outs(%o : memref<?xf32>) tokens(%n)
        {experts = 64 : i64, hidden = 517 : i64, round = bf16}
  }

  // Less than sixteen elements: no loop over them.
  // CHECK-LABEL: func.func @short
  // CHECK-NOT: iter_args
  // CHECK: return
  plan.kernel @short(%x: memref<?xf32>, %w: memref<?xf32>, %o: memref<?xf32>,
                     %n: index) on cuda {
    moe.kernel.router_logits ins(%x, %w : memref<?xf32>, memref<?xf32>)
        outs(%o : memref<?xf32>) tokens(%n)
        {experts = 2 : i64, hidden = 15 : i64}
  }
}
