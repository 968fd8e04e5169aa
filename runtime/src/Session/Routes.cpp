//===- Routes.cpp - What routers chose, in a file -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Session/Routes.h"

#include "moert/Format/Safetensors.h"

#include <charconv>
#include <cstring>

using namespace moert;

static constexpr std::string_view idsSuffix = ".ids";

/// As in plans.
static constexpr uint32_t maxExperts = 1u << 20;

Status Routes::write(const std::string &path) const {
  std::vector<TensorSpec> specs;
  std::map<std::string, std::string> metadata = {{"schema", routesSchema},
                                                 {"model", model},
                                                 {"fingerprint", fingerprint},
                                                 {"function", function}};
  for (const Layer &layer : layers) {
    const std::vector<int64_t> shape = {layer.tokens, layer.perToken};
    specs.push_back({layer.name + ".ids", DType::I32, shape});
    specs.push_back({layer.name + ".weights", DType::F32, shape});
    metadata[layer.name + ".experts"] = concat(layer.experts);
    metadata[layer.name + ".per_token"] = concat(layer.perToken);
  }
  MOE_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                       SafetensorsWriter::create(path, specs, metadata));
  for (const Layer &layer : layers) {
    MOE_RETURN_IF_ERROR(
        writer.write(layer.ids.data(), layer.ids.size() * sizeof(int32_t)));
    MOE_RETURN_IF_ERROR(writer.write(layer.weights.data(),
                                     layer.weights.size() * sizeof(float)));
  }
  return writer.finish();
}

static Status notRoutes(const std::string &path, std::string why) {
  return Status::error(16, "not a file of routes")
      .at(path)
      .because(std::move(why))
      .fix("write one with moe-run --record-routes=FILE");
}

namespace {

/// Reads one file.
class Reader {
public:
  explicit Reader(const SafetensorsFile &file) : file(file) {}

  StatusOr<Routes> read() {
    if (value("schema") != routesSchema)
      return bad(
          concat("its schema is '", value("schema"), "', not ", routesSchema));
    Routes routes;
    routes.model = value("model");
    routes.fingerprint = value("fingerprint");
    routes.function = value("function");
    size_t weights = 0;
    for (const TensorEntry &entry : file.tensors()) {
      std::string_view name = entry.name;
      if (name.size() <= idsSuffix.size() ||
          name.substr(name.size() - idsSuffix.size()) != idsSuffix) {
        ++weights;
        continue;
      }
      name.remove_suffix(idsSuffix.size());
      MOE_ASSIGN_OR_RETURN(Routes::Layer layer, readLayer(std::string(name)));
      routes.layers.push_back(std::move(layer));
    }
    if (routes.layers.empty())
      return bad("it has no tensor '<layer>.ids'");
    if (weights != routes.layers.size())
      return bad("it has tensors that belong to no layer");
    return StatusOr<Routes>(std::move(routes));
  }

private:
  Status bad(std::string why) { return notRoutes(file.path(), std::move(why)); }

  std::string value(const std::string &key) {
    auto it = file.metadata().find(key);
    return it == file.metadata().end() ? "" : it->second;
  }

  StatusOr<uint32_t> number(const std::string &key) {
    const std::string text = value(key);
    uint32_t result = 0;
    auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), result);
    if (error != std::errc() || end != text.data() + text.size())
      return bad(
          concat("its metadata '", key, "' is '", text, "', not a number"));
    return result;
  }

  StatusOr<Routes::Layer> readLayer(std::string name) {
    Routes::Layer layer;
    layer.name = std::move(name);
    MOE_ASSIGN_OR_RETURN(layer.experts, number(layer.name + ".experts"));
    MOE_ASSIGN_OR_RETURN(layer.perToken, number(layer.name + ".per_token"));
    // So the size of the file bounds the number of tokens, too.
    if (layer.experts > maxExperts || layer.perToken < 1 ||
        layer.perToken > layer.experts)
      return bad(concat("its layer '", layer.name, "' chooses ", layer.perToken,
                        " of ", layer.experts, " experts"));
    const TensorEntry *parts[] = {file.find(layer.name + ".ids"),
                                  file.find(layer.name + ".weights")};
    for (const TensorEntry *part : parts) {
      const bool isIds = part == parts[0];
      if (!part)
        return bad(concat("it has no tensor '", layer.name, ".weights'"));
      if (part->dtype != (isIds ? DType::I32 : DType::F32) ||
          part->shape.size() != 2 || part->shape[1] != layer.perToken ||
          part->shape[0] != parts[0]->shape[0])
        return bad(
            concat("tensor '", part->name, "' is ", moert::name(part->dtype),
                   " ", formatShape(part->shape), ", needed is ",
                   isIds ? "I32" : "F32", " [tokens, ", layer.perToken, "]"));
    }
    layer.tokens = parts[0]->shape[0];
    const size_t count = parts[0]->bytes / sizeof(int32_t);
    layer.ids.resize(count);
    layer.weights.resize(count);
    if (count) {
      std::memcpy(layer.ids.data(), parts[0]->data, parts[0]->bytes);
      std::memcpy(layer.weights.data(), parts[1]->data, parts[1]->bytes);
    }
    MOE_RETURN_IF_ERROR(checkIds(layer));
    return StatusOr<Routes::Layer>(std::move(layer));
  }

  Status checkIds(const Routes::Layer &layer) {
    // Lists are built from the ids without further checks. The last token that
    // had each expert, counted from 1.
    std::vector<int64_t> seen(layer.experts, 0);
    for (int64_t token = 0; token < layer.tokens; ++token)
      for (uint32_t j = 0; j < layer.perToken; ++j) {
        const int32_t id = layer.ids[token * layer.perToken + j];
        auto wrong = [&](std::string what) {
          return Status::error(14, concat("token ", token, " of layer '",
                                          layer.name, "' ", what))
              .at(file.path())
              .fix("record the routes again: moe-run --record-routes=FILE");
        };
        if (id == -1)
          continue;
        if (id < 0 || uint32_t(id) >= layer.experts)
          return wrong(concat("has expert ", id, ", outside 0 to ",
                              int64_t(layer.experts) - 1));
        if (seen[id] == token + 1)
          return wrong(concat("has expert ", id, " twice"));
        seen[id] = token + 1;
      }
    return {};
  }

  const SafetensorsFile &file;
};

} // namespace

StatusOr<Routes> Routes::read(const std::string &path) {
  StatusOr<std::shared_ptr<const SafetensorsFile>> file =
      SafetensorsFile::open(path);
  if (file.status().number() == 404) // Which speaks of weights.
    return notRoutes(path, file.status().what());
  MOE_RETURN_IF_ERROR(file.status());
  return Reader(**file).read();
}
