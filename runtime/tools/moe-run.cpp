//===- moe-run.cpp - Runs a function of an artifact -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Arrays.h"
#include "ToolSupport.h"

#include "moert/Session/Session.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

using namespace moert;
using namespace moert::tools;

namespace {

struct Options {
  std::string model, function, weights, isa, trace, expertStats;
  std::string recordRoutes, replayRoutes;
  std::string device = "auto";
  std::vector<std::string> inputs, outputs, expected;
  std::optional<double> rtol, atol, frobenius;
  int32_t threads = 0;
  uint32_t repeat = 1;
  bool verifyWeights = false, convertInputs = false, listFunctions = false;
  bool json = false, graph = false;
  double timeout = 3600;
  Verbosity verbosity;
};

void declare(CLI::App &app, Options &o) {
  app.add_option("model", o.model, "The artifact, model.moe")->required();
  app.add_option("--function", o.function,
                 "Function to run; may be left out when there is only one");
  app.add_flag("--list-functions", o.listFunctions,
               "Print the functions with their types and stop");
  app.add_option("--input", o.inputs,
                 "[name=]@x.npy or [name=]@x.safetensors[:tensor]")
      ->allow_extra_args(false);
  app.add_flag("--convert-inputs", o.convertInputs,
               "Convert inputs of another floating-point or integer type");
  app.add_option("--output", o.outputs,
                 "[name=]@y.npy or [name=]@y.safetensors; printed when absent")
      ->allow_extra_args(false);
  app.add_option("--expected-output", o.expected,
                 "[name=]@ref.npy; exit code 5 when the output differs")
      ->allow_extra_args(false);
  app.add_option("--rtol", o.rtol, "Relative tolerance by element, default 0");
  app.add_option("--atol", o.atol, "Absolute tolerance by element, default 0");
  app.add_option("--rel-frobenius", o.frobenius,
                 "Bound of the relative Frobenius norm of the difference");
  app.add_option("--device", o.device,
                 "cpu, cuda, cuda:N or auto: a GPU when there is one and the "
                 "function has code for it (default: auto)")
      ->envname("MOE_DEVICE");
  app.add_flag("--graph", o.graph,
               "Record the function as a CUDA graph and run that");
  app.add_option("--timeout", o.timeout,
                 "Seconds that a dispatch may take, on a GPU a call")
      ->check(CLI::PositiveNumber);
  app.add_option("-t,--threads", o.threads,
                 "Threads; 0 means one per CPU that may be used")
      ->envname("MOE_THREADS");
  app.add_option("--isa", o.isa,
                 "Instruction set level: avx2, avx512, amx (default: the best "
                 "of this machine)");
  app.add_option("--weights", o.weights, "Folder or file of the weights")
      ->envname("MOE_WEIGHTS");
  app.add_flag("--verify-weights", o.verifyWeights,
               "Compare the contents of the weights with recorded hashes");
  app.add_option("--repeat", o.repeat, "Run N times and print the times")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--trace", o.trace, "Write a Chrome trace (JSON)");
  app.add_option("--expert-stats", o.expertStats,
                 "Write how often each expert was chosen (JSON)");
  app.add_option("--record-routes", o.recordRoutes,
                 "Write what the routers chose (safetensors)");
  app.add_option("--replay-routes", o.replayRoutes,
                 "Take the routes of such a file instead of choosing");
  app.add_flag("--json", o.json, "Print a report as JSON (moe.run/1)");
  addCommonOptions(app, o.verbosity);
  app.footer("Example: moe-run model.moe --function=layers.0.mlp "
             "--input=@x.npy --output=@y.npy");
}

/// Prints how far the loading of large weights is, at most every 2 seconds.
class ProgressLines {
public:
  void operator()(uint64_t done, uint64_t total) {
    const int64_t now = Trace::now();
    if (total < minimum || now - last < 2'000'000'000)
      return;
    last = now;
    fmt::print(stderr, "moert: loaded {} of {}\n", formatBytes(done),
               formatBytes(total));
  }

private:
  static constexpr uint64_t minimum = uint64_t(1) << 30;
  int64_t last = Trace::now();
};

/// One run of the tool.
class Runner {
public:
  explicit Runner(const Options &options) : options(options) {}

  Status run() {
    MOE_ASSIGN_OR_RETURN(artifact, Artifact::open(options.model));
    if (options.listFunctions)
      return listFunctions();
    MOE_RETURN_IF_ERROR(chooseFunction());
    MOE_RETURN_IF_ERROR(readInputs());
    MOE_RETURN_IF_ERROR(assign("--output", options.outputs, outputFiles));
    MOE_RETURN_IF_ERROR(
        assign("--expected-output", options.expected, expectedFiles));
    MOE_RETURN_IF_ERROR(createSession());
    MOE_RETURN_IF_ERROR(call());
    MOE_RETURN_IF_ERROR(writeOutputs());
    MOE_RETURN_IF_ERROR(writeRecords());
    Status comparison = compareOutputs();
    MOE_RETURN_IF_ERROR(report());
    return comparison;
  }

private:
  Status listFunctions() {
    std::string text;
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const fb::Function *f : *artifact->plan().functions()) {
      std::string in, out;
      for (const fb::Tensor *t : *f->inputs())
        in += fmt::format("{}{}: {}", in.empty() ? "" : ", ",
                          t->name()->string_view(), formatType(*t, *f));
      for (const fb::Tensor *t : *f->outputs())
        out += fmt::format("{}{}: {}", out.empty() ? "" : ", ",
                           t->name()->string_view(), formatType(*t, *f));
      text +=
          fmt::format("{}({}) -> ({})\n", f->name()->string_view(), in, out);
      list.push_back(f->name()->str());
    }
    if (options.json)
      text = nlohmann::ordered_json{{"schema", "moe.functions/1"},
                                    {"functions", list}}
                 .dump() +
             "\n";
    return print(text);
  }

  Status chooseFunction() {
    const auto &functions = *artifact->plan().functions();
    std::string known;
    std::vector<std::string> names;
    for (uint32_t i = 0; i < functions.size(); ++i) {
      names.push_back(functions.Get(i)->name()->str());
      known += (i ? ", " : "") + names.back();
      if (names.back() == options.function ||
          (options.function.empty() && functions.size() == 1)) {
        function = functions.Get(i);
        functionIndex = i;
      }
    }
    if (function)
      return {};
    if (options.function.empty())
      return Status::error(1, "--function is missing")
          .at(options.model)
          .because(fmt::format("the artifact has several functions: {}", known))
          .fix(names.empty() ? "compile a model with a function"
                             : fmt::format("--function={}", names[0]));
    std::string near = nearest(options.function, names);
    return Status::error(
               2, fmt::format("there is no function '{}'", options.function))
        .at(options.model)
        .because(fmt::format("the artifact has: {}", known))
        .fix(near.empty() ? "name one of these"
                          : fmt::format("did you mean {}?", near));
  }

  using Tensors = flatbuffers::Vector<flatbuffers::Offset<fb::Tensor>>;

  /// Index of the tensor that an argument names; without a name the arguments
  /// count from the first tensor.
  StatusOr<uint32_t> indexOf(const char *option, const FileArgument &argument,
                             uint32_t position, const Tensors &tensors) {
    std::string known;
    for (uint32_t i = 0; i < tensors.size(); ++i) {
      if (argument.name == tensors.Get(i)->name()->string_view())
        return i;
      known += (i ? ", " : "") + tensors.Get(i)->name()->str();
    }
    if (argument.name.empty() && position < tensors.size())
      return position;
    if (argument.name.empty())
      return Status::error(2, fmt::format("{} is given {} times; the function "
                                          "has {}",
                                          option, position + 1, known))
          .fix(fmt::format("give {} at most {} times", option, tensors.size()));
    return Status::error(2, fmt::format("the function has no '{}' for {}",
                                        argument.name, option))
        .because(fmt::format("it has: {}", known))
        .fix("name one of these");
  }

  Status readInputs() {
    const Tensors &declared = *function->inputs();
    inputs.resize(declared.size());
    std::vector<bool> given(declared.size());
    for (uint32_t i = 0; i < options.inputs.size(); ++i) {
      MOE_ASSIGN_OR_RETURN(FileArgument argument,
                           parseFileArgument("--input", options.inputs[i]));
      MOE_ASSIGN_OR_RETURN(uint32_t index,
                           indexOf("--input", argument, i, declared));
      const fb::Tensor &tensor = *declared.Get(index);
      if (given[index])
        return Status::error(2, fmt::format("input '{}' is given twice",
                                            tensor.name()->string_view()));
      given[index] = true;
      MOE_ASSIGN_OR_RETURN(inputs[index], readArray(argument));
      Status status =
          convertArray(inputs[index], tensor.dtype(), options.convertInputs,
                       fmt::format("input '{}'", tensor.name()->string_view()));
      MOE_RETURN_IF_ERROR(std::move(status).at(argument.path));
    }
    for (uint32_t i = 0; i < declared.size(); ++i)
      if (!given[i])
        return Status::error(
                   2, fmt::format("input '{}' is missing",
                                  declared.Get(i)->name()->string_view()))
            .because(fmt::format("function '{}' needs {}",
                                 function->name()->string_view(),
                                 formatType(*declared.Get(i), *function)))
            .fix(fmt::format("--input={}=@file.npy",
                             declared.Get(i)->name()->string_view()));
    for (uint32_t i = 0; i < declared.size(); ++i)
      inputShapes.push_back(inputs[i].shape);
    // Before weights are loaded: wrong shapes should not take minutes to see.
    return bindSymbols(*function, inputShapes).status();
  }

  Status assign(const char *option, const std::vector<std::string> &values,
                std::map<uint32_t, FileArgument> &files) {
    for (uint32_t i = 0; i < values.size(); ++i) {
      MOE_ASSIGN_OR_RETURN(FileArgument argument,
                           parseFileArgument(option, values[i]));
      MOE_ASSIGN_OR_RETURN(uint32_t index,
                           indexOf(option, argument, i, *function->outputs()));
      if (!files.emplace(index, std::move(argument)).second)
        return Status::error(
            2, fmt::format("{} is given twice for one output", option));
    }
    return {};
  }

  Status createSession() {
    SessionOptions session;
    session.device.threads = options.threads;
    session.device.isa = options.isa;
    session.weights.path = options.weights;
    session.weights.verifyContents = options.verifyWeights;
    session.functions = {function->name()->str()};
    session.trace = !options.trace.empty();
    session.deviceName = options.device;
    session.graphs = options.graph;
    session.device.dispatchTimeout = options.timeout;
    if (!options.verbosity.quiet) {
      session.device.log = [](const std::string &line) {
        fmt::print(stderr, "moert: {}\n", line);
      };
      session.weights.progress = ProgressLines();
    }
    const int64_t begin = Trace::now();
    MOE_ASSIGN_OR_RETURN(this->session, Session::create(artifact, session));
    loadMs = (Trace::now() - begin) / 1e6;
    if (!options.replayRoutes.empty())
      MOE_RETURN_IF_ERROR(this->session->replayRoutes(options.replayRoutes));
    if (options.verifyWeights && !options.verbosity.quiet)
      fmt::print(stderr, "verified the contents of {} tensors\n",
                 this->session->weights().hashesCompared());
    return {};
  }

  Status call() {
    MOE_ASSIGN_OR_RETURN(std::vector<std::vector<int64_t>> shapes,
                         session->outputShapes(functionIndex, inputShapes));
    std::vector<TensorView> in, out;
    for (uint32_t i = 0; i < inputs.size(); ++i)
      in.push_back({function->inputs()->Get(i)->dtype(), inputs[i].shape,
                    const_cast<uint8_t *>(inputs[i].data)});
    outputs.resize(shapes.size());
    for (uint32_t i = 0; i < shapes.size(); ++i) {
      fb::DType type = function->outputs()->Get(i)->dtype();
      Array &array = outputs[i];
      array.dtype = checkpointType(type);
      array.shape = shapes[i];
      array.bytes = shapeBytes(shapes[i], byteSize(array.dtype)).value_or(0);
      if (array.bytes > availableMemory())
        return Status::error(
                   601, fmt::format(
                            "output '{}' needs {}",
                            function->outputs()->Get(i)->name()->string_view(),
                            formatBytes(array.bytes)))
            .fix("call with fewer tokens");
      array.owned.resize(array.bytes);
      array.data = array.owned.data();
      out.push_back({type, shapes[i], array.owned.data()});
    }
    session->recordRoutes(!options.recordRoutes.empty());
    for (uint32_t run = 0; run < options.repeat; ++run) {
      if (run + 1 == options.repeat)
        session->resetExpertStats(); // The file describes one run.
      const int64_t begin = Trace::now();
      MOE_RETURN_IF_ERROR(session->call(functionIndex, in, out));
      times.push_back((Trace::now() - begin) / 1e6);
    }
    std::sort(times.begin(), times.end());
    return {};
  }

  Status writeOutputs() {
    std::map<std::string, std::vector<uint32_t>> containers;
    for (const auto &[index, file] : outputFiles) {
      const std::string suffix = ".safetensors";
      const bool isContainer =
          file.path.size() > suffix.size() &&
          file.path.compare(file.path.size() - suffix.size(), suffix.size(),
                            suffix) == 0;
      if (isContainer) {
        containers[file.path].push_back(index);
        continue;
      }
      const Array &array = outputs[index];
      MOE_RETURN_IF_ERROR(
          writeNpy(file.path, array.dtype, array.shape, array.data));
    }
    for (const auto &[path, indices] : containers) {
      std::vector<TensorSpec> specs;
      for (uint32_t index : indices) {
        const FileArgument &file = outputFiles[index];
        specs.push_back({file.tensor.empty()
                             ? function->outputs()->Get(index)->name()->str()
                             : file.tensor,
                         outputs[index].dtype, outputs[index].shape});
      }
      MOE_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                           SafetensorsWriter::create(path, specs));
      for (uint32_t index : indices)
        MOE_RETURN_IF_ERROR(
            writer.write(outputs[index].data, outputs[index].bytes));
      MOE_RETURN_IF_ERROR(writer.finish());
    }
    return {};
  }

  Status writeRecords() {
    if (!options.trace.empty()) {
      std::string text = session->traceJson();
      MOE_RETURN_IF_ERROR(writeFile(options.trace, text.data(), text.size()));
    }
    if (!options.expertStats.empty()) {
      std::string text = session->expertStatsJson();
      MOE_RETURN_IF_ERROR(
          writeFile(options.expertStats, text.data(), text.size()));
    }
    if (!options.recordRoutes.empty())
      MOE_RETURN_IF_ERROR(session->writeRoutes(options.recordRoutes));
    return {};
  }

  Status compareOutputs() {
    Tolerance tolerance;
    tolerance.rtol = options.rtol.value_or(0);
    tolerance.atol = options.atol.value_or(0);
    tolerance.frobenius = options.frobenius;
    tolerance.elementwise = options.rtol || options.atol || !options.frobenius;
    Status result;
    for (const auto &[index, file] : expectedFiles) {
      std::string output = function->outputs()->Get(index)->name()->str();
      std::string what = fmt::format("output '{}'", output);
      MOE_ASSIGN_OR_RETURN(Array expected, readArray(file));
      StatusOr<Comparison> compared =
          compareArrays(outputs[index], expected, tolerance, what);
      if (!compared.ok()) {
        result = std::move(compared).status().at(file.path);
        continue;
      }
      const Comparison &c = *compared;
      checks.push_back({{"output", output},
                        {"good", c.good},
                        {"outside", c.outside},
                        {"largest_difference", c.largestDifference},
                        {"relative_frobenius", c.relativeFrobenius}});
      if (options.verbosity.verbose && !options.verbosity.quiet)
        fmt::print(stderr,
                   "{}: largest difference {:.3g}, relative Frobenius norm "
                   "{:.3g}\n",
                   what, c.largestDifference, c.relativeFrobenius);
      if (!c.good)
        result =
            Status::error(501,
                          fmt::format("{} differs from the expected one", what))
                .at(file.path)
                .because(fmt::format(
                    "{} elements are outside rtol {} atol {}; relative "
                    "Frobenius norm {:.3g}; largest difference {:.3g} at {}: "
                    "got {:.9g}, expected {:.9g}",
                    c.outside, tolerance.rtol, tolerance.atol,
                    c.relativeFrobenius, c.largestDifference,
                    formatShape(c.position), c.got, c.expected))
                .fix("look at the largest difference first, or allow more: "
                     "--rtol, --atol, --rel-frobenius");
    }
    return result;
  }

  /// Bytes of constants that one call reads: of an expert-wise constant only
  /// the experts that got a token.
  uint64_t weightBytesRead(uint64_t &active, uint64_t &experts) const {
    nlohmann::json stats = nlohmann::json::parse(session->expertStatsJson());
    std::map<uint64_t, uint64_t> activeBySize;
    for (const auto &counts : stats["counts"]) {
      uint64_t used = std::count_if(counts.begin(), counts.end(),
                                    [](const auto &c) { return c > 0; });
      experts = counts.size();
      active = used;
      activeBySize[experts] = std::max(activeBySize[experts], used);
    }
    uint64_t total = 0;
    const fb::Plan &plan = artifact->plan();
    for (uint32_t index : constantsOf(*function, session->deviceInfo().kind)) {
      const fb::Constant &constant = *plan.constants()->Get(index);
      const auto &shape =
          *plan.weights()->Get(constant.weights()->Get(0))->shape();
      auto it = shape.size() == 3 && constant.layout() != fb::Layout::RowMajor
                    ? activeBySize.find(shape.Get(0))
                    : activeBySize.end();
      total += it == activeBySize.end()
                   ? constant.bytes()
                   : constant.bytes() / it->first * it->second;
    }
    return total;
  }

  Status report() {
    const double minimum = times.front();
    const double median = times[times.size() / 2];
    uint64_t active = 0, experts = 0;
    const uint64_t read = weightBytesRead(active, experts);
    const double gbps = minimum > 0 ? read / minimum / 1e6 : 0;
    const hal::DeviceInfo device = session->deviceInfo();
    if (!options.verbosity.quiet) {
      const bool gpu = device.kind == fb::DeviceKind::Cuda;
      if (gpu)
        fmt::print(stderr, "load {:.1f} ms · {} {} · {}", loadMs, device.name,
                   device.product, session->executable().code());
      else
        fmt::print(stderr, "load {:.1f} ms · {} · {} threads", loadMs,
                   device.level, device.workers);
      if (options.repeat > 1)
        fmt::print(stderr, " · {} runs min {:.3f} ms median {:.3f} ms",
                   options.repeat, minimum, median);
      else
        fmt::print(stderr, " · run {:.3f} ms", minimum);
      fmt::print(stderr, " · weights {} {:.1f} GB/s", formatBytes(read), gbps);
      if (experts)
        fmt::print(stderr, " · {} of {} experts", active, experts);
      fmt::print(stderr, "\n");
      if (options.verbosity.verbose) {
        fmt::print(stderr,
                   "weights from {} · {} loaded · workspace {} · peak "
                   "resident {}\n",
                   session->weights().source(),
                   formatBytes(session->weights().bytes()),
                   formatBytes(session->workspaceBytes()),
                   formatBytes(peakResidentBytes()));
        if (gpu)
          fmt::print(stderr, "on the GPU: arrays {} · {} graphs\n",
                     formatBytes(session->arrayBytes()), session->graphCount());
      }
    }
    if (options.json)
      return print(jsonReport(minimum, median, read, gbps) + "\n");
    std::string text;
    for (uint32_t i = 0; i < outputs.size(); ++i)
      if (!outputFiles.count(i) && !expectedFiles.count(i))
        text += describe(i);
    return print(text);
  }

  std::string jsonReport(double minimum, double median, uint64_t read,
                         double gbps) const {
    nlohmann::ordered_json json;
    json["schema"] = "moe.run/1";
    json["function"] = function->name()->str();
    json["device"] = session->deviceInfo().name;
    json["isa"] = session->deviceInfo().level;
    json["code"] = session->executable().code();
    json["threads"] = session->deviceInfo().workers;
    json["load_ms"] = loadMs;
    json["runs"] = times.size();
    json["min_ms"] = minimum;
    json["median_ms"] = median;
    json["weight_bytes_read"] = read;
    json["weight_gb_per_s"] = gbps;
    json["weight_bytes_loaded"] = session->weights().bytes();
    json["workspace_bytes"] = session->workspaceBytes();
    json["array_bytes"] = session->arrayBytes();
    json["graphs"] = session->graphCount();
    json["peak_resident_bytes"] = peakResidentBytes();
    json["outputs"] = nlohmann::ordered_json::array();
    for (uint32_t i = 0; i < outputs.size(); ++i)
      json["outputs"].push_back(
          {{"name", function->outputs()->Get(i)->name()->str()},
           {"dtype", lowerName(function->outputs()->Get(i)->dtype())},
           {"shape", outputs[i].shape},
           {"xxh3", xxh3Hex(outputs[i].data, outputs[i].bytes)}});
    json["checks"] = checks;
    return json.dump();
  }

  /// "y: f32 [2, 3] = 0.1 0.2 ..." for an output that goes to no file.
  std::string describe(uint32_t i) const {
    const Array &array = outputs[i];
    const fb::Tensor &tensor = *function->outputs()->Get(i);
    std::string text =
        fmt::format("{}: {} {} =", tensor.name()->string_view(),
                    lowerName(tensor.dtype()), formatShape(array.shape));
    const int64_t count = array.bytes / byteSize(array.dtype);
    for (int64_t e = 0; e < count && e < 8; ++e)
      text += fmt::format(" {:.6g}", element(array.dtype, array.data, e));
    return text + (count > 8 ? " ...\n" : "\n");
  }

  const Options &options;
  std::shared_ptr<const Artifact> artifact;
  const fb::Function *function = nullptr;
  uint32_t functionIndex = 0;
  std::vector<Array> inputs, outputs;
  std::vector<std::vector<int64_t>> inputShapes;
  std::map<uint32_t, FileArgument> outputFiles, expectedFiles;
  std::unique_ptr<Session> session;
  double loadMs = 0;
  std::vector<double> times;
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
};

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Runs a function of a compiled MoE model", "moe-run");
  Options options;
  declare(app, options);
  int exitCode = 0;
  if (!parse(app, argc, argv, exitCode))
    return exitCode;
  try {
    return finish(Runner(options).run());
  } catch (const std::bad_alloc &) {
    return finish(Status::error(601, "out of memory"));
  } catch (const std::exception &error) {
    return finish(Status::error(9000, error.what()));
  }
}
