// RUN: moe-opt %s -moe-verify-cut -split-input-file -verify-diagnostics

gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.func @libm(%x: f32) -> f32 {
    // expected-error @below {{'llvm.intr.exp' in 'libm' cannot be compiled for sm_80: the op is not on the list of the cut}}
    %0 = llvm.intr.exp(%x) : (f32) -> f32
    // expected-error @below {{'llvm.intr.sin' in 'libm' cannot be compiled for sm_80: the op is not on the list of the cut}}
    %1 = llvm.intr.sin(%0) : (f32) -> f32
    // expected-error @below {{'llvm.intr.pow' in 'libm' cannot be compiled for sm_80: the op is not on the list of the cut}}
    %2 = llvm.intr.pow(%1, %x) : (f32, f32) -> f32
    // expected-error @below {{'llvm.frem' in 'libm' cannot be compiled for sm_80: the op is not on the list of the cut}}
    %3 = llvm.frem %2, %x : f32
    llvm.return %3 : f32
  }
}

// -----

gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.func @opaque(%x: i32, %f: !llvm.ptr) {
    // expected-error @below {{'llvm.inline_asm' in 'opaque' cannot be compiled for sm_80: the op is not on the list of the cut}}
    llvm.inline_asm has_side_effects "trap;", "" : () -> ()
    // expected-error @below {{'nvvm.inline_ptx' in 'opaque' cannot be compiled for sm_80: the op is not on the list of the cut}}
    nvvm.inline_ptx "trap;"
    // expected-error @below {{'llvm.call_intrinsic' in 'opaque' cannot be compiled for sm_80: the op is not on the list of the cut}}
    llvm.call_intrinsic "llvm.nvvm.barrier0"() : () -> ()
    // expected-error @below {{'llvm.call' in 'opaque' cannot be compiled for sm_80: it calls a pointer}}
    llvm.call %f() : !llvm.ptr, () -> ()
    // expected-error @below {{'llvm.call' in 'opaque' cannot be compiled for sm_80: it calls '__nv_expf', which is not defined here}}
    %0 = llvm.call @__nv_expf(%x) : (i32) -> i32
    llvm.return
  }
  // expected-error @below {{'llvm.func' in '__nv_expf' cannot be compiled for sm_80: the function is not defined here}}
  llvm.func @__nv_expf(i32) -> i32
  // expected-error @below {{'llvm.mlir.global' cannot be compiled for sm_80: 'table' is not defined here}}
  llvm.mlir.global external @table() {addr_space = 4 : i32} : !llvm.array<4 x i32>
  // expected-error @below {{'llvm.mlir.global' cannot be compiled for sm_80: 'host' lies in address space 0, not in global, shared or constant memory}}
  llvm.mlir.global internal @host(0 : i32) : i32
}

// -----

gpu.module @sm_89 attributes {moe.arch = "sm_89"} {
  llvm.func @newer(%shared: !llvm.ptr<3>, %cluster: !llvm.ptr<7>, %map: !llvm.ptr, %i: i32, %d: i64) {
    // expected-error @below {{'nvvm.cp.async.bulk.tensor.shared.cluster.global' in 'newer' cannot be compiled for sm_89: it needs sm_90 or newer}}
    nvvm.cp.async.bulk.tensor.shared.cluster.global %cluster, %map, %shared, box[%i] : !llvm.ptr<7>, !llvm.ptr
    // expected-error @below {{'nvvm.mbarrier.try_wait.parity' in 'newer' cannot be compiled for sm_89: it needs sm_90 or newer}}
    nvvm.mbarrier.try_wait.parity %shared, %i, %i : !llvm.ptr<3>, i32, i32
    // expected-error @below {{'nvvm.mbarrier.arrive' in 'newer' cannot be compiled for sm_89: this form needs sm_90 or newer}}
    %0 = nvvm.mbarrier.arrive %shared, %i : !llvm.ptr<3> -> i64
    // expected-error @below {{'nvvm.wgmma.fence.aligned' in 'newer' cannot be compiled for sm_89: only sm_90a has it}}
    nvvm.wgmma.fence.aligned
    // expected-error @below {{'nvvm.prefetch' in 'newer' cannot be compiled for sm_89: 'tensormap' needs sm_90 or newer}}
    nvvm.prefetch tensormap, %map : !llvm.ptr
    llvm.return
  }
}

// -----

gpu.module @sm_100a attributes {moe.arch = "sm_100a"} {
  llvm.func @older() {
    // expected-error @below {{'nvvm.wgmma.fence.aligned' in 'older' cannot be compiled for sm_100a: only sm_90a has it}}
    nvvm.wgmma.fence.aligned
    llvm.return
  }
}

// -----

gpu.module @sm_90a attributes {moe.arch = "sm_90a"} {
  llvm.func @forms(%shared: !llvm.ptr<3>, %map: !llvm.ptr, %i: i32, %x: f32) {
    // The back end would abort on either.
    // expected-error @below {{the only mode of the cut is 'tile'}}
    nvvm.cp.async.bulk.tensor.shared.cluster.global %shared, %map, %shared, box[%i, %i, %i, %i, %i] {isCTAOnly = true, mode = #nvvm.tma_load_mode<tile_gather4>} : !llvm.ptr<3>, !llvm.ptr
    // expected-error @below {{'isCTAOnly' needs PTX 8.6}}
    nvvm.cp.async.bulk.tensor.shared.cluster.global %shared, %map, %shared, box[%i] {isCTAOnly = true} : !llvm.ptr<3>, !llvm.ptr
    // expected-error @below {{only i32 is reduced in the cut}}
    %0 = nvvm.redux.sync fmin %x, %i : f32 -> f32
    // expected-error @below {{the only matrices of the cut are 8 x 8 of b16}}
    %1 = nvvm.ldmatrix %shared {num = 1 : i32, layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 16, n = 16>, eltType = #nvvm.ld_st_matrix_elt_type<b8>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
    llvm.return
  }
}

// -----

gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.func @values(%p: !llvm.ptr<1>, %x: f32, %n: i32, %v: vector<2xbf16>) {
    // expected-error @below {{flags #llvm.fastmath<contract> let the two ends round differently}}
    %0 = llvm.fmul %x, %x {fastmathFlags = #llvm.fastmath<contract>} : f32
    // expected-error @below {{flags #llvm.fastmath<afn> let the two ends round differently}}
    %1 = llvm.intr.sqrt(%x) {fastmathFlags = #llvm.fastmath<afn>} : (f32) -> f32
    // expected-error @below {{the cut has no type 'i128'}}
    %2 = llvm.sext %n : i32 to i128
    // expected-error @below {{there is no instruction for 'fadd' of 'vector<2xbf16>'}}
    %3 = llvm.atomicrmw fadd %p, %v monotonic : !llvm.ptr<1>, vector<2xbf16>
    // expected-error @below {{there is no instruction for 'nand' of 'i32'}}
    %4 = llvm.atomicrmw nand %p, %n monotonic : !llvm.ptr<1>, i32
    // expected-error @below {{its size is not constant}}
    %5 = llvm.alloca %n x i32 : (i32) -> !llvm.ptr
    llvm.return
  }
  // expected-error @below {{it takes a variable number of arguments}}
  llvm.func @printf(%format: !llvm.ptr, ...) {
    llvm.return
  }
}

// -----

// expected-error @below {{'moe.arch' of a cut module is no architecture}}
gpu.module @none {
}
