// RUN: moe-opt %s -moe-verify-tiled -split-input-file -verify-diagnostics

// A function that no plan was made of.
// expected-error@below {{'func.func' is left in the module after the phase 'tiled'}}
func.func @f(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}

// -----

// A module in a module is nobody's.
module {
  // expected-error@below {{'builtin.module' is left in the module after the phase 'tiled'}}
  module {
  }
}

// -----

// expected-error@below {{kernel 'k' has no configuration for any target}}
plan.kernel @k(%x: memref<?xi32>, %y: memref<?xi64>) {
  moe.kernel.count_rows ins(%x : memref<?xi32>) outs(%y : memref<?xi64>)
      {experts = 2 : i64}
}

// -----

// Code that was expanded already belongs to the next phase.
plan.kernel @k(%x: memref<?xi32>)
    variants [#moe.cpu<isa = avx2, mr = 1, nr = 1, kc = 1, prefetch = 0,
                       accumulation = "avx2">] {
  %c0 = arith.constant 0 : index
  // expected-error@below {{'memref.dim' stands in kernel 'k'; expected kernel ops of the moe dialect}}
  %n = memref.dim %x, %c0 : memref<?xi32>
}
