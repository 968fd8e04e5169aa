// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   --canonicalize --cse | FileCheck %s

module attributes {moe.targets = ["sm_80"]} {
  // One block of 16 warps counts in shared memory, 16 + 2 words per expert and
  // one for each warp.
  // CHECK-LABEL: func.func @group
  // CHECK-SAME: threads = 512
  // CHECK-SAME: moe.scratch_bytes = 0 : i64, moe.shared_bytes = 640 : i64
  // CHECK: %[[FIRST:.*]] = arith.cmpi eq, %{{.*}}, %c0_i32 : i32
  // CHECK: scf.if %[[FIRST]]
  // CHECK: nvvm.barrier
  // Counts: one lane for each expert among 32 pairs.
  // CHECK: scf.for
  // CHECK: %[[SAME:.*]] = nvvm.match.sync any
  // CHECK: math.cttz %[[SAME]]
  // CHECK: math.ctpop %[[SAME]]
  // Pairs that there are.
  // CHECK: nvvm.vote.sync ballot
  // CHECK: nvvm.bar.warp.sync
  // CHECK: nvvm.barrier
  // CHECK: nvvm.barrier
  // CHECK: nvvm.shfl.sync up
  // CHECK: nvvm.barrier
  // CHECK: nvvm.barrier
  // Places: the rank among the lanes below.
  // CHECK: %[[SAME:.*]] = nvvm.match.sync any
  // CHECK: %[[NEXT:.*]] = nvvm.shfl.sync idx
  // CHECK: %[[BELOW:.*]] = arith.andi %[[SAME]]
  // CHECK: %[[RANK:.*]] = math.ctpop %[[BELOW]]
  // CHECK: arith.addi %[[NEXT]], %[[RANK]]
  // CHECK: nvvm.vote.sync ballot
  // No atomics: what is written does not depend on timing.
  // CHECK-NOT: llvm.atomicrmw
  // CHECK: return
  plan.kernel @group(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<?xi32>,
                     %rt: memref<?xi32>, %rw: memref<?xf32>,
                     %to: memref<?xi32>, %tr: memref<?xi32>,
                     %wl: memref<?xi32>, %n: index) on cuda {
    moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)
        outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
             memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
        worklist(%wl : memref<?xi32>)
        {experts = 8 : i64, per_token = 2 : i64, tile_rows = 64 : i64}
  }

  // Given ids are looked at by all threads before anything is written; one
  // thread reports.
  // CHECK-LABEL: func.func @given
  // CHECK: nvvm.vote.sync ballot
  // CHECK: nvvm.barrier
  // CHECK: %[[BAD:.*]] = arith.cmpi ne
  // CHECK: scf.if %[[BAD]]
  // CHECK: llvm.atomicrmw max %{{.*}}, %c1_i32 syncscope("device") monotonic
  // CHECK: } else {
  // CHECK: nvvm.match.sync any
  plan.kernel @given(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<?xi32>,
                     %rt: memref<?xi32>, %rw: memref<?xf32>,
                     %to: memref<?xi32>, %tr: memref<?xi32>, %n: index)
      on cuda {
    moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)
        outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
             memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
        {experts = 8 : i64, per_token = 2 : i64, given}
  }

  // So many experts are counted in global memory.
  // CHECK-LABEL: func.func @many
  // CHECK-SAME: moe.scratch_bytes = 144128 : i64, moe.shared_bytes = 64 : i64
  plan.kernel @many(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<?xi32>,
                    %rt: memref<?xi32>, %rw: memref<?xf32>,
                    %to: memref<?xi32>, %tr: memref<?xi32>, %n: index)
      on cuda {
    moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)
        outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
             memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
        {experts = 2000 : i64, per_token = 2 : i64}
  }
}
