//===- Offload.cpp - GPU images of an artifact ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Offload.h"

#include <algorithm>
#include <cstring>
#include <tuple>

using namespace moert;

namespace {

/// As they lie in the file, little-endian.
struct Header {
  uint8_t magic[4];
  uint32_t version;
  uint64_t size, entryOffset, entrySize;
};
struct Entry {
  uint16_t imageKind, offloadKind;
  uint32_t flags;
  uint64_t stringOffset, numStrings, imageOffset, imageSize;
};
struct StringEntry {
  uint64_t keyOffset, valueOffset;
};

constexpr uint8_t magic[4] = {0x10, 0xff, 0x10, 0xad};
/// The producer "CUDA" of LLVM's OffloadKind.
constexpr uint16_t cudaProducer = 2;

bool inside(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

template <typename T> T read(const uint8_t *data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

/// A NUL-terminated string inside `size` bytes.
std::optional<std::string_view> readString(const uint8_t *data, uint64_t size,
                                           uint64_t offset) {
  if (offset >= size)
    return std::nullopt;
  const void *end = std::memchr(data + offset, 0, size - offset);
  if (!end)
    return std::nullopt;
  const char *begin = reinterpret_cast<const char *>(data + offset);
  return std::string_view(begin, static_cast<const char *>(end) - begin);
}

/// One OffloadBinary of exactly `size` bytes. The problem, or none; `image` is
/// left without data when it is for another kind of device.
std::string readOne(const uint8_t *data, uint64_t size, GpuImage &image) {
  const Header header = read<Header>(data);
  if (header.entrySize < sizeof(Entry) ||
      !inside(header.entryOffset, header.entrySize, size))
    return "lies outside of it";
  const Entry entry = read<Entry>(data + header.entryOffset);
  if (entry.numStrings > 1024 ||
      !inside(entry.stringOffset, entry.numStrings * sizeof(StringEntry), size))
    return "has a bad list of strings";
  if (!inside(entry.imageOffset, entry.imageSize, size))
    return "has its image outside of it";
  std::string_view triple, arch;
  for (uint64_t i = 0; i < entry.numStrings; ++i) {
    auto pair =
        read<StringEntry>(data + entry.stringOffset + i * sizeof(StringEntry));
    auto key = readString(data, size, pair.keyOffset);
    auto value = readString(data, size, pair.valueOffset);
    if (!key || !value)
      return "has a string outside of it";
    if (*key == "triple")
      triple = *value;
    else if (*key == "arch")
      arch = *value;
  }
  if (triple != cudaTriple)
    return {};
  std::optional<GpuArch> parsed = GpuArch::parse(arch);
  if (!parsed)
    return "is for an unknown architecture";
  if (entry.imageKind != uint16_t(GpuImageKind::Cubin) &&
      entry.imageKind != uint16_t(GpuImageKind::Ptx))
    return concat("is of unknown kind ", entry.imageKind);
  if (entry.imageSize == 0)
    return "is empty";
  image = {static_cast<GpuImageKind>(entry.imageKind), *parsed,
           data + entry.imageOffset, entry.imageSize};
  return {};
}

} // namespace

std::optional<GpuArch> GpuArch::parse(std::string_view text) {
  if (text.substr(0, 3) != "sm_")
    return std::nullopt;
  text.remove_prefix(3);
  GpuArch arch;
  if (!text.empty() && (text.back() == 'a' || text.back() == 'f')) {
    arch.feature = text.back();
    text.remove_suffix(1);
  }
  if (text.size() < 2 || text.size() > 4 || text[0] == '0')
    return std::nullopt;
  for (char c : text)
    if (c < '0' || c > '9')
      return std::nullopt;
  arch.minor = text.back() - '0';
  for (char c : text.substr(0, text.size() - 1))
    arch.major = arch.major * 10 + (c - '0');
  return arch;
}

std::string GpuArch::name() const {
  std::string text = concat("sm_", major, minor);
  if (feature)
    text += feature;
  return text;
}

bool GpuArch::cubinRunsOn(int32_t deviceMajor, int32_t deviceMinor) const {
  return major == deviceMajor &&
         (feature == 'a' ? minor == deviceMinor : minor <= deviceMinor);
}

bool GpuArch::ptxRunsOn(int32_t deviceMajor, int32_t deviceMinor) const {
  if (feature)
    return cubinRunsOn(deviceMajor, deviceMinor);
  return std::tie(major, minor) <= std::tie(deviceMajor, deviceMinor);
}

bool GpuArch::operator<(const GpuArch &o) const {
  return std::tie(major, minor, feature) <
         std::tie(o.major, o.minor, o.feature);
}

const char *moert::imageKindName(GpuImageKind kind) {
  return kind == GpuImageKind::Cubin ? "cubin" : "PTX";
}

std::pair<int32_t, int32_t> GpuImage::ptxVersion() const {
  // The directive is the first one, behind comments of the code generator.
  std::string_view text(reinterpret_cast<const char *>(data),
                        std::min<uint64_t>(size, 4096));
  const std::string_view key = "\n.version ";
  size_t at = text.find(key);
  if (at == std::string_view::npos) {
    if (text.substr(0, key.size() - 1) != key.substr(1))
      return {0, 0};
    text.remove_prefix(key.size() - 1);
  } else {
    text.remove_prefix(at + key.size());
  }
  std::pair<int32_t, int32_t> version{0, 0};
  int32_t *part = &version.first;
  for (char c : text.substr(0, 8)) {
    if (c == '.' && part == &version.first)
      part = &version.second;
    else if (c >= '0' && c <= '9')
      *part = *part * 10 + (c - '0');
    else
      break;
  }
  return version;
}

StatusOr<std::vector<GpuImage>>
moert::readOffloading(const uint8_t *data, uint64_t size,
                      const std::string &where) {
  auto damaged = [&](std::string what) {
    return Status::error(303, std::move(what))
        .at(where)
        .fix("copy the file again, or compile the model again");
  };
  std::vector<GpuImage> images;
  for (uint64_t at = 0; at < size;) {
    // The linker may pad between the binaries of several objects.
    if (data[at] == 0) {
      ++at;
      continue;
    }
    const std::string name =
        concat("GPU image at ", at, " of section .llvm.offloading ");
    if (at % 8 || size - at < sizeof(Header) ||
        std::memcmp(data + at, magic, sizeof(magic)) != 0)
      return damaged(concat(name, "has no header"));
    const Header header = read<Header>(data + at);
    if (header.version != 1)
      return damaged(concat(name, "has version ", header.version,
                            "; this runtime reads version 1"));
    if (header.size < sizeof(Header) || header.size > size - at)
      return damaged(
          concat(name, "has ", header.size, " bytes of ", size - at));
    GpuImage image;
    if (std::string problem = readOne(data + at, header.size, image);
        !problem.empty())
      return damaged(name + problem);
    at += header.size;
    if (!image.data)
      continue;
    for (const GpuImage &other : images)
      if (other.kind == image.kind && other.arch == image.arch)
        return damaged(concat(name, "is the second ", imageKindName(image.kind),
                              " of ", image.arch.name()));
    images.push_back(image);
  }
  return images;
}

std::string moert::writeOffloading(const GpuImage &image) {
  const std::string arch = image.arch.name();
  const std::string_view strings[4] = {"triple", cudaTriple, "arch", arch};
  Entry entry{};
  entry.imageKind = uint16_t(image.kind);
  entry.offloadKind = cudaProducer;
  entry.stringOffset = sizeof(Header) + sizeof(Entry);
  entry.numStrings = 2;
  uint64_t at = entry.stringOffset + 2 * sizeof(StringEntry);
  StringEntry map[2];
  std::string text;
  for (int i = 0; i < 4; ++i) {
    (i % 2 ? map[i / 2].valueOffset : map[i / 2].keyOffset) = at + text.size();
    text.append(strings[i]);
    text += '\0';
  }
  entry.imageOffset = (at + text.size() + 7) / 8 * 8;
  entry.imageSize = image.size;
  Header header{};
  std::copy(std::begin(magic), std::end(magic), header.magic);
  header.version = 1;
  header.size = (entry.imageOffset + image.size + 7) / 8 * 8;
  header.entryOffset = sizeof(Header);
  header.entrySize = sizeof(Entry);
  std::string bytes;
  auto append = [&](const void *data, uint64_t size) {
    bytes.append(static_cast<const char *>(data), size);
  };
  append(&header, sizeof(header));
  append(&entry, sizeof(entry));
  append(map, sizeof(map));
  bytes += text;
  bytes.resize(entry.imageOffset, '\0');
  append(image.data, image.size);
  bytes.resize(header.size, '\0');
  return bytes;
}
