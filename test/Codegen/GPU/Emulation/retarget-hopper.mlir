// RUN: moe-opt %s -moe-retarget-to-host | FileCheck %s

!acc = !llvm.struct<(f32, f32, f32, f32)>

gpu.module @cut {
  // CHECK-LABEL: llvm.func internal @tma
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[MAP:.*]]: !llvm.ptr, %[[S:.*]]: !llvm.ptr, %[[C:.*]]: !llvm.ptr, %[[BAR:.*]]: !llvm.ptr, %[[G:.*]]: !llvm.ptr, %[[X:.*]]: i32, %[[M:.*]]: i16, %[[P:.*]]: i1)
  llvm.func @tma(%map: !llvm.ptr, %s: !llvm.ptr<3>, %c: !llvm.ptr<7>, %bar: !llvm.ptr<3>, %g: !llvm.ptr<1>, %x: i32, %m: i16, %p: i1) {
    // CHECK: llvm.store %[[X]], %[[BOX:.*]] :
    // CHECK: %[[NEXT:.*]] = llvm.getelementptr %[[BOX]][4]
    // CHECK: llvm.store %[[X]], %[[NEXT]]
    // CHECK: %[[MASK:.*]] = llvm.zext %[[M]] : i16 to i32
    // CHECK: llvm.call @moe_emu_tma_load(%[[T]], %[[C]], %[[MAP]], %[[BAR]], %{{.*}}, %[[BOX]], %[[MASK]],
    nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %map, %bar, box[%x, %x] multicast_mask = %m : !llvm.ptr<7>, !llvm.ptr
    // CHECK: llvm.cond_br %[[P]]
    // CHECK: %[[ONE:.*]] = llvm.mlir.constant(1 : i32)
    // CHECK: %[[HERE:.*]] = llvm.mlir.constant(0 : i32)
    // CHECK: llvm.call @moe_emu_tma_load(%[[T]], %[[C]], %[[MAP]], %[[BAR]], %[[ONE]], %{{.*}}, %[[HERE]],
    nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %map, %bar, box[%x] predicate = %p : !llvm.ptr<7>, !llvm.ptr
    // CHECK: llvm.call @moe_emu_tma_store(%[[T]], %[[MAP]], %[[S]],
    nvvm.cp.async.bulk.tensor.global.shared.cta %map, %s, box[%x, %x] : !llvm.ptr, !llvm.ptr<3>
    // CHECK: %[[F32:.*]] = llvm.mlir.constant(2 : i32)
    // CHECK: llvm.call @moe_emu_tma_reduce_add(%[[T]], %[[MAP]], %[[S]], %{{.*}}, %{{.*}}, %[[F32]],
    nvvm.cp.async.bulk.tensor.reduce %map, %s, box[%x] {redKind = #nvvm.tma_redux_kind<add>, moe.element_type = f32} : !llvm.ptr, !llvm.ptr<3>
    // CHECK: llvm.call @moe_emu_bulk_load(%[[T]], %[[C]], %[[G]], %[[X]], %[[BAR]],
    nvvm.cp.async.bulk.shared.cluster.global %c, %g, %bar, %x : !llvm.ptr<7>, !llvm.ptr<1>
    // CHECK: llvm.call @moe_emu_bulk_store(%[[T]], %[[G]], %[[S]], %[[X]],
    nvvm.cp.async.bulk.global.shared.cta %g, %s, %x : !llvm.ptr<1>, !llvm.ptr<3>
    // CHECK: llvm.call @moe_emu_bulk_commit(%[[T]],
    nvvm.cp.async.bulk.commit.group
    // CHECK: %[[PENDING:.*]] = llvm.mlir.constant(1 : i32)
    // CHECK: %[[READ:.*]] = llvm.mlir.constant(1 : i32)
    // CHECK: llvm.call @moe_emu_bulk_wait(%[[T]], %[[PENDING]], %[[READ]],
    nvvm.cp.async.bulk.wait_group 1 {read}
    llvm.return
  }

  // CHECK-LABEL: llvm.func internal @wgmma
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[A:.*]]: i64, %[[B:.*]]: i64, %[[ACC:.*]]: !llvm.struct
  llvm.func @wgmma(%a: i64, %b: i64, %acc: !acc) -> !acc {
    // CHECK: llvm.call @moe_emu_wgmma_fence(%[[T]],
    nvvm.wgmma.fence.aligned
    // CHECK: llvm.store %[[ACC]], %[[IN:.*]] {alignment = 4 : i64}
    // CHECK: %[[N:.*]] = llvm.mlir.constant(8 : i32)
    // B is MN-major, A is negated.
    // CHECK: %[[FLAGS:.*]] = llvm.mlir.constant(10 : i32)
    // CHECK: llvm.call @moe_emu_wgmma(%[[T]], %{{.*}}, %[[N]], %[[FLAGS]], %[[A]], %{{.*}}, %[[B]], %[[IN]], %[[OUT:.*]], %{{.*}})
    // CHECK: llvm.load %[[OUT]]
    %0 = nvvm.wgmma.mma_async %a, %b, %acc, #nvvm.shape<m = 64, n = 8, k = 16>, D[<f32>, <one>], A[<bf16>, <neg>, <row>], B[<bf16>, <one>, <row>] : !acc -> !acc
    // CHECK: llvm.call @moe_emu_wgmma_commit(%[[T]],
    nvvm.wgmma.commit.group.sync.aligned
    // CHECK: llvm.call @moe_emu_wgmma_wait(%[[T]],
    nvvm.wgmma.wait.group.sync.aligned 0
    llvm.return %0 : !acc
  }
}
