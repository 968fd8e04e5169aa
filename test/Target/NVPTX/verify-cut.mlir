// What the check accepts, the back end compiles: it would abort otherwise.
// RUN: moe-opt %s -moe-verify-cut | FileCheck %s --check-prefix=SAME
// RUN: rm -rf %t
// RUN: moe-opt %s -moe-verify-cut -moe-serialize-gpu="ptxas=none save-temps=%t" -o /dev/null
// RUN: FileCheck %s --check-prefix=AMPERE --input-file=%t/sm_80.ptx
// RUN: FileCheck %s --check-prefix=HOPPER --input-file=%t/sm_90a.ptx

// SAME: gpu.module @sm_80
// SAME: gpu.module @sm_90a

#ampere = #moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "f32">
#hopper = #moe.gpu<arch = "sm_90a", threads = 128, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "f32">
!four = !llvm.struct<(f32, f32, f32, f32)>
!two = !llvm.struct<(i32, i32)>

gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  llvm.mlir.global internal @ticket(0 : i32) {addr_space = 1 : i32} : i32

  llvm.func @twice(%x: f32) -> f32 {
    %y = llvm.fadd %x, %x : f32
    llvm.return %y : f32
  }

  // AMPERE-LABEL: .visible .entry copies(
  // AMPERE: cp.async.cg.shared.global
  // AMPERE: cp.async.commit_group
  // AMPERE: mbarrier.init.shared.b64
  // AMPERE: cp.async.mbarrier.arrive.noinc.shared.b64
  // AMPERE: mbarrier.arrive.shared.b64
  // AMPERE: mbarrier.test_wait.shared.b64
  // AMPERE: cp.async.wait_group 1
  // AMPERE: bar.sync 0
  llvm.func @copies(%x: !llvm.ptr<1>, %n: i32, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 128>, moe.kernel = "copies",
                  moe.shared_bytes = 1024 : i64, moe.scratch_bytes = 0 : i64, moe.config = #ampere} {
    %shared = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %bar = llvm.getelementptr %shared[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    nvvm.cp.async.shared.global %shared, %x, 16, cache = cg, %n : !llvm.ptr<3>, !llvm.ptr<1>, i32
    nvvm.cp.async.commit.group
    nvvm.mbarrier.init %bar, %n : !llvm.ptr<3>, i32
    nvvm.cp.async.mbarrier.arrive %bar {noinc = true} : !llvm.ptr<3>
    %state = nvvm.mbarrier.arrive %bar : !llvm.ptr<3> -> i64
    %done = nvvm.mbarrier.test.wait %bar, %state : !llvm.ptr<3>, i64 -> i1
    %flag = llvm.zext %done : i1 to i32
    nvvm.cp.async.wait.group 1
    nvvm.barrier0
    %old = llvm.atomicrmw max %status, %flag syncscope("device") monotonic : !llvm.ptr<1>, i32
    %ticket = llvm.mlir.addressof @ticket : !llvm.ptr<1>
    %one = llvm.mlir.constant(1 : i32) : i32
    %mine = llvm.atomicrmw add %ticket, %one syncscope("device") acq_rel : !llvm.ptr<1>, i32
    llvm.return
  }

  // AMPERE-LABEL: .visible .entry tensorcores(
  // AMPERE: ldmatrix.sync.aligned.m8n8.x2.shared.b16
  // AMPERE: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
  // AMPERE: shfl.sync.bfly.b32
  // AMPERE: cvt.rn.bf16x2.f32
  llvm.func @tensorcores(%x: !llvm.ptr<1>, %a: i32, %c: f32, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 128>, moe.kernel = "tensorcores",
                  moe.shared_bytes = 1024 : i64, moe.scratch_bytes = 0 : i64, moe.config = #ampere} {
    %shared = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %bs = nvvm.ldmatrix %shared {num = 2 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !two
    %b0 = llvm.extractvalue %bs[0] : !two
    %b1 = llvm.extractvalue %bs[1] : !two
    %d = nvvm.mma.sync A[%a, %a, %a, %a] B[%b0, %b1] C[%c, %c, %c, %c]
        {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
         multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
         shape = #nvvm.shape<m = 16, n = 8, k = 16>}
        : (i32, i32, f32) -> !four
    %d0 = llvm.extractvalue %d[0] : !four
    %mask = llvm.mlir.constant(-1 : i32) : i32
    %lane = llvm.mlir.constant(4 : i32) : i32
    %clamp = llvm.mlir.constant(31 : i32) : i32
    %other = nvvm.shfl.sync bfly %mask, %d0, %lane, %clamp : f32 -> f32
    %sum = llvm.call @twice(%other) : (f32) -> f32
    %pair = nvvm.convert.f32x2.to.bf16x2 %sum, %d0 {rnd = #nvvm.fp_rnd_mode<rn>} : vector<2xbf16>
    llvm.store %pair, %x : vector<2xbf16>, !llvm.ptr<1>
    llvm.return
  }
}

gpu.module @sm_90a attributes {moe.arch = "sm_90a"} {
  // HOPPER-LABEL: .visible .entry bulk(
  // HOPPER: mbarrier.arrive.expect_tx
  // HOPPER: cp.async.bulk.tensor.2d.shared::cluster.global
  // HOPPER: mbarrier.try_wait.parity
  // HOPPER: fence.proxy.async
  // HOPPER: wgmma.fence.sync.aligned
  // HOPPER: wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16
  // HOPPER: wgmma.commit_group.sync.aligned
  // HOPPER: wgmma.wait_group.sync.aligned 0
  // HOPPER: setmaxnreg.dec.sync.aligned.u32 40
  llvm.func @bulk(%map: !llvm.ptr {llvm.byval = !llvm.array<16 x i64>, llvm.align = 64 : i64, nvvm.grid_constant},
                  %out: !llvm.ptr<1>, %status: !llvm.ptr<1>, %scratch: !llvm.ptr<1>)
      attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 128>, moe.kernel = "bulk",
                  moe.shared_bytes = 1024 : i64, moe.scratch_bytes = 0 : i64, moe.config = #hopper} {
    %shared = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %cluster = llvm.addrspacecast %shared : !llvm.ptr<3> to !llvm.ptr<7>
    %bar = llvm.getelementptr %shared[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %zero = llvm.mlir.constant(0 : i32) : i32
    %bytes = llvm.mlir.constant(128 : i32) : i32
    nvvm.mbarrier.arrive.expect_tx %bar, %bytes : !llvm.ptr<3>, i32
    nvvm.cp.async.bulk.tensor.shared.cluster.global %cluster, %map, %bar, box[%zero, %zero] : !llvm.ptr<7>, !llvm.ptr
    nvvm.mbarrier.try_wait.parity %bar, %zero, %bytes : !llvm.ptr<3>, i32, i32
    nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
    %descriptor = llvm.mlir.constant(0 : i64) : i64
    %poison = llvm.mlir.poison : !four
    nvvm.wgmma.fence.aligned
    %acc = nvvm.wgmma.mma_async %descriptor, %descriptor, %poison, #nvvm.shape<m = 64, n = 8, k = 16>, D[<f32>, <zero>], A[<bf16>, <one>, <row>], B[<bf16>, <one>, <col>] : !four -> !four
    nvvm.wgmma.commit.group.sync.aligned
    nvvm.wgmma.wait.group.sync.aligned 0
    %v = llvm.extractvalue %acc[0] : !four
    llvm.store %v, %out : f32, !llvm.ptr<1>
    nvvm.setmaxregister decrease 40
    llvm.return
  }
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
}
