//===- MapRowsExpertTest.cpp - Experts without a pattern on GPUs ----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowCode.h"

#include "gtest/gtest.h"

using namespace moe_test;

/// An expert of two products around an activation, its second weight not
/// transposed; sums and the hidden row in f32.
static RowCode expertCode(const std::string &name, const std::string &type,
                          const std::string &hidden, const std::string &inner,
                          int64_t experts, const std::string &activation) {
  RowCode code;
  code.name = name + "_" + type + "_" + hidden + "_" + inner;
  code.rows = {"1x" + hidden + "x" + type};
  code.weights = {inner + "x" + hidden + "x" + type, inner + "x" + type,
                  inner + "x" + hidden + "x" + type};
  code.outs = code.rows;
  code.experts = experts;
  code.scale = 0.5f;
  bool isWide = type == "f32";
  code.tolerance = isWide ? 1e-5 : 2e-2;
  auto widen = [&](const std::string &to, const std::string &from) {
    return isWide
               ? "%" + to + " = arith.addf %" + from + ", %zero : f32"
               : "%" + to + " = arith.extf %" + from + " : " + type + " to f32";
  };
  auto product = [&](const std::string &map, const std::string &weight,
                     const std::string &in, const std::string &out,
                     const std::string &k, const std::string &n,
                     const std::string &shape) {
    return substitute(
        R"(
    %$Oe = tensor.empty() : tensor<1x$Nxf32>
    %$Of = linalg.fill ins(%zero : f32) outs(%$Oe : tensor<1x$Nxf32>)
        -> tensor<1x$Nxf32>
    %$O = linalg.generic {
        indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
                         affine_map<(m, n, k) -> $M>,
                         affine_map<(m, n, k) -> (m, n)>],
        iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%$I, %$W : tensor<1x$Kx$T>, tensor<$S>)
        outs(%$Of : tensor<1x$Nxf32>) {
    ^bb1(%p: $T, %q: $T, %s: f32):
      $P
      $Q
      %t = math.fma %pw, %qw, %s : f32
      linalg.yield %t : f32
    } -> tensor<1x$Nxf32>
)",
        {{"M", map},
         {"W", weight},
         {"I", in},
         {"O", out},
         {"K", k},
         {"N", n},
         {"S", shape},
         {"P", widen("pw", "p")},
         {"Q", widen("qw", "q")},
         {"T", type}});
  };
  std::string narrow = isWide ? "%y = arith.addf %wide, %zero : f32"
                              : "%y = arith.truncf %wide : f32 to " + type;
  auto last = [&](const std::string &in, const std::string &out,
                  const std::string &n, const std::string &body, bool hasBias) {
    return substitute(
        R"(
    %$Oe = tensor.empty() : tensor<1x$Nx$T>
    %$O = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>, $M
                         affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%$I$B) outs(%$Oe : tensor<1x$Nx$T>) {
    ^bb1(%sum: f32, $A%out: $T):
      $X
      $R
      linalg.yield %y : $T
    } -> tensor<1x$Nx$T>
)",
        {{"M", hasBias ? "affine_map<(i, j) -> (j)>," : ""},
         {"B", hasBias ? ", %w1 : tensor<1x$Nxf32>, tensor<$Nx$T>"
                       : " : tensor<1x$Nxf32>"},
         {"A", hasBias ? "%b: $T, " : ""},
         {"X", body},
         {"R", narrow},
         {"I", in},
         {"O", out},
         {"N", n},
         {"T", type}});
  };
  code.body =
      "    %zero = arith.constant 0.0 : f32\n" +
      product("(n, k)", "w0", "r0", "up", hidden, inner, code.weights[0]) +
      last("up", "h", inner,
           widen("bw", "b") +
               "\n      %x = arith.addf %sum, %bw : "
               "f32\n" +
               activation,
           true) +
      product("(k, n)", "w2", "h", "down", inner, hidden, code.weights[2]) +
      last("down", "o0", hidden, "%wide = arith.addf %sum, %zero : f32", false);
  return code;
}

static const char *relu = "      %wide = arith.maximumf %x, %zero : f32\n";
static const char *geluErf = R"(
      %half = arith.constant 0.5 : f32
      %one = arith.constant 1.0 : f32
      %isq2 = arith.constant 0.70710678 : f32
      %s = arith.mulf %x, %isq2 : f32
      %erf = math.erf %s : f32
      %e1 = arith.addf %erf, %one : f32
      %xh = arith.mulf %x, %half : f32
      %wide = arith.mulf %xh, %e1 : f32
)";
static const char *geluTanh = R"(
      %half = arith.constant 0.5 : f32
      %one = arith.constant 1.0 : f32
      %c0 = arith.constant 0.79788456 : f32
      %c1 = arith.constant 0.044715 : f32
      %x2 = arith.mulf %x, %x : f32
      %x3 = arith.mulf %x2, %x : f32
      %p = math.fma %x3, %c1, %x : f32
      %s = arith.mulf %p, %c0 : f32
      %tanh = math.tanh %s : f32
      %e1 = arith.addf %tanh, %one : f32
      %xh = arith.mulf %x, %half : f32
      %wide = arith.mulf %xh, %e1 : f32
)";
static const char *silu = R"(
      %one = arith.constant 1.0 : f32
      %n = arith.negf %x : f32
      %exp = math.exp %n : f32
      %d = arith.addf %exp, %one : f32
      %wide = arith.divf %x, %d : f32
)";

TEST(GpuMapRows, Experts) {
  checkRowCode(expertCode("relu", "f32", "40", "56", 5, relu));
  checkRowCode(expertCode("erf", "bf16", "17", "5", 5, geluErf));
  checkRowCode(expertCode("tanh", "f16", "40", "300", 3, geluTanh));
  checkRowCode(expertCode("silu", "f32", "300", "17", 1, silu));
  checkRowCode(expertCode("silu", "bf16", "64", "96", 64, silu));
}
