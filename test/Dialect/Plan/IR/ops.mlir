// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s

moe.weight @gate : tensor<8x96x64xbf16> from ["g.{0..7}"] stack
moe.weight @up : tensor<8x96x64xbf16> from ["u.{0..7}"] stack
moe.weight @down : tensor<8x64x96xf32> from ["d.{0..7}"] stack

// CHECK: plan.constant @router packs [@gate] #moe.layout<kind = row_major>
plan.constant @router packs [@gate] #moe.layout<kind = row_major>
// CHECK: plan.constant @gate_up packs [@gate, @up] #moe.layout<kind = panels, kTile = 32, kInner = 2>
plan.constant @gate_up packs [@gate, @up]
    #moe.layout<kind = panels, kTile = 32, kInner = 2>
// CHECK: plan.constant @f32 packs [@down] #moe.layout<kind = panels>
plan.constant @f32 packs [@down] #moe.layout<kind = panels>

// CHECK: plan.kernel @copy(%{{.*}}: memref<?xf32>, %{{.*}}: memref<?xf32>, %{{.*}}: index) variants [#moe.cpu<isa = avx2
// CHECK-NEXT: }
plan.kernel @copy(%a: memref<?xf32>, %b: memref<?xf32>, %n: index)
    variants [#moe.cpu<isa = avx2, mr = 4, nr = 2, kc = 64, prefetch = 0,
                       accumulation = "avx2">,
              #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 64, prefetch = 0,
                       accumulation = "amx">] {
}

// CHECK: plan.kernel @count(%{{.*}}: memref<?xi32>, %{{.*}}: memref<8xi64>) {
// CHECK-NEXT: moe.kernel.count_rows
plan.kernel @count(%eo: memref<?xi32>, %n: memref<8xi64>) {
  moe.kernel.count_rows ins(%eo : memref<?xi32>) outs(%n : memref<8xi64>)
      {experts = 8}
}

// CHECK: plan.func @f symbols(%[[N:.*]]: "N" [0, 4096]) inputs(%[[X:.*]]: "x" tensor<?x8xf32>) outputs(%[[Y:.*]]: "y" tensor<?x8xf32>) dims [0, 0] {
plan.func @f symbols(%n: "N" [0, 4096]) inputs(%x: "x" tensor<?x8xf32>)
    outputs(%y: "y" tensor<?x8xf32>) dims [0, 0] {
  // CHECK-NEXT: plan.variant where [0, 0, 16] {
  plan.variant where [0, 0, 16] {
    // CHECK-NEXT: plan.copy %[[X]] to %[[Y]] size #{{.*}} label "f/copy"
    plan.copy %x to %y size affine_map<(n) -> (n * 32)> label "f/copy"
  }
  // CHECK: plan.variant {
  plan.variant {
    // CHECK-NEXT: %[[T:.*]] = plan.alloc [#{{.*}}, #{{.*}}] slot 0
    %t = plan.alloc [affine_map<(n) -> (n * 32 + 64)>, affine_map<(n) -> (512)>]
        slot 0
    // CHECK-NEXT: %[[W:.*]] = plan.get_constant @router
    %w = plan.get_constant @router
    // CHECK-NEXT: plan.dispatch @copy(%[[X]], %[[T]], %[[N]]) label "f/a" : !plan.buffer, !plan.buffer, index
    plan.dispatch @copy(%x, %t, %n) label "f/a"
        : !plan.buffer, !plan.buffer, index
    // CHECK-NEXT: plan.dispatch @count(%[[T]], %[[W]]) label "f/b" single : !plan.buffer, !plan.buffer
    plan.dispatch @count(%t, %w) label "f/b" single
        : !plan.buffer, !plan.buffer
    // CHECK-NEXT: plan.record_experts %[[T]] experts 8 layer "f"
    plan.record_experts %t experts 8 layer "f"
    // CHECK-NEXT: plan.record_experts %[[T]] experts 8 layer "g" dropped %[[Y]]
    plan.record_experts %t experts 8 layer "g" dropped %y
    // CHECK-NEXT: plan.tap_routes %[[T]], %[[Y]] tokens #{{.*}} per_token 2 experts 8 layer "f"
    plan.tap_routes %t, %y tokens affine_map<(n) -> (n)> per_token 2 experts 8
        layer "f"
    // CHECK-NEXT: plan.tap_routes {{.*}} per_token 8 experts 8 layer "g" read_only
    plan.tap_routes %x, %x tokens affine_map<(n) -> (2 * n + 1)> per_token 8
        experts 8 layer "g" read_only
  }
}

// A function without sizes, inputs or outputs; its kernel is object code.
// CHECK-LABEL: plan.func @g symbols() inputs() outputs() dims [] {
plan.func @g symbols() inputs() outputs() dims [] {
  plan.variant {
    %t = plan.alloc [affine_map<() -> (64)>] slot 1
    // CHECK: plan.dispatch @compiled(%{{.*}}) label "g" : !plan.buffer
    plan.dispatch @compiled(%t) label "g" : !plan.buffer
  }
}

// CHECK: plan.binary @x86 "elf-x86_64-object" {compiled = {accumulation = ["a"], args = 1 : i64, levels = 1 : i64, scratch = [0]}} [127, 69, 76, 70]
plan.binary @x86 "elf-x86_64-object"
    {compiled = {args = 1, levels = 1, scratch = [0], accumulation = ["a"]}}
    [127, 69, 76, 70]
