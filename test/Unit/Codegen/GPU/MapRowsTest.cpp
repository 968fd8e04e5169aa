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
