//===- KernelTable.cpp - The table that an artifact exports ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LLVMCPU.h"

#include "moert/Format/KernelABI.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"

using namespace mlir::moe;

static_assert(llvmcpu::kNumLevels == MOERT_ISA_COUNT,
              "the dialect's ISA levels are those of the kernel ABI");

void llvmcpu::addKernelTable(llvm::Module &module,
                             const std::vector<KernelEntry> &entries) {
  llvm::LLVMContext &context = module.getContext();
  llvm::IRBuilder<> b(context);
  auto *ptr = llvm::PointerType::getUnqual(context);
  auto *i32 = b.getInt32Ty(), *i64 = b.getInt64Ty();
  auto *sizes = llvm::ArrayType::get(i64, kNumLevels);
  auto *code = llvm::ArrayType::get(ptr, kNumLevels);
  // moert_kernel_entry and moert_module_table.
  auto *entryType = llvm::StructType::get(ptr, i32, i32, sizes, code);
  auto *tableType = llvm::StructType::get(i32, i32, i32, i32, ptr);
  auto addConstant = [&](llvm::Constant *value, llvm::StringRef name) {
    return new llvm::GlobalVariable(
        module, value->getType(),
        /*isConstant=*/true, llvm::GlobalValue::InternalLinkage, value, name);
  };

  llvm::SmallVector<llvm::Constant *> rows;
  for (const KernelEntry &entry : entries) {
    llvm::SmallVector<llvm::Constant *> scratch, functions;
    for (unsigned level = 0; level < kNumLevels; ++level) {
      scratch.push_back(b.getInt64(entry.scratchBytes[level]));
      llvm::Function *function = entry.code[level];
      functions.push_back(function ? static_cast<llvm::Constant *>(function)
                                   : llvm::ConstantPointerNull::get(ptr));
    }
    llvm::Constant *name = addConstant(
        llvm::ConstantDataArray::getString(context, entry.name), "name");
    rows.push_back(llvm::ConstantStruct::get(
        entryType, {name, b.getInt32(entry.numArgs), b.getInt32(0),
                    llvm::ConstantArray::get(sizes, scratch),
                    llvm::ConstantArray::get(code, functions)}));
  }
  llvm::Constant *kernels = llvm::ConstantPointerNull::get(ptr);
  if (!rows.empty())
    kernels =
        addConstant(llvm::ConstantArray::get(
                        llvm::ArrayType::get(entryType, rows.size()), rows),
                    "kernels");
  llvm::Constant *table = addConstant(
      llvm::ConstantStruct::get(
          tableType, {b.getInt32(sizeof(moert_module_table)),
                      b.getInt32(MOERT_KERNEL_ABI_VERSION),
                      b.getInt32(rows.size()), b.getInt32(0), kernels}),
      "table");

  auto *query = llvm::Function::Create(
      llvm::FunctionType::get(ptr, {i32}, /*isVarArg=*/false),
      llvm::GlobalValue::ExternalLinkage, MOERT_QUERY_SYMBOL, module);
  query->setDSOLocal(true);
  b.SetInsertPoint(llvm::BasicBlock::Create(context, "", query));
  llvm::Value *known =
      b.CreateICmpEQ(query->getArg(0), b.getInt32(MOERT_KERNEL_ABI_VERSION));
  b.CreateRet(
      b.CreateSelect(known, table, llvm::ConstantPointerNull::get(ptr)));
}
