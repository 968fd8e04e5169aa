// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels \
// RUN:   --split-input-file | FileCheck %s
// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels \
// RUN:   --split-input-file | FileCheck %s --check-prefix=FAST

// Reassociation would change the documented sums.
// FAST-NOT: fastmath

// A logit is a vector of sixteen lanes; the lanes behind the last of 40
// channels keep what they have.
module attributes {moe.targets = ["x86-64-v3"]} {
  // CHECK-LABEL: func.func private @logits.avx2
  // CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
  // CHECK-COUNT-4: math.fma {{.*}} : vector<16xf32>
  // CHECK: vector.maskedload
  // CHECK: %[[SUM:.*]] = math.fma {{.*}}, {{.*}}, %[[LANE:.*]] : vector<16xf32>
  // CHECK: arith.select %{{.*}}, %[[SUM]], %[[LANE]] : vector<16xi1>, vector<16xf32>
  // CHECK: vector<8xf32>
  // CHECK: vector<4xf32>
  // CHECK: vector<2xf32>
  // CHECK: vector<1xf32>
  // CHECK: %[[LOGIT:.*]] = arith.addf {{.*}} : f32
  // CHECK: %[[ROUND:.*]] = arith.truncf %[[LOGIT]] : f32 to bf16
  // CHECK: %[[WIDE:.*]] = arith.extf %[[ROUND]] : bf16 to f32
  // CHECK: memref.store %[[WIDE]]
  plan.kernel @logits(%x: memref<?xbf16>, %w: memref<?xbf16>,
                      %b: memref<?xf32>, %o: memref<?xf32>, %n: index) {
    moe.kernel.router_logits
        ins(%x, %w, %b : memref<?xbf16>, memref<?xbf16>, memref<?xf32>)
        outs(%o : memref<?xf32>) tokens(%n)
        {experts = 6 : i64, hidden = 40 : i64, round = bf16}
  }
}

// -----

// Sixteen sums at once where there are 32 registers.
module attributes {moe.targets = ["x86-64-v4"]} {
  // CHECK-LABEL: func.func private @wide.avx512
  // CHECK-COUNT-16: math.fma {{.*}} : vector<16xf32>
  // CHECK-NOT: vector.maskedload
  plan.kernel @wide(%x: memref<?xf32>, %w: memref<?xf32>, %o: memref<?xf32>,
                    %n: index) {
    moe.kernel.router_logits ins(%x, %w : memref<?xf32>, memref<?xf32>)
        outs(%o : memref<?xf32>) tokens(%n)
        {experts = 8 : i64, hidden = 64 : i64}
  }
}
