//===- VerifyCut.cpp - Ops that both ends of a cut module handle ----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NVPTX.h"

#include "moe/Target/NVPTX/Passes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYCUTPASS
#include "moe/Target/NVPTX/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::nvptx;

namespace {

class CutVerifier {
public:
  CutVerifier(mlir::gpu::GPUModuleOp cut, const moe::gpu::ArchInfo &arch)
      : cut(cut), symbols(cut), arch(arch) {}

  LogicalResult verify() {
    LogicalResult result = success();
    cut.getBody()->walk([&](Operation *op) {
      if (failed(verify(op)))
        result = failure();
    });
    return result;
  }

private:
  /// An error that names op, kernel and architecture.
  InFlightDiagnostic error(Operation *op) {
    InFlightDiagnostic diagnostic =
        op->emitError() << "'" << op->getName().getStringRef() << "'";
    auto func = isa<LLVM::LLVMFuncOp>(op)
                    ? cast<LLVM::LLVMFuncOp>(op)
                    : op->getParentOfType<LLVM::LLVMFuncOp>();
    if (func)
      diagnostic << " in '" << func.getSymName() << "'";
    return std::move(diagnostic)
           << " cannot be compiled for " << arch.name << ": ";
  }

  bool hasArchFeatures() const { return arch.name.ends_with("a"); }

  LogicalResult verify(Operation *op) {
    const CutOpInfo *info = findCutOp(op->getName().getStringRef());
    if (!info)
      return error(op) << "the op is not on the list of the cut";
    if (info->onlyArch &&
        !(info->onlyArch == arch.capability && hasArchFeatures()))
      return error(op) << "only sm_" << info->onlyArch << "a has it";
    if (arch.capability < info->capability)
      return error(op) << "it needs sm_" << info->capability << " or newer";
    if (failed(verifyTypes(op)) || failed(verifyFastMath(op)))
      return failure();
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case([&](LLVM::LLVMFuncOp op) { return verifyFunc(op); })
        .Case([&](LLVM::GlobalOp op) { return verifyGlobal(op); })
        .Case([&](LLVM::CallOp op) { return verifyCall(op); })
        .Case([&](LLVM::AllocaOp op) -> LogicalResult {
          if (!matchPattern(op.getArraySize(), m_Constant()))
            return error(op) << "its size is not constant";
          return success();
        })
        .Case([&](LLVM::AtomicRMWOp op) { return verifyAtomic(op); })
        .Case([&](NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp op)
                  -> LogicalResult {
          if (op.getMode() != NVVM::TMALoadMode::TILE)
            return error(op) << "the only mode of the cut is 'tile'";
          if (op.getIsCTAOnly() && arch.ptxVersion < 86)
            return error(op) << "'isCTAOnly' needs PTX 8.6";
          return success();
        })
        .Case([&](NVVM::SetMaxRegisterOp op) -> LogicalResult {
          if (!hasArchFeatures())
            return error(op) << "only an architecture with suffix 'a' has it";
          return success();
        })
        .Case([&](NVVM::LdMatrixOp op) { return verifyMatrix(op); })
        .Case([&](NVVM::StMatrixOp op) { return verifyMatrix(op); })
        .Case([&](NVVM::ReduxOp op) -> LogicalResult {
          if (!op.getType().isInteger(32))
            return error(op) << "only i32 is reduced in the cut";
          return success();
        })
        .Case([&](NVVM::MBarrierArriveOp op) { return verifyMBarrier(op); })
        .Case([&](NVVM::MBarrierTestWaitOp op) { return verifyMBarrier(op); })
        .Case([&](NVVM::PrefetchOp op) -> LogicalResult {
          if (op.getTensormap() && arch.capability < 90)
            return error(op) << "'tensormap' needs sm_90 or newer";
          return success();
        })
        .Default([](Operation *) { return success(); });
  }

  /// Types that both ends have.
  bool isKnown(Type type) {
    if (auto integer = dyn_cast<IntegerType>(type))
      return llvm::is_contained({1u, 8u, 16u, 32u, 64u}, integer.getWidth());
    if (auto vector = dyn_cast<VectorType>(type))
      return vector.getRank() == 1 && !vector.isScalable() &&
             isKnown(vector.getElementType());
    if (auto array = dyn_cast<LLVM::LLVMArrayType>(type))
      return isKnown(array.getElementType());
    if (auto structure = dyn_cast<LLVM::LLVMStructType>(type))
      return !structure.isOpaque() &&
             llvm::all_of(structure.getBody(),
                          [&](Type t) { return isKnown(t); });
    return isa<BFloat16Type, Float16Type, Float32Type, Float64Type,
               LLVM::LLVMPointerType, LLVM::LLVMVoidType>(type);
  }

  LogicalResult verifyTypes(Operation *op) {
    for (TypeRange types :
         {TypeRange(op->getOperandTypes()), TypeRange(op->getResultTypes())})
      for (Type type : types)
        if (!isKnown(type))
          return error(op) << "the cut has no type " << type;
    return success();
  }

  LogicalResult verifyFastMath(Operation *op) {
    auto math = dyn_cast<LLVM::FastmathFlagsInterface>(op);
    if (!math || !math.getFastmathAttr())
      return success();
    using Flags = LLVM::FastmathFlags;
    if (bitEnumContainsAny(math.getFastmathAttr().getValue(),
                           Flags::reassoc | Flags::contract | Flags::arcp |
                               Flags::afn))
      return error(op) << "flags " << math.getFastmathAttr()
                       << " let the two ends round differently";
    return success();
  }

  LogicalResult verifyFunc(LLVM::LLVMFuncOp func) {
    if (func.isExternal())
      return error(func) << "the function is not defined here";
    if (func.isVarArg())
      return error(func) << "it takes a variable number of arguments";
    for (Type type : func.getArgumentTypes())
      if (!isKnown(type))
        return error(func) << "the cut has no type " << type;
    return success();
  }

  LogicalResult verifyGlobal(LLVM::GlobalOp global) {
    unsigned space = global.getAddrSpace();
    if (space != 1 && space != 3 && space != 4)
      return error(global) << "'" << global.getSymName()
                           << "' lies in address space " << space
                           << ", not in global, shared or constant memory";
    auto array = dyn_cast<LLVM::LLVMArrayType>(global.getGlobalType());
    bool isDynamicShared = space == 3 && array && !array.getNumElements();
    if (global.getLinkage() == LLVM::Linkage::External &&
        !global.getValueOrNull() && !global.getInitializerBlock() &&
        space != 1 && !isDynamicShared)
      return error(global) << "'" << global.getSymName()
                           << "' is not defined here";
    return success();
  }

  LogicalResult verifyCall(LLVM::CallOp call) {
    std::optional<StringRef> callee = call.getCallee();
    if (!callee)
      return error(call) << "it calls a pointer";
    auto func = symbols.lookup<LLVM::LLVMFuncOp>(*callee);
    if (!func || func.isExternal())
      return error(call) << "it calls '" << *callee
                         << "', which is not defined here";
    return success();
  }

  LogicalResult verifyAtomic(LLVM::AtomicRMWOp op) {
    using Kind = LLVM::AtomicBinOp;
    Type type = op.getVal().getType();
    switch (op.getBinOp()) {
    case Kind::xchg:
    case Kind::add:
    case Kind::_and:
    case Kind::_or:
    case Kind::_xor:
    case Kind::max:
    case Kind::min:
    case Kind::umax:
    case Kind::umin:
      if (type.isInteger(32) || type.isInteger(64))
        return success();
      break;
    case Kind::uinc_wrap:
    case Kind::udec_wrap:
      if (type.isInteger(32))
        return success();
      break;
    case Kind::fadd:
      if (type.isF32())
        return success();
      break;
    default:
      break;
    }
    // The back end turns others into loops of compare and swap.
    return error(op) << "there is no instruction for '"
                     << LLVM::stringifyAtomicBinOp(op.getBinOp()) << "' of "
                     << type;
  }

  template <typename Op> LogicalResult verifyMatrix(Op op) {
    if (op.getShape().getM() != 8 || op.getShape().getN() != 8 ||
        op.getEltType() != NVVM::LdStMatrixEltType::B16)
      return error(op) << "the only matrices of the cut are 8 x 8 of b16";
    return success();
  }

  /// Forms that came with PTX 8.0 and Hopper.
  template <typename Op> LogicalResult verifyMBarrier(Op op) {
    bool plain = op.getScope() == NVVM::MemScopeKind::CTA && !op.getRelaxed();
    if constexpr (std::is_same_v<Op, NVVM::MBarrierArriveOp>)
      plain &= !op.getCount() &&
               cast<LLVM::LLVMPointerType>(op.getAddr().getType())
                       .getAddressSpace() !=
                   static_cast<unsigned>(NVVM::NVVMMemorySpace::SharedCluster);
    else
      plain &= op.getStateOrPhase().getType().isInteger(64);
    if (!plain && arch.capability < 90)
      return error(op) << "this form needs sm_90 or newer";
    return success();
  }

  mlir::gpu::GPUModuleOp cut;
  SymbolTable symbols;
  const moe::gpu::ArchInfo &arch;
};

struct VerifyCut : public moe::impl::VerifyCutPassBase<VerifyCut> {
  void runOnOperation() override {
    for (auto cut : getOperation().getOps<mlir::gpu::GPUModuleOp>()) {
      auto name = cut->getAttrOfType<StringAttr>("moe.arch");
      const moe::gpu::ArchInfo *arch =
          name ? moe::gpu::findArch(name.getValue()) : nullptr;
      if (!arch) {
        cut.emitError("'moe.arch' of a cut module is no architecture");
        return signalPassFailure();
      }
      if (failed(CutVerifier(cut, *arch).verify()))
        signalPassFailure();
    }
    markAllAnalysesPreserved();
  }
};

} // namespace
