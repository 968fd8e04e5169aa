//===- Pipeline.cpp - Asynchronous copies ahead of the arithmetic ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Pipeline.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

void moe::gpu::copyAsync(Emit &e, Value shared, Value global, int64_t bytes,
                         Value sourceBytes) {
  // Past the first-level cache where the hardware can: a tile is used once.
  auto cache = bytes == 16 ? NVVM::LoadCacheModifierKind::CG
                           : NVVM::LoadCacheModifierKind::CA;
  NVVM::CpAsyncOp::create(e, shared, global, bytes, cache, sourceBytes);
}

void moe::gpu::commitCopies(Emit &e) { NVVM::CpAsyncCommitGroupOp::create(e); }

void moe::gpu::waitForCopies(Emit &e, int64_t pending) {
  NVVM::CpAsyncWaitGroupOp::create(e, pending);
}

LogicalResult PipelineSpec::verify(EmitError emitError) const {
  if (stages < 1 || ahead < 1 || pending < 0)
    return emitError() << "a pipeline has stages and copies ahead, got "
                       << stages << " stages, " << ahead << " ahead, "
                       << pending << " pending";
  // After two rounds through the stages nothing new happens.
  for (int64_t tile = 0; tile < 2 * stages; ++tile) {
    int64_t issued = ahead + tile;
    if (issued - pending <= tile)
      return emitError() << "stage " << tile % stages << " is used for tile "
                         << tile << " before its copies are done: of " << issued
                         << " groups " << pending << " may be pending";
    // Between two barriers one warp may still use `tile` while another is
    // already past issuing the copies of `tile + ahead`.
    for (int64_t live = tile; live < tile + ahead; ++live)
      if ((tile + ahead) % stages == live % stages)
        return emitError() << "stage " << live % stages
                           << " is overwritten by tile " << tile + ahead
                           << " while tile " << live << " needs it";
  }
  return success();
}

SmallVector<Value> moe::gpu::emitPipeline(
    Emit &e, const PipelineSpec &spec, int64_t tiles, ValueRange init,
    function_ref<void(Emit &, Value, Value)> issue,
    function_ref<SmallVector<Value>(Emit &, Value, Value, ValueRange)> use) {
  e.syncBlock();
  for (int64_t tile = 0; tile < spec.ahead; ++tile) {
    if (tile < tiles)
      issue(e, e.i32(tile), e.i32(tile % spec.stages));
    commitCopies(e);
  }
  auto following = [&](Emit &e, Value stage) {
    Value next = e.add(stage, 1);
    return e.select(e.equal(next, spec.stages), e.i32(0), next);
  };
  // The stage that is used and the one that is filled travel with the values:
  // cheaper than two remainders.
  SmallVector<Value> carried(init);
  carried.push_back(e.i32(0));
  carried.push_back(e.i32(spec.ahead % spec.stages));
  SmallVector<Value> results = e.forRange(
      e.i32(0), e.i32(tiles), e.i32(1), carried,
      [&](Emit &e, Value tile, ValueRange carried) {
        Value used = carried[carried.size() - 2], filled = carried.back();
        waitForCopies(e, spec.pending);
        e.syncBlock();
        if (tiles > spec.ahead) {
          Value next = e.add(tile, spec.ahead);
          e.ifThen(e.lessU(next, e.i32(tiles)),
                   [&](Emit &e) { issue(e, next, filled); });
        }
        // Also without copies, so that the count of groups stays in step.
        commitCopies(e);
        SmallVector<Value> yielded = use(e, tile, used, carried.drop_back(2));
        yielded.push_back(following(e, used));
        yielded.push_back(following(e, filled));
        return yielded;
      });
  results.truncate(results.size() - 2);
  return results;
}
