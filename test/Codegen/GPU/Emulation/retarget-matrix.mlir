// RUN: moe-opt %s -moe-retarget-to-host | FileCheck %s

!four = !llvm.struct<(f32, f32, f32, f32)>

gpu.module @cut {
  // CHECK-LABEL: llvm.func internal @fragments
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[P:.*]]: !llvm.ptr, %[[X:.*]]: i32)
  llvm.func @fragments(%p: !llvm.ptr<3>, %x: i32) {
    // CHECK: %[[COUNT:.*]] = llvm.mlir.constant(4 : i32)
    // CHECK: %[[NO:.*]] = llvm.mlir.constant(0 : i32)
    // CHECK: llvm.call @moe_emu_ldmatrix(%[[T]], %[[P]], %[[COUNT]], %[[NO]], %[[OUT:.*]], %{{.*}})
    // CHECK: llvm.load %[[OUT]] {alignment = 4 : i64} : !llvm.ptr -> !llvm.struct<(i32, i32, i32, i32)>
    %0 = nvvm.ldmatrix %p {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
    // CHECK: %[[COUNT:.*]] = llvm.mlir.constant(1 : i32)
    // CHECK: %[[YES:.*]] = llvm.mlir.constant(1 : i32)
    // CHECK: llvm.call @moe_emu_ldmatrix(%[[T]], %[[P]], %[[COUNT]], %[[YES]],
    // CHECK: llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr -> i32
    %1 = nvvm.ldmatrix %p {num = 1 : i32, layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> i32
    // CHECK: llvm.store %[[X]], %[[IN:.*]] :
    // CHECK: %[[SECOND:.*]] = llvm.getelementptr %[[IN]][4]
    // CHECK: llvm.store %[[X]], %[[SECOND]]
    // CHECK: llvm.call @moe_emu_stmatrix(%[[T]], %[[P]], %{{.*}}, %{{.*}}, %[[IN]],
    nvvm.stmatrix %p, %x, %x {layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : !llvm.ptr<3>, i32, i32
    llvm.return
  }

  // CHECK-LABEL: llvm.func internal @products
  llvm.func @products(%a: i32, %h: vector<2xf16>, %c: f32) -> !four {
    // CHECK: %[[BF16:.*]] = llvm.mlir.constant(0 : i32)
    // CHECK: %[[K:.*]] = llvm.mlir.constant(16 : i32)
    // CHECK: llvm.call @moe_emu_mma(%{{.*}}, %[[BF16]], %[[K]],
    %0 = nvvm.mma.sync A[%a, %a, %a, %a] B[%a, %a] C[%c, %c, %c, %c] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !four
    // CHECK: %[[F16:.*]] = llvm.mlir.constant(1 : i32)
    // CHECK: llvm.call @moe_emu_mma(%{{.*}}, %[[F16]],
    %1 = nvvm.mma.sync A[%h, %h, %h, %h] B[%h, %h] C[%c, %c, %c, %c] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<f16>, multiplicandBPtxType = #nvvm.mma_type<f16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (vector<2xf16>, vector<2xf16>, f32) -> !four
    llvm.return %1 : !four
  }

  // The second operand is the low half.
  // CHECK-LABEL: llvm.func internal @conversions
  // CHECK-SAME: %{{.*}}: !llvm.ptr, %[[HI:.*]]: f32, %[[LO:.*]]: f32)
  // CHECK: %[[L:.*]] = llvm.fptrunc %[[LO]] : f32 to bf16
  // CHECK: llvm.insertelement %[[L]], %{{.*}}[%{{.*}} : i32] : vector<2xbf16>
  // CHECK: %[[H:.*]] = llvm.fptrunc %[[HI]] : f32 to bf16
  // CHECK: llvm.insertelement %[[H]],
  // CHECK: llvm.fdiv
  llvm.func @conversions(%hi: f32, %lo: f32) -> vector<2xbf16> {
    %0 = nvvm.convert.f32x2.to.bf16x2 %hi, %lo {rnd = #nvvm.fp_rnd_mode<rn>} : vector<2xbf16>
    %1 = nvvm.rcp.approx.ftz.f %hi : f32
    llvm.return %0 : vector<2xbf16>
  }
}
