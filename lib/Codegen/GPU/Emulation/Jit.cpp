//===- Jit.cpp - Emulated kernels in this process -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Jit.h"

#include "moe/Codegen/GPU/Emulation/Launch.h"
#include "moe/Codegen/GPU/Emulation/RetargetToHost.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

#include <cstring>

using namespace mlir;
using namespace mlir::moe;

struct JitModule::Code {
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

JitModule::JitModule() : code(std::make_unique<Code>()) {}
JitModule::~JitModule() = default;

std::unique_ptr<JitModule> JitModule::create(gpu::GPUModuleOp cut) {
  Location loc = cut.getLoc();
  SmallVector<char> object;
  if (failed(emitEmulatedObject(cut, object)))
    return nullptr;
  auto report = [&](llvm::Error error) {
    emitError(loc) << "emulated code cannot be loaded: "
                   << llvm::toString(std::move(error));
    return nullptr;
  };
  std::unique_ptr<JitModule> result(new JitModule);
  auto jit = llvm::orc::LLJITBuilder().create();
  if (!jit)
    return report(jit.takeError());
  result->code->jit = std::move(*jit);
  llvm::orc::LLJIT &lljit = *result->code->jit;

  llvm::orc::SymbolMap symbols;
  auto add = [&](StringRef name, void *address) {
    symbols[lljit.mangleAndIntern(name)] = {
        llvm::orc::ExecutorAddr::fromPtr(address),
        llvm::JITSymbolFlags::Exported};
  };
  for (const ::moe::emu::Symbol &symbol : ::moe::emu::runtimeSymbols())
    add(symbol.name, symbol.address);
  add("memcpy", reinterpret_cast<void *>(&std::memcpy));
  add("memmove", reinterpret_cast<void *>(&std::memmove));
  add("memset", reinterpret_cast<void *>(&std::memset));
  if (llvm::Error error = lljit.getMainJITDylib().define(
          llvm::orc::absoluteSymbols(std::move(symbols))))
    return report(std::move(error));
  if (llvm::Error error =
          lljit.addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(
              StringRef(object.data(), object.size()), "moe-emulated")))
    return report(std::move(error));
  auto table = lljit.lookup(MOE_EMU_MODULE_SYMBOL);
  if (!table)
    return report(table.takeError());
  result->module = table->toPtr<const moe_emu_module *>();
  return result;
}

const moe_emu_kernel *JitModule::lookup(StringRef name) const {
  for (uint32_t i = 0; i < module->kernel_count; ++i)
    if (name == module->kernels[i].name)
      return &module->kernels[i];
  return nullptr;
}
