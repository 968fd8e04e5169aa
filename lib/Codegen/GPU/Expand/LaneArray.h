//===- LaneArray.h - Arrays spread over the lanes of a warp ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Element i of a LaneArray belongs to lane i % 32, in slot i / 32. Short arrays
// are values, one per slot, and loops over their slots are unrolled; long ones
// lie in memory that only the owning lane touches, and the loops are loops.
// Code written against the functions below is the same for both.
//
// Arrays whose slots are visited by one loop have the same size.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CODEGEN_GPU_EXPAND_LANEARRAY_H
#define MOE_LIB_CODEGEN_GPU_EXPAND_LANEARRAY_H

#include "WarpEmit.h"

namespace mlir::moe::gpu {

/// The number of a slot: known when loops are unrolled, else i32.
struct Slot {
  int64_t known = -1;
  Value number;
};

class LaneArray {
public:
  /// An array of `size` i32 or f32. Long arrays take scratch, so they are to be
  /// made where the kernel op is expanded, outside loops.
  LaneArray(Emit &e, KernelContext &ctx, Type type, int64_t size);

  int64_t getSize() const { return size; }

  /// This lane's element of a slot.
  Value get(Emit &e, Slot slot) const;
  void set(Emit &e, Slot slot, Value value);
  void fill(Emit &e, Value value);

  /// Element `index` (i32, uniform in the warp), in all lanes.
  Value at(Emit &e, Value index) const;
  /// Sets it; `value` is read in the lane that owns it.
  void put(Emit &e, Value index, Value value);

  /// Index of this lane's element of a slot, and whether the array has it
  /// (null when that is certain).
  Value indexOf(Emit &e, Slot slot) const;
  Value isInside(Emit &e, Slot slot) const;

  using SlotBody = function_ref<SmallVector<Value>(Emit &, Slot, ValueRange)>;
  /// One turn per slot. `body` may set elements of this array and of others of
  /// its size.
  SmallVector<Value> forSlots(Emit &e, ValueRange init, SlotBody body);
  void forSlots(Emit &e, function_ref<void(Emit &, Slot)> body);

  /// One turn per element, in ascending order; `body` gets the element (in all
  /// lanes) and its index.
  using ElementBody =
      function_ref<SmallVector<Value>(Emit &, Value element, ValueRange)>;
  SmallVector<Value> forElements(Emit &e, int64_t begin, ValueRange init,
                                 ElementBody body);

  /// for (i = 0; i < end; ++i), whose body may set elements of `arrays`.
  static SmallVector<Value> forRange(Emit &e, ArrayRef<LaneArray *> arrays,
                                     int64_t end, ValueRange init,
                                     Emit::CarriedBody body);

private:
  Value pointer(Emit &e, Slot slot) const;

  Type type;
  int64_t size, slots;
  Value lane;
  /// One value per slot; empty when the array is in memory.
  SmallVector<Value> values;
  /// This lane's element of slot 0.
  Value memory;
};

} // namespace mlir::moe::gpu

#endif // MOE_LIB_CODEGEN_GPU_EXPAND_LANEARRAY_H
