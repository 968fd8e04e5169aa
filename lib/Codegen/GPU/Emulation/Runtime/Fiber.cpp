//===- Fiber.cpp - One GPU thread's stack and switching -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// ucontext saves the signal mask with a system call at each switch; a kernel
// on the emulator switches at each warp operation of each lane, so the switch
// is twelve instructions of our own.
//
//===----------------------------------------------------------------------===//

#include "Fiber.h"

#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define MOE_EMU_UNPOISON(address, bytes)                                       \
  ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif
#endif
#ifndef MOE_EMU_UNPOISON
#define MOE_EMU_UNPOISON(address, bytes)
#endif

#if !defined(__x86_64__)
#error "the emulator's fibers are written for x86-64"
#endif

asm(R"(
  .text
  .p2align 4
  .globl moe_emu_switch_stack
  .hidden moe_emu_switch_stack
  .type moe_emu_switch_stack,@function
moe_emu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size moe_emu_switch_stack, .-moe_emu_switch_stack

  .p2align 4
  .globl moe_emu_enter_fiber
  .hidden moe_emu_enter_fiber
  .type moe_emu_enter_fiber,@function
moe_emu_enter_fiber:
  movq %r12, %rdi
  call *%r13
  ud2
  .size moe_emu_enter_fiber, .-moe_emu_enter_fiber
)");

extern "C" __attribute__((visibility("hidden"))) void moe_emu_enter_fiber();

namespace moe::emu {

/// Larger than frames are: code without stack probes must not step over them.
static constexpr size_t kGuardBytes = 64 * 1024;

uint8_t *allocateStack() {
  void *memory =
      mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return nullptr;
  if (mprotect(memory, kGuardBytes, PROT_NONE)) {
    munmap(memory, kStackBytes + kGuardBytes);
    return nullptr;
  }
  return static_cast<uint8_t *>(memory) + kGuardBytes;
}

void freeStack(uint8_t *stack) {
  munmap(stack - kGuardBytes, kStackBytes + kGuardBytes);
}

void *prepareStack(uint8_t *stack, size_t index, void (*start)(void *),
                   void *argument) {
  // The frames of a fiber that was abandoned left their marks.
  MOE_EMU_UNPOISON(stack, kStackBytes);
  // After the switch has popped six registers and returned, the stack pointer
  // must be a multiple of 16 for the call in moe_emu_enter_fiber.
  // All stacks start at a page; without the offset the lines in use of all
  // threads would compete for the same few sets of the cache.
  size_t offset = 64 + index % 64 * 64;
  void **top = reinterpret_cast<void **>(stack + kStackBytes - offset);
  *--top = reinterpret_cast<void *>(&moe_emu_enter_fiber);
  *--top = nullptr;                         // rbp
  *--top = nullptr;                         // rbx
  *--top = argument;                        // r12
  *--top = reinterpret_cast<void *>(start); // r13
  *--top = nullptr;                         // r14
  *--top = nullptr;                         // r15
  return top;
}

} // namespace moe::emu
