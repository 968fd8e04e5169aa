//===- InspectExperts.cpp - Expert statistics as text ---------------------===//
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
#include <limits>
#include <numeric>

using namespace moert;
using namespace moert::tools;
using nlohmann::json;
using nlohmann::ordered_json;

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

static constexpr double notANumber = std::numeric_limits<double>::quiet_NaN();

double ExpertLayer::rows() const {
  return std::accumulate(counts.begin(), counts.end(), 0.0);
}

double ExpertLayer::load(size_t expert) const {
  const double sum = rows();
  return sum > 0 ? double(counts[expert]) * double(counts.size()) / sum
                 : notANumber;
}

double ExpertLayer::imbalance() const {
  const auto largest = std::max_element(counts.begin(), counts.end());
  return largest == counts.end() ? notANumber : load(largest - counts.begin());
}

double ExpertLayer::variation() const {
  const double mean = rows() / double(counts.size());
  if (!(mean > 0))
    return notANumber;
  double sum = 0;
  for (uint64_t count : counts)
    sum += (double(count) / mean - 1) * (double(count) / mean - 1);
  return std::sqrt(sum / double(counts.size()));
}

size_t ExpertLayer::unused() const {
  return std::count(counts.begin(), counts.end(), uint64_t(0));
}

double ExpertLayer::busiest() const {
  const std::vector<double> curve = coverageCurve(counts);
  return curve.empty() ? notANumber : curve[(curve.size() + 9) / 10 - 1];
}

size_t ExpertTable::maxExperts() const {
  size_t most = 0;
  for (const ExpertLayer &layer : layers)
    most = std::max(most, layer.counts.size());
  return most;
}

std::vector<double> tools::coverageCurve(std::vector<uint64_t> counts) {
  std::sort(counts.rbegin(), counts.rend());
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  std::vector<double> curve;
  double sum = 0;
  for (uint64_t count : counts)
    if (total > 0)
      curve.push_back((sum += double(count)) / total);
  return curve;
}

size_t tools::expertsToCover(const std::vector<double> &curve, int percent) {
  for (size_t i = 0; i < curve.size(); ++i)
    if (curve[i] * 100 >= percent)
      return i + 1;
  return curve.size();
}

std::vector<uint64_t> tools::allCounts(const ExpertTable &table) {
  std::vector<uint64_t> all;
  for (const ExpertLayer &layer : table.layers)
    all.insert(all.end(), layer.counts.begin(), layer.counts.end());
  return all;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {

/// Reads one document; the first problem is kept.
class TableReader {
public:
  explicit TableReader(const json &root) : root(root) {}
  std::string problem;

  ExpertTable read() {
    ExpertTable table;
    table.model = text("model");
    table.fingerprint = text("fingerprint");
    if (root.contains("top_k"))
      table.topK = number(root["top_k"], "top_k");
    const json &layers = list("layers"), &tokens = list("tokens");
    const json &counts = list("counts");
    const bool drops = root.contains("dropped");
    const json &dropped = drops ? list("dropped") : none;
    if (problem.empty() && layers.empty())
      problem = "it has no layers";
    if (problem.empty() &&
        (tokens.size() != layers.size() || counts.size() != layers.size() ||
         (drops && dropped.size() != layers.size())))
      problem =
          fmt::format("it has {} layers, but {} tokens, {} counts{}",
                      layers.size(), tokens.size(), counts.size(),
                      drops ? fmt::format(" and {} dropped", dropped.size())
                            : std::string());
    for (size_t i = 0; i < layers.size() && problem.empty(); ++i) {
      ExpertLayer layer;
      if (!layers[i].is_string())
        fail("a name in 'layers' is no string");
      else
        layer.name = layers[i].get<std::string>();
      layer.tokens = number(tokens[i], "tokens");
      layer.counts = numbers(counts[i], "counts");
      layer.dropped.resize(layer.counts.size());
      if (drops) {
        layer.dropped = numbers(dropped[i], "dropped");
        if (layer.dropped.size() != layer.counts.size())
          fail(fmt::format("layer {} has {} counts, but {} dropped", i,
                           layer.counts.size(), layer.dropped.size()));
      }
      if (layer.counts.empty())
        fail(fmt::format("layer {} has no experts", i));
      table.layers.push_back(std::move(layer));
    }
    return table;
  }

private:
  void fail(std::string what) {
    if (problem.empty())
      problem = std::move(what);
  }
  std::string text(const char *key) {
    return root.contains(key) && root[key].is_string()
               ? root[key].get<std::string>()
               : "";
  }
  const json &list(const char *key) {
    if (root.contains(key) && root[key].is_array())
      return root[key];
    fail(fmt::format("it has no list '{}'", key));
    return none;
  }
  uint64_t number(const json &value, const char *key) {
    if (value.is_number_unsigned() && value.get<uint64_t>() < limit)
      return value.get<uint64_t>();
    fail(fmt::format("'{}' has {}, which is no count", key,
                     value.is_number() ? value.dump() : "something"));
    return 0;
  }
  std::vector<uint64_t> numbers(const json &values, const char *key) {
    std::vector<uint64_t> result;
    if (!values.is_array()) {
      fail(fmt::format("'{}' has something that is no list", key));
      return result;
    }
    uint64_t sum = 0; // Of two below the limit, so it cannot overflow.
    for (const json &value : values) {
      result.push_back(number(value, key));
      sum += result.back();
      if (sum >= limit) {
        fail(fmt::format("the sum of a list in '{}' is not below 2^53", key));
        return result;
      }
    }
    return result;
  }

  /// Sums of counts below 2^53 are exact.
  static constexpr uint64_t limit = uint64_t(1) << 53;

  const json &root;
  const json none = json::array();
};

} // namespace

StatusOr<ExpertTable> tools::parseExpertTable(const std::string &text,
                                              const std::string &where) {
  auto bad = [&](std::string why) {
    return Status::error(10, "not a file of expert statistics")
        .at(where)
        .because(std::move(why))
        .fix("write one with moe-run --expert-stats=FILE");
  };
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded())
    return bad("it is no JSON");
  if (!root.is_object() || !root.contains("schema") ||
      root["schema"] != "moe.expert_stats/1")
    return bad("its schema is not moe.expert_stats/1");
  TableReader reader(root);
  ExpertTable table = reader.read();
  if (!reader.problem.empty())
    return bad(reader.problem);
  return StatusOr<ExpertTable>(std::move(table));
}

//===----------------------------------------------------------------------===//
// Report
//===----------------------------------------------------------------------===//

/// A number with `digits` after the point, "-" for NaN.
static std::string decimal(double value, int digits) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits);
}

/// Names come from a file and go to a terminal.
static std::string printable(const std::string &name) {
  std::string text = name;
  for (char &c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return text;
}

/// Of the column of names, in bytes.
static constexpr size_t maxNameWidth = 64;

static ordered_json orNull(double value) {
  return std::isnan(value) ? ordered_json() : ordered_json(value);
}

Report tools::describeExperts(const ExpertTable &table) {
  Report report;
  // From "all layers" on. Every line is as wide: one long name must not make
  // all of them long; it is printed beyond its column.
  size_t width = 10;
  for (const ExpertLayer &layer : table.layers)
    width = std::clamp(layer.name.size(), width, maxNameWidth);
  report.text = fmt::format(
      "{}  fingerprint xxh3:{}  {} layers, {} experts{}\n\n"
      "{:<{}}  {:>9}  {:>9}  {:>8}  {:>9}  {:>5}  {:>6}  {:>12}\n",
      table.model.empty() ? "unknown" : printable(table.model),
      printable(table.fingerprint), table.layers.size(), table.maxExperts(),
      table.topK ? fmt::format(", top-{}", table.topK) : std::string(), "layer",
      width, "tokens", "rows", "dropped", "imbalance", "cv", "unused",
      "busiest 10 %");
  report.json = {{"schema", "moe.experts/1"},
                 {"model", table.model},
                 {"fingerprint", table.fingerprint},
                 {"layers", ordered_json::array()}};
  for (const ExpertLayer &layer : table.layers) {
    const double dropped =
        std::accumulate(layer.dropped.begin(), layer.dropped.end(), 0.0);
    report.text += fmt::format(
        "{:<{}}  {:>9}  {:>9.0f}  {:>8.0f}  {:>9}  {:>5}  {:>6}  {:>12}\n",
        printable(layer.name), width, layer.tokens, layer.rows(), dropped,
        decimal(layer.imbalance(), 2), decimal(layer.variation(), 2),
        layer.unused(),
        decimal(layer.busiest() * 100, 1) + (layer.rows() > 0 ? " %" : ""));
    report.json["layers"].push_back(
        {{"name", layer.name},
         {"tokens", layer.tokens},
         {"rows", uint64_t(layer.rows())},
         {"dropped", uint64_t(dropped)},
         {"imbalance", orNull(layer.imbalance())},
         {"variation", orNull(layer.variation())},
         {"unused", layer.unused()},
         {"busiest_tenth", orNull(layer.busiest())}});
  }
  report.text += fmt::format("\n{:<{}}", "experts for", width);
  for (int share : coverageShares)
    report.text += fmt::format("  {:>4} %", share);
  report.text += "  of the rows\n";
  auto coverage = [&](const std::string &name,
                      const std::vector<uint64_t> &counts) {
    const std::vector<double> curve = coverageCurve(counts);
    report.text += fmt::format("{:<{}}", printable(name), width);
    ordered_json needed;
    for (int share : coverageShares) {
      const size_t experts = expertsToCover(curve, share);
      report.text +=
          curve.empty() ? "       -" : fmt::format("  {:>6}", experts);
      needed[fmt::format("{}", share)] = experts;
    }
    report.text += fmt::format("  of {}\n", counts.size());
    return needed;
  };
  for (size_t i = 0; i < table.layers.size(); ++i)
    report.json["layers"][i]["coverage"] =
        coverage(table.layers[i].name, table.layers[i].counts);
  if (table.layers.size() > 1)
    report.json["coverage"] = coverage("all layers", allCounts(table));
  return report;
}
