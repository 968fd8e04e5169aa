// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   --split-input-file --verify-diagnostics

module attributes {moe.targets = ["sm_80"]} {
  plan.kernel @narrow(%a: memref<?xi4>, %o: memref<?xi4>, %n: index) on cuda {
    moe.kernel.map_rows rows(%a : memref<?xi4>) outs(%o : memref<?xi4>)
        tokens(%n) attributes {experts = 0 : i64} {
    ^bb0(%x: tensor<1x8xi4>):
      %e = tensor.empty() : tensor<1x8xi4>
      // expected-error @below {{'memref.load' op uses elements of type 'i4', which no GPU code has}}
      %r = linalg.add ins(%x, %x : tensor<1x8xi4>, tensor<1x8xi4>)
          outs(%e : tensor<1x8xi4>) -> tensor<1x8xi4>
      moe.yield %r : tensor<1x8xi4>
    }
  }
}

// -----

module attributes {moe.targets = ["sm_80"]} {
  plan.kernel @forall(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) on cuda {
    moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%o : memref<?xf32>)
        tokens(%n) attributes {experts = 0 : i64} {
    ^bb0(%x: tensor<1x8xf32>):
      // expected-error @below {{'scf.forall' op has no GPU code in tensor code that runs row by row}}
      %r = scf.forall (%i) in (8) shared_outs(%t = %x) -> tensor<1x8xf32> {
        %s = tensor.extract_slice %x[0, %i] [1, 1] [1, 1]
            : tensor<1x8xf32> to tensor<1x1xf32>
        scf.forall.in_parallel {
          tensor.parallel_insert_slice %s into %t[0, %i] [1, 1] [1, 1]
              : tensor<1x1xf32> into tensor<1x8xf32>
        }
      }
      moe.yield %r : tensor<1x8xf32>
    }
  }
}
