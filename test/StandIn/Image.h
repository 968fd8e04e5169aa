//===- Image.h - Which kernels an image has -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_STANDIN_IMAGE_H
#define MOE_STANDIN_IMAGE_H

#include "Driver.h"

namespace moe::standin {

/// What cuModuleLoadData finds out about an image before it takes it.
struct Image {
  /// CUDA_SUCCESS, or why the image cannot be loaded, with a text.
  CUresult result = CUDA_SUCCESS;
  std::string message;
  bool isPtx = false;
  /// xxh3-64 of the cubin, or of the PTX text, as 16 hexadecimal digits.
  std::string hash;
};

/// Reads the image at `data`, whose size is known from itself only.
Image readImage(const void *data, const DeviceLimits &device,
                int driverVersion);

/// PTX ISA version (10 * major + minor) that a driver can translate.
int newestPtxVersion(int driverVersion);

} // namespace moe::standin

#endif // MOE_STANDIN_IMAGE_H
