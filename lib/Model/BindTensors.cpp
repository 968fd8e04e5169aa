//===- BindTensors.cpp - From tensor names to weights ---------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ImportedModel.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;
using moert::concat;

namespace {

/// How many problems are spelled out, and after how many the search ends: a
/// config.json may ask for any number of tensors.
constexpr size_t maxListed = 5;
constexpr size_t maxCounted = 1000;

/// Looks up tensors and collects what is wrong with them.
class Binder {
public:
  Binder(const ImportedModel &model, const moert::Checkpoint &checkpoint)
      : model(model), checkpoint(checkpoint) {}

  void bind(ImportedBlock &block);
  bool isTiredOfProblems() const { return count >= maxCounted; }
  Status finish() const;

private:
  const Spelling &chooseSpelling(int64_t layer) const;
  void bindTensor(ImportedBlock &block, const TensorName &name);
  void check(const std::string &name, moert::DType dtype,
             const std::vector<int64_t> &shape);
  std::vector<int64_t> sourceShape(Role role, bool perExpert) const;

  const ImportedModel &model;
  const moert::Checkpoint &checkpoint;
  size_t count = 0;
  std::vector<std::string> problems;
};

} // namespace

static std::string expand(StringRef pattern, StringRef hole, StringRef text) {
  size_t at = pattern.find(hole);
  if (at == StringRef::npos)
    return pattern.str();
  return (pattern.take_front(at) + text + pattern.substr(at + hole.size()))
      .str();
}

static std::string ofLayer(StringRef pattern, int64_t layer) {
  return expand(pattern, "{L}", std::to_string(layer));
}

static bool isShared(Role role) {
  return role == Role::SharedGate || role == Role::SharedUp ||
         role == Role::SharedDown || role == Role::SharedScale;
}

/// The end of the symbol name.
static StringRef suffixOf(Role role) {
  switch (role) {
  case Role::Router:
    return "router";
  case Role::SelectBias:
    return "select_bias";
  case Role::Gate:
    return "gate";
  case Role::Up:
    return "up";
  case Role::GateUp:
    return "gate_up";
  case Role::Down:
    return "down";
  case Role::SharedGate:
    return "shared.gate";
  case Role::SharedUp:
    return "shared.up";
  case Role::SharedDown:
    return "shared.down";
  case Role::SharedScale:
    return "shared.scale";
  }
  llvm_unreachable("unknown role");
}

/// The shape of a tensor in the checkpoint.
std::vector<int64_t> Binder::sourceShape(Role role, bool perExpert) const {
  std::vector<int64_t> shape;
  switch (role) {
  case Role::Router:
    return {model.experts, model.hidden};
  case Role::SelectBias:
    return {model.experts};
  case Role::Gate:
  case Role::Up:
    shape = {model.width, model.hidden};
    break;
  case Role::GateUp:
    shape = {2 * model.width, model.hidden};
    break;
  case Role::Down:
    shape = {model.hidden, model.width};
    break;
  case Role::SharedGate:
  case Role::SharedUp:
    return {model.sharedWidth, model.hidden};
  case Role::SharedDown:
    return {model.hidden, model.sharedWidth};
  case Role::SharedScale:
    return {1, model.hidden};
  }
  if (!perExpert)
    shape.insert(shape.begin(), model.experts);
  return shape;
}

/// The spelling of which the most tensors are there; the preferred one when
/// none is. Looking at one expert is enough to tell them apart.
const Spelling &Binder::chooseSpelling(int64_t layer) const {
  const std::vector<Spelling> &spellings = model.family->spellings;
  size_t best = 0, mostFound = 0;
  for (size_t i = 0; i < spellings.size(); ++i) {
    size_t found = 0;
    for (const TensorName &name : spellings[i])
      found += checkpoint.find(
                   expand(ofLayer(name.pattern, layer), "{E}", "0")) != nullptr;
    if (found > mostFound) {
      mostFound = found;
      best = i;
    }
  }
  return spellings[best];
}

static std::string describe(moert::DType dtype,
                            const std::vector<int64_t> &shape) {
  return concat(moert::name(dtype), " ", moert::formatShape(shape));
}

void Binder::check(const std::string &name, moert::DType dtype,
                   const std::vector<int64_t> &shape) {
  const moert::TensorEntry *entry = checkpoint.find(name);
  if (entry && entry->dtype == dtype && entry->shape == shape)
    return;
  ++count;
  if (problems.size() == maxListed)
    return;
  std::string problem = concat("'", name, "'");
  if (entry)
    problem +=
        concat(" in ", llvm::sys::path::filename(entry->file->path()).str(),
               " is ", describe(entry->dtype, entry->shape));
  else
    problem += " is missing";
  problems.push_back(concat(problem, ", expected ", describe(dtype, shape)));
}

void Binder::bindTensor(ImportedBlock &block, const TensorName &name) {
  bool perExpert = name.pattern.contains("{E}");
  std::string pattern = ofLayer(name.pattern, block.layer);
  moert::DType dtype =
      name.role == Role::SelectBias ? moert::DType::F32 : model.dtype;
  std::vector<int64_t> source = sourceShape(name.role, perExpert);
  if (!perExpert)
    check(pattern, dtype, source);
  for (int64_t e = 0; perExpert && e < model.experts && !isTiredOfProblems();
       ++e)
    check(expand(pattern, "{E}", std::to_string(e)), dtype, source);

  auto symbol = [&](Role role) {
    return concat("layers.", block.layer, ".", suffixOf(role).str());
  };
  if (name.role == Role::GateUp) {
    for (Role role : {Role::Gate, Role::Up}) {
      int64_t begin = role == Role::Gate ? 0 : model.width;
      block.weights.push_back(
          {role, symbol(role), dtype, sourceShape(role, perExpert), pattern,
           /*stack=*/false,
           std::array<int64_t, 5>{1, begin, begin + model.width, 1,
                                  2 * model.width}});
    }
    return;
  }
  ImportedWeight weight{
      name.role,
      symbol(name.role),
      dtype,
      source,
      expand(pattern, "{E}", concat("{0..", model.experts - 1, "}")),
      perExpert,
      std::nullopt};
  if (isShared(name.role) && name.role != Role::SharedScale) {
    // One MLP is a stack of one expert.
    weight.stack = true;
    weight.shape.insert(weight.shape.begin(), 1);
  } else if (perExpert) {
    weight.shape.insert(weight.shape.begin(), model.experts);
  }
  block.weights.push_back(std::move(weight));
}

void Binder::bind(ImportedBlock &block) {
  for (const TensorName &name : chooseSpelling(block.layer))
    if (model.sharedWidth > 0 || !isShared(name.role))
      bindTensor(block, name);
}

Status Binder::finish() const {
  if (count == 0)
    return {};
  std::string number = concat(isTiredOfProblems() ? "at least " : "", count);
  Status status =
      Status::error(206,
                    concat(number, count == 1 ? " tensor does" : " tensors do",
                           " not fit config.json"))
          .at(checkpoint.path())
          .because(problems.front())
          .fix("use config.json and the safetensors files of one and the same "
               "model");
  for (const std::string &problem : ArrayRef(problems).drop_front())
    status = std::move(status).context(problem);
  if (count > problems.size())
    status = std::move(status).context(
        concat("and ", count - problems.size(), " more"));
  return status;
}

Status model::bindTensors(ImportedModel &model,
                          const moert::Checkpoint &checkpoint) {
  Binder binder(model, checkpoint);
  for (ImportedBlock &block : model.blocks) {
    binder.bind(block);
    if (binder.isTiredOfProblems())
      break;
  }
  return binder.finish();
}
