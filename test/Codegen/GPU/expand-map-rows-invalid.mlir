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
