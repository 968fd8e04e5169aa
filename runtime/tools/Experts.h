//===- Experts.h - Reports about expert statistics ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What moe-inspect experts shows of a file that moe-run --expert-stats wrote.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_TOOLS_EXPERTS_H
#define MOERT_TOOLS_EXPERTS_H

#include "Inspect.h"

#include <array>

namespace moert::tools {

/// Shares of the rows that the coverage is told for, in percent.
constexpr std::array<int, 5> coverageShares = {50, 80, 90, 95, 99};

/// One layer of the statistics. A row is a pair of a token and an expert.
struct ExpertLayer {
  std::string name;
  uint64_t tokens = 0;
  /// Rows by expert, and rows that a limit of capacity dropped. The sum of
  /// either is below 2^53, so a double holds it.
  std::vector<uint64_t> counts, dropped;

  /// Sum of the counts.
  double rows() const;
  /// Count relative to an even spread: 1 is even. NaN without rows.
  double load(size_t expert) const;
  /// Largest load; standard deviation of the loads; experts without a row;
  /// share of the rows that the busiest tenth of the experts (rounded up) has.
  /// NaN without rows, but for `unused`.
  double imbalance() const;
  double variation() const;
  size_t unused() const;
  double busiest() const;
};

/// The statistics of a file.
struct ExpertTable {
  std::string model, fingerprint;
  uint64_t topK = 0;
  std::vector<ExpertLayer> layers;

  size_t maxExperts() const;
};

/// Parses JSON of schema moe.expert_stats/1. MOE0010 when it is not that;
/// `where` goes into the message.
StatusOr<ExpertTable> parseExpertTable(const std::string &json,
                                       const std::string &where);

/// Element i is the share of all rows that the i + 1 busiest of `counts` have;
/// empty without rows.
std::vector<double> coverageCurve(std::vector<uint64_t> counts);
/// How many experts a curve needs for `percent` of the rows; 0 without rows.
size_t expertsToCover(const std::vector<double> &curve, int percent);
/// The counts of all experts of all layers.
std::vector<uint64_t> allCounts(const ExpertTable &table);

/// The table per layer, then the coverage.
Report describeExperts(const ExpertTable &table);

/// 8-bit RGB pixels, row by row.
struct Picture {
  size_t width = 0, height = 0;
  std::string rgb;
};

/// A square of `cell` pixels for every layer (downwards) and expert (to the
/// right): white is an even load; purple is less, full at 0; orange is more,
/// full at the largest load of all (at least 2); grey is no such expert, or no
/// row in the layer. MOE0601 for more than 2^25 pixels.
StatusOr<Picture> drawHeatmap(const ExpertTable &table, size_t cell);
/// Pixels of a square so that the picture has about 2048 at most, 1 to 16.
size_t cellSize(const ExpertTable &table);

/// The bytes of a PNG file. MOE0601 when it cannot be compressed.
StatusOr<std::string> encodePng(const Picture &picture);

/// One HTML file that refers to no other: table, heatmap and coverage curves.
StatusOr<std::string> describeExpertsHtml(const ExpertTable &table);

} // namespace moert::tools

#endif // MOERT_TOOLS_EXPERTS_H
