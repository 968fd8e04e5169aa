// RUN: moe-opt %s -moe-retarget-to-host | FileCheck %s

gpu.module @cut {
  // CHECK-LABEL: llvm.func internal @cp_async
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[S:.*]]: !llvm.ptr, %[[G:.*]]: !llvm.ptr, %[[N:.*]]: i32)
  llvm.func @cp_async(%s: !llvm.ptr<3>, %g: !llvm.ptr<1>, %n: i32) {
    // CHECK: %[[SIZE:.*]] = llvm.mlir.constant(16 : i32)
    // CHECK: llvm.call @moe_emu_cp_async(%[[T]], %[[S]], %[[G]], %[[SIZE]], %[[N]],
    nvvm.cp.async.shared.global %s, %g, 16, cache = cg, %n : !llvm.ptr<3>, !llvm.ptr<1>, i32
    // CHECK: %[[SIZE:.*]] = llvm.mlir.constant(4 : i32)
    // CHECK: %[[FULL:.*]] = llvm.mlir.constant(4 : i32)
    // CHECK: llvm.call @moe_emu_cp_async(%[[T]], %[[S]], %[[G]], %[[SIZE]], %[[FULL]],
    nvvm.cp.async.shared.global %s, %g, 4, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
    // CHECK: llvm.call @moe_emu_cp_async_commit(%[[T]],
    nvvm.cp.async.commit.group
    // CHECK: %[[TWO:.*]] = llvm.mlir.constant(2 : i32)
    // CHECK: llvm.call @moe_emu_cp_async_wait_group(%[[T]], %[[TWO]],
    nvvm.cp.async.wait.group 2
    // CHECK: %[[NOINC:.*]] = llvm.mlir.constant(1 : i32)
    // CHECK: llvm.call @moe_emu_cp_async_mbarrier_arrive(%[[T]], %[[S]], %[[NOINC]],
    nvvm.cp.async.mbarrier.arrive %s {noinc = true} : !llvm.ptr<3>
    llvm.return
  }

  // CHECK-LABEL: llvm.func internal @mbarrier
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[S:.*]]: !llvm.ptr, %[[N:.*]]: i32, %[[P:.*]]: i1, %[[STATE:.*]]: i64)
  llvm.func @mbarrier(%s: !llvm.ptr<3>, %n: i32, %p: i1, %state: i64) {
    // CHECK: llvm.call @moe_emu_mbarrier_init(%[[T]], %[[S]], %[[N]],
    nvvm.mbarrier.init %s, %n : !llvm.ptr<3>, i32
    // A predicate is a branch.
    // CHECK: llvm.cond_br %[[P]], ^[[THEN:.*]], ^[[AFTER:.*]]
    // CHECK: ^[[THEN]]:
    // CHECK: llvm.call @moe_emu_mbarrier_init(
    // CHECK: llvm.br ^[[AFTER]]
    // CHECK: ^[[AFTER]]:
    nvvm.mbarrier.init %s, %n, predicate = %p : !llvm.ptr<3>, i32, i1
    // CHECK: llvm.call @moe_emu_mbarrier_arrive(%[[T]], %[[S]], %[[N]],
    %0 = nvvm.mbarrier.arrive %s, %n : !llvm.ptr<3> -> i64
    // CHECK: llvm.call @moe_emu_mbarrier_expect_tx(%[[T]], %[[S]], %[[N]],
    nvvm.mbarrier.expect_tx %s, %n : !llvm.ptr<3>, i32
    // CHECK: llvm.cond_br %[[P]]
    // CHECK: llvm.call @moe_emu_mbarrier_arrive_expect_tx(%[[T]], %[[S]], %[[N]],
    nvvm.mbarrier.arrive.expect_tx %s, %n, predicate = %p : !llvm.ptr<3>, i32, i1
    // CHECK: llvm.call @moe_emu_mbarrier_try_wait_parity(%[[T]], %[[S]], %[[N]],
    nvvm.mbarrier.try_wait.parity %s, %n, %n : !llvm.ptr<3>, i32, i32
    // CHECK: llvm.call @moe_emu_mbarrier_try_wait(%[[T]], %[[S]], %[[STATE]],
    %1 = nvvm.mbarrier.try_wait %s, %state : !llvm.ptr<3>, i64 -> i1
    // CHECK: llvm.call @moe_emu_mbarrier_test_wait_parity(%[[T]], %[[S]], %[[N]],
    %2 = nvvm.mbarrier.test.wait %s, %n : !llvm.ptr<3>, i32 -> i1
    // CHECK: llvm.call @moe_emu_mbarrier_inval(%[[T]], %[[S]],
    nvvm.mbarrier.inval %s : !llvm.ptr<3>
    llvm.return
  }
}
