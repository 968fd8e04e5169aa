//===- MapRowsControlTest.cpp - Loops and branches of a row on GPUs -------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowCode.h"

#include "gtest/gtest.h"

using namespace moe_test;

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

/// The other kinds of control flow that tensor code may have. The interpreter
/// has only loops and branches, so both forms are compiled.
TEST(GpuMapRows, ControlFlow) {
  RowCode code;
  code.name = "controlled";
  code.rows = {"1x8xf32", "1x1xi32"};
  code.outs = {"1x8xf32", "1x1xf32"};
  code.body = R"(
    %c0 = arith.constant 0 : index
    %three = arith.constant 3 : i32
    %n = tensor.extract %r1[%c0, %c0] : tensor<1x1xi32>
    %k32 = arith.remui %n, %three : i32
    %k = arith.index_cast %k32 : i32 to index
    %v = tensor.extract %r0[%c0, %k] : tensor<1x8xf32>
)";
  std::string common = code.body;
  code.reference = common + R"(
    %o0 = tensor.cast %r0 : tensor<1x8xf32> to tensor<1x8xf32>
    %one = arith.constant 1 : index
    %two = arith.constant 2.0 : f32
    %p0 = arith.cmpi eq, %k, %c0 : index
    %p1 = arith.cmpi eq, %k, %one : index
    %neg = arith.negf %v : f32
    %twice = arith.mulf %v, %two : f32
    %s1 = arith.select %p1, %twice, %v : f32
    %s0 = arith.select %p0, %neg, %s1 : f32
    %quarter = arith.constant 0.25 : f32
    %q = arith.mulf %s0, %quarter : f32
    %o1 = tensor.from_elements %q : tensor<1x1xf32>
)";
  code.body = common + R"(
    %e = tensor.empty() : tensor<1x8xf32>
    %o0 = scf.forall (%i) in (8) shared_outs(%t = %e) -> tensor<1x8xf32> {
      %s = tensor.extract_slice %r0[0, %i] [1, 1] [1, 1]
          : tensor<1x8xf32> to tensor<1x1xf32>
      scf.forall.in_parallel {
        tensor.parallel_insert_slice %s into %t[0, %i] [1, 1] [1, 1]
            : tensor<1x1xf32> into tensor<1x8xf32>
      }
    }
    %s = scf.index_switch %k -> f32
    case 0 {
      %y = arith.negf %v : f32
      scf.yield %y : f32
    }
    case 1 {
      %y = arith.addf %v, %v : f32
      scf.yield %y : f32
    }
    default {
      scf.yield %v : f32
    }
    %half = arith.constant 0.5 : f32
    %big = arith.constant 1.0 : f32
    %w, %count = scf.while (%u = %s, %c = %big) : (f32, f32) -> (f32, f32) {
      %go = arith.cmpf oge, %c, %half : f32
      scf.condition(%go) %u, %c : f32, f32
    } do {
    ^bb0(%u: f32, %c: f32):
      %h = arith.mulf %u, %half : f32
      %d = arith.mulf %c, %half : f32
      scf.yield %h, %d : f32, f32
    }
    %o1 = tensor.from_elements %w : tensor<1x1xf32>
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
