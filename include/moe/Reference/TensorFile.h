//===- TensorFile.h - Tensors in .npy and safetensors files -----*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_REFERENCE_TENSORFILE_H
#define MOE_REFERENCE_TENSORFILE_H

#include "moe/Reference/Tensor.h"
#include "moert/Format/Status.h"

#include <string>
#include <utility>
#include <vector>

namespace mlir::moe::reference {

/// "FILE.npy", "FILE.safetensors" or "FILE.safetensors:TENSOR".
struct TensorPath {
  std::string file;
  std::string tensor;
  static TensorPath parse(StringRef text);
  bool isNpy() const { return StringRef(file).ends_with(".npy"); }
};

/// Reads a tensor for a place of type `elementType`. The stored type must be
/// the same (a .npy of u16 counts as bf16); with `convert`, other float types
/// are rounded. A safetensors file with one tensor needs no tensor name.
/// MOE0010, MOE0012, MOE0404 for files, MOE0002 for a tensor name, MOE0013 for
/// the type.
moert::StatusOr<Tensor> readTensor(const TensorPath &path, Type elementType,
                                   bool convert);

/// Reads a tensor in whatever type it is stored.
moert::StatusOr<Tensor> readAnyTensor(const TensorPath &path,
                                      MLIRContext *context);

/// Writes each tensor rounded to its element type. Tensors of one safetensors
/// file are written together, under their tensor names.
/// MOE0011, or MOE0002 when one place is named twice.
moert::Status
writeTensors(const std::vector<std::pair<TensorPath, Tensor>> &tensors);

} // namespace mlir::moe::reference

#endif // MOE_REFERENCE_TENSORFILE_H
