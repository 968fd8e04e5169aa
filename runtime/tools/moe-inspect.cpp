//===- moe-inspect.cpp - Shows what an artifact holds ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads the file only: nothing of it is loaded or run.
//
//===----------------------------------------------------------------------===//

#include "Experts.h"
#include "Inspect.h"
#include "ToolSupport.h"

#include "moert/Session/DeviceChoice.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

using namespace moert;
using namespace moert::tools;
using nlohmann::ordered_json;

namespace {

const std::vector<std::string> commands = {"summary", "io",     "weights",
                                           "kernels", "memory", "plan",
                                           "check",   "experts"};

struct Options {
  std::string command = "summary", model, function, weights, isa;
  std::string device = "cpu", html, png;
  int64_t tokens = 1;
  int32_t threads = 0;
  bool json = false;
  Verbosity verbosity;
};

std::string join(const std::vector<std::string> &list) {
  std::string out;
  for (const std::string &item : list)
    out += (out.empty() ? "" : ", ") + item;
  return out;
}

/// Where the weights are, or why they are not there.
Status findWeights(const Artifact &artifact, const Options &options,
                   std::string &place) {
  switch (artifact.plan().weights_mode()) {
  case fb::WeightsMode::External: {
    auto found = findCheckpoint(artifact, options.weights);
    if (found.ok())
      place = (*found)->path();
    return found.status();
  }
  case fb::WeightsMode::Packed: {
    auto found = openPackedWeights(artifact, options.weights);
    if (found.ok())
      place = (*found)->path();
    return found.status();
  }
  case fb::WeightsMode::Embedded:
    break;
  }
  place = artifact.path();
  return {};
}

std::string orUnknown(const std::string &text) {
  return text.empty() ? "unknown" : text;
}

Report summary(const Artifact &artifact, const Options &options) {
  const Metadata &meta = artifact.metadata();
  const fb::Plan &plan = artifact.plan();
  uint64_t weightBytes = 0;
  for (const fb::Constant *constant : *plan.constants())
    weightBytes += constant->bytes();
  std::string place;
  Status weights = findWeights(artifact, options, place);
  std::string found = weights.ok()
                          ? fmt::format("found: {}", place)
                          : fmt::format("not usable here: {}", weights.what());
  std::string model = fmt::format("{} ({})", orUnknown(meta.modelName),
                                  orUnknown(meta.architecture));
  if (meta.layers)
    model += fmt::format(", {} layers", meta.layers);
  if (meta.experts)
    model += fmt::format(", {} experts", meta.experts);
  if (meta.topK)
    model += fmt::format(", top-{}", meta.topK);
  std::string gpu;
  for (const std::string &item : gpuCode(artifact))
    gpu += (gpu.empty() ? "gpu        " : ", ") + item;
  if (!gpu.empty())
    gpu += "\n";
  Report report;
  report.text = fmt::format(
      "{}  {}  format {}.{}  built by moe {} (LLVM {})\n"
      "model      {}\n"
      "targets    {}\n"
      "{}"
      "numerics   {}\n"
      "plan       {} functions, {} kernels, {} constants\n"
      "weights    {}: {} packed, fingerprint xxh3:{}  {}\n",
      artifact.path(), formatBytes(artifact.mapping().size()), meta.formatMajor,
      meta.formatMinor, orUnknown(meta.compilerVersion),
      orUnknown(meta.llvmVersion), model, orUnknown(join(meta.targets)), gpu,
      orUnknown(meta.numerics), plan.functions()->size(),
      plan.kernels()->size(), plan.constants()->size(), meta.weightsMode,
      formatBytes(weightBytes), meta.weightsFingerprint, found);
  report.json = {{"schema", "moe.summary/1"},
                 {"path", artifact.path()},
                 {"bytes", artifact.mapping().size()},
                 {"metadata", ordered_json::parse(meta.json)},
                 {"functions", plan.functions()->size()},
                 {"kernels", plan.kernels()->size()},
                 {"constants", plan.constants()->size()},
                 {"gpu", gpuCode(artifact)},
                 {"weight_bytes", weightBytes},
                 {"weights_found", weights.ok()},
                 {"weights_place", place}};
  return report;
}

Report io(const Artifact &artifact, const Options &) {
  Report report;
  report.json = {{"schema", "moe.io/1"}, {"functions", ordered_json::array()}};
  for (const fb::Function *f : *artifact.plan().functions()) {
    ordered_json json = {{"name", f->name()->str()}};
    report.text += f->name()->str() + "\n";
    auto list = [&](const char *kind, const auto &tensors) {
      ordered_json items = ordered_json::array();
      for (const fb::Tensor *tensor : tensors) {
        std::string type = formatType(*tensor, *f);
        report.text += fmt::format("  {:<7}{}: {}\n", kind,
                                   tensor->name()->string_view(), type);
        items.push_back({{"name", tensor->name()->str()}, {"type", type}});
      }
      json[fmt::format("{}s", kind)] = std::move(items);
    };
    list("input", *f->inputs());
    list("output", *f->outputs());
    json["symbols"] = ordered_json::array();
    if (f->symbols())
      for (const fb::Symbol *s : *f->symbols()) {
        report.text += fmt::format(
            "  {} in {} .. {}\n", s->name()->string_view(), s->min(), s->max());
        json["symbols"].push_back(
            {{"name", s->name()->str()}, {"min", s->min()}, {"max", s->max()}});
      }
    report.json["functions"].push_back(std::move(json));
  }
  return report;
}

Report weights(const Artifact &artifact, const Options &options) {
  const fb::Plan &plan = artifact.plan();
  std::string place;
  Status status = findWeights(artifact, options, place);
  Report report;
  report.json = {{"schema", "moe.weights/1"},
                 {"mode", artifact.metadata().weightsMode},
                 {"fingerprint", plan.fingerprint()->str()},
                 {"found", status.ok()},
                 {"place", place},
                 {"constants", ordered_json::array()}};
  report.text = fmt::format("{} weights, fingerprint xxh3:{}\n",
                            artifact.metadata().weightsMode,
                            plan.fingerprint()->string_view());
  report.text +=
      status.ok() ? fmt::format("found: {}\n", place) : status.toString();
  for (const fb::Constant *constant : *plan.constants()) {
    static const char *const layouts[] = {"row-major", "panels", "rows"};
    const char *layout = layouts[static_cast<int>(constant->layout())];
    report.text += fmt::format(
        "{}  {} {}  {}\n", constant->name()->string_view(),
        lowerName(constant->dtype()), layout, formatBytes(constant->bytes()));
    ordered_json parts = ordered_json::array();
    for (uint32_t index : *constant->weights()) {
      const fb::Weight &weight = *plan.weights()->Get(index);
      std::vector<int64_t> shape(weight.shape()->begin(),
                                 weight.shape()->end());
      ordered_json sources = ordered_json::array();
      for (const flatbuffers::String *source : *weight.sources())
        sources.push_back(source->str());
      static const char *const encodings[] = {"plain", "MXFP4", "FP8 blocks",
                                              "scaled INT8"};
      const char *encoding = encodings[static_cast<int>(weight.encoding())];
      const bool plain = weight.encoding() == fb::WeightEncoding::Plain;
      report.text += fmt::format(
          "  {} {} from {}{}{}\n", weight.name()->string_view(),
          formatShape(shape), weight.sources()->Get(0)->string_view(),
          sources.size() > 1 ? fmt::format(" and {} more", sources.size() - 1)
                             : std::string(),
          plain ? std::string() : fmt::format(" ({})", encoding));
      parts.push_back({{"name", weight.name()->str()},
                       {"shape", shape},
                       {"sources", std::move(sources)}});
      if (!plain)
        parts.back()["encoding"] = encoding;
    }
    report.json["constants"].push_back({{"name", constant->name()->str()},
                                        {"dtype", lowerName(constant->dtype())},
                                        {"layout", layout},
                                        {"bytes", constant->bytes()},
                                        {"weights", std::move(parts)}});
  }
  return report;
}

StatusOr<std::unique_ptr<hal::Device>> openDriver(const std::string &name,
                                                  hal::DeviceOptions options) {
  if (name == "cpu")
    return hal::findDriver("cpu")->open(options);
  MOE_ASSIGN_OR_RETURN(options.ordinal, cudaOrdinal(name));
  return hal::findDriver("cuda")->open(options);
}

/// Preflight: what moe-run would refuse, without loading code. Returns the
/// first problem after all were collected.
Status check(const Artifact &artifact, const Options &options, Report &report) {
  hal::DeviceOptions deviceOptions;
  deviceOptions.threads = 1;
  deviceOptions.isa = options.isa;
  deviceOptions.amxEmulated = artifact.emulatesAmx();
  StatusOr<std::unique_ptr<hal::Device>> device =
      openDriver(options.device, deviceOptions);
  std::string place, level;
  Status machine = device.status();
  if (device.ok()) {
    machine = (*device)->check(artifact);
    level = (*device)->info().level;
  }
  Status weights = findWeights(artifact, options, place);
  ordered_json problems = ordered_json::array();
  for (const Status *status : {&machine, &weights})
    if (!status->ok())
      problems.push_back({{"error", status->number()},
                          {"what", status->what()},
                          {"where", status->where()},
                          {"because", status->because()},
                          {"fix", status->fix()}});
  report.json = {{"schema", "moe.check/1"},
                 {"ok", problems.empty()},
                 {"level", level},
                 {"weights", place},
                 {"problems", problems}};
  if (problems.empty() && options.device != "cpu")
    report.text = fmt::format("ok: runs on {} ({}), weights {}\n",
                              (*device)->info().name, level, place);
  else if (problems.empty())
    report.text =
        fmt::format("ok: runs here at level {}, weights {}\n", level, place);
  // The second problem is printed here, the first one by the caller.
  if (!machine.ok() && !weights.ok())
    finish(weights);
  return machine.ok() ? weights : machine;
}

Status runExperts(const Options &options) {
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file,
                       MappedFile::open(options.model));
  MOE_ASSIGN_OR_RETURN(
      ExpertTable table,
      parseExpertTable(std::string(reinterpret_cast<const char *>(file->data()),
                                   file->size()),
                       options.model));
  if (!options.html.empty()) {
    MOE_ASSIGN_OR_RETURN(std::string page, describeExpertsHtml(table));
    MOE_RETURN_IF_ERROR(writeFile(options.html, page.data(), page.size()));
  }
  if (!options.png.empty()) {
    MOE_ASSIGN_OR_RETURN(Picture picture, drawHeatmap(table, cellSize(table)));
    MOE_ASSIGN_OR_RETURN(std::string image, encodePng(picture));
    MOE_RETURN_IF_ERROR(writeFile(options.png, image.data(), image.size()));
  }
  Report report = describeExperts(table);
  return print(options.json ? report.json.dump() + "\n" : report.text);
}

Status run(const Options &options) {
  if (options.command == "experts")
    return runExperts(options);
  if (!options.html.empty() || !options.png.empty())
    return Status::error(1,
                         fmt::format("{} is for the command experts only",
                                     options.html.empty() ? "--png" : "--html"))
        .fix("moe-inspect experts stats.json --html=FILE --png=FILE");
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const Artifact> artifact,
                       Artifact::open(options.model));
  const fb::Function *function = nullptr;
  if (!options.function.empty()) {
    function = findFunction(artifact->plan(), options.function);
    if (!function)
      return Status::error(
                 2, fmt::format("there is no function '{}'", options.function))
          .at(options.model)
          .fix(fmt::format("moe-inspect io {}", options.model));
  }
  Report report;
  Status result;
  if (options.command == "summary")
    report = summary(*artifact, options);
  else if (options.command == "io")
    report = io(*artifact, options);
  else if (options.command == "weights")
    report = weights(*artifact, options);
  else if (options.command == "kernels")
    report = describeKernels(*artifact);
  else if (options.command == "plan")
    report = describePlan(artifact->plan(), function);
  else if (options.command == "check")
    result = check(*artifact, options, report);
  else {
    MemoryQuestion question;
    question.tokens = options.tokens;
    question.threads = options.threads;
    if (question.threads <= 0)
      question.threads = hal::availableCpus();
    question.weights = options.weights;
    if (options.device != "cpu") {
      MOE_RETURN_IF_ERROR(cudaOrdinal(options.device).status());
      question.device = fb::DeviceKind::Cuda;
    }
    report.json = ordered_json::array();
    for (const fb::Function *f : *artifact->plan().functions()) {
      if (function && f != function)
        continue;
      question.function = f;
      MOE_ASSIGN_OR_RETURN(Report one, predictMemory(*artifact, question));
      report.text += one.text;
      report.json.push_back(std::move(one.json));
    }
    report.json = {{"schema", "moe.memory/1"}, {"functions", report.json}};
  }
  if (options.json)
    report.text = report.json.dump() + "\n";
  Status printed = print(report.text);
  return result.ok() ? printed : result;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Shows what a compiled MoE model holds, without running it",
               "moe-inspect");
  Options options;
  std::vector<std::string> words;
  app.add_option("model", words,
                 "[summary|io|weights|kernels|memory|plan|check] model.moe, "
                 "or experts stats.json")
      ->required()
      ->expected(1, 2)
      ->option_text("[COMMAND] FILE");
  app.add_option("--function", options.function,
                 "Only this function (plan, memory)");
  app.add_option("--tokens", options.tokens, "Tokens of a call (memory)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("-t,--threads", options.threads,
                 "Threads of a call (memory); 0 means one per CPU")
      ->envname("MOE_THREADS");
  app.add_option("--weights", options.weights, "Folder or file of the weights")
      ->envname("MOE_WEIGHTS");
  app.add_option("--isa", options.isa,
                 "Instruction set level to check: avx2, avx512, amx");
  app.add_option("--device", options.device,
                 "cpu, cuda or cuda:N (check, memory; default: cpu)");
  app.add_option("--html", options.html,
                 "Write a page with table, heatmap and curves (experts)");
  app.add_option("--png", options.png, "Write the heatmap (experts)");
  app.add_flag("--json", options.json, "Print JSON");
  addCommonOptions(app, options.verbosity);
  app.footer("check exits with 0 when moe-run would run the artifact, 3 when "
             "this machine\ncannot, 4 when the weights are missing or do not "
             "match.");
  int exitCode = 0;
  if (!parse(app, argc, argv, exitCode))
    return exitCode;
  if (words.size() == 2) {
    options.command = words[0];
    if (std::find(commands.begin(), commands.end(), words[0]) ==
        commands.end()) {
      std::string near = nearest(words[0], commands);
      return finish(
          Status::error(1, fmt::format("unknown command '{}'", words[0]))
              .fix(near.empty() ? fmt::format("use one of {}", join(commands))
                                : fmt::format("did you mean {}?", near)));
    }
  }
  options.model = words.back();
  try {
    return finish(run(options));
  } catch (const std::bad_alloc &) {
    return finish(Status::error(601, "out of memory"));
  } catch (const std::exception &error) {
    return finish(Status::error(9000, error.what()));
  }
}
