//===- NVVMRules.cpp - Host form of nvvm ops ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One rule per op. An op without a rule is refused.
//
//===----------------------------------------------------------------------===//

#include "NVVMRules.h"

#include "moe/Codegen/GPU/Emulation/Operations.h"

using namespace mlir;
using namespace mlir::moe::emulation;

LogicalResult mlir::moe::emulation::unsupported(Operation *op, StringRef what) {
  return op->emitOpError("goes beyond the emulator, which has no ") << what;
}

//===----------------------------------------------------------------------===//
// Special registers
//===----------------------------------------------------------------------===//

static constexpr unsigned kLane = offsetof(moe_emu_thread, laneid);
static constexpr unsigned kRank = offsetof(moe_emu_thread, cluster_ctarank);
static constexpr unsigned kRanks = offsetof(moe_emu_thread, cluster_nctarank);

static constexpr unsigned tidAt(unsigned dim) {
  return offsetof(moe_emu_thread, tid) + 4 * dim;
}
static constexpr unsigned ntidAt(unsigned dim) {
  return offsetof(moe_emu_thread, ntid) + 4 * dim;
}
static constexpr unsigned ctaidAt(unsigned dim) {
  return offsetof(moe_emu_thread, ctaid) + 4 * dim;
}
static constexpr unsigned nctaidAt(unsigned dim) {
  return offsetof(moe_emu_thread, nctaid) + 4 * dim;
}

/// The bit of the thread's lane.
static Value laneBit(Rewrite &r) {
  return LLVM::ShlOp::create(r.b, r.loc, r.constant(1), r.field(kLane, r.i32));
}

static Value lanesBelow(Rewrite &r) {
  return LLVM::SubOp::create(r.b, r.loc, laneBit(r), r.constant(1));
}

static Value complement(Rewrite &r, Value mask) {
  return LLVM::XOrOp::create(r.b, r.loc, mask, r.constant(-1));
}

/// Clusters lie along x, so the rank is the x of the block in the cluster.
template <unsigned offset> static LogicalResult perCluster(Rewrite &r) {
  r.replace(LLVM::UDivOp::create(r.b, r.loc, r.field(offset, r.i32),
                                 r.field(kRanks, r.i32))
                .getResult());
  return success();
}

template <int value> static LogicalResult fixed(Rewrite &r) {
  r.replace(r.constant(value));
  return success();
}

void Rules::addSpecialRegisters() {
  addField<NVVM::ThreadIdXOp>(tidAt(0));
  addField<NVVM::ThreadIdYOp>(tidAt(1));
  addField<NVVM::ThreadIdZOp>(tidAt(2));
  addField<NVVM::BlockDimXOp>(ntidAt(0));
  addField<NVVM::BlockDimYOp>(ntidAt(1));
  addField<NVVM::BlockDimZOp>(ntidAt(2));
  addField<NVVM::BlockIdXOp>(ctaidAt(0));
  addField<NVVM::BlockIdYOp>(ctaidAt(1));
  addField<NVVM::BlockIdZOp>(ctaidAt(2));
  addField<NVVM::GridDimXOp>(nctaidAt(0));
  addField<NVVM::GridDimYOp>(nctaidAt(1));
  addField<NVVM::GridDimZOp>(nctaidAt(2));
  addField<NVVM::LaneIdOp>(kLane);
  addField<NVVM::WarpIdOp>(offsetof(moe_emu_thread, warpid));
  add<NVVM::WarpSizeOp>(
      [](Rewrite &r, NVVM::WarpSizeOp) { return fixed<32>(r); });

  add<NVVM::LaneMaskEqOp>([](Rewrite &r, NVVM::LaneMaskEqOp) {
    r.replace(laneBit(r));
    return success();
  });
  add<NVVM::LaneMaskLtOp>([](Rewrite &r, NVVM::LaneMaskLtOp) {
    r.replace(lanesBelow(r));
    return success();
  });
  add<NVVM::LaneMaskLeOp>([](Rewrite &r, NVVM::LaneMaskLeOp) {
    r.replace(
        LLVM::OrOp::create(r.b, r.loc, lanesBelow(r), laneBit(r)).getResult());
    return success();
  });
  add<NVVM::LaneMaskGeOp>([](Rewrite &r, NVVM::LaneMaskGeOp) {
    r.replace(complement(r, lanesBelow(r)));
    return success();
  });
  add<NVVM::LaneMaskGtOp>([](Rewrite &r, NVVM::LaneMaskGtOp) {
    r.replace(complement(
        r, LLVM::OrOp::create(r.b, r.loc, lanesBelow(r), laneBit(r))));
    return success();
  });

  addField<NVVM::ClusterId>(kRank);
  addField<NVVM::ClusterDim>(kRanks);
  addField<NVVM::BlockInClusterIdXOp>(kRank);
  addField<NVVM::ClusterDimBlocksXOp>(kRanks);
  addField<NVVM::ClusterIdYOp>(ctaidAt(1));
  addField<NVVM::ClusterIdZOp>(ctaidAt(2));
  addField<NVVM::ClusterDimYOp>(nctaidAt(1));
  addField<NVVM::ClusterDimZOp>(nctaidAt(2));
  add<NVVM::ClusterIdXOp>(
      [](Rewrite &r, NVVM::ClusterIdXOp) { return perCluster<ctaidAt(0)>(r); });
  add<NVVM::ClusterDimXOp>([](Rewrite &r, NVVM::ClusterDimXOp) {
    return perCluster<nctaidAt(0)>(r);
  });
  add<NVVM::BlockInClusterIdYOp>(
      [](Rewrite &r, NVVM::BlockInClusterIdYOp) { return fixed<0>(r); });
  add<NVVM::BlockInClusterIdZOp>(
      [](Rewrite &r, NVVM::BlockInClusterIdZOp) { return fixed<0>(r); });
  add<NVVM::ClusterDimBlocksYOp>(
      [](Rewrite &r, NVVM::ClusterDimBlocksYOp) { return fixed<1>(r); });
  add<NVVM::ClusterDimBlocksZOp>(
      [](Rewrite &r, NVVM::ClusterDimBlocksZOp) { return fixed<1>(r); });
}

//===----------------------------------------------------------------------===//
// Warps
//===----------------------------------------------------------------------===//

static uint32_t encode(NVVM::ShflKind kind) {
  switch (kind) {
  case NVVM::ShflKind::bfly:
    return MOE_EMU_SHFL_BFLY;
  case NVVM::ShflKind::up:
    return MOE_EMU_SHFL_UP;
  case NVVM::ShflKind::down:
    return MOE_EMU_SHFL_DOWN;
  case NVVM::ShflKind::idx:
    return MOE_EMU_SHFL_IDX;
  }
  llvm_unreachable("all kinds are above");
}

static uint32_t encode(NVVM::VoteSyncKind kind) {
  switch (kind) {
  case NVVM::VoteSyncKind::any:
    return MOE_EMU_VOTE_ANY;
  case NVVM::VoteSyncKind::all:
    return MOE_EMU_VOTE_ALL;
  case NVVM::VoteSyncKind::uni:
    return MOE_EMU_VOTE_UNI;
  case NVVM::VoteSyncKind::ballot:
    return MOE_EMU_VOTE_BALLOT;
  }
  llvm_unreachable("all kinds are above");
}

std::optional<uint32_t> encode(NVVM::ReduxKind kind) {
  switch (kind) {
  case NVVM::ReduxKind::ADD:
    return MOE_EMU_REDUX_ADD;
  case NVVM::ReduxKind::MIN:
    return MOE_EMU_REDUX_MIN_S32;
  case NVVM::ReduxKind::MAX:
    return MOE_EMU_REDUX_MAX_S32;
  case NVVM::ReduxKind::UMIN:
    return MOE_EMU_REDUX_MIN_U32;
  case NVVM::ReduxKind::UMAX:
    return MOE_EMU_REDUX_MAX_U32;
  case NVVM::ReduxKind::AND:
    return MOE_EMU_REDUX_AND;
  case NVVM::ReduxKind::OR:
    return MOE_EMU_REDUX_OR;
  case NVVM::ReduxKind::XOR:
    return MOE_EMU_REDUX_XOR;
  default:
    return std::nullopt;
  }
}

/// The struct of a result and of whether it holds.
static Value pairWithFlag(Rewrite &r, Type type, Value result,
                          Value flagAddress) {
  Value flag = LLVM::LoadOp::create(r.b, r.loc, r.i32, flagAddress);
  flag = LLVM::TruncOp::create(r.b, r.loc, r.i1, flag);
  Value pair = LLVM::UndefOp::create(r.b, r.loc, type);
  pair = LLVM::InsertValueOp::create(r.b, r.loc, pair, result,
                                     ArrayRef<int64_t>{0});
  return LLVM::InsertValueOp::create(r.b, r.loc, pair, flag,
                                     ArrayRef<int64_t>{1});
}

static LogicalResult rewriteShfl(Rewrite &r, NVVM::ShflOp op) {
  Value value = op.getVal();
  bool isFloat = value.getType() == r.f32;
  if (isFloat)
    value = LLVM::BitcastOp::create(r.b, r.loc, r.i32, value);
  bool withFlag = op.getReturnValueAndIsValid().value_or(false);
  Value flag = withFlag ? r.slot(Rewrite::kOut, 4) : r.null();
  Value result = r.call("moe_emu_shfl", r.i32,
                        {r.constant(encode(op.getKind())), op.getThreadMask(),
                         value, op.getOffset(), op.getMaskAndClamp(), flag});
  if (isFloat)
    result = LLVM::BitcastOp::create(r.b, r.loc, r.f32, result);
  r.replace(withFlag ? pairWithFlag(r, op.getType(), result, flag) : result);
  return success();
}

static LogicalResult rewriteVote(Rewrite &r, NVVM::VoteSyncOp op) {
  Value result = r.call("moe_emu_vote", r.i32,
                        {r.constant(encode(op.getKind())), op.getMask(),
                         r.toInt(op.getPred(), r.i32)});
  r.replace(r.toInt(result, op.getType()));
  return success();
}

static LogicalResult rewriteMatch(Rewrite &r, NVVM::MatchSyncOp op) {
  Value value = r.toInt(op.getVal(), r.i64);
  if (op.getKind() == NVVM::MatchSyncKind::any) {
    r.replace(r.call("moe_emu_match_any", r.i32, {op.getThreadMask(), value}));
    return success();
  }
  Value flag = r.slot(Rewrite::kOut, 4);
  Value result =
      r.call("moe_emu_match_all", r.i32, {op.getThreadMask(), value, flag});
  r.replace(pairWithFlag(r, op.getType(), result, flag));
  return success();
}

static LogicalResult rewriteRedux(Rewrite &r, NVVM::ReduxOp op) {
  std::optional<uint32_t> kind = encode(op.getKind());
  if (!kind || op.getType() != r.i32)
    return unsupported(op, "redux.sync of floats");
  r.replace(r.call("moe_emu_redux", r.i32,
                   {r.constant(*kind), op.getMaskAndClamp(), op.getVal()}));
  return success();
}

void Rules::addWarpRules() {
  add(rewriteShfl);
  add(rewriteVote);
  add(rewriteMatch);
  add(rewriteRedux);
  add<NVVM::SyncWarpOp>([](Rewrite &r, NVVM::SyncWarpOp op) {
    r.call("moe_emu_warp_sync", Type(), op.getMask());
    r.erase();
    return success();
  });
  add<NVVM::ElectSyncOp>([](Rewrite &r, NVVM::ElectSyncOp op) {
    Value result =
        r.call("moe_emu_elect", r.i32, r.orConstant(op.getMembermask(), -1));
    r.replace(r.toInt(result, r.i1));
    return success();
  });
}

//===----------------------------------------------------------------------===//
// Matrices in warps, conversions
//===----------------------------------------------------------------------===//

template <typename Op> static LogicalResult checkMatrix(Op op) {
  if (op.getShape().getM() != 8 || op.getShape().getN() != 8 ||
      op.getEltType() != NVVM::LdStMatrixEltType::B16)
    return unsupported(op, "matrices other than 8 by 8 of 16-bit elements");
  return success();
}

static LogicalResult rewriteLdMatrix(Rewrite &r, NVVM::LdMatrixOp op) {
  if (failed(checkMatrix(op)))
    return failure();
  Value out = r.slot(Rewrite::kOut, 4 * op.getNum());
  r.call("moe_emu_ldmatrix", Type(),
         {op.getPtr(), r.constant(op.getNum()),
          r.constant(op.getLayout() == NVVM::MMALayout::col), out});
  r.replace(LLVM::LoadOp::create(r.b, r.loc, op.getType(), out, /*alignment=*/4)
                .getResult());
  return success();
}

static LogicalResult rewriteStMatrix(Rewrite &r, NVVM::StMatrixOp op) {
  if (failed(checkMatrix(op)))
    return failure();
  unsigned count = op.getSources().size();
  Value in = r.slot(Rewrite::kIn, 4 * count);
  for (auto [index, source] : llvm::enumerate(op.getSources()))
    LLVM::StoreOp::create(r.b, r.loc, source, r.offset(in, 4 * index));
  r.call("moe_emu_stmatrix", Type(),
         {op.getPtr(), r.constant(count),
          r.constant(op.getLayout() == NVVM::MMALayout::col), in});
  r.erase();
  return success();
}

static LogicalResult rewriteMma(Rewrite &r, NVVM::MmaOp op) {
  NVVM::MMAShapeAttr shape = op.getShape();
  auto typeA = op.getMultiplicandAPtxType();
  auto typeB = op.getMultiplicandBPtxType();
  bool isBF16 = typeA == NVVM::MMATypes::bf16 && typeB == typeA;
  bool isF16 = typeA == NVVM::MMATypes::f16 && typeB == typeA;
  auto result = dyn_cast<LLVM::LLVMStructType>(op.getType());
  if (shape.getM() != 16 || shape.getN() != 8 ||
      (shape.getK() != 16 && shape.getK() != 8) || !(isBF16 || isF16) ||
      !result || result.getBody().size() != 4 ||
      !llvm::all_of(result.getBody(), [](Type type) { return type.isF32(); }) ||
      op.getOperandC().size() != 4 || op.getLayoutA() != NVVM::MMALayout::row ||
      op.getLayoutB() != NVVM::MMALayout::col)
    return unsupported(op,
                       "mma.sync other than m16n8k8 and m16n8k16 of bf16 or "
                       "f16, row by col, with f32 accumulators");
  // Registers of A, then B, then C.
  Value in = r.slot(Rewrite::kIn, 40), out = r.slot(Rewrite::kOut, 16);
  unsigned at = 0;
  SmallVector<Value> parts;
  for (ValueRange operands :
       {op.getOperandA(), op.getOperandB(), op.getOperandC()}) {
    parts.push_back(r.offset(in, at));
    for (Value operand : operands) {
      LLVM::StoreOp::create(r.b, r.loc, operand, r.offset(in, at),
                            /*alignment=*/4);
      at += 4;
    }
  }
  r.call("moe_emu_mma", Type(),
         {r.constant(isBF16 ? MOE_EMU_BF16 : MOE_EMU_F16),
          r.constant(shape.getK()), parts[0], parts[1], parts[2], out});
  r.replace(LLVM::LoadOp::create(r.b, r.loc, result, out, /*alignment=*/4)
                .getResult());
  return success();
}

/// cvt.rn.{bf16,f16}x2.f32: the second operand becomes the low half.
template <typename Op>
static LogicalResult rewritePairConversion(Rewrite &r, Op op) {
  if (op.getRnd() != NVVM::FPRoundingMode::RN || op.getRelu() ||
      op.getSat() != NVVM::SaturationMode::NONE)
    return unsupported(op, "conversions other than to the nearest");
  auto type = cast<VectorType>(op.getType());
  Value result = LLVM::UndefOp::create(r.b, r.loc, type);
  Value halves[] = {op.getSrcLo(), op.getSrcHi()};
  for (auto [index, half] : llvm::enumerate(halves)) {
    Value narrow =
        LLVM::FPTruncOp::create(r.b, r.loc, type.getElementType(), half);
    result = LLVM::InsertElementOp::create(r.b, r.loc, result, narrow,
                                           r.constant(index));
  }
  r.replace(result);
  return success();
}

/// 1 / x with subnormal arguments and results as zeros. The GPU's result may
/// be off by one unit in the last place.
static LogicalResult rewriteRcp(Rewrite &r, NVVM::RcpApproxFtzF32Op op) {
  auto flush = [&](Value value) -> Value {
    Value smallest = LLVM::ConstantOp::create(r.b, r.loc, r.f32,
                                              r.b.getF32FloatAttr(0x1p-126f));
    Value zero =
        LLVM::ConstantOp::create(r.b, r.loc, r.f32, r.b.getF32FloatAttr(0.0f));
    Value size = LLVM::FAbsOp::create(r.b, r.loc, value);
    Value isSmall = LLVM::FCmpOp::create(r.b, r.loc, LLVM::FCmpPredicate::olt,
                                         size, smallest);
    Value signedZero = LLVM::CopySignOp::create(r.b, r.loc, zero, value);
    return LLVM::SelectOp::create(r.b, r.loc, isSmall, signedZero, value);
  };
  Value one =
      LLVM::ConstantOp::create(r.b, r.loc, r.f32, r.b.getF32FloatAttr(1.0f));
  r.replace(flush(LLVM::FDivOp::create(r.b, r.loc, one, flush(op.getArg()))));
  return success();
}

void Rules::addMatrixRules() {
  add(rewriteLdMatrix);
  add(rewriteStMatrix);
  add(rewriteMma);
  add(rewritePairConversion<NVVM::ConvertF32x2ToBF16x2Op>);
  add(rewritePairConversion<NVVM::ConvertF32x2ToF16x2Op>);
  add(rewriteRcp);
}

//===----------------------------------------------------------------------===//
// Barriers of blocks and clusters
//===----------------------------------------------------------------------===//

static LogicalResult rewriteBarrier(Rewrite &r, NVVM::BarrierOp op) {
  Value id = r.orConstant(op.getBarrierId(), 0);
  Value count = r.orConstant(op.getNumberOfThreads(), 0);
  if (!op.getReductionOp()) {
    r.call("moe_emu_barrier_sync", Type(), {id, count});
    r.erase();
    return success();
  }
  uint32_t kind = *op.getReductionOp() == NVVM::BarrierReduction::POPC
                      ? uint32_t(MOE_EMU_BARRIER_POPC)
                      : (*op.getReductionOp() == NVVM::BarrierReduction::AND
                             ? uint32_t(MOE_EMU_BARRIER_AND)
                             : uint32_t(MOE_EMU_BARRIER_OR));
  Value result =
      r.call("moe_emu_barrier_reduce", r.i32,
             {id, count, r.constant(kind), op.getReductionPredicate()});
  r.replace(op->getNumResults() ? ValueRange(result) : ValueRange());
  return success();
}

void Rules::addBarrierRules() {
  add(rewriteBarrier);
  add<NVVM::Barrier0Op>([](Rewrite &r, NVVM::Barrier0Op) {
    r.call("moe_emu_barrier_sync", Type(), {r.constant(0), r.constant(0)});
    r.erase();
    return success();
  });
  add<NVVM::BarrierArriveOp>([](Rewrite &r, NVVM::BarrierArriveOp op) {
    r.call("moe_emu_barrier_arrive", Type(),
           {r.orConstant(op.getBarrierId(), 0), op.getNumberOfThreads()});
    r.erase();
    return success();
  });
  addCall<NVVM::ClusterArriveOp>("moe_emu_cluster_arrive");
  addCall<NVVM::ClusterWaitOp>("moe_emu_cluster_wait");
  add<NVVM::MapaOp>([](Rewrite &r, NVVM::MapaOp op) {
    Value address = r.call("moe_emu_mapa", r.ptr, {op.getA(), op.getB()});
    if (op.getType() != r.ptr)
      address =
          LLVM::AddrSpaceCastOp::create(r.b, r.loc, op.getType(), address);
    r.replace(address);
    return success();
  });
}

//===----------------------------------------------------------------------===//
// Fences, hints
//===----------------------------------------------------------------------===//

static LogicalResult rewriteFenceProxy(Rewrite &r, NVVM::FenceProxyOp op) {
  switch (op.getKind()) {
  case NVVM::ProxyKind::async:
  case NVVM::ProxyKind::async_global:
  case NVVM::ProxyKind::async_shared:
    r.call("moe_emu_fence_proxy_async", Type(), {});
    r.erase();
    return success();
  default:
    return unsupported(op, "proxies other than async");
  }
}

void Rules::addFences() {
  add(rewriteFenceProxy);
  addCall<NVVM::MembarOp>("moe_emu_fence");
  addCall<NVVM::FenceScClusterOp>("moe_emu_fence");
  addCall<NVVM::NanosleepOp>("moe_emu_yield");
  addNothing<NVVM::FenceMbarrierInitOp>();
  addNothing<NVVM::SetMaxRegisterOp>();
  addNothing<NVVM::PrefetchOp>();
  addNothing<NVVM::CpAsyncBulkPrefetchOp>();
  addNothing<NVVM::CpAsyncBulkTensorPrefetchOp>();
  addNothing<NVVM::GriddepcontrolOp>();
}

const Rule *mlir::moe::emulation::lookupNVVMRule(StringRef name) {
  static const Rules rules;
  return rules.lookup(name);
}
