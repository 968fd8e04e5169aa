//===- Metadata.cpp - The JSON metadata of an artifact --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Metadata.h"

#include "moert/Format/PlanReader.h"

#include <nlohmann/json.hpp>

using namespace moert;
using nlohmann::json;

namespace {

/// Reads typed values and remembers the first problem.
class Reader {
public:
  std::string problem;

  const json *get(const json &object, const char *key, bool required) {
    auto it = object.find(key);
    if (it != object.end())
      return &*it;
    if (required)
      fail(key, "is missing");
    return nullptr;
  }
  void read(const json &object, const char *key, std::string &out,
            bool required = false) {
    const json *value = get(object, key, required);
    if (!value)
      return;
    if (!value->is_string())
      return fail(key, "is no string");
    out = value->get<std::string>();
  }
  template <typename T>
  void readNumber(const json &object, const char *key, T &out,
                  bool required = false) {
    const json *value = get(object, key, required);
    if (!value)
      return;
    if (!value->is_number_unsigned() ||
        value->get<uint64_t>() > uint64_t(std::numeric_limits<T>::max()))
      return fail(key, "is no number in range");
    out = value->get<T>();
  }
  void read(const json &object, const char *key,
            std::vector<std::string> &out) {
    const json *value = get(object, key, false);
    if (!value)
      return;
    bool good = value->is_array();
    for (size_t i = 0; good && i < value->size(); ++i) {
      good = (*value)[i].is_string();
      if (good)
        out.push_back((*value)[i].get<std::string>());
    }
    if (!good)
      fail(key, "is no list of strings");
  }
  void read(const json &object, const char *key,
            std::map<std::string, std::string> &out) {
    const json *value = get(object, key, false);
    if (!value)
      return;
    bool good = value->is_object();
    for (auto it = value->begin(); good && it != value->end(); ++it) {
      good = it->is_string();
      if (good)
        out[it.key()] = it->get<std::string>();
    }
    if (!good)
      fail(key, "does not map names to strings");
  }
  /// The object under `key`, an empty one when there is none.
  json object(const json &parent, const char *key, bool required = false) {
    const json *value = get(parent, key, required);
    if (value && !value->is_object())
      fail(key, "is no object");
    return value && value->is_object() ? *value : json::object();
  }

private:
  void fail(const char *key, const char *what) {
    if (problem.empty())
      problem = concat("key '", key, "' of the metadata ", what);
  }
};

} // namespace

StatusOr<Metadata> moert::readMetadata(const uint8_t *data, uint64_t size,
                                       const std::string &where) {
  auto damaged = [&](std::string what) {
    return Status::error(303, std::move(what))
        .at(where)
        .fix("copy the file again, or compile the model again");
  };
  while (size > 0 && data[size - 1] == 0)
    --size;
  Metadata meta;
  meta.json.assign(reinterpret_cast<const char *>(data), size);
  json root = json::parse(meta.json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    return damaged("metadata is no JSON object");
  Reader reader;
  std::string schema;
  reader.read(root, "schema", schema, /*required=*/true);
  json format = reader.object(root, "format", /*required=*/true);
  reader.readNumber(format, "major", meta.formatMajor, /*required=*/true);
  reader.readNumber(format, "minor", meta.formatMinor, /*required=*/true);
  if (!reader.problem.empty())
    return damaged(reader.problem);
  if (schema != "moe.meta/1" || meta.formatMajor != planFormatMajor)
    return Status::error(301,
                         concat("artifact has format ", meta.formatMajor, ".",
                                meta.formatMinor, "; this runtime reads ",
                                planFormatMajor, ".x"))
        .at(where)
        .fix(meta.formatMajor > planFormatMajor
                 ? "upgrade the runtime, or compile the model again with the "
                   "moe-compile of this release"
                 : "compile the model again with the moe-compile of this "
                   "release");
  json compiler = reader.object(root, "compiler");
  reader.read(compiler, "version", meta.compilerVersion);
  reader.read(compiler, "llvm", meta.llvmVersion);
  json model = reader.object(root, "model");
  reader.read(model, "name", meta.modelName);
  reader.read(model, "arch", meta.architecture);
  reader.readNumber(model, "layers", meta.layers);
  reader.readNumber(model, "experts", meta.experts);
  reader.readNumber(model, "top_k", meta.topK);
  reader.read(root, "targets", meta.targets);
  reader.read(root, "numerics", meta.numerics);
  json weights = reader.object(root, "weights", /*required=*/true);
  reader.read(weights, "mode", meta.weightsMode, /*required=*/true);
  reader.read(weights, "fingerprint", meta.weightsFingerprint,
              /*required=*/true);
  reader.readNumber(weights, "bytes", meta.weightsBytes);
  reader.read(weights, "paths", meta.weightsPaths);
  reader.read(weights, "content_xxh3", meta.contentHashes);
  reader.read(root, "plan_xxh3", meta.planHash, /*required=*/true);
  reader.read(root, "text_xxh3", meta.textHash);
  reader.read(root, "offloading_xxh3", meta.offloadHash);
  if (!reader.problem.empty())
    return damaged(reader.problem);
  return meta;
}
