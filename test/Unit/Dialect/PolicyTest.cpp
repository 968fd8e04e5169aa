//===- PolicyTest.cpp - Which routing policies are legal ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DialectTest.h"

#include "mlir/AsmParser/AsmParser.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <random>

using namespace mlir;
using namespace mlir::moe;

namespace {

struct PolicyTest : moe_test::DialectTest {
  PolicyAttr make(Score score, int64_t topK, int64_t groups, int64_t keep,
                  GroupFilter filter, WeightSource source, bool normalize,
                  float epsilon, float scale, Type round) {
    return PolicyAttr::getChecked(
        [&] { return emitError(UnknownLoc::get(&context)); }, &context, score,
        topK, groups, keep, filter, source, normalize, APFloat(epsilon),
        APFloat(scale), round);
  }

  PolicyAttr withScale(float scale) {
    return make(Score::Softmax, 2, 1, 1, GroupFilter::None,
                WeightSource::Scores, false, 0.0f, scale, Type());
  }

  /// The attribute printed and parsed again.
  Attribute reparse(Attribute attr) {
    std::string text;
    llvm::raw_string_ostream(text) << attr;
    Attribute again = parseAttribute(text, &context);
    EXPECT_TRUE(again) << text << "\n" << diagnostics;
    return again;
  }
};

/// The constraint that a combination breaks first, or "" for a legal one:
/// written anew from the attribute's description.
std::string expectedError(Score score, int64_t topK, int64_t groups,
                          int64_t keep, GroupFilter filter, WeightSource source,
                          bool normalize, float epsilon, float scale,
                          Type round) {
  if (topK < 1)
    return "C1";
  bool hasGroups = filter != GroupFilter::None;
  if (hasGroups ? !(1 <= keep && keep < groups) : groups != 1 || keep != 1)
    return "C2";
  if (source == WeightSource::Softmax && (score == Score::Sigmoid || normalize))
    return "C3";
  if (!std::isfinite(scale) || scale == 0 || !std::isfinite(epsilon) ||
      epsilon < 0 || (epsilon != 0 && !normalize))
    return "C4";
  if (round && !round.isBF16() && !round.isF16())
    return "C5";
  return "";
}

} // namespace

// Every combination is accepted or refused as its description says, with the
// label of a constraint that it breaks, and survives printing.
TEST_F(PolicyTest, Matrix) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Builder b(&context);
  int accepted = 0, refused = 0;
  for (Score score : {Score::None, Score::Softmax, Score::Sigmoid})
    for (int64_t topK : {-1, 0, 1, 8})
      for (auto [groups, keep] : std::initializer_list<std::pair<int, int>>{
               {1, 1}, {4, 2}, {4, 4}, {4, 0}, {0, 0}, {2, 3}})
        for (GroupFilter filter :
             {GroupFilter::None, GroupFilter::Max, GroupFilter::Top2Sum})
          for (WeightSource source :
               {WeightSource::Scores, WeightSource::Softmax})
            for (bool normalize : {false, true})
              for (float epsilon : {0.0f, 1e-20f, -1e-6f, inf, nan})
                for (float scale : {1.0f, 2.5f, -16.0f, 0.0f, -inf, nan})
                  for (Type round :
                       {Type(), Type(b.getBF16Type()), Type(b.getF16Type()),
                        Type(b.getF32Type())}) {
                    diagnostics.clear();
                    std::string expected =
                        expectedError(score, topK, groups, keep, filter, source,
                                      normalize, epsilon, scale, round);
                    PolicyAttr policy =
                        make(score, topK, groups, keep, filter, source,
                             normalize, epsilon, scale, round);
                    ASSERT_EQ(bool(policy), expected.empty()) << diagnostics;
                    if (!policy) {
                      ++refused;
                      ASSERT_EQ(diagnostics.substr(0, 2), expected)
                          << diagnostics;
                      continue;
                    }
                    ++accepted;
                    ASSERT_EQ(policy, reparse(policy));
                  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 1000);
}

// Scales are f32 and keep their bits through text, whatever the bits.
TEST_F(PolicyTest, ScalesKeepTheirBits) {
  std::mt19937 random(20260101);
  for (int i = 0; i < 5000; ++i) {
    float scale = llvm::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(scale) || scale == 0)
      continue;
    PolicyAttr policy = withScale(scale);
    ASSERT_TRUE(policy);
    auto again = dyn_cast_or_null<PolicyAttr>(reparse(policy));
    ASSERT_TRUE(again);
    ASSERT_TRUE(again.getScale().bitwiseIsEqual(APFloat(scale))) << scale;
  }
}

// Numbers that models use look as people write them.
TEST_F(PolicyTest, ScalesReadWell) {
  for (auto [scale, text] :
       std::initializer_list<std::pair<float, const char *>>{
           {2.5f, "scale = 2.5"},
           {16.0f, "scale = 16.0"},
           {0.1f, "scale = 0.1"},
           {1.0f / 3, "scale = 0.333333343"}}) {
    std::string printed;
    llvm::raw_string_ostream(printed) << withScale(scale);
    EXPECT_NE(printed.find(std::string(text) + ">"), std::string::npos)
        << printed;
  }
}
