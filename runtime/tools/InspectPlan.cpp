//===- InspectPlan.cpp - A readable listing of a plan ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Inspect.h"

#include "moert/Format/KernelABI.h"

#include <fmt/format.h>

using namespace moert;
using namespace moert::tools;
using nlohmann::ordered_json;

std::vector<std::string> tools::levelNames(uint32_t levels) {
  static const char *const names[] = {"avx2", "avx512", "amx"};
  std::vector<std::string> list;
  for (uint32_t level = 0; level < 32; ++level)
    if (levels >> level & 1)
      list.push_back(level < MOERT_ISA_COUNT ? names[level]
                                             : fmt::format("level{}", level));
  return list;
}

namespace {

class Printer {
public:
  Printer(const fb::Plan &plan, const fb::Function &function)
      : plan(plan), function(function) {}

  void print(Report &report) {
    text = fmt::format("function {}(", function.name()->string_view());
    json["name"] = function.name()->str();
    json["inputs"] = tensors(*function.inputs());
    text += ") -> (";
    json["outputs"] = tensors(*function.outputs());
    text += ")\n";
    json["symbols"] = ordered_json::array();
    if (function.symbols())
      for (const fb::Symbol *s : *function.symbols()) {
        text += fmt::format("  {} in {} .. {}\n", s->name()->string_view(),
                            s->min(), s->max());
        json["symbols"].push_back(
            {{"name", s->name()->str()}, {"min", s->min()}, {"max", s->max()}});
      }
    json["variants"] = ordered_json::array();
    for (uint32_t i = 0; i < function.variants()->size(); ++i)
      variant(i, *function.variants()->Get(i));
    report.text += text;
    report.json["functions"].push_back(std::move(json));
  }

private:
  ordered_json
  tensors(const flatbuffers::Vector<flatbuffers::Offset<fb::Tensor>> &list) {
    ordered_json out = ordered_json::array();
    for (uint32_t i = 0; i < list.size(); ++i) {
      std::string type = formatType(*list.Get(i), function);
      text += fmt::format("{}{}: {}", i ? ", " : "",
                          list.Get(i)->name()->string_view(), type);
      out.push_back({{"name", list.Get(i)->name()->str()}, {"type", type}});
    }
    return out;
  }

  std::string symbolName(uint32_t i) const {
    return function.symbols()->Get(i)->name()->str();
  }

  std::string affine(const fb::Affine &a) const {
    std::string out;
    if (a.coefficients())
      for (uint32_t i = 0; i < a.coefficients()->size(); ++i)
        if (int64_t c = a.coefficients()->Get(i))
          out +=
              fmt::format("{}{}{}", out.empty() ? "" : " + ",
                          c == 1 ? "" : fmt::format("{} * ", c), symbolName(i));
    if (a.constant() || out.empty())
      out += fmt::format("{}{}", out.empty() ? "" : " + ", a.constant());
    return out;
  }

  std::string arg(const fb::Arg &a) const {
    switch (a.kind()) {
    case fb::ArgKind::Input:
      return "input " + function.inputs()->Get(a.index())->name()->str();
    case fb::ArgKind::Output:
      return "output " + function.outputs()->Get(a.index())->name()->str();
    case fb::ArgKind::Buffer:
      return fmt::format("%{}", a.index());
    case fb::ArgKind::Constant:
      return "constant " + plan.constants()->Get(a.index())->name()->str();
    case fb::ArgKind::Symbol:
      break;
    }
    return symbolName(a.index());
  }

  void variant(uint32_t index, const fb::Variant &v) {
    ordered_json out;
    std::string guards;
    if (v.guards())
      for (const fb::Guard *guard : *v.guards())
        guards +=
            fmt::format("{}{} <= {} < {}", guards.empty() ? "" : ", ",
                        guard->lo(), symbolName(guard->symbol()), guard->hi());
    const bool gpu = v.device() == fb::DeviceKind::Cuda;
    text += fmt::format("  variant {}{}{}{}:\n", index, gpu ? " on cuda" : "",
                        guards.empty() ? "" : " when ", guards);
    out["device"] = deviceName(v.device());
    out["guards"] = guards;
    out["buffers"] = ordered_json::array();
    if (v.buffers())
      for (uint32_t i = 0; i < v.buffers()->size(); ++i) {
        const fb::Buffer &buffer = *v.buffers()->Get(i);
        std::string size;
        for (const fb::Affine *s : *buffer.sizes())
          size += (size.empty() ? "" : ", ") + affine(*s);
        if (buffer.sizes()->size() > 1)
          size = "min(" + size + ")";
        text += fmt::format("    %{} = slot {}, {} bytes\n", i, buffer.slot(),
                            size);
        out["buffers"].push_back({{"slot", buffer.slot()}, {"bytes", size}});
      }
    out["commands"] = ordered_json::array();
    for (uint32_t i = 0; i < v.commands()->size(); ++i)
      command(i, *v.commands()->Get(i), out["commands"]);
    json["variants"].push_back(std::move(out));
  }

  void command(uint32_t index, const fb::CommandEntry &entry,
               ordered_json &list) {
    std::string line;
    ordered_json out;
    if (const fb::Dispatch *d = entry.command_as_Dispatch()) {
      std::string kernel = plan.kernels()->Get(d->kernel())->name()->str();
      const bool one = d->grid() == fb::Grid::One;
      std::string args;
      out = {{"command", "dispatch"},
             {"label", d->label()->str()},
             {"kernel", kernel},
             {"grid", one ? "one" : "all"},
             {"args", ordered_json::array()}};
      for (const fb::Arg *a : *d->args()) {
        args += (args.empty() ? "" : ", ") + arg(*a);
        out["args"].push_back(arg(*a));
      }
      line = fmt::format("dispatch {} [{}] {}({})", d->label()->string_view(),
                         one ? "one worker" : "all workers", kernel, args);
    } else if (const fb::Copy *c = entry.command_as_Copy()) {
      std::string size = affine(*c->size());
      out = {{"command", "copy"},
             {"label", c->label()->str()},
             {"source", arg(*c->source())},
             {"target", arg(*c->target())},
             {"bytes", size}};
      line =
          fmt::format("copy {} {} -> {}, {} bytes", c->label()->string_view(),
                      arg(*c->source()), arg(*c->target()), size);
    } else if (const fb::RecordExperts *r = entry.command_as_RecordExperts()) {
      out = {{"command", "record_experts"},
             {"layer", r->layer()->str()},
             {"experts", r->experts()},
             {"offsets", arg(*r->offsets())}};
      line = fmt::format("record experts of {} ({} experts) from {}",
                         r->layer()->string_view(), r->experts(),
                         arg(*r->offsets()));
      if (r->dropped()) {
        out["dropped"] = arg(*r->dropped());
        line += fmt::format(", dropped from {}", arg(*r->dropped()));
      }
    } else if (const fb::TapRoutes *t = entry.command_as_TapRoutes()) {
      std::string tokens = affine(*t->tokens());
      out = {{"command", "tap_routes"},
             {"layer", t->layer()->str()},
             {"experts", t->experts()},
             {"per_token", t->per_token()},
             {"tokens", tokens},
             {"ids", arg(*t->ids())},
             {"weights", arg(*t->weights())},
             {"read_only", t->read_only()}};
      line =
          fmt::format("tap routes of {} ({} of {} experts, {} tokens): ids "
                      "{}, weights {}{}",
                      t->layer()->string_view(), t->per_token(), t->experts(),
                      tokens, arg(*t->ids()), arg(*t->weights()),
                      t->read_only() ? ", read only" : "");
    }
    text += fmt::format("    {:3} {}\n", index, line);
    list.push_back(std::move(out));
  }

  const fb::Plan &plan;
  const fb::Function &function;
  std::string text;
  ordered_json json;
};

} // namespace

Report tools::describePlan(const fb::Plan &plan, const fb::Function *only) {
  Report report;
  report.json["schema"] = "moe.plan/1";
  report.json["functions"] = ordered_json::array();
  for (const fb::Function *function : *plan.functions())
    if (!only || only == function)
      Printer(plan, *function).print(report);
  return report;
}
