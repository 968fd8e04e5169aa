// RUN: moe-opt %s -moe-retarget-to-host | FileCheck %s

// Entries, the table and the layout of shared memory.

gpu.module @sm_80 attributes {moe.arch = "sm_80"} {
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  llvm.mlir.global internal @sums() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<40 x f32>
  llvm.mlir.global internal @flag() {addr_space = 3 : i32} : i32
  llvm.mlir.global internal @tickets(dense<0> : tensor<4xi32>) {addr_space = 1 : i32} : !llvm.array<4 x i32>

  llvm.func @helper(%x: i32) -> i32 {
    %0 = nvvm.read.ptx.sreg.tid.x : i32
    %1 = llvm.add %0, %x : i32
    llvm.return %1 : i32
  }

  llvm.func @kernel(%map: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<16 x i64>, nvvm.grid_constant}, %out: !llvm.ptr<1> {llvm.noalias}, %n: i32) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 64, 2, 1>, nvvm.cluster_dim = array<i32: 2, 1, 1>, moe.kernel = "kernel", moe.shared_bytes = 4096 : i32} {
    %word = llvm.load %map : !llvm.ptr -> i64
    %x = llvm.call @helper(%n) : (i32) -> i32
    %flag = llvm.mlir.addressof @flag : !llvm.ptr<3>
    llvm.store %x, %flag : i32, !llvm.ptr<3> loc("layers.0.mlp"("model.mlir":4:2))
    %dynamic = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %address = llvm.ptrtoint %dynamic : !llvm.ptr<3> to i32
    llvm.store %address, %out {alignment = 4 : i64} : i32, !llvm.ptr<1> loc("model.mlir":7:3)
    %tickets = llvm.mlir.addressof @tickets : !llvm.ptr<1>
    %one = llvm.mlir.constant(1 : i32) : i32
    %ticket = llvm.atomicrmw add %tickets, %one syncscope("device") monotonic : !llvm.ptr<1>, i32
    llvm.return
  }
}

// CHECK-NOT: gpu.module
// CHECK-NOT: ptr<
// CHECK-NOT: addr_space = {{[1-9]}}
// Sites are the innermost name, or the position.
// CHECK-DAG: @moe_emu_site.0("layers.0.mlp\00")
// CHECK-DAG: @moe_emu_site.1("model.mlir:7:3\00")
// CHECK-DAG: llvm.func @moe_emu_check(!llvm.ptr, !llvm.ptr, i32, i32, i32, !llvm.ptr) attributes {convergent, no_unwind}
// CHECK: llvm.mlir.global internal @tickets(dense<0> : tensor<4xi32>)

// CHECK: llvm.func internal @helper(%[[THREAD:.*]]: !llvm.ptr, %{{.*}}: i32) -> i32
// CHECK-NEXT: llvm.load %[[THREAD]] invariant : !llvm.ptr -> i32

// A parameter that lies on the host's stack is not checked.
// CHECK: llvm.func internal @kernel(%[[THREAD:.*]]: !llvm.ptr, %[[MAP:.*]]: !llvm.ptr, %[[OUT:.*]]: !llvm.ptr, %[[N:.*]]: i32) {
// CHECK-NEXT: llvm.load %[[MAP]] {alignment = 1 : i64}
// CHECK-NEXT: llvm.call @helper(%[[THREAD]], %[[N]])
// CHECK-NEXT: %[[AT:.*]] = llvm.getelementptr %[[THREAD]][56]
// CHECK-NEXT: %[[SHARED:.*]] = llvm.load %[[AT]] invariant : !llvm.ptr -> !llvm.ptr
// CHECK-NEXT: %[[FLAG:.*]] = llvm.getelementptr %[[SHARED]][160]
// CHECK: %[[SITE:.*]] = llvm.mlir.addressof @moe_emu_site.
// CHECK: llvm.call @moe_emu_check(%[[THREAD]], %[[FLAG]], %{{.*}}, %{{.*}}, %{{.*}}, %[[SITE]])
// CHECK: llvm.store %{{.*}}, %[[FLAG]]
// CHECK: llvm.getelementptr %{{.*}}[1024]
// CHECK: llvm.call @moe_emu_check(%[[THREAD]], %[[OUT]],
// CHECK: %[[ATOMIC:.*]] = llvm.mlir.constant(2 : i32)
// CHECK: llvm.call @moe_emu_check(%[[THREAD]], %{{.*}}, %{{.*}}, %{{.*}}, %[[ATOMIC]],
// CHECK-NEXT: llvm.atomicrmw add %{{.*}}, %{{.*}} monotonic

// CHECK: llvm.func internal @moe_emu_entry.kernel(%[[THREAD:.*]]: !llvm.ptr, %[[PARAMS:.*]]: !llvm.ptr)
// CHECK-NEXT: %[[SLOT:.*]] = llvm.getelementptr %[[PARAMS]][0]
// CHECK-NEXT: %[[MAP:.*]] = llvm.load %[[SLOT]]
// CHECK-NEXT: %[[SLOT:.*]] = llvm.getelementptr %[[PARAMS]][1]
// CHECK-NEXT: %[[ADDRESS:.*]] = llvm.load %[[SLOT]]
// CHECK-NEXT: %[[OUT:.*]] = llvm.load %[[ADDRESS]] : !llvm.ptr -> !llvm.ptr
// CHECK-NEXT: %[[SLOT:.*]] = llvm.getelementptr %[[PARAMS]][2]
// CHECK-NEXT: %[[ADDRESS:.*]] = llvm.load %[[SLOT]]
// CHECK-NEXT: %[[N:.*]] = llvm.load %[[ADDRESS]] : !llvm.ptr -> i32
// CHECK-NEXT: llvm.call @kernel(%[[THREAD]], %[[MAP]], %[[OUT]], %[[N]])

// Name, entry, number of parameters, bytes of static shared memory, sizes of
// the parameters, threads, blocks of a cluster.
// CHECK: llvm.mlir.global internal constant @moe_emu_param_sizes.kernel()
// CHECK: llvm.mlir.constant(128 : i32)
// CHECK: llvm.mlir.constant(8 : i32)
// CHECK: llvm.mlir.constant(4 : i32)
// CHECK: llvm.mlir.global internal constant @moe_emu_kernels()
// CHECK: llvm.mlir.addressof @moe_emu_entry.kernel
// CHECK: llvm.mlir.constant(3 : i32)
// CHECK: llvm.mlir.constant(1024 : i32)
// CHECK: llvm.mlir.constant(128 : i32)
// CHECK: llvm.mlir.constant(2 : i32)
// CHECK: llvm.mlir.global internal constant @moe_emu_variables()
// CHECK: llvm.mlir.addressof @tickets
// CHECK: llvm.mlir.constant(16 : i64)
// CHECK: llvm.mlir.global external constant @moe_emulated_module()
