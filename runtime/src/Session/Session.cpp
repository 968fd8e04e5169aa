//===- Session.cpp - Running the functions of an artifact -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Session/Session.h"

#include <algorithm>
#include <cstring>
#include <set>

using namespace moert;

/// Everything that one call resolves once: symbol values, places of buffers.
struct Session::Call {
  const fb::Function &function;
  const fb::Variant &variant;
  std::vector<int64_t> symbols;
  WorkspaceLayout layout;
  uint8_t *workspace;
  const std::vector<TensorView> &inputs;
  const std::vector<TensorView> &outputs;
  const WeightStore &store;
  const fb::Plan &plan;

  static uint64_t bytesOf(const TensorView &tensor) {
    return shapeBytes(tensor.shape, byteSize(checkpointType(tensor.dtype)))
        .value_or(0);
  }

  /// What a kernel gets for `arg`. An array of no elements may have a null
  /// pointer.
  moert_arg resolve(const fb::Arg &arg) const {
    moert_arg value;
    value.i64 = 0;
    switch (arg.kind()) {
    case fb::ArgKind::Input:
      value.ptr = inputs[arg.index()].data;
      break;
    case fb::ArgKind::Output:
      value.ptr = outputs[arg.index()].data;
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

  uint64_t size(const fb::Arg &arg) const {
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
};

StatusOr<std::unique_ptr<Session>>
Session::create(std::shared_ptr<const Artifact> artifact,
                const SessionOptions &options) {
  std::unique_ptr<Session> session(new Session());
  session->source = std::move(artifact);
  MOE_RETURN_IF_ERROR(session->setUp(options));
  return StatusOr<std::unique_ptr<Session>>(std::move(session));
}

Status Session::setUp(const SessionOptions &options) {
  const fb::Plan &plan = source->plan();
  hal::Driver *driver = hal::findDriver(options.driver);
  if (!driver)
    return Status::error(2, concat("there is no driver '", options.driver, "'"))
        .fix("use cpu");
  std::set<uint32_t> constants;
  auto need = [&](const fb::Function &function) {
    for (uint32_t index : constantsOf(function, fb::DeviceKind::Cpu))
      constants.insert(index);
  };
  for (const std::string &name : options.functions) {
    const fb::Function *function = findFunction(plan, name);
    if (!function) {
      std::string known;
      for (const fb::Function *f : *plan.functions())
        known += concat(known.empty() ? "" : ", ", f->name()->string_view());
      return Status::error(2, concat("there is no function '", name, "'"))
          .at(source->path())
          .because(concat("the artifact has: ", known))
          .fix("name one of these");
    }
    need(*function);
  }
  if (options.functions.empty())
    for (const fb::Function *function : *plan.functions())
      need(*function);

  timeout = options.device.dispatchTimeout;
  hal::DeviceOptions deviceOptions = options.device;
  deviceOptions.amxEmulated = source->emulatesAmx();
  MOE_ASSIGN_OR_RETURN(device, driver->open(deviceOptions));
  MOE_ASSIGN_OR_RETURN(code, device->load(*source));
  MOE_ASSIGN_OR_RETURN(stream, device->createStream());
  MOE_RETURN_IF_ERROR(
      store.load(*device, source,
                 std::vector<uint32_t>(constants.begin(), constants.end()),
                 options.weights));
  if (options.trace) {
    timeline = std::make_unique<Trace>(device->info().workers);
    stream->setTrace(timeline.get());
  }
  return {};
}

Session::~Session() {
  if (!broken)
    return;
  // A worker that missed its deadline may still use all of this.
  hal::keepForever(std::make_shared<WeightStore>(std::move(store)));
  hal::keepForever(std::move(code));
  hal::keepForever(std::move(workspace));
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

Status Session::reserve(uint64_t bytes) {
  if (workspace && workspace->size() >= bytes)
    return {};
  workspace.reset();
  MOE_ASSIGN_OR_RETURN(workspace,
                       device->allocate(bytes, hal::BufferUse::Workspace));
  return {};
}

Status Session::call(uint32_t index, const std::vector<TensorView> &inputs,
                     const std::vector<TensorView> &outputs) {
  std::lock_guard<std::mutex> lock(mutex);
  const int64_t begin = Trace::now();
  const fb::Plan &plan = source->plan();
  if (broken)
    return Status::error(15, "the session is not usable after a missed "
                             "deadline")
        .fix("create a new session");
  if (index >= plan.functions()->size())
    return Status::error(2, concat("there is no function ", index));
  const fb::Function &function = *plan.functions()->Get(index);
  std::vector<std::vector<int64_t>> inputShapes;
  for (const TensorView &input : inputs)
    inputShapes.push_back(input.shape);
  MOE_ASSIGN_OR_RETURN(std::vector<int64_t> symbols,
                       bindSymbols(function, inputShapes));
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
  for (uint32_t constant : constantsOf(function, fb::DeviceKind::Cpu))
    if (!store.loaded(constant))
      return Status::error(2,
                           concat("function '", function.name()->string_view(),
                                  "' was left out of this session"))
          .fix("name it when the session is created");

  const fb::Variant &variant =
      *selectVariant(function, symbols, fb::DeviceKind::Cpu);
  MOE_ASSIGN_OR_RETURN(WorkspaceLayout layout,
                       layoutWorkspace(variant, symbols));
  MOE_RETURN_IF_ERROR(reserve(layout.bytes));
  Call call{function,
            variant,
            std::move(symbols),
            std::move(layout),
            static_cast<uint8_t *>(workspace->address()),
            inputs,
            outputs,
            store,
            plan};
  Status status;
  for (const fb::CommandEntry *entry : *variant.commands()) {
    status = run(*entry, call);
    if (!status.ok())
      break;
  }
  if (status.ok())
    status = stream->synchronize(hal::deadlineIn(timeout));
  broken = status.number() == 15;
  if (timeline)
    timeline->span(0, function.name()->str(), begin, Trace::now());
  return std::move(status).at(
      concat("function '", function.name()->string_view(), "'"));
}

Status Session::run(const fb::CommandEntry &entry, const Call &call) {
  const int64_t begin = timeline ? Trace::now() : 0;
  std::string_view label;
  Status status;
  if (const fb::Dispatch *dispatch = entry.command_as_Dispatch()) {
    label = dispatch->label()->string_view();
    status = runDispatch(*dispatch, call);
  } else if (const fb::Copy *copy = entry.command_as_Copy()) {
    label = copy->label()->string_view();
    status = runCopy(*copy, call);
  } else if (const fb::RecordExperts *record =
                 entry.command_as_RecordExperts()) {
    label = "record experts";
    status = runRecord(*record, call);
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
  return stream->dispatch(
      *code, {dispatch.kernel(), dispatch.grid(), args.data(),
              static_cast<uint32_t>(args.size()), dispatch.label()->c_str()});
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

Status Session::runRecord(const fb::RecordExperts &record, const Call &call) {
  const fb::Arg &arg = *record.offsets();
  if (call.size(arg) < (uint64_t(record.experts()) + 1) * sizeof(int32_t))
    return Status::error(303,
                         concat("expert offsets of layer '",
                                record.layer()->string_view(), "' are too few"))
        .fix("compile the model again");
  MOE_RETURN_IF_ERROR(stream->synchronize(hal::deadlineIn(timeout)));
  // An input is aligned to its own element type only.
  std::vector<int32_t> offsets(record.experts() + 1);
  std::memcpy(offsets.data(), call.resolve(arg).ptr,
              offsets.size() * sizeof(int32_t));
  stats.record(record.layer()->string_view(), record.experts(), offsets.data(),
               call.symbols.empty() ? 0 : call.symbols[0]);
  return {};
}
