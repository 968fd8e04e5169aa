//===- Fiber.h - One GPU thread's stack and switching ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_RUNTIME_FIBER_H
#define MOE_CODEGEN_GPU_EMULATION_RUNTIME_FIBER_H

#include <cstddef>
#include <cstdint>

namespace moe::emu {

/// Address space only: kernels touch a few kilobytes.
constexpr size_t kStackBytes = 256 * 1024;

/// Usable bytes start above guard pages. Null when memory is short.
uint8_t *allocateStack();
void freeStack(uint8_t *stack);

/// A stack pointer at which the switch enters `start(argument)`, which must not
/// return. `index` tells the stacks of a machine apart.
void *prepareStack(uint8_t *stack, size_t index, void (*start)(void *),
                   void *argument);

/// Saves the callee-saved registers on the current stack, its pointer in
/// *save, and continues on the stack `load`.
extern "C" void moe_emu_switch_stack(void **save, void *load);

} // namespace moe::emu

#endif // MOE_CODEGEN_GPU_EMULATION_RUNTIME_FIBER_H
