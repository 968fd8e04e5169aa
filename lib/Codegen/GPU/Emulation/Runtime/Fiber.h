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

#if defined(__SANITIZE_ADDRESS__)
#define MOE_EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MOE_EMU_ASAN 1
#endif
#endif
#ifdef MOE_EMU_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

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

/// A stack that is not running.
struct StackContext {
  void *pointer = nullptr;
  // What AddressSanitizer needs to know of it.
  const void *bottom = nullptr;
  size_t size = 0;
  void *fakeStack = nullptr;
};

/// Continues in `to`; returns when somebody continues in `from`, never if
/// `last`.
inline void switchStack(StackContext &from, StackContext &to,
                        [[maybe_unused]] bool last) {
#ifdef MOE_EMU_ASAN
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fakeStack, to.bottom,
                                 to.size);
#endif
  moe_emu_switch_stack(&from.pointer, to.pointer);
#ifdef MOE_EMU_ASAN
  __sanitizer_finish_switch_fiber(from.fakeStack, nullptr, nullptr);
#endif
}

/// To be called at the start of a new stack. Describes the stack that it was
/// entered from in `previous`, if not null.
inline void enteredStack([[maybe_unused]] StackContext *previous) {
#ifdef MOE_EMU_ASAN
  const void *bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  if (previous) {
    previous->bottom = bottom;
    previous->size = size;
  }
#endif
}

} // namespace moe::emu

#endif // MOE_CODEGEN_GPU_EMULATION_RUNTIME_FIBER_H
