//===- ExpandGpuKernels.cpp - Kernel ops to GPU code --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/KernelExpansion.h"
#include "moe/Codegen/GPU/Passes.h"

#include "Builder/Emit.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_EXPANDGPUKERNELSPASS
#include "moe/Codegen/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

/// Alignment of the dynamic shared memory, and the most that 128-byte swizzles
/// and tensor maps ask for.
static constexpr int64_t kSharedAlignment = 1024;
static constexpr int64_t kScratchAlignment = 256;
static constexpr StringLiteral kSharedName = "moe_shared";

//===----------------------------------------------------------------------===//
// KernelContext
//===----------------------------------------------------------------------===//

Value KernelContext::allocShared(int64_t bytes, int64_t alignment) {
  assert(llvm::isPowerOf2_64(alignment) && alignment <= kSharedAlignment);
  int64_t offset = llvm::alignTo(sharedUsed, alignment);
  sharedUsed = offset + bytes;
  sharedPeak = std::max(sharedPeak, sharedUsed);
  return Emit(loc, b).offset(sharedBase, offset);
}

Value KernelContext::allocScratch(int64_t bytes) {
  int64_t offset = scratchUsed;
  scratchUsed = llvm::alignTo(offset + bytes, kScratchAlignment);
  scratchPeak = std::max(scratchPeak, scratchUsed);
  Emit e(loc, b);
  return e.offset(scratchBase, e.i64(offset));
}

Value KernelContext::makeTicket() { return ticketMaker(); }

void KernelContext::raiseStatus(Value status) {
  LLVM::AtomicRMWOp::create(b, loc, LLVM::AtomicBinOp::max, statusPointer,
                            status, LLVM::AtomicOrdering::monotonic, "device");
}

void KernelContext::barrier() { Emit(loc, b).syncBlock(); }

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

static LogicalResult expandOp(Operation *op, KernelContext &ctx) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case(
          [&](KernelRouterLogitsOp op) { return expandRouterLogits(op, ctx); })
      .Case([&](KernelSelectTopkOp op) { return expandSelectTopk(op, ctx); })
      .Case([&](KernelGroupRowsOp op) { return expandGroupRows(op, ctx); })
      .Case([&](KernelRouteRowsOp op) { return expandRouteRows(op, ctx); })
      .Case([&](KernelAllRowsOp op) { return expandAllRows(op, ctx); })
      .Case([&](KernelGatherRowsOp op) { return expandGatherRows(op, ctx); })
      .Case([&](KernelRaggedGemmOp op) { return expandRaggedGemm(op, ctx); })
      .Case([&](KernelCombineRowsOp op) { return expandCombineRows(op, ctx); })
      .Case([&](KernelCountRowsOp op) { return expandCountRows(op, ctx); })
      .Case([&](KernelMapRowsOp op) { return expandMapRows(op, ctx); })
      .Default([](Operation *op) {
        return op->emitOpError("has no GPU code, no expander handles it");
      });
}

namespace {

/// The cut module of one architecture under construction.
class ArchModule {
public:
  ArchModule(ModuleOp module, const ArchInfo &arch) : arch(arch) {
    OpBuilder b(module.getContext());
    b.setInsertionPointToEnd(module.getBody());
    target = mlir::gpu::GPUModuleOp::create(b, module.getLoc(), arch.name);
    target->setAttr("moe.arch", b.getStringAttr(arch.name));
  }
  LogicalResult expand(plan::KernelOp kernel, GpuConfigAttr config);

private:
  /// A variable at the start of the module.
  void addGlobal(Location loc, StringRef name, Type type, Attribute value,
                 LLVM::Linkage linkage, unsigned addressSpace,
                 int64_t alignment) {
    OpBuilder b(target.getContext());
    b.setInsertionPointToStart(target.getBody());
    LLVM::GlobalOp::create(b, loc, type, /*isConstant=*/false, linkage, name,
                           value, alignment, addressSpace);
  }

  const ArchInfo &arch;
  mlir::gpu::GPUModuleOp target;
  bool hasShared = false;
  unsigned numTickets = 0;
};

} // namespace

LogicalResult ArchModule::expand(plan::KernelOp kernel, GpuConfigAttr config) {
  MLIRContext *context = kernel.getContext();
  OpBuilder b(context);
  b.setInsertionPointToEnd(target.getBody());
  Location loc = kernel.getLoc();
  Block &body = kernel.getBody().front();
  auto global = LLVM::LLVMPointerType::get(context, 1);
  auto shared = LLVM::LLVMPointerType::get(context, 3);

  SmallVector<Type> types;
  for (Type type : body.getArgumentTypes())
    types.push_back(type.isIndex() ? Type(b.getI64Type()) : Type(global));
  types.append({global, global});
  auto func = func::FuncOp::create(b, loc, kernel.getSymName(),
                                   b.getFunctionType(types, {}));
  func->setAttr("moe.kernel", b.getStringAttr(kernel.getSymName()));
  func->setAttr("moe.config", config);

  Block *entry = func.addEntryBlock();
  b.setInsertionPointToStart(entry);
  auto ret = func::ReturnOp::create(b, loc);
  b.setInsertionPoint(ret);
  Emit e(loc, b);
  Type i32 = e.getI32Type();
  Value block = NVVM::BlockIdXOp::create(e, i32);
  Value blocks = NVVM::GridDimXOp::create(e, i32);
  Value thread = NVVM::ThreadIdXOp::create(e, i32);
  Value lane = e.bitAnd(thread, e.i32(31));
  Value warp = e.shr(thread, e.i32(5));
  Value scratch = entry->getArgument(types.size() - 1);

  int64_t sharedPeak = 0, scratchPeak = 0;
  // The block's share of the scratch depends on the peak of all ops.
  Value scratchBytes = e.i64(0);
  Value scratchBase = e.offset(scratch, e.mul(e.toI64(block), scratchBytes));
  // Taken at the start, erased again when no op wanted any.
  Value sharedBase = LLVM::AddressOfOp::create(e, shared, kSharedName);
  bool first = true;
  for (Operation &op : body) {
    KernelContext ctx(b, op.getLoc(), config);
    ctx.block = block;
    ctx.blocks = blocks;
    ctx.thread = thread;
    ctx.lane = lane;
    ctx.warp = warp;
    for (auto [from, to] :
         llvm::zip(body.getArguments(), entry->getArguments().drop_back(2)))
      ctx.arguments.map(from, to);
    ctx.sharedBase = sharedBase;
    ctx.scratchBase = scratchBase;
    ctx.statusPointer = entry->getArgument(types.size() - 2);
    ctx.ticketMaker = [&]() -> Value {
      std::string name = ("moe_ticket_" + Twine(numTickets++)).str();
      addGlobal(loc, name, i32, b.getI32IntegerAttr(0), LLVM::Linkage::Internal,
                1, 4);
      return LLVM::AddressOfOp::create(b, loc, global, name);
    };
    // The next op takes the same shared memory and scratch.
    if (!first)
      e.syncBlock();
    first = false;
    if (failed(expandOp(&op, ctx)))
      return failure();
    b.setInsertionPoint(ret);
    e.setInsertionPoint(ret);
    sharedPeak = std::max(sharedPeak, ctx.sharedPeak);
    scratchPeak = std::max(scratchPeak, ctx.scratchPeak);
  }
  if (sharedPeak > arch.maxSharedBytes)
    return kernel.emitError("kernel needs ")
           << sharedPeak << " bytes of shared memory, " << arch.name << " has "
           << arch.maxSharedBytes << " for a block";
  if (sharedPeak && !hasShared) {
    auto bytes = LLVM::LLVMArrayType::get(b.getI8Type(), 0);
    addGlobal(target.getLoc(), kSharedName, bytes, Attribute(),
              LLVM::Linkage::External, 3, kSharedAlignment);
    hasShared = true;
  }
  if (sharedBase.use_empty())
    sharedBase.getDefiningOp()->erase();
  cast<arith::ConstantOp>(scratchBytes.getDefiningOp())
      .setValueAttr(b.getI64IntegerAttr(scratchPeak));
  func->setAttr("moe.shared_bytes", b.getI64IntegerAttr(sharedPeak));
  func->setAttr("moe.scratch_bytes", b.getI64IntegerAttr(scratchPeak));
  return success();
}

namespace {
struct ExpandGpuKernels
    : public moe::impl::ExpandGpuKernelsPassBase<ExpandGpuKernels> {
  void runOnOperation() override {
    llvm::MapVector<StringRef, std::unique_ptr<ArchModule>> modules;
    for (auto kernel :
         llvm::make_early_inc_range(getOperation().getOps<plan::KernelOp>())) {
      if (kernel.getDevice() != DeviceKind::Cuda)
        continue;
      if (kernel.getVariants().empty()) {
        kernel.emitError("kernel has no variants; run "
                         "'moe-select-gpu-config' first");
        return signalPassFailure();
      }
      if (failed(checkForms(kernel)))
        return signalPassFailure();
      for (auto config : kernel.getVariants().getAsRange<GpuConfigAttr>()) {
        auto &slot = modules[config.getArch()];
        if (!slot)
          slot = std::make_unique<ArchModule>(getOperation(),
                                              *findArch(config.getArch()));
        if (failed(slot->expand(kernel, config)))
          return signalPassFailure();
      }
    }
  }
};
} // namespace
