//===- Decode.h - Encoded weights of a checkpoint -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A weight may be stored in few bits with scales beside it; Plan.fbs documents
// the encodings. Decoding any range of elements needs no more memory than the
// range, so that a constant can be packed piece by piece.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_DECODE_H
#define MOERT_FORMAT_DECODE_H

#include "moert/Format/Packing.h"

namespace moert {

/// What the checkpoint must have for each source of a weight.
struct StoredSource {
  DType type = DType::U8;
  std::vector<int64_t> shape;
  /// Types that the scales may have; empty unless the weight is encoded.
  std::vector<DType> scaleTypes;
  std::vector<int64_t> scaleShape;
};

/// Valid for a weight that passed verifyEncoding.
StoredSource storedSource(const fb::Weight &weight);

inline bool isEncoded(const fb::Weight &weight) {
  return weight.encoding() != fb::WeightEncoding::Plain;
}

/// Checks that encoding, stored shape, scales and source shape of `weight`
/// agree. MOE0303 otherwise.
Status verifyEncoding(const fb::Weight &weight);

/// The tensors of one source. `scales` is null unless encoded.
struct SourceTensors {
  const TensorEntry *codes = nullptr;
  const TensorEntry *scales = nullptr;
};

/// Source number `i` of `weight`. MOE0402 when the checkpoint lacks one of its
/// tensors or has it with another shape or type.
StatusOr<SourceTensors> findSource(const fb::Weight &weight, uint32_t i,
                                   const Checkpoint &checkpoint);

/// Writes elements [begin, end) of an encoded source, counted in its row-major
/// order, to `target` as elements of the weight's type.
void decode(const fb::Weight &weight, const SourceTensors &source,
            int64_t begin, int64_t end, uint8_t *target,
            const ParallelFor &parallel = {});

/// Takes what elements [begin, end) were read from out of the resident set.
void dropSource(const fb::Weight &weight, const SourceTensors &source,
                int64_t begin, int64_t end);

} // namespace moert

#endif // MOERT_FORMAT_DECODE_H
