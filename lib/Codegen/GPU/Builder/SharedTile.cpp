//===- SharedTile.cpp - Staged, swizzled tiles in shared memory -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SharedTile.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

static constexpr int64_t kBanks = 32, kBankBytes = 4, kLanes = 32;

int64_t moe::gpu::bankConflicts(ArrayRef<int64_t> addresses, int64_t bytes) {
  // The hardware serves as many lanes at once as have 128 bytes together.
  size_t together = kBanks * kBankBytes / bytes;
  int64_t worst = 1;
  while (!addresses.empty()) {
    ArrayRef<int64_t> phase = addresses.take_front(together);
    addresses = addresses.drop_front(phase.size());
    SmallVector<int64_t, 4> words[kBanks];
    for (int64_t address : phase)
      for (int64_t byte = 0; byte < bytes; byte += kBankBytes) {
        int64_t word = (address + byte) / kBankBytes;
        SmallVectorImpl<int64_t> &inBank = words[word % kBanks];
        if (!llvm::is_contained(inBank, word))
          inBank.push_back(word);
        worst = std::max<int64_t>(worst, inBank.size());
      }
  }
  return worst;
}

Swizzle Swizzle::forRows(int64_t rowBytes) {
  // Eight rows at one chunk are read together; a row of fewer than eight
  // chunks shares the banks with the rows after it.
  int64_t chunks = std::min<int64_t>(rowBytes / kChunkBytes, 8);
  return {int64_t(llvm::Log2_64(8 / chunks)), chunks - 1};
}

Value SharedTile::byteOffset(Emit &e, Value row, Value chunk) const {
  Value position = chunk;
  if (swizzle.mask != 0) {
    Value bits = row;
    if (swizzle.shift != 0)
      bits = e.shr(bits, e.i32(swizzle.shift));
    position = e.bitXor(chunk, e.bitAnd(bits, e.i32(swizzle.mask)));
  }
  return e.add(e.mul(row, rowBytes()), e.mul(position, kChunkBytes));
}

Value SharedTile::stageAddress(Emit &e, Value stage) const {
  return stages == 1 ? base : e.offset(base, e.mul(stage, stageBytes()));
}

LogicalResult SharedTile::verify(EmitError emitError) const {
  if (rows < 8 || rows % 8 != 0 || stages < 1)
    return emitError() << "a shared tile has whole groups of 8 rows and at "
                          "least one stage, got "
                       << rows << " rows and " << stages << " stages";
  if (rowBytes() % kChunkBytes != 0 || !llvm::isPowerOf2_64(chunksPerRow()))
    return emitError() << "the rows of a shared tile are a power of two of "
                       << kChunkBytes << "-byte chunks, got " << rowBytes()
                       << " bytes";
  if (swizzle.mask >= chunksPerRow() || swizzle.shift < 0)
    return emitError() << "a swizzle over " << swizzle.mask + 1
                       << " chunks leaves a row of " << chunksPerRow();
  // The pattern repeats with the swizzle, so its first period stands for all.
  int64_t last = std::min(rows, std::max<int64_t>(swizzle.period(), 8));
  for (int64_t row = 0; row < last; row += 8)
    for (int64_t chunk = 0; chunk < chunksPerRow(); ++chunk) {
      SmallVector<int64_t> addresses;
      for (int64_t lane = 0; lane < 8; ++lane)
        addresses.push_back(offsetOf(row + lane, chunk));
      int64_t conflicts = bankConflicts(addresses, kChunkBytes);
      if (conflicts > 1)
        return emitError() << "ldmatrix of chunk " << chunk << " of rows "
                           << row << " to " << row + 7 << " has a " << conflicts
                           << "-way bank conflict";
    }
  return success();
}

int64_t TileCopy::offsetOf(int64_t piece) const {
  int64_t byte = piece % piecesPerRow() * pieceBytes;
  return tile.offsetOf(piece / piecesPerRow(), byte / kChunkBytes) +
         byte % kChunkBytes;
}

LogicalResult TileCopy::verify(EmitError emitError) const {
  if (failed(tile.verify(emitError)))
    return failure();
  if (pieceBytes != 4 && pieceBytes != 8 && pieceBytes != 16)
    return emitError() << "an asynchronous copy moves 4, 8 or 16 bytes, got "
                       << pieceBytes;
  if (threads < kLanes || threads % kLanes != 0 ||
      threads % piecesPerRow() != 0)
    return emitError() << threads << " threads do not copy whole rows of "
                       << piecesPerRow() << " pieces";
  // Warps repeat when both the swizzle and the rows of a warp do.
  int64_t rows = std::max(tile.swizzle.period(), kLanes / piecesPerRow());
  int64_t distinct = std::min(pieces(), rows * piecesPerRow());
  for (int64_t first = 0; first < distinct; first += kLanes) {
    SmallVector<int64_t> addresses;
    for (int64_t lane = 0; lane < kLanes && first + lane < pieces(); ++lane)
      addresses.push_back(offsetOf(first + lane));
    int64_t conflicts = bankConflicts(addresses, pieceBytes);
    if (conflicts > 1)
      return emitError() << "copies of " << pieceBytes << " bytes from piece "
                         << first << " on have a " << conflicts
                         << "-way bank conflict";
  }
  return success();
}

TileCopy::Mine TileCopy::place(Emit &e, Value thread) const {
  Mine mine;
  mine.row = e.div(thread, piecesPerRow());
  mine.column = e.mul(e.rem(thread, piecesPerRow()), pieceBytes);
  Value chunk = e.div(mine.column, kChunkBytes);
  Value inChunk = e.rem(mine.column, kChunkBytes);
  bool repeats = rowStep() % tile.swizzle.period() == 0;
  for (int64_t round = 0; round < rounds(); ++round) {
    if (repeats && round != 0) {
      mine.offsets.push_back(
          e.add(mine.offsets.front(), round * rowStep() * tile.rowBytes()));
      continue;
    }
    Value row = e.add(mine.row, round * rowStep());
    mine.offsets.push_back(e.add(tile.byteOffset(e, row, chunk), inChunk));
  }
  return mine;
}
