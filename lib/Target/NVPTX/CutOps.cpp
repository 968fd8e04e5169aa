//===- CutOps.cpp - Ops that a cut module may hold ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Ops that both the emulator and LLVM's NVPTX back end have. The back end
// aborts on an instruction that the architecture lacks, so it must not see any.
//
//===----------------------------------------------------------------------===//

#include "NVPTX.h"

using namespace mlir;
using namespace mlir::moe;

/// Plain code, on every architecture.
static constexpr StringRef kCommon[] = {
    "llvm.add",
    "llvm.addrspacecast",
    "llvm.alloca",
    "llvm.and",
    "llvm.ashr",
    "llvm.atomicrmw",
    "llvm.bitcast",
    "llvm.br",
    "llvm.call",
    "llvm.cmpxchg",
    "llvm.cond_br",
    "llvm.extractelement",
    "llvm.extractvalue",
    "llvm.fadd",
    "llvm.fcmp",
    "llvm.fdiv",
    "llvm.fence",
    "llvm.fmul",
    "llvm.fneg",
    "llvm.fpext",
    "llvm.fptosi",
    "llvm.fptoui",
    "llvm.fptrunc",
    "llvm.freeze",
    "llvm.fsub",
    "llvm.func",
    "llvm.getelementptr",
    "llvm.icmp",
    "llvm.insertelement",
    "llvm.insertvalue",
    "llvm.intr.abs",
    "llvm.intr.assume",
    "llvm.intr.bitreverse",
    "llvm.intr.bswap",
    "llvm.intr.ceil",
    "llvm.intr.copysign",
    "llvm.intr.ctlz",
    "llvm.intr.ctpop",
    "llvm.intr.cttz",
    "llvm.intr.fabs",
    "llvm.intr.floor",
    "llvm.intr.fma",
    "llvm.intr.fshl",
    "llvm.intr.fshr",
    "llvm.intr.lifetime.end",
    "llvm.intr.lifetime.start",
    "llvm.intr.maximum",
    "llvm.intr.maxnum",
    "llvm.intr.memcpy",
    "llvm.intr.memset",
    "llvm.intr.minimum",
    "llvm.intr.minnum",
    "llvm.intr.rint",
    "llvm.intr.roundeven",
    "llvm.intr.smax",
    "llvm.intr.smin",
    "llvm.intr.sqrt",
    "llvm.intr.trap",
    "llvm.intr.trunc",
    "llvm.intr.umax",
    "llvm.intr.umin",
    "llvm.inttoptr",
    "llvm.load",
    "llvm.lshr",
    "llvm.mlir.addressof",
    "llvm.mlir.constant",
    "llvm.mlir.global",
    "llvm.mlir.poison",
    "llvm.mlir.undef",
    "llvm.mlir.zero",
    "llvm.mul",
    "llvm.or",
    "llvm.ptrtoint",
    "llvm.return",
    "llvm.sdiv",
    "llvm.select",
    "llvm.sext",
    "llvm.shl",
    "llvm.shufflevector",
    "llvm.sitofp",
    "llvm.srem",
    "llvm.store",
    "llvm.sub",
    "llvm.switch",
    "llvm.trunc",
    "llvm.udiv",
    "llvm.uitofp",
    "llvm.unreachable",
    "llvm.urem",
    "llvm.xor",
    "llvm.zext",
    "nvvm.bar.warp.sync",
    "nvvm.barrier",
    "nvvm.barrier.arrive",
    "nvvm.barrier0",
    "nvvm.convert.f32x2.to.bf16x2",
    "nvvm.convert.f32x2.to.f16x2",
    "nvvm.cp.async.commit.group",
    "nvvm.cp.async.mbarrier.arrive",
    "nvvm.cp.async.shared.global",
    "nvvm.cp.async.wait.group",
    "nvvm.ldmatrix",
    "nvvm.match.sync",
    "nvvm.mbarrier.arrive",
    "nvvm.mbarrier.init",
    "nvvm.mbarrier.inval",
    "nvvm.mbarrier.test.wait",
    "nvvm.memory.barrier",
    "nvvm.mma.sync",
    "nvvm.nanosleep",
    "nvvm.prefetch",
    "nvvm.read.ptx.sreg.ctaid.x",
    "nvvm.read.ptx.sreg.ctaid.y",
    "nvvm.read.ptx.sreg.ctaid.z",
    "nvvm.read.ptx.sreg.laneid",
    "nvvm.read.ptx.sreg.lanemask.eq",
    "nvvm.read.ptx.sreg.lanemask.ge",
    "nvvm.read.ptx.sreg.lanemask.gt",
    "nvvm.read.ptx.sreg.lanemask.le",
    "nvvm.read.ptx.sreg.lanemask.lt",
    "nvvm.read.ptx.sreg.nctaid.x",
    "nvvm.read.ptx.sreg.nctaid.y",
    "nvvm.read.ptx.sreg.nctaid.z",
    "nvvm.read.ptx.sreg.ntid.x",
    "nvvm.read.ptx.sreg.ntid.y",
    "nvvm.read.ptx.sreg.ntid.z",
    "nvvm.read.ptx.sreg.tid.x",
    "nvvm.read.ptx.sreg.tid.y",
    "nvvm.read.ptx.sreg.tid.z",
    "nvvm.read.ptx.sreg.warpid",
    "nvvm.read.ptx.sreg.warpsize",
    "nvvm.redux.sync",
    "nvvm.shfl.sync",
    "nvvm.vote.sync",
};

/// From Hopper on: clusters, asynchronous transactions, TMA.
static constexpr StringRef kHopper[] = {
    "nvvm.cluster.arrive",
    "nvvm.cluster.wait",
    "nvvm.cp.async.bulk.commit.group",
    "nvvm.cp.async.bulk.global.shared.cta",
    "nvvm.cp.async.bulk.prefetch",
    "nvvm.cp.async.bulk.shared.cluster.global",
    "nvvm.cp.async.bulk.tensor.global.shared.cta",
    "nvvm.cp.async.bulk.tensor.prefetch",
    "nvvm.cp.async.bulk.tensor.reduce",
    "nvvm.cp.async.bulk.tensor.shared.cluster.global",
    "nvvm.cp.async.bulk.wait_group",
    "nvvm.elect.sync",
    "nvvm.fence.mbarrier.init",
    "nvvm.fence.proxy",
    "nvvm.fence.sc.cluster",
    "nvvm.griddepcontrol",
    "nvvm.mapa",
    "nvvm.mbarrier.arrive.expect_tx",
    "nvvm.mbarrier.expect_tx",
    "nvvm.mbarrier.try_wait",
    "nvvm.mbarrier.try_wait.parity",
    "nvvm.read.ptx.sreg.cluster.ctaid.x",
    "nvvm.read.ptx.sreg.cluster.ctaid.y",
    "nvvm.read.ptx.sreg.cluster.ctaid.z",
    "nvvm.read.ptx.sreg.cluster.ctarank",
    "nvvm.read.ptx.sreg.cluster.nctaid.x",
    "nvvm.read.ptx.sreg.cluster.nctaid.y",
    "nvvm.read.ptx.sreg.cluster.nctaid.z",
    "nvvm.read.ptx.sreg.cluster.nctarank",
    "nvvm.read.ptx.sreg.clusterid.x",
    "nvvm.read.ptx.sreg.clusterid.y",
    "nvvm.read.ptx.sreg.clusterid.z",
    "nvvm.read.ptx.sreg.nclusterid.x",
    "nvvm.read.ptx.sreg.nclusterid.y",
    "nvvm.read.ptx.sreg.nclusterid.z",
    "nvvm.setmaxregister",
    "nvvm.stmatrix",
};

/// Of Hopper alone; later architectures have other instructions instead.
static constexpr StringRef kOnlyHopper[] = {
    "nvvm.wgmma.commit.group.sync.aligned",
    "nvvm.wgmma.fence.aligned",
    "nvvm.wgmma.mma_async",
    "nvvm.wgmma.wait.group.sync.aligned",
};

const nvptx::CutOpInfo *nvptx::findCutOp(StringRef name) {
  static const llvm::StringMap<CutOpInfo> table = [] {
    llvm::StringMap<CutOpInfo> map;
    for (StringRef op : kCommon)
      map[op] = {};
    for (StringRef op : kHopper)
      map[op] = {90, 0};
    for (StringRef op : kOnlyHopper)
      map[op] = {90, 90};
    return map;
  }();
  auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}
