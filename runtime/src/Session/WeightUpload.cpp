//===- WeightUpload.cpp - Moving constants to a device ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightUpload.h"

using namespace moert;

StatusOr<std::unique_ptr<WeightUpload>>
WeightUpload::create(hal::Device &device, uint64_t pieceBytes, double timeout) {
  std::unique_ptr<WeightUpload> upload(new WeightUpload());
  upload->timeout = timeout;
  for (Slot &slot : upload->slots) {
    MOE_ASSIGN_OR_RETURN(slot.buffer,
                         device.allocate(pieceBytes, hal::BufferUse::Staging));
    MOE_ASSIGN_OR_RETURN(slot.sent, device.createEvent());
  }
  MOE_ASSIGN_OR_RETURN(upload->stream, device.createStream());
  return StatusOr<std::unique_ptr<WeightUpload>>(std::move(upload));
}

WeightUpload::~WeightUpload() {
  // Nothing to report any more; a caller who wants to know calls `finish`.
  if (stream)
    (void)finish();
}

StatusOr<uint8_t *> WeightUpload::next() {
  current ^= 1;
  Slot &slot = slots[current];
  if (slot.busy)
    MOE_RETURN_IF_ERROR(slot.sent->wait(hal::deadlineIn(timeout)));
  slot.busy = false;
  return static_cast<uint8_t *>(slot.buffer->hostAddress());
}

Status WeightUpload::send(void *target, uint64_t bytes) {
  Slot &slot = slots[current];
  MOE_RETURN_IF_ERROR(stream->copy(target, slot.buffer->hostAddress(), bytes));
  MOE_RETURN_IF_ERROR(stream->record(*slot.sent));
  slot.busy = true;
  return {};
}

Status WeightUpload::finish() {
  return stream->synchronize(hal::deadlineIn(timeout));
}
