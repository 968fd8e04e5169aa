//===- ExpandKernels.cpp - Kernel ops to loop nests -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/CPU/KernelExpansion.h"
#include "moe/Codegen/Passes.h"

#include "Expand/VectorUtils.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_EXPANDKERNELSPASS
#include "moe/Codegen/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::cpu;

//===----------------------------------------------------------------------===//
// KernelContext
//===----------------------------------------------------------------------===//

Value KernelContext::allocScratch(Type elementType, int64_t elements) {
  constexpr int64_t kAlignment = 64;
  int64_t bytes = elements * ((elementType.getIntOrFloatBitWidth() + 7) / 8);
  int64_t offset = scratchUsed;
  scratchUsed = llvm::alignTo(offset + bytes, kAlignment);
  scratchPeak = std::max(scratchPeak, scratchUsed);
  auto type = MemRefType::get({ShapedType::kDynamic}, elementType);
  return memref::ViewOp::create(b, loc, type, scratch,
                                indexConstant(b, loc, offset),
                                indexConstant(b, loc, elements));
}

void KernelContext::raiseStatus(Value value) {
  Value zero = indexConstant(b, loc, 0);
  Value old = memref::LoadOp::create(b, loc, status, zero);
  Value larger = arith::MaxSIOp::create(b, loc, old, value);
  memref::StoreOp::create(b, loc, larger, status, zero);
}

std::pair<Value, Value> KernelContext::splitRange(Value total) {
  Value share = arith::DivUIOp::create(b, loc, total, workers);
  Value rest = arith::RemUIOp::create(b, loc, total, workers);
  Value extra = arith::MinUIOp::create(b, loc, worker, rest);
  Value begin =
      addIndex(b, loc, arith::MulIOp::create(b, loc, worker, share), extra);
  Value hasExtra =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, worker, rest);
  Value one = arith::IndexCastUIOp::create(b, loc, b.getIndexType(), hasExtra);
  Value end = addIndex(b, loc, addIndex(b, loc, begin, share), one);
  return {begin, end};
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

static LogicalResult expandOp(Operation *op, KernelContext &ctx) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case(
          [&](KernelRouterLogitsOp op) { return expandRouterLogits(op, ctx); })
      .Case([&](KernelSelectTopkOp op) { return expandSelectTopk(op, ctx); })
      .Case([&](KernelApplyCapacityOp op) {
        return expandApplyCapacity(op, ctx);
      })
      .Case([&](KernelSelectProductsOp op) {
        return expandSelectProducts(op, ctx);
      })
      .Case([&](KernelChooseRowsOp op) { return expandChooseRows(op, ctx); })
      .Case([&](KernelGroupRowsOp op) { return expandGroupRows(op, ctx); })
      .Case([&](KernelAllRowsOp op) { return expandAllRows(op, ctx); })
      .Case([&](KernelGatherRowsOp op) { return expandGatherRows(op, ctx); })
      .Case([&](KernelPackRowsOp op) { return expandPackRows(op, ctx); })
      .Case([&](KernelGroupedGemmOp op) { return expandGroupedGemm(op, ctx); })
      .Case([&](KernelCombineRowsOp op) { return expandCombineRows(op, ctx); })
      .Case([&](KernelCountRowsOp op) { return expandCountRows(op, ctx); })
      .Case([&](KernelSliceRowsOp op) { return expandSliceRows(op, ctx); })
      .Case([&](KernelRowLogitsOp op) { return expandRowLogits(op, ctx); })
      .Case([&](KernelNestIdsOp op) { return expandNestIds(op, ctx); })
      .Case([&](KernelCountIdsOp op) { return expandCountIds(op, ctx); })
      .Case([&](KernelRandomOp op) { return expandRandom(op, ctx); })
      .Case([&](KernelLookupRowsOp op) { return expandLookupRows(op, ctx); })
      .Case([&](KernelMapRowsOp op) { return expandMapRows(op, ctx); })
      .Case([&](KernelFoldRowsOp op) { return expandFoldRows(op, ctx); })
      .Default([](Operation *op) {
        return op->emitOpError("is not a kernel op, no expander handles it");
      });
}

/// Kernel ops are expanded; what computes their operands stays.
static bool isKernelOp(Operation *op) {
  return isa_and_nonnull<MoeDialect>(op->getDialect());
}

static LogicalResult expandVariant(plan::KernelOp kernel,
                                   CpuConfigAttr config) {
  OpBuilder b(kernel->getContext());
  b.setInsertionPointAfter(kernel);
  Location loc = kernel.getLoc();
  Block &body = kernel.getBody().front();
  SmallVector<Type> types(body.getArgumentTypes());
  Type index = b.getIndexType();
  types.append(
      {index, index, MemRefType::get({ShapedType::kDynamic}, b.getI8Type())});
  std::string name =
      (kernel.getSymName() + "." + stringifyIsa(config.getIsa())).str();
  auto func = func::FuncOp::create(b, loc, name,
                                   b.getFunctionType(types, b.getI32Type()));
  func.setPrivate();
  func->setAttr("moe.kernel", b.getStringAttr(kernel.getSymName()));
  func->setAttr("moe.config", config);

  Block *entry = func.addEntryBlock();
  b.setInsertionPointToStart(entry);
  auto own = entry->getArguments().take_back(3);
  Value status =
      memref::AllocaOp::create(b, loc, MemRefType::get({1}, b.getI32Type()));
  Value zero = indexConstant(b, loc, 0);
  memref::StoreOp::create(b, loc, i32Constant(b, loc, 0), status, zero);
  Value result = memref::LoadOp::create(b, loc, status, zero);
  auto ret = func::ReturnOp::create(b, loc, result);

  b.setInsertionPoint(result.getDefiningOp());
  IRMapping mapping;
  mapping.map(body.getArguments(), entry->getArguments().drop_back(3));
  SmallVector<Operation *> ops;
  for (Operation &op : body)
    ops.push_back(b.clone(op, mapping));

  int64_t scratchPeak = 0;
  for (Operation *op : ops) {
    if (!isKernelOp(op))
      continue;
    b.setInsertionPoint(op);
    KernelContext ctx(b, op->getLoc(), config, own[0], own[1], own[2], status);
    if (failed(expandOp(op, ctx)))
      return failure();
    scratchPeak = std::max(scratchPeak, ctx.scratchPeak);
    op->erase();
  }
  (void)ret;
  func->setAttr("moe.scratch_bytes", b.getI64IntegerAttr(scratchPeak));
  return success();
}

namespace {
struct ExpandKernels : public moe::impl::ExpandKernelsPassBase<ExpandKernels> {
  void runOnOperation() override {
    SmallVector<plan::KernelOp> kernels(
        getOperation().getOps<plan::KernelOp>());
    for (plan::KernelOp kernel : kernels) {
      if (kernel.getDevice() != DeviceKind::Cpu)
        continue;
      if (kernel.getVariants().empty()) {
        kernel.emitError("kernel has no variants; run "
                         "'moe-select-kernel-config' first");
        return signalPassFailure();
      }
      // Each goes right behind the kernel: the last one first.
      for (Attribute variant : llvm::reverse(kernel.getVariants())) {
        if (failed(expandVariant(kernel, cast<CpuConfigAttr>(variant))))
          return signalPassFailure();
      }
    }
  }
};
} // namespace
