//===- Arrays.h - Arrays from and to files --------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_TOOLS_ARRAYS_H
#define MOERT_TOOLS_ARRAYS_H

#include "moert/Format/Npy.h"
#include "moert/Format/Plan_generated.h"
#include "moert/Format/Safetensors.h"

#include <optional>
#include <string>
#include <vector>

namespace moert::tools {

/// An array in memory, mapped from a file or owned.
struct Array {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  const uint8_t *data = nullptr;
  uint64_t bytes = 0;
  std::vector<uint8_t> owned;
  std::shared_ptr<const void> file;
};

/// "[name=]@path[:tensor]" of --input, --output and --expected-output.
struct FileArgument {
  std::string name;
  std::string path;
  std::string tensor;
};
StatusOr<FileArgument> parseFileArgument(const std::string &option,
                                         const std::string &text);

/// Reads a .npy file, or one tensor of a .safetensors file (the only one, or
/// `tensor`). The data is aligned to its elements.
StatusOr<Array> readArray(const FileArgument &argument);

/// Makes `array` fit an element type of a function. U16 counts as the bits of
/// bf16. With `allow`, numbers are converted (bf16 rounds to nearest even);
/// otherwise another type is MOE0013. `what` names the array in messages.
Status convertArray(Array &array, fb::DType needed, bool allow,
                    const std::string &what);

/// Element `i` as a number.
double element(DType dtype, const uint8_t *data, int64_t i);

struct Tolerance {
  /// Elementwise: |a - b| <= atol + rtol * |b|.
  double rtol = 0, atol = 0;
  /// sqrt(sum (a-b)^2) <= bound * sqrt(sum b^2).
  std::optional<double> frobenius;
  /// False when only the Frobenius norm counts.
  bool elementwise = true;
};

struct Comparison {
  bool good = false;
  double largestDifference = 0;
  double relativeFrobenius = 0;
  int64_t outside = 0;
  /// Where the largest difference is.
  std::vector<int64_t> position;
  double got = 0, expected = 0;
};

/// MOE0013 when the shapes differ. NaN equals NaN.
StatusOr<Comparison> compareArrays(const Array &got, const Array &expected,
                                   const Tolerance &tolerance,
                                   const std::string &what);

} // namespace moert::tools

#endif // MOERT_TOOLS_ARRAYS_H
