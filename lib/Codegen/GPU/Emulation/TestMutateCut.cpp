//===- TestMutateCut.cpp - Plant a bug into a cut module ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/Emulation/Passes.h"

#include "mlir/IR/OperationSupport.h"
#include "llvm/ADT/StringSwitch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_TESTMUTATECUTPASS
#include "moe/Codegen/GPU/Emulation/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {

/// How a bug looks for its places and what it does there. `apply` returns
/// words for the remark, which is reported before.
struct Bug {
  StringRef name;
  bool (*fits)(Operation *op);
  StringRef what;
  void (*apply)(Operation *op);
};

bool isNamed(Operation *op, ArrayRef<StringRef> names) {
  return llvm::is_contained(names, op->getName().getStringRef());
}

void drop(Operation *op) { op->erase(); }

unsigned spaceOf(Value pointer) {
  return cast<LLVM::LLVMPointerType>(pointer.getType()).getAddressSpace();
}

/// Whether an address may be in global memory: not on the stack and not a
/// parameter that is passed by value.
bool isGlobal(Value address) {
  unsigned space = spaceOf(address);
  if (space == 1)
    return true;
  if (space != 0)
    return false;
  while (Operation *from = address.getDefiningOp()) {
    if (isa<LLVM::AllocaOp>(from))
      return false;
    if (!isa<LLVM::GEPOp, LLVM::AddrSpaceCastOp>(from))
      return true;
    address = from->getOperand(0);
  }
  auto arg = cast<BlockArgument>(address);
  auto function = dyn_cast<LLVM::LLVMFuncOp>(arg.getOwner()->getParentOp());
  return !function || !arg.getOwner()->isEntryBlock() ||
         !function.getArgAttr(arg.getArgNumber(), "llvm.byval");
}

/// Number of the operand that addresses global memory, or -1.
int globalOperand(Operation *op) {
  int operand = llvm::StringSwitch<int>(op->getName().getStringRef())
                    .Cases({"llvm.load", "llvm.atomicrmw", "llvm.cmpxchg"}, 0)
                    .Cases({"llvm.store", "nvvm.cp.async.shared.global"}, 1)
                    .Default(-1);
  return operand >= 0 && isGlobal(op->getOperand(operand)) ? operand : -1;
}

void moveAddress(Operation *op, unsigned operand, int32_t bytes) {
  OpBuilder b(op);
  Value address = op->getOperand(operand);
  op->setOperand(operand, LLVM::GEPOp::create(
                              b, op->getLoc(), address.getType(), b.getI8Type(),
                              address, ArrayRef<LLVM::GEPArg>{bytes}));
}

bool isWaitGroup(Operation *op) {
  return isNamed(
      op, {"nvvm.cp.async.wait.group", "nvvm.wgmma.wait.group.sync.aligned"});
}

void waitForOneLess(Operation *op) {
  for (StringRef name : {"n", "group"})
    if (auto count = op->getAttrOfType<IntegerAttr>(name))
      op->setAttr(name, IntegerAttr::get(count.getType(), count.getInt() + 1));
}

bool fillsShared(Operation *op) {
  if (auto store = dyn_cast<LLVM::StoreOp>(op))
    return spaceOf(store.getAddr()) == 3;
  return isNamed(op, {"nvvm.cp.async.shared.global", "nvvm.stmatrix"});
}

bool isCollective(Operation *op) {
  return isNamed(op, {"nvvm.shfl.sync", "nvvm.vote.sync", "nvvm.match.sync",
                      "nvvm.redux.sync", "nvvm.elect.sync",
                      "nvvm.bar.warp.sync", "nvvm.ldmatrix", "nvvm.stmatrix",
                      "nvvm.mma.sync", "nvvm.barrier0", "nvvm.barrier"});
}

/// Lets lane 0 alone run the op; the others go on with zeros.
void guardByLane(Operation *op) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  OperationState state(loc, "nvvm.read.ptx.sreg.laneid");
  state.addTypes(b.getI32Type());
  Value lane = b.create(state)->getResult(0);
  Value zero =
      LLVM::ConstantOp::create(b, loc, b.getI32Type(), b.getI32IntegerAttr(0));
  Value isFirst =
      LLVM::ICmpOp::create(b, loc, LLVM::ICmpPredicate::eq, lane, zero);
  SmallVector<Value> zeros;
  for (Type type : op->getResultTypes())
    zeros.push_back(LLVM::ZeroOp::create(b, loc, type));

  Block *before = op->getBlock();
  Block *then = before->splitBlock(op);
  Block *after = then->splitBlock(std::next(Block::iterator(op)));
  for (Value result : op->getResults()) {
    Value merged = after->addArgument(result.getType(), loc);
    result.replaceAllUsesWith(merged);
  }
  b.setInsertionPointToEnd(then);
  LLVM::BrOp::create(b, loc, op->getResults(), after);
  b.setInsertionPointToEnd(before);
  LLVM::CondBrOp::create(b, loc, isFirst, then, ValueRange(), after, zeros);
}

void expectMore(Operation *op) {
  OpBuilder b(op);
  Value more = LLVM::ConstantOp::create(b, op->getLoc(), b.getI32Type(),
                                        b.getI32IntegerAttr(16));
  op->setOperand(1,
                 LLVM::AddOp::create(b, op->getLoc(), op->getOperand(1), more));
}

const Bug kBugs[] = {
    {"missing-barrier",
     [](Operation *op) {
       return isNamed(op, {"nvvm.barrier0", "nvvm.barrier"}) &&
              op->getNumResults() == 0;
     },
     "dropped", drop},
    {"missing-wait",
     [](Operation *op) { return isNamed(op, {"nvvm.cp.async.wait.group"}); },
     "dropped", drop},
    {"early-stage-release", isWaitGroup, "waits for one group less",
     waitForOneLess},
    {"out-of-bounds", [](Operation *op) { return globalOperand(op) >= 0; },
     "moved by 2^27 bytes",
     [](Operation *op) { moveAddress(op, globalOperand(op), 1 << 27); }},
    {"uninitialised-read", fillsShared, "dropped", drop},
    {"divergent-collective", isCollective, "left to lane 0", guardByLane},
    {"misaligned-ldmatrix",
     [](Operation *op) { return isNamed(op, {"nvvm.ldmatrix"}); },
     "moved by 2 bytes", [](Operation *op) { moveAddress(op, 0, 2); }},
    {"wrong-tx-count",
     [](Operation *op) {
       return isNamed(
           op, {"nvvm.mbarrier.arrive.expect_tx", "nvvm.mbarrier.expect_tx"});
     },
     "expects 16 bytes more", expectMore},
    {"missing-proxy-fence",
     [](Operation *op) { return isNamed(op, {"nvvm.fence.proxy"}); }, "dropped",
     drop},
    {"missing-mbarrier-wait",
     [](Operation *op) {
       return isNamed(op, {"nvvm.mbarrier.try_wait.parity"});
     },
     "dropped", drop},
};

struct TestMutateCut
    : public mlir::moe::impl::TestMutateCutPassBase<TestMutateCut> {
  using TestMutateCutPassBase::TestMutateCutPassBase;

  void runOnOperation() override {
    const Bug *known =
        llvm::find_if(kBugs, [&](const Bug &b) { return b.name == bug; });
    if (known == std::end(kBugs)) {
      emitError(getOperation().getLoc()) << "no bug is named '" << bug << "'";
      return signalPassFailure();
    }
    SmallVector<Operation *> places;
    getOperation().walk([&](Operation *op) {
      if (op->getParentOfType<LLVM::LLVMFuncOp>() && known->fits(op))
        places.push_back(op);
    });
    if (nth >= places.size()) {
      emitError(getOperation().getLoc())
          << "'" << bug << "' fits " << places.size()
          << " places; there is no place " << unsigned(nth);
      return signalPassFailure();
    }
    Operation *place = places[nth];
    place->emitRemark() << bug << " " << unsigned(nth) << " of "
                        << places.size() << ": '" << place->getName() << "' "
                        << known->what;
    known->apply(place);
  }
};

} // namespace
