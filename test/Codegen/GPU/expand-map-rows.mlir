// RUN: moe-opt %s --moe-select-gpu-config --moe-expand-gpu-kernels \
// RUN:   --canonicalize --cse --split-input-file | FileCheck %s

// Blocks take the rows in turn; both ops are one loop of the threads that
// writes the result where it belongs: no temporary, no barrier.
module attributes {moe.targets = ["sm_80"]} {
  // CHECK-LABEL: func.func @fused
  // CHECK-SAME: %[[IN:[^:]*]]: !llvm.ptr<1>, %[[OUT:[^:]*]]: !llvm.ptr<1>,
  // CHECK-SAME: moe.scratch_bytes = 0
  // CHECK-SAME: moe.shared_bytes = 0
  // CHECK-DAG: %[[C64:.*]] = arith.constant 64 : i32
  // CHECK-DAG: %[[BLOCK:.*]] = nvvm.read.ptx.sreg.ctaid.x
  // CHECK-DAG: %[[THREAD:.*]] = nvvm.read.ptx.sreg.tid.x
  // CHECK-DAG: %[[FIRST:.*]] = arith.extui %[[BLOCK]]
  // CHECK: scf.for unsigned %[[ROW:.*]] = %[[FIRST]]
  // CHECK: %[[OFFSET:.*]] = arith.muli %[[ROW]]
  // CHECK-DAG: %[[X:.*]] = llvm.getelementptr %[[IN]][%[[OFFSET]]]
  // CHECK-DAG: %[[Y:.*]] = llvm.getelementptr %[[OUT]][%[[OFFSET]]]
  // CHECK: %[[MINE:.*]] = arith.cmpi ult, %[[THREAD]], %[[C64]]
  // CHECK: scf.if %[[MINE]]
  // CHECK: %[[XI:.*]] = llvm.getelementptr %[[X]][
  // CHECK: %[[V:.*]] = llvm.load %[[XI]]
  // CHECK: %[[N:.*]] = arith.negf %[[V]]
  // CHECK: %[[S:.*]] = arith.mulf %[[N]], %[[V]]
  // CHECK: %[[YI:.*]] = llvm.getelementptr %[[Y]][
  // CHECK: llvm.store %[[S]], %[[YI]]
  // CHECK-NOT: llvm.store
  // CHECK-NOT: nvvm.barrier
  // CHECK: return
  plan.kernel @fused(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) on cuda {
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

// A row finds its expert by halving the offsets. The hidden row lies in shared
// memory: a barrier separates who writes it from who reads it, and the next row
// from both. A thread sums alone.
module attributes {moe.targets = ["sm_80"]} {
  // CHECK-LABEL: func.func @expert
  // CHECK-SAME: %{{[^,]*}}, %[[OFFSETS:[^:]*]]: !llvm.ptr<1>
  // CHECK-SAME: moe.shared_bytes = 128
  // CHECK-DAG: %[[STEPS:.*]] = arith.constant 2 : i32
  // CHECK-DAG: %[[SHARED:.*]] = llvm.mlir.addressof @moe_shared
  // CHECK: scf.for
  // CHECK: %[[FOUND:.*]]:2 = scf.for unsigned {{.*}} to %[[STEPS]]
  // CHECK: llvm.getelementptr %[[OFFSETS]][
  // CHECK: arith.extui %[[FOUND]]#0
  // CHECK: llvm.store {{.*}} !llvm.ptr<3>
  // CHECK: nvvm.barrier
  // CHECK: scf.for {{.*}} iter_args({{.*}}) -> (f32)
  // CHECK: llvm.store {{.*}} !llvm.ptr<3>
  // CHECK: nvvm.barrier
  // CHECK: scf.for {{.*}} iter_args({{.*}}) -> (f32)
  // CHECK: llvm.load {{.*}} !llvm.ptr<3>
  // CHECK: llvm.store {{.*}} !llvm.ptr<1>
  // CHECK: nvvm.barrier
  // CHECK-NOT: nvvm.barrier
  // CHECK: return
  plan.kernel @expert(%a: memref<?xf32>, %eo: memref<?xi32>,
                      %w1: memref<?xf32>, %w2: memref<?xf32>,
                      %o: memref<?xf32>, %n: index) on cuda {
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

// -----

// A temporary too large for shared memory lies in the block's scratch; more
// elements than threads are a loop.
module attributes {moe.targets = ["sm_80"]} {
  // CHECK-LABEL: func.func @large
  // CHECK-SAME: moe.scratch_bytes = 262144
  // CHECK-SAME: moe.shared_bytes = 0
  // CHECK-DAG: %[[THREAD:.*]] = nvvm.read.ptx.sreg.tid.x
  // CHECK-DAG: %[[TOTAL:.*]] = arith.constant 65536 : i32
  // CHECK: scf.for unsigned {{.*}} = %[[THREAD]] to %[[TOTAL]]
  // CHECK: nvvm.barrier
  plan.kernel @large(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) on cuda {
    moe.kernel.map_rows rows(%a : memref<?xf32>) outs(%o : memref<?xf32>)
        tokens(%n) attributes {experts = 0 : i64} {
    ^bb0(%x: tensor<1x65536xf32>):
      %e = tensor.empty() : tensor<1x65536xf32>
      %r = linalg.exp ins(%x : tensor<1x65536xf32>)
          outs(%e : tensor<1x65536xf32>) -> tensor<1x65536xf32>
      %y = linalg.generic {
          indexing_maps = [affine_map<(i, j) -> (i, 65535 - j)>,
                           affine_map<(i, j) -> (i, j)>,
                           affine_map<(i, j) -> (i, j)>],
          iterator_types = ["parallel", "parallel"]}
          ins(%r, %r : tensor<1x65536xf32>, tensor<1x65536xf32>)
          outs(%e : tensor<1x65536xf32>) {
      ^bb1(%p: f32, %q: f32, %out: f32):
        %s = arith.addf %p, %q : f32
        linalg.yield %s : f32
      } -> tensor<1x65536xf32>
      moe.yield %y : tensor<1x65536xf32>
    }
  }
}
