//===- Retarget.h - From a cut module to a host module --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EMULATION_RETARGET_H
#define MOE_LIB_CODEGEN_GPU_EMULATION_RETARGET_H

#include "moe/Codegen/GPU/Emulation/EmulatedModule.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

#include <functional>

namespace mlir::moe::emulation {

/// Address spaces of NVPTX.
enum : unsigned { kShared = 3, kLocal = 5 };

/// Rewrites a module that holds `llvm` and `nvvm` ops only, in place.
class Retargeter {
public:
  explicit Retargeter(ModuleOp module);

  /// Reports every op that has no host form before it fails.
  LogicalResult run();

  Type getPtr() const { return ptr; }
  const DataLayout &getDataLayout() const { return layout; }

  /// Offset of a shared variable; none when the symbol is none.
  std::optional<uint32_t> getSharedOffset(StringRef name) const;

  /// A function of the emulator's runtime, declared on first use.
  LLVM::LLVMFuncOp getRuntimeFunction(StringRef name, Type result,
                                      ArrayRef<Type> args);

  /// Name of a new constant that holds the text of an op's location. The
  /// runtime tells ops apart by the constant's address.
  std::string addSite(Location loc);

  /// A module's function, not one of the runtime.
  LLVM::LLVMFuncOp lookupFunction(StringRef name);

private:
  struct Kernel {
    LLVM::LLVMFuncOp function;
    std::string name;
    /// Type of a parameter, and whether the code takes its address.
    SmallVector<std::pair<Type, bool>> params;
    uint32_t maxThreads = 0, cluster = 1;
  };

  LogicalResult layOutShared();
  LogicalResult prepare(LLVM::LLVMFuncOp function);
  LogicalResult rewriteBody(LLVM::LLVMFuncOp function);
  void addEntry(Kernel &kernel);
  void addTable();
  void eraseAddressSpaces();

  LLVM::GlobalOp addConstant(StringRef name, Type type,
                             function_ref<Value(OpBuilder &)> init);
  LLVM::GlobalOp addString(StringRef name, StringRef text);

  ModuleOp module;
  SymbolTable symbols;
  DataLayout layout;
  Type ptr, i8, i32, i64;
  llvm::StringMap<uint32_t> sharedOffsets;
  SmallVector<LLVM::GlobalOp> sharedVariables;
  uint32_t staticShared = 0;
  SmallVector<Kernel> kernels;
  DenseSet<Value> byvalArgs;
  unsigned numSites = 0;
};

/// What the rule for one op uses. The builder stands before the op.
class Rewrite {
public:
  /// Scratch space of a function for operands and results that are passed in
  /// memory, one for each use and size.
  using Slots = DenseMap<std::pair<unsigned, unsigned>, Value>;

  Rewrite(Retargeter &retargeter, Operation *op, Value thread, Slots &slots,
          const DenseSet<Value> &byvalArgs);

  OpBuilder b;
  Location loc;
  Type i1, i32, i64, f32, ptr;

  Value thread() const { return threadArg; }
  Value constant(int64_t value);
  Value constant64(int64_t value);
  Value null();
  /// `value`, or a constant when there is none.
  Value orConstant(Value value, int64_t otherwise);
  /// Zero-extends or truncates to 32 or 64 bits.
  Value toInt(Value value, Type type);

  /// A field of moe_emu_thread.
  Value field(unsigned offset, Type type);
  /// `address` moved by a number of bytes.
  Value offset(Value address, uint64_t bytes);
  enum SlotUse : unsigned { kIn, kOut, kCoordinates };
  Value slot(SlotUse use, unsigned bytes);

  /// Calls a function of the runtime with the thread, `args`, and the op's
  /// site. Pointers lose their address space. `result` may be null.
  Value call(StringRef function, Type result, ValueRange args);

  /// Lets `body` build code that runs only if `predicate`, when there is one.
  void guarded(Value predicate, function_ref<void()> body);

  /// Replaces the op's results and erases it.
  void replace(ValueRange values);
  void erase() { replace({}); }

  unsigned sizeOf(Type type) const;
  /// Whether an address can only be in the thread's own memory: on its stack
  /// or in a parameter.
  bool isPrivate(Value address) const;
  Retargeter &getRetargeter() { return retargeter; }

private:
  Retargeter &retargeter;
  Operation *op;
  Value threadArg;
  Slots &slots;
  const DenseSet<Value> &byvalArgs;
  std::string site;
};

using Rule = std::function<LogicalResult(Rewrite &, Operation *)>;

/// The rule for an `nvvm` op, or null.
const Rule *lookupNVVMRule(StringRef name);

/// Rewrites an op of the `llvm` dialect, or says why it cannot be.
LogicalResult rewriteLLVMOp(Rewrite &rewrite, Operation *op);

} // namespace mlir::moe::emulation

#endif // MOE_LIB_CODEGEN_GPU_EMULATION_RETARGET_H
