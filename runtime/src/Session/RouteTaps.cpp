//===- RouteTaps.cpp - Recording and replaying routes ---------------------===//
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

void Session::recordRoutes(bool enabled) {
  std::lock_guard<std::mutex> lock(mutex);
  recordsRoutes = enabled;
  recordedRoutes.reset();
}

Status Session::writeRoutes(const std::string &path) const {
  std::lock_guard<std::mutex> lock(mutex);
  if (!recordedRoutes)
    return Status::error(2, "there are no routes to write")
        .because(recordsRoutes ? "no call was made since recording began"
                               : "recording is off")
        .fix("record, call the function, then write");
  if (recordedRoutes->layers.empty())
    return Status::error(16, concat("function '", recordedRoutes->function,
                                    "' has no routes to write"))
        .at(source->path())
        .because("it has no router, or only such whose experts choose tokens")
        .fix("call a function with a router");
  return recordedRoutes->write(path);
}

Status Session::replayRoutes(const std::string &path) {
  MOE_ASSIGN_OR_RETURN(Routes routes, Routes::read(path));
  const std::string &fingerprint = source->metadata().weightsFingerprint;
  if (routes.fingerprint != fingerprint)
    return Status::error(16, "the routes are of another model")
        .at(path)
        .because(concat("they were recorded for ",
                        routes.model.empty() ? "a model" : routes.model,
                        " with fingerprint '", routes.fingerprint,
                        "', the artifact has '", fingerprint, "'"))
        .fix("record them with this artifact");
  if (!findFunction(source->plan(), routes.function))
    return Status::error(
               16, concat("the routes are of function '", routes.function, "'"))
        .at(path)
        .because("the artifact has no such function")
        .fix("record them with this artifact");
  std::lock_guard<std::mutex> lock(mutex);
  replayedRoutes = std::move(routes);
  return {};
}

void Session::stopReplay() {
  std::lock_guard<std::mutex> lock(mutex);
  replayedRoutes.reset();
}

/// Finds the routes of every tap of the call.
Status Session::matchReplay(Call &call) const {
  if (!call.replaysRoutes)
    return {};
  auto wrong = [](std::string what) {
    return Status::error(16, std::move(what))
        .fix("record the routes with this artifact and as many tokens");
  };
  for (Call::Tap &tap : call.taps) {
    const fb::TapRoutes &command = *tap.command;
    const std::string name = command.layer()->str();
    for (const Routes::Layer &layer : replayedRoutes->layers)
      if (layer.name == name)
        tap.layer = &layer;
    if (!tap.layer)
      return wrong(concat("there are no routes of layer '", name, "'"));
    if (tap.layer->experts != command.experts() ||
        tap.layer->perToken != command.per_token())
      return wrong(concat("the routes of layer '", name, "' choose ",
                          tap.layer->perToken, " of ", tap.layer->experts,
                          " experts, the artifact ", command.per_token(),
                          " of ", command.experts()));
    if (tap.layer->tokens != tap.tokens)
      return wrong(concat("the routes of layer '", name, "' are of ",
                          tap.layer->tokens, " tokens, the call has ",
                          tap.tokens));
    if (command.read_only())
      return Status::error(16,
                           concat("routes of layer '", name,
                                  "' cannot be replayed on ", deviceFacts.name))
          .because("one kernel chooses the experts and builds the lists there")
          .fix("replay them with --device=cpu");
  }
  if (call.taps.size() != replayedRoutes->layers.size())
    return wrong(concat("there are routes of ", replayedRoutes->layers.size(),
                        " layers, the function has ", call.taps.size()));
  return {};
}

void Session::stageReplay(const Call &call) const {
  for (const Call::Tap &tap : call.taps)
    if (tap.layer && tap.bytes) {
      uint8_t *target = call.staging + tap.replayed;
      std::memcpy(target, tap.layer->ids.data(), tap.bytes);
      std::memcpy(target + tap.bytes, tap.layer->weights.data(), tap.bytes);
    }
}

/// Replays first, so that what is recorded is what was used.
Status Session::runTap(const Call &call, size_t index) {
  const Call::Tap &tap = call.taps[index];
  if (tap.bytes == 0)
    return {};
  uint64_t part = 0;
  for (const fb::Arg *arg : {tap.command->ids(), tap.command->weights()}) {
    void *array = call.resolve(*arg).ptr;
    if (call.replaysRoutes)
      MOE_RETURN_IF_ERROR(
          stream->copy(array, call.staging + tap.replayed + part, tap.bytes));
    if (call.recordsRoutes)
      MOE_RETURN_IF_ERROR(
          stream->copy(call.staging + tap.recorded + part, array, tap.bytes));
    part += tap.bytes;
  }
  return {};
}

void Session::finishTaps(const Call &call) {
  if (!call.recordsRoutes)
    return;
  Routes routes;
  routes.model = source->metadata().modelName;
  routes.fingerprint = source->metadata().weightsFingerprint;
  routes.function = call.function.name()->str();
  for (const Call::Tap &tap : call.taps) {
    Routes::Layer layer;
    layer.name = tap.command->layer()->str();
    layer.experts = tap.command->experts();
    layer.perToken = tap.command->per_token();
    layer.tokens = tap.tokens;
    layer.ids.resize(tap.bytes / sizeof(int32_t));
    layer.weights.resize(layer.ids.size());
    if (tap.bytes) {
      const uint8_t *ids = call.staging + tap.recorded;
      std::memcpy(layer.ids.data(), ids, tap.bytes);
      std::memcpy(layer.weights.data(), ids + tap.bytes, tap.bytes);
    }
    // Where there is no expert, the weight may be what the memory held before.
    for (size_t i = 0; i < layer.ids.size(); ++i)
      if (layer.ids[i] < 0)
        layer.weights[i] = 0;
    routes.layers.push_back(std::move(layer));
  }
  recordedRoutes = std::move(routes);
}
