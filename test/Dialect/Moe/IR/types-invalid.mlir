// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{C1: a routing needs at least one expert and fewer than 2^31 - 1, got 0}}
func.func private @moe_routing_c1(!moe.routing<experts = 0, per_token = 1>)

// -----

// expected-error @+1 {{C2: per_token must lie between 1 and the number of experts 8, got 9}}
func.func private @moe_routing_c2(!moe.routing<experts = 8, per_token = 9>)

// -----

// expected-error @+1 {{C2: per_token must lie between 1 and the number of experts 8, got 0}}
func.func private @moe_routing_c2_zero(!moe.routing<experts = 8, per_token = 0>)

// -----

// expected-error @+1 {{C3: expected 0 <= rows <= per_token and 0 <= extra < 2^31, not both 0, got rows = 3 and extra = 0}}
func.func private @moe_routing_c3(!moe.routing<experts = 8, per_token = 2, rows = 3, extra = 0>)

// -----

// expected-error @+1 {{C3: expected 0 <= rows <= per_token and 0 <= extra < 2^31, not both 0, got rows = 0 and extra = 0}}
func.func private @moe_routing_c3_none(!moe.routing<experts = 8, per_token = 2, rows = 0, extra = 0>)

// -----

// expected-error @+1 {{C3: expected 0 <= rows <= per_token and 0 <= extra < 2^31, not both 0, got rows = 1 and extra = -1}}
func.func private @moe_routing_c3_negative(!moe.routing<experts = 8, per_token = 2, rows = 1, extra = -1>)

// -----

// expected-error @+1 {{C1: mr, nr and kc must be at least 1, got 4, 0 and 64}}
#cpu_c1 = #moe.cpu<isa = avx2, mr = 4, nr = 0, kc = 64, prefetch = 0, accumulation = "a">

// -----

// expected-error @+1 {{C2: prefetch must not be negative, got -64}}
#cpu_c2 = #moe.cpu<isa = avx2, mr = 4, nr = 2, kc = 64, prefetch = -64, accumulation = "a">

// -----

// expected-error @+1 {{C3: the accumulation class needs a name}}
#cpu_c3 = #moe.cpu<isa = avx2, mr = 4, nr = 2, kc = 64, prefetch = 0, accumulation = "">

// -----

// expected-error @+1 {{C1: kInner must divide kTile, both at least 1, got 3 and 32}}
#layout_c1 = #moe.layout<kind = panels, kTile = 32, kInner = 3>

// -----

// expected-error @+1 {{C1: kInner must divide kTile, both at least 1, got 1 and 0}}
#layout_c1_zero = #moe.layout<kind = panels, kTile = 0>

// -----

// expected-error @+1 {{C2: row_major has no tiles, got kTile = 32 and kInner = 2}}
#layout_c2 = #moe.layout<kind = row_major, kTile = 32, kInner = 2>

// -----

// expected-error @+1 {{C1: a routing needs at least one expert and fewer than 2^31 - 1, got 2147483647}}
func.func private @too_many_experts(!moe.routing<experts = 2147483647, per_token = 1>)

// -----

// expected-error @+1 {{C3: expected 0 <= rows <= per_token and 0 <= extra < 2^31, not both 0, got rows = 1 and extra = 2147483648}}
func.func private @too_many_rows(!moe.routing<experts = 8, per_token = 8, rows = 1, extra = 2147483648>)
