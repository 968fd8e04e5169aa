//===- NVVMAsyncRules.cpp - Host form of asynchronous nvvm ops ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NVVMRules.h"

#include "moe/Codegen/GPU/Emulation/Operations.h"

using namespace mlir;
using namespace mlir::moe::emulation;

//===----------------------------------------------------------------------===//
// cp.async
//===----------------------------------------------------------------------===//

void Rules::addCpAsyncRules() {
  add<NVVM::CpAsyncOp>([](Rewrite &r, NVVM::CpAsyncOp op) {
    r.call("moe_emu_cp_async", Type(),
           {op.getDst(), op.getSrc(), r.constant(op.getSize()),
            r.orConstant(op.getCpSize(), op.getSize())});
    r.erase();
    return success();
  });
  addCall<NVVM::CpAsyncCommitGroupOp>("moe_emu_cp_async_commit");
  add<NVVM::CpAsyncWaitGroupOp>([](Rewrite &r, NVVM::CpAsyncWaitGroupOp op) {
    r.call("moe_emu_cp_async_wait_group", Type(), r.constant(op.getN()));
    r.erase();
    return success();
  });
  add<NVVM::CpAsyncMBarrierArriveOp>(
      [](Rewrite &r, NVVM::CpAsyncMBarrierArriveOp op) {
        r.call("moe_emu_cp_async_mbarrier_arrive", Type(),
               {op.getAddr(), r.constant(op.getNoinc())});
        r.erase();
        return success();
      });
}

//===----------------------------------------------------------------------===//
// mbarriers
//===----------------------------------------------------------------------===//

static LogicalResult rewriteArrive(Rewrite &r, NVVM::MBarrierArriveOp op) {
  if (op.getRelaxed())
    return unsupported(op, "relaxed arrivals");
  Value state = r.call("moe_emu_mbarrier_arrive", r.i64,
                       {op.getAddr(), r.orConstant(op.getCount(), 1)});
  r.replace(op->getNumResults() ? ValueRange(state) : ValueRange());
  return success();
}

static LogicalResult rewriteArriveExpectTx(Rewrite &r,
                                           NVVM::MBarrierArriveExpectTxOp op) {
  if (op.getRelaxed())
    return unsupported(op, "relaxed arrivals");
  if (op.getPredicate() && op->getNumResults())
    return unsupported(op, "results of predicated arrivals");
  Value state;
  r.guarded(op.getPredicate(), [&] {
    state = r.call("moe_emu_mbarrier_arrive_expect_tx", r.i64,
                   {op.getAddr(), op.getTxcount()});
  });
  r.replace(op->getNumResults() ? ValueRange(state) : ValueRange());
  return success();
}

/// A wait for a state (64 bits) or for a parity.
template <typename Op>
static LogicalResult rewriteWait(Rewrite &r, Op op, const char *function) {
  Value which = op.getStateOrPhase();
  std::string name = function;
  if (which.getType() == r.i32)
    name += "_parity";
  Value done = r.call(name, r.i32, {op.getAddr(), which});
  r.replace(r.toInt(done, r.i1));
  return success();
}

void Rules::addMBarrierRules() {
  add(rewriteArrive);
  add(rewriteArriveExpectTx);
  add<NVVM::MBarrierInitOp>([](Rewrite &r, NVVM::MBarrierInitOp op) {
    r.guarded(op.getPredicate(), [&] {
      r.call("moe_emu_mbarrier_init", Type(), {op.getAddr(), op.getCount()});
    });
    r.erase();
    return success();
  });
  add<NVVM::MBarrierInvalOp>([](Rewrite &r, NVVM::MBarrierInvalOp op) {
    r.call("moe_emu_mbarrier_inval", Type(), op.getAddr());
    r.erase();
    return success();
  });
  add<NVVM::MBarrierExpectTxOp>([](Rewrite &r, NVVM::MBarrierExpectTxOp op) {
    r.call("moe_emu_mbarrier_expect_tx", Type(),
           {op.getAddr(), op.getTxcount()});
    r.erase();
    return success();
  });
  // The op is a loop around try_wait, so it returns when the phase is over.
  add<NVVM::MBarrierTryWaitParityOp>(
      [](Rewrite &r, NVVM::MBarrierTryWaitParityOp op) {
        r.call("moe_emu_mbarrier_try_wait_parity", r.i32,
               {op.getAddr(), op.getPhase()});
        r.erase();
        return success();
      });
  add<NVVM::MBarrierTryWaitOp>([](Rewrite &r, NVVM::MBarrierTryWaitOp op) {
    return rewriteWait(r, op, "moe_emu_mbarrier_try_wait");
  });
  add<NVVM::MBarrierTestWaitOp>([](Rewrite &r, NVVM::MBarrierTestWaitOp op) {
    return rewriteWait(r, op, "moe_emu_mbarrier_test_wait");
  });
}

//===----------------------------------------------------------------------===//
// TMA and bulk copies
//===----------------------------------------------------------------------===//

static Value storeCoordinates(Rewrite &r, ValueRange coordinates) {
  Value slot = r.slot(Rewrite::kCoordinates, 20);
  for (auto [index, coordinate] : llvm::enumerate(coordinates))
    LLVM::StoreOp::create(r.b, r.loc, coordinate, r.offset(slot, 4 * index));
  return slot;
}

static Value blockMask(Rewrite &r, Value multicastMask) {
  return multicastMask ? r.toInt(multicastMask, r.i32) : r.constant(0);
}

static LogicalResult
rewriteTmaLoad(Rewrite &r, NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp op) {
  if (op.getMode() != NVVM::TMALoadMode::TILE || op.getGroup())
    return unsupported(op, "TMA loads other than of tiles");
  r.guarded(op.getPredicate(), [&] {
    Value coordinates = storeCoordinates(r, op.getCoordinates());
    r.call("moe_emu_tma_load", Type(),
           {op.getDstMem(), op.getTmaDescriptor(), op.getMbar(),
            r.constant(op.getCoordinates().size()), coordinates,
            blockMask(r, op.getMulticastMask())});
  });
  r.erase();
  return success();
}

static LogicalResult
rewriteTmaStore(Rewrite &r, NVVM::CpAsyncBulkTensorSharedCTAToGlobalOp op) {
  if (op.getMode() != NVVM::TMAStoreMode::TILE)
    return unsupported(op, "TMA stores other than of tiles");
  r.guarded(op.getPredicate(), [&] {
    Value coordinates = storeCoordinates(r, op.getCoordinates());
    r.call("moe_emu_tma_store", Type(),
           {op.getTmaDescriptor(), op.getSrcMem(),
            r.constant(op.getCoordinates().size()), coordinates});
  });
  r.erase();
  return success();
}

/// The tensor map of the GPU has the type of the elements, the op has not: the
/// builder of kernels leaves it in an attribute.
std::optional<uint32_t> elementType(Operation *op) {
  auto type = op->getAttrOfType<TypeAttr>("moe.element_type");
  if (!type)
    return std::nullopt;
  if (type.getValue().isBF16())
    return MOE_EMU_BF16;
  if (type.getValue().isF16())
    return MOE_EMU_F16;
  if (type.getValue().isF32())
    return MOE_EMU_F32;
  if (type.getValue().isInteger(32))
    return MOE_EMU_S32;
  return std::nullopt;
}

static LogicalResult rewriteTmaReduce(Rewrite &r,
                                      NVVM::CpAsyncBulkTensorReduceOp op) {
  std::optional<uint32_t> type = elementType(op);
  if (op.getMode() != NVVM::TMAStoreMode::TILE ||
      op.getRedKind() != NVVM::TMAReduxKind::ADD || !type)
    return unsupported(op, "TMA reductions other than sums of tiles with "
                           "`moe.element_type` bf16, f16, f32 or i32");
  Value coordinates = storeCoordinates(r, op.getCoordinates());
  r.call("moe_emu_tma_reduce_add", Type(),
         {op.getTmaDescriptor(), op.getSrcMem(),
          r.constant(op.getCoordinates().size()), coordinates,
          r.constant(*type)});
  r.erase();
  return success();
}

static LogicalResult rewriteBulkStore(Rewrite &r,
                                      NVVM::CpAsyncBulkSharedCTAToGlobalOp op) {
  if (op.getByteMask())
    return unsupported(op, "byte masks");
  r.call("moe_emu_bulk_store", Type(),
         {op.getDstMem(), op.getSrcMem(), op.getSize()});
  r.erase();
  return success();
}

void Rules::addTmaRules() {
  add(rewriteTmaLoad);
  add(rewriteTmaStore);
  add(rewriteTmaReduce);
  add(rewriteBulkStore);
  add<NVVM::CpAsyncBulkGlobalToSharedClusterOp>(
      [](Rewrite &r, NVVM::CpAsyncBulkGlobalToSharedClusterOp op) {
        r.call("moe_emu_bulk_load", Type(),
               {op.getDstMem(), op.getSrcMem(), op.getSize(), op.getMbar(),
                blockMask(r, op.getMulticastMask())});
        r.erase();
        return success();
      });
  addCall<NVVM::CpAsyncBulkCommitGroupOp>("moe_emu_bulk_commit");
  add<NVVM::CpAsyncBulkWaitGroupOp>(
      [](Rewrite &r, NVVM::CpAsyncBulkWaitGroupOp op) {
        r.call("moe_emu_bulk_wait", Type(),
               {r.constant(op.getGroup()),
                r.constant(op.getRead().value_or(false))});
        r.erase();
        return success();
      });
}

//===----------------------------------------------------------------------===//
// wgmma
//===----------------------------------------------------------------------===//

static LogicalResult rewriteWgmma(Rewrite &r, NVVM::WgmmaMmaAsyncOp op) {
  NVVM::WGMMATypes type = op.getTypeA();
  if ((type != NVVM::WGMMATypes::bf16 && type != NVVM::WGMMATypes::f16) ||
      op.getTypeB() != type || op.getTypeD() != NVVM::WGMMATypes::f32)
    return unsupported(op,
                       "wgmma other than of bf16 or f16 with f32 accumulators");
  unsigned n = op.getShape().getN();
  uint32_t flags = 0;
  if (op.getLayoutA() == NVVM::MMALayout::col)
    flags |= MOE_EMU_WGMMA_A_MN;
  if (op.getLayoutB() == NVVM::MMALayout::row)
    flags |= MOE_EMU_WGMMA_B_MN;
  if (op.getScaleD() == NVVM::WGMMAScaleOut::zero)
    flags |= MOE_EMU_WGMMA_ZERO;
  if (op.getScaleA() == NVVM::WGMMAScaleIn::neg)
    flags |= MOE_EMU_WGMMA_NEGATE_A;
  if (op.getScaleB() == NVVM::WGMMAScaleIn::neg)
    flags |= MOE_EMU_WGMMA_NEGATE_B;
  Value in = r.slot(Rewrite::kIn, 2 * n), out = r.slot(Rewrite::kOut, 2 * n);
  LLVM::StoreOp::create(r.b, r.loc, op.getInouts(), in, /*alignment=*/4);
  r.call(
      "moe_emu_wgmma", Type(),
      {r.constant(type == NVVM::WGMMATypes::bf16 ? MOE_EMU_BF16 : MOE_EMU_F16),
       r.constant(n), r.constant(flags), op.getDescriptorA(), r.null(),
       op.getDescriptorB(), in, out});
  r.replace(LLVM::LoadOp::create(r.b, r.loc, op.getResults().getType(), out,
                                 /*alignment=*/4)
                .getResult());
  return success();
}

void Rules::addWgmmaRules() {
  add(rewriteWgmma);
  addCall<NVVM::WgmmaFenceAlignedOp>("moe_emu_wgmma_fence");
  addCall<NVVM::WgmmaGroupSyncAlignedOp>("moe_emu_wgmma_commit");
  add<NVVM::WgmmaWaitGroupSyncOp>(
      [](Rewrite &r, NVVM::WgmmaWaitGroupSyncOp op) {
        r.call("moe_emu_wgmma_wait", Type(), r.constant(op.getGroup()));
        r.erase();
        return success();
      });
}
