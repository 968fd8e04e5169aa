// One warp multiplies A (16 by 16, row by row) by B (16 by 8, rows of n) and
// adds C: f16 elements, f32 sums.

!registers4 = !llvm.struct<(i32, i32, i32, i32)>
!registers2 = !llvm.struct<(i32, i32)>
!sums = !llvm.struct<(f32, f32, f32, f32)>

gpu.module @matrix attributes {moe.arch = "sm_80"} {
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

  llvm.func @tile_f16(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 32, 1, 1>} {
    %c2 = llvm.mlir.constant(2 : i32) : i32
    %c4 = llvm.mlir.constant(4 : i32) : i32
    %c8 = llvm.mlir.constant(8 : i32) : i32
    %c16 = llvm.mlir.constant(16 : i32) : i32
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %c64 = llvm.mlir.constant(64 : i32) : i32
    %all = llvm.mlir.constant(-1 : i32) : i32
    %lane = nvvm.read.ptx.sreg.laneid : i32
    %sharedA = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %sharedB = llvm.getelementptr %sharedA[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8

    // A has 32 pieces of 16 bytes, B has 16.
    %piece = llvm.mul %lane, %c16 : i32
    %fromA = llvm.getelementptr %a[%piece] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
    %toA = llvm.getelementptr %sharedA[%piece] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %pieceA = llvm.load %fromA : !llvm.ptr<1> -> vector<4xi32>
    llvm.store %pieceA, %toA : vector<4xi32>, !llvm.ptr<3>
    %low = llvm.icmp "ult" %lane, %c16 : i32
    llvm.cond_br %low, ^loadB, ^loaded
  ^loadB:
    %fromB = llvm.getelementptr %b[%piece] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
    %toB = llvm.getelementptr %sharedB[%piece] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %pieceB = llvm.load %fromB : !llvm.ptr<1> -> vector<4xi32>
    llvm.store %pieceB, %toB : vector<4xi32>, !llvm.ptr<3>
    llvm.br ^loaded
  ^loaded:
    nvvm.bar.warp.sync %all : i32

    %row = llvm.urem %lane, %c16 : i32
    %half = llvm.udiv %lane, %c16 : i32
    %rowAt = llvm.mul %row, %c32 : i32
    %halfAt = llvm.mul %half, %c16 : i32
    %atA = llvm.add %rowAt, %halfAt : i32
    %rowA = llvm.getelementptr %sharedA[%atA] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %ra = nvvm.ldmatrix %rowA {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !registers4
    %atB = llvm.mul %row, %c16 : i32
    %rowB = llvm.getelementptr %sharedB[%atB] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
    %rb = nvvm.ldmatrix %rowB {num = 2 : i32, layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !registers2
    %a0 = llvm.extractvalue %ra[0] : !registers4
    %a1 = llvm.extractvalue %ra[1] : !registers4
    %a2 = llvm.extractvalue %ra[2] : !registers4
    %a3 = llvm.extractvalue %ra[3] : !registers4
    %b0 = llvm.extractvalue %rb[0] : !registers2
    %b1 = llvm.extractvalue %rb[1] : !registers2
    %h0 = llvm.bitcast %a0 : i32 to vector<2xf16>
    %h1 = llvm.bitcast %a1 : i32 to vector<2xf16>
    %h2 = llvm.bitcast %a2 : i32 to vector<2xf16>
    %h3 = llvm.bitcast %a3 : i32 to vector<2xf16>
    %g0 = llvm.bitcast %b0 : i32 to vector<2xf16>
    %g1 = llvm.bitcast %b1 : i32 to vector<2xf16>

    // Lane l has columns 2 (l % 4) and the next of rows l / 4 and l / 4 + 8.
    %group = llvm.udiv %lane, %c4 : i32
    %inGroup = llvm.urem %lane, %c4 : i32
    %column = llvm.mul %inGroup, %c2 : i32
    %rowAtC = llvm.mul %group, %c8 : i32
    %at0 = llvm.add %rowAtC, %column : i32
    %at1 = llvm.add %at0, %c64 : i32
    %fromC0 = llvm.getelementptr %c[%at0] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %fromC1 = llvm.getelementptr %c[%at1] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %v0 = llvm.load %fromC0 : !llvm.ptr<1> -> vector<2xf32>
    %v1 = llvm.load %fromC1 : !llvm.ptr<1> -> vector<2xf32>
    %i0 = llvm.mlir.constant(0 : i32) : i32
    %i1 = llvm.mlir.constant(1 : i32) : i32
    %x0 = llvm.extractelement %v0[%i0 : i32] : vector<2xf32>
    %x1 = llvm.extractelement %v0[%i1 : i32] : vector<2xf32>
    %x2 = llvm.extractelement %v1[%i0 : i32] : vector<2xf32>
    %x3 = llvm.extractelement %v1[%i1 : i32] : vector<2xf32>
    %d = nvvm.mma.sync A[%h0, %h1, %h2, %h3] B[%g0, %g1] C[%x0, %x1, %x2, %x3] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<f16>, multiplicandBPtxType = #nvvm.mma_type<f16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (vector<2xf16>, vector<2xf16>, f32) -> !sums
    %d0 = llvm.extractvalue %d[0] : !sums
    %d1 = llvm.extractvalue %d[1] : !sums
    %d2 = llvm.extractvalue %d[2] : !sums
    %d3 = llvm.extractvalue %d[3] : !sums
    %to0 = llvm.getelementptr %out[%at0] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %to1 = llvm.getelementptr %out[%at1] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %w0 = llvm.insertelement %d0, %v0[%i0 : i32] : vector<2xf32>
    %w1 = llvm.insertelement %d1, %w0[%i1 : i32] : vector<2xf32>
    llvm.store %w1, %to0 : vector<2xf32>, !llvm.ptr<1>
    %w2 = llvm.insertelement %d2, %v1[%i0 : i32] : vector<2xf32>
    %w3 = llvm.insertelement %d3, %w2[%i1 : i32] : vector<2xf32>
    llvm.store %w3, %to1 : vector<2xf32>, !llvm.ptr<1>
    llvm.return
  }
}
