// RUN: moe-opt %s -moe-retarget-to-host | FileCheck %s

gpu.module @cut {
  // CHECK-LABEL: llvm.func internal @barriers
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[ID:.*]]: i32, %[[N:.*]]: i32, %[[P:.*]]: !llvm.ptr)
  llvm.func @barriers(%id: i32, %n: i32, %p: !llvm.ptr<3>) {
    // CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0 : i32)
    // CHECK: %[[ALL:.*]] = llvm.mlir.constant(0 : i32)
    // CHECK: llvm.call @moe_emu_barrier_sync(%[[T]], %[[ZERO]], %[[ALL]],
    nvvm.barrier0
    // CHECK: llvm.call @moe_emu_barrier_sync(%[[T]], %[[ID]], %[[N]],
    nvvm.barrier id = %id number_of_threads = %n
    // CHECK: llvm.call @moe_emu_barrier_arrive(%[[T]], %[[ID]], %[[N]],
    nvvm.barrier.arrive id = %id number_of_threads = %n
    // CHECK: %[[OR:.*]] = llvm.mlir.constant(2 : i32)
    // CHECK: llvm.call @moe_emu_barrier_reduce(%[[T]], %{{.*}}, %{{.*}}, %[[OR]], %[[N]],
    %0 = nvvm.barrier #nvvm.reduction<or> %n -> i32
    // CHECK: llvm.call @moe_emu_cluster_arrive(%[[T]],
    nvvm.cluster.arrive {aligned}
    // CHECK: llvm.call @moe_emu_cluster_wait(%[[T]],
    nvvm.cluster.wait {aligned}
    // CHECK: llvm.call @moe_emu_mapa(%[[T]], %[[P]], %[[ID]],
    %1 = nvvm.mapa %p, %id : !llvm.ptr<3> -> !llvm.ptr<7>
    // CHECK: llvm.call @moe_emu_mbarrier_arrive(%[[T]],
    nvvm.mbarrier.arrive %1 : !llvm.ptr<7>
    llvm.return
  }

  // CHECK-LABEL: llvm.func internal @fences
  // CHECK-COUNT-3: llvm.call @moe_emu_fence(
  // CHECK-COUNT-2: llvm.call @moe_emu_fence_proxy_async(
  // CHECK: llvm.call @moe_emu_yield(
  // CHECK-NEXT: llvm.return
  llvm.func @fences(%map: !llvm.ptr) {
    %ns = llvm.mlir.constant(100 : i32) : i32
    nvvm.memory.barrier #nvvm.mem_scope<gpu>
    nvvm.fence.sc.cluster
    llvm.fence syncscope("device") acq_rel
    nvvm.fence.proxy {kind = #nvvm.proxy_kind<async>}
    nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
    nvvm.fence.mbarrier.init
    nvvm.setmaxregister increase 232
    nvvm.prefetch tensormap, %map : !llvm.ptr
    nvvm.griddepcontrol wait
    nvvm.nanosleep %ns
    llvm.return
  }
}
