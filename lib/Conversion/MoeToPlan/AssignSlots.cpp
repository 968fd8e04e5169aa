//===- AssignSlots.cpp - Memory of temporaries ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AssignSlots.h"

#include "mlir/IR/AffineExprVisitor.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::moe;

/// Number of tokens at which slots are compared: between decode and prefill.
static constexpr int64_t kTypicalTokens = 64;

/// Size of a buffer at the typical number of tokens.
static int64_t typicalSize(plan::AllocOp alloc) {
  int64_t least = std::numeric_limits<int64_t>::max();
  Builder b(alloc.getContext());
  for (AffineMap map : alloc.getSizes().getAsValueRange<AffineMapAttr>()) {
    SmallVector<Attribute> operands(map.getNumDims(),
                                    b.getIndexAttr(kTypicalTokens));
    SmallVector<Attribute> results;
    if (succeeded(map.constantFold(operands, results)))
      least = std::min(least, cast<IntegerAttr>(results[0]).getInt());
  }
  return least;
}

void moe::assignSlots(plan::VariantOp variant) {
  DenseMap<Operation *, unsigned> order;
  for (auto [i, op] : llvm::enumerate(variant.getBody().front()))
    order[&op] = i;

  struct Slot {
    int64_t size;
    unsigned busyUntil;
  };
  struct Lifetime {
    plan::AllocOp alloc;
    unsigned first, last;
  };
  SmallVector<Lifetime> lifetimes;
  for (auto alloc : variant.getBody().getOps<plan::AllocOp>()) {
    Lifetime life{alloc, ~0u, 0};
    for (Operation *user : alloc->getUsers()) {
      life.first = std::min(life.first, order[user]);
      life.last = std::max(life.last, order[user]);
    }
    lifetimes.push_back(life);
  }
  llvm::stable_sort(lifetimes, [](const Lifetime &a, const Lifetime &b) {
    return a.first < b.first;
  });

  SmallVector<Slot> slots;
  for (Lifetime &life : lifetimes) {
    int64_t size = typicalSize(life.alloc);
    // The free slot that grows or wastes least.
    std::optional<unsigned> best;
    for (auto [i, slot] : llvm::enumerate(slots)) {
      if (slot.busyUntil >= life.first)
        continue;
      if (!best ||
          std::abs(slot.size - size) < std::abs(slots[*best].size - size))
        best = i;
    }
    if (!best) {
      best = slots.size();
      slots.push_back({0, 0});
    }
    slots[*best].size = std::max(slots[*best].size, size);
    slots[*best].busyUntil = life.last;
    life.alloc.setSlot(*best);
  }
}
