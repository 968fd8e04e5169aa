// RUN: moe-opt %s -convert-moe-to-plan -split-input-file | FileCheck %s

// The way of one block: names of inputs and outputs, one command per kernel,
// weights packed for their reader, results written in place.
// CHECK-LABEL: plan.func @block
// CHECK-SAME: symbols(%[[N:[^ ,:]+]]: "N" [0, 1048576])
// CHECK-SAME: inputs(%[[X:[^ ,:]+]]: "hidden" tensor<?x8xbf16>)
// CHECK-SAME: outputs(%[[Y:[^ ,:]+]]: "y0" tensor<?x8xbf16>, %[[C:[^ ,:]+]]: "counts" tensor<4xi64>) dims [0, 0]
// CHECK: plan.variant
// CHECK: %[[L:[^ ,:]+]] = plan.alloc [#[[$N16:[^ ,:]+]]] slot [[SL:[0-9]+]]
// CHECK: %[[W:[^ ,:]+]] = plan.get_constant @w.row_major
// CHECK: plan.dispatch @router_logits(%[[X]], %[[W]], %[[L]], %[[N]]) label "block/router_logits"
// CHECK: %[[I:[^ ,:]+]] = plan.alloc
// CHECK: %[[P:[^ ,:]+]] = plan.alloc
// CHECK: plan.dispatch @select_topk(%[[L]], %[[I]], %[[P]], %[[N]])
// The logits are dead, so the offsets may take their slot.
// CHECK: %[[EO:[^ ,:]+]] = plan.alloc [#[[$EO:[^ ,:]+]]] slot [[SL]]
// CHECK: %[[RT:[^ ,:]+]] = plan.alloc [#[[$N8:[^ ,:]+]]]
// CHECK: %[[RW:[^ ,:]+]] = plan.alloc [#[[$N8]]]
// CHECK: %[[TR:[^ ,:]+]] = plan.alloc [#[[$N8]]]
// CHECK: %[[TO:[^ ,:]+]] = plan.alloc [#[[$TO:[^ ,:]+]]]
// CHECK: plan.dispatch @group_rows(%[[I]], %[[P]], %[[EO]], %[[RT]], %[[RW]], %[[TO]], %[[TR]], %[[N]]) label "block/group_rows" single
// CHECK: plan.record_experts %[[EO]] experts 4 layer "block"
// CHECK-DAG: %[[UP:[^ ,:]+]] = plan.get_constant @"g+u.panels"
// CHECK-DAG: %[[DOWN:[^ ,:]+]] = plan.get_constant @d.panels
// CHECK: %[[PK:[^ ,:]+]] = plan.alloc [#{{[^ ,]+}}, #{{[^ ,]+}}]
// CHECK: %[[AC:[^ ,:]+]] = plan.alloc [#{{[^ ,]+}}, #{{[^ ,]+}}]
// CHECK: %[[YS:[^ ,:]+]] = plan.alloc
// CHECK: plan.dispatch @pack_rows(%[[X]], %[[RT]], %[[EO]], %[[PK]])
// CHECK: plan.dispatch @ffn_up(%[[PK]], %[[UP]], %[[EO]], %[[AC]])
// CHECK: plan.dispatch @ffn_down(%[[AC]], %[[DOWN]], %[[EO]], %[[YS]])
// CHECK: plan.dispatch @combine_rows(%[[YS]], %[[TO]], %[[TR]], %[[RW]], %[[Y]], %[[N]])
// CHECK: plan.dispatch @count_rows(%[[EO]], %[[C]])
// CHECK-NOT: plan.copy
// CHECK: plan.constant @w.row_major packs [@w] #moe.layout<kind = row_major>
// CHECK: plan.kernel @router_logits(%{{.*}}: memref<?xbf16>, %{{.*}}: memref<?xbf16>, %{{.*}}: memref<?xf32>, %{{.*}}: index)
// CHECK: moe.kernel.router_logits {{.*}} {experts = 4 : i64, hidden = 8 : i64, round = bf16}
// CHECK: plan.constant @"g+u.panels" packs [@g, @u] #moe.layout<kind = panels, kTile = 32, kInner = 2>
// CHECK: plan.constant @d.panels packs [@d] #moe.layout<kind = panels, kTile = 32, kInner = 2>
// CHECK: plan.kernel @ffn_up
// CHECK: moe.kernel.grouped_gemm {{.*}} attributes {experts = 4 : i64, k = 8 : i64, n = 6 : i64, parts = 2 : i64, row_type = bf16, weight_type = bf16}
// CHECK: arith.mulf
// CHECK: plan.kernel @ffn_down
// CHECK: k = 6 : i64, n = 8 : i64, parts = 1 : i64
moe.weight @w : tensor<4x8xbf16> from ["w"]
moe.weight @g : tensor<4x6x8xbf16> from ["g"]
moe.weight @u : tensor<4x6x8xbf16> from ["u"]
moe.weight @d : tensor<4x8x6xbf16> from ["d"]
func.func @block(%x: tensor<?x8xbf16> {moe.name = "hidden"})
    -> (tensor<?x8xbf16>, tensor<4xi64> {moe.name = "counts"}) {
  %w = moe.get_weight @w : tensor<4x8xbf16>
  %g = moe.get_weight @g : tensor<4x6x8xbf16>
  %u = moe.get_weight @u : tensor<4x6x8xbf16>
  %d = moe.get_weight @d : tensor<4x8x6xbf16>
  %l = moe.router_logits ins(%x, %w) round bf16
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
  %n = moe.count_rows %eo : tensor<5xi32> -> tensor<4xi64>
  return %y, %n : tensor<?x8xbf16>, tensor<4xi64>
}

// -----

// Equal kernels of two functions are one; other ones get a number; a symbol
// that the module has already is not taken.
// CHECK: moe.weight @map_rows
// CHECK: plan.dispatch @map_rows_1({{.*}} label "one/map_rows"
// CHECK: plan.dispatch @map_rows_2({{.*}} label "one/map_rows"
// CHECK: plan.dispatch @map_rows_1({{.*}} label "two/map_rows"
// CHECK: plan.kernel @map_rows_1(
// CHECK: math.tanh
// CHECK: plan.kernel @map_rows_2(
// CHECK: math.absf
// CHECK-NOT: plan.kernel
moe.weight @map_rows : tensor<8xf32> from ["w"]
func.func @one(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = moe.map_rows rows(%x : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%row: tensor<1x8xf32>):
    %v = math.tanh %row : tensor<1x8xf32>
    moe.yield %v : tensor<1x8xf32>
  }
  %z = moe.map_rows rows(%y : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%row: tensor<1x8xf32>):
    %v = math.absf %row : tensor<1x8xf32>
    moe.yield %v : tensor<1x8xf32>
  }
  return %z : tensor<?x8xf32>
}
func.func @two(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = moe.map_rows rows(%x : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%row: tensor<1x8xf32>):
    %v = math.tanh %row : tensor<1x8xf32>
    moe.yield %v : tensor<1x8xf32>
  }
  return %y : tensor<?x8xf32>
}

// -----

// What no kernel writes is copied: inputs, a result given twice, weights. The
// size is that of the tensor.
// CHECK-DAG: #[[$N:[^ ,:]+]] = affine_map<(d0) -> (d0 * 32)>
// CHECK-DAG: #[[$C:[^ ,:]+]] = affine_map<(d0) -> (12)>
// CHECK-LABEL: plan.func @copies
// CHECK-SAME: inputs(%[[X:[^ ,:]+]]: "x" tensor<?x8xf32>) outputs(%[[A:[^ ,:]+]]: "y0" {{.*}}, %[[B:[^ ,:]+]]: "y1" {{.*}}, %[[C:[^ ,:]+]]: "y2" {{.*}}, %[[D:[^ ,:]+]]: "y3" tensor<3xf32>)
// CHECK: plan.dispatch @map_rows(%[[X]], %[[A]],
// CHECK: plan.copy %[[A]] to %[[B]] size #[[$N]] label "copies/copy"
// CHECK: plan.copy %[[X]] to %[[C]] size #[[$N]]
// CHECK: %[[W:[^ ,:]+]] = plan.get_constant @w.row_major
// CHECK: plan.copy %[[W]] to %[[D]] size #[[$C]]
moe.weight @w : tensor<3xf32> from ["w"]
func.func @copies(%x: tensor<?x8xf32>)
    -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>, tensor<3xf32>) {
  %w = moe.get_weight @w : tensor<3xf32>
  %y = moe.map_rows rows(%x : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%row: tensor<1x8xf32>):
    %v = math.tanh %row : tensor<1x8xf32>
    moe.yield %v : tensor<1x8xf32>
  }
  return %y, %y, %x, %w
      : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>, tensor<3xf32>
}

// -----

// Buffers that are alive together never share a slot; those that are not do.
// CHECK-LABEL: plan.func @slots
// CHECK: %[[A:[^ ,:]+]] = plan.alloc {{.*}} slot 0
// CHECK: %[[B:[^ ,:]+]] = plan.alloc {{.*}} slot 1
// CHECK: %[[C:[^ ,:]+]] = plan.alloc {{.*}} slot 0
// CHECK-NOT: plan.alloc
func.func @slots(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %a = moe.map_rows rows(%x : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%row: tensor<1x8xf32>):
    %v = math.tanh %row : tensor<1x8xf32>
    moe.yield %v : tensor<1x8xf32>
  }
  %b = moe.map_rows rows(%a : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%row: tensor<1x8xf32>):
    %v = math.absf %row : tensor<1x8xf32>
    moe.yield %v : tensor<1x8xf32>
  }
  %c = moe.map_rows rows(%b : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%row: tensor<1x8xf32>):
    %v = math.tanh %row : tensor<1x8xf32>
    moe.yield %v : tensor<1x8xf32>
  }
  %d = moe.map_rows rows(%c : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%row: tensor<1x8xf32>):
    %v = math.tanh %row : tensor<1x8xf32>
    moe.yield %v : tensor<1x8xf32>
  }
  return %d : tensor<?x8xf32>
}

// -----

// The upper bound of N is the module's.
// CHECK: plan.func @bounded symbols(%{{.*}}: "N" [0, 17])
module attributes {moe.max_tokens = 17 : i64} {
  func.func @bounded(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
    return %x : tensor<?x8xf32>
  }
}

// -----

// Row numbers have 32 bits: with 4096 pairs per token there are fewer tokens.
// CHECK: plan.func @pairs symbols(%{{.*}}: "N" [0, 524287])
func.func @pairs(%x: tensor<?x8xf32>) -> tensor<4096xi64> {
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<4097xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %n = moe.count_rows %eo : tensor<4097xi32> -> tensor<4096xi64>
  return %n : tensor<4096xi64>
}

// -----

// Every routing decision is recorded, the second one under a name of its own;
// shared experts decide nothing.
// CHECK-LABEL: plan.func @statistics
// CHECK: plan.record_experts %{{.*}} experts 4 layer "statistics"
// CHECK-NOT: plan.record_experts
// CHECK: plan.dispatch @all_rows
// CHECK-NOT: plan.record_experts
// CHECK: plan.record_experts %{{.*}} experts 4 layer "statistics#1"
// The kernel learns that the ids are given.
// CHECK: moe.kernel.group_rows {{.*}} given
func.func @statistics(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>,
    %p: tensor<?x2xf32>) -> (tensor<4xi64>, tensor<2xi64>, tensor<4xi64>) {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p given
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x : tensor<?x8xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %eo2, %rt2, %rw2, %to2, %tr2 = moe.group_rows %i, %p given
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %n = moe.count_rows %eo : tensor<5xi32> -> tensor<4xi64>
  %m = moe.count_rows %seo : tensor<3xi32> -> tensor<2xi64>
  %o = moe.count_rows %eo2 : tensor<5xi32> -> tensor<4xi64>
  return %n, %m, %o : tensor<4xi64>, tensor<2xi64>, tensor<4xi64>
}

// -----

// Rows of pairs: the number of rows comes from the offsets, memory for all of
// them from the bound per token; invariants and expert weights keep their order.
// CHECK-DAG: #[[$ROWS:[^ ,:]+]] = affine_map<(d0) -> (d0 * 64)>
// CHECK-LABEL: plan.func @pair_rows
// CHECK: %[[XS:[^ ,:]+]] = plan.alloc [#[[$ROWS]]]
// CHECK: plan.dispatch @gather_rows(%{{.*}}, %[[RT:[^ ,:]+]], %[[EO:[^ ,:]+]], %[[XS]])
// CHECK: %[[YS:[^ ,:]+]] = plan.alloc [#[[$ROWS]]]
// CHECK: %[[E:[^ ,:]+]] = plan.get_constant @e.row_major
// CHECK: %[[V:[^ ,:]+]] = plan.get_constant @v.row_major
// CHECK: plan.dispatch @map_rows(%[[XS]], %[[EO]], %[[E]], %[[V]], %[[YS]], %{{[^ ,]+}})
// CHECK: moe.kernel.map_rows rows(%{{.*}}) offsets(%{{.*}}) weights(%{{.*}}) invariants(%{{.*}}) outs(%{{.*}}) tokens(%{{.*}}) attributes {experts = 4 : i64}
moe.weight @e : tensor<4x8xf32> from ["e"]
moe.weight @v : tensor<8xf32> from ["v"]
func.func @pair_rows(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>,
                     %p: tensor<?x2xf32>) -> tensor<?x8xf32> {
  %e = moe.get_weight @e : tensor<4x8xf32>
  %v = moe.get_weight @v : tensor<8xf32>
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<5xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  %ys = moe.map_rows rows(%xs : tensor<?x8xf32>) offsets(%eo : tensor<5xi32>)
      weights(%e : tensor<4x8xf32>) invariants(%v : tensor<8xf32>)
      -> tensor<?x8xf32> {
  ^bb0(%a: tensor<1x8xf32>, %b: tensor<8xf32>, %c: tensor<8xf32>):
    moe.yield %a : tensor<1x8xf32>
  }
  %y = moe.combine_rows rows(%ys : tensor<?x8xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
