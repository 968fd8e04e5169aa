// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels \
// RUN:   --split-input-file --verify-diagnostics

module attributes {moe.targets = ["x86-64-v4"]} {
  func.func private @f(tensor<1x8xf32>) -> tensor<1x8xf32>
  plan.kernel @call(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) {
    moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%o : memref<?xf32>)
        tokens(%n) attributes {experts = 0 : i64} {
    ^bb0(%x: tensor<1x8xf32>):
      // expected-error @below {{'func.call' op cannot run row by row; expert bodies and token code hold arith, linalg, math, scf and tensor ops}}
      %r = func.call @f(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32>
      moe.yield %r : tensor<1x8xf32>
    }
  }
}

// -----

module attributes {moe.targets = ["x86-64-v4"]} {
  plan.kernel @constant(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) {
    moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%o : memref<?xf32>)
        tokens(%n) attributes {experts = 0 : i64} {
    ^bb0(%x: tensor<1x300xf32>):
      // expected-error @below {{'arith.constant' op is a constant of 300 different elements; at most 256 can run row by row}}
      %c = arith.constant dense_resource<values> : tensor<1x300xf32>
      %e = tensor.empty() : tensor<1x300xf32>
      %r = linalg.add ins(%x, %c : tensor<1x300xf32>, tensor<1x300xf32>)
          outs(%e : tensor<1x300xf32>) -> tensor<1x300xf32>
      moe.yield %r : tensor<1x300xf32>
    }
  }
}

{-#
  dialect_resources: { builtin: { values: "0x0400000000000000" } }
#-}

// -----

module attributes {moe.targets = ["x86-64-v4"]} {
  plan.kernel @dynamic(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) {
    moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%o : memref<?xf32>)
        tokens(%n) attributes {experts = 0 : i64} {
    ^bb0(%x: tensor<1x8xf32>):
      %c = arith.constant 0 : index
      %v = tensor.extract %x[%c, %c] : tensor<1x8xf32>
      %i = arith.fptosi %v : f32 to i32
      %len = arith.index_cast %i : i32 to index
      %s = tensor.extract_slice %x[0, 0] [1, %len] [1, 1]
          : tensor<1x8xf32> to tensor<1x?xf32>
      %f = tensor.from_elements %v : tensor<1xf32>
      // expected-error @below {{'linalg.generic' op has a loop of dynamic length in tensor code that runs row by row}}
      %m = linalg.reduce { arith.maximumf } ins(%s : tensor<1x?xf32>)
          outs(%f : tensor<1xf32>) dimensions = [1]
      %g = tensor.extract %m[%c] : tensor<1xf32>
      %r = tensor.insert %g into %x[%c, %c] : tensor<1x8xf32>
      moe.yield %r : tensor<1x8xf32>
    }
  }
}
