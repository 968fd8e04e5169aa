// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @routing
func.func @routing(%l: memref<?xf32>, %b: memref<8xf32>, %i: memref<?xi32>,
    %w: memref<?xf32>, %eo: memref<9xi32>, %t: memref<?xi32>,
    %n: index) {
  // CHECK: moe.kernel.route_rows ins(%{{.*}}, %{{.*}} : memref<?xf32>, memref<8xf32>) outs(%{{.*}} : memref<?xi32>, memref<?xf32>, memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%{{.*}}) worklist(%{{.*}} : memref<?xi32>) {experts = 8 : i64, policy = #moe.policy<{{.*}}>, tile_rows = 64 : i64}
  moe.kernel.route_rows ins(%l, %b : memref<?xf32>, memref<8xf32>)
      outs(%i, %w, %eo, %t, %w, %t, %t : memref<?xi32>, memref<?xf32>,
           memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>,
           memref<?xi32>) tokens(%n) worklist(%t : memref<?xi32>)
      {experts = 8, policy = #moe.policy<top_k = 2>, tile_rows = 64}
  // CHECK: moe.kernel.route_rows ins(%{{.*}} : memref<?xf32>) outs({{.*}}) tokens(%{{.*}}) {experts
  moe.kernel.route_rows ins(%l : memref<?xf32>)
      outs(%i, %w, %eo, %t, %w, %t, %t : memref<?xi32>, memref<?xf32>,
           memref<9xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>,
           memref<?xi32>) tokens(%n)
      {experts = 8, policy = #moe.policy<top_k = 2>}
  // CHECK: moe.kernel.group_rows {{.*}} tokens(%{{.*}}) worklist(%{{.*}} : memref<?xi32>) {experts = 8 : i64, per_token = 2 : i64, tile_rows = 16 : i64}
  moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)
      outs(%eo, %t, %w, %t, %t : memref<9xi32>, memref<?xi32>,
           memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      worklist(%t : memref<?xi32>) {experts = 8, per_token = 2, tile_rows = 16}
  // CHECK: moe.kernel.all_rows outs({{.*}}) tokens(%{{.*}}) worklist(%{{.*}} : memref<?xi32>) {experts = 8 : i64, tile_rows = 16 : i64}
  moe.kernel.all_rows
      outs(%eo, %t, %w, %t, %t : memref<9xi32>, memref<?xi32>,
           memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      worklist(%t : memref<?xi32>) {experts = 8, tile_rows = 16}
  return
}

// CHECK-LABEL: func.func @gemm
func.func @gemm(%x: memref<?xbf16>, %w: memref<?xi8>, %t: memref<?xi32>,
    %y: memref<?xbf16>) {
  // CHECK: moe.kernel.ragged_gemm ins(%{{.*}}, %{{.*}} : memref<?xbf16>, memref<?xi8>) gather(%{{.*}} : memref<?xi32>) worklist(%{{.*}} : memref<?xi32>) outs(%{{.*}} : memref<?xbf16>) attributes {experts = 8 : i64, k = 64 : i64, n = 96 : i64, parts = 2 : i64, tile_rows = 64 : i64, weight_type = bf16} {
  // CHECK: moe.yield
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>)
      gather(%t : memref<?xi32>) worklist(%t : memref<?xi32>)
      outs(%y : memref<?xbf16>) attributes {experts = 8, k = 64, n = 96,
      parts = 2, tile_rows = 64, weight_type = bf16} {
  ^bb0(%a: f32, %b: f32):
    %m = arith.mulf %a, %b : f32
    moe.yield %m : f32
  }
  // CHECK: moe.kernel.ragged_gemm ins(%{{.*}}, %{{.*}} : memref<?xbf16>, memref<?xi8>) worklist(
  // CHECK-SAME: parts = 1
  // CHECK-NEXT: return
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>)
      worklist(%t : memref<?xi32>) outs(%y : memref<?xbf16>)
      attributes {experts = 8, k = 96, n = 64, parts = 1, tile_rows = 64,
      weight_type = bf16}
  return
}

// CHECK-LABEL: func.func @attributes
// CHECK-SAME: config = #moe.gpu<arch = "sm_90a", threads = 128, blocks = 1, n = 128, k = 64, stages = 3, accumulation = "mma-k16">
// CHECK-SAME: layout = #moe.layout<kind = rows, kTile = 8>
func.func @attributes() attributes {
    config = #moe.gpu<arch = "sm_90a", threads = 128, blocks = 1, n = 128,
                      k = 64, stages = 3, accumulation = "mma-k16">,
    layout = #moe.layout<kind = rows, kTile = 8>} {
  return
}
