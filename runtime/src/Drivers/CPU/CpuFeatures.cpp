//===- CpuFeatures.cpp - Instruction set levels of this machine -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CpuFeatures.h"

#include "moert/Format/KernelABI.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace moert;

const char *hal::isaName(int32_t level) {
  static const char *const names[] = {"avx2", "avx512", "amx"};
  return level >= 0 && level < MOERT_ISA_COUNT ? names[level] : "none";
}

#if defined(__x86_64__)

namespace {

struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(unsigned leaf, unsigned subleaf) {
  Leaf r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool all(uint64_t value, uint64_t mask) { return (value & mask) == mask; }
constexpr uint64_t bit(unsigned i) { return uint64_t(1) << i; }

/// Which register states the operating system saves (XCR0).
uint64_t enabledStates() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

/// Asks Linux for permission to use the tile data registers.
bool requestTiles() {
  constexpr long requestPermission = 0x1023; // ARCH_REQ_XCOMP_PERM
  constexpr long tileData = 18;              // XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
}

int32_t detect() {
  const Leaf basic = cpuid(1, 0), extended = cpuid(7, 0), more = cpuid(7, 1);
  // FMA, OSXSAVE, F16C; AVX2, BMI2.
  if (!all(basic.ecx, bit(12) | bit(27) | bit(29)) ||
      !all(extended.ebx, bit(5) | bit(8)))
    return -1;
  const uint64_t states = enabledStates();
  if (!all(states, bit(1) | bit(2))) // XMM, YMM
    return -1;
  // AVX512 F, DQ, CD, BW, VL; opmask and ZMM states.
  if (!all(extended.ebx, bit(16) | bit(17) | bit(28) | bit(30) | bit(31)) ||
      !all(states, bit(5) | bit(6) | bit(7)))
    return MOERT_ISA_AVX2;
  // AMX-BF16, AMX-TILE; AVX512-BF16; TILECFG and TILEDATA states.
  if (!all(extended.edx, bit(22) | bit(24)) || !all(more.eax, bit(5)) ||
      !all(states, bit(17) | bit(18)) || !requestTiles())
    return MOERT_ISA_AVX512;
  return MOERT_ISA_AMX;
}

} // namespace

int32_t hal::machineIsaLevel() {
  static const int32_t level = detect();
  return level;
}

#else

int32_t hal::machineIsaLevel() { return -1; }

#endif

StatusOr<int32_t> hal::chooseIsaLevel(const std::string &option,
                                      bool amxEmulated) {
  std::string wanted = option;
  const char *from = "--isa";
  if (wanted.empty())
    if (const char *variable = std::getenv("MOE_ISA")) {
      wanted = variable;
      from = "MOE_ISA";
    }
  const int32_t machine = machineIsaLevel();
  if (wanted.empty())
    return machine;
  for (int32_t level = 0; level < MOERT_ISA_COUNT; ++level) {
    if (wanted != isaName(level))
      continue;
    const bool emulated =
        amxEmulated && level == MOERT_ISA_AMX && machine >= MOERT_ISA_AVX2;
    if (level > machine && !emulated)
      return Status::error(310, concat("this machine has no level '", wanted,
                                       "', which ", from, " asks for"))
          .because(concat("its best level is '", isaName(machine), "'"))
          .fix("leave the option out, or name a lower level");
    return level;
  }
  return Status::error(1, concat("unknown instruction set level '", wanted,
                                 "' in ", from))
      .fix("use avx2, avx512 or amx");
}
