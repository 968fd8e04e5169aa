//===- SessionCall.cpp - Running one call of a function -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

#include <algorithm>
#include <cstring>

using namespace moert;

/// Arrays and records lie at multiples of this, as kernels like it.
static constexpr uint64_t arrayAlignment = 256;
/// Recordings that a session keeps; the one not used for longest goes.
static constexpr size_t maxGraphs = 32;

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

uint64_t Session::Call::bytesOf(const TensorView &tensor) {
  return shapeBytes(tensor.shape, byteSize(checkpointType(tensor.dtype)))
      .value_or(0);
}

moert_arg Session::Call::resolve(const fb::Arg &arg) const {
  moert_arg value;
  value.i64 = 0;
  switch (arg.kind()) {
  case fb::ArgKind::Input:
    value.ptr =
        inPlace ? inputs[arg.index()].data : arrays + inputOffsets[arg.index()];
    break;
  case fb::ArgKind::Output:
    value.ptr = inPlace ? outputs[arg.index()].data
                        : arrays + outputOffsets[arg.index()];
    break;
  case fb::ArgKind::Buffer:
    value.ptr = workspace + layout.offsets[arg.index()];
    break;
  case fb::ArgKind::Constant:
    value.ptr = store.address(arg.index());
    break;
  case fb::ArgKind::Symbol:
    value.i64 = symbols[arg.index()];
    break;
  }
  return value;
}

uint64_t Session::Call::size(const fb::Arg &arg) const {
  switch (arg.kind()) {
  case fb::ArgKind::Input:
    return bytesOf(inputs[arg.index()]);
  case fb::ArgKind::Output:
    return bytesOf(outputs[arg.index()]);
  case fb::ArgKind::Buffer:
    return layout.sizes[arg.index()];
  case fb::ArgKind::Constant:
    return plan.constants()->Get(arg.index())->bytes();
  case fb::ArgKind::Symbol:
    break;
  }
  return 0;
}

Status Session::Call::layOut(bool sharesMemory) {
  MOE_ASSIGN_OR_RETURN(layout, layoutWorkspace(variant, symbols));
  inPlace = sharesMemory;
  bool overflow = false;
  auto place = [&](uint64_t &end, uint64_t bytes) {
    const uint64_t at = end;
    // A sum that did not overflow is below 2^63, rounded up as well.
    const uint64_t most = uint64_t(INT64_MAX) - 2 * arrayAlignment;
    overflow |= at > most || bytes > most - at;
    if (!overflow)
      end = (at + bytes + arrayAlignment - 1) / arrayAlignment * arrayAlignment;
    return at;
  };
  if (!inPlace) {
    for (const TensorView &input : inputs)
      inputOffsets.push_back(place(arrayBytes, bytesOf(input)));
    for (const TensorView &output : outputs)
      outputOffsets.push_back(place(arrayBytes, bytesOf(output)));
  }
  stagingBytes = arrayBytes;
  for (const fb::CommandEntry *entry : *variant.commands()) {
    const fb::RecordExperts *record = entry->command_as_RecordExperts();
    if (!record)
      continue;
    const uint64_t bytes = (uint64_t(record->experts()) + 1) * sizeof(int32_t);
    if (size(*record->offsets()) < bytes)
      return Status::error(303, concat("expert offsets of layer '",
                                       record->layer()->string_view(),
                                       "' are too few"))
          .fix("compile the model again");
    const uint64_t droppedBytes = bytes - sizeof(int32_t);
    if (record->dropped() && size(*record->dropped()) < droppedBytes)
      return Status::error(303, concat("counts of dropped pairs of layer '",
                                       record->layer()->string_view(),
                                       "' are too few"))
          .fix("compile the model again");
    const uint64_t offset = place(stagingBytes, bytes);
    records.push_back(
        {record, offset,
         record->dropped() ? place(stagingBytes, droppedBytes) : 0});
  }
  if (recordsRoutes || replaysRoutes)
    MOE_RETURN_IF_ERROR(layOutTaps(place));
  if (overflow)
    return Status::error(601, "the inputs and outputs of this call overflow")
        .because("the sizes of this call are beyond 63 bits")
        .fix("call with fewer tokens");
  return {};
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Status Session::grow(std::unique_ptr<hal::Buffer> &buffer, uint64_t bytes,
                     hal::BufferUse use) {
  if (buffer && buffer->size() >= bytes)
    return {};
  // Recordings name buffers by address.
  graphs.clear();
  buffer.reset();
  MOE_ASSIGN_OR_RETURN(buffer, opened.device->allocate(bytes, use));
  return {};
}

Status Session::reserve(Call &call) {
  Status status = grow(workspace, call.layout.bytes, hal::BufferUse::Workspace);
  if (status.ok() && !call.inPlace)
    status = grow(arrays, call.arrayBytes, hal::BufferUse::Workspace);
  if (status.number() == 601 && !call.inPlace)
    return doesNotFit(call, std::move(status));
  MOE_RETURN_IF_ERROR(status);
  if (call.stagingBytes)
    MOE_RETURN_IF_ERROR(
        grow(staging, call.stagingBytes, hal::BufferUse::Staging));
  call.workspace = static_cast<uint8_t *>(workspace->address());
  if (arrays)
    call.arrays = static_cast<uint8_t *>(arrays->address());
  if (staging)
    call.staging = static_cast<uint8_t *>(staging->hostAddress());
  return {};
}

/// How a call that needs more memory than there is could be made smaller.
Status Session::doesNotFit(const Call &call, Status reason) const {
  const hal::MemoryInfo memory = opened.device->memory();
  uint64_t available = memory.free;
  for (const auto *buffer : {&workspace, &arrays})
    available += *buffer ? (*buffer)->size() : 0;
  // The need for other values of the first symbol, UINT64_MAX when too large.
  auto need = [&](int64_t value) -> uint64_t {
    std::vector<int64_t> symbols = call.symbols;
    symbols[0] = value;
    const fb::Variant *variant =
        selectVariant(call.function, symbols, deviceFacts.kind);
    StatusOr<WorkspaceLayout> layout = layoutWorkspace(*variant, symbols);
    if (!layout.ok())
      return UINT64_MAX;
    uint64_t bytes = layout->bytes + 2 * readSlack;
    for (const auto *list : {call.function.inputs(), call.function.outputs()})
      for (const fb::Tensor *tensor : *list)
        bytes += shapeBytes(evaluateShape(*tensor, symbols),
                            byteSize(checkpointType(tensor->dtype())))
                     .value_or(UINT64_MAX / 4) +
                 arrayAlignment;
    return bytes;
  };
  std::string fix = "use a GPU with more memory, or --device=cpu";
  if (!call.symbols.empty()) {
    int64_t low = call.function.symbols()->Get(0)->min() - 1;
    int64_t high = call.symbols[0];
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      (need(middle) <= available ? low : high) = middle;
    }
    if (low > 0)
      fix = concat("call with at most ", low, " (",
                   call.function.symbols()->Get(0)->name()->string_view(),
                   "), or ", fix);
  }
  return Status::error(602,
                       concat("the call needs ", formatBytes(call.layout.bytes),
                              " + ", formatBytes(call.arrayBytes),
                              " on the GPU for workspace and arrays"))
      .because(reason.because().empty()
                   ? reason.what()
                   : concat(reason.because(), " beside the weights of ",
                            formatBytes(store.bytes())))
      .fix(std::move(fix));
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

Status Session::runCall(Call &call) {
  MOE_RETURN_IF_ERROR(call.layOut(deviceFacts.sharesHostMemory));
  MOE_RETURN_IF_ERROR(matchReplay(call));
  MOE_RETURN_IF_ERROR(reserve(call));
  stageReplay(call);
  if (!call.inPlace)
    MOE_RETURN_IF_ERROR(call.forEach(
        call.inputs, call.inputOffsets,
        [&](const TensorView &input, uint64_t offset) -> Status {
          std::memcpy(call.staging + offset, input.data, Call::bytesOf(input));
          return {};
        }));
  Status status = execute(call);
  // After a failure too: commands on their way use buffers of this session.
  Status finished = stream->synchronize(hal::deadlineIn(timeout));
  if (status.ok() || finished.number() == 15 || finished.number() == 320)
    status = std::move(finished);
  MOE_RETURN_IF_ERROR(status);
  finishRecords(call);
  finishTaps(call);
  if (call.inPlace)
    return {};
  return call.forEach(call.outputs, call.outputOffsets,
                      [&](const TensorView &output, uint64_t offset) -> Status {
                        std::memcpy(output.data, call.staging + offset,
                                    Call::bytesOf(output));
                        return {};
                      });
}

Status Session::execute(const Call &call) {
  if (!useGraphs)
    return enqueue(call);
  StatusOr<hal::Graph *> graph = recorded(call);
  if (graph.ok())
    return stream->launch(**graph);
  if (graph.status().number() != 321)
    return std::move(graph).status();
  useGraphs = false;
  log(concat("recording a graph failed, running without: ",
             graph.status().what(), ": ", graph.status().because()));
  return enqueue(call);
}

StatusOr<hal::Graph *> Session::recorded(const Call &call) {
  const GraphKey key(call.index, call.symbols,
                     uint32_t(call.recordsRoutes) | uint32_t(call.replaysRoutes)
                                                        << 1);
  for (auto it = graphs.begin(); it != graphs.end(); ++it)
    if (it->first == key) {
      graphs.splice(graphs.begin(), graphs, it);
      return it->second.get();
    }
  Status status = stream->beginCapture();
  if (status.ok())
    status = enqueue(call);
  // Also after a failure, which a stream that records keeps to itself.
  StatusOr<std::unique_ptr<hal::Graph>> graph = stream->endCapture();
  MOE_RETURN_IF_ERROR(status);
  if (!graph.ok())
    return std::move(graph).status();
  if (graphs.size() == maxGraphs)
    graphs.pop_back();
  graphs.emplace_front(key, graph.take());
  return graphs.front().second.get();
}

Status Session::enqueue(const Call &call) {
  if (!call.inPlace)
    MOE_RETURN_IF_ERROR(call.forEach(
        call.inputs, call.inputOffsets,
        [&](const TensorView &input, uint64_t offset) {
          return stream->copy(call.arrays + offset, call.staging + offset,
                              Call::bytesOf(input));
        }));
  size_t record = 0, tap = 0;
  for (const fb::CommandEntry *entry : *call.variant.commands())
    MOE_RETURN_IF_ERROR(run(*entry, call, record, tap));
  if (call.inPlace)
    return {};
  return call.forEach(call.outputs, call.outputOffsets,
                      [&](const TensorView &output, uint64_t offset) {
                        return stream->copy(call.staging + offset,
                                            call.arrays + offset,
                                            Call::bytesOf(output));
                      });
}

Status Session::run(const fb::CommandEntry &entry, const Call &call,
                    size_t &record, size_t &tap) {
  // A tap that does nothing leaves no span either.
  if (entry.command_as_TapRoutes() && call.taps.empty())
    return {};
  const int64_t begin = timeline ? Trace::now() : 0;
  std::string_view label;
  Status status;
  if (const fb::Dispatch *dispatch = entry.command_as_Dispatch()) {
    label = dispatch->label()->string_view();
    status = runDispatch(*dispatch, call);
  } else if (const fb::Copy *copy = entry.command_as_Copy()) {
    label = copy->label()->string_view();
    status = runCopy(*copy, call);
  } else if (const fb::RecordExperts *command =
                 entry.command_as_RecordExperts()) {
    label = "record experts";
    const Call::Record &place = call.records[record++];
    const uint64_t bytes = uint64_t(command->experts()) * sizeof(int32_t);
    status = stream->copy(call.staging + place.offset,
                          call.resolve(*command->offsets()).ptr,
                          bytes + sizeof(int32_t));
    if (status.ok() && command->dropped())
      status = stream->copy(call.staging + place.dropped,
                            call.resolve(*command->dropped()).ptr, bytes);
  } else if (entry.command_as_TapRoutes()) {
    label = "tap routes";
    status = runTap(call, tap++);
  }
  if (timeline)
    timeline->span(0, std::string(label), begin, Trace::now());
  return status;
}

Status Session::runDispatch(const fb::Dispatch &dispatch, const Call &call) {
  std::vector<moert_arg> args;
  args.reserve(dispatch.args()->size());
  for (const fb::Arg *arg : *dispatch.args())
    args.push_back(call.resolve(*arg));
  return stream->dispatch(*opened.code,
                          {dispatch.kernel(), dispatch.grid(), args.data(),
                           static_cast<uint32_t>(args.size()),
                           dispatch.label()->c_str()});
}

Status Session::runCopy(const fb::Copy &copy, const Call &call) {
  MOE_ASSIGN_OR_RETURN(uint64_t bytes, evaluate(*copy.size(), call.symbols));
  if (bytes > call.size(*copy.source()) || bytes > call.size(*copy.target()))
    return Status::error(303,
                         concat("copy '", copy.label()->string_view(), "' of ",
                                bytes, " bytes is larger than its memory"))
        .fix("compile the model again");
  return stream->copy(call.resolve(*copy.target()).ptr,
                      call.resolve(*copy.source()).ptr, bytes);
}

void Session::finishRecords(const Call &call) {
  for (const Call::Record &record : call.records) {
    // In a replay the limits cut a choice that was not used.
    const bool drops = record.command->dropped() && !call.replaysRoutes;
    auto at = [&](uint64_t offset) {
      return reinterpret_cast<const int32_t *>(call.staging + offset);
    };
    stats.record(record.command->layer()->string_view(),
                 record.command->experts(), at(record.offset),
                 drops ? at(record.dropped) : nullptr,
                 call.symbols.empty() ? 0 : call.symbols[0]);
  }
}
