//===- Offload.h - GPU images of an artifact ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Section `.llvm.offloading` holds LLVM OffloadBinaries one after the other,
// each at a multiple of 8: a header, an entry, a string map with the keys
// "triple" and "arch", and the bytes of one image. This reader knows version 1
// of that format and checks every offset before it is used.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_OFFLOAD_H
#define MOERT_FORMAT_OFFLOAD_H

#include "moert/Format/Status.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moert {

/// Triple of the images that run on NVIDIA GPUs.
constexpr const char *cudaTriple = "nvptx64-nvidia-cuda";

/// An architecture as ptxas names it.
struct GpuArch {
  int32_t major = 0;
  int32_t minor = 0;
  /// 'a' for architecture-specific code, 'f' for family-specific code, else 0.
  char feature = 0;

  /// "sm_80", "sm_90a", "sm_100f"; nothing for other text.
  static std::optional<GpuArch> parse(std::string_view text);
  std::string name() const;

  /// Whether a cubin of this architecture runs on compute capability
  /// `major`.`minor`: the same major and no newer minor; with 'a' exactly this.
  bool cubinRunsOn(int32_t deviceMajor, int32_t deviceMinor) const;
  /// Whether the driver can translate PTX of this architecture for compute
  /// capability `major`.`minor`: no newer one; with 'a' exactly this.
  bool ptxRunsOn(int32_t deviceMajor, int32_t deviceMinor) const;

  bool operator==(const GpuArch &o) const {
    return major == o.major && minor == o.minor && feature == o.feature;
  }
  /// Oldest first.
  bool operator<(const GpuArch &o) const;
};

/// Kinds of images; the numbers of LLVM's ImageKind.
enum class GpuImageKind : uint16_t { Cubin = 3, Ptx = 5 };

/// One image for one architecture. Borrowed from the bytes of the file.
struct GpuImage {
  GpuImageKind kind = GpuImageKind::Cubin;
  GpuArch arch;
  const uint8_t *data = nullptr;
  uint64_t size = 0;

  /// Of PTX: the version of the language that it needs, {9, 0} for
  /// ".version 9.0"; {0, 0} when the text does not say.
  std::pair<int32_t, int32_t> ptxVersion() const;
};

/// "cubin" or "PTX".
const char *imageKindName(GpuImageKind kind);

/// Reads the images for NVIDIA GPUs; images of other triples are passed over.
/// MOE0303 for a damaged section, two images of one kind and architecture, and
/// kinds or architectures that are not known. `where` goes into messages.
StatusOr<std::vector<GpuImage>>
readOffloading(const uint8_t *data, uint64_t size, const std::string &where);

/// The bytes that `readOffloading` reads as this image.
std::string writeOffloading(const GpuImage &image);

} // namespace moert

#endif // MOERT_FORMAT_OFFLOAD_H
