//===- Retarget.cpp - From a cut module to a host module ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Retarget.h"

#include "mlir/IR/AttrTypeSubElements.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe::emulation;

namespace {

/// Where dynamic shared memory starts: what the swizzles of 128 bytes need.
constexpr uint32_t kDynamicAlignment = 1024;

/// The innermost name in a location, else the first file position.
std::string textOf(Location loc) {
  std::string name, position;
  loc->walk([&](Location part) {
    if (auto named = dyn_cast<NameLoc>(part))
      name = named.getName().str();
    if (auto file = dyn_cast<FileLineColLoc>(part); file && position.empty())
      position = (file.getFilename().getValue() + ":" + Twine(file.getLine()) +
                  ":" + Twine(file.getColumn()))
                     .str();
    return WalkResult::advance();
  });
  return name.empty() ? position : name;
}

uint32_t product(Operation *op, StringRef name, uint32_t otherwise) {
  auto sizes = op->getAttrOfType<DenseI32ArrayAttr>(name);
  if (!sizes)
    return otherwise;
  uint32_t result = 1;
  for (int32_t size : sizes.asArrayRef())
    result *= size;
  return result;
}

} // namespace

//===----------------------------------------------------------------------===//
// Retargeter
//===----------------------------------------------------------------------===//

Retargeter::Retargeter(ModuleOp module)
    : module(module), symbols(module), layout(module) {
  Builder b(module.getContext());
  ptr = LLVM::LLVMPointerType::get(module.getContext());
  i8 = b.getI8Type();
  i32 = b.getI32Type();
  i64 = b.getI64Type();
}

std::optional<uint32_t> Retargeter::getSharedOffset(StringRef name) const {
  auto found = sharedOffsets.find(name);
  if (found == sharedOffsets.end())
    return std::nullopt;
  return found->second;
}

LLVM::LLVMFuncOp Retargeter::getRuntimeFunction(StringRef name, Type result,
                                                ArrayRef<Type> args) {
  if (auto known = symbols.lookup<LLVM::LLVMFuncOp>(name))
    return known;
  OpBuilder b(module.getBodyRegion());
  auto type = LLVM::LLVMFunctionType::get(
      result ? result : LLVM::LLVMVoidType::get(b.getContext()), args);
  auto function = LLVM::LLVMFuncOp::create(b, module.getLoc(), name, type);
  // Fibers switch inside: a call must stay where it is.
  function.setConvergent(true);
  function.setNoUnwind(true);
  symbols.insert(function);
  return function;
}

std::string Retargeter::addSite(Location loc) {
  return addString(("moe_emu_site." + Twine(numSites++)).str(), textOf(loc))
      .getSymName()
      .str();
}

LLVM::LLVMFuncOp Retargeter::lookupFunction(StringRef name) {
  return symbols.lookup<LLVM::LLVMFuncOp>(name);
}

LogicalResult Retargeter::layOutShared() {
  uint64_t end = 0;
  SmallVector<LLVM::GlobalOp> dynamic;
  for (auto global : module.getOps<LLVM::GlobalOp>()) {
    if (global.getAddrSpace() != kShared) {
      if (!global.getValueOrNull() && !global.getInitializerBlock())
        return global.emitError("a variable without initial value is defined "
                                "elsewhere, and there is no elsewhere");
      continue;
    }
    sharedVariables.push_back(global);
    uint64_t size = layout.getTypeSize(global.getGlobalType());
    if (size == 0) {
      dynamic.push_back(global);
      continue;
    }
    end = llvm::alignTo(end, global.getAlignment().value_or(16));
    sharedOffsets[global.getSymName()] = end;
    end += size;
  }
  if (end != 0)
    end = llvm::alignTo(end, kDynamicAlignment);
  for (LLVM::GlobalOp global : dynamic) {
    if (global.getAlignment().value_or(1) > kDynamicAlignment)
      return global.emitError("shared memory is aligned to ")
             << kDynamicAlignment << " bytes, not to "
             << *global.getAlignment();
    sharedOffsets[global.getSymName()] = end;
  }
  staticShared = end;
  return success();
}

LogicalResult Retargeter::prepare(LLVM::LLVMFuncOp function) {
  LLVM::LLVMFunctionType type = function.getFunctionType();
  if (type.isVarArg())
    return function.emitError("the emulator has no variable arguments");
  bool isKernel =
      function->hasAttr("nvvm.kernel") || function->hasAttr("gpu.kernel");
  if (auto cluster =
          function->getAttrOfType<DenseI32ArrayAttr>("nvvm.cluster_dim"))
    for (int32_t size : cluster.asArrayRef().drop_front())
      if (size != 1)
        return function.emitError("clusters lie along x in the emulator");
  Kernel kernel;
  kernel.function = function;
  kernel.name = function.getSymName().str();
  kernel.maxThreads =
      product(function, "nvvm.maxntid", product(function, "nvvm.reqntid", 0));
  kernel.cluster = product(function, "nvvm.cluster_dim", 1);
  for (auto [index, param] : llvm::enumerate(type.getParams())) {
    auto byval = function.getArgAttrOfType<TypeAttr>(index, "llvm.byval");
    kernel.params.emplace_back(byval ? byval.getValue() : param, bool(byval));
    if (byval)
      byvalArgs.insert(function.getArgument(index));
  }
  if (isKernel)
    kernels.push_back(std::move(kernel));

  SmallVector<Type> params{ptr};
  llvm::append_range(params, type.getParams());
  function.getBody().front().insertArgument(0u, ptr, function.getLoc());
  function.setFunctionType(
      LLVM::LLVMFunctionType::get(type.getReturnType(), params));
  function.setAllArgAttrs(SmallVector<DictionaryAttr>(
      params.size(), DictionaryAttr::get(module.getContext())));
  for (NamedAttribute attr : llvm::to_vector(function->getDiscardableAttrs()))
    function->removeDiscardableAttr(attr.getName());
  function.setLinkage(LLVM::Linkage::Internal);
  function.setComdatAttr(nullptr);
  function.setPassthroughAttr(nullptr);
  function.setTargetCpu(std::nullopt);
  function.setTargetFeaturesAttr(nullptr);
  function.setCConv(LLVM::CConv::C);
  return success();
}

LogicalResult Retargeter::rewriteBody(LLVM::LLVMFuncOp function) {
  Rewrite::Slots slots;
  Value thread = function.getArgument(0);
  SmallVector<Operation *> ops;
  function.getBody().walk([&](Operation *op) { ops.push_back(op); });
  bool failed = false;
  for (Operation *op : ops) {
    StringRef dialect = op->getName().getDialectNamespace();
    Rewrite rewrite(*this, op, thread, slots, byvalArgs);
    if (dialect == "llvm") {
      failed |= mlir::failed(rewriteLLVMOp(rewrite, op));
      continue;
    }
    const Rule *rule = lookupNVVMRule(op->getName().getStringRef());
    if (!rule) {
      op->emitOpError("is not an operation of the emulator");
      failed = true;
      continue;
    }
    failed |= mlir::failed((*rule)(rewrite, op));
  }
  return failure(failed);
}

LLVM::GlobalOp Retargeter::addConstant(StringRef name, Type type,
                                       function_ref<Value(OpBuilder &)> init) {
  OpBuilder b(module.getBodyRegion());
  b.setInsertionPointToEnd(module.getBody());
  auto global = LLVM::GlobalOp::create(b, module.getLoc(), type,
                                       /*isConstant=*/true,
                                       LLVM::Linkage::Internal, name, {});
  b.createBlock(&global.getInitializerRegion());
  LLVM::ReturnOp::create(b, module.getLoc(), init(b));
  symbols.insert(global);
  return global;
}

LLVM::GlobalOp Retargeter::addString(StringRef name, StringRef text) {
  OpBuilder b(module.getBodyRegion());
  std::string bytes = text.str() + '\0';
  auto global = LLVM::GlobalOp::create(
      b, module.getLoc(), LLVM::LLVMArrayType::get(i8, bytes.size()),
      /*isConstant=*/true, LLVM::Linkage::Internal, name,
      b.getStringAttr(bytes));
  symbols.insert(global);
  return global;
}

void Retargeter::eraseAddressSpaces() {
  module.walk([](LLVM::GlobalOp global) { global.setAddrSpace(0); });
  AttrTypeReplacer replacer;
  replacer.addReplacement([](LLVM::LLVMPointerType type) -> Type {
    return LLVM::LLVMPointerType::get(type.getContext());
  });
  replacer.recursivelyReplaceElementsIn(module, /*replaceAttrs=*/true,
                                        /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
  module.walk([](LLVM::AddrSpaceCastOp cast) {
    cast.replaceAllUsesWith(cast.getArg());
    cast.erase();
  });
}

LogicalResult Retargeter::run() {
  if (failed(layOutShared()))
    return failure();
  SmallVector<LLVM::LLVMFuncOp> functions;
  for (auto function :
       llvm::make_early_inc_range(module.getOps<LLVM::LLVMFuncOp>())) {
    if (!function.isExternal())
      functions.push_back(function);
    else if (SymbolTable::symbolKnownUseEmpty(function, module))
      symbols.erase(function);
  }
  for (LLVM::LLVMFuncOp function : functions)
    if (failed(prepare(function)))
      return failure();
  bool failed = false;
  for (LLVM::LLVMFuncOp function : functions)
    failed |= mlir::failed(rewriteBody(function));
  if (failed)
    return failure();
  addTable();
  for (LLVM::GlobalOp variable : sharedVariables)
    symbols.erase(variable);
  eraseAddressSpaces();
  return success();
}
