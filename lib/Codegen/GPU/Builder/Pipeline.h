//===- Pipeline.h - Asynchronous copies ahead of the arithmetic -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The classic multistage loop: before tile t is used, the copies of tile
// t + ahead are issued into the stage that tile t - 1 has left. The counts that
// make this right are a value that can be checked.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_BUILDER_PIPELINE_H
#define MOE_LIB_CODEGEN_GPU_BUILDER_PIPELINE_H

#include "SharedTile.h"

namespace mlir::moe::gpu {

/// Copies `bytes` (4, 8 or 16) from `global` to `shared`, both aligned to it,
/// of which the first `sourceBytes` (i32; null: all) are read and the others
/// become zero. Completes with the group it is committed to.
void copyAsync(Emit &e, Value shared, Value global, int64_t bytes,
               Value sourceBytes = {});
/// Ends the thread's current group of copies.
void commitCopies(Emit &e);
/// Waits until at most `pending` of the thread's newest groups are not done.
void waitForCopies(Emit &e, int64_t pending);

/// One group of copies per tile; tile t lives in stage t % stages.
struct PipelineSpec {
  int64_t stages = 0;
  /// Tiles whose copies are issued before the first tile is used.
  int64_t ahead = 0;
  /// Newest groups that need not be done when a tile is used.
  int64_t pending = 0;

  static PipelineSpec of(int64_t stages) {
    return {stages, stages - 1, stages - 2};
  }

  /// No stage is used before its copies are done, none is overwritten while it
  /// may be used: walks through the tiles as a block does.
  LogicalResult verify(EmitError emitError) const;
};

/// Emits the loop over `tiles` tiles. `issue(e, tile, stage)` starts the copies
/// of a tile; `use(e, tile, stage, carried)` computes and returns what the next
/// tile gets. tile and stage are i32. All threads of the block take part;
/// it begins with a barrier, so stages that were in use before may be given
/// again. Returns what the last tile returned, or `init` without tiles.
SmallVector<Value>
emitPipeline(Emit &e, const PipelineSpec &spec, int64_t tiles, ValueRange init,
             function_ref<void(Emit &, Value tile, Value stage)> issue,
             function_ref<SmallVector<Value>(Emit &, Value tile, Value stage,
                                             ValueRange carried)>
                 use);

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_BUILDER_PIPELINE_H
