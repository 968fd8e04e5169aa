//===- Packing.h - From a checkpoint's tensors to a kernel's bytes --------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Executes the recipes of Plan.fbs. The compiler (packed and embedded weights)
// and the runtime (external weights) call the same functions, so both produce
// the same bytes.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_PACKING_H
#define MOERT_FORMAT_PACKING_H

#include "moert/Format/DType.h"
#include "moert/Format/Plan_generated.h"
#include "moert/Format/Safetensors.h"
#include "moert/Format/Status.h"

#include <functional>
#include <string>
#include <vector>

namespace moert {

/// Calls body(i) once for every i in [0, count), in any order and on any
/// threads, and returns after the last. An empty function means a plain loop.
using ParallelFor =
    std::function<void(int64_t count, const std::function<void(int64_t)> &)>;

/// The type that a checkpoint must have for an element type of a plan.
DType checkpointType(fb::DType type);

/// An address computation: element (i0, i1, …) of a view lies
/// sum(i * strides) elements behind `start`.
struct StridedView {
  int64_t start = 0;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
};

/// What one source of `weight` contributes, as a view of the source's
/// row-major elements: slice first, then transpose. MOE0303 when the recipe is
/// not consistent.
StatusOr<StridedView> sourceView(const fb::Weight &weight);

/// Checks that shape, sources, encoding and slice of `weight` agree. MOE0303
/// otherwise.
Status verifyWeight(const fb::Weight &weight);

/// The size of `constant` in bytes, computed from its recipe with every
/// product checked. MOE0303 when the recipe is not consistent.
StatusOr<uint64_t> packedBytes(const fb::Plan &plan,
                               const fb::Constant &constant);

/// Checks that `checkpoint` has every source of `weight` with the right shape
/// and type; appends one line per difference to `problems`.
void matchWeight(const fb::Weight &weight, const Checkpoint &checkpoint,
                 std::vector<std::string> &problems);

/// MOE0402 with a count and the first five differences when a source of the
/// plan's weights is missing or differs. With `constants`, only the weights of
/// these (indices into the plan) count.
Status matchCheckpoint(const fb::Plan &plan, const Checkpoint &checkpoint,
                       const std::vector<uint32_t> *constants = nullptr);

/// Writes the bytes of `constant` to `target`, which has constant.bytes()
/// bytes. Reads one tensor of the checkpoint at a time and drops its pages
/// afterwards. The plan has passed verifyPlan. MOE0402 when a source does not
/// match.
Status packConstant(const fb::Plan &plan, const fb::Constant &constant,
                    const Checkpoint &checkpoint, uint8_t *target,
                    const ParallelFor &parallel = {});

/// Number of equal pieces, one after the other in memory, in which `constant`
/// can be packed: one per expert where it has experts. 0 when it is empty.
uint64_t packingPieces(const fb::Plan &plan, const fb::Constant &constant);

/// packConstant for pieces [begin, end) of `constant`, to `target`. Reads the
/// parts of the checkpoint that they need.
Status packPieces(const fb::Plan &plan, const fb::Constant &constant,
                  const Checkpoint &checkpoint, uint64_t begin, uint64_t end,
                  uint8_t *target, const ParallelFor &parallel = {});

/// Accumulates the fingerprint of a set of weights: xxh3-64 (seed 0) over the
/// concatenation, for each weight in plan order and each of its sources in
/// order, of
///   name "\0" dtype "\0" dim "," dim "," … "\0" bytes "\n"
/// where dtype is the safetensors name ("BF16") and dims (each followed by a
/// comma) and bytes are decimal. The scales of a weight follow its sources;
/// where they may have two types, the first of them stands for both.
class FingerprintBuilder {
public:
  void add(std::string_view name, DType dtype,
           const std::vector<int64_t> &shape, uint64_t bytes);
  /// All tensors of a weight that passed verifyWeight.
  void add(const fb::Weight &weight);
  /// 16 lower-case hexadecimal digits.
  std::string finish() const;

private:
  std::string text;
};

/// The fingerprint of a plan's weights.
std::string computeFingerprint(const fb::Plan &plan);

/// xxh3-64, seed 0.
uint64_t xxh3(const void *data, uint64_t size);
/// The same as 16 lower-case hexadecimal digits.
std::string xxh3Hex(const void *data, uint64_t size);

/// Layout id in the metadata of packed weight files.
constexpr const char *packedLayoutId = "moe.packed/1";
/// Every constant of a packed file starts at a multiple of this.
constexpr uint64_t packedAlignment = 4096;

/// Writes the packed file of a plan: one U8 tensor [bytes] per constant under
/// its name; `__metadata__` has "layout" = packedLayoutId and "fingerprint".
/// Constants are packed one after the other through one buffer.
Status writePackedWeights(const fb::Plan &plan, const Checkpoint &checkpoint,
                          const std::string &path,
                          const ParallelFor &parallel = {});

} // namespace moert

#endif // MOERT_FORMAT_PACKING_H
