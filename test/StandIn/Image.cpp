//===- Image.cpp - Reading cubin and PTX ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Image.h"

#include <cstdio>
#include <cstring>
#include <elf.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace moe::standin;

static constexpr uint64_t largestImage = UINT64_C(1) << 30;
static constexpr uint16_t machineCuda = 190;

static Image refuse(CUresult result, std::string message) {
  Image image;
  image.result = result;
  image.message = std::move(message);
  return image;
}

static std::string hashOf(const std::vector<char> &bytes) {
  char text[17];
  std::snprintf(
      text, sizeof(text), "%016llx",
      static_cast<unsigned long long>(XXH3_64bits(bytes.data(), bytes.size())));
  return text;
}

//===----------------------------------------------------------------------===//
// cubin
//===----------------------------------------------------------------------===//

/// Copies what is at `offset` of the image; false when it is not there.
template <typename T>
static bool readAt(const void *data, uint64_t offset, T &result) {
  return offset < largestImage &&
         readMemory(static_cast<const char *>(data) + offset, &result,
                    sizeof(result));
}

/// End of the furthest thing that the ELF's headers name; 0 when broken.
static uint64_t findExtent(const void *data, const Elf64_Ehdr &header) {
  uint64_t extent = sizeof(header);
  auto cover = [&](uint64_t offset, uint64_t size) {
    if (offset > largestImage || size > largestImage)
      return false;
    extent = std::max(extent, offset + size);
    return true;
  };
  if (header.e_phnum && header.e_phentsize != sizeof(Elf64_Phdr))
    return 0;
  if (header.e_shnum && header.e_shentsize != sizeof(Elf64_Shdr))
    return 0;
  if (!cover(header.e_phoff, uint64_t(header.e_phnum) * sizeof(Elf64_Phdr)) ||
      !cover(header.e_shoff, uint64_t(header.e_shnum) * sizeof(Elf64_Shdr)))
    return 0;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!readAt(data, header.e_phoff + i * sizeof(segment), segment) ||
        !cover(segment.p_offset, segment.p_filesz))
      return 0;
  }
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    if (!readAt(data, header.e_shoff + i * sizeof(section), section))
      return 0;
    if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL &&
        !cover(section.sh_offset, section.sh_size))
      return 0;
  }
  return extent;
}

/// Architecture as 10 * major + minor. Newer files have it one byte up.
static int architectureOf(const Elf64_Ehdr &header) {
  return header.e_ident[EI_ABIVERSION] >= 8 ? (header.e_flags >> 8) & 0xff
                                            : header.e_flags & 0xff;
}

static Image readCubin(const void *data, const DeviceLimits &device) {
  Elf64_Ehdr header;
  if (!readAt(data, 0, header) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB)
    return refuse(CUDA_ERROR_INVALID_IMAGE, "not a 64-bit ELF file");
  if (header.e_machine != machineCuda)
    return refuse(CUDA_ERROR_INVALID_IMAGE, "an ELF file for no GPU");
  uint64_t extent = findExtent(data, header);
  std::vector<char> bytes(extent);
  if (extent == 0 || !readMemory(data, bytes.data(), extent))
    return refuse(CUDA_ERROR_INVALID_IMAGE, "the ELF's headers are broken");
  // A cubin runs on its own and later devices of the same major version.
  int architecture = architectureOf(header);
  if (architecture / 10 != device.major || architecture % 10 > device.minor)
    return refuse(CUDA_ERROR_NO_BINARY_FOR_GPU,
                  "cubin for sm_" + std::to_string(architecture) + " on sm_" +
                      std::to_string(10 * device.major + device.minor));
  Image image;
  image.hash = hashOf(bytes);
  return image;
}

//===----------------------------------------------------------------------===//
// PTX
//===----------------------------------------------------------------------===//

int moe::standin::newestPtxVersion(int driverVersion) {
  int major = driverVersion / 1000, minor = driverVersion % 1000 / 10;
  if (major >= 13)
    return 10 * (major - 4) + minor;
  if (major == 12)
    return 80 + (minor <= 5 ? minor : minor - 1);
  return 10 * (major - 4) + minor;
}

/// Copies the text up to its NUL; false when there is none.
static bool readText(const void *data, std::vector<char> &text) {
  constexpr uint64_t step = 4096;
  auto address = reinterpret_cast<uintptr_t>(data);
  while (text.size() < largestImage) {
    // Up to the end of a page, as the next may not be there.
    char bytes[step];
    uint64_t size = step - address % step;
    if (!readMemory(reinterpret_cast<const void *>(address), bytes, size))
      return false;
    const void *end = std::memchr(bytes, 0, size);
    uint64_t length =
        end ? uint64_t(static_cast<const char *>(end) - bytes) : size;
    text.insert(text.end(), bytes, bytes + length);
    if (end)
      return true;
    address += size;
  }
  return false;
}

/// The word behind a directive that begins a line, or nothing.
static std::string findDirective(const std::string &text,
                                 const std::string &name) {
  for (size_t at = text.find(name); at != std::string::npos;
       at = text.find(name, at + 1)) {
    if (at != 0 && text[at - 1] != '\n')
      continue;
    size_t begin = text.find_first_not_of(" \t", at + name.size());
    if (begin == std::string::npos || begin == at + name.size())
      continue;
    return text.substr(begin, text.find_first_of(" \t\r\n,;", begin) - begin);
  }
  return std::string();
}

/// Whether PTX for `target` ("sm_90a") can run on the device; -1 for a target
/// that cannot be understood.
static int fitsTarget(const std::string &target, const DeviceLimits &device) {
  int number = 0, length = 0;
  if (std::sscanf(target.c_str(), "sm_%d%n", &number, &length) != 1)
    return -1;
  std::string suffix = target.substr(size_t(length));
  int own = 10 * device.major + device.minor;
  if (suffix.empty())
    return own >= number;
  if (suffix == "a")
    return own == number;
  if (suffix == "f")
    return own / 10 == number / 10 && own >= number;
  return -1;
}

static Image readPtx(const void *data, const DeviceLimits &device,
                     int driverVersion) {
  std::vector<char> bytes;
  if (!readText(data, bytes))
    return refuse(CUDA_ERROR_INVALID_IMAGE, "neither an ELF file nor text");
  std::string text(bytes.begin(), bytes.end());
  std::string version = findDirective(text, ".version");
  std::string target = findDirective(text, ".target");
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2)
    return refuse(CUDA_ERROR_INVALID_IMAGE,
                  "neither an ELF file nor PTX: no .version");
  if (10 * major + minor > newestPtxVersion(driverVersion))
    return refuse(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                  "PTX .version " + version + " is newer than driver " +
                      std::to_string(driverVersion) + " knows");
  int fits = fitsTarget(target, device);
  if (fits < 0)
    return refuse(CUDA_ERROR_INVALID_PTX, "PTX .target '" + target + "'");
  if (!fits)
    return refuse(CUDA_ERROR_NO_BINARY_FOR_GPU,
                  "PTX .target " + target + " on sm_" +
                      std::to_string(10 * device.major + device.minor));
  Image image;
  image.isPtx = true;
  image.hash = hashOf(bytes);
  return image;
}

Image moe::standin::readImage(const void *data, const DeviceLimits &device,
                              int driverVersion) {
  char magic[SELFMAG];
  if (!readMemory(data, magic, sizeof(magic)))
    return refuse(CUDA_ERROR_INVALID_IMAGE, "the image cannot be read");
  if (std::memcmp(magic, ELFMAG, SELFMAG) == 0)
    return readCubin(data, device);
  return readPtx(data, device, driverVersion);
}
