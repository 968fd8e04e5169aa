// Single operations of Hopper, each with a kernel of its own.

gpu.module @hopper_ops attributes {moe.arch = "sm_90a"} {
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

  // 64 threads: 256 bytes by bulk copy, doubled, and back. The mbarrier lies
  // behind the buffer.
  llvm.func @bulk(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 64, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %bytes = llvm.mlir.constant(256 : i32) : i32
    %ticks = llvm.mlir.constant(10000000 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %buffer = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %barrier = llvm.getelementptr %buffer[256] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %first = llvm.icmp "eq" %tid, %c0 : i32
    llvm.cond_br %first, ^init, ^ready
  ^init:
    nvvm.mbarrier.init %barrier, %c1 : !llvm.ptr<3>, i32
    nvvm.fence.mbarrier.init
    llvm.br ^ready
  ^ready:
    nvvm.barrier0
    llvm.cond_br %first, ^load, ^wait
  ^load:
    nvvm.mbarrier.arrive.expect_tx %barrier, %bytes : !llvm.ptr<3>, i32
    %cluster = llvm.addrspacecast %buffer : !llvm.ptr<3> to !llvm.ptr<7>
    nvvm.cp.async.bulk.shared.cluster.global %cluster, %in, %barrier, %bytes : !llvm.ptr<7>, !llvm.ptr<1>
    llvm.br ^wait
  ^wait:
    nvvm.mbarrier.try_wait.parity %barrier, %c0, %ticks : !llvm.ptr<3>, i32, i32
    %slot = llvm.getelementptr %buffer[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    %x = llvm.load %slot : !llvm.ptr<3> -> i32
    %twice = llvm.add %x, %x : i32
    llvm.store %twice, %slot : i32, !llvm.ptr<3>
    nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
    nvvm.barrier0
    llvm.cond_br %first, ^store, ^end
  ^store:
    nvvm.cp.async.bulk.global.shared.cta %out, %buffer, %bytes : !llvm.ptr<1>, !llvm.ptr<3>
    nvvm.cp.async.bulk.commit.group
    nvvm.cp.async.bulk.wait_group 0
    nvvm.mbarrier.inval %barrier : !llvm.ptr<3>
    llvm.br ^end
  ^end:
    llvm.return
  }

  // 32 threads fill 4 rows of 8 floats; TMA stores them, and adds them to
  // another tensor.
  llvm.func @tma_store(%to: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}, %sums: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}, %x: i32, %y: i32) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 32, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %buffer = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %slot = llvm.getelementptr %buffer[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
    %value = llvm.sitofp %tid : i32 to f32
    llvm.store %value, %slot : f32, !llvm.ptr<3>
    nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
    nvvm.barrier0
    %first = llvm.icmp "eq" %tid, %c0 : i32
    llvm.cond_br %first, ^store, ^end
  ^store:
    nvvm.cp.async.bulk.tensor.global.shared.cta %to, %buffer, box[%x, %y] : !llvm.ptr, !llvm.ptr<3>
    nvvm.cp.async.bulk.tensor.reduce %sums, %buffer, box[%x, %y] {redKind = #nvvm.tma_redux_kind<add>, moe.element_type = f32} : !llvm.ptr, !llvm.ptr<3>
    nvvm.cp.async.bulk.commit.group
    nvvm.cp.async.bulk.wait_group 0
    llvm.br ^end
  ^end:
    llvm.return
  }

  // 32 threads copy a word each, and arrive when the copy is done; each reads
  // its neighbour's word. Then a phase by state: arrive, test, try.
  llvm.func @states(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 32, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c31 = llvm.mlir.constant(31 : i32) : i32
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %buffer = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %copied = llvm.getelementptr %buffer[128] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %read = llvm.getelementptr %buffer[136] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %first = llvm.icmp "eq" %tid, %c0 : i32
    nvvm.mbarrier.init %copied, %c32, predicate = %first : !llvm.ptr<3>, i32, i1
    nvvm.mbarrier.init %read, %c32, predicate = %first : !llvm.ptr<3>, i32, i1
    nvvm.barrier0
    %slot = llvm.getelementptr %buffer[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    %from = llvm.getelementptr %in[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    nvvm.cp.async.shared.global %slot, %from, 4, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
    nvvm.cp.async.mbarrier.arrive %copied {noinc = true} : !llvm.ptr<3>
    llvm.br ^poll
  ^poll:
    %done = nvvm.mbarrier.test.wait %copied, %c0 : !llvm.ptr<3>, i32 -> i1
    llvm.cond_br %done, ^take, ^poll
  ^take:
    %next = llvm.add %tid, %c1 : i32
    %other = llvm.and %next, %c31 : i32
    %otherSlot = llvm.getelementptr %buffer[%other] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    %x = llvm.load %otherSlot : !llvm.ptr<3> -> i32
    %state = nvvm.mbarrier.arrive %read : !llvm.ptr<3> -> i64
    llvm.br ^try
  ^try:
    %all = nvvm.mbarrier.try_wait %read, %state : !llvm.ptr<3>, i64 -> i1
    llvm.cond_br %all, ^reuse, ^try
  ^reuse:
    llvm.store %x, %slot : i32, !llvm.ptr<3>
    %y = llvm.load %slot : !llvm.ptr<3> -> i32
    %to = llvm.getelementptr %out[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %y, %to : i32, !llvm.ptr<1>
    llvm.return
  }

  // One warp stores two 8 by 8 matrices whose registers count up, plainly and
  // transposed; one lane writes how many words there are.
  llvm.func @fragments(%out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 32, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c15 = llvm.mlir.constant(15 : i32) : i32
    %c16 = llvm.mlir.constant(16 : i32) : i32
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %words = llvm.mlir.constant(128 : i32) : i32
    %all = llvm.mlir.constant(-1 : i32) : i32
    %lane = nvvm.read.ptx.sreg.laneid : i32
    // Elements of lane l: 2 l and 2 l + 1, then 64 more.
    %low = llvm.add %lane, %lane : i32
    %high = llvm.add %low, %c1 : i32
    %upper = llvm.shl %high, %c16 : i32
    %r0 = llvm.or %low, %upper : i32
    %more = llvm.mlir.constant(4194368 : i32) : i32
    %r1 = llvm.add %r0, %more : i32
    %buffer = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %row = llvm.and %lane, %c15 : i32
    %rowAt = llvm.mul %row, %c16 : i32
    %plain = llvm.getelementptr %buffer[%rowAt] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %turned = llvm.getelementptr %plain[256] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    nvvm.stmatrix %plain, %r0, %r1 {layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : !llvm.ptr<3>, i32, i32
    nvvm.stmatrix %turned, %r0, %r1 {layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : !llvm.ptr<3>, i32, i32
    nvvm.bar.warp.sync %all : i32
    llvm.br ^copy(%lane : i32)
  ^copy(%i: i32):
    %from = llvm.getelementptr %buffer[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    %word = llvm.load %from : !llvm.ptr<3> -> i32
    %to = llvm.getelementptr %out[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %word, %to : i32, !llvm.ptr<1>
    %next = llvm.add %i, %c32 : i32
    %left = llvm.icmp "ult" %next, %words : i32
    llvm.cond_br %left, ^copy(%next : i32), ^elect
  ^elect:
    %elected = nvvm.elect.sync -> i1
    llvm.cond_br %elected, ^count, ^end
  ^count:
    %last = llvm.getelementptr %out[128] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
    llvm.store %words, %last : i32, !llvm.ptr<1>
    llvm.br ^end
  ^end:
    llvm.return
  }

  // Clusters of four blocks of one warp: each reads what the next block of its
  // cluster wrote: 1000 cluster + 100 rank + lane.
  llvm.func @peers(%out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.cluster_dim = array<i32: 4, 1, 1>, nvvm.maxntid = array<i32: 32, 1, 1>} {
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %c100 = llvm.mlir.constant(100 : i32) : i32
    %c1000 = llvm.mlir.constant(1000 : i32) : i32
    %lane = nvvm.read.ptx.sreg.laneid : i32
    %cta = nvvm.read.ptx.sreg.ctaid.x : i32
    %cluster = nvvm.read.ptx.sreg.clusterid.x : i32
    %rank = nvvm.read.ptx.sreg.cluster.ctarank : i32
    %ranks = nvvm.read.ptx.sreg.cluster.nctarank : i32
    %buffer = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %slot = llvm.getelementptr %buffer[%lane] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    %thousands = llvm.mul %cluster, %c1000 : i32
    %hundreds = llvm.mul %rank, %c100 : i32
    %some = llvm.add %thousands, %hundreds : i32
    %value = llvm.add %some, %lane : i32
    llvm.store %value, %slot : i32, !llvm.ptr<3>
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %after = llvm.add %rank, %c1 : i32
    %peer = llvm.urem %after, %ranks : i32
    %there = nvvm.mapa %slot, %peer : !llvm.ptr<3> -> !llvm.ptr<7>
    %x = llvm.load %there : !llvm.ptr<7> -> i32
    nvvm.cluster.arrive {aligned}
    nvvm.cluster.wait {aligned}
    %row = llvm.mul %cta, %c32 : i32
    %at = llvm.add %row, %lane : i32
    %to = llvm.getelementptr %out[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %x, %to : i32, !llvm.ptr<1>
    llvm.return
  }

  // The first of 64 threads, chosen by predicates, not by branches, loads 8
  // rows of 8 words by TMA; expected bytes and arrival are apart. It waits by
  // state, the others by parity.
  llvm.func @predicated(%from: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 64, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %bytes = llvm.mlir.constant(256 : i32) : i32
    %ticks = llvm.mlir.constant(10000000 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %buffer = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %barrier = llvm.getelementptr %buffer[256] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %first = llvm.icmp "eq" %tid, %c0 : i32
    nvvm.mbarrier.init %barrier, %c1, predicate = %first : !llvm.ptr<3>, i32, i1
    nvvm.fence.mbarrier.init
    nvvm.barrier0
    %cluster = llvm.addrspacecast %buffer : !llvm.ptr<3> to !llvm.ptr<7>
    llvm.cond_br %first, ^expect, ^load
  ^expect:
    nvvm.mbarrier.expect_tx %barrier, %bytes : !llvm.ptr<3>, i32
    llvm.br ^load
  ^load:
    nvvm.cp.async.bulk.tensor.shared.cluster.global %cluster, %from, %barrier, box[%c0, %c0] predicate = %first : !llvm.ptr<7>, !llvm.ptr
    llvm.cond_br %first, ^arrive, ^wait
  ^arrive:
    %state = nvvm.mbarrier.arrive %barrier : !llvm.ptr<3> -> i64
    llvm.br ^poll
  ^poll:
    %done = nvvm.mbarrier.test.wait %barrier, %state : !llvm.ptr<3>, i64 -> i1
    llvm.cond_br %done, ^read, ^poll
  ^wait:
    nvvm.mbarrier.try_wait.parity %barrier, %c0, %ticks : !llvm.ptr<3>, i32, i32
    llvm.br ^read
  ^read:
    %slot = llvm.getelementptr %buffer[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    %x = llvm.load %slot : !llvm.ptr<3> -> i32
    %to = llvm.getelementptr %out[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %x, %to : i32, !llvm.ptr<1>
    llvm.return
  }
}
