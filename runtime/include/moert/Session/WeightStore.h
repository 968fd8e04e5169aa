//===- WeightStore.h - The constants of a plan on a device ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_SESSION_WEIGHTSTORE_H
#define MOERT_SESSION_WEIGHTSTORE_H

#include "moert/HAL/Driver.h"

namespace moert {

/// Holds the bytes that constant arguments point to. Immutable after `load`.
class WeightStore {
public:
  struct Options {
    /// Place of the weights; empty means the usual search.
    std::string path;
    /// Compare contents with the hashes recorded in the artifact.
    bool verifyContents = false;
    /// Called by the loading thread after each piece of the constants.
    std::function<void(uint64_t done, uint64_t total)> progress;
    /// Seconds that a piece may take to a device with memory of its own.
    double timeout = 3600;
  };

  /// Loads `constants` (ascending indices): external weights are packed one
  /// tensor at a time, packed ones are mapped, embedded ones are used where
  /// they are. Peak memory is the size of the packed constants plus one
  /// tensor. On a device with memory of its own, constants go there in pieces
  /// through two staging buffers; peak host memory is these and one tensor.
  /// MOE0401 to MOE0406, MOE0601.
  Status load(hal::Device &device, std::shared_ptr<const Artifact> artifact,
              const std::vector<uint32_t> &constants, const Options &options);

  /// Address of a loaded constant for kernels.
  void *address(uint32_t constant) const { return addresses[constant]; }
  bool loaded(uint32_t constant) const { return addresses[constant]; }

  /// Where the weights came from: a folder, a file or the artifact.
  const std::string &source() const { return origin; }
  /// Hashes compared with recorded ones.
  uint64_t hashesCompared() const { return compared; }
  /// Bytes of the loaded constants.
  uint64_t bytes() const { return total; }

private:
  Status loadExternal(hal::Device &device,
                      const std::vector<uint32_t> &constants,
                      const Options &options);
  Status loadPacked(hal::Device &device, const std::vector<uint32_t> &constants,
                    const Options &options);

  Status loadRemote(hal::Device &device, const std::vector<uint32_t> &constants,
                    const Options &options);
  void advance(uint64_t bytes, const Options &options);

  std::shared_ptr<const Artifact> artifact;
  std::shared_ptr<const SafetensorsFile> packed;
  std::vector<std::unique_ptr<hal::Buffer>> buffers;
  std::vector<void *> addresses;
  std::string origin;
  uint64_t compared = 0;
  uint64_t total = 0;
  uint64_t done = 0;
};

/// Bytes that this process can still get without swapping; UINT64_MAX when
/// the system does not say.
uint64_t availableMemory();

} // namespace moert

#endif // MOERT_SESSION_WEIGHTSTORE_H
