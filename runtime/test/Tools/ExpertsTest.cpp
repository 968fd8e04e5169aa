//===- ExpertsTest.cpp - Tests of moe-inspect experts ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include <functional>
#include <gtest/gtest.h>
#include <sstream>

using namespace moert::test;
using nlohmann::json;

namespace {

class ExpertsTest : public testing::Test {
protected:
  json stats = {
      {"schema", "moe.expert_stats/1"},
      {"model", "test/Tiny"},
      {"fingerprint", "0123456789abcdef"},
      {"layers", {"layers.0", "layers.10.mlp", "layers.2"}},
      {"num_experts", 8},
      {"top_k", 2},
      {"tokens", {16, 20, 0}},
      {"counts",
       {{4, 4, 4, 4, 4, 4, 4, 4}, {20, 8, 2, 1, 1, 0, 0, 0}, {0, 0, 0, 0}}},
      {"dropped",
       {{0, 0, 0, 0, 0, 0, 0, 0}, {3, 1, 0, 0, 0, 0, 0, 4}, {0, 0, 0, 0}}}};

  CommandResult inspect(const std::string &text,
                        const std::string &arguments = "") {
    writeBytes(folder.file("s.json"), text);
    return runCommand("cd " + folder.path + " && " + MOE_INSPECT +
                      " experts s.json " + arguments);
  }
  /// Why the statistics are refused after a change.
  std::string why(const std::function<void(json &)> &change) {
    json changed = stats;
    change(changed);
    return whyText(changed.dump());
  }
  std::string whyText(const std::string &text) {
    CommandResult result = inspect(text, "--html=e.html --png=e.png");
    EXPECT_EQ(result.exitCode, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(folder.list(), std::vector<std::string>{"s.json"});
    const std::string begin = "error[MOE0010]: not a file of expert "
                              "statistics\n --> s.json\nbecause ";
    const std::string end = "\nfix: write one with moe-run "
                            "--expert-stats=FILE\n";
    if (result.err.size() < begin.size() + end.size() ||
        result.err.substr(0, begin.size()) != begin ||
        result.err.substr(result.err.size() - end.size()) != end)
      return "text " + result.err;
    return result.err.substr(begin.size(),
                             result.err.size() - begin.size() - end.size());
  }
  TemporaryFolder folder;
};

} // namespace

TEST_F(ExpertsTest, PrintsATable) {
  CommandResult result = inspect(stats.dump());
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(
      result.out,
      "test/Tiny  fingerprint xxh3:0123456789abcdef  3 layers, 8 experts, "
      "top-2\n"
      "\n"
      "layer             tokens       rows   dropped  imbalance     cv  unused "
      " busiest 10 %\n"
      "layers.0              16         32         0       1.00   0.00       0 "
      "       12.5 %\n"
      "layers.10.mlp         20         32         8       5.00   1.63       3 "
      "       62.5 %\n"
      "layers.2               0          0         0          -      -       4 "
      "            -\n"
      "\n"
      "experts for      50 %    80 %    90 %    95 %    99 %  of the rows\n"
      "layers.0            4       7       8       8       8  of 8\n"
      "layers.10.mlp       1       2       3       4       5  of 8\n"
      "layers.2            -       -       -       -       -  of 4\n"
      "all layers          3       8      10      11      13  of 20\n");
}

TEST_F(ExpertsTest, PrintsJson) {
  json report = json::parse(inspect(stats.dump(), "--json").out);
  EXPECT_EQ(report["schema"], "moe.experts/1");
  const json &layer = report["layers"][1];
  EXPECT_EQ(layer["rows"], 32);
  EXPECT_EQ(layer["dropped"], 8);
  EXPECT_EQ(layer["imbalance"], 5.0);
  EXPECT_EQ(layer["unused"], 3);
  EXPECT_EQ(layer["busiest_tenth"], 0.625);
  EXPECT_EQ(layer["coverage"],
            json::parse(R"({"50":1,"80":2,"90":3,"95":4,"99":5})"));
  EXPECT_EQ(report["layers"][2]["imbalance"], nullptr);
  EXPECT_EQ(report["coverage"]["99"], 13);
}

TEST_F(ExpertsTest, OlderFilesHaveNoDroppedPairs) {
  stats.erase("dropped");
  stats.erase("top_k");
  stats["model"] = "";
  for (const char *key : {"layers", "tokens", "counts"})
    stats[key] = json::array({stats[key][0]});
  CommandResult result = inspect(stats.dump());
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(
      result.out,
      "unknown  fingerprint xxh3:0123456789abcdef  1 layers, 8 experts\n"
      "\n"
      "layer          tokens       rows   dropped  imbalance     cv  unused  "
      "busiest 10 %\n"
      "layers.0           16         32         0       1.00   0.00       0  "
      "      12.5 %\n"
      "\n"
      "experts for    50 %    80 %    90 %    95 %    99 %  of the rows\n"
      "layers.0         4       7       8       8       8  of 8\n");
}

TEST_F(ExpertsTest, RejectsWhatIsNoStatistics) {
  EXPECT_EQ(whyText("{"), "it is no JSON");
  EXPECT_EQ(whyText(""), "it is no JSON");
  EXPECT_EQ(whyText("[1]"), "its schema is not moe.expert_stats/1");
  EXPECT_EQ(why([](json &s) { s["schema"] = "moe.expert_stats/2"; }),
            "its schema is not moe.expert_stats/1");
  EXPECT_EQ(why([](json &s) { s.erase("counts"); }), "it has no list 'counts'");
  EXPECT_EQ(why([](json &s) { s["tokens"] = 3; }), "it has no list 'tokens'");
  EXPECT_EQ(why([](json &s) {
              for (const char *key : {"layers", "tokens", "counts", "dropped"})
                s[key] = json::array();
            }),
            "it has no layers");
  EXPECT_EQ(why([](json &s) { s["layers"].push_back("x"); }),
            "it has 4 layers, but 3 tokens, 3 counts and 3 dropped");
  EXPECT_EQ(why([](json &s) { s["layers"][1] = 7; }),
            "a name in 'layers' is no string");
  EXPECT_EQ(why([](json &s) { s["counts"][1][2] = -1; }),
            "'counts' has -1, which is no count");
  EXPECT_EQ(why([](json &s) { s["tokens"][0] = 1.5; }),
            "'tokens' has 1.5, which is no count");
  EXPECT_EQ(why([](json &s) { s["dropped"][0][0] = uint64_t(1) << 53; }),
            "'dropped' has 9007199254740992, which is no count");
  EXPECT_EQ(why([](json &s) { s["counts"][0][0] = "many"; }),
            "'counts' has something, which is no count");
  EXPECT_EQ(why([](json &s) { s["counts"][0] = 4; }),
            "'counts' has something that is no list");
  EXPECT_EQ(why([](json &s) { s["counts"][2] = json::array(); }),
            "layer 2 has 0 counts, but 4 dropped");
  EXPECT_EQ(why([](json &s) {
              s.erase("dropped");
              s["counts"][2] = json::array();
            }),
            "layer 2 has no experts");
  EXPECT_EQ(why([](json &s) {
              s["counts"][1] = json::array();
              for (int e = 0; e < 8; ++e)
                s["counts"][1].push_back(uint64_t(1) << 50);
            }),
            "the sum of a list in 'counts' is not below 2^53");
  EXPECT_EQ(why([](json &s) {
              s["dropped"][0][1] = s["dropped"][0][7] = uint64_t(1) << 52;
            }),
            "the sum of a list in 'dropped' is not below 2^53");
}

TEST_F(ExpertsTest, SumsUpToTheLimitAreExact) {
  const uint64_t largest = (uint64_t(1) << 53) - 1;
  stats["counts"][0] = {largest - 6, 0, 1, 1, 1, 1, 1, 1};
  stats["dropped"][0] = {largest, 0, 0, 0, 0, 0, 0, 0};
  json report = json::parse(inspect(stats.dump(), "--json").out);
  EXPECT_EQ(report["layers"][0]["rows"], largest);
  EXPECT_EQ(report["layers"][0]["dropped"], largest);
}

TEST_F(ExpertsTest, RefusesPicturesWithTooManyPixels) {
  // A wide layer and many narrow ones: a megabyte of text, 10^10 pixels.
  const size_t layers = 100000, experts = 100000;
  stats["layers"] = json(layers, "l");
  stats["tokens"] = json(layers, 0);
  stats["counts"] = json(layers, json::array({1}));
  stats["counts"][7] = json(experts, 1);
  stats.erase("dropped");
  const std::string error =
      "error[MOE0601]: a picture of 100000 x 100000 pixels is too large\n"
      "because it has a row for each of 100000 layers and a column for each of "
      "100000 experts, and at most 33554432 pixels\nfix: leave out --html and "
      "--png, or split the file by layers\n";
  for (const char *option : {"--png=e.png", "--html=e.html"}) {
    CommandResult result = inspect(stats.dump(), option);
    EXPECT_EQ(result.exitCode, 6) << option;
    EXPECT_EQ(result.err, error) << option;
    EXPECT_EQ(folder.list(), std::vector<std::string>{"s.json"});
  }
  EXPECT_EQ(inspect(stats.dump(), "--json > e.txt").exitCode, 0);
}

TEST_F(ExpertsTest, OneLongNameMakesOneLongLine) {
  const std::string name(5000, 'n');
  stats["layers"][1] = name;
  CommandResult result = inspect(stats.dump());
  EXPECT_EQ(result.exitCode, 0) << result.err;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.substr(0, name.size()) == name)
      line.erase(0, name.size() - 64);
    EXPECT_LT(line.size(), 150u) << line;
  }
  EXPECT_NE(result.out.find("\nlayers.0" + std::string(56, ' ') + "  "),
            std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find(name), std::string::npos);
}

TEST_F(ExpertsTest, Usage) {
  CommandResult result =
      runCommand(std::string(MOE_INSPECT) + " experts /nowhere.json");
  EXPECT_EQ(result.exitCode, 1);
  EXPECT_EQ(result.err.substr(0, 15), "error[MOE0010]:");
  result = inspect(stats.dump(), "--png=none/e.png");
  EXPECT_EQ(result.exitCode, 1);
  EXPECT_EQ(result.err.substr(0, 15), "error[MOE0011]:");
  result = runCommand(std::string(MOE_INSPECT) + " summary x.moe --html=e");
  EXPECT_EQ(result.exitCode, 2);
  EXPECT_EQ(result.err, "error[MOE0001]: --html is for the command experts "
                        "only\nfix: moe-inspect experts stats.json "
                        "--html=FILE --png=FILE\n");
}
