// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels --cse \
// RUN:   | FileCheck %s

module attributes {moe.targets = ["x86-64-v4"]} {
  // The lists of a part are built by the first worker alone.
  // CHECK-LABEL: func.func private @slice.avx512
  // CHECK-SAME: %[[WORKER:arg[0-9]+]]: index, %{{arg[0-9]+}}: index, %{{arg[0-9]+}}: memref<?xi8>) -> i32
  // CHECK: %[[ALONE:.*]] = arith.cmpi eq, %[[WORKER]], %{{.*}} : index
  // CHECK: scf.if %[[ALONE]] {
  // CHECK: arith.cmpi ult, %{{.*}}, %{{.*}} : index
  plan.kernel @slice(%so: memref<?xi32>, %st: memref<?xi32>,
                     %sw: memref<?xf32>, %eo: memref<?xi32>,
                     %rt: memref<?xi32>, %rw: memref<?xf32>,
                     %to: memref<?xi32>, %tr: memref<?xi32>, %n: index) {
    moe.kernel.slice_rows
        ins(%so, %st, %sw, %st, %st : memref<?xi32>, memref<?xi32>,
            memref<?xf32>, memref<?xi32>, memref<?xi32>)
        outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
             memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
        {begin = 2 : i64, end = 6 : i64}
  }

  // Counting is one worker's as well; -1 is larger than every expert.
  // CHECK-LABEL: func.func private @count.avx512
  // CHECK: %[[EXPERTS:.*]] = arith.constant 8 : i32
  // CHECK: arith.cmpi ult, %{{.*}}, %[[EXPERTS]] : i32
  plan.kernel @count(%i: memref<?xi32>, %c: memref<?xi64>, %n: index) {
    moe.kernel.count_ids ins(%i : memref<?xi32>) outs(%c : memref<?xi64>)
        tokens(%n) {experts = 8 : i64, per_token = 2 : i64}
  }

  // A bad index is reported, and its row zero.
  // CHECK-LABEL: func.func private @lookup.avx512
  // CHECK: %[[BAD:.*]] = scf.for {{.*}} -> (i1)
  // CHECK: %[[ROWS:.*]] = arith.constant 11 : i32
  // CHECK: %[[OUTSIDE:.*]] = arith.cmpi uge, %{{.*}}, %[[ROWS]] : i32
  // CHECK: scf.if %[[OUTSIDE]] {
  // CHECK: } else {
  // CHECK: vector.maskedload
  // CHECK: %[[TWO:.*]] = arith.constant 2 : i32
  // CHECK: %[[STATUS:.*]] = arith.select %[[BAD]], %[[TWO]], %{{.*}} : i32
  // CHECK: arith.maxsi %{{.*}}, %[[STATUS]] : i32
  plan.kernel @lookup(%t: memref<?xbf16>, %i: memref<?xi32>,
                      %o: memref<?xbf16>, %n: index) {
    moe.kernel.lookup_rows ins(%t, %i : memref<?xbf16>, memref<?xi32>)
        outs(%o : memref<?xbf16>) tokens(%n)
        {size = 11 : i64, columns = 3 : i64}
  }

  // Uniform numbers take no logarithm, the others do.
  // CHECK-LABEL: func.func private @uniform.avx512
  // CHECK-NOT: math.log
  // CHECK-LABEL: func.func private @gumbel.avx512
  // CHECK-COUNT-2: math.log {{.*}} : f32
  // CHECK-NOT: math.sqrt
  // CHECK-LABEL: func.func private @normal.avx512
  // CHECK: math.log {{.*}} : f32
  // CHECK: math.sqrt {{.*}} : f32
  plan.kernel @uniform(%s: memref<1xi64>, %o: memref<?xf32>, %n: index) {
    moe.kernel.random ins(%s : memref<1xi64>) outs(%o : memref<?xf32>)
        tokens(%n) {distribution = #moe<distribution uniform>,
                    columns = 8 : i64, stream = 0 : i64}
  }
  plan.kernel @gumbel(%s: memref<1xi64>, %o: memref<?xf32>, %n: index) {
    moe.kernel.random ins(%s : memref<1xi64>) outs(%o : memref<?xf32>)
        tokens(%n) {distribution = #moe<distribution gumbel>,
                    columns = 8 : i64, stream = 0 : i64}
  }
  plan.kernel @normal(%s: memref<1xi64>, %o: memref<?xf32>, %n: index) {
    moe.kernel.random ins(%s : memref<1xi64>) outs(%o : memref<?xf32>)
        tokens(%n) {distribution = #moe<distribution normal>,
                    columns = 8 : i64, stream = 0 : i64}
  }

  // Norms share the loads of the sums they divide: four of both sides, sixteen
  // products and eight squares.
  // CHECK-LABEL: func.func private @cosine.avx512
  // CHECK-COUNT-8: vector.load
  // CHECK-NOT: vector.load
  // CHECK: scf.yield
  // CHECK-COUNT-8: math.sqrt {{.*}} : f32
  // CHECK: arith.divf
  plan.kernel @cosine(%x: memref<?xf32>, %w: memref<?xf32>, %o: memref<?xf32>,
                      %n: index) {
    moe.kernel.router_logits ins(%x, %w : memref<?xf32>, memref<?xf32>)
        outs(%o : memref<?xf32>) tokens(%n)
        {experts = 4 : i64, hidden = 64 : i64, cosine = 1.0e-6 : f32}
  }

  // A sum is updated where it lies: no memory beside it.
  // CHECK-LABEL: func.func private @sum.avx512
  // CHECK-SAME: %[[ROWS:[^ ]*]]: memref<?xf32>, %[[OUT:[^ ]*]]: memref<?xf32>
  // CHECK-SAME: moe.scratch_bytes = 0 : i64
  // CHECK: %[[INIT:.*]] = arith.constant 2.500000e-01 : f32
  // CHECK: memref.store %[[INIT]], %[[OUT]]
  // CHECK: arith.addf
  plan.kernel @sum(%a: memref<?xf32>, %o: memref<?xf32>, %n: index) {
    moe.kernel.fold_rows rows(%a : memref<?xf32>) outs(%o : memref<?xf32>)
        inits [0.25] tokens(%n) {
    ^bb0(%i: index, %r: tensor<1x32xf32>, %s: tensor<1x32xf32>):
      %0 = arith.addf %s, %r : tensor<1x32xf32>
      moe.yield %0 : tensor<1x32xf32>
    }
  }
}
