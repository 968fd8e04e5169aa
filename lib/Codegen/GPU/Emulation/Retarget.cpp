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

/// Address spaces of NVPTX.
enum : unsigned { kShared = 3, kLocal = 5 };

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
// Rewrite
//===----------------------------------------------------------------------===//

Rewrite::Rewrite(Retargeter &retargeter, Operation *op, Value thread,
                 Slots &slots, const DenseSet<Value> &byvalArgs)
    : b(op), loc(op->getLoc()), i1(b.getI1Type()), i32(b.getI32Type()),
      i64(b.getI64Type()), f32(b.getF32Type()), ptr(retargeter.getPtr()),
      retargeter(retargeter), op(op), threadArg(thread), slots(slots),
      byvalArgs(byvalArgs) {}

Value Rewrite::constant(int64_t value) {
  return LLVM::ConstantOp::create(b, loc, i32,
                                  b.getI32IntegerAttr(int32_t(value)));
}

Value Rewrite::constant64(int64_t value) {
  return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(value));
}

Value Rewrite::null() { return LLVM::ZeroOp::create(b, loc, ptr); }

Value Rewrite::orConstant(Value value, int64_t otherwise) {
  return value ? value : constant(otherwise);
}

Value Rewrite::toInt(Value value, Type type) {
  unsigned from = value.getType().getIntOrFloatBitWidth();
  unsigned to = type.getIntOrFloatBitWidth();
  if (from < to)
    return LLVM::ZExtOp::create(b, loc, type, value);
  return from > to ? LLVM::TruncOp::create(b, loc, type, value) : value;
}

Value Rewrite::field(unsigned at, Type type) {
  auto load = LLVM::LoadOp::create(b, loc, type, offset(threadArg, at));
  load.setInvariant(true);
  return load;
}

Value Rewrite::offset(Value address, uint64_t bytes) {
  if (bytes == 0)
    return address;
  return LLVM::GEPOp::create(b, loc, address.getType(), b.getI8Type(), address,
                             ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}

Value Rewrite::slot(SlotUse use, unsigned bytes) {
  Value &slot = slots[{use, bytes}];
  if (!slot) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(
        &op->getParentOfType<LLVM::LLVMFuncOp>().getBody().front());
    slot = LLVM::AllocaOp::create(
        b, loc, ptr, LLVM::LLVMArrayType::get(b.getI8Type(), bytes),
        constant(1), /*alignment=*/16);
  }
  return slot;
}

Value Rewrite::call(StringRef function, Type result, ValueRange args) {
  SmallVector<Value> values{threadArg};
  for (Value arg : args) {
    if (isa<LLVM::LLVMPointerType>(arg.getType()) && arg.getType() != ptr)
      arg = LLVM::AddrSpaceCastOp::create(b, loc, ptr, arg);
    values.push_back(arg);
  }
  if (site.empty())
    site = retargeter.addSite(loc);
  values.push_back(LLVM::AddressOfOp::create(b, loc, ptr, site));
  auto callee = retargeter.getRuntimeFunction(
      function, result, llvm::to_vector(ValueRange(values).getTypes()));
  auto call = LLVM::CallOp::create(b, loc, callee, values);
  return result ? call.getResult() : Value();
}

void Rewrite::guarded(Value predicate, function_ref<void()> body) {
  if (!predicate)
    return body();
  Block *before = op->getBlock();
  Block *after = before->splitBlock(op);
  auto *then = new Block;
  before->getParent()->getBlocks().insert(after->getIterator(), then);
  b.setInsertionPointToEnd(before);
  LLVM::CondBrOp::create(b, loc, predicate, then, after);
  b.setInsertionPointToEnd(then);
  body();
  b.setInsertionPointToEnd(then);
  LLVM::BrOp::create(b, loc, after);
  b.setInsertionPoint(op);
}

void Rewrite::replace(ValueRange values) {
  if (!values.empty())
    op->replaceAllUsesWith(values);
  op->erase();
}

unsigned Rewrite::sizeOf(Type type) const {
  return retargeter.getDataLayout().getTypeSize(type);
}

bool Rewrite::isPrivate(Value address) const {
  while (true) {
    auto type = dyn_cast<LLVM::LLVMPointerType>(address.getType());
    if (type && type.getAddressSpace() == kLocal)
      return true;
    if (byvalArgs.contains(address))
      return true;
    Operation *from = address.getDefiningOp();
    if (!from)
      return false;
    if (isa<LLVM::AllocaOp>(from))
      return true;
    if (!isa<LLVM::GEPOp, LLVM::AddrSpaceCastOp, LLVM::BitcastOp>(from))
      return false;
    address = from->getOperand(0);
  }
}

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

/// An entry unpacks the parameters: `params` has a pointer to each.
void Retargeter::addEntry(Kernel &kernel) {
  OpBuilder b(module.getBodyRegion());
  b.setInsertionPointToEnd(module.getBody());
  Location loc = kernel.function.getLoc();
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()), {ptr, ptr});
  auto entry = LLVM::LLVMFuncOp::create(
      b, loc, ("moe_emu_entry." + kernel.name), type, LLVM::Linkage::Internal);
  symbols.insert(entry);
  Block *body = entry.addEntryBlock(b);
  b.setInsertionPointToStart(body);
  SmallVector<Value> args{body->getArgument(0)};
  for (auto [index, param] : llvm::enumerate(kernel.params)) {
    Value slot = LLVM::GEPOp::create(b, loc, ptr, ptr, body->getArgument(1),
                                     ArrayRef<LLVM::GEPArg>{int32_t(index)});
    Value value = LLVM::LoadOp::create(b, loc, ptr, slot);
    if (!param.second)
      value = LLVM::LoadOp::create(b, loc, param.first, value);
    args.push_back(value);
  }
  LLVM::CallOp::create(b, loc, kernel.function, args);
  LLVM::ReturnOp::create(b, loc, ValueRange());
}

/// `moe_emulated_module`, field by field as EmulatedModule.h has it.
void Retargeter::addTable() {
  MLIRContext *context = module.getContext();
  Location loc = module.getLoc();
  auto structOf = [&](ArrayRef<Type> fields) {
    return LLVM::LLVMStructType::getLiteral(context, fields);
  };
  Type kernelType = structOf({ptr, ptr, i32, i32, ptr, i32, i32});
  Type globalType = structOf({ptr, ptr, i64});
  Type moduleType = structOf({i32, i32, ptr, i32, i32, ptr});
  auto number = [&](OpBuilder &b, Type type, uint64_t value) -> Value {
    return LLVM::ConstantOp::create(b, loc, type,
                                    b.getIntegerAttr(type, int64_t(value)));
  };
  auto address = [&](OpBuilder &b, StringRef symbol) -> Value {
    if (symbol.empty())
      return LLVM::ZeroOp::create(b, loc, ptr);
    return LLVM::AddressOfOp::create(b, loc, ptr, symbol);
  };
  auto aggregate = [&](OpBuilder &b, Type type, ValueRange fields) -> Value {
    Value result = LLVM::UndefOp::create(b, loc, type);
    for (auto [index, field] : llvm::enumerate(fields))
      result = LLVM::InsertValueOp::create(b, loc, result, field,
                                           ArrayRef<int64_t>{int64_t(index)});
    return result;
  };
  auto addArray = [&](StringRef name, Type row, size_t count,
                      function_ref<Value(OpBuilder &, size_t)> init) {
    if (count == 0)
      return std::string();
    Type type = LLVM::LLVMArrayType::get(row, count);
    auto global = addConstant(name, type, [&](OpBuilder &b) {
      SmallVector<Value> rows;
      for (size_t i = 0; i < count; ++i)
        rows.push_back(init(b, i));
      return aggregate(b, type, rows);
    });
    return global.getSymName().str();
  };

  SmallVector<LLVM::GlobalOp> variables;
  for (auto global : module.getOps<LLVM::GlobalOp>())
    if (global.getAddrSpace() != kShared &&
        !global.getSymName().starts_with("moe_emu_"))
      variables.push_back(global);

  SmallVector<std::string> names, sizes, variableNames;
  for (Kernel &kernel : kernels) {
    addEntry(kernel);
    names.push_back(addString(("moe_emu_name." + kernel.name), kernel.name)
                        .getSymName()
                        .str());
    sizes.push_back(addArray(
        ("moe_emu_param_sizes." + kernel.name), i32, kernel.params.size(),
        [&](OpBuilder &b, size_t i) {
          return number(b, i32, layout.getTypeSize(kernel.params[i].first));
        }));
  }
  std::string kernelTable = addArray(
      "moe_emu_kernels", kernelType, kernels.size(),
      [&](OpBuilder &b, size_t i) {
        const Kernel &kernel = kernels[i];
        return aggregate(
            b, kernelType,
            {address(b, names[i]), address(b, "moe_emu_entry." + kernel.name),
             number(b, i32, kernel.params.size()), number(b, i32, staticShared),
             address(b, sizes[i]), number(b, i32, kernel.maxThreads),
             number(b, i32, kernel.cluster)});
      });
  for (LLVM::GlobalOp global : variables)
    variableNames.push_back(
        addString(("moe_emu_variable_name." + global.getSymName()).str(),
                  global.getSymName())
            .getSymName()
            .str());
  std::string variableTable = addArray(
      "moe_emu_variables", globalType, variables.size(),
      [&](OpBuilder &b, size_t i) {
        return aggregate(
            b, globalType,
            {address(b, variableNames[i]),
             address(b, variables[i].getSymName()),
             number(b, i64, layout.getTypeSize(variables[i].getGlobalType()))});
      });
  LLVM::GlobalOp table =
      addConstant(MOE_EMU_MODULE_SYMBOL, moduleType, [&](OpBuilder &b) {
        return aggregate(b, moduleType,
                         {number(b, i32, MOE_EMU_ABI_VERSION),
                          number(b, i32, kernels.size()),
                          address(b, kernelTable),
                          number(b, i32, variables.size()), number(b, i32, 0),
                          address(b, variableTable)});
      });
  table.setLinkage(LLVM::Linkage::External);
  for (LLVM::GlobalOp global : variables)
    global.setLinkage(LLVM::Linkage::Internal);
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
