//===- PlanVerifier.h - What the parts of the plan verifier share ---------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_SRC_FORMAT_PLANVERIFIER_H
#define MOERT_SRC_FORMAT_PLANVERIFIER_H

#include "moert/Format/PlanReader.h"

#include <unordered_set>

namespace moert::plan_verifier {

/// The error of a plan that contradicts itself.
inline Status bad(std::string what) {
  return Status::error(303, std::move(what));
}

/// Names go to terminals and into JSON: they are not empty, and every byte is
/// printable or part of a UTF-8 sequence.
inline Status checkName(std::string_view what, std::string_view name) {
  bool good = !name.empty();
  for (unsigned char c : name)
    good &= c >= 0x20 && c != 0x7f;
  if (good)
    return {};
  return bad(concat("plan has an empty or unprintable name of a ", what));
}

/// Checks names and that they differ from each other.
class UniqueNames {
public:
  explicit UniqueNames(const char *what) : what(what) {}
  Status add(std::string_view name) {
    MOE_RETURN_IF_ERROR(checkName(what, name));
    if (!seen.insert(name).second)
      return bad(concat("plan has two of ", what, " '", name, "'"));
    return {};
  }

private:
  const char *what;
  std::unordered_set<std::string_view> seen;
};

/// The FlatBuffers verifier checks where a vector's length lies, not where its
/// elements of 8 bytes do.
template <typename T>
Status checkAligned(const flatbuffers::Vector<T> *vector) {
  // The writer does not pad where no element follows.
  if (vector && vector->size() &&
      reinterpret_cast<uintptr_t>(vector->Data()) % 8)
    return bad("plan has a list that is not aligned");
  return {};
}

template <typename T> uint64_t sizeOf(const flatbuffers::Vector<T> *vector) {
  return vector ? vector->size() : 0;
}

/// Checks a function of the plan whose kernels and constants are verified.
Status verifyFunction(const fb::Plan &plan, const fb::Function &function);

/// Checks all kernels.
Status verifyKernels(const fb::Plan &plan);

} // namespace moert::plan_verifier

#endif // MOERT_SRC_FORMAT_PLANVERIFIER_H
