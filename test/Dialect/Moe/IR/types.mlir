// RUN: moe-opt %s | moe-opt | FileCheck %s

// CHECK-LABEL: func.func private @moe_routing
// CHECK-SAME: !moe.routing<experts = 8, per_token = 2>
func.func private @moe_routing(!moe.routing<experts = 8, per_token = 2>)

// One expert is a routing as well.
// CHECK-LABEL: func.func private @moe_routing_single
// CHECK-SAME: !moe.routing<experts = 1, per_token = 1>
func.func private @moe_routing_single(!moe.routing<experts = 1, per_token = 1>)

// Bounds on the rows are printed where they are not what per_token says.
// CHECK-LABEL: func.func private @moe_routing_bounds
// CHECK-SAME: !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 32>, !moe.routing<experts = 8, per_token = 8>, !moe.routing<experts = 8, per_token = 8, rows = 8, extra = 1>
func.func private @moe_routing_bounds(
    !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 32>,
    !moe.routing<experts = 8, per_token = 8, rows = 8, extra = 0>,
    !moe.routing<experts = 8, per_token = 8, rows = 8, extra = 1>)

// CHECK-LABEL: func.func private @moe_layout
// CHECK-SAME: panels = #moe.layout<kind = panels, kTile = 32, kInner = 2>
// CHECK-SAME: row_major = #moe.layout<kind = row_major>
func.func private @moe_layout() attributes {moe.test = {
  row_major = #moe.layout<kind = row_major, kTile = 1>,
  panels = #moe.layout<kind = panels, kTile = 32, kInner = 2>}}

// CHECK-LABEL: func.func private @moe_cpu
// CHECK-SAME: #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 4096, prefetch = 1024, accumulation = "amx-bf16">
// CHECK-SAME: #moe.isa<avx2>
func.func private @moe_cpu() attributes {moe.test = [
  #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 4096, prefetch = 1024,
           accumulation = "amx-bf16">,
  #moe.isa<avx2>]}
