// RUN: moe-opt %s -verify-diagnostics -split-input-file

func.func @group_rows_c3(%i: memref<?xi32>, %w: memref<?xf32>, %n: index) {
  // expected-error @+1 {{C3: worklist and tile_rows are given together}}
  moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>) outs(%i, %i, %w, %i, %i : memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) worklist(%i : memref<?xi32>) {experts = 8, per_token = 2}
  return
}

// -----

func.func @all_rows_c3(%i: memref<?xi32>, %w: memref<?xf32>, %n: index) {
  // expected-error @+1 {{C3: tile_rows must be at least 1, got 0}}
  moe.kernel.all_rows outs(%i, %i, %w, %i, %i : memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) worklist(%i : memref<?xi32>) {experts = 8, tile_rows = 0}
  return
}

// -----

func.func @route_rows_c1(%l: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C1: experts must be at least 1, got 0}}
  moe.kernel.route_rows ins(%l : memref<?xf32>) outs(%i, %l, %i, %i, %l, %i, %i : memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 0, policy = #moe.policy<top_k = 2>}
  return
}

// -----

func.func @route_rows_c2(%l: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C2: top_k}}
  moe.kernel.route_rows ins(%l : memref<?xf32>) outs(%i, %l, %i, %i, %l, %i, %i : memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 8, policy = #moe.policy<top_k = 9>}
  return
}

// -----

func.func @route_rows_c3(%l: memref<?xf32>, %b: memref<7xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C3: bias must hold 8 elements, got 'memref<7xf32>'}}
  moe.kernel.route_rows ins(%l, %b : memref<?xf32>, memref<7xf32>) outs(%i, %l, %i, %i, %l, %i, %i : memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 8, policy = #moe.policy<top_k = 2>}
  return
}

// -----

func.func @route_rows_c4(%l: memref<?xf32>, %eo: memref<8xi32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C4: expert_offsets must hold 9 elements, got 'memref<8xi32>'}}
  moe.kernel.route_rows ins(%l : memref<?xf32>) outs(%i, %l, %eo, %i, %l, %i, %i : memref<?xi32>, memref<?xf32>, memref<8xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 8, policy = #moe.policy<top_k = 2>}
  return
}

// -----

func.func @route_rows_c5(%l: memref<?xf32>, %i: memref<?xi32>, %n: index) {
  // expected-error @+1 {{C5: worklist and tile_rows are given together}}
  moe.kernel.route_rows ins(%l : memref<?xf32>) outs(%i, %l, %i, %i, %l, %i, %i : memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n) {experts = 8, policy = #moe.policy<top_k = 2>, tile_rows = 64}
  return
}

// -----

func.func @ragged_gemm_c1(%x: memref<?xbf16>, %w: memref<?xi8>, %t: memref<?xi32>) {
  // expected-error @+1 {{C1: tile_rows must be at least 1, got 0}}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>) worklist(%t : memref<?xi32>) outs(%x : memref<?xbf16>) attributes {experts = 8, k = 8, n = 8, parts = 1, tile_rows = 0, weight_type = bf16}
  return
}

// -----

func.func @ragged_gemm_c2(%x: memref<?xbf16>, %w: memref<?xi8>, %t: memref<?xi32>, %y: memref<?xf32>) {
  // expected-error @+1 {{C2: x and out must be of weight_type 'bf16', got 'memref<?xbf16>' and 'memref<?xf32>'}}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>) worklist(%t : memref<?xi32>) outs(%y : memref<?xf32>) attributes {experts = 8, k = 8, n = 8, parts = 1, tile_rows = 64, weight_type = bf16}
  return
}

// -----

func.func @ragged_gemm_c3(%x: memref<?xbf16>, %w: memref<?xi8>, %t: memref<?xi32>) {
  // expected-error @+1 {{C3: }}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>) worklist(%t : memref<?xi32>) outs(%x : memref<?xbf16>) attributes {experts = 8, k = 8, n = 8, parts = 2, tile_rows = 64, weight_type = bf16} {
  ^bb0(%a: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @ragged_gemm_c4(%x: memref<?xbf16>, %w: memref<?xi8>, %t: memref<?xi32>) {
  // expected-error @+1 {{C4: without an activation parts must be 1, got 2}}
  moe.kernel.ragged_gemm ins(%x, %w : memref<?xbf16>, memref<?xi8>) worklist(%t : memref<?xi32>) outs(%x : memref<?xbf16>) attributes {experts = 8, k = 8, n = 8, parts = 2, tile_rows = 64, weight_type = bf16}
  return
}

// -----

// expected-error @+1 {{C1: unknown architecture "sm_75"; known are sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a}}
func.func @gpu_c1() attributes {c = #moe.gpu<arch = "sm_75", threads = 128, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "a">} {
  return
}

// -----

// expected-error @+1 {{C2: threads must be a multiple of 32 between 32 and 1024, got 100}}
func.func @gpu_c2() attributes {c = #moe.gpu<arch = "sm_80", threads = 100, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "a">} {
  return
}

// -----

// expected-error @+1 {{C3: blocks, n, k and stages must be at least 1, got 1, 0, 1 and 1}}
func.func @gpu_c3() attributes {c = #moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 0, k = 1, stages = 1, accumulation = "a">} {
  return
}

// -----

// expected-error @+1 {{C4: the accumulation class needs a name}}
func.func @gpu_c4() attributes {c = #moe.gpu<arch = "sm_80", threads = 128, blocks = 1, n = 1, k = 1, stages = 1, accumulation = "">} {
  return
}

// -----

// expected-error @+1 {{C2: rows have kInner = 1, got 2}}
func.func @layout_c2() attributes {c = #moe.layout<kind = rows, kTile = 8, kInner = 2>} {
  return
}
