// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels --cse \
// RUN:   --split-input-file | FileCheck %s

#id = affine_map<(i, j) -> (i, j)>

// Both ops become one loop that writes the result where it belongs: no
// temporary, no copy.
module attributes {moe.targets = ["x86-64-v4"]} {
  // CHECK-LABEL: func.func private @fused.avx512
  // CHECK-SAME: %[[IN:[^:]*]]: memref<?xf32>, %[[OUT:[^:]*]]: memref<?xf32>
  // CHECK-SAME: moe.scratch_bytes = 0
  // CHECK-DAG: %[[X:.*]] = memref.reinterpret_cast %[[IN]]
  // CHECK-DAG: %[[Y:.*]] = memref.reinterpret_cast %[[OUT]]
  // CHECK: %[[V:.*]] = vector.load %[[X]]
  // CHECK: %[[N:.*]] = arith.negf %[[V]] : vector<16xf32>
  // CHECK: %[[S:.*]] = arith.mulf %[[N]], %[[V]] : vector<16xf32>
  // CHECK: vector.store %[[S]], %[[Y]]
  // CHECK-NOT: memref.alloc
  // CHECK-NOT: memref.copy
  plan.kernel @fused(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) {
    moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%o : memref<?xf32>)
        tokens(%n) attributes {experts = 0 : i64} {
    ^bb0(%x: tensor<1x64xf32>):
      %e = tensor.empty() : tensor<1x64xf32>
      %neg = linalg.negf ins(%x : tensor<1x64xf32>)
          outs(%e : tensor<1x64xf32>) -> tensor<1x64xf32>
      %mul = linalg.mul ins(%neg, %x : tensor<1x64xf32>, tensor<1x64xf32>)
          outs(%e : tensor<1x64xf32>) -> tensor<1x64xf32>
      moe.yield %mul : tensor<1x64xf32>
    }
  }
}

// -----

// A row finds its expert by walking the offsets; sums run in lanes; the hidden
// row lives in scratch.
module attributes {moe.targets = ["x86-64-v4"]} {
  // CHECK-LABEL: func.func private @expert.avx512
  // CHECK-SAME: moe.scratch_bytes = 128
  // CHECK: memref.view %{{.*}} : memref<?xi8> to memref<?xf32>
  // CHECK: scf.for {{.*}} iter_args(%[[LAST:.*]] = %{{.*}}) -> (index)
  // CHECK: %[[EXPERT:.*]] = scf.while (%{{.*}} = %[[LAST]])
  // CHECK: arith.muli %[[EXPERT]]
  // CHECK: scf.for {{.*}} -> (vector<16xf32>)
  // CHECK-NOT: memref.alloc
  plan.kernel @expert(%a: memref<?xf32>, %eo: memref<?xi32>,
                      %w1: memref<?xf32>, %w2: memref<?xf32>,
                      %o: memref<?xf32>, %n: index) {
    moe.kernel.map_rows rows(%a : memref<?xf32>) offsets(%eo : memref<?xi32>)
        weights(%w1, %w2 : memref<?xf32>, memref<?xf32>)
        outs(%o : memref<?xf32>) tokens(%n) attributes {experts = 4 : i64} {
    ^bb0(%x: tensor<1x64xf32>, %u: tensor<32x64xf32>, %d: tensor<64x32xf32>):
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<1x32xf32>
      %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32xf32>)
          -> tensor<1x32xf32>
      %h = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
                                          affine_map<(m, n, k) -> (n, k)>,
                                          affine_map<(m, n, k) -> (m, n)>]
          ins(%x, %u : tensor<1x64xf32>, tensor<32x64xf32>)
          outs(%f : tensor<1x32xf32>) -> tensor<1x32xf32>
      %e2 = tensor.empty() : tensor<1x64xf32>
      %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<1x64xf32>)
          -> tensor<1x64xf32>
      %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
                                          affine_map<(m, n, k) -> (n, k)>,
                                          affine_map<(m, n, k) -> (m, n)>]
          ins(%h, %d : tensor<1x32xf32>, tensor<64x32xf32>)
          outs(%f2 : tensor<1x64xf32>) -> tensor<1x64xf32>
      moe.yield %y : tensor<1x64xf32>
    }
  }
}
