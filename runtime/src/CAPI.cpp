//===- CAPI.cpp - C interface of the MoE runtime --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/moert.h"

#include "moert/Session/Session.h"

#include <cstring>
#include <new>

using namespace moert;

static_assert(int(fb::DType::F32) == MOERT_F32 &&
                  int(fb::DType::U8) == MOERT_U8 &&
                  fb::DType::MAX == fb::DType::U8,
              "moert_dtype follows Plan.fbs");

struct moert_module {
  struct Info {
    std::vector<moert_dim> dims;
    moert_tensor_info info;
  };
  struct Function {
    std::vector<Info> inputs, outputs;
  };
  std::shared_ptr<const Artifact> artifact;
  std::vector<Function> functions;
};

struct moert_session {
  std::unique_ptr<Session> session;
  std::string isa, device, stats, trace;
  std::mutex mutex; // Guards the strings.
};

namespace {

thread_local std::string lastError;

int32_t finish(const Status &status) {
  if (!status.ok())
    lastError = status.toString();
  return status.number();
}

/// Runs `body` and turns what the standard library throws into an error.
template <typename F> int32_t guarded(F body) noexcept {
  try {
    return finish(body());
  } catch (const std::bad_alloc &) {
    // The small string fits without another allocation.
    lastError.clear();
    return 601;
  } catch (...) {
    return 9000;
  }
}

Status nullArgument(const char *what) {
  return Status::error(2, concat("argument '", what, "' is null"));
}

moert_module::Info describe(const fb::Tensor &tensor,
                            const fb::Function &function) {
  moert_module::Info result;
  for (const fb::Dim *dim : *tensor.dims()) {
    if (dim->symbol() < 0) {
      result.dims.push_back(
          {dim->constant(), nullptr, dim->constant(), dim->constant()});
      continue;
    }
    const fb::Symbol &symbol = *function.symbols()->Get(dim->symbol());
    result.dims.push_back(
        {-1, symbol.name()->c_str(), symbol.min(), symbol.max()});
  }
  result.info = {sizeof(moert_tensor_info), tensor.name()->c_str(),
                 int32_t(tensor.dtype()), uint32_t(result.dims.size()),
                 nullptr};
  return result;
}

Status checkTensors(const moert_tensor *tensors, uint32_t count,
                    std::vector<TensorView> &out) {
  if (count && !tensors)
    return nullArgument("tensors");
  // Callers compiled against a longer struct have a longer stride.
  const char *next = reinterpret_cast<const char *>(tensors);
  for (uint32_t i = 0; i < count; ++i) {
    moert_tensor tensor;
    std::memcpy(&tensor.struct_size, next, sizeof(size_t));
    if (tensor.struct_size < sizeof(moert_tensor))
      return Status::error(2, concat("struct_size ", tensor.struct_size,
                                     " of a tensor is too small"));
    const size_t stride = tensor.struct_size;
    std::memcpy(&tensor, next, sizeof(moert_tensor));
    next += stride;
    if (tensor.dtype < 0 || tensor.dtype > MOERT_U8)
      return Status::error(
          2, concat("tensor ", i, " has unknown type ", tensor.dtype));
    if (tensor.rank > 64 || (tensor.rank && !tensor.shape))
      return Status::error(2, concat("tensor ", i, " has no shape"));
    TensorView view;
    view.dtype = static_cast<fb::DType>(tensor.dtype);
    view.shape.assign(tensor.shape, tensor.shape + tensor.rank);
    view.data = tensor.data;
    out.push_back(std::move(view));
  }
  return {};
}

/// Copies what the caller knows of a struct; the rest keeps its default.
template <typename T> Status readStruct(const T *given, T &out) {
  out = {};
  if (!given)
    return {};
  size_t size;
  std::memcpy(&size, given, sizeof(size));
  if (size < sizeof(size_t))
    return Status::error(2, concat("struct_size ", size, " is too small"));
  std::memcpy(&out, given, size < sizeof(T) ? size : sizeof(T));
  return {};
}

Status query(const moert_module *module, uint32_t function, bool output,
             uint32_t index, moert_tensor_info *out) {
  if (!module || !out)
    return nullArgument(module ? "out" : "module");
  if (function >= module->functions.size())
    return Status::error(2, concat("there is no function ", function));
  const auto &list = output ? module->functions[function].outputs
                            : module->functions[function].inputs;
  if (index >= list.size())
    return Status::error(2, concat("the function has no ",
                                   output ? "output " : "input ", index));
  moert_tensor_info info = list[index].info;
  info.dims = list[index].dims.data();
  const size_t size = out->struct_size;
  if (size < sizeof(size_t))
    return Status::error(2, concat("struct_size ", size, " is too small"));
  std::memcpy(out, &info, size < sizeof(info) ? size : sizeof(info));
  out->struct_size = size;
  return {};
}

} // namespace

uint32_t moert_abi_version(void) { return MOERT_ABI_VERSION; }

const char *moert_version(void) { return MOERT_VERSION; }

const char *moert_last_error(void) { return lastError.c_str(); }

int32_t moert_exit_code(int32_t error) {
  return error == 0 ? 0 : errorInfo(error).exitCode;
}

int32_t moert_module_open(const char *path, moert_module **out) {
  return guarded([&]() -> Status {
    if (!path || !out)
      return nullArgument(path ? "out" : "path");
    auto module = std::make_unique<moert_module>();
    MOE_ASSIGN_OR_RETURN(module->artifact, Artifact::open(path));
    for (const fb::Function *function : *module->artifact->plan().functions()) {
      module->functions.emplace_back();
      for (const fb::Tensor *tensor : *function->inputs())
        module->functions.back().inputs.push_back(describe(*tensor, *function));
      for (const fb::Tensor *tensor : *function->outputs())
        module->functions.back().outputs.push_back(
            describe(*tensor, *function));
    }
    *out = module.release();
    return {};
  });
}

void moert_module_close(moert_module *module) { delete module; }

const char *moert_module_metadata(const moert_module *module) {
  return module ? module->artifact->metadata().json.c_str() : "";
}

uint32_t moert_module_function_count(const moert_module *module) {
  return module ? uint32_t(module->functions.size()) : 0;
}

const char *moert_module_function_name(const moert_module *module,
                                       uint32_t function) {
  if (!module || function >= module->functions.size())
    return nullptr;
  return module->artifact->plan().functions()->Get(function)->name()->c_str();
}

int32_t moert_module_find_function(const moert_module *module, const char *name,
                                   uint32_t *out) {
  return guarded([&]() -> Status {
    if (!module || !name || !out)
      return nullArgument(!module ? "module" : !name ? "name" : "out");
    const auto &functions = *module->artifact->plan().functions();
    std::string known;
    for (uint32_t i = 0; i < functions.size(); ++i) {
      if (functions.Get(i)->name()->string_view() == name) {
        *out = i;
        return {};
      }
      known += concat(i ? ", " : "", functions.Get(i)->name()->string_view());
    }
    return Status::error(2, concat("there is no function '", name, "'"))
        .at(module->artifact->path())
        .because(concat("the artifact has: ", known))
        .fix("name one of these");
  });
}

uint32_t moert_function_input_count(const moert_module *module,
                                    uint32_t function) {
  if (!module || function >= module->functions.size())
    return 0;
  return uint32_t(module->functions[function].inputs.size());
}

uint32_t moert_function_output_count(const moert_module *module,
                                     uint32_t function) {
  if (!module || function >= module->functions.size())
    return 0;
  return uint32_t(module->functions[function].outputs.size());
}

int32_t moert_function_input(const moert_module *module, uint32_t function,
                             uint32_t input, moert_tensor_info *out) {
  return guarded([&] { return query(module, function, false, input, out); });
}

int32_t moert_function_output(const moert_module *module, uint32_t function,
                              uint32_t output, moert_tensor_info *out) {
  return guarded([&] { return query(module, function, true, output, out); });
}

int32_t moert_session_create(const moert_module *module,
                             const moert_session_options *options,
                             moert_session **out) {
  return guarded([&]() -> Status {
    if (!module || !out)
      return nullArgument(module ? "out" : "module");
    moert_session_options given;
    MOE_RETURN_IF_ERROR(readStruct(options, given));
    SessionOptions own;
    own.device.threads = given.threads;
    own.device.isa = given.isa ? given.isa : "";
    own.device.parallel = given.parallel;
    own.device.parallelUser = given.parallel_user;
    if (given.dispatch_timeout > 0)
      own.device.dispatchTimeout = given.dispatch_timeout;
    own.weights.path = given.weights ? given.weights : "";
    own.weights.verifyContents = given.verify_weights != 0;
    own.trace = given.trace != 0;
    own.deviceName = given.device ? given.device : "auto";
    own.graphs = given.graphs != 0;
    if (given.log)
      own.device.log = [=](const std::string &line) {
        given.log(given.log_user, line.c_str());
      };
    if (given.progress)
      own.weights.progress = [=](uint64_t done, uint64_t total) {
        given.progress(given.progress_user, done, total);
      };
    if (given.function_count && !given.functions)
      return nullArgument("functions");
    for (uint32_t i = 0; i < given.function_count; ++i)
      own.functions.emplace_back(given.functions[i] ? given.functions[i] : "");
    auto session = std::make_unique<moert_session>();
    MOE_ASSIGN_OR_RETURN(session->session,
                         Session::create(module->artifact, own));
    session->isa = session->session->deviceInfo().level;
    session->device = session->session->deviceInfo().name;
    *out = session.release();
    return {};
  });
}

void moert_session_destroy(moert_session *session) { delete session; }

int32_t moert_session_output_shapes(const moert_session *session,
                                    uint32_t function,
                                    const moert_tensor *inputs,
                                    uint32_t input_count, int64_t *shapes,
                                    uint32_t capacity) {
  return guarded([&]() -> Status {
    if (!session || (capacity && !shapes))
      return nullArgument(session ? "shapes" : "session");
    if (function >= session->session->artifact().plan().functions()->size())
      return Status::error(2, concat("there is no function ", function));
    std::vector<TensorView> views;
    MOE_RETURN_IF_ERROR(checkTensors(inputs, input_count, views));
    std::vector<std::vector<int64_t>> inputShapes;
    for (TensorView &view : views)
      inputShapes.push_back(std::move(view.shape));
    MOE_ASSIGN_OR_RETURN(std::vector<std::vector<int64_t>> result,
                         session->session->outputShapes(function, inputShapes));
    uint32_t written = 0;
    for (const std::vector<int64_t> &shape : result)
      for (int64_t dim : shape) {
        if (written == capacity)
          return Status::error(
              2, concat("room for ", capacity, " dimensions is too small"));
        shapes[written++] = dim;
      }
    return {};
  });
}

int32_t moert_session_call(moert_session *session, uint32_t function,
                           const moert_tensor *inputs, uint32_t input_count,
                           const moert_tensor *outputs, uint32_t output_count) {
  return guarded([&]() -> Status {
    if (!session)
      return nullArgument("session");
    std::vector<TensorView> in, out;
    MOE_RETURN_IF_ERROR(checkTensors(inputs, input_count, in));
    MOE_RETURN_IF_ERROR(checkTensors(outputs, output_count, out));
    return session->session->call(function, in, out);
  });
}

const char *moert_session_isa(const moert_session *session) {
  return session ? session->isa.c_str() : "";
}

const char *moert_session_device(const moert_session *session) {
  return session ? session->device.c_str() : "";
}

int32_t moert_session_threads(const moert_session *session) {
  return session ? session->session->deviceInfo().workers : 0;
}

const char *moert_session_expert_stats(moert_session *session) {
  const char *text = "";
  guarded([&]() -> Status {
    if (!session)
      return nullArgument("session");
    std::lock_guard<std::mutex> lock(session->mutex);
    session->stats = session->session->expertStatsJson();
    text = session->stats.c_str();
    return {};
  });
  return text;
}

void moert_session_reset_expert_stats(moert_session *session) {
  if (session)
    session->session->resetExpertStats();
}

int32_t moert_session_record_routes(moert_session *session, int32_t enabled) {
  return guarded([&]() -> Status {
    if (!session)
      return nullArgument("session");
    session->session->recordRoutes(enabled != 0);
    return {};
  });
}

int32_t moert_session_write_routes(moert_session *session, const char *path) {
  return guarded([&]() -> Status {
    if (!session || !path)
      return nullArgument(session ? "path" : "session");
    return session->session->writeRoutes(path);
  });
}

int32_t moert_session_replay_routes(moert_session *session, const char *path) {
  return guarded([&]() -> Status {
    if (!session)
      return nullArgument("session");
    if (path)
      return session->session->replayRoutes(path);
    session->session->stopReplay();
    return {};
  });
}

const char *moert_session_trace(moert_session *session) {
  const char *text = "";
  guarded([&]() -> Status {
    if (!session)
      return nullArgument("session");
    std::lock_guard<std::mutex> lock(session->mutex);
    session->trace = session->session->traceJson();
    text = session->trace.c_str();
    return {};
  });
  return text;
}
