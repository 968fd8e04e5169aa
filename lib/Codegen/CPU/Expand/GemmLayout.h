//===- GemmLayout.h - Layouts around grouped GEMMs ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_CPU_EXPAND_GEMMLAYOUT_H
#define MOE_LIB_CODEGEN_CPU_EXPAND_GEMMLAYOUT_H

#include "VectorUtils.h"
#include "moe/Codegen/CPU/KernelExpansion.h"

namespace mlir::moe::cpu {

/// Rows of a block of packed activations.
inline constexpr int64_t kBlockRows = 16;
/// Columns of a panel of packed weights.
inline constexpr int64_t kPanelColumns = 32;

/// Packed activations of a GEMM, as `moe.kernel.pack_rows` describes them.
struct PackedLayout {
  PackedLayout(Isa isa, Type weightType, int64_t channels)
      : amx(isa == Isa::AMX && weightType.isBF16()),
        paddedChannels(llvm::alignTo(channels, 32)) {}

  int64_t blockBytes() const {
    return paddedChannels * kBlockRows * (amx ? 2 : 4);
  }

  /// The buffer from byte `offset` on, as bf16 (AMX) or f32.
  Value view(OpBuilder &b, Location loc, Value bytes, Value offset) const;

  /// Blocks are bf16 [channels / 32][16][32]; otherwise f32 [channels][16].
  bool amx;
  int64_t paddedChannels;
};

/// The rows of one expert.
struct ExpertRows {
  ExpertRows(OpBuilder &b, Location loc, Value offsets, Value expert);

  /// First row, number of rows, number of blocks; index.
  Value begin, rows, blocks;
};

/// Writes the first `count` lanes as row `row` of channels `channel` on, in a
/// block f32 [channels][16].
void storeColumn(OpBuilder &b, Location loc, Value lanes, Value block,
                 Value channel, Value row, int64_t count = kLanes);

} // namespace mlir::moe::cpu

#endif // MOE_LIB_CODEGEN_CPU_EXPAND_GEMMLAYOUT_H
