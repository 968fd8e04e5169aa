//===- ExpertsHtml.cpp - Expert statistics as a page ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Experts.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

using namespace moert;
using namespace moert::tools;

static std::string escape(const std::string &text) {
  std::string out;
  for (char c : text)
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&quot;";
      break;
    case '\'':
      out += "&#39;";
      break;
    default:
      out += static_cast<unsigned char>(c) < 0x20 && c != '\n' ? '?' : c;
    }
  return out;
}

static std::string base64(const std::string &bytes) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 |
              (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j)
      out += j <= count ? digits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

/// The rows of the heatmap beside the names of their layers.
static StatusOr<std::string> heatmap(const ExpertTable &table) {
  MOE_ASSIGN_OR_RETURN(Picture picture, drawHeatmap(table, 1));
  MOE_ASSIGN_OR_RETURN(std::string png, encodePng(picture));
  constexpr size_t line = 14, left = 150;
  const size_t experts = table.maxExperts();
  const size_t cell = std::clamp<size_t>(900 / experts, 1, 14);
  const size_t width = experts * cell, height = table.layers.size() * line;
  std::string svg = fmt::format(
      "<svg id=\"heatmap\" width=\"{}\" height=\"{}\" role=\"img\">\n"
      "<image x=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" "
      "style=\"image-rendering:pixelated\" "
      "href=\"data:image/png;base64,{}\"/>\n",
      left + width + 1, height + 20, left, width, height, base64(png));
  for (size_t i = 0; i < table.layers.size(); ++i)
    svg +=
        fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
                    left - 6, i * line + 11, escape(table.layers[i].name));
  svg += fmt::format("<text x=\"{}\" y=\"{}\">expert 0</text>\n"
                     "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n"
                     "</svg>\n",
                     left, height + 15, left + width, height + 15, experts - 1);
  return svg;
}

/// Share of the rows over share of the experts, a line for each layer and a
/// thick one for all of them.
static std::string curves(const ExpertTable &table) {
  constexpr double width = 600, height = 300, left = 50, top = 10;
  std::string svg = fmt::format(
      "<svg id=\"coverage\" width=\"{}\" height=\"{}\" role=\"img\">\n"
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" "
      "stroke=\"#888\"/>\n",
      left + width + 30, top + height + 40, left, top, width, height);
  for (int share = 0; share <= 100; share += 25) {
    const double x = left + width * share / 100;
    const double y = top + height - height * share / 100;
    svg += fmt::format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{} %</text>\n"
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} %</text>\n",
        x, top + height + 16, share, left - 5, y + 4, share);
  }
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">experts, "
                     "busiest first</text>\n",
                     left + width / 2, top + height + 34);
  auto curve = [&](const std::string &name, const std::vector<uint64_t> &counts,
                   const char *style) {
    const std::vector<double> points = coverageCurve(counts);
    if (points.empty())
      return;
    std::string list = fmt::format("{:.1f},{:.1f}", left, top + height);
    for (size_t i = 0; i < points.size(); ++i)
      list += fmt::format(" {:.1f},{:.1f}",
                          left + width * double(i + 1) / double(points.size()),
                          top + height - height * points[i]);
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" {}>"
                       "<title>{}</title></polyline>\n",
                       list, style, escape(name));
  };
  for (const ExpertLayer &layer : table.layers)
    curve(layer.name, layer.counts, "stroke=\"#998ec3\"");
  if (table.layers.size() > 1)
    curve("all layers", allCounts(table),
          "stroke=\"#e66101\" stroke-width=\"3\"");
  return svg + "</svg>\n";
}

StatusOr<std::string> tools::describeExpertsHtml(const ExpertTable &table) {
  MOE_ASSIGN_OR_RETURN(std::string map, heatmap(table));
  const std::string model = table.model.empty() ? "unknown" : table.model;
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<title>Experts of {0}</title>\n"
      "<style>body{{font:14px sans-serif;margin:2em}}"
      "svg text{{font:11px sans-serif}}</style>\n</head>\n<body>\n"
      "<h1>Experts of {0}</h1>\n<pre>{1}</pre>\n"
      "<h2>Load by layer and expert</h2>\n"
      "<p>White is an even share, orange is more, purple is less, grey is "
      "none.</p>\n{2}"
      "<h2>Share of the rows that the busiest experts have</h2>\n{3}"
      "</body>\n</html>\n",
      escape(model), escape(describeExperts(table).text), map, curves(table));
}
