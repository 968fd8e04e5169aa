//===- Symbols.cpp - What generated code is linked with -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Conversions that LLVM expands to calls are here, too: not every libgcc has
// them. Values of half and bfloat types lie in the low bits of an SSE
// register, as a float does, so float stands for them in the signatures.
//
//===----------------------------------------------------------------------===//

#include "MatrixMath.h"

#include "moe/Codegen/GPU/Emulation/Launch.h"
#include "moe/Codegen/GPU/Emulation/Operations.h"

namespace moe::emu {

static float truncateToBfloat(float value) { return floatOf(bfloatOf(value)); }
static float truncateDoubleToBfloat(double value) {
  return floatOf(bfloatOf(roundedToOdd(value)));
}
static float truncateToHalf(float value) { return floatOf(halfOf(value)); }
static float truncateDoubleToHalf(double value) {
  return floatOf(halfOf(roundedToOdd(value)));
}
static float extendHalf(float value) {
  return fromHalf(uint16_t(bitsOf(value)));
}

const std::vector<Symbol> &runtimeSymbols() {
#define MOE_SYMBOL(name)                                                       \
  {                                                                            \
    #name, reinterpret_cast<void *>(&name)                                     \
  }
  static const std::vector<Symbol> &symbols = *new std::vector<Symbol>{
      {"__truncsfbf2", reinterpret_cast<void *>(&truncateToBfloat)},
      {"__truncdfbf2", reinterpret_cast<void *>(&truncateDoubleToBfloat)},
      {"__truncsfhf2", reinterpret_cast<void *>(&truncateToHalf)},
      {"__truncdfhf2", reinterpret_cast<void *>(&truncateDoubleToHalf)},
      {"__extendhfsf2", reinterpret_cast<void *>(&extendHalf)},
      MOE_SYMBOL(moe_emu_barrier_arrive),
      MOE_SYMBOL(moe_emu_barrier_reduce),
      MOE_SYMBOL(moe_emu_barrier_sync),
      MOE_SYMBOL(moe_emu_bulk_commit),
      MOE_SYMBOL(moe_emu_bulk_load),
      MOE_SYMBOL(moe_emu_bulk_store),
      MOE_SYMBOL(moe_emu_bulk_wait),
      MOE_SYMBOL(moe_emu_check),
      MOE_SYMBOL(moe_emu_cluster_arrive),
      MOE_SYMBOL(moe_emu_cluster_wait),
      MOE_SYMBOL(moe_emu_cp_async),
      MOE_SYMBOL(moe_emu_cp_async_commit),
      MOE_SYMBOL(moe_emu_cp_async_mbarrier_arrive),
      MOE_SYMBOL(moe_emu_cp_async_wait_all),
      MOE_SYMBOL(moe_emu_cp_async_wait_group),
      MOE_SYMBOL(moe_emu_elect),
      MOE_SYMBOL(moe_emu_fence),
      MOE_SYMBOL(moe_emu_fence_proxy_async),
      MOE_SYMBOL(moe_emu_ldmatrix),
      MOE_SYMBOL(moe_emu_mapa),
      MOE_SYMBOL(moe_emu_match_all),
      MOE_SYMBOL(moe_emu_match_any),
      MOE_SYMBOL(moe_emu_mbarrier_arrive),
      MOE_SYMBOL(moe_emu_mbarrier_arrive_expect_tx),
      MOE_SYMBOL(moe_emu_mbarrier_expect_tx),
      MOE_SYMBOL(moe_emu_mbarrier_init),
      MOE_SYMBOL(moe_emu_mbarrier_inval),
      MOE_SYMBOL(moe_emu_mbarrier_test_wait),
      MOE_SYMBOL(moe_emu_mbarrier_test_wait_parity),
      MOE_SYMBOL(moe_emu_mbarrier_try_wait),
      MOE_SYMBOL(moe_emu_mbarrier_try_wait_parity),
      MOE_SYMBOL(moe_emu_mma),
      MOE_SYMBOL(moe_emu_redux),
      MOE_SYMBOL(moe_emu_shfl),
      MOE_SYMBOL(moe_emu_stmatrix),
      MOE_SYMBOL(moe_emu_tma_load),
      MOE_SYMBOL(moe_emu_tma_reduce_add),
      MOE_SYMBOL(moe_emu_tma_store),
      MOE_SYMBOL(moe_emu_trap),
      MOE_SYMBOL(moe_emu_vote),
      MOE_SYMBOL(moe_emu_warp_sync),
      MOE_SYMBOL(moe_emu_wgmma),
      MOE_SYMBOL(moe_emu_wgmma_commit),
      MOE_SYMBOL(moe_emu_wgmma_fence),
      MOE_SYMBOL(moe_emu_wgmma_wait),
      MOE_SYMBOL(moe_emu_yield),
  };
#undef MOE_SYMBOL
  return symbols;
}

} // namespace moe::emu
