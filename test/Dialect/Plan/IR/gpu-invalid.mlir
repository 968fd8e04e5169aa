// RUN: moe-opt %s -verify-diagnostics -split-input-file

// expected-error @+1 {{C2: variants on cuda are #moe.gpu attributes, got 1 : i64}}
plan.kernel @k(%a: memref<?xf32>) on cuda variants [1 : i64] {
}

// -----

// expected-error @+1 {{C2: two variants for sm_80}}
plan.kernel @k(%a: memref<?xf32>) on cuda
    variants [#moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 1, k = 1,
                       stages = 1, accumulation = "f32">,
              #moe.gpu<arch = "sm_80", threads = 64, blocks = 1, n = 1, k = 1,
                       stages = 1, accumulation = "f32">] {
}

// -----

// expected-error @+1 {{unknown device 'tpu'}}
plan.kernel @k(%a: memref<?xf32>) on tpu {
}

// -----

plan.kernel @k(%n: index) {
}
plan.func @f symbols(%n: "N" [0, 4]) inputs() outputs() dims [] {
  plan.variant on cuda {
    // expected-error @+1 {{C1: @k is for cpu, dispatched on cuda}}
    plan.dispatch @k(%n) label "f" : index
  }
}

// -----

plan.func @f symbols(%n: "N" [0, 4]) inputs() outputs() dims [] {
  plan.variant {
  }
  plan.variant on cuda {
  }
  // expected-error @+1 {{C4: variants on cpu must follow each other}}
  plan.variant {
  }
}

// -----

plan.func @f symbols(%n: "N" [0, 4]) inputs() outputs() dims [] {
  // expected-error @+1 {{C4: the last variant must be without guards}}
  plan.variant where [0, 0, 2] {
  }
  plan.variant on cuda {
  }
}

// -----

moe.weight @w : tensor<8x4xbf16> from ["w"]
// expected-error @+1 {{C4: kTile elements of 'bf16' must be a multiple of 16 bytes, got kTile = 4}}
plan.constant @c packs [@w] #moe.layout<kind = rows, kTile = 4>

// -----

moe.weight @w : tensor<8xbf16> from ["w"]
// expected-error @+1 {{C4: rows pack weights of f32, bf16 or f16 and rank 2 or 3, got 'tensor<8xbf16>'}}
plan.constant @c packs [@w] #moe.layout<kind = rows, kTile = 8>

// -----

// expected-error @+1 {{C1: arch is given unless the binary is an object}}
plan.binary @b "ptx" {} [1]

// -----

// expected-error @+1 {{C1: expected format "elf-x86_64-object", "ptx" or "cubin", got "spirv"}}
plan.binary @b "spirv" {} [1] arch "sm_80"

// -----

// expected-error @+1 {{C2: kernel "k" needs integers 'args' and 'threads'}}
plan.binary @b "cubin" {k = {args = 1}} [1] arch "sm_80"
