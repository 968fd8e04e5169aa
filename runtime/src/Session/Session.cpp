//===- Session.cpp - Running the functions of an artifact -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"

#include <set>

using namespace moert;

StatusOr<std::unique_ptr<Session>>
Session::create(std::shared_ptr<const Artifact> artifact,
                const SessionOptions &options) {
  std::unique_ptr<Session> session(new Session());
  session->source = std::move(artifact);
  MOE_RETURN_IF_ERROR(session->setUp(options));
  return StatusOr<std::unique_ptr<Session>>(std::move(session));
}

StatusOr<std::vector<uint32_t>>
Session::chooseFunctions(const SessionOptions &options) {
  const auto &functions = *source->plan().functions();
  std::vector<uint32_t> chosen;
  std::string known;
  for (const fb::Function *f : functions)
    known += concat(known.empty() ? "" : ", ", f->name()->string_view());
  for (const std::string &name : options.functions) {
    uint32_t index = 0;
    while (index < functions.size() &&
           functions.Get(index)->name()->string_view() != name)
      ++index;
    if (index == functions.size())
      return Status::error(2, concat("there is no function '", name, "'"))
          .at(source->path())
          .because(concat("the artifact has: ", known))
          .fix("name one of these");
    chosen.push_back(index);
  }
  if (options.functions.empty())
    for (uint32_t i = 0; i < functions.size(); ++i)
      chosen.push_back(i);
  return chosen;
}

Status Session::setUp(const SessionOptions &options) {
  const fb::Plan &plan = source->plan();
  MOE_ASSIGN_OR_RETURN(std::vector<uint32_t> functions,
                       chooseFunctions(options));
  timeout = options.device.dispatchTimeout;
  logLine = options.device.log;
  hal::DeviceOptions deviceOptions = options.device;
  deviceOptions.amxEmulated = source->emulatesAmx();
  // Functions that were not named may lack code for the device; calling them
  // is an error then.
  MOE_ASSIGN_OR_RETURN(opened, openDevice(options.deviceName, *source,
                                          options.functions.empty()
                                              ? std::vector<uint32_t>()
                                              : functions,
                                          deviceOptions));
  deviceFacts = opened.device->info();
  MOE_ASSIGN_OR_RETURN(stream, opened.device->createStream());
  MOE_RETURN_IF_ERROR(stream->prepare(*opened.code));
  MOE_RETURN_IF_ERROR(checkMemory(functions));
  std::set<uint32_t> constants;
  for (uint32_t index : functions)
    for (uint32_t constant :
         constantsOf(*plan.functions()->Get(index), deviceFacts.kind))
      constants.insert(constant);
  WeightStore::Options weights = options.weights;
  weights.timeout = timeout;
  MOE_RETURN_IF_ERROR(store.load(
      *opened.device, source,
      std::vector<uint32_t>(constants.begin(), constants.end()), weights));
  useGraphs = options.graphs && deviceFacts.graphs;
  if (options.graphs && !deviceFacts.graphs)
    log(concat(deviceFacts.name, " records no graphs, running without"));
  if (options.trace) {
    timeline = std::make_unique<Trace>(deviceFacts.traceTracks);
    stream->setTrace(timeline.get());
  }
  return {};
}

void Session::log(const std::string &line) const {
  if (logLine)
    logLine(line);
}

/// The weights of a large model should not travel for minutes before they turn
/// out not to fit.
Status Session::checkMemory(const std::vector<uint32_t> &functions) const {
  if (deviceFacts.sharesHostMemory)
    return {};
  const fb::Plan &plan = source->plan();
  const hal::MemoryInfo memory = opened.device->memory();
  std::set<uint32_t> seen;
  uint64_t total = 0;
  size_t fitting = 0;
  for (uint32_t index : functions) {
    for (uint32_t constant :
         constantsOf(*plan.functions()->Get(index), deviceFacts.kind))
      if (seen.insert(constant).second)
        total += plan.constants()->Get(constant)->bytes() + readSlack;
    fitting += total <= memory.free;
  }
  if (total <= memory.free)
    return {};
  std::string some;
  if (fitting)
    some = concat("load fewer functions (the weights of the first ", fitting,
                  " of ", functions.size(), " fit), ");
  return Status::error(602, concat("the weights need ", formatBytes(total),
                                   " on the GPU"))
      .at(source->path())
      .because(concat(formatBytes(memory.free), " of ",
                      formatBytes(memory.total), " are free on ",
                      deviceFacts.name, " (", deviceFacts.product, ")"))
      .fix(concat(some, "use a GPU with more memory, or --device=cpu"));
}

Session::~Session() {
  if (broken.empty() || !deviceFacts.sharesHostMemory)
    return;
  // A worker that missed its deadline may still use all of this.
  hal::keepForever(std::make_shared<WeightStore>(std::move(store)));
  hal::keepForever(std::move(opened.code));
  hal::keepForever(std::move(workspace));
  hal::keepForever(std::move(staging));
  hal::keepForever(std::move(timeline));
}

StatusOr<std::vector<std::vector<int64_t>>> Session::outputShapes(
    uint32_t index,
    const std::vector<std::vector<int64_t>> &inputShapes) const {
  const fb::Function &function = *source->plan().functions()->Get(index);
  MOE_ASSIGN_OR_RETURN(std::vector<int64_t> symbols,
                       bindSymbols(function, inputShapes));
  std::vector<std::vector<int64_t>> shapes;
  for (const fb::Tensor *output : *function.outputs()) {
    shapes.push_back(evaluateShape(*output, symbols));
    if (!shapeBytes(shapes.back(), 8))
      return Status::error(601,
                           concat("output '", output->name()->string_view(),
                                  "' overflows for this input"))
          .fix("call with fewer tokens");
  }
  return shapes;
}

uint64_t Session::workspaceBytes() const {
  std::lock_guard<std::mutex> lock(mutex);
  return workspace ? workspace->size() : 0;
}

uint64_t Session::arrayBytes() const {
  std::lock_guard<std::mutex> lock(mutex);
  return arrays ? arrays->size() : 0;
}

size_t Session::graphCount() const {
  std::lock_guard<std::mutex> lock(mutex);
  return graphs.size();
}

std::string Session::expertStatsJson() const {
  std::lock_guard<std::mutex> lock(mutex);
  return stats.toJson(source->metadata());
}

void Session::resetExpertStats() {
  std::lock_guard<std::mutex> lock(mutex);
  stats.reset();
}

std::string Session::traceJson() const {
  std::lock_guard<std::mutex> lock(mutex);
  return timeline ? timeline->toJson() : Trace(0).toJson();
}

/// Checks type, shape, alignment and presence of a caller's array.
static Status checkTensor(const char *kind, const fb::Tensor &declared,
                          const fb::Function &function,
                          const std::vector<int64_t> &shape,
                          const TensorView &given) {
  auto wrong = [&](std::string what) {
    return Status::error(13, concat(kind, " '", declared.name()->string_view(),
                                    "' ", what, ", needed is ",
                                    formatType(declared, function)))
        .at(concat("function '", function.name()->string_view(), "'"));
  };
  if (given.dtype != declared.dtype())
    return wrong(concat("is ", lowerName(given.dtype)))
        .fix("convert the array first");
  if (given.shape != shape)
    return wrong(concat("has shape ", formatShape(given.shape), " instead of ",
                        formatShape(shape)))
        .fix("give an array of this shape");
  const uint64_t elementBytes = byteSize(checkpointType(given.dtype));
  const bool empty = shapeBytes(shape, elementBytes).value_or(1) == 0;
  if (!given.data && !empty)
    return wrong("has no memory").fix("give its address");
  if (reinterpret_cast<uintptr_t>(given.data) % elementBytes)
    return wrong("is not aligned to its elements")
        .fix("copy it into aligned memory");
  return {};
}

Status Session::checkArguments(uint32_t index,
                               const std::vector<TensorView> &inputs,
                               const std::vector<TensorView> &outputs) {
  const fb::Function &function = *source->plan().functions()->Get(index);
  std::vector<std::vector<int64_t>> inputShapes;
  for (const TensorView &input : inputs)
    inputShapes.push_back(input.shape);
  MOE_RETURN_IF_ERROR(bindSymbols(function, inputShapes).status());
  for (uint32_t i = 0; i < inputs.size(); ++i)
    MOE_RETURN_IF_ERROR(checkTensor("input", *function.inputs()->Get(i),
                                    function, inputs[i].shape, inputs[i]));
  MOE_ASSIGN_OR_RETURN(std::vector<std::vector<int64_t>> shapes,
                       outputShapes(index, inputShapes));
  if (outputs.size() != shapes.size())
    return Status::error(13, concat(outputs.size(), " outputs are given, ",
                                    shapes.size(), " are needed"));
  for (uint32_t i = 0; i < outputs.size(); ++i)
    MOE_RETURN_IF_ERROR(checkTensor("output", *function.outputs()->Get(i),
                                    function, shapes[i], outputs[i]));
  return {};
}

Status Session::call(uint32_t index, const std::vector<TensorView> &inputs,
                     const std::vector<TensorView> &outputs) {
  std::lock_guard<std::mutex> lock(mutex);
  const int64_t begin = Trace::now();
  const fb::Plan &plan = source->plan();
  if (!broken.empty())
    return Status::error(deviceFacts.sharesHostMemory ? 15 : 320,
                         concat("the session is not usable after ", broken))
        .fix("create a new session");
  if (index >= plan.functions()->size())
    return Status::error(2, concat("there is no function ", index));
  const fb::Function &function = *plan.functions()->Get(index);
  MOE_RETURN_IF_ERROR(checkArguments(index, inputs, outputs));
  std::vector<std::vector<int64_t>> inputShapes;
  for (const TensorView &input : inputs)
    inputShapes.push_back(input.shape);
  MOE_ASSIGN_OR_RETURN(std::vector<int64_t> symbols,
                       bindSymbols(function, inputShapes));
  const fb::Variant *variant =
      selectVariant(function, symbols, deviceFacts.kind);
  if (!variant)
    return noCodeFor(*source, function, deviceFacts.kind);
  for (uint32_t constant : constantsOf(function, deviceFacts.kind))
    if (!store.loaded(constant))
      return Status::error(2,
                           concat("function '", function.name()->string_view(),
                                  "' was left out of this session"))
          .fix("name it when the session is created");

  if (replayedRoutes && replayedRoutes->function != function.name()->str())
    return Status::error(16, concat("the routes are of function '",
                                    replayedRoutes->function, "'"))
        .at(concat("function '", function.name()->string_view(), "'"))
        .fix("stop the replay before other functions are called");
  recordedRoutes.reset();

  Call call(index, function, *variant, std::move(symbols), inputs, outputs,
            store, plan, recordsRoutes, replayedRoutes.has_value());
  Status status = runCall(call);
  if (status.number() == 15)
    broken = "a missed deadline";
  else if (status.number() == 320)
    broken = "the GPU stopped";
  if (timeline)
    timeline->span(0, function.name()->str(), begin, Trace::now());
  return std::move(status).at(
      concat("function '", function.name()->string_view(), "'"));
}
