//===- WeightUpload.h - Moving constants to a device --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_SRC_SESSION_WEIGHTUPLOAD_H
#define MOERT_SRC_SESSION_WEIGHTUPLOAD_H

#include "moert/HAL/Driver.h"

namespace moert {

/// Two staging buffers in turn: while one travels to the device, the host
/// fills the other.
class WeightUpload {
public:
  /// Pieces of up to `pieceBytes`; waits end after `timeout` seconds.
  static StatusOr<std::unique_ptr<WeightUpload>>
  create(hal::Device &device, uint64_t pieceBytes, double timeout);
  /// Waits for what is on its way.
  ~WeightUpload();

  /// Memory for the next piece, when its last one has arrived.
  StatusOr<uint8_t *> next();
  /// Sends the first `bytes` of what `next` gave to `target`.
  Status send(void *target, uint64_t bytes);
  /// Waits for all pieces.
  Status finish();

private:
  WeightUpload() = default;
  struct Slot {
    std::unique_ptr<hal::Buffer> buffer;
    std::unique_ptr<hal::Event> sent;
    bool busy = false;
  };
  double timeout = 0;
  Slot slots[2];
  unsigned current = 1;
  // Destroyed first: no piece is on its way when the buffers go.
  std::unique_ptr<hal::Stream> stream;
};

} // namespace moert

#endif // MOERT_SRC_SESSION_WEIGHTUPLOAD_H
