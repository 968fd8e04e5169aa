// RUN: moe-opt %s -moe-retarget-to-host | FileCheck %s

gpu.module @cut {
  // CHECK-LABEL: llvm.func internal @special
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %{{.*}}: !llvm.ptr)
  llvm.func @special(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
    // CHECK: llvm.getelementptr %[[T]][4]
    %0 = nvvm.read.ptx.sreg.tid.y : i32
    // CHECK: llvm.getelementptr %[[T]][12]
    %1 = nvvm.read.ptx.sreg.ntid.x : i32
    // CHECK: llvm.getelementptr %[[T]][24]
    %2 = nvvm.read.ptx.sreg.ctaid.x : i32
    // CHECK: llvm.getelementptr %[[T]][36]
    %3 = nvvm.read.ptx.sreg.nctaid.x : i32
    // CHECK: llvm.getelementptr %[[T]][48]
    %4 = nvvm.read.ptx.sreg.laneid : i32
    // CHECK: llvm.getelementptr %[[T]][52]
    %5 = nvvm.read.ptx.sreg.warpid : i32
    // CHECK: llvm.mlir.constant(32 : i32)
    %6 = nvvm.read.ptx.sreg.warpsize : i32
    // CHECK: llvm.shl
    // CHECK: llvm.sub
    %7 = nvvm.read.ptx.sreg.lanemask.lt : i32
    // CHECK: llvm.getelementptr %[[T]][64]
    %8 = nvvm.read.ptx.sreg.cluster.ctarank : i32
    // CHECK: llvm.getelementptr %[[T]][24]
    // CHECK: llvm.getelementptr %[[T]][68]
    // CHECK: llvm.udiv
    %9 = nvvm.read.ptx.sreg.clusterid.x : i32
    llvm.return
  }

  // CHECK-LABEL: llvm.func internal @collectives
  // CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[X:.*]]: i32, %[[F:.*]]: f32, %[[P:.*]]: i1, %[[W:.*]]: i64)
  llvm.func @collectives(%x: i32, %f: f32, %p: i1, %w: i64) {
    // CHECK: %[[FLAG:.*]] = llvm.alloca
    %all = llvm.mlir.constant(-1 : i32) : i32
    // CHECK: %[[UP:.*]] = llvm.mlir.constant(2 : i32)
    // CHECK: llvm.call @moe_emu_shfl(%[[T]], %[[UP]], %{{.*}}, %[[X]],
    %0 = nvvm.shfl.sync up %all, %x, %x, %x : i32 -> i32
    // CHECK: %[[BITS:.*]] = llvm.bitcast %[[F]] : f32 to i32
    // CHECK: %[[R:.*]] = llvm.call @moe_emu_shfl(%[[T]], %{{.*}}, %{{.*}}, %[[BITS]], %[[X]], %[[X]], %[[FLAG]],
    // CHECK: llvm.bitcast %[[R]] : i32 to f32
    // CHECK: llvm.load %[[FLAG]]
    %1 = nvvm.shfl.sync bfly %all, %f, %x, %x {return_value_and_is_valid} : f32 -> !llvm.struct<(f32, i1)>
    // CHECK: %[[BALLOT:.*]] = llvm.mlir.constant(3 : i32)
    // CHECK: %[[WIDE:.*]] = llvm.zext %[[P]]
    // CHECK: llvm.call @moe_emu_vote(%[[T]], %[[BALLOT]], %{{.*}}, %[[WIDE]],
    %2 = nvvm.vote.sync ballot %all, %p -> i32
    // CHECK: llvm.call @moe_emu_vote
    // CHECK: llvm.trunc
    %3 = nvvm.vote.sync any %all, %p -> i1
    // CHECK: %[[LONG:.*]] = llvm.zext %[[X]] : i32 to i64
    // CHECK: llvm.call @moe_emu_match_any(%[[T]], %{{.*}}, %[[LONG]],
    %4 = nvvm.match.sync any %all, %x : i32 -> i32
    // CHECK: llvm.call @moe_emu_match_all(%[[T]], %{{.*}}, %[[W]], %[[FLAG]],
    %5 = nvvm.match.sync all %all, %w : i64 -> !llvm.struct<(i32, i1)>
    // CHECK: %[[UMAX:.*]] = llvm.mlir.constant(4 : i32)
    // CHECK: llvm.call @moe_emu_redux(%[[T]], %[[UMAX]], %{{.*}}, %[[X]],
    %6 = nvvm.redux.sync umax %x, %all : i32 -> i32
    // CHECK: llvm.call @moe_emu_elect(%[[T]],
    %7 = nvvm.elect.sync -> i1
    // CHECK: llvm.call @moe_emu_warp_sync(%[[T]],
    nvvm.bar.warp.sync %all : i32
    llvm.return
  }
}
