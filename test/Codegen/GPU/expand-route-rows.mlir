// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   --canonicalize --cse | FileCheck %s

module attributes {moe.targets = ["sm_80"]} {
  // CHECK-DAG: llvm.mlir.global internal @[[TICKET:.*]](0 : i32) {addr_space = 1 : i32

  // All blocks choose. Then one thread of each publishes what its block wrote,
  // draws a ticket that wraps around at the number of blocks, and the block
  // with the last one builds the lists.
  // CHECK-LABEL: func.func @route
  // CHECK: llvm.mlir.addressof @[[TICKET]]
  // CHECK: nvvm.redux.sync max
  // CHECK: nvvm.barrier
  // CHECK: scf.if
  // CHECK: llvm.fence syncscope("device") acq_rel
  // CHECK: %[[DRAWN:.*]] = llvm.atomicrmw uinc_wrap %{{.*}}, %[[LAST:.*]] syncscope("device") monotonic
  // CHECK: llvm.fence syncscope("device") acq_rel
  // CHECK: arith.cmpi eq, %[[DRAWN]], %[[LAST]]
  // CHECK: nvvm.barrier
  // CHECK: scf.if
  // CHECK: nvvm.match.sync any
  plan.kernel @route(%l: memref<?xf32>, %i: memref<?xi32>, %w: memref<?xf32>,
                     %eo: memref<?xi32>, %rt: memref<?xi32>,
                     %rw: memref<?xf32>, %to: memref<?xi32>,
                     %tr: memref<?xi32>, %wl: memref<?xi32>, %n: index)
      on cuda {
    moe.kernel.route_rows ins(%l : memref<?xf32>)
        outs(%i, %w, %eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xf32>,
             memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>,
             memref<?xi32>) tokens(%n) worklist(%wl : memref<?xi32>)
        {experts = 64 : i64, policy = #moe.policy<top_k = 8>,
         tile_rows = 64 : i64}
  }
}
