//===- Call.h - One call of a function ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_SRC_SESSION_CALL_H
#define MOERT_SRC_SESSION_CALL_H

#include "moert/Session/Session.h"

namespace moert {

/// Everything that one call resolves once: symbol values, places of arrays,
/// buffers and records.
struct Session::Call {
  Call(uint32_t index, const fb::Function &function, const fb::Variant &variant,
       std::vector<int64_t> symbols, const std::vector<TensorView> &inputs,
       const std::vector<TensorView> &outputs, const WeightStore &store,
       const fb::Plan &plan, bool recordsRoutes, bool replaysRoutes)
      : index(index), function(function), variant(variant),
        symbols(std::move(symbols)), inputs(inputs), outputs(outputs),
        store(store), plan(plan), recordsRoutes(recordsRoutes),
        replaysRoutes(replaysRoutes) {}

  /// Lays out buffers, and arrays unless the device `sharesMemory`. MOE0601
  /// when a size overflows, MOE0303 when a record or a tap would be outside its
  /// memory.
  Status layOut(bool sharesMemory);

  /// Finds the taps and places what they copy with `place(end, bytes)`.
  template <typename F> Status layOutTaps(F place) {
    for (const fb::CommandEntry *entry : *variant.commands()) {
      const fb::TapRoutes *tap = entry->command_as_TapRoutes();
      if (!tap)
        continue;
      MOE_ASSIGN_OR_RETURN(uint64_t tokens, evaluate(*tap->tokens(), symbols));
      std::optional<uint64_t> bytes =
          checkedMul(tokens, uint64_t(tap->per_token()) * sizeof(int32_t));
      if (!bytes || *bytes > size(*tap->ids()) ||
          *bytes > size(*tap->weights()))
        return Status::error(303, concat("routes of layer '",
                                         tap->layer()->string_view(),
                                         "' are larger than their memory"))
            .fix("compile the model again");
      const uint64_t recorded =
          recordsRoutes ? place(stagingBytes, 2 * *bytes) : 0;
      const uint64_t replayed =
          replaysRoutes ? place(stagingBytes, 2 * *bytes) : 0;
      taps.push_back({tap, int64_t(tokens), *bytes, recorded, replayed});
    }
    return {};
  }

  /// What a kernel gets for `arg`. An array of no elements may have a null
  /// pointer.
  moert_arg resolve(const fb::Arg &arg) const;
  uint64_t size(const fb::Arg &arg) const;
  static uint64_t bytesOf(const TensorView &tensor);

  /// Calls body(tensor, offset) for all inputs, or all outputs, that have
  /// elements.
  template <typename F>
  Status forEach(const std::vector<TensorView> &list,
                 const std::vector<uint64_t> &offsets, F body) const {
    for (size_t i = 0; i < list.size(); ++i)
      if (bytesOf(list[i]))
        MOE_RETURN_IF_ERROR(body(list[i], offsets[i]));
    return {};
  }

  struct Record {
    const fb::RecordExperts *command;
    /// In the staging buffer: offsets, and the counts of dropped pairs.
    uint64_t offset, dropped;
  };

  struct Tap {
    const fb::TapRoutes *command;
    int64_t tokens;
    /// Of the ids, and of the weights.
    uint64_t bytes;
    /// In the staging buffer: the ids, behind them the weights.
    uint64_t recorded, replayed;
    /// What is replayed.
    const Routes::Layer *layer = nullptr;
  };

  const uint32_t index;
  const fb::Function &function;
  const fb::Variant &variant;
  const std::vector<int64_t> symbols;
  const std::vector<TensorView> &inputs, &outputs;
  const WeightStore &store;
  const fb::Plan &plan;
  const bool recordsRoutes, replaysRoutes;
  WorkspaceLayout layout;
  bool inPlace = true;
  /// Of arrays on the device and in the staging buffer.
  std::vector<uint64_t> inputOffsets, outputOffsets;
  uint64_t arrayBytes = 0;
  uint64_t stagingBytes = 0;
  std::vector<Record> records;
  /// All of the variant when routes are recorded or replayed, else none.
  std::vector<Tap> taps;
  uint8_t *workspace = nullptr, *arrays = nullptr, *staging = nullptr;
};

} // namespace moert

#endif // MOERT_SRC_SESSION_CALL_H
