// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{C1: expected 2 block arguments, got 1}}
"plan.func"() <{sym_name = "plan_func_c1_count", symbols = ["N"], symbol_min = array<i64: 0>, symbol_max = array<i64: 9>, input_names = ["x"], input_types = [tensor<?x8xf32>], output_names = [], output_types = [], dims = array<i64: 0>}> ({
^bb0(%n: index):
  "plan.variant"() ({
  ^bb0:
  }) : () -> ()
}) : () -> ()

// -----

// expected-error @+1 {{C1: block argument 0 must be an index, got '!plan.buffer'}}
"plan.func"() <{sym_name = "plan_func_c1_symbol", symbols = ["N"], symbol_min = array<i64: 0>, symbol_max = array<i64: 9>, input_names = ["x"], input_types = [tensor<?x8xf32>], output_names = [], output_types = [], dims = array<i64: 0>}> ({
^bb0(%x: !plan.buffer, %n: index):
  "plan.variant"() ({
  ^bb0:
  }) : () -> ()
}) : () -> ()

// -----

// expected-error @+1 {{C1: block argument 1 must be a buffer, got 'index'}}
"plan.func"() <{sym_name = "plan_func_c1_buffer", symbols = ["N"], symbol_min = array<i64: 0>, symbol_max = array<i64: 9>, input_names = ["x"], input_types = [tensor<?x8xf32>], output_names = [], output_types = [], dims = array<i64: 0>}> ({
^bb0(%n: index, %x: index):
  "plan.variant"() ({
  ^bb0:
  }) : () -> ()
}) : () -> ()

// -----

// expected-error @+1 {{C1: inputs and outputs need a name and a type each}}
"plan.func"() <{sym_name = "plan_func_c1_names", symbols = ["N"], symbol_min = array<i64: 0>, symbol_max = array<i64: 9>, input_names = [], input_types = [tensor<?x8xf32>], output_names = [], output_types = [], dims = array<i64: 0>}> ({
^bb0(%n: index, %x: !plan.buffer):
  "plan.variant"() ({
  ^bb0:
  }) : () -> ()
}) : () -> ()

// -----

// expected-error @+1 {{C2: 2 dynamic dimensions need as many dims, got 1}}
plan.func @plan_func_c2_count symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0] {
  plan.variant {
  }
}

// -----

// expected-error @+1 {{C2: dims names symbol 1 of 1}}
plan.func @plan_func_c2_symbol symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs() dims [1] {
  plan.variant {
  }
}

// -----

// expected-error @+1 {{C3: 1 symbols need as many limits, got 2 and 1}}
"plan.func"() <{sym_name = "plan_func_c3_count", symbols = ["N"], symbol_min = array<i64: 0, 1>, symbol_max = array<i64: 9>, input_names = ["x"], input_types = [tensor<?x8xf32>], output_names = [], output_types = [], dims = array<i64: 0>}> ({
^bb0(%n: index, %x: !plan.buffer):
  "plan.variant"() ({
  ^bb0:
  }) : () -> ()
}) : () -> ()

// -----

// expected-error @+1 {{C3: limits of symbol "N" must have 0 <= min <= max, got [5, 4]}}
plan.func @plan_func_c3_order symbols(%n: "N" [5, 4]) inputs() outputs() dims [] {
  plan.variant {
  }
}

// -----

// expected-error @+1 {{C3: limits of symbol "N" must have 0 <= min <= max, got [-1, 4]}}
plan.func @plan_func_c3_negative symbols(%n: "N" [-1, 4]) inputs() outputs() dims [] {
  plan.variant {
  }
}

// -----

// expected-error @+1 {{C4: a function needs at least one variant}}
plan.func @plan_func_c4_empty symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  
}

// -----

// expected-error @+1 {{C4: expected plan.variant in the body, got arith.constant}}
plan.func @plan_func_c4_other symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  %c = arith.constant 0 : index
  plan.variant {
  }
}

// -----

plan.func @plan_func_c4_last symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  // expected-error @+1 {{C4: the last variant must be without guards}}
  plan.variant where [0, 0, 4] {
  }
}

// -----

plan.func @plan_func_c4_early symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  // expected-error @+1 {{C4: only the last variant may be without guards}}
  plan.variant {
  }
  plan.variant {
  }
}

// -----

// expected-error @+1 {{C5: expected a ranked tensor of f32, bf16, f16, i32, i64 or i8, got 'f32'}}
plan.func @plan_func_c5_type symbols() inputs(%x: "x" f32) outputs() dims [] {
  plan.variant {
  }
}

// -----

// expected-error @+1 {{C5: expected a ranked tensor of f32, bf16, f16, i32, i64 or i8, got 'tensor<8xf64>'}}
plan.func @plan_func_c5_element symbols() inputs() outputs(%y: "y" tensor<8xf64>) dims [] {
  plan.variant {
  }
}

// -----

// expected-error @+1 {{C6: two inputs are named "x"}}
plan.func @plan_func_c6_twice symbols() inputs(%x: "x" tensor<8xf32>, %z: "x" tensor<8xf32>) outputs() dims [] {
  plan.variant {
  }
}

// -----

// expected-error @+1 {{C6: one of outputs has no name}}
plan.func @plan_func_c6_empty symbols() inputs() outputs(%y: "" tensor<8xf32>) dims [] {
  plan.variant {
  }
}

// -----

plan.func @plan_variant_c1_triple symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  // expected-error @+1 {{C1: guards are triples [symbol, lo, hi], got 2 numbers}}
  plan.variant where [0, 4] {
  }
  plan.variant {
  }
}

// -----

plan.func @plan_variant_c1_symbol symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  // expected-error @+1 {{C1: a guard names symbol 1 of 1}}
  plan.variant where [1, 0, 4] {
  }
  plan.variant {
  }
}

// -----

plan.func @plan_variant_c1_empty symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  // expected-error @+1 {{C1: guard [4, 4) is empty}}
  plan.variant where [0, 4, 4] {
  }
  plan.variant {
  }
}

// -----

plan.func @plan_variant_c2 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  // expected-error @+1 {{C2: expected ops of plan in the body, got arith.constant}}
  plan.variant {
    %c = arith.constant 0 : index
  }
}

// -----

// expected-error @+1 {{'plan.variant' op expects parent op 'plan.func'}}
plan.variant {
}

// -----

plan.func @plan_alloc_c1_none symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: a buffer needs at least one size}}
    %t = plan.alloc [] slot 0
  }
}

// -----

plan.func @plan_alloc_c1_results symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: size affine_map<(d0) -> (d0, d0)> must have one result}}
    %t = plan.alloc [affine_map<(n) -> (n, n)>] slot 0
  }
}

// -----

plan.func @plan_alloc_c1_dims symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: size affine_map<(d0, d1) -> (d0)> must have one dimension for each of 1 symbols and no symbol operand}}
    %t = plan.alloc [affine_map<(n, m) -> (n)>] slot 0
  }
}

// -----

plan.func @plan_alloc_c1_symbols symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: size affine_map<(d0)[s0] -> (d0 + s0)> must have one dimension for each of 1 symbols and no symbol operand}}
    %t = plan.alloc [affine_map<(n)[s] -> (n + s)>] slot 0
  }
}

// -----

plan.func @plan_alloc_c1_linear symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: size affine_map<(d0) -> ((d0 ceildiv 16) * 64)> must be linear}}
    %t = plan.alloc [affine_map<(n) -> (n ceildiv 16 * 64)>] slot 0
  }
}

// -----

plan.func @plan_alloc_c2 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C2: slot must not be negative, got -1}}
    %t = plan.alloc [affine_map<(n) -> (n)>] slot -1
  }
}

// -----

// expected-error @+1 {{'plan.alloc' op expects parent op 'plan.variant'}}
%t = plan.alloc [affine_map<() -> (8)>] slot 0

// -----

plan.func @plan_copy_c1 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: size affine_map<(d0) -> (d0 mod 4)> must be linear}}
    plan.copy %x to %y size affine_map<(n) -> (n mod 4)> label "c"
  }
}

// -----

plan.func @plan_copy_c2 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C2: label must not be empty}}
    plan.copy %x to %y size affine_map<(n) -> (n)> label ""
  }
}

// -----

plan.func @plan_record_experts_c1_experts symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: experts must be at least 1, got 0}}
    plan.record_experts %x experts 0 layer "l"
  }
}

// -----

plan.func @plan_record_experts_c1_layer symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: layer must not be empty}}
    plan.record_experts %x experts 8 layer ""
  }
}

// -----

plan.func @plan_tap_routes_c1 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: size affine_map<(d0) -> (d0 floordiv 2)> must be linear}}
    plan.tap_routes %y, %y tokens affine_map<(n) -> (n floordiv 2)> per_token 2 experts 8 layer "l"
  }
}

// -----

plan.func @plan_tap_routes_c2 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C2: per_token must be in 1 to 8 experts, got 9}}
    plan.tap_routes %y, %y tokens affine_map<(n) -> (n)> per_token 9 experts 8 layer "l"
  }
}

// -----

plan.func @plan_tap_routes_c2_none symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C2: per_token must be in 1 to 8 experts, got 0}}
    plan.tap_routes %y, %y tokens affine_map<(n) -> (n)> per_token 0 experts 8 layer "l"
  }
}

// -----

plan.func @plan_tap_routes_c2_layer symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C2: layer must not be empty}}
    plan.tap_routes %y, %y tokens affine_map<(n) -> (n)> per_token 2 experts 8 layer ""
  }
}

// -----

plan.func @plan_tap_routes_c3 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    plan.tap_routes %y, %y tokens affine_map<(n) -> (n)> per_token 2 experts 8 layer "l"
    // expected-error @+1 {{C3: two taps of layer "l"}}
    plan.tap_routes %y, %y tokens affine_map<(n) -> (n)> per_token 2 experts 8 layer "l"
  }
}

// -----

plan.func @plan_tap_routes_c4 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C4: ids and weights must be temporary buffers or outputs, or inputs of a read_only tap}}
    plan.tap_routes %y, %x tokens affine_map<(n) -> (n)> per_token 2 experts 8 layer "l"
  }
}

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C1: row_major packs one weight, got 2}}
plan.constant @plan_constant_c1_row_major packs [@w, @w] #moe.layout<kind = row_major>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C1: row_major packs one weight, got 0}}
plan.constant @plan_constant_c1_none packs [] #moe.layout<kind = row_major>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C1: panels pack 1 or 2 weights, got 3}}
plan.constant @plan_constant_c1_panels packs [@w, @w, @w] #moe.layout<kind = panels>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C1: panels pack weights of one type, got 'tensor<8x4xf32>' and 'tensor<4x8xf32>'}}
plan.constant @plan_constant_c1_types packs [@w, @v] #moe.layout<kind = panels>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C1: panels pack weights of rank 2 or 3, got 'tensor<8xf32>'}}
plan.constant @plan_constant_c1_rank packs [@r] #moe.layout<kind = panels>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C2: no moe.weight named @x}}
plan.constant @plan_constant_c2 packs [@x] #moe.layout<kind = row_major>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C3: panels are of f32 or bf16, got 'tensor<8x4xf16>'}}
plan.constant @plan_constant_c3_element packs [@h] #moe.layout<kind = panels>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C3: panels of 'bf16' have kTile = 32 and kInner = 2, got 1 and 1}}
plan.constant @plan_constant_c3_bf16 packs [@b] #moe.layout<kind = panels>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
moe.weight @v : tensor<4x8xf32> from ["v"]
moe.weight @b : tensor<8x4xbf16> from ["b"]
moe.weight @h : tensor<8x4xf16> from ["h"]
moe.weight @r : tensor<8xf32> from ["r"]
// expected-error @+1 {{C3: panels of 'f32' have kTile = 1 and kInner = 1, got 32 and 2}}
plan.constant @plan_constant_c3_f32 packs [@w] #moe.layout<kind = panels, kTile = 32, kInner = 2>

// -----

moe.weight @w : tensor<8x4xf32> from ["w"]
plan.func @plan_get_constant_c1 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: no plan.constant named @w}}
    %w = plan.get_constant @w
  }
}

// -----

plan.func @plan_dispatch_c1_missing symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: no plan.kernel named @k}}
    plan.dispatch @k(%x) label "l" : !plan.buffer
  }
}

// -----

plan.kernel @k(%a: memref<?xf32>, %n: index) {
}
plan.func @plan_dispatch_c1_count symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: @k takes 2 arguments, got 1}}
    plan.dispatch @k(%x) label "l" : !plan.buffer
  }
}

// -----

plan.kernel @k(%a: memref<?xf32>, %n: index) {
}
plan.func @plan_dispatch_c1_buffer symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: argument 1 of @k is 'index', got '!plan.buffer'}}
    plan.dispatch @k(%x, %x) label "l" : !plan.buffer, !plan.buffer
  }
}

// -----

plan.kernel @k(%a: memref<?xf32>, %n: index) {
}
plan.func @plan_dispatch_c1_size symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: argument 0 of @k is 'memref<?xf32>', got 'index'}}
    plan.dispatch @k(%n, %n) label "l" : index, index
  }
}

// -----

plan.binary @b "elf-x86_64-object" {k = {args = 3, levels = 1}} [0]
plan.func @plan_dispatch_c1_binary symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C1: @k takes 3 arguments, got 2}}
    plan.dispatch @k(%x, %y) label "l" : !plan.buffer, !plan.buffer
  }
}

// -----

func.func @plan_dispatch_c2(%n: index) {
  // expected-error @+1 {{'plan.dispatch' op expects parent op 'plan.variant'}}
  plan.dispatch @k(%n) label "l" : index
  return
}

// -----

plan.kernel @k(%n: index) {
}
plan.func @plan_dispatch_c2_argument symbols() inputs() outputs() dims [] {
  "plan.variant"() <{guards = array<i64>}> ({
  ^bb0(%n: index):
    // expected-error @+1 {{C2: sizes must be symbols of the function}}
    plan.dispatch @k(%n) label "l" : index
  }) : () -> ()
}

// -----

plan.kernel @k(%a: memref<?xf32>, %n: index) {
}
plan.func @plan_dispatch_c3 symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  plan.variant {
    // expected-error @+1 {{C3: label must not be empty}}
    plan.dispatch @k(%x, %n) label "" : !plan.buffer, index
  }
}

// -----

// expected-error @+1 {{C1: arguments are memrefs of rank 1 or indices, got 'memref<?x8xf32>'}}
plan.kernel @plan_kernel_c1_rank(%a: memref<?x8xf32>) {
}

// -----

// expected-error @+1 {{C1: arguments are memrefs of rank 1 or indices, got 'i64'}}
plan.kernel @plan_kernel_c1_type(%a: i64) {
}

// -----

// expected-error @+1 {{C2: variants are #moe.cpu attributes, got 3 : i64}}
plan.kernel @plan_kernel_c2_kind(%a: memref<?xf32>) variants [3] {
}

// -----

#avx2 = #moe.cpu<isa = avx2, mr = 4, nr = 2, kc = 64, prefetch = 0, accumulation = "a">
// expected-error @+1 {{C2: two variants for level avx2}}
plan.kernel @plan_kernel_c2_twice(%a: memref<?xf32>) variants [#avx2, #avx2] {
}

// -----

// expected-error @+1 {{C1: expected format "elf-x86_64-object", "ptx" or "cubin", got "coff"}}
plan.binary @plan_binary_c1 "coff" {} [0]

// -----

// expected-error @+1 {{C2: kernel "k" needs integers 'args' and 'levels', got {levels = 1 : i64}}}
plan.binary @plan_binary_c2 "elf-x86_64-object" {k = {levels = 1}} [0]
