// RUN: moe-opt %s -moe-retarget-to-host -split-input-file -verify-diagnostics

// Every op that has no host form is named, not only the first.
gpu.module @cut {
  llvm.func @unknown(%x: i32) {
    // expected-error@+1 {{'nvvm.read.ptx.sreg.smid' op is not an operation of the emulator}}
    %0 = nvvm.read.ptx.sreg.smid : i32
    // expected-error@+1 {{'nvvm.pmevent' op is not an operation of the emulator}}
    nvvm.pmevent id = 1
    llvm.return
  }
}

// -----

gpu.module @cut {
  llvm.func @assembly(%x: i32) {
    // expected-error@+1 {{the emulator cannot run inline assembly 'bar.sync $0;'}}
    llvm.inline_asm has_side_effects "bar.sync $0;", "r" %x : (i32) -> ()
    // expected-error@+1 {{'nvvm.inline_ptx' op is not an operation of the emulator}}
    nvvm.inline_ptx "bar.sync {$r0};" ro (%x : i32)
    llvm.return
  }
}

// -----

gpu.module @cut {
  llvm.func @intrinsic(%x: f32) -> f32 {
    // expected-error@+1 {{the emulator cannot run the intrinsic 'llvm.nvvm.ex2.approx.f' called by name}}
    %0 = llvm.call_intrinsic "llvm.nvvm.ex2.approx.f"(%x) : (f32) -> f32
    // expected-error@+1 {{'llvm.intr.exp' op would need a library on the host}}
    %1 = llvm.intr.exp(%0) : (f32) -> f32
    // expected-error@+1 {{'llvm.frem' op would need a library on the host}}
    %2 = llvm.frem %0, %1 : f32
    llvm.return %1 : f32
  }
}

// -----

gpu.module @cut {
  llvm.func @__nv_expf(f32) -> f32
  llvm.func @call(%x: f32, %f: !llvm.ptr) -> f32 {
    // expected-error@+1 {{function '__nv_expf' is external: the emulator, as PTX, needs its body}}
    %0 = llvm.call @__nv_expf(%x) : (f32) -> f32
    // expected-error@+1 {{the emulator has no calls through pointers}}
    %1 = llvm.call %f(%0) : !llvm.ptr, (f32) -> f32
    llvm.return %1 : f32
  }
}

// -----

gpu.module @cut {
  // expected-error@+1 {{a variable without initial value is defined elsewhere, and there is no elsewhere}}
  llvm.mlir.global external @elsewhere() {addr_space = 1 : i32} : i32
}

// -----

gpu.module @cut {
  // expected-error@+1 {{shared memory is aligned to 1024 bytes, not to 2048}}
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 2048 : i64} : !llvm.array<0 x i8>
}

// -----

gpu.module @cut {
  // expected-error@+1 {{clusters lie along x in the emulator}}
  llvm.func @cluster() attributes {nvvm.kernel, nvvm.cluster_dim = array<i32: 1, 2, 1>} {
    llvm.return
  }
}

// -----

gpu.module @cut {
  llvm.func @kinds(%a: i32, %c: i32, %f: f32, %s: !llvm.ptr<3>, %map: !llvm.ptr, %p: i1) {
    // expected-error@+1 {{goes beyond the emulator, which has no mma.sync other than m16n8k8 and m16n8k16}}
    %0 = nvvm.mma.sync A[%a, %a, %a, %a] B[%a, %a] C[%c, %c, %c, %c] {intOverflowBehavior = #nvvm.mma_int_overflow<satfinite>, layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<s8>, multiplicandBPtxType = #nvvm.mma_type<s8>, shape = #nvvm.shape<m = 16, n = 8, k = 32>} : (i32, i32, i32) -> !llvm.struct<(i32, i32, i32, i32)>
    // expected-error@+1 {{goes beyond the emulator, which has no relaxed arrivals}}
    %1 = nvvm.mbarrier.arrive %s {relaxed = true} : !llvm.ptr<3> -> i64
    // expected-error@+1 {{goes beyond the emulator, which has no proxies other than async}}
    nvvm.fence.proxy {kind = #nvvm.proxy_kind<alias>}
    // expected-error@+1 {{goes beyond the emulator, which has no TMA reductions other than sums of tiles}}
    nvvm.cp.async.bulk.tensor.reduce %map, %s, box[%a] {redKind = #nvvm.tma_redux_kind<add>} : !llvm.ptr, !llvm.ptr<3>
    // expected-error@+1 {{goes beyond the emulator, which has no conversions other than to the nearest}}
    %2 = nvvm.convert.f32x2.to.bf16x2 %f, %f {rnd = #nvvm.fp_rnd_mode<rz>} : vector<2xbf16>
    // expected-error@+1 {{goes beyond the emulator, which has no matrices other than 8 by 8 of 16-bit elements}}
    %3 = nvvm.ldmatrix %s {num = 1 : i32, layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 16, n = 16>, eltType = #nvvm.ld_st_matrix_elt_type<b8>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
    llvm.return
  }
}

// -----

// expected-error@+1 {{one gpu.module, and nothing else, is needed}}
module {
  gpu.module @a {}
  gpu.module @b {}
}
