//===- MapRowsTest.cpp - Tensor code row by row on GPUs -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowCode.h"

#include "gtest/gtest.h"

using namespace moe_test;

/// An elementwise linalg.generic from `in` (name: type) to a new tensor; the
/// body computes %y from %x0, %x1, ...
static std::string elementwise(const std::string &result,
                               const std::string &type,
                               const std::vector<std::string> &inputs,
                               const std::string &body) {
  std::string element = type.substr(type.rfind('x') + 1);
  std::string maps, names, types, arguments;
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::string comma = i ? ", " : "";
    maps += "affine_map<(d0, d1) -> (d0, d1)>, ";
    names += comma + inputs[i];
    types += comma + "tensor<" + type + ">";
    arguments += "%x" + std::to_string(i) + ": " + element + ", ";
  }
  return "    " + result + "e = tensor.empty() : tensor<" + type + ">\n    " +
         result + " = linalg.generic {indexing_maps = [" + maps +
         "affine_map<(d0, d1) -> (d0, d1)>],\n"
         "        iterator_types = [\"parallel\", \"parallel\"]}\n        "
         "ins(" +
         names + " : " + types + ") outs(" + result + "e : tensor<" + type +
         ">) {\n    ^bb1(" + arguments + "%out: " + element + "):\n" + body +
         "      linalg.yield %y : " + element + "\n    } -> tensor<" + type +
         ">\n";
}

TEST(GpuMapRows, Elementwise) {
  for (std::string size : {"1", "17", "300", "1024"})
    for (std::string type : {"f32", "bf16", "f16"}) {
      std::string shape = "1x" + size + "x" + type;
      RowCode code;
      code.name = "chain_" + size + "_" + type;
      code.rows = {shape, shape};
      code.outs = {shape};
      code.tolerance = type == "f32" ? 1e-5 : 2e-2;
      code.body =
          elementwise("%a", shape, {"%r0", "%r1"},
                      "      %y = arith.addf %x0, %x1 : " + type + "\n") +
          elementwise("%b", shape, {"%a"},
                      "      %y = math.exp %x0 : " + type + "\n") +
          elementwise("%o0", shape, {"%b", "%a"},
                      "      %y = arith.mulf %x0, %x1 : " + type + "\n");
      checkRowCode(code);
    }
}

TEST(GpuMapRows, EveryArchitecture) {
  for (std::string arch :
       {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"}) {
    RowCode code;
    code.name = "add";
    code.rows = {"1x40xf32", "1x40xf32"};
    code.outs = {"1x40xf32"};
    code.body = elementwise("%o0", "1x40xf32", {"%r0", "%r1"},
                            "      %y = arith.addf %x0, %x1 : f32\n");
    checkRowCode(code, arch);
  }
}

TEST(GpuMapRows, Integers) {
  for (std::string type : {"i8", "i16", "i32", "i64"}) {
    std::string shape = "1x33x" + type;
    RowCode code;
    code.name = "integers_" + type;
    code.rows = {shape, shape};
    code.outs = {shape, shape};
    // The comparison's result lies in memory between two ops.
    code.body = substitute(
                    R"(
    %e = tensor.empty() : tensor<1x33xi1>
    %less = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%r0, %r1 : tensor<1x33x$T>, tensor<1x33x$T>)
        outs(%e : tensor<1x33xi1>) {
    ^bb1(%p: $T, %q: $T, %r: i1):
      %c = arith.cmpi slt, %p, %q : $T
      linalg.yield %c : i1
    } -> tensor<1x33xi1>
    %o = tensor.empty() : tensor<1x33x$T>
    %o0 = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, 32 - j)>,
                         affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%less, %r0, %r1 : tensor<1x33xi1>, tensor<1x33x$T>,
            tensor<1x33x$T>) outs(%o : tensor<1x33x$T>) {
    ^bb1(%c: i1, %p: $T, %q: $T, %r: $T):
      %s = arith.select %c, %p, %q : $T
      linalg.yield %s : $T
    } -> tensor<1x33x$T>
)",
                    {{"T", type}}) +
                elementwise("%o1", shape, {"%r0", "%r1"},
                            substitute(R"(
      %seven = arith.constant 7 : $T
      %m = arith.muli %x0, %x1 : $T
      %d = arith.divsi %x0, %seven : $T
      %a = arith.xori %m, %d : $T
      %y = arith.maxsi %a, %x1 : $T
)",
                                       {{"T", type}}));
    checkRowCode(code);
  }
}

TEST(GpuMapRows, Softmax) {
  for (std::string size : {"1", "5", "33", "512"}) {
    RowCode code;
    code.name = "softmax_" + size;
    code.rows = {"1x" + size + "xf32"};
    code.outs = code.rows;
    code.scale = 4.0f;
    code.body = substitute(R"(
    %e = tensor.empty() : tensor<1x$Nxf32>
    %o0 = linalg.softmax dimension(1) ins(%r0 : tensor<1x$Nxf32>)
        outs(%e : tensor<1x$Nxf32>) -> tensor<1x$Nxf32>
)",
                           {{"N", size}});
    checkRowCode(code);
  }
}

TEST(GpuMapRows, LayerNorm) {
  for (std::string size : {"3", "40", "257"}) {
    RowCode code;
    code.name = "norm_" + size;
    code.rows = {"1x" + size + "xbf16"};
    code.invariants = {size + "xbf16", size + "xbf16"};
    code.outs = code.rows;
    code.tolerance = 1e-2;
    code.body = substitute(R"(
    %zero = arith.constant 0.0 : f32
    %count = arith.constant $N.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %e = tensor.empty() : tensor<1xf32>
    %fill = linalg.fill ins(%zero : f32) outs(%e : tensor<1xf32>)
        -> tensor<1xf32>
    %sum = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i)>],
        iterator_types = ["parallel", "reduction"]}
        ins(%r0 : tensor<1x$Nxbf16>) outs(%fill : tensor<1xf32>) {
    ^bb1(%x: bf16, %s: f32):
      %w = arith.extf %x : bf16 to f32
      %t = arith.addf %s, %w : f32
      linalg.yield %t : f32
    } -> tensor<1xf32>
    %squares = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i)>,
                         affine_map<(i, j) -> (i)>],
        iterator_types = ["parallel", "reduction"]}
        ins(%r0, %sum : tensor<1x$Nxbf16>, tensor<1xf32>)
        outs(%fill : tensor<1xf32>) {
    ^bb1(%x: bf16, %total: f32, %s: f32):
      %w = arith.extf %x : bf16 to f32
      %mean = arith.divf %total, %count : f32
      %d = arith.subf %w, %mean : f32
      %t = math.fma %d, %d, %s : f32
      linalg.yield %t : f32
    } -> tensor<1xf32>
    %o = tensor.empty() : tensor<1x$Nxbf16>
    %o0 = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i)>,
                         affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (j)>,
                         affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%r0, %sum, %squares, %i0, %i1 : tensor<1x$Nxbf16>, tensor<1xf32>,
            tensor<1xf32>, tensor<$Nxbf16>, tensor<$Nxbf16>)
        outs(%o : tensor<1x$Nxbf16>) {
    ^bb1(%x: bf16, %total: f32, %square: f32, %g: bf16, %b: bf16, %out: bf16):
      %w = arith.extf %x : bf16 to f32
      %mean = arith.divf %total, %count : f32
      %d = arith.subf %w, %mean : f32
      %v = arith.divf %square, %count : f32
      %ve = arith.addf %v, %eps : f32
      %r = math.rsqrt %ve : f32
      %n = arith.mulf %d, %r : f32
      %gw = arith.extf %g : bf16 to f32
      %bw = arith.extf %b : bf16 to f32
      %y = math.fma %n, %gw, %bw : f32
      %yt = arith.truncf %y : f32 to bf16
      linalg.yield %yt : bf16
    } -> tensor<1x$Nxbf16>
)",
                           {{"N", size}});
    checkRowCode(code);
  }
}

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

/// A temporary that does not fit into shared memory lies in scratch.
TEST(GpuMapRows, LargeTemporary) {
  RowCode code;
  code.name = "large";
  code.rows = {"1x64xf32"};
  code.outs = {"1x64xf32"};
  code.body = R"(
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<1x64x1024xf32>
    %outer = linalg.generic {
        indexing_maps = [affine_map<(i, j, k) -> (i, j)>,
                         affine_map<(i, j, k) -> (i, j, k)>],
        iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%r0 : tensor<1x64xf32>) outs(%e : tensor<1x64x1024xf32>) {
    ^bb1(%x: f32, %out: f32):
      %k = linalg.index 2 : index
      %i = arith.index_cast %k : index to i32
      %f = arith.sitofp %i : i32 to f32
      %y = arith.mulf %x, %f : f32
      linalg.yield %y : f32
    } -> tensor<1x64x1024xf32>
    %e2 = tensor.empty() : tensor<1x64xf32>
    %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<1x64xf32>)
        -> tensor<1x64xf32>
    %o0 = linalg.generic {
        indexing_maps = [affine_map<(i, j, k) -> (i, 63 - j, k)>,
                         affine_map<(i, j, k) -> (i, j)>],
        iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%outer : tensor<1x64x1024xf32>) outs(%f2 : tensor<1x64xf32>) {
    ^bb1(%x: f32, %s: f32):
      %t = arith.addf %x, %s : f32
      linalg.yield %t : f32
    } -> tensor<1x64xf32>
)";
  checkRowCode(code);
}

/// Scalar code between tensor ops: all threads run it, one of them stores.
TEST(GpuMapRows, Loops) {
  RowCode code;
  code.name = "scan";
  code.rows = {"1x19xf32"};
  code.outs = {"1x19xf32", "1x1xf32"};
  code.body = R"(
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c19 = arith.constant 19 : index
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<1x19xf32>
    %o0, %last = scf.for %i = %c0 to %c19 step %c1
        iter_args(%t = %e, %sum = %zero) -> (tensor<1x19xf32>, f32) {
      %x = tensor.extract %r0[%c0, %i] : tensor<1x19xf32>
      %s = arith.addf %sum, %x : f32
      %n = tensor.insert %s into %t[%c0, %i] : tensor<1x19xf32>
      scf.yield %n, %s : tensor<1x19xf32>, f32
    }
    %o1 = tensor.from_elements %last : tensor<1x1xf32>
)";
  checkRowCode(code);

  // Ops of all threads in a loop and in a branch.
  code.name = "power";
  code.outs = {"1x19xf32"};
  code.body = R"(
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c4 = arith.constant 4 : index
    %zero = arith.constant 0.0 : f32
    %first = tensor.extract %r0[%c0, %c0] : tensor<1x19xf32>
    %p = arith.cmpf ogt, %first, %zero : f32
    %o0 = scf.for %i = %c0 to %c4 step %c1 iter_args(%t = %r0)
        -> (tensor<1x19xf32>) {
      %e = tensor.empty() : tensor<1x19xf32>
      %r = scf.if %p -> (tensor<1x19xf32>) {
        %v = linalg.generic {
            indexing_maps = [affine_map<(i, j) -> (i, 18 - j)>,
                             affine_map<(i, j) -> (i, j)>,
                             affine_map<(i, j) -> (i, j)>],
            iterator_types = ["parallel", "parallel"]}
            ins(%t, %r0 : tensor<1x19xf32>, tensor<1x19xf32>)
            outs(%e : tensor<1x19xf32>) {
        ^bb1(%x: f32, %y: f32, %out: f32):
          %m = arith.mulf %x, %y : f32
          linalg.yield %m : f32
        } -> tensor<1x19xf32>
        scf.yield %v : tensor<1x19xf32>
      } else {
        %x = tensor.extract %t[%c0, %i] : tensor<1x19xf32>
        %n = tensor.insert %x into %t[%c0, %c4] : tensor<1x19xf32>
        scf.yield %n : tensor<1x19xf32>
      }
      scf.yield %r : tensor<1x19xf32>
    }
)";
  checkRowCode(code);
}

/// Loops that carry tensors which they do not update in place.
TEST(GpuMapRows, CarriedTensors) {
  RowCode code;
  code.name = "exchanged";
  code.rows = {"1x19xf32", "1x19xf32"};
  code.outs = {"1x19xf32", "1x19xf32"};
  code.body = R"(
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c5 = arith.constant 5 : index
    %o0, %o1 = scf.for %i = %c0 to %c5 step %c1
        iter_args(%a = %r0, %b = %r1)
        -> (tensor<1x19xf32>, tensor<1x19xf32>) {
      %e = tensor.empty() : tensor<1x19xf32>
      %s = linalg.generic {
          indexing_maps = [affine_map<(i, j) -> (i, 18 - j)>,
                           affine_map<(i, j) -> (i, j)>,
                           affine_map<(i, j) -> (i, j)>],
          iterator_types = ["parallel", "parallel"]}
          ins(%a, %b : tensor<1x19xf32>, tensor<1x19xf32>)
          outs(%e : tensor<1x19xf32>) {
      ^bb1(%x: f32, %y: f32, %out: f32):
        %m = arith.addf %x, %y : f32
        linalg.yield %m : f32
      } -> tensor<1x19xf32>
      scf.yield %b, %s : tensor<1x19xf32>, tensor<1x19xf32>
    }
)";
  checkRowCode(code);

  // A loop in a loop.
  code.name = "nested";
  code.body = R"(
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c3 = arith.constant 3 : index
    %o0 = scf.for %i = %c0 to %c3 step %c1 iter_args(%a = %r0)
        -> (tensor<1x19xf32>) {
      %r = scf.for %j = %c0 to %i step %c1 iter_args(%b = %a)
          -> (tensor<1x19xf32>) {
        %e = tensor.empty() : tensor<1x19xf32>
        %s = linalg.generic {
            indexing_maps = [affine_map<(i, j) -> (i, 18 - j)>,
                             affine_map<(i, j) -> (i, j)>,
                             affine_map<(i, j) -> (i, j)>],
            iterator_types = ["parallel", "parallel"]}
            ins(%b, %r1 : tensor<1x19xf32>, tensor<1x19xf32>)
            outs(%e : tensor<1x19xf32>) {
        ^bb1(%x: f32, %y: f32, %out: f32):
          %m = arith.subf %x, %y : f32
          linalg.yield %m : f32
        } -> tensor<1x19xf32>
        scf.yield %s : tensor<1x19xf32>
      }
      scf.yield %r : tensor<1x19xf32>
    }
    %e1 = tensor.empty() : tensor<1x19xf32>
    %o1 = linalg.exp ins(%r0 : tensor<1x19xf32>) outs(%e1 : tensor<1x19xf32>)
        -> tensor<1x19xf32>
)";
  checkRowCode(code);
}

/// A branch whose result is one buffer or another.
TEST(GpuMapRows, ChosenBuffer) {
  RowCode code;
  code.name = "chosen";
  code.rows = {"1x8xf32", "1x8xf32"};
  code.outs = {"1x8xf32"};
  code.body = R"(
    %c0 = arith.constant 0 : index
    %x = tensor.extract %r0[%c0, %c0] : tensor<1x8xf32>
    %y = tensor.extract %r1[%c0, %c0] : tensor<1x8xf32>
    %p = arith.cmpf ogt, %x, %y : f32
    %e = tensor.empty() : tensor<1x8xf32>
    %a = linalg.exp ins(%r0 : tensor<1x8xf32>) outs(%e : tensor<1x8xf32>)
        -> tensor<1x8xf32>
    %b = scf.if %p -> (tensor<1x8xf32>) {
      scf.yield %a : tensor<1x8xf32>
    } else {
      scf.yield %r1 : tensor<1x8xf32>
    }
    %o0 = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, 7 - j)>,
                         affine_map<(i, j) -> (i, j)>,
                         affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%b, %a : tensor<1x8xf32>, tensor<1x8xf32>)
        outs(%e : tensor<1x8xf32>) {
    ^bb1(%u: f32, %v: f32, %out: f32):
      %s = arith.addf %u, %v : f32
      linalg.yield %s : f32
    } -> tensor<1x8xf32>
)";
  checkRowCode(code);
}

TEST(GpuMapRows, Slices) {
  RowCode code;
  code.name = "slices";
  code.rows = {"1x3x10xf32"};
  code.outs = {"1x30xf32", "1x4x4xf32"};
  code.body = R"(
    %zero = arith.constant 0.0 : f32
    %c = arith.constant dense<[[1.5, -2.0, 3.25]]> : tensor<1x3xf32>
    // Rotates the ten, then swaps the dimensions.
    %low = tensor.extract_slice %r0[0, 0, 0] [1, 3, 4] [1, 1, 1]
        : tensor<1x3x10xf32> to tensor<1x3x4xf32>
    %high = tensor.extract_slice %r0[0, 0, 4] [1, 3, 6] [1, 1, 1]
        : tensor<1x3x10xf32> to tensor<1x3x6xf32>
    %e = tensor.empty() : tensor<1x3x10xf32>
    %t1 = tensor.insert_slice %high into %e[0, 0, 0] [1, 3, 6] [1, 1, 1]
        : tensor<1x3x6xf32> into tensor<1x3x10xf32>
    %t2 = tensor.insert_slice %low into %t1[0, 0, 6] [1, 3, 4] [1, 1, 1]
        : tensor<1x3x4xf32> into tensor<1x3x10xf32>
    %et = tensor.empty() : tensor<1x10x3xf32>
    %t3 = linalg.generic {
        indexing_maps = [affine_map<(i, j, k) -> (i, k, j)>,
                         affine_map<(i, j, k) -> (i, k)>,
                         affine_map<(i, j, k) -> (i, j, k)>],
        iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%t2, %c : tensor<1x3x10xf32>, tensor<1x3xf32>)
        outs(%et : tensor<1x10x3xf32>) {
    ^bb1(%x: f32, %f: f32, %out: f32):
      %y = arith.mulf %x, %f : f32
      linalg.yield %y : f32
    } -> tensor<1x10x3xf32>
    %o0 = tensor.collapse_shape %t3 [[0], [1, 2]]
        : tensor<1x10x3xf32> into tensor<1x30xf32>
    %p = tensor.pad %low low[0, 1, 0] high[0, 0, 0] {
    ^bb1(%i: index, %j: index, %k: index):
      tensor.yield %zero : f32
    } : tensor<1x3x4xf32> to tensor<1x4x4xf32>
    %f = linalg.generic {
        indexing_maps = [affine_map<(i, j, k) -> (i, j, k)>,
                         affine_map<(i, j, k) -> (i, k, j)>,
                         affine_map<(i, j, k) -> (i, j, k)>],
        iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%p, %p : tensor<1x4x4xf32>, tensor<1x4x4xf32>)
        outs(%p : tensor<1x4x4xf32>) {
    ^bb1(%x: f32, %y: f32, %out: f32):
      %s = arith.addf %x, %y : f32
      linalg.yield %s : f32
    } -> tensor<1x4x4xf32>
    %o1 = tensor.cast %f : tensor<1x4x4xf32> to tensor<1x4x4xf32>
)";
  checkRowCode(code);
}

/// The largest element and where it is; a window sum; a sum over all.
TEST(GpuMapRows, Reductions) {
  RowCode code;
  code.name = "reductions";
  code.rows = {"1x6x11xf32"};
  code.outs = {"1x6xf32", "1x6xi32", "1x6x9xf32", "1xf32"};
  code.body = R"(
    %zero = arith.constant 0.0 : f32
    %none = arith.constant -1 : i32
    %least = arith.constant -1.0e30 : f32
    %em = tensor.empty() : tensor<1x6xf32>
    %ei = tensor.empty() : tensor<1x6xi32>
    %fm = linalg.fill ins(%least : f32) outs(%em : tensor<1x6xf32>)
        -> tensor<1x6xf32>
    %fi = linalg.fill ins(%none : i32) outs(%ei : tensor<1x6xi32>)
        -> tensor<1x6xi32>
    %o0, %o1 = linalg.generic {
        indexing_maps = [affine_map<(i, j, k) -> (i, j, k)>,
                         affine_map<(i, j, k) -> (i, j)>,
                         affine_map<(i, j, k) -> (i, j)>],
        iterator_types = ["parallel", "parallel", "reduction"]}
        ins(%r0 : tensor<1x6x11xf32>)
        outs(%fm, %fi : tensor<1x6xf32>, tensor<1x6xi32>) {
    ^bb1(%x: f32, %m: f32, %at: i32):
      %k = linalg.index 2 : index
      %i = arith.index_cast %k : index to i32
      %p = arith.cmpf ogt, %x, %m : f32
      %nm = arith.select %p, %x, %m : f32
      %ni = arith.select %p, %i, %at : i32
      linalg.yield %nm, %ni : f32, i32
    } -> (tensor<1x6xf32>, tensor<1x6xi32>)
    %window = tensor.empty() : tensor<3xf32>
    %ew = tensor.empty() : tensor<1x6x9xf32>
    %fw = linalg.fill ins(%zero : f32) outs(%ew : tensor<1x6x9xf32>)
        -> tensor<1x6x9xf32>
    %o2 = linalg.generic {
        indexing_maps = [affine_map<(i, j, k, w) -> (i, j, k + w)>,
                         affine_map<(i, j, k, w) -> (w)>,
                         affine_map<(i, j, k, w) -> (i, j, k)>],
        iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
        ins(%r0, %window : tensor<1x6x11xf32>, tensor<3xf32>)
        outs(%fw : tensor<1x6x9xf32>) {
    ^bb1(%x: f32, %unused: f32, %s: f32):
      %t = arith.addf %x, %s : f32
      linalg.yield %t : f32
    } -> tensor<1x6x9xf32>
    %ea = tensor.empty() : tensor<1xf32>
    %fa = linalg.fill ins(%zero : f32) outs(%ea : tensor<1xf32>)
        -> tensor<1xf32>
    %o3 = linalg.generic {
        indexing_maps = [affine_map<(i, j, k) -> (i, j, k)>,
                         affine_map<(i, j, k) -> (i)>],
        iterator_types = ["parallel", "reduction", "reduction"]}
        ins(%r0 : tensor<1x6x11xf32>) outs(%fa : tensor<1xf32>) {
    ^bb1(%x: f32, %s: f32):
      %t = arith.addf %x, %s : f32
      linalg.yield %t : f32
    } -> tensor<1xf32>
)";
  checkRowCode(code);
}

/// Nothing of math may be left to a library: PTX has none.
TEST(GpuMapRows, Math) {
  struct Function {
    const char *name;
    /// 0: any argument, 1: at least 0.
    int positive;
  } functions[] = {{"absf", 0},  {"ceil", 0},      {"cos", 0},   {"erf", 0},
                   {"exp", 0},   {"exp2", 0},      {"expm1", 0}, {"floor", 0},
                   {"log", 1},   {"log10", 1},     {"log1p", 1}, {"log2", 1},
                   {"round", 0}, {"roundeven", 0}, {"rsqrt", 1}, {"sin", 0},
                   {"sqrt", 1},  {"tanh", 0},      {"trunc", 0}};
  for (std::string type : {"f32", "f16", "bf16"})
    for (const Function &function : functions) {
      std::string shape = "1x23x" + type;
      RowCode code;
      code.name = std::string(function.name) + "_" + type;
      code.rows = {shape};
      code.outs = {shape};
      code.scale = 2.0f;
      code.tolerance = type == "f32" ? 2e-5 : 2e-2;
      std::string argument = "%x0";
      std::string body;
      if (function.positive) {
        body = "      %x = math.absf %x0 : " + type + "\n";
        argument = "%x";
      }
      body += std::string("      %y = math.") + function.name + " " + argument +
              " : " + type + "\n";
      code.body = elementwise("%o0", shape, {"%r0"}, body);
      checkRowCode(code);
    }
  RowCode code;
  code.name = "two";
  code.rows = {"1x23xf32", "1x23xf32"};
  code.outs = {"1x23xf32"};
  code.tolerance = 1e-4;
  code.body = elementwise("%o0", "1x23xf32", {"%r0", "%r1"}, R"(
      %a = math.absf %x0 : f32
      %p = math.powf %a, %x1 : f32
      %y = math.copysign %p, %x1 : f32
)");
  checkRowCode(code);
}
