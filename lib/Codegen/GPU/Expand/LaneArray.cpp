//===- LaneArray.cpp - Arrays spread over the lanes of a warp -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LaneArray.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;

constexpr int64_t kWarp = 32;
/// More slots than this go to memory: two such arrays fit the registers.
constexpr int64_t kRegisterSlots = 16;

LaneArray::LaneArray(Emit &e, KernelContext &ctx, Type type, int64_t size)
    : type(type), size(size), slots(llvm::divideCeil(size, kWarp)),
      lane(ctx.lane) {
  if (slots <= kRegisterSlots) {
    Value zero = type.isF32() ? e.f32(0.0f) : e.i32(0);
    values.assign(slots, zero);
    return;
  }
  Value scratch = ctx.allocScratch(ctx.warps() * slots * kWarp * 4);
  Value first = e.add(e.mul(ctx.warp, slots * kWarp), lane);
  memory = e.address(type, scratch, first);
}

Value LaneArray::pointer(Emit &e, Slot slot) const {
  return e.address(type, memory, e.mul(slot.number, kWarp));
}

Value LaneArray::get(Emit &e, Slot slot) const {
  if (slot.known >= 0)
    return values[slot.known];
  return e.loadAt(type, pointer(e, slot));
}

void LaneArray::set(Emit &e, Slot slot, Value value) {
  if (slot.known >= 0)
    values[slot.known] = value;
  else
    e.storeAt(value, pointer(e, slot));
}

void LaneArray::fill(Emit &e, Value value) {
  forSlots(e, [&](Emit &e, Slot slot) { set(e, slot, value); });
}

Value LaneArray::at(Emit &e, Value index) const {
  Value number = e.div(index, kWarp), owner = e.rem(index, kWarp);
  Value value;
  if (values.empty()) {
    value = get(e, Slot{-1, number});
  } else {
    value = values.front();
    for (int64_t slot = 1; slot < slots; ++slot)
      value = e.select(e.equal(number, slot), values[slot], value);
  }
  return e.shuffleIndex(value, owner);
}

void LaneArray::put(Emit &e, Value index, Value value) {
  if (values.empty()) {
    Value isOwner = e.equal(e.rem(index, kWarp), lane);
    e.ifThen(isOwner,
             [&](Emit &e) { set(e, Slot{-1, e.div(index, kWarp)}, value); });
    return;
  }
  for (int64_t slot = 0; slot < slots; ++slot) {
    Value isHere = e.equal(indexOf(e, Slot{slot, Value()}), index);
    values[slot] = e.select(isHere, value, values[slot]);
  }
}

Value LaneArray::indexOf(Emit &e, Slot slot) const {
  if (slot.known == 0)
    return lane;
  if (slot.known > 0)
    return e.add(lane, slot.known * kWarp);
  return e.add(e.mul(slot.number, kWarp), lane);
}

Value LaneArray::isInside(Emit &e, Slot slot) const {
  if (size % kWarp == 0 || (slot.known >= 0 && slot.known < size / kWarp))
    return Value();
  return e.lessU(indexOf(e, slot), e.i32(size));
}

SmallVector<Value> LaneArray::forSlots(Emit &e, ValueRange init,
                                       SlotBody body) {
  if (values.empty())
    return e.forRange(e.i32(0), e.i32(slots), e.i32(1), init,
                      [&](Emit &e, Value number, ValueRange carried) {
                        return body(e, Slot{-1, number}, carried);
                      });
  SmallVector<Value> carried(init);
  for (int64_t slot = 0; slot < slots; ++slot)
    carried = body(e, Slot{slot, Value()}, carried);
  return carried;
}

void LaneArray::forSlots(Emit &e, function_ref<void(Emit &, Slot)> body) {
  forSlots(e, ValueRange(), [&](Emit &e, Slot slot, ValueRange) {
    body(e, slot);
    return SmallVector<Value>();
  });
}

SmallVector<Value> LaneArray::forElements(Emit &e, int64_t begin,
                                          ValueRange init, ElementBody body) {
  auto visit = [&](Emit &e, Value value, Value from, Value to,
                   ValueRange carried) {
    return e.forRange(from, to, e.i32(1), carried,
                      [&](Emit &e, Value owner, ValueRange carried) {
                        return body(e, e.shuffleIndex(value, owner), carried);
                      });
  };
  return forSlots(e, init, [&](Emit &e, Slot slot, ValueRange carried) {
    Value value = get(e, slot);
    if (slot.known < 0) {
      // Slot 0 starts at `begin`, the last one ends with the array.
      Value first = e.mul(slot.number, kWarp);
      Value from = e.select(e.equal(slot.number, 0), e.i32(begin), e.i32(0));
      Value to = e.minU(e.i32(kWarp), e.sub(e.i32(size), first));
      return visit(e, value, from, to, carried);
    }
    int64_t from = slot.known == 0 ? begin : 0;
    int64_t to = std::min(kWarp, size - slot.known * kWarp);
    if (size > kRegisterSlots)
      return visit(e, value, e.i32(from), e.i32(to), carried);
    SmallVector<Value> result(carried);
    for (int64_t owner = from; owner < to; ++owner)
      result = body(e, e.shuffleIndex(value, e.i32(owner)), result);
    return result;
  });
}

SmallVector<Value> LaneArray::forRange(Emit &e, ArrayRef<LaneArray *> arrays,
                                       int64_t end, ValueRange init,
                                       Emit::CarriedBody body) {
  SmallVector<Value> all(init);
  for (LaneArray *array : arrays)
    llvm::append_range(all, array->values);
  auto take = [&](ValueRange from) {
    size_t next = init.size();
    for (LaneArray *array : arrays)
      for (Value &value : array->values)
        value = from[next++];
  };
  all = e.forRange(e.i32(0), e.i32(end), e.i32(1), all,
                   [&](Emit &e, Value i, ValueRange carried) {
                     take(carried);
                     SmallVector<Value> result =
                         body(e, i, carried.take_front(init.size()));
                     for (LaneArray *array : arrays)
                       llvm::append_range(result, array->values);
                     return result;
                   });
  take(all);
  all.truncate(init.size());
  return all;
}
