//===- Grouping.h - The lists of a routing --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EXPAND_GROUPING_H
#define MOE_LIB_CODEGEN_GPU_EXPAND_GROUPING_H

#include "WarpEmit.h"

namespace mlir::moe::gpu {

/// Operands of moe.kernel.group_rows. Pointers to global memory, and an i32.
struct GroupingArgs {
  Value ids, weights;
  Value expertOffsets, rowToken, rowWeight, tokenOffsets, tokenRows;
  /// Null when no list of tiles is wanted.
  Value worklist;
  Value tokens;
  int64_t experts, perToken, tileRows;
  /// Ids come from outside: any order, possibly wrong.
  bool given;
  /// Ids may be -1, which is no pair. Those of a token come last, unless ids
  /// come from outside.
  bool sparse;
};

/// A counting sort by expert that keeps the order of the tokens, by all threads
/// of one block.
class Grouping {
public:
  /// Takes memory, so it is to be made where the kernel op is expanded.
  Grouping(Emit &e, KernelContext &ctx, const GroupingArgs &args);

  /// Everything; to be reached by all threads of the block. Ids and weights
  /// have to be visible to it.
  void emit(Emit &e);

private:
  /// i1: an id of this thread's pairs is out of range or repeats in its token.
  Value emitIsBad(Emit &e);
  /// i1, the same in the whole block: `value` holds in one thread.
  Value emitAny(Emit &e, Value value);
  void emitLists(Emit &e);
  /// Lists without any row.
  void emitNoRows(Emit &e);

  /// What a lane sees of the places for pairs: the number of its place, whether
  /// there is such a place and a pair in it, the pair's expert, the lanes with
  /// pairs of the same expert, whether it is the first of these. i32 and i1.
  struct Pair {
    Value place, isPlace, isPair, id, mask, isLeader;
  };
  using PairBody = function_ref<Value(Emit &, const Pair &, Value carried)>;
  /// Visits the places of this warp, 32 at a time, in ascending order, and
  /// carries an i32; returns the last one.
  Value forPairs(Emit &e, Value init, PairBody body);
  /// Where the rows of a token begin in `token_rows`, when ids are sparse and
  /// come from outside, from the lane's own number `at` among all pairs; and
  /// how many of the token's ids are smaller than the lane's.
  std::pair<Value, Value> emitPlaceInToken(Emit &e, const Pair &pair, Value at);
  /// Exclusive sums of `counts` and of the tiles, by one warp.
  void emitScan(Emit &e);
  void emitTiles(Emit &e, Value expert, Value begin, Value end);
  void emitPlace(Emit &e);

  KernelContext &ctx;
  const GroupingArgs &args;
  int64_t experts, perToken;
  /// Shared memory, or scratch when there are too many experts. Per warp and
  /// expert: rows counted, then the next row. Per expert: rows, then first row;
  /// first tile. Per warp: whether something is bad; the number of pairs.
  Value counters, firstRows, firstTiles, flags, pairCounts;
  Type i32;
};

/// The four words of tile `tile` (i32): `rows` rows of `expert` from `row` on.
void emitTile(Emit &e, Value worklist, Value tile, Value expert, Value row,
              Value rows);
/// The head of a list of `tiles` tiles. To be called by one thread.
void emitWorklistHead(Emit &e, Value worklist, Value tiles);

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_EXPAND_GROUPING_H
