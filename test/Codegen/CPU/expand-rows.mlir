// RUN: moe-opt %s --moe-select-kernel-config --moe-expand-kernels --cse \
// RUN:   | FileCheck %s

module attributes {moe.targets = ["x86-64-v4"]} {
  // The lists are built by the first worker alone, which reports bad ids.
  // CHECK-LABEL: func.func private @group.avx512
  // CHECK-SAME: %[[WORKER:arg[0-9]+]]: index, %{{arg[0-9]+}}: index, %{{arg[0-9]+}}: memref<?xi8>) -> i32
  // CHECK: %[[ALONE:.*]] = arith.cmpi eq, %[[WORKER]], %{{.*}} : index
  // CHECK: %[[STATUS:.*]] = scf.if %[[ALONE]] -> (i32)
  // CHECK: arith.maxsi %{{.*}}, %[[STATUS]] : i32
  plan.kernel @group(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<?xi32>,
                     %rt: memref<?xi32>, %rw: memref<?xf32>,
                     %to: memref<?xi32>, %tr: memref<?xi32>, %n: index) {
    moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)
        outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
             memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
        {experts = 8 : i64, per_token = 2 : i64, given}
  }

  // One fma per pair, one rounding.
  // CHECK-LABEL: func.func private @combine.avx512
  // CHECK: %[[SUM:.*]]:4 = scf.for
  // CHECK-COUNT-4: math.fma {{.*}} : vector<16xf32>
  // CHECK: arith.truncf %[[SUM]]#0 : vector<16xf32> to vector<16xbf16>
  plan.kernel @combine(%y: memref<?xbf16>, %o: memref<?xi32>,
                       %i: memref<?xi32>, %w: memref<?xf32>,
                       %out: memref<?xbf16>, %n: index) {
    moe.kernel.combine_rows rows(%y : memref<?xbf16>)
        offsets(%o : memref<?xi32>) indices(%i : memref<?xi32>)
        weights(%w : memref<?xf32>) outs(%out : memref<?xbf16>) tokens(%n)
        {hidden = 64 : i64}
  }

  // Rows are copied in their own type.
  // CHECK-LABEL: func.func private @gather.avx512
  // CHECK: %[[ROW:.*]] = vector.load %{{.*}} : memref<?xbf16>, vector<16xbf16>
  // CHECK: vector.store %[[ROW]]
  // CHECK-NOT: arith.extf
  plan.kernel @gather(%x: memref<?xbf16>, %t: memref<?xi32>,
                      %o: memref<?xi32>, %r: memref<?xbf16>) {
    moe.kernel.gather_rows ins(%x, %t, %o
        : memref<?xbf16>, memref<?xi32>, memref<?xi32>)
        outs(%r : memref<?xbf16>) {experts = 8 : i64, hidden = 64 : i64}
  }

  // Without weights every row weighs one.
  // CHECK-LABEL: func.func private @all.avx512
  // CHECK: %[[ONE:.*]] = arith.constant 1.000000e+00 : f32
  // CHECK: memref.store %[[ONE]]
  plan.kernel @all(%eo: memref<?xi32>, %rt: memref<?xi32>,
                   %rw: memref<?xf32>, %to: memref<?xi32>,
                   %tr: memref<?xi32>, %n: index) {
    moe.kernel.all_rows outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>,
        memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
        {experts = 2 : i64}
  }

  // CHECK-LABEL: func.func private @count.avx512
  // CHECK: arith.subi
  // CHECK: arith.extsi %{{.*}} : i32 to i64
  plan.kernel @count(%eo: memref<?xi32>, %c: memref<?xi64>) {
    moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%c : memref<?xi64>)
        {experts = 2 : i64}
  }
}
