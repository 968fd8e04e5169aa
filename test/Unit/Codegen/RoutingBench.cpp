//===- RoutingBench.cpp - What routing costs beside the experts -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Prints the time that routing 4096 tokens among 256 experts takes, and that
// of the experts of DeepSeek-V3, on one thread. A few experts are timed and
// the others counted by their operations. Nothing is decided: run it with
// --gtest_also_run_disabled_tests --gtest_filter='*RoutingBench*'.
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

using namespace moe_test;

static const char *source = R"(
plan.kernel @select(%l: memref<?xf32>, %b: memref<?xf32>, %i: memref<?xi32>,
                    %w: memref<?xf32>, %n: index) {
  moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<?xf32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 256 : i64,
       policy = #moe.policy<score = sigmoid, groups = 8 keep 4 by top2_sum,
                            top_k = 8, normalize epsilon 1.0e-20, scale = 2.5>}
}
plan.kernel @group(%i: memref<?xi32>, %w: memref<?xf32>, %eo: memref<?xi32>,
                   %rt: memref<?xi32>, %rw: memref<?xf32>, %to: memref<?xi32>,
                   %tr: memref<?xi32>, %n: index) {
  moe.kernel.group_rows ins(%i, %w : memref<?xi32>, memref<?xf32>)
      outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
           memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      {experts = 256 : i64, per_token = 8 : i64}
}
plan.kernel @pack(%x: memref<?xbf16>, %t: memref<?xi32>, %o: memref<?xi32>,
                  %p: memref<?xi8>) {
  moe.kernel.pack_rows ins(%x, %t, %o
      : memref<?xbf16>, memref<?xi32>, memref<?xi32>) outs(%p : memref<?xi8>)
      {experts = 2 : i64, hidden = 7168 : i64, weight_type = bf16}
}
plan.kernel @gemm(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>,
                  %y: memref<?xbf16>) {
  moe.kernel.grouped_gemm ins(%p, %w, %o
      : memref<?xi8>, memref<?xi8>, memref<?xi32>) outs(%y : memref<?xbf16>)
      attributes {experts = 2 : i64, n = 2048 : i64, k = 7168 : i64,
                  parts = 1 : i64, weight_type = bf16, row_type = bf16} {
  }
}
)";

/// The shortest of five runs, in milliseconds.
static double shortest(const std::function<void()> &run) {
  double best = 1e30;
  for (int i = 0; i < 5; ++i) {
    auto start = std::chrono::steady_clock::now();
    run();
    std::chrono::duration<double, std::milli> time =
        std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count());
  }
  return best;
}

TEST(RoutingBench, DISABLED_ShareOfTheExperts) {
  std::string diagnostics;
  std::unique_ptr<Kernels> kernels = Kernels::compile(source, diagnostics);
  ASSERT_TRUE(kernels) << diagnostics;
  constexpr int64_t kTokens = 4096, kExperts = 256, kTopK = 8, kHidden = 7168,
                    kInner = 2048, kTimed = 2;
  Random random(41);
  Buffer<float> logits(randomValues(random, kTokens * kExperts, 1.0f));
  Buffer<float> bias(randomValues(random, kExperts, 0.1f));
  Buffer<int32_t> ids(kTokens * kTopK), offsets(kExperts + 1),
      rowToken(kTokens * kTopK), tokenOffsets(kTokens + 1),
      tokenRows(kTokens * kTopK);
  Buffer<float> weights(kTokens * kTopK), rowWeight(kTokens * kTopK);

  // Each timed expert has the rows it has on average.
  constexpr int64_t kRows = kTokens * kTopK / kExperts;
  std::vector<uint16_t> bf16(kTimed * kRows * kHidden);
  for (uint16_t &value : bf16) // About 1.
    value = 0x3f80 + random() % 0x80;
  Buffer<uint16_t> x(bf16);
  std::vector<int32_t> tokens(kTimed * kRows);
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = int32_t(i);
  Buffer<int32_t> timedTokens(tokens),
      timedOffsets(std::vector<int32_t>{0, kRows, 2 * kRows});
  Buffer<char> packed(kTimed * kRows * kHidden * 4);
  std::vector<uint16_t> panels(kTimed * kInner * kHidden);
  for (uint16_t &value : panels)
    value = 0x3f80 + random() % 0x80;
  Buffer<uint16_t> weightPanels(panels);
  Buffer<uint16_t> out(kTimed * kRows * kInner);

  for (int level : kernels->levelsOf("select")) {
    double select = shortest([&] {
      kernels->run("select", level, 1, {logits, bias, ids, weights, kTokens});
    });
    double group = shortest([&] {
      kernels->run("group", level, 1,
                   {ids, weights, offsets, rowToken, rowWeight, tokenOffsets,
                    tokenRows, kTokens});
    });
    kernels->run("pack", level, 1, {x, timedTokens, timedOffsets, packed});
    double gemm = shortest([&] {
      kernels->run("gemm", level, 1, {packed, weightPanels, timedOffsets, out});
    });
    // Three GEMMs of this size for each of the experts.
    double experts = gemm * 3 * kExperts / kTimed;
    std::printf("%-8s select %.2f ms, group %.2f ms, experts %.0f ms: routing "
                "is %.3f %%\n",
                levelName(level), select, group, experts,
                100 * (select + group) / experts);
  }
}
