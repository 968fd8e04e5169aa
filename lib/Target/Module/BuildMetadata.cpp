//===- BuildMetadata.cpp - The metadata as JSON ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BuildMetadata.h"

#include "moe/Dialect/Plan/IR/Plan.h"
#include "moe/Support/Version.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace mlir::moe;
namespace fb = moert::fb;
namespace json = llvm::json;

/// Attributes that have a natural JSON form; others are printed as text.
static json::Value toJson(Attribute attr) {
  if (auto string = dyn_cast<StringAttr>(attr))
    return string.str();
  if (auto boolean = dyn_cast<BoolAttr>(attr))
    return boolean.getValue();
  if (auto integer = dyn_cast<IntegerAttr>(attr))
    return integer.getInt();
  if (auto list = dyn_cast<DenseI64ArrayAttr>(attr)) {
    json::Array array;
    for (int64_t value : list.asArrayRef())
      array.push_back(value);
    return array;
  }
  if (auto list = dyn_cast<ArrayAttr>(attr)) {
    json::Array array;
    for (Attribute element : list)
      array.push_back(toJson(element));
    return array;
  }
  if (auto dict = dyn_cast<DictionaryAttr>(attr)) {
    json::Object object;
    for (NamedAttribute entry : dict)
      object[entry.getName().str()] = toJson(entry.getValue());
    return object;
  }
  std::string text;
  llvm::raw_string_ostream(text) << attr;
  return text;
}

static json::Array describeTensors(
    const fb::Function &function,
    const flatbuffers::Vector<flatbuffers::Offset<fb::Tensor>> &tensors) {
  json::Array list;
  for (const fb::Tensor *tensor : tensors) {
    json::Array shape;
    for (const fb::Dim *dim : *tensor->dims())
      if (dim->symbol() >= 0)
        shape.push_back(function.symbols()->Get(dim->symbol())->name()->str());
      else
        shape.push_back(dim->constant());
    list.push_back(json::Object{{"name", tensor->name()->str()},
                                {"dtype", moert::lowerName(tensor->dtype())},
                                {"shape", std::move(shape)}});
  }
  return list;
}

/// Adds the levels of the host's code, e.g. "x86-64:avx2".
static void describeHost(ModuleOp module, json::Array &targets) {
  uint64_t levels = 0, emulated = 0;
  for (auto binary : module.getOps<plan::BinaryOp>()) {
    if (binary.getArch())
      continue;
    for (NamedAttribute entry : binary.getKernels()) {
      auto info = cast<DictionaryAttr>(entry.getValue());
      uint64_t of = info.getAs<IntegerAttr>("levels").getInt();
      levels |= of;
      if (info.contains("emulated"))
        emulated |= of & (1 << static_cast<unsigned>(Isa::AMX));
    }
  }
  for (unsigned level = 0; level <= getMaxEnumValForIsa(); ++level)
    if (levels >> level & 1)
      targets.push_back(
          "x86-64:" + stringifyIsa(static_cast<Isa>(level)).str() +
          (emulated >> level & 1 ? " (emulated)" : ""));
}

/// Adds the architectures of GPU images, and returns what is known of the
/// images of each.
static json::Array describeGpu(ModuleOp module, json::Array &targets) {
  llvm::MapVector<StringRef, json::Object> archs;
  for (auto binary : module.getOps<plan::BinaryOp>()) {
    if (!binary.getArch())
      continue;
    json::Object &arch = archs[*binary.getArch()];
    StringRef image(reinterpret_cast<const char *>(binary.getData().data()),
                    binary.getData().size());
    if (binary.getFormat() == "ptx") {
      // "\n.version 7.0\n"
      StringRef version = image.split("\n.version ").second;
      arch["ptx"] = version.take_until([](char c) { return isspace(c); }).str();
    } else if (auto release = binary->getAttrOfType<StringAttr>("moe.ptxas")) {
      arch["ptxas"] = release.str();
    }
    json::Array *images = arch.getArray("images");
    if (!images)
      images =
          arch.try_emplace("images", json::Array()).first->second.getAsArray();
    images->push_back(binary.getFormat().str());
  }
  json::Array list;
  for (auto &[name, arch] : archs) {
    targets.push_back(name.str());
    arch["arch"] = name.str();
    list.push_back(std::move(arch));
  }
  return list;
}

std::string
moe::buildMetadata(ModuleOp module, const moert::VerifiedPlan &plan,
                   ArrayRef<uint8_t> planBytes, ArrayRef<char> offloading,
                   const std::map<std::string, std::string> &hashes) {
  auto attributeOr = [&](StringRef name, json::Value otherwise) -> json::Value {
    Attribute attr = module->getAttr(name);
    return attr ? toJson(attr) : std::move(otherwise);
  };

  json::Array targets;
  describeHost(module, targets);
  json::Array gpu = describeGpu(module, targets);

  uint64_t weightBytes = 0;
  for (const fb::Constant *constant : *plan->constants())
    weightBytes += constant->bytes();
  json::Object weights{{"mode", attributeOr("moe.weights", "external")},
                       {"fingerprint", plan->fingerprint()->str()},
                       {"bytes", static_cast<int64_t>(weightBytes)}};
  if (auto path = module->getAttrOfType<StringAttr>("moe.checkpoint"))
    weights["paths"] = json::Array{path.str()};
  if (!hashes.empty()) {
    json::Object object;
    for (const auto &[name, hash] : hashes)
      object[name] = hash;
    weights["content_xxh3"] = std::move(object);
  }

  json::Array functions;
  for (const fb::Function *function : *plan->functions())
    functions.push_back(json::Object{
        {"name", function->name()->str()},
        {"inputs", describeTensors(*function, *function->inputs())},
        {"outputs", describeTensors(*function, *function->outputs())}});

  json::Object root{
      {"schema", "moe.meta/1"},
      {"format", json::Object{{"major", moert::planFormatMajor},
                              {"minor", moert::planFormatMinor}}},
      {"compiler", json::Object{{"version", MOE_VERSION_STRING},
                                {"llvm", LLVM_VERSION_STRING}}},
      {"model", attributeOr("moe.model", json::Object{})},
      {"targets", std::move(targets)},
      {"numerics", attributeOr("moe.numerics", "default")},
      {"weights", std::move(weights)},
      {"functions", std::move(functions)},
      {"plan_xxh3", moert::xxh3Hex(planBytes.data(), planBytes.size())},
      {"text_xxh3", std::string(kHashDigits, '0')}};
  if (!gpu.empty()) {
    root["gpu"] = std::move(gpu);
    root["offloading_xxh3"] =
        moert::xxh3Hex(offloading.data(), offloading.size());
  }
  std::string text;
  // Keys are printed in order, so equal metadata is equal text.
  llvm::raw_string_ostream(text)
      << llvm::formatv("{0:2}", json::Value(std::move(root)));
  return text;
}
