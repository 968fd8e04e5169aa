// A warp-specialised GEMM for Hopper: C[m][n] = sum of A[m][k] B[n][k], bf16
// elements, f32 sums. Warpgroup 0 loads by TMA, warpgroup 1 multiplies. A block
// makes 64 rows and 16 columns; n is even. TMA fills with zeros beyond the end.

!acc = !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>

gpu.module @hopper_gemm attributes {moe.arch = "sm_90a"} {
  // Three stages of A (64 rows of 128 bytes) and B (16 rows), then mbarriers:
  // three for full stages, three for empty ones.
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

  // Two neighbours of a row, unless the row or the column is beyond the end.
  llvm.func @store_pair(%c: !llvm.ptr<1>, %row: i32, %column: i32, %m: i32, %n: i32, %x: f32, %y: f32) {
    %i0 = llvm.mlir.constant(0 : i32) : i32
    %i1 = llvm.mlir.constant(1 : i32) : i32
    %rowInside = llvm.icmp "ult" %row, %m : i32
    %columnInside = llvm.icmp "ult" %column, %n : i32
    %inside = llvm.and %rowInside, %columnInside : i1
    llvm.cond_br %inside, ^store, ^end
  ^store:
    %rowAt = llvm.mul %row, %n : i32
    %at = llvm.add %rowAt, %column : i32
    %to = llvm.getelementptr %c[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %none = llvm.mlir.poison : vector<2xf32>
    %one = llvm.insertelement %x, %none[%i0 : i32] : vector<2xf32>
    %two = llvm.insertelement %y, %one[%i1 : i32] : vector<2xf32>
    llvm.store %two, %to : vector<2xf32>, !llvm.ptr<1>
    llvm.br ^end
  ^end:
    llvm.return
  }

  llvm.func @gemm(%mapA: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}, %mapB: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}, %c: !llvm.ptr<1>, %m: i32, %n: i32, %k: i32) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 256, 1, 1>, nvvm.minctasm = 1 : i32, moe.shared_bytes = 30768 : i32} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c2 = llvm.mlir.constant(2 : i32) : i32
    %c3 = llvm.mlir.constant(3 : i32) : i32
    %c4 = llvm.mlir.constant(4 : i32) : i32
    %c8 = llvm.mlir.constant(8 : i32) : i32
    %c16 = llvm.mlir.constant(16 : i32) : i32
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %c63 = llvm.mlir.constant(63 : i32) : i32
    %c64 = llvm.mlir.constant(64 : i32) : i32
    %c128 = llvm.mlir.constant(128 : i32) : i32
    %ticks = llvm.mlir.constant(10000000 : i32) : i32
    %stageBytes = llvm.mlir.constant(10240 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %blockX = nvvm.read.ptx.sreg.ctaid.x : i32
    %blockY = nvvm.read.ptx.sreg.ctaid.y : i32
    %m0 = llvm.mul %blockX, %c64 : i32
    %n0 = llvm.mul %blockY, %c16 : i32
    %roundedUp = llvm.add %k, %c63 : i32
    %steps = llvm.udiv %roundedUp, %c64 : i32
    %shared = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %full = llvm.getelementptr %shared[30720] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty = llvm.getelementptr %shared[30744] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %warpGroup = llvm.udiv %tid, %c128 : i32
    %isThread0 = llvm.icmp "eq" %tid, %c0 : i32
    llvm.cond_br %isThread0, ^init, ^ready
  ^init:
    %full0 = llvm.getelementptr %full[0] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty0 = llvm.getelementptr %empty[0] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    nvvm.mbarrier.init %full0, %c1 : !llvm.ptr<3>, i32
    nvvm.mbarrier.init %empty0, %c1 : !llvm.ptr<3>, i32
    %full1 = llvm.getelementptr %full[8] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty1 = llvm.getelementptr %empty[8] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    nvvm.mbarrier.init %full1, %c1 : !llvm.ptr<3>, i32
    nvvm.mbarrier.init %empty1, %c1 : !llvm.ptr<3>, i32
    %full2 = llvm.getelementptr %full[16] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %empty2 = llvm.getelementptr %empty[16] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    nvvm.mbarrier.init %full2, %c1 : !llvm.ptr<3>, i32
    nvvm.mbarrier.init %empty2, %c1 : !llvm.ptr<3>, i32
    nvvm.fence.mbarrier.init
    llvm.br ^ready
  ^ready:
    nvvm.barrier0
    %isProducer = llvm.icmp "eq" %warpGroup, %c0 : i32
    llvm.cond_br %isProducer, ^produce, ^consume

  ^produce:
    nvvm.setmaxregister decrease 40
    %elected = nvvm.elect.sync -> i1
    %isWarp0 = llvm.icmp "ult" %tid, %c32 : i32
    %loads = llvm.and %elected, %isWarp0 : i1
    llvm.cond_br %loads, ^load(%c0 : i32), ^end
  ^load(%p: i32):
    %more = llvm.icmp "ult" %p, %steps : i32
    llvm.cond_br %more, ^fill, ^end
  ^fill:
    %stage = llvm.urem %p, %c3 : i32
    %round = llvm.udiv %p, %c3 : i32
    %nextRound = llvm.add %round, %c1 : i32
    %parity = llvm.and %nextRound, %c1 : i32
    %barrierAt = llvm.mul %stage, %c8 : i32
    %isFull = llvm.getelementptr %full[%barrierAt] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %isEmpty = llvm.getelementptr %empty[%barrierAt] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    nvvm.mbarrier.try_wait.parity %isEmpty, %parity, %ticks : !llvm.ptr<3>, i32, i32
    %stageAt = llvm.mul %stage, %stageBytes : i32
    %toA = llvm.getelementptr %shared[%stageAt] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %toB = llvm.getelementptr %toA[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %k0 = llvm.mul %p, %c64 : i32
    nvvm.mbarrier.arrive.expect_tx %isFull, %stageBytes : !llvm.ptr<3>, i32
    %clusterA = llvm.addrspacecast %toA : !llvm.ptr<3> to !llvm.ptr<7>
    %clusterB = llvm.addrspacecast %toB : !llvm.ptr<3> to !llvm.ptr<7>
    nvvm.cp.async.bulk.tensor.shared.cluster.global %clusterA, %mapA, %isFull, box[%k0, %m0] : !llvm.ptr<7>, !llvm.ptr
    nvvm.cp.async.bulk.tensor.shared.cluster.global %clusterB, %mapB, %isFull, box[%k0, %n0] : !llvm.ptr<7>, !llvm.ptr
    %pNext = llvm.add %p, %c1 : i32
    llvm.br ^load(%pNext : i32)

  ^consume:
    nvvm.setmaxregister increase 232
    %zero = llvm.mlir.constant(0.0 : f32) : f32
    // K-major, 128-byte swizzle, 1024 bytes from one group of rows to the next.
    %layout = llvm.mlir.constant(4611686293305360384 : i64) : i64
    %span = llvm.mlir.constant(262143 : i32) : i32
    %c2_64 = llvm.mlir.constant(2 : i64) : i64
    %c4_64 = llvm.mlir.constant(4 : i64) : i64
    %c6_64 = llvm.mlir.constant(6 : i64) : i64
    %none = llvm.mlir.undef : !acc
    %z0 = llvm.insertvalue %zero, %none[0] : !acc
    %z1 = llvm.insertvalue %zero, %z0[1] : !acc
    %z2 = llvm.insertvalue %zero, %z1[2] : !acc
    %z3 = llvm.insertvalue %zero, %z2[3] : !acc
    %z4 = llvm.insertvalue %zero, %z3[4] : !acc
    %z5 = llvm.insertvalue %zero, %z4[5] : !acc
    %z6 = llvm.insertvalue %zero, %z5[6] : !acc
    %z7 = llvm.insertvalue %zero, %z6[7] : !acc
    %inGroup = llvm.urem %tid, %c128 : i32
    %isFirst = llvm.icmp "eq" %inGroup, %c0 : i32
    llvm.br ^multiply(%c0, %z7 : i32, !acc)
  ^multiply(%q: i32, %sum: !acc):
    %left = llvm.icmp "ult" %q, %steps : i32
    llvm.cond_br %left, ^take, ^store
  ^take:
    %qStage = llvm.urem %q, %c3 : i32
    %qRound = llvm.udiv %q, %c3 : i32
    %qParity = llvm.and %qRound, %c1 : i32
    %qBarrier = llvm.mul %qStage, %c8 : i32
    %qFull = llvm.getelementptr %full[%qBarrier] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %qEmpty = llvm.getelementptr %empty[%qBarrier] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    nvvm.mbarrier.try_wait.parity %qFull, %qParity, %ticks : !llvm.ptr<3>, i32, i32
    %qAt = llvm.mul %qStage, %stageBytes : i32
    %sharedA = llvm.getelementptr %shared[%qAt] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %sharedB = llvm.getelementptr %sharedA[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %addressA = llvm.ptrtoint %sharedA : !llvm.ptr<3> to i32
    %addressB = llvm.ptrtoint %sharedB : !llvm.ptr<3> to i32
    %inSpanA = llvm.and %addressA, %span : i32
    %inSpanB = llvm.and %addressB, %span : i32
    %unitsA = llvm.lshr %inSpanA, %c4 : i32
    %unitsB = llvm.lshr %inSpanB, %c4 : i32
    %startA = llvm.zext %unitsA : i32 to i64
    %startB = llvm.zext %unitsB : i32 to i64
    %a0 = llvm.or %startA, %layout : i64
    %b0 = llvm.or %startB, %layout : i64
    %a1 = llvm.add %a0, %c2_64 : i64
    %b1 = llvm.add %b0, %c2_64 : i64
    %a2 = llvm.add %a0, %c4_64 : i64
    %b2 = llvm.add %b0, %c4_64 : i64
    %a3 = llvm.add %a0, %c6_64 : i64
    %b3 = llvm.add %b0, %c6_64 : i64
    nvvm.wgmma.fence.aligned
    %d0 = nvvm.wgmma.mma_async %a0, %b0, %sum, #nvvm.shape<m = 64, n = 16, k = 16>, D[<f32>, <one>], A[<bf16>, <one>, <row>], B[<bf16>, <one>, <col>] : !acc -> !acc
    %d1 = nvvm.wgmma.mma_async %a1, %b1, %d0, #nvvm.shape<m = 64, n = 16, k = 16>, D[<f32>, <one>], A[<bf16>, <one>, <row>], B[<bf16>, <one>, <col>] : !acc -> !acc
    %d2 = nvvm.wgmma.mma_async %a2, %b2, %d1, #nvvm.shape<m = 64, n = 16, k = 16>, D[<f32>, <one>], A[<bf16>, <one>, <row>], B[<bf16>, <one>, <col>] : !acc -> !acc
    %d3 = nvvm.wgmma.mma_async %a3, %b3, %d2, #nvvm.shape<m = 64, n = 16, k = 16>, D[<f32>, <one>], A[<bf16>, <one>, <row>], B[<bf16>, <one>, <col>] : !acc -> !acc
    nvvm.wgmma.commit.group.sync.aligned
    nvvm.wgmma.wait.group.sync.aligned 0
    %qNext = llvm.add %q, %c1 : i32
    llvm.cond_br %isFirst, ^release, ^multiply(%qNext, %d3 : i32, !acc)
  ^release:
    nvvm.mbarrier.arrive %qEmpty : !llvm.ptr<3>
    llvm.br ^multiply(%qNext, %d3 : i32, !acc)

  // Lane l of warp w has columns 2 (l % 4) and the next of each group of eight,
  // in rows 16 w + l / 4 and eight below.
  ^store:
    %inWarp = llvm.urem %inGroup, %c32 : i32
    %warpInGroup = llvm.udiv %inGroup, %c32 : i32
    %warpRow = llvm.mul %warpInGroup, %c16 : i32
    %quad = llvm.udiv %inWarp, %c4 : i32
    %inQuad = llvm.urem %inWarp, %c4 : i32
    %pair = llvm.mul %inQuad, %c2 : i32
    %top = llvm.add %m0, %warpRow : i32
    %rowUpper = llvm.add %top, %quad : i32
    %rowLower = llvm.add %rowUpper, %c8 : i32
    %columnLeft = llvm.add %n0, %pair : i32
    %columnRight = llvm.add %columnLeft, %c8 : i32
    %s0 = llvm.extractvalue %sum[0] : !acc
    %s1 = llvm.extractvalue %sum[1] : !acc
    %s2 = llvm.extractvalue %sum[2] : !acc
    %s3 = llvm.extractvalue %sum[3] : !acc
    %s4 = llvm.extractvalue %sum[4] : !acc
    %s5 = llvm.extractvalue %sum[5] : !acc
    %s6 = llvm.extractvalue %sum[6] : !acc
    %s7 = llvm.extractvalue %sum[7] : !acc
    llvm.call @store_pair(%c, %rowUpper, %columnLeft, %m, %n, %s0, %s1) : (!llvm.ptr<1>, i32, i32, i32, i32, f32, f32) -> ()
    llvm.call @store_pair(%c, %rowLower, %columnLeft, %m, %n, %s2, %s3) : (!llvm.ptr<1>, i32, i32, i32, i32, f32, f32) -> ()
    llvm.call @store_pair(%c, %rowUpper, %columnRight, %m, %n, %s4, %s5) : (!llvm.ptr<1>, i32, i32, i32, i32, f32, f32) -> ()
    llvm.call @store_pair(%c, %rowLower, %columnRight, %m, %n, %s6, %s7) : (!llvm.ptr<1>, i32, i32, i32, i32, f32, f32) -> ()
    llvm.br ^end
  ^end:
    llvm.return
  }
}
