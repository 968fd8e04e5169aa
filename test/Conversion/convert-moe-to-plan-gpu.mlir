// RUN: moe-opt %s -convert-moe-to-plan -split-input-file | FileCheck %s

// A GPU gets a variant of its own: routing in one kernel that also writes the
// worklist, GEMMs that gather their rows, nothing packed at run time.
// CHECK-LABEL: plan.func @block
// CHECK-SAME: symbols(%[[N:[^ ,:]+]]: "N"
// CHECK-SAME: inputs(%[[X:[^ ,:]+]]: "x" tensor<?x8xbf16>)
// CHECK-SAME: outputs(%[[Y:[^ ,:]+]]: "y"
// CHECK: plan.variant {
// CHECK: plan.dispatch @router_logits(
// CHECK: plan.dispatch @select_topk(
// CHECK: plan.dispatch @group_rows({{.*}} single
// CHECK: plan.dispatch @pack_rows(
// CHECK: plan.variant on cuda {
// CHECK-NOT: plan.variant
// CHECK: %[[L:[^ ,:]+]] = plan.alloc
// CHECK: plan.dispatch @router_logits_gpu(%[[X]], %{{.*}}, %[[L]], %[[N]])
// CHECK: plan.dispatch @route_gpu(%[[L]], %[[I:[^ ,]+]], %[[P:[^ ,]+]], %[[EO:[^ ,]+]], %[[RT:[^ ,]+]], %[[RW:[^ ,]+]], %[[TO:[^ ,]+]], %[[TR:[^ ,]+]], %[[N]], %[[WL:[^ ,)]+]]) label "block/route"
// CHECK-NOT: single
// CHECK: plan.record_experts %[[EO]]
// CHECK-DAG: %[[UP:[^ ,:]+]] = plan.get_constant @"g+u.rows"
// CHECK-DAG: %[[DOWN:[^ ,:]+]] = plan.get_constant @d.rows
// CHECK: plan.dispatch @ffn_up_gpu(%[[X]], %[[UP]], %[[RT]], %[[WL]], %[[A:[^ ,)]+]])
// CHECK: plan.dispatch @ffn_down_gpu(%[[A]], %[[DOWN]], %[[WL]], %[[YS:[^ ,)]+]])
// CHECK: plan.dispatch @combine_rows_gpu(%[[YS]], %[[TO]], %[[TR]], %[[RW]], %[[Y]], %[[N]])
// CHECK-NOT: dispatch @pack_rows
// CHECK: plan.kernel @router_logits_gpu({{.*}}) on cuda {
// CHECK: plan.kernel @route_gpu({{.*}}) on cuda {
// CHECK: moe.kernel.route_rows {{.*}} worklist({{.*}}) {experts = 4 : i64, policy = #moe.policy<{{.*}}>, tile_rows = 64 : i64}
// CHECK: plan.constant @"g+u.rows" packs [@g, @u] #moe.layout<kind = rows, kTile = 8>
// CHECK: plan.kernel @ffn_up_gpu
// CHECK: moe.kernel.ragged_gemm {{.*}} gather({{.*}}) worklist({{.*}}) outs({{.*}}) attributes {experts = 4 : i64, k = 8 : i64, n = 6 : i64, parts = 2 : i64, tile_rows = 64 : i64, weight_type = bf16}
// CHECK: arith.mulf
module attributes {moe.targets = ["x86-64", "sm_80"]} {
  moe.weight @w : tensor<4x8xbf16> from ["w"]
  moe.weight @g : tensor<4x6x8xbf16> from ["g"]
  moe.weight @u : tensor<4x6x8xbf16> from ["u"]
  moe.weight @d : tensor<4x8x6xbf16> from ["d"]
  func.func @block(%x: tensor<?x8xbf16>) -> tensor<?x8xbf16> {
    %w = moe.get_weight @w : tensor<4x8xbf16>
    %g = moe.get_weight @g : tensor<4x6x8xbf16>
    %u = moe.get_weight @u : tensor<4x6x8xbf16>
    %d = moe.get_weight @d : tensor<4x8x6xbf16>
    %l = moe.router_logits ins(%x, %w)
        : tensor<?x8xbf16>, tensor<4x8xbf16> -> tensor<?x4xf32>
    %i, %p = moe.select_topk %l policy<score = softmax, top_k = 2>
        : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p
        : tensor<?x2xi32>, tensor<?x2xf32>
        -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
           tensor<?xi32>
    %ys = moe.grouped_ffn ins(%x : tensor<?x8xbf16>)
        offsets(%eo : tensor<5xi32>) tokens(%rt : tensor<?xi32>)
        weights(%g, %u, %d : tensor<4x6x8xbf16>, tensor<4x6x8xbf16>,
                             tensor<4x8x6xbf16>) parts 2
        -> tensor<?x8xbf16> {
    ^bb0(%a: f32, %b: f32):
      %m = arith.mulf %a, %b : f32
      moe.yield %m : f32
    }
    %y = moe.combine_rows rows(%ys : tensor<?x8xbf16>)
        offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
        weights(%rw : tensor<?xf32>) -> tensor<?x8xbf16>
    return %y : tensor<?x8xbf16>
  }
}

// -----

// Only a GPU: no variant for the CPU. Routes that are given are checked and
// grouped by one block; without a GEMM there is no worklist.
// CHECK-LABEL: plan.func @given
// CHECK-NOT: plan.variant {
// CHECK: plan.variant on cuda {
// CHECK: plan.dispatch @group_rows_gpu({{.*}}) label "given/group_rows" single
// CHECK: moe.kernel.group_rows
// CHECK-NOT: worklist
// CHECK-SAME: given
module attributes {moe.targets = ["sm_90a"]} {
  func.func @given(%i: tensor<?x2xi32>, %p: tensor<?x2xf32>) -> tensor<4xi64> {
    %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p given
        : tensor<?x2xi32>, tensor<?x2xf32>
        -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
           tensor<?xi32>
    %n = moe.count_rows %eo : tensor<5xi32> -> tensor<4xi64>
    return %n : tensor<4xi64>
  }
}

// -----

// Who wants the choice before the lists gets it from a kernel of its own.
// CHECK-LABEL: plan.func @early
// CHECK: plan.variant on cuda {
// CHECK: plan.dispatch @select_topk_gpu(
// CHECK: plan.dispatch @map_rows_gpu(
// CHECK: plan.dispatch @group_rows_gpu(
module attributes {moe.targets = ["sm_80"]} {
  func.func @early(%l: tensor<?x4xf32>)
      -> (tensor<?x2xf32>, tensor<4xi64>) {
    %i, %p = moe.select_topk %l policy<score = softmax, top_k = 2>
        : tensor<?x4xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
    %q = moe.map_rows rows(%p : tensor<?x2xf32>) -> tensor<?x2xf32> {
    ^bb0(%r: tensor<1x2xf32>):
      %s = arith.addf %r, %r : tensor<1x2xf32>
      moe.yield %s : tensor<1x2xf32>
    }
    %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p
        : tensor<?x2xi32>, tensor<?x2xf32>
        -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
           tensor<?xi32>
    %n = moe.count_rows %eo : tensor<5xi32> -> tensor<4xi64>
    return %q, %n : tensor<?x2xf32>, tensor<4xi64>
  }
}
