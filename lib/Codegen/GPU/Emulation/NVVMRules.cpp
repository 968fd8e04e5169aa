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

#include "Retarget.h"

#include "moe/Codegen/GPU/Emulation/Operations.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe::emulation;

namespace {

class Rules {
public:
  Rules() {
    addSpecialRegisters();
    addWarpRules();
    addMatrixRules();
    addBarrierRules();
    addCpAsyncRules();
    addMBarrierRules();
    addTmaRules();
    addWgmmaRules();
    addFences();
  }

  const Rule *lookup(StringRef name) const {
    auto found = rules.find(name);
    return found == rules.end() ? nullptr : &found->second;
  }

private:
  template <typename Op> void add(LogicalResult (*rule)(Rewrite &, Op)) {
    rules[Op::getOperationName()] = [rule](Rewrite &r, Operation *op) {
      return rule(r, cast<Op>(op));
    };
  }

  /// A rule that only reads a field of moe_emu_thread.
  template <typename Op> void addField(unsigned offset) {
    rules[Op::getOperationName()] = [offset](Rewrite &r, Operation *) {
      r.replace(r.field(offset, r.i32));
      return success();
    };
  }

  /// A rule that calls a function with no other argument.
  template <typename Op> void addCall(const char *function) {
    rules[Op::getOperationName()] = [function](Rewrite &r, Operation *) {
      r.call(function, Type(), {});
      r.erase();
      return success();
    };
  }

  /// A rule for what has no effect on the host.
  template <typename Op> void addNothing() {
    rules[Op::getOperationName()] = [](Rewrite &r, Operation *) {
      r.erase();
      return success();
    };
  }

  void addSpecialRegisters();
  void addWarpRules();
  void addMatrixRules();
  void addBarrierRules();
  void addCpAsyncRules();
  void addMBarrierRules();
  void addTmaRules();
  void addWgmmaRules();
  void addFences();

  llvm::StringMap<Rule> rules;
};

LogicalResult unsupported(Operation *op, StringRef what) {
  return op->emitOpError("goes beyond the emulator, which has no ") << what;
}

//===----------------------------------------------------------------------===//
// Special registers
//===----------------------------------------------------------------------===//

constexpr unsigned kLane = offsetof(moe_emu_thread, laneid);
constexpr unsigned kRank = offsetof(moe_emu_thread, cluster_ctarank);
constexpr unsigned kRanks = offsetof(moe_emu_thread, cluster_nctarank);

constexpr unsigned tidAt(unsigned dim) {
  return offsetof(moe_emu_thread, tid) + 4 * dim;
}
constexpr unsigned ntidAt(unsigned dim) {
  return offsetof(moe_emu_thread, ntid) + 4 * dim;
}
constexpr unsigned ctaidAt(unsigned dim) {
  return offsetof(moe_emu_thread, ctaid) + 4 * dim;
}
constexpr unsigned nctaidAt(unsigned dim) {
  return offsetof(moe_emu_thread, nctaid) + 4 * dim;
}

/// The bit of the thread's lane.
Value laneBit(Rewrite &r) {
  return LLVM::ShlOp::create(r.b, r.loc, r.constant(1), r.field(kLane, r.i32));
}

Value lanesBelow(Rewrite &r) {
  return LLVM::SubOp::create(r.b, r.loc, laneBit(r), r.constant(1));
}

Value complement(Rewrite &r, Value mask) {
  return LLVM::XOrOp::create(r.b, r.loc, mask, r.constant(-1));
}

/// Clusters lie along x, so the rank is the x of the block in the cluster.
template <unsigned offset> LogicalResult perCluster(Rewrite &r) {
  r.replace(LLVM::UDivOp::create(r.b, r.loc, r.field(offset, r.i32),
                                 r.field(kRanks, r.i32))
                .getResult());
  return success();
}

template <int value> LogicalResult fixed(Rewrite &r) {
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

uint32_t encode(NVVM::ShflKind kind) {
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

uint32_t encode(NVVM::VoteSyncKind kind) {
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
Value pairWithFlag(Rewrite &r, Type type, Value result, Value flagAddress) {
  Value flag = LLVM::LoadOp::create(r.b, r.loc, r.i32, flagAddress);
  flag = LLVM::TruncOp::create(r.b, r.loc, r.i1, flag);
  Value pair = LLVM::UndefOp::create(r.b, r.loc, type);
  pair = LLVM::InsertValueOp::create(r.b, r.loc, pair, result,
                                     ArrayRef<int64_t>{0});
  return LLVM::InsertValueOp::create(r.b, r.loc, pair, flag,
                                     ArrayRef<int64_t>{1});
}

LogicalResult rewriteShfl(Rewrite &r, NVVM::ShflOp op) {
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

LogicalResult rewriteVote(Rewrite &r, NVVM::VoteSyncOp op) {
  Value result = r.call("moe_emu_vote", r.i32,
                        {r.constant(encode(op.getKind())), op.getMask(),
                         r.toInt(op.getPred(), r.i32)});
  r.replace(r.toInt(result, op.getType()));
  return success();
}

LogicalResult rewriteMatch(Rewrite &r, NVVM::MatchSyncOp op) {
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

LogicalResult rewriteRedux(Rewrite &r, NVVM::ReduxOp op) {
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

template <typename Op> LogicalResult checkMatrix(Op op) {
  if (op.getShape().getM() != 8 || op.getShape().getN() != 8 ||
      op.getEltType() != NVVM::LdStMatrixEltType::B16)
    return unsupported(op, "matrices other than 8 by 8 of 16-bit elements");
  return success();
}

LogicalResult rewriteLdMatrix(Rewrite &r, NVVM::LdMatrixOp op) {
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

LogicalResult rewriteStMatrix(Rewrite &r, NVVM::StMatrixOp op) {
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

LogicalResult rewriteMma(Rewrite &r, NVVM::MmaOp op) {
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
template <typename Op> LogicalResult rewritePairConversion(Rewrite &r, Op op) {
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
LogicalResult rewriteRcp(Rewrite &r, NVVM::RcpApproxFtzF32Op op) {
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

LogicalResult rewriteBarrier(Rewrite &r, NVVM::BarrierOp op) {
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

LogicalResult rewriteArrive(Rewrite &r, NVVM::MBarrierArriveOp op) {
  if (op.getRelaxed())
    return unsupported(op, "relaxed arrivals");
  Value state = r.call("moe_emu_mbarrier_arrive", r.i64,
                       {op.getAddr(), r.orConstant(op.getCount(), 1)});
  r.replace(op->getNumResults() ? ValueRange(state) : ValueRange());
  return success();
}

LogicalResult rewriteArriveExpectTx(Rewrite &r,
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
LogicalResult rewriteWait(Rewrite &r, Op op, const char *function) {
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

Value storeCoordinates(Rewrite &r, ValueRange coordinates) {
  Value slot = r.slot(Rewrite::kCoordinates, 20);
  for (auto [index, coordinate] : llvm::enumerate(coordinates))
    LLVM::StoreOp::create(r.b, r.loc, coordinate, r.offset(slot, 4 * index));
  return slot;
}

Value blockMask(Rewrite &r, Value multicastMask) {
  return multicastMask ? r.toInt(multicastMask, r.i32) : r.constant(0);
}

LogicalResult
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

LogicalResult rewriteTmaStore(Rewrite &r,
                              NVVM::CpAsyncBulkTensorSharedCTAToGlobalOp op) {
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

LogicalResult rewriteTmaReduce(Rewrite &r, NVVM::CpAsyncBulkTensorReduceOp op) {
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

LogicalResult rewriteBulkStore(Rewrite &r,
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

LogicalResult rewriteWgmma(Rewrite &r, NVVM::WgmmaMmaAsyncOp op) {
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

//===----------------------------------------------------------------------===//
// Fences, hints
//===----------------------------------------------------------------------===//

LogicalResult rewriteFenceProxy(Rewrite &r, NVVM::FenceProxyOp op) {
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

} // namespace

const Rule *mlir::moe::emulation::lookupNVVMRule(StringRef name) {
  static const Rules rules;
  return rules.lookup(name);
}
