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

/// A tensor of the checkpoint as a role has it.
struct RoleInfo {
  /// The end of the symbol name.
  StringRef suffix;
  /// Rows and columns of one matrix, [out, in], or the elements of a vector.
  std::vector<int64_t> shape;
  /// Every expert has one.
  bool isExpert = false;
  /// Of the shared experts, which need not be there.
  bool isShared = false;
  /// One of the two or three matrices of an MLP.
  bool isMatrix = false;
  /// What it is split into; empty when it is not.
  std::vector<Role> parts = {};
};

/// Looks up tensors and collects what is wrong with them.
class Binder {
public:
  Binder(const ImportedModel &model, const moert::Checkpoint &checkpoint)
      : model(model), checkpoint(checkpoint) {}

  void bind(ImportedBlock &block);
  bool isTiredOfProblems() const { return count >= maxCounted; }
  Status finish() const;

private:
  const Spelling &chooseSpelling(const ImportedBlock &block) const;
  void bindTensor(ImportedBlock &block, const TensorName &name,
                  const Spelling &spelling);
  /// Checks the tensor, or its codes and scales, of each expert it is about.
  void checkSources(const ImportedBlock &block, const ImportedWeight &weight,
                    const std::string &pattern,
                    const std::vector<int64_t> &source);
  void check(const std::string &name, moert::DType dtype,
             const std::vector<int64_t> &shape);
  bool isEncoded(const RoleInfo &info, const std::string &pattern,
                 const Spelling &spelling) const;
  RoleInfo getInfo(Role role, const ImportedBlock &block) const;

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

/// The name of a tensor of a block; `{E}` is left.
static std::string ofBlock(StringRef pattern, const ImportedBlock &block) {
  std::string name = expand(pattern, "{S}", block.stack->prefix);
  return expand(name, "{L}", std::to_string(block.index));
}

static std::string ofExpert(StringRef pattern, int64_t expert) {
  return expand(pattern, "{E}", std::to_string(expert));
}

RoleInfo Binder::getInfo(Role role, const ImportedBlock &block) const {
  int64_t hidden = model.hidden, width = block.width;
  int64_t choices = block.experts + model.identityExperts;
  auto expert = [](StringRef suffix, std::vector<int64_t> shape,
                   std::vector<Role> parts = {}) {
    bool isMatrix = shape.size() == 2;
    return RoleInfo{suffix, std::move(shape), true,
                    false,  isMatrix,         std::move(parts)};
  };
  auto shared = [](StringRef suffix, std::vector<int64_t> shape,
                   bool isMatrix = false) {
    return RoleInfo{suffix, std::move(shape), false, true, isMatrix};
  };
  switch (role) {
  case Role::Router:
    return {"router", {choices, hidden}};
  case Role::RouterBias:
    return {"router_bias", {choices}};
  case Role::SelectBias:
    return {"select_bias", {choices}};
  case Role::Gate:
    return expert("gate", {width, hidden});
  case Role::Up:
    return expert("up", {width, hidden});
  case Role::GateUp:
    return expert("gate_up", {2 * width, hidden}, {Role::Gate, Role::Up});
  case Role::Down:
    return expert("down", {hidden, width});
  case Role::GateBias:
    return expert("gate_bias", {width});
  case Role::UpBias:
    return expert("up_bias", {width});
  case Role::GateUpBias:
    return expert("gate_up_bias", {2 * width}, {Role::GateBias, Role::UpBias});
  case Role::DownBias:
    return expert("down_bias", {hidden});
  case Role::OutputBias:
    return {"output_bias", {hidden}};
  case Role::SharedGate:
    return shared("shared.gate", {model.sharedWidth, hidden}, true);
  case Role::SharedUp:
    return shared("shared.up", {model.sharedWidth, hidden}, true);
  case Role::SharedDown:
    return shared("shared.down", {hidden, model.sharedWidth}, true);
  case Role::SharedGateBias:
    return shared("shared.gate_bias", {model.sharedWidth});
  case Role::SharedUpBias:
    return shared("shared.up_bias", {model.sharedWidth});
  case Role::SharedDownBias:
    return shared("shared.down_bias", {hidden});
  case Role::SharedScale:
    return shared("shared.scale", {1, hidden});
  case Role::Mix: {
    RoleInfo info = shared("mix", {2, hidden});
    info.parts = {Role::MixRouted, Role::MixShared};
    return info;
  }
  case Role::MixRouted:
    return shared("mix.routed", {1, hidden});
  case Role::MixShared:
    return shared("mix.shared", {1, hidden});
  case Role::MixBias: {
    RoleInfo info = shared("mix_bias", {2});
    info.parts = {Role::MixRoutedBias, Role::MixSharedBias};
    return info;
  }
  case Role::MixRoutedBias:
    return shared("mix.routed_bias", {1});
  case Role::MixSharedBias:
    return shared("mix.shared_bias", {1});
  }
  llvm_unreachable("unknown role");
}

/// Matrices under the spelling of a method are encoded; under another one those
/// that have scales, as the method may leave some layers out.
bool Binder::isEncoded(const RoleInfo &info, const std::string &pattern,
                       const Spelling &spelling) const {
  if (!model.quantisation || !info.isMatrix)
    return false;
  if (!spelling.method.empty())
    return true;
  if (model.quantisation->encoding != WeightEncoding::Fp8Block)
    return false;
  std::string name = ofExpert(pattern, 0);
  const moert::TensorEntry *codes = checkpoint.find(name);
  return (codes && codes->dtype == moert::DType::F8E4M3) ||
         checkpoint.find(name + model.quantisation->scales.str());
}

/// The spelling of which the most tensors are there, then the one with the
/// fewest missing, then the preferred one. Looking at one expert is enough to
/// tell them apart.
const Spelling &Binder::chooseSpelling(const ImportedBlock &block) const {
  const Spelling *best = nullptr;
  size_t mostFound = 0;
  for (const Spelling &spelling : model.family->spellings) {
    if (!spelling.method.empty() &&
        (!model.quantisation || spelling.method != model.quantisation->method))
      continue;
    size_t found = 0;
    for (const TensorName &name : spelling.names) {
      std::string pattern = ofExpert(ofBlock(name.pattern, block), 0);
      if (isEncoded(getInfo(name.role, block), pattern, spelling))
        pattern += model.quantisation->codes.str();
      found += checkpoint.find(pattern) != nullptr;
    }
    if (!best || found > mostFound ||
        (found > 0 && found == mostFound &&
         spelling.names.size() < best->names.size())) {
      best = &spelling;
      mostFound = found;
    }
  }
  return *best;
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

/// Of positive numbers; b may be as large as a file says.
static int64_t ceilDiv(int64_t a, int64_t b) { return (a - 1) / b + 1; }

void Binder::checkSources(const ImportedBlock &block,
                          const ImportedWeight &weight,
                          const std::string &pattern,
                          const std::vector<int64_t> &source) {
  moert::DType dtype = weight.dtype, scalesDType = moert::DType::U8;
  std::vector<int64_t> shape = weight.stored.empty() ? source : weight.stored;
  std::vector<int64_t> scales;
  if (weight.encoding == WeightEncoding::Mxfp4) {
    dtype = moert::DType::U8;
    scales.assign(shape.begin(), shape.end() - 1);
  } else if (weight.encoding == WeightEncoding::Fp8Block) {
    dtype = moert::DType::F8E4M3;
    scalesDType = moert::DType::F32;
    scales = {ceilDiv(shape[0], weight.block[0]),
              ceilDiv(shape[1], weight.block[1])};
  }
  bool isPerExpert = StringRef(pattern).contains("{E}");
  for (int64_t e = 0, end = isPerExpert ? block.experts : 1;
       e < end && !isTiredOfProblems(); ++e) {
    std::string name = ofExpert(pattern, e);
    if (!weight.encoding) {
      check(name, dtype, shape);
      continue;
    }
    check(name + model.quantisation->codes.str(), dtype, shape);
    check(name + model.quantisation->scales.str(), scalesDType, scales);
  }
}

void Binder::bindTensor(ImportedBlock &block, const TensorName &name,
                        const Spelling &spelling) {
  RoleInfo info = getInfo(name.role, block);
  std::string pattern = ofBlock(name.pattern, block);
  bool isPerExpert = StringRef(pattern).contains("{E}");
  bool hasLeading = info.isExpert && !isPerExpert;
  bool isTransposed = name.layout & Transposed;
  // One MLP is a stack of one expert.
  bool isSharedMlp =
      info.isShared && info.parts.empty() && name.role != Role::SharedScale;

  ImportedWeight weight;
  weight.dtype =
      name.role == Role::SelectBias ? moert::DType::F32 : model.dtype;
  weight.transpose = isTransposed;
  weight.stack = isPerExpert || isSharedMlp;
  std::vector<int64_t> source = info.shape;
  if (isTransposed)
    std::swap(source[0], source[1]);
  if (hasLeading)
    source.insert(source.begin(), block.experts);
  if (name.layout & Merged)
    weight.stored = {source[0] * source[1], source[2]};

  std::string experts =
      isPerExpert
          ? expand(pattern, "{E}", concat("{0..", block.experts - 1, "}"))
          : pattern;
  weight.source = experts;
  if (isEncoded(info, pattern, spelling) &&
      (model.quantisation->encoding == WeightEncoding::Mxfp4 ||
       source.size() == 2)) {
    const Quantisation &quantisation = *model.quantisation;
    weight.encoding = quantisation.encoding;
    weight.source = experts + quantisation.codes.str();
    weight.scales = experts + quantisation.scales.str();
    if (quantisation.encoding == WeightEncoding::Fp8Block) {
      weight.block = {quantisation.block[0], quantisation.block[1]};
    } else {
      // Two codes to a byte, 32 to a scale.
      weight.stored = source;
      weight.stored.back() = ceilDiv(source.back(), 32);
      weight.stored.push_back(16);
    }
  }
  checkSources(block, weight, pattern, source);

  size_t numParts = std::max<size_t>(info.parts.size(), 1);
  int64_t rows = info.shape[0], partRows = rows / numParts;
  int64_t dimension =
      hasLeading + (isTransposed && info.shape.size() == 2 ? 1 : 0);
  for (size_t i = 0; i < numParts; ++i) {
    ImportedWeight part = weight;
    part.role = info.parts.empty() ? name.role : info.parts[i];
    part.symbol =
        concat(block.getName(), ".", getInfo(part.role, block).suffix.str());
    part.shape = info.shape;
    part.shape[0] = partRows;
    if (info.isExpert)
      part.shape.insert(part.shape.begin(), block.experts);
    else if (isSharedMlp)
      part.shape.insert(part.shape.begin(), 1);
    int64_t begin = i;
    if (numParts > 1 && name.layout & Interleaved)
      part.split = {dimension, begin, rows, static_cast<int64_t>(numParts),
                    rows};
    else if (numParts > 1)
      part.split = {dimension, begin * partRows, (begin + 1) * partRows, 1,
                    rows};
    block.weights.push_back(std::move(part));
  }
}

void Binder::bind(ImportedBlock &block) {
  const Spelling &spelling = chooseSpelling(block);
  for (const TensorName &name : spelling.names)
    if (model.sharedWidth > 0 || !getInfo(name.role, block).isShared)
      bindTensor(block, name, spelling);
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
