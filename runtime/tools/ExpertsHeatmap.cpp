//===- ExpertsHeatmap.cpp - Expert statistics as a picture ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Experts.h"

#include <algorithm>
#include <cmath>
#include <zlib.h>

using namespace moert;
using namespace moert::tools;

namespace {

using Color = std::array<uint8_t, 3>;

// Distinguishable without red and green.
constexpr Color purple = {84, 39, 136}, white = {255, 255, 255};
constexpr Color orange = {230, 97, 1}, grey = {200, 200, 200};

/// 96 MiB.
constexpr size_t maxPixels = size_t(1) << 25;

/// The colour `share` of the way from one to the other.
Color mix(const Color &from, const Color &to, double share) {
  Color color;
  for (size_t i = 0; i < 3; ++i)
    color[i] =
        static_cast<uint8_t>(std::lround(from[i] + (to[i] - from[i]) * share));
  return color;
}

Color colorOf(double load, double largest) {
  if (std::isnan(load))
    return grey;
  if (load <= 1)
    return mix(purple, white, load);
  return mix(white, orange, (load - 1) / (largest - 1));
}

} // namespace

size_t tools::cellSize(const ExpertTable &table) {
  const size_t most = std::max(table.maxExperts(), table.layers.size());
  return std::clamp<size_t>(2048 / std::max<size_t>(most, 1), 1, 16);
}

StatusOr<Picture> tools::drawHeatmap(const ExpertTable &table, size_t cell) {
  double largest = 2;
  for (const ExpertLayer &layer : table.layers)
    if (const double load = layer.imbalance(); load > largest)
      largest = load;
  const size_t experts = table.maxExperts();
  Picture picture;
  picture.width = experts * cell;
  picture.height = table.layers.size() * cell;
  if (picture.width && picture.height > maxPixels / picture.width)
    return Status::error(601, concat("a picture of ", picture.width, " x ",
                                     picture.height, " pixels is too large"))
        .because(concat("it has a row for each of ", table.layers.size(),
                        " layers and a column for each of ", experts,
                        " experts, and at most ", maxPixels, " pixels"))
        .fix("leave out --html and --png, or split the file by layers");
  picture.rgb.reserve(picture.width * picture.height * 3);
  for (const ExpertLayer &layer : table.layers) {
    const double sum = layer.rows();
    std::string line;
    for (size_t e = 0; e < experts; ++e) {
      const bool exists = e < layer.counts.size() && sum > 0;
      const Color color = exists
                              ? colorOf(double(layer.counts[e]) *
                                            double(layer.counts.size()) / sum,
                                        largest)
                              : grey;
      for (size_t x = 0; x < cell; ++x)
        line.append(color.begin(), color.end());
    }
    for (size_t y = 0; y < cell; ++y)
      picture.rgb += line;
  }
  return StatusOr<Picture>(std::move(picture));
}

static void appendNumber(std::string &bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes += static_cast<char>(value >> shift);
}

/// Length, type, data and checksum of type and data.
static void appendChunk(std::string &bytes, const std::string &type,
                        const std::string &data) {
  appendNumber(bytes, static_cast<uint32_t>(data.size()));
  const std::string body = type + data;
  bytes += body;
  appendNumber(bytes, static_cast<uint32_t>(
                          crc32(0, reinterpret_cast<const Bytef *>(body.data()),
                                static_cast<uInt>(body.size()))));
}

StatusOr<std::string> tools::encodePng(const Picture &picture) {
  std::string lines;
  const size_t stride = picture.width * 3;
  for (size_t y = 0; y < picture.height; ++y) {
    lines += '\0'; // No filter.
    lines.append(picture.rgb, y * stride, stride);
  }
  uLongf size = compressBound(static_cast<uLong>(lines.size()));
  std::string data(size, '\0');
  if (lines.size() > UINT32_MAX / 2 ||
      compress2(reinterpret_cast<Bytef *>(data.data()), &size,
                reinterpret_cast<const Bytef *>(lines.data()),
                static_cast<uLong>(lines.size()), Z_BEST_COMPRESSION) != Z_OK)
    return Status::error(601, concat("a picture of ", picture.width, " x ",
                                     picture.height,
                                     " pixels cannot be compressed"));
  data.resize(size);
  std::string header;
  appendNumber(header, static_cast<uint32_t>(picture.width));
  appendNumber(header, static_cast<uint32_t>(picture.height));
  // 8 bits, RGB, deflate, filters by line, not interlaced.
  header += {8, 2, 0, 0, 0};
  std::string bytes = "\x89PNG\r\n\x1a\n";
  appendChunk(bytes, "IHDR", header);
  appendChunk(bytes, "IDAT", data);
  appendChunk(bytes, "IEND", "");
  return bytes;
}
