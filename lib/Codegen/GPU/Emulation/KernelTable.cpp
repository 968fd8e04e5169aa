//===- KernelTable.cpp - Entries and table of emulated kernels ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Retarget.h"

using namespace mlir;
using namespace mlir::moe::emulation;

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
