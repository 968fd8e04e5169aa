// A GEMM with three stages of cp.async: C[m][n] = sum of A[m][k] B[n][k], bf16
// elements, f32 sums. A block of two warps makes 32 rows and 16 columns; k is
// a multiple of 16, n is even. Rows beyond m or n are filled with zeros.

!registers4 = !llvm.struct<(i32, i32, i32, i32)>
!sums = !llvm.struct<(f32, f32, f32, f32)>

gpu.module @pipeline attributes {moe.arch = "sm_80"} {
  // Three stages of A (32 rows of 32 bytes) and B (16 rows).
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

  // Copies 16 bytes of row `row` of `tile` to `to`, zeros beyond `rows`.
  llvm.func @copy_piece(%to: !llvm.ptr<3>, %from: !llvm.ptr<1>, %row: i32, %rows: i32, %k: i32, %column: i32) {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c16 = llvm.mlir.constant(16 : i32) : i32
    %inside = llvm.icmp "ult" %row, %rows : i32
    %safe = llvm.select %inside, %row, %c0 : i1, i32
    %bytes = llvm.select %inside, %c16, %c0 : i1, i32
    %rowAt = llvm.mul %safe, %k : i32
    %at = llvm.add %rowAt, %column : i32
    %address = llvm.getelementptr %from[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, bf16
    nvvm.cp.async.shared.global %to, %address, 16, cache = cg, %bytes : !llvm.ptr<3>, !llvm.ptr<1>, i32
    llvm.return
  }

  // Starts the copies of step `step` into its stage, as one group; an empty
  // group when there is no such step.
  llvm.func @copy_stage(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %m: i32, %n: i32, %k: i32, %m0: i32, %n0: i32, %step: i32, %steps: i32) {
    %c2 = llvm.mlir.constant(2 : i32) : i32
    %c3 = llvm.mlir.constant(3 : i32) : i32
    %c8 = llvm.mlir.constant(8 : i32) : i32
    %c16 = llvm.mlir.constant(16 : i32) : i32
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %stageBytes = llvm.mlir.constant(1536 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %shared = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %exists = llvm.icmp "ult" %step, %steps : i32
    llvm.cond_br %exists, ^copy, ^commit
  ^copy:
    %stage = llvm.urem %step, %c3 : i32
    %stageAt = llvm.mul %stage, %stageBytes : i32
    %tileA = llvm.getelementptr %shared[%stageAt] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %tileB = llvm.getelementptr %tileA[1024] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %row = llvm.udiv %tid, %c2 : i32
    %piece = llvm.urem %tid, %c2 : i32
    %at = llvm.mul %tid, %c16 : i32
    %k0 = llvm.mul %step, %c16 : i32
    %inRow = llvm.mul %piece, %c8 : i32
    %column = llvm.add %k0, %inRow : i32
    %toA = llvm.getelementptr %tileA[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %rowA = llvm.add %m0, %row : i32
    llvm.call @copy_piece(%toA, %a, %rowA, %m, %k, %column) : (!llvm.ptr<3>, !llvm.ptr<1>, i32, i32, i32, i32) -> ()
    %copiesB = llvm.icmp "ult" %tid, %c32 : i32
    llvm.cond_br %copiesB, ^copyB, ^commit
  ^copyB:
    %toB = llvm.getelementptr %tileB[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %rowB = llvm.add %n0, %row : i32
    llvm.call @copy_piece(%toB, %b, %rowB, %n, %k, %column) : (!llvm.ptr<3>, !llvm.ptr<1>, i32, i32, i32, i32) -> ()
    llvm.br ^commit
  ^commit:
    nvvm.cp.async.commit.group
    llvm.return
  }

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

  llvm.func @gemm(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>, %m: i32, %n: i32, %k: i32) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 64, 1, 1>, moe.shared_bytes = 4608 : i32} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c2 = llvm.mlir.constant(2 : i32) : i32
    %c3 = llvm.mlir.constant(3 : i32) : i32
    %c4 = llvm.mlir.constant(4 : i32) : i32
    %c8 = llvm.mlir.constant(8 : i32) : i32
    %c16 = llvm.mlir.constant(16 : i32) : i32
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %stageBytes = llvm.mlir.constant(1536 : i32) : i32
    %zero = llvm.mlir.constant(0.0 : f32) : f32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %blockX = nvvm.read.ptx.sreg.ctaid.x : i32
    %blockY = nvvm.read.ptx.sreg.ctaid.y : i32
    %lane = llvm.urem %tid, %c32 : i32
    %warp = llvm.udiv %tid, %c32 : i32
    %m0 = llvm.mul %blockY, %c32 : i32
    %n0 = llvm.mul %blockX, %c16 : i32
    %steps = llvm.udiv %k, %c16 : i32
    %shared = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    llvm.call @copy_stage(%a, %b, %m, %n, %k, %m0, %n0, %c0, %steps) : (!llvm.ptr<1>, !llvm.ptr<1>, i32, i32, i32, i32, i32, i32, i32) -> ()
    llvm.call @copy_stage(%a, %b, %m, %n, %k, %m0, %n0, %c1, %steps) : (!llvm.ptr<1>, !llvm.ptr<1>, i32, i32, i32, i32, i32, i32, i32) -> ()

    // Rows of the warp's part of A: 16, in two pieces of 16 bytes.
    %row16 = llvm.urem %lane, %c16 : i32
    %half = llvm.udiv %lane, %c16 : i32
    %warpRow = llvm.mul %warp, %c16 : i32
    %rowA = llvm.add %warpRow, %row16 : i32
    %rowAtA = llvm.mul %rowA, %c32 : i32
    %pieceA = llvm.mul %half, %c16 : i32
    %offsetA = llvm.add %rowAtA, %pieceA : i32
    // Columns 0 to 7, then 8 to 15, each in two pieces of k.
    %row8 = llvm.urem %lane, %c8 : i32
    %upper = llvm.mul %half, %c8 : i32
    %rowB = llvm.add %row8, %upper : i32
    %rowAtB = llvm.mul %rowB, %c32 : i32
    %eighth = llvm.udiv %lane, %c8 : i32
    %oddEighth = llvm.urem %eighth, %c2 : i32
    %pieceB = llvm.mul %oddEighth, %c16 : i32
    %offsetB = llvm.add %rowAtB, %pieceB : i32
    llvm.br ^loop(%c0, %zero, %zero, %zero, %zero, %zero, %zero, %zero, %zero : i32, f32, f32, f32, f32, f32, f32, f32, f32)

  ^loop(%step: i32, %s0: f32, %s1: f32, %s2: f32, %s3: f32, %t0: f32, %t1: f32, %t2: f32, %t3: f32):
    %more = llvm.icmp "ult" %step, %steps : i32
    llvm.cond_br %more, ^body, ^store
  ^body:
    nvvm.cp.async.wait.group 1
    nvvm.barrier0
    %ahead = llvm.add %step, %c2 : i32
    llvm.call @copy_stage(%a, %b, %m, %n, %k, %m0, %n0, %ahead, %steps) : (!llvm.ptr<1>, !llvm.ptr<1>, i32, i32, i32, i32, i32, i32, i32) -> ()
    %stage = llvm.urem %step, %c3 : i32
    %stageAt = llvm.mul %stage, %stageBytes : i32
    %tileA = llvm.getelementptr %shared[%stageAt] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %tileB = llvm.getelementptr %tileA[1024] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
    %addressA = llvm.getelementptr %tileA[%offsetA] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %addressB = llvm.getelementptr %tileB[%offsetB] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %ra = nvvm.ldmatrix %addressA {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !registers4
    %rb = nvvm.ldmatrix %addressB {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !registers4
    %a0 = llvm.extractvalue %ra[0] : !registers4
    %a1 = llvm.extractvalue %ra[1] : !registers4
    %a2 = llvm.extractvalue %ra[2] : !registers4
    %a3 = llvm.extractvalue %ra[3] : !registers4
    %b0 = llvm.extractvalue %rb[0] : !registers4
    %b1 = llvm.extractvalue %rb[1] : !registers4
    %b2 = llvm.extractvalue %rb[2] : !registers4
    %b3 = llvm.extractvalue %rb[3] : !registers4
    %s = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%s0, %s1, %s2, %s3] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !sums
    %t = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b2, %b3] C[%t0, %t1, %t2, %t3] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !sums
    %u0 = llvm.extractvalue %s[0] : !sums
    %u1 = llvm.extractvalue %s[1] : !sums
    %u2 = llvm.extractvalue %s[2] : !sums
    %u3 = llvm.extractvalue %s[3] : !sums
    %v0 = llvm.extractvalue %t[0] : !sums
    %v1 = llvm.extractvalue %t[1] : !sums
    %v2 = llvm.extractvalue %t[2] : !sums
    %v3 = llvm.extractvalue %t[3] : !sums
    %next = llvm.add %step, %c1 : i32
    llvm.br ^loop(%next, %u0, %u1, %u2, %u3, %v0, %v1, %v2, %v3 : i32, f32, f32, f32, f32, f32, f32, f32, f32)

  ^store:
    nvvm.cp.async.wait.group 0
    %group = llvm.udiv %lane, %c4 : i32
    %inGroup = llvm.urem %lane, %c4 : i32
    %pair = llvm.mul %inGroup, %c2 : i32
    %top = llvm.add %m0, %warpRow : i32
    %rowUpper = llvm.add %top, %group : i32
    %rowLower = llvm.add %rowUpper, %c8 : i32
    %columnLeft = llvm.add %n0, %pair : i32
    %columnRight = llvm.add %columnLeft, %c8 : i32
    llvm.call @store_pair(%c, %rowUpper, %columnLeft, %m, %n, %s0, %s1) : (!llvm.ptr<1>, i32, i32, i32, i32, f32, f32) -> ()
    llvm.call @store_pair(%c, %rowLower, %columnLeft, %m, %n, %s2, %s3) : (!llvm.ptr<1>, i32, i32, i32, i32, f32, f32) -> ()
    llvm.call @store_pair(%c, %rowUpper, %columnRight, %m, %n, %t0, %t1) : (!llvm.ptr<1>, i32, i32, i32, i32, f32, f32) -> ()
    llvm.call @store_pair(%c, %rowLower, %columnRight, %m, %n, %t2, %t3) : (!llvm.ptr<1>, i32, i32, i32, i32, f32, f32) -> ()
    llvm.return
  }
}
