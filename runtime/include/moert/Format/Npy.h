//===- Npy.h - Reading and writing .npy files -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_NPY_H
#define MOERT_FORMAT_NPY_H

#include "moert/Format/DType.h"
#include "moert/Format/File.h"
#include "moert/Format/Status.h"

#include <memory>
#include <string>
#include <vector>

namespace moert {

/// A mapped array in C order. Immutable, hence thread-safe.
struct NpyArray {
  /// '<V2' and '|V2' (how numpy stores bfloat16 of other packages) read as
  /// BF16; '<u2' reads as U16, which callers may take for BF16 bits.
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  const uint8_t *data = nullptr;
  uint64_t bytes = 0;
  std::shared_ptr<const MappedFile> file;
};

/// Reads version 1, 2 and 3 files of little-endian numbers in C order.
/// MOE0010 when unreadable, MOE0012 when damaged or of another kind.
StatusOr<NpyArray> readNpy(const std::string &path);

/// Parses the bytes of a file; `array.file` stays empty. `where` goes into
/// messages.
StatusOr<NpyArray> parseNpy(const uint8_t *data, uint64_t size,
                            const std::string &where);

/// Writes version 1. BF16 is stored as '<u2', its bits. The file appears only
/// when complete. MOE0011 when it cannot be written, MOE0012 for an element
/// type that .npy does not have.
Status writeNpy(const std::string &path, DType dtype,
                const std::vector<int64_t> &shape, const void *data);

} // namespace moert

#endif // MOERT_FORMAT_NPY_H
