//===- PolicyAttr.cpp - #moe.policy and #moe.capacity ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Syntax and verification of the policy and of the capacity in it.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/Moe/IR/Moe.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/bit.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Policy
//===----------------------------------------------------------------------===//

/// All fields in order, numbers as their bits.
static auto fieldsOf(const Policy &p) {
  auto bits = [](float x) { return llvm::bit_cast<uint32_t>(x); };
  return std::make_tuple(
      p.topK, p.score, p.roundScores, p.biasAfterFirst, p.groups, p.keepGroups,
      p.groupFilter, p.prefers, bits(p.prefer), p.preferBeyond, p.nullExperts,
      p.weightSource, bits(p.jitter), p.normalize, p.norm, bits(p.epsilon),
      p.atLeast, p.afterDrop, bits(p.scale), p.roundWeights, p.keep,
      bits(p.keepBound), p.capacityAttr, p.dropOrder);
}

CapacityAttr Policy::getCapacity() const {
  return cast_or_null<CapacityAttr>(capacityAttr);
}

bool Policy::operator==(const Policy &other) const {
  return fieldsOf(*this) == fieldsOf(other);
}

llvm::hash_code mlir::moe::hash_value(const Policy &policy) {
  return std::apply(
      [](const auto &...fields) { return llvm::hash_combine(fields...); },
      fieldsOf(policy));
}

//===----------------------------------------------------------------------===//
// Syntax
//===----------------------------------------------------------------------===//

namespace {

/// Parses a keyword of an enumeration.
template <typename EnumT>
ParseResult parseEnum(AsmParser &parser, StringRef what, StringRef choices,
                      EnumT &value, std::optional<EnumT> (*read)(StringRef)) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<EnumT> parsed = read(keyword);
  if (!parsed)
    return parser.emitError(loc) << "unknown " << what << " '" << keyword
                                 << "'; expected " << choices;
  value = *parsed;
  return success();
}

/// Constants of the router are f32 values (docs/Numerics.md).
ParseResult parseF32(AsmParser &parser, float &value) {
  double number;
  if (parser.parseFloat(number))
    return failure();
  value = static_cast<float>(number);
  return success();
}

/// The shortest text that reads back as the same number, as a float literal.
void printShortest(AsmPrinter &printer, const APFloat &value) {
  SmallString<24> text;
  for (unsigned digits : {6, 9, 17}) {
    text.clear();
    value.toString(text, digits, /*FormatMaxPadding=*/3);
    if (APFloat(value.getSemantics(), text).bitwiseIsEqual(value))
      break;
  }
  printer << text << (text.str().contains('.') ? "" : ".0");
}

void printF32(AsmPrinter &printer, float number) {
  printShortest(printer, APFloat(number));
}

/// Parses the clauses of a policy, one call per clause.
class PolicyParser {
public:
  PolicyParser(AsmParser &parser) : parser(parser) {}

  ParseResult parseClause();
  bool hasTopK() const { return seen.contains("top_k"); }

  Policy policy;

private:
  ParseResult parseNormalize();
  ParseResult parseValue(StringRef clause, SMLoc loc);
  ParseResult parseGroups();
  ParseResult parseWeights();
  ParseResult parseKeep();
  ParseResult parseCapacity();

  AsmParser &parser;
  llvm::StringSet<> seen;
};

} // namespace

ParseResult PolicyParser::parseClause() {
  StringRef clause;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&clause))
    return failure();
  if (!seen.insert(clause).second)
    return parser.emitError(loc) << "clause '" << clause << "' is given twice";
  if (clause == "bias_after_first") {
    policy.biasAfterFirst = true;
    return success();
  }
  if (clause == "normalize")
    return parseNormalize();
  if (parser.parseEqual())
    return failure();
  return parseValue(clause, loc);
}

ParseResult PolicyParser::parseNormalize() {
  policy.normalize = true;
  if (succeeded(parser.parseOptionalKeyword("by"))) {
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseInteger(policy.norm))
      return failure();
    if (policy.norm < 1)
      return parser.emitError(loc)
             << "C4: p must be 1 to 8, got " << policy.norm;
  }
  if (succeeded(parser.parseOptionalKeyword("epsilon"))) {
    if (parseF32(parser, policy.epsilon))
      return failure();
  } else if (succeeded(parser.parseOptionalKeyword("at_least"))) {
    policy.atLeast = true;
    if (parseF32(parser, policy.epsilon))
      return failure();
  }
  policy.afterDrop = succeeded(parser.parseOptionalKeyword("after_drop"));
  return success();
}

ParseResult PolicyParser::parseValue(StringRef clause, SMLoc loc) {
  if (clause == "score")
    return parseEnum<Score>(parser, "score function",
                            "none, softmax, sigmoid or sqrt_softplus",
                            policy.score, symbolizeScore);
  if (clause == "round_scores")
    return parser.parseType(policy.roundScores);
  if (clause == "prefer") {
    policy.prefers = true;
    if (parseF32(parser, policy.prefer))
      return failure();
    if (succeeded(parser.parseOptionalKeyword("beyond")))
      return parser.parseInteger(policy.preferBeyond);
    return success();
  }
  if (clause == "groups")
    return parseGroups();
  if (clause == "top_k")
    return parser.parseInteger(policy.topK);
  if (clause == "null_experts")
    return parser.parseInteger(policy.nullExperts);
  if (clause == "weights")
    return parseWeights();
  if (clause == "scale")
    return parseF32(parser, policy.scale);
  if (clause == "round_weights")
    return parser.parseType(policy.roundWeights);
  if (clause == "keep")
    return parseKeep();
  if (clause == "capacity")
    return parseCapacity();
  return parser.emitError(loc)
         << "unknown clause '" << clause
         << "'; expected score, round_scores, bias_after_first, prefer, "
            "groups, top_k, null_experts, weights, normalize, scale, "
            "round_weights, keep or capacity";
}

ParseResult PolicyParser::parseGroups() {
  if (parser.parseInteger(policy.groups) || parser.parseKeyword("keep") ||
      parser.parseInteger(policy.keepGroups) || parser.parseKeyword("by"))
    return failure();
  // 'none' is what no clause says.
  return parseEnum<GroupFilter>(
      parser, "group filter", "max or top2_sum", policy.groupFilter,
      [](StringRef keyword) -> std::optional<GroupFilter> {
        if (keyword == stringifyGroupFilter(GroupFilter::None))
          return std::nullopt;
        return symbolizeGroupFilter(keyword);
      });
}

ParseResult PolicyParser::parseWeights() {
  if (parseEnum<WeightSource>(
          parser, "weight source",
          "scores, softmax, sigmoid, sparsemixer or constant",
          policy.weightSource, symbolizeWeightSource))
    return failure();
  if (policy.weightSource != WeightSource::Sparsemixer)
    return success();
  return failure(parser.parseKeyword("jitter") ||
                 parseF32(parser, policy.jitter));
}

ParseResult PolicyParser::parseKeep() {
  if (parseEnum<Keep>(parser, "rule", "threshold, top_p or random", policy.keep,
                      [](StringRef keyword) -> std::optional<Keep> {
                        if (keyword == stringifyKeep(Keep::All))
                          return std::nullopt;
                        return symbolizeKeep(keyword);
                      }))
    return failure();
  return parseF32(parser, policy.keepBound);
}

ParseResult PolicyParser::parseCapacity() {
  policy.capacityAttr = CapacityAttr::parseWords(parser);
  if (!policy.capacityAttr || parser.parseKeyword("by"))
    return failure();
  return parseEnum<DropOrder>(parser, "order",
                              "choice, position, weight or priority",
                              policy.dropOrder, symbolizeDropOrder);
}

Attribute PolicyAttr::parse(AsmParser &parser, Type) {
  PolicyParser clauses(parser);
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater,
                                     [&] { return clauses.parseClause(); }))
    return {};
  if (!clauses.hasTopK()) {
    parser.emitError(parser.getNameLoc(), "a policy needs the clause 'top_k'");
    return {};
  }
  return parser.getChecked<PolicyAttr>(parser.getContext(), clauses.policy);
}

void PolicyAttr::print(AsmPrinter &printer) const {
  const Policy &p = getPolicy();
  printer << "<score = " << stringifyScore(p.score);
  if (p.roundScores)
    printer << ", round_scores = " << p.roundScores;
  if (p.biasAfterFirst)
    printer << ", bias_after_first";
  if (p.prefers) {
    printer << ", prefer = ";
    printF32(printer, p.prefer);
    if (p.preferBeyond)
      printer << " beyond " << p.preferBeyond;
  }
  if (p.groupFilter != GroupFilter::None)
    printer << ", groups = " << p.groups << " keep " << p.keepGroups << " by "
            << stringifyGroupFilter(p.groupFilter);
  printer << ", top_k = " << p.topK;
  if (p.nullExperts)
    printer << ", null_experts = " << p.nullExperts;
  if (p.weightSource != WeightSource::Scores)
    printer << ", weights = " << stringifyWeightSource(p.weightSource);
  if (p.weightSource == WeightSource::Sparsemixer) {
    printer << " jitter ";
    printF32(printer, p.jitter);
  }
  if (p.normalize) {
    printer << ", normalize";
    if (p.norm)
      printer << " by " << p.norm;
    if (p.epsilon != 0) {
      printer << (p.atLeast ? " at_least " : " epsilon ");
      printF32(printer, p.epsilon);
    }
    if (p.afterDrop)
      printer << " after_drop";
  }
  if (p.scale != 1) {
    printer << ", scale = ";
    printF32(printer, p.scale);
  }
  if (p.roundWeights)
    printer << ", round_weights = " << p.roundWeights;
  if (p.keep != Keep::All) {
    printer << ", keep = " << stringifyKeep(p.keep) << " ";
    printF32(printer, p.keepBound);
  }
  if (p.capacityAttr) {
    printer << ", capacity = ";
    p.getCapacity().printWords(printer);
    printer << " by " << stringifyDropOrder(p.dropOrder);
  }
  printer << ">";
}

CapacityAttr CapacityAttr::parseWords(AsmParser &parser) {
  CapacityKind kind;
  double factor = 0;
  int64_t slots = 0, minimum = 1, multiple = 1, every = 0;
  if (parseEnum<CapacityKind>(parser, "capacity", "factor, tokens or slots",
                              kind, symbolizeCapacityKind))
    return {};
  if (kind == CapacityKind::Slots ? parser.parseInteger(slots)
                                  : parser.parseFloat(factor))
    return {};
  bool floor = succeeded(parser.parseOptionalKeyword("floor"));
  for (auto [word, value] : {std::pair<StringRef, int64_t *>{"min", &minimum},
                             {"multiple", &multiple},
                             {"every", &every}}) {
    if (failed(parser.parseOptionalKeyword(word)))
      continue;
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseInteger(*value))
      return {};
    if (*value < 1) {
      parser.emitError(loc)
          << "C3: '" << word << "' must be at least 1, got " << *value;
      return {};
    }
  }
  return parser.getChecked<CapacityAttr>(parser.getContext(), kind,
                                         APFloat(factor), slots, floor, minimum,
                                         multiple, every);
}

void CapacityAttr::printWords(AsmPrinter &printer) const {
  printer << stringifyCapacityKind(getKind()) << " ";
  if (getKind() == CapacityKind::Slots)
    printer << getSlots();
  else
    printShortest(printer, getFactor());
  if (getRoundDown())
    printer << " floor";
  if (getMinimum() != 1)
    printer << " min " << getMinimum();
  if (getMultiple() != 1)
    printer << " multiple " << getMultiple();
  if (getEvery())
    printer << " every " << getEvery();
}

Attribute CapacityAttr::parse(AsmParser &parser, Type) {
  if (parser.parseLess())
    return {};
  CapacityAttr capacity = parseWords(parser);
  if (!capacity || parser.parseGreater())
    return {};
  return capacity;
}

void CapacityAttr::print(AsmPrinter &printer) const {
  printer << "<";
  printWords(printer);
  printer << ">";
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

LogicalResult PolicyAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 Policy p) {
  bool drops = p.capacityAttr || p.keep != Keep::All;
  auto isNarrow = [](Type type) { return type.isBF16() || type.isF16(); };
  if (p.topK < 1)
    return emitError() << "C1: top_k must be at least 1, got " << p.topK;
  bool hasGroups = p.groupFilter != GroupFilter::None;
  if (hasGroups && (p.keepGroups < 1 || p.keepGroups >= p.groups))
    return emitError() << "C2: expected 1 <= keep < groups, got groups = "
                       << p.groups << " keep " << p.keepGroups;
  if (!hasGroups && (p.groups != 1 || p.keepGroups != 1))
    return emitError() << "C2: groups need 'by max' or 'by top2_sum'";

  bool normalizesAll = p.normalize && !p.afterDrop;
  switch (p.weightSource) {
  case WeightSource::Softmax:
    if (p.score == Score::Sigmoid || p.score == Score::SqrtSoftplus)
      return emitError() << "C3: 'weights = softmax' contradicts 'score = "
                         << stringifyScore(p.score) << "'";
    if (normalizesAll)
      return emitError() << "C3: 'weights = softmax' sums to one already; "
                            "remove 'normalize'";
    break;
  case WeightSource::Constant:
    if (normalizesAll)
      return emitError() << "C3: 'weights = constant' with 'normalize' is a "
                            "scale; write 'scale'";
    if (p.keep != Keep::All)
      return emitError() << "C3: 'weights = constant' leaves 'keep' nothing to "
                            "compare";
    break;
  case WeightSource::Sparsemixer:
    if (p.score != Score::None || hasGroups || p.prefers)
      return emitError() << "C3: 'weights = sparsemixer' needs 'score = none' "
                            "and excludes groups and 'prefer'";
    break;
  case WeightSource::Scores:
  case WeightSource::Sigmoid:
    break;
  }

  if (!std::isfinite(p.scale) || p.scale == 0)
    return emitError() << "C4: scale must be finite and not zero, got "
                       << p.scale;
  if (!std::isfinite(p.epsilon) || p.epsilon < 0)
    return emitError() << "C4: epsilon must be finite and not negative, got "
                       << p.epsilon;
  if (p.atLeast && p.epsilon == 0)
    return emitError() << "C4: 'at_least' must be greater than 0";
  if (!p.normalize && (p.epsilon != 0 || p.atLeast || p.norm || p.afterDrop))
    return emitError() << "C4: epsilon, at_least, by and after_drop need "
                          "'normalize'";
  if (p.norm < 0 || p.norm > 8)
    return emitError() << "C4: p must be 1 to 8, got " << p.norm;

  for (auto [name, type] :
       {std::pair<StringRef, Type>{"round_weights", p.roundWeights},
        {"round_scores", p.roundScores}})
    if (type && !isNarrow(type))
      return emitError() << "C5: " << name << " must be bf16 or f16, got "
                         << type;
  if (p.afterDrop && !drops)
    return emitError() << "C6: nothing is dropped; 'after_drop' needs 'keep' "
                          "or 'capacity'";
  if (p.biasAfterFirst && (p.topK < 2 || hasGroups || p.prefers))
    return emitError() << "C7: 'bias_after_first' needs top_k >= 2 and "
                          "excludes groups and 'prefer'";

  if (p.keep != Keep::All) {
    if (!std::isfinite(p.keepBound) || p.keepBound <= 0)
      return emitError() << "C8: '" << stringifyKeep(p.keep)
                         << "' must be finite and greater than 0, got "
                         << p.keepBound;
    if (p.topK < 2)
      return emitError() << "C8: the first choice always stays; 'keep' needs "
                            "top_k >= 2";
  }
  for (auto [name, value] :
       {std::pair<StringRef, float>{"prefer", p.prefer}, {"jitter", p.jitter}})
    if (!std::isfinite(value) || value < 0)
      return emitError() << "C8: '" << name
                         << "' must be finite and not negative, got " << value;
  if (p.preferBeyond < 0 || p.preferBeyond > p.topK)
    return emitError() << "C8: expected 0 <= J <= top_k in 'beyond J', got "
                       << p.preferBeyond;
  if (p.nullExperts < 0)
    return emitError() << "C9: null_experts must not be negative, got "
                       << p.nullExperts;
  return success();
}

LogicalResult CapacityAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   CapacityKind kind, APFloat factor,
                                   int64_t slots, bool roundDown,
                                   int64_t minimum, int64_t multiple,
                                   int64_t every) {
  if (kind != CapacityKind::Slots &&
      (!factor.isFinite() || factor.isZero() || factor.isNegative()))
    return emitError() << "C1: '" << stringifyCapacityKind(kind)
                       << "' must be finite and greater than 0, got "
                       << factor.convertToDouble();
  if (kind == CapacityKind::Slots) {
    if (slots < 1)
      return emitError() << "C2: a capacity of " << slots
                         << " slots leaves no slot; expected at least 1";
    if (roundDown || minimum != 1 || multiple != 1)
      return emitError() << "C2: 'slots' is exact; remove 'floor', 'min' and "
                            "'multiple'";
  }
  if (minimum < 1 || multiple < 1 || every < 0)
    return emitError() << "C3: 'min', 'multiple' and 'every' must be at least "
                          "1";
  // Rows are counted in i32.
  for (int64_t number : {slots, minimum, multiple, every})
    if (number > std::numeric_limits<int32_t>::max())
      return emitError() << "C3: " << number << " is not below 2^31";
  return success();
}

std::pair<int64_t, int64_t> CapacityAttr::getRowBound(int64_t perToken,
                                                      int64_t experts) const {
  // Each expert of a group has at most S * x + (1 rounded up) + minimum +
  // multiple slots; an expert never has more rows than tokens.
  if (getEvery())
    return {experts, 0};
  if (getKind() == CapacityKind::Slots)
    return {0, experts * getSlots()};
  double share = getKind() == CapacityKind::Factor
                     ? getFactor().convertToDouble() * perToken
                     : getFactor().convertToDouble() * experts;
  if (share >= experts)
    return {experts, 0};
  return {static_cast<int64_t>(std::ceil(share)),
          experts * (1 + getMinimum() + getMultiple())};
}
