//===- PlanReader.h - Verifying and evaluating execution plans ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A plan that passed `readPlan` may be walked without further index checks:
// every index, argument kind and count is in range and every size of a recipe
// is consistent. What depends on symbol values is checked when evaluated.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_PLANREADER_H
#define MOERT_FORMAT_PLANREADER_H

#include "moert/Format/Packing.h"
#include "moert/Format/Plan_generated.h"
#include "moert/Format/Status.h"

#include <memory>
#include <string>
#include <vector>

namespace moert {

/// The format that this library writes and reads.
constexpr uint32_t planFormatMajor = 1;
constexpr uint32_t planFormatMinor = 2;

/// Alignment of slots in the workspace, and readable bytes after the last.
constexpr uint64_t slotAlignment = 64;
constexpr uint64_t readSlack = 4096;

/// A verified plan that owns its bytes. Immutable, hence thread-safe.
class VerifiedPlan {
public:
  const fb::Plan &operator*() const { return *root; }
  const fb::Plan *operator->() const { return root; }

private:
  friend StatusOr<std::shared_ptr<const VerifiedPlan>>
  readPlan(const uint8_t *, uint64_t, const std::string &);
  VerifiedPlan() = default;
  std::vector<uint64_t> storage; // FlatBuffers wants 8-byte alignment.
  const fb::Plan *root = nullptr;
};

/// Copies and verifies the bytes of a plan. MOE0301 for another major format,
/// MOE0303 with the first contradiction otherwise. `where` goes into messages.
StatusOr<std::shared_ptr<const VerifiedPlan>>
readPlan(const uint8_t *data, uint64_t size, const std::string &where);

/// The semantic half of `readPlan`: everything that the FlatBuffers verifier
/// does not know.
Status verifyPlan(const fb::Plan &plan);

/// The function of this name, null when there is none.
const fb::Function *findFunction(const fb::Plan &plan, std::string_view name);

/// "cpu" or "cuda".
const char *deviceName(fb::DeviceKind device);

/// Whether `function` has a variant for `device`.
bool hasCode(const fb::Function &function, fb::DeviceKind device);

/// Indices of the constants that the commands of `function` name in variants
/// for `device`, ascending.
std::vector<uint32_t> constantsOf(const fb::Function &function,
                                  fb::DeviceKind device);

/// Value of an affine expression; MOE0601 when it overflows or is negative
/// (it is a size).
StatusOr<uint64_t> evaluate(const fb::Affine &affine,
                            const std::vector<int64_t> &symbols);

/// The dimensions of an input or output for given symbol values.
std::vector<int64_t> evaluateShape(const fb::Tensor &tensor,
                                   const std::vector<int64_t> &symbols);

/// Binds the symbols of `function` from the shapes of its inputs. MOE0013 when
/// a rank, a constant dimension or a range is violated, or when two dimensions
/// of one symbol differ.
StatusOr<std::vector<int64_t>>
bindSymbols(const fb::Function &function,
            const std::vector<std::vector<int64_t>> &inputShapes);

/// "bf16 [N, 2048]".
std::string formatType(const fb::Tensor &tensor, const fb::Function &function);

/// "f32", "bf16", ...
std::string lowerName(fb::DType type);

/// The first variant for `device` whose guards hold; null when the function
/// has none for it.
const fb::Variant *selectVariant(const fb::Function &function,
                                 const std::vector<int64_t> &symbols,
                                 fb::DeviceKind device);

/// Where the temporary buffers of one call lie in its workspace.
struct WorkspaceLayout {
  /// By buffer: offset (multiple of slotAlignment) and size in bytes.
  std::vector<uint64_t> offsets;
  std::vector<uint64_t> sizes;
  /// Whole workspace without the slack behind it.
  uint64_t bytes = 0;
};

/// MOE0601 when a size overflows.
StatusOr<WorkspaceLayout> layoutWorkspace(const fb::Variant &variant,
                                          const std::vector<int64_t> &symbols);

} // namespace moert

#endif // MOERT_FORMAT_PLANREADER_H
