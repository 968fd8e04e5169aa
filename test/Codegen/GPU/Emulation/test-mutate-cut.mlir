// RUN: moe-opt %s -test-mutate-cut="bug=missing-barrier" 2>&1 | FileCheck %s --check-prefix=BARRIER
// RUN: moe-opt %s -test-mutate-cut="bug=missing-wait" 2>&1 | FileCheck %s --check-prefix=WAIT
// RUN: moe-opt %s -test-mutate-cut="bug=early-stage-release" 2>&1 | FileCheck %s --check-prefix=EARLY
// RUN: moe-opt %s -test-mutate-cut="bug=early-stage-release nth=1" 2>&1 | FileCheck %s --check-prefix=WGMMA
// RUN: moe-opt %s -test-mutate-cut="bug=out-of-bounds nth=1" 2>&1 | FileCheck %s --check-prefix=BOUNDS
// RUN: moe-opt %s -test-mutate-cut="bug=uninitialised-read nth=1" 2>&1 | FileCheck %s --check-prefix=UNINIT
// RUN: moe-opt %s -test-mutate-cut="bug=divergent-collective nth=1" 2>&1 | FileCheck %s --check-prefix=DIVERGE
// RUN: moe-opt %s -test-mutate-cut="bug=misaligned-ldmatrix" 2>&1 | FileCheck %s --check-prefix=ALIGN
// RUN: moe-opt %s -test-mutate-cut="bug=wrong-tx-count" 2>&1 | FileCheck %s --check-prefix=TX
// RUN: moe-opt %s -test-mutate-cut="bug=missing-proxy-fence" 2>&1 | FileCheck %s --check-prefix=FENCE
// RUN: moe-opt %s -test-mutate-cut="bug=missing-mbarrier-wait" 2>&1 | FileCheck %s --check-prefix=MBARRIER

gpu.module @cut {
  llvm.func @kernel(%s: !llvm.ptr<3>, %g: !llvm.ptr<1>, %x: i32) attributes {nvvm.kernel} {
    nvvm.cp.async.shared.global %s, %g, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
    nvvm.cp.async.commit.group
    nvvm.cp.async.wait.group 1
    nvvm.barrier0
    %0 = nvvm.shfl.sync up %x, %x, %x, %x : i32 -> i32
    %1 = nvvm.ldmatrix %s {num = 1 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> i32
    llvm.store %0, %s : i32, !llvm.ptr<3>
    llvm.store %1, %g : i32, !llvm.ptr<1>
    nvvm.mbarrier.arrive.expect_tx %s, %x : !llvm.ptr<3>, i32
    nvvm.mbarrier.try_wait.parity %s, %x, %x : !llvm.ptr<3>, i32, i32
    nvvm.fence.proxy {kind = #nvvm.proxy_kind<async>}
    nvvm.wgmma.wait.group.sync.aligned 0
    llvm.return
  }
}

// BARRIER: remark: missing-barrier 0 of 1: 'nvvm.barrier0' dropped
// BARRIER: nvvm.cp.async.wait.group 1
// BARRIER-NEXT: nvvm.shfl.sync

// WAIT: remark: missing-wait 0 of 1: 'nvvm.cp.async.wait.group' dropped
// WAIT: nvvm.cp.async.commit.group
// WAIT-NEXT: nvvm.barrier0

// EARLY: remark: early-stage-release 0 of 2: 'nvvm.cp.async.wait.group' waits for one group less
// EARLY: nvvm.cp.async.wait.group 2
// EARLY: nvvm.wgmma.wait.group.sync.aligned 0

// WGMMA: remark: early-stage-release 1 of 2: 'nvvm.wgmma.wait.group.sync.aligned' waits for one group less
// WGMMA: nvvm.cp.async.wait.group 1
// WGMMA: nvvm.wgmma.wait.group.sync.aligned 1

// BOUNDS: remark: out-of-bounds 1 of 2: 'llvm.store' moved by 2^27 bytes
// BOUNDS: %[[MOVED:.*]] = llvm.getelementptr %{{.*}}[134217728] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
// BOUNDS-NEXT: llvm.store %{{.*}}, %[[MOVED]]

// UNINIT: remark: uninitialised-read 1 of 2: 'llvm.store' dropped
// UNINIT: nvvm.ldmatrix
// UNINIT-NEXT: llvm.store %{{.*}} !llvm.ptr<1>

// DIVERGE: remark: divergent-collective 1 of 3: 'nvvm.shfl.sync' left to lane 0
// DIVERGE: %[[LANE:.*]] = nvvm.read.ptx.sreg.laneid
// DIVERGE: %[[FIRST:.*]] = llvm.icmp "eq" %[[LANE]]
// DIVERGE: llvm.cond_br %[[FIRST]], ^[[THEN:.*]], ^[[AFTER:.*]](%{{.*}} : i32)
// DIVERGE: ^[[THEN]]:
// DIVERGE: %[[R:.*]] = nvvm.shfl.sync
// DIVERGE: llvm.br ^[[AFTER]](%[[R]] : i32)
// DIVERGE: ^[[AFTER]](%[[MERGED:.*]]: i32):
// DIVERGE: llvm.store %[[MERGED]]

// ALIGN: remark: misaligned-ldmatrix 0 of 1: 'nvvm.ldmatrix' moved by 2 bytes
// ALIGN: %[[MOVED:.*]] = llvm.getelementptr %{{.*}}[2]
// ALIGN: nvvm.ldmatrix %[[MOVED]]

// TX: remark: wrong-tx-count 0 of 1: 'nvvm.mbarrier.arrive.expect_tx' expects 16 bytes more
// TX: %[[MORE:.*]] = llvm.add
// TX: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %[[MORE]]

// FENCE: remark: missing-proxy-fence 0 of 1: 'nvvm.fence.proxy' dropped
// FENCE: nvvm.mbarrier.try_wait.parity
// FENCE-NEXT: nvvm.wgmma.wait

// MBARRIER: remark: missing-mbarrier-wait 0 of 1: 'nvvm.mbarrier.try_wait.parity' dropped
// MBARRIER: nvvm.mbarrier.arrive.expect_tx
// MBARRIER-NEXT: nvvm.fence.proxy
