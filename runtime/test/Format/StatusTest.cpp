//===- StatusTest.cpp - Tests of errors as values -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Status.h"

#include <gtest/gtest.h>
#include <set>

using namespace moert;

TEST(Status, PrintsAllParts) {
  Status status = Status::error(404, "tensor 'x' is bad")
                      .at("a.safetensors")
                      .because("it overlaps")
                      .fix("write it again")
                      .context("while loading");
  EXPECT_EQ(status.toString(), "error[MOE0404]: tensor 'x' is bad\n"
                               " --> a.safetensors\n"
                               "because it overlaps\n"
                               "note: while loading\n"
                               "fix: write it again\n");
  EXPECT_EQ(status.exitCode(), 4);
}

TEST(Status, InnermostPlaceWins) {
  Status status = Status::error(10, "x").at("inner");
  EXPECT_EQ(std::move(status).at("outer").where(), "inner");
}

TEST(Status, OkIsEmpty) {
  Status status = Status().at("a").because("b").fix("c").context("d");
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.toString(), "");
  EXPECT_EQ(status.exitCode(), 0);
}

TEST(Status, TableIsSortedUniqueAndComplete) {
  int previous = 0;
  for (const ErrorInfo &info : errorTable()) {
    EXPECT_GT(info.number, previous) << info.title;
    previous = info.number;
    EXPECT_LE(info.number, 9999);
    EXPECT_NE(std::string(info.explanation), "");
    static const std::set<int> codes = {1, 2, 3, 4, 5, 6, 70};
    EXPECT_TRUE(codes.count(info.exitCode)) << info.number;
  }
}

TEST(Status, MacrosPassErrorsOn) {
  auto inner = [](bool good) -> StatusOr<int> {
    if (!good)
      return Status::error(10, "no");
    return 7;
  };
  auto outer = [&](bool good) -> StatusOr<int> {
    MOE_ASSIGN_OR_RETURN(int value, inner(good));
    return value + 1;
  };
  EXPECT_EQ(*outer(true), 8);
  EXPECT_EQ(outer(false).status().number(), 10);
}

TEST(Status, FormatsNumbers) {
  EXPECT_EQ(formatShape({}), "[]");
  EXPECT_EQ(formatShape({2, 3}), "[2, 3]");
  EXPECT_EQ(formatBytes(17), "17 bytes");
  EXPECT_EQ(formatBytes(uint64_t(5) << 29), "2.5 GiB");
}
