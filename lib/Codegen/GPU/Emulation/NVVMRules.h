//===- NVVMRules.h - Table of the rules for nvvm ops ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EMULATION_NVVMRULES_H
#define MOE_LIB_CODEGEN_GPU_EMULATION_NVVMRULES_H

#include "Retarget.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace mlir::moe::emulation {

/// One rule per op.
class Rules {
public:
  Rules() {
    addSpecialRegisters();
    addWarpRules();
    addMatrixRules();
    addBarrierRules();
    addCpAsyncRules();
    addMBarrierRules();
    addTmaRules();
    addWgmmaRules();
    addFences();
  }

  const Rule *lookup(StringRef name) const {
    auto found = rules.find(name);
    return found == rules.end() ? nullptr : &found->second;
  }

private:
  template <typename Op> void add(LogicalResult (*rule)(Rewrite &, Op)) {
    rules[Op::getOperationName()] = [rule](Rewrite &r, Operation *op) {
      return rule(r, cast<Op>(op));
    };
  }

  /// A rule that only reads a field of moe_emu_thread.
  template <typename Op> void addField(unsigned offset) {
    rules[Op::getOperationName()] = [offset](Rewrite &r, Operation *) {
      r.replace(r.field(offset, r.i32));
      return success();
    };
  }

  /// A rule that calls a function with no other argument.
  template <typename Op> void addCall(const char *function) {
    rules[Op::getOperationName()] = [function](Rewrite &r, Operation *) {
      r.call(function, Type(), {});
      r.erase();
      return success();
    };
  }

  /// A rule for what has no effect on the host.
  template <typename Op> void addNothing() {
    rules[Op::getOperationName()] = [](Rewrite &r, Operation *) {
      r.erase();
      return success();
    };
  }

  void addSpecialRegisters();
  void addWarpRules();
  void addMatrixRules();
  void addBarrierRules();
  void addCpAsyncRules();
  void addMBarrierRules();
  void addTmaRules();
  void addWgmmaRules();
  void addFences();

  llvm::StringMap<Rule> rules;
};

LogicalResult unsupported(Operation *op, StringRef what);

} // namespace mlir::moe::emulation

#endif // MOE_LIB_CODEGEN_GPU_EMULATION_NVVMRULES_H
