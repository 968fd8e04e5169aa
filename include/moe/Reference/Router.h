//===- Router.h - The router, bit for bit -----------------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// docs/Numerics.md as code: f32 arithmetic in exactly the order given there.
// All functions are pure.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_REFERENCE_ROUTER_H
#define MOE_REFERENCE_ROUTER_H

#include "moe/Dialect/Moe/IR/Moe.h"
#include "llvm/ADT/ArrayRef.h"

#include <cstdint>
#include <vector>

namespace mlir::moe::reference {

/// "The sixteen-lane sum" of products of two arrays of one size.
float sixteenLaneDot(ArrayRef<float> a, ArrayRef<float> b);
/// "The sixteen-lane sum" of the elements.
float sixteenLaneSum(ArrayRef<float> a);

/// "exp" and the sigmoid built on it.
float routerExp(float x);
float routerSigmoid(float x);

/// f32 to bf16 and back, as "Rounding between formats" says.
float roundToBF16(float x);

/// f32 to `type` (f32, bf16 or f16) and back.
float roundRouterValue(float x, Type type);

/// The chosen experts of one token, in ascending id.
struct Selection {
  std::vector<int64_t> ids;
  std::vector<float> weights;
};

/// `moe.route` for one token. `bias` is empty, or as long as `logits`. The
/// policy holds for this number of experts (constraints of `moe.route`).
Selection selectExperts(ArrayRef<float> logits, ArrayRef<float> bias,
                        PolicyAttr policy);

} // namespace mlir::moe::reference

#endif // MOE_REFERENCE_ROUTER_H
