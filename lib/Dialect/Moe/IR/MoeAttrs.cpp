//===- MoeAttrs.cpp - Attributes of the moe dialect -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Custom syntax of #moe.policy and verification of all attributes.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/IR/Moe.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Parses a keyword of an enumeration.
template <typename EnumT>
ParseResult parseEnum(AsmParser &parser, StringRef what, StringRef choices,
                      EnumT &value,
                      std::optional<EnumT> (*symbolize)(StringRef)) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<EnumT> parsed = symbolize(keyword);
  if (!parsed)
    return parser.emitError(loc) << "unknown " << what << " '" << keyword
                                 << "'; expected " << choices;
  value = *parsed;
  return success();
}

} // namespace

Attribute PolicyAttr::parse(AsmParser &parser, Type) {
  auto score = Score::Softmax;
  auto filter = GroupFilter::None;
  auto source = WeightSource::Scores;
  int64_t topK = 0, groups = 1, keep = 1;
  bool normalize = false;
  double epsilon = 0.0, scale = 1.0;
  Type roundWeights;
  llvm::StringSet<> seen;
  // 'none' is what no clause says.
  std::optional<GroupFilter> (*symbolizeFilter)(StringRef) =
      [](StringRef keyword) -> std::optional<GroupFilter> {
    if (keyword == stringifyGroupFilter(GroupFilter::None))
      return std::nullopt;
    return symbolizeGroupFilter(keyword);
  };

  auto parseClause = [&]() -> ParseResult {
    StringRef clause;
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseKeyword(&clause))
      return failure();
    if (!seen.insert(clause).second)
      return parser.emitError(loc)
             << "clause '" << clause << "' is given twice";
    if (clause == "normalize") {
      normalize = true;
      if (succeeded(parser.parseOptionalKeyword("epsilon")))
        return parser.parseFloat(epsilon);
      return success();
    }
    if (parser.parseEqual())
      return failure();
    if (clause == "score")
      return parseEnum(parser, "score function", "none, softmax or sigmoid",
                       score, symbolizeScore);
    if (clause == "top_k")
      return parser.parseInteger(topK);
    if (clause == "weights")
      return parseEnum(parser, "weight source", "scores or softmax", source,
                       symbolizeWeightSource);
    if (clause == "scale")
      return parser.parseFloat(scale);
    if (clause == "round_weights")
      return parser.parseType(roundWeights);
    if (clause == "groups") {
      if (parser.parseInteger(groups) || parser.parseKeyword("keep") ||
          parser.parseInteger(keep) || parser.parseKeyword("by"))
        return failure();
      return parseEnum(parser, "group filter", "max or top2_sum", filter,
                       symbolizeFilter);
    }
    return parser.emitError(loc)
           << "unknown clause '" << clause
           << "'; expected score, groups, top_k, weights, normalize, scale or "
              "round_weights";
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater,
                                     parseClause))
    return {};
  if (!seen.contains("top_k")) {
    parser.emitError(parser.getNameLoc(), "a policy needs the clause 'top_k'");
    return {};
  }
  // Constants of the router are f32 values (docs/Numerics.md).
  return parser.getChecked<PolicyAttr>(
      parser.getContext(), score, topK, groups, keep, filter, source, normalize,
      APFloat(static_cast<float>(epsilon)), APFloat(static_cast<float>(scale)),
      roundWeights);
}

void PolicyAttr::print(AsmPrinter &printer) const {
  // The shortest text that reads back as the same f32, as a float literal.
  auto printFloat = [&](const APFloat &value) {
    SmallString<16> text;
    for (unsigned digits : {6, 9}) {
      text.clear();
      value.toString(text, digits, /*FormatMaxPadding=*/3);
      if (APFloat(value.getSemantics(), text).bitwiseIsEqual(value))
        break;
    }
    printer << text << (text.str().contains('.') ? "" : ".0");
  };
  printer << "<score = " << stringifyScore(getScore());
  if (getGroupFilter() != GroupFilter::None)
    printer << ", groups = " << getGroups() << " keep " << getKeepGroups()
            << " by " << stringifyGroupFilter(getGroupFilter());
  printer << ", top_k = " << getTopK();
  if (getWeightSource() != WeightSource::Scores)
    printer << ", weights = " << stringifyWeightSource(getWeightSource());
  if (getNormalize()) {
    printer << ", normalize";
    if (!getEpsilon().isZero()) {
      printer << " epsilon ";
      printFloat(getEpsilon());
    }
  }
  if (!getScale().isExactlyValue(1.0)) {
    printer << ", scale = ";
    printFloat(getScale());
  }
  if (getRoundWeights())
    printer << ", round_weights = " << getRoundWeights();
  printer << ">";
}

LogicalResult PolicyAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 Score score, int64_t topK, int64_t groups,
                                 int64_t keepGroups, GroupFilter groupFilter,
                                 WeightSource weightSource, bool normalize,
                                 APFloat epsilon, APFloat scale,
                                 Type roundWeights) {
  if (topK < 1)
    return emitError() << "C1: top_k must be at least 1, got " << topK;
  if (groupFilter != GroupFilter::None &&
      (keepGroups < 1 || keepGroups >= groups))
    return emitError() << "C2: expected 1 <= keep < groups, got groups = "
                       << groups << " keep " << keepGroups;
  if (groupFilter == GroupFilter::None && (groups != 1 || keepGroups != 1))
    return emitError() << "C2: groups need 'by max' or 'by top2_sum'";
  if (weightSource == WeightSource::Softmax && score == Score::Sigmoid)
    return emitError() << "C3: 'weights = softmax' contradicts 'score = "
                          "sigmoid'";
  if (weightSource == WeightSource::Softmax && normalize)
    return emitError() << "C3: 'weights = softmax' sums to one already; remove "
                          "'normalize'";
  if (!scale.isFinite() || scale.isZero())
    return emitError() << "C4: scale must be finite and not zero, got "
                       << scale.convertToFloat();
  if (!epsilon.isFinite() || epsilon.isNegative())
    return emitError() << "C4: epsilon must be finite and not negative, got "
                       << epsilon.convertToFloat();
  if (!epsilon.isZero() && !normalize)
    return emitError() << "C4: epsilon needs 'normalize'";
  if (roundWeights && !roundWeights.isBF16() && !roundWeights.isF16())
    return emitError() << "C5: round_weights must be bf16 or f16, got "
                       << roundWeights;
  return success();
}

LogicalResult
CpuConfigAttr::verify(function_ref<InFlightDiagnostic()> emitError, Isa,
                      int64_t mr, int64_t nr, int64_t kc, int64_t prefetch,
                      StringRef accumulation) {
  if (mr < 1 || nr < 1 || kc < 1)
    return emitError() << "C1: mr, nr and kc must be at least 1, got " << mr
                       << ", " << nr << " and " << kc;
  if (prefetch < 0)
    return emitError() << "C2: prefetch must not be negative, got " << prefetch;
  if (accumulation.empty())
    return emitError() << "C3: the accumulation class needs a name";
  return success();
}

LogicalResult
GpuConfigAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      StringRef arch, int64_t threads, int64_t blocks,
                      int64_t n, int64_t k, int64_t stages,
                      StringRef accumulation) {
  constexpr StringRef known[] = {"sm_80",  "sm_86",   "sm_89",
                                 "sm_90a", "sm_100a", "sm_120a"};
  if (!llvm::is_contained(known, arch))
    return emitError() << "C1: unknown architecture \"" << arch
                       << "\"; known are " << llvm::join(ArrayRef(known), ", ");
  if (threads < 32 || threads > 1024 || threads % 32)
    return emitError() << "C2: threads must be a multiple of 32 between 32 and "
                          "1024, got "
                       << threads;
  if (blocks < 1 || n < 1 || k < 1 || stages < 1)
    return emitError() << "C3: blocks, n, k and stages must be at least 1, got "
                       << blocks << ", " << n << ", " << k << " and " << stages;
  if (accumulation.empty())
    return emitError() << "C4: the accumulation class needs a name";
  return success();
}

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 LayoutKind kind, int64_t kTile,
                                 int64_t kInner) {
  if (kTile < 1 || kInner < 1 || kTile % kInner)
    return emitError() << "C1: kInner must divide kTile, both at least 1, got "
                       << kInner << " and " << kTile;
  if (kind == LayoutKind::RowMajor && (kTile != 1 || kInner != 1))
    return emitError() << "C2: row_major has no tiles, got kTile = " << kTile
                       << " and kInner = " << kInner;
  if (kind == LayoutKind::Rows && kInner != 1)
    return emitError() << "C2: rows have kInner = 1, got " << kInner;
  return success();
}
