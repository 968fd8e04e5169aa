//===- Artifact.cpp - Reading a model.moe without running it --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Artifact.h"

#include "moert/Format/KernelABI.h"

#include <algorithm>
#include <set>

using namespace moert;

static const char *const copyAgain =
    "copy the file again, or compile the model again";

StatusOr<std::shared_ptr<const Artifact>>
Artifact::open(const std::string &path) {
  std::shared_ptr<Artifact> result(new Artifact());
  MOE_ASSIGN_OR_RETURN(result->file, MappedFile::open(path));
  MOE_RETURN_IF_ERROR(result->verify());
  return std::shared_ptr<const Artifact>(std::move(result));
}

Status Artifact::verify() {
  auto damaged = [&](std::string what) {
    return Status::error(303, std::move(what)).at(path()).fix(copyAgain);
  };
  MOE_ASSIGN_OR_RETURN(sections,
                       ElfFile::parse(file->data(), file->size(), path()));
  const ElfSection *planBytes = sections.find(planSection);
  const ElfSection *metaBytes = sections.find(metaSection);
  const ElfSection *sumBytes = sections.find(sumSection);
  for (auto [section, name] : {std::make_pair(metaBytes, metaSection),
                               std::make_pair(planBytes, planSection),
                               std::make_pair(sumBytes, sumSection)})
    if (!section)
      return Status::error(304, "not a MoE artifact")
          .at(path())
          .because(concat("it has no section ", name))
          .fix("give a file that moe-compile wrote");

  uint64_t recorded = 0;
  if (sumBytes->size != 8)
    return damaged(
        concat("section .moe.sum has ", sumBytes->size, " bytes instead of 8"));
  for (int i = 7; i >= 0; --i)
    recorded = recorded << 8 | sumBytes->data[i];
  if (recorded != xxh3(metaBytes->data, metaBytes->size))
    return damaged("artifact is damaged: the checksum of its metadata does "
                   "not match");
  MOE_ASSIGN_OR_RETURN(meta,
                       readMetadata(metaBytes->data, metaBytes->size, path()));
  if (meta.planHash != xxh3Hex(planBytes->data, planBytes->size))
    return damaged("artifact is damaged: the checksum of its execution plan "
                   "does not match");
  if (!meta.textHash.empty()) {
    std::string code;
    for (const char *name : {".text", ".rodata"})
      if (const ElfSection *section = sections.find(name))
        code.append(reinterpret_cast<const char *>(section->data),
                    section->size);
    if (meta.textHash != xxh3Hex(code.data(), code.size()))
      return damaged("artifact is damaged: the checksum of its code does not "
                     "match");
  }
  if (const ElfSection *section = sections.find(offloadSection)) {
    if (!meta.offloadHash.empty() &&
        meta.offloadHash != xxh3Hex(section->data, section->size))
      return damaged("artifact is damaged: the checksum of its GPU images does "
                     "not match");
    MOE_ASSIGN_OR_RETURN(gpuImages,
                         readOffloading(section->data, section->size, path()));
  }
  MOE_ASSIGN_OR_RETURN(verified,
                       readPlan(planBytes->data, planBytes->size, path()));
  if (meta.weightsFingerprint != plan().fingerprint()->string_view())
    return damaged("metadata and plan of the artifact name different weights");

  if (plan().weights_mode() != fb::WeightsMode::Embedded)
    return {};
  weights = sections.find(weightsSection);
  if (!weights)
    return damaged("artifact has no section .moe.weights, which its plan "
                   "needs");
  for (uint32_t i = 0; i < plan().constants()->size(); ++i) {
    uint64_t offset = plan().embedded_offsets()->Get(i);
    uint64_t bytes = plan().constants()->Get(i)->bytes();
    if (offset > weights->size || bytes > weights->size - offset)
      return damaged(concat("embedded constant '",
                            plan().constants()->Get(i)->name()->string_view(),
                            "' at [", offset, ", +", bytes,
                            ") lies outside the ", weights->size,
                            " bytes of .moe.weights"));
  }
  return {};
}

std::vector<GpuArch> Artifact::gpuArchs() const {
  std::vector<GpuArch> archs;
  for (const GpuImage &image : gpuImages)
    archs.push_back(image.arch);
  std::sort(archs.begin(), archs.end());
  archs.erase(std::unique(archs.begin(), archs.end()), archs.end());
  return archs;
}

std::vector<std::string> Artifact::codeFor() const {
  std::vector<std::string> list;
  uint32_t levels = 0;
  for (const fb::Kernel *kernel : *plan().kernels())
    levels |= kernel->levels();
  static const char *const names[MOERT_ISA_COUNT] = {"avx2", "avx512", "amx"};
  std::string levelNames;
  for (int level = 0; level < MOERT_ISA_COUNT; ++level)
    if (levels >> level & 1)
      levelNames += concat(levelNames.empty() ? "" : ", ", names[level]);
  if (!levelNames.empty())
    list.push_back(concat("CPU (", levelNames, ")"));
  for (const GpuArch &arch : gpuArchs()) {
    std::string kinds;
    for (const GpuImage &image : gpuImages)
      if (image.arch == arch)
        kinds += concat(kinds.empty() ? "" : ", ", imageKindName(image.kind));
    list.push_back(concat(arch.name(), " (", kinds, ")"));
  }
  return list;
}

bool Artifact::emulatesAmx() const {
  const std::vector<std::string> &targets = meta.targets;
  return std::find(targets.begin(), targets.end(), "x86-64:amx (emulated)") !=
         targets.end();
}

const uint8_t *Artifact::embedded(uint32_t constant) const {
  return weights->data + plan().embedded_offsets()->Get(constant);
}

StatusOr<std::shared_ptr<const Checkpoint>>
moert::findCheckpoint(const Artifact &artifact, const std::string &option,
                      const std::vector<uint32_t> *constants) {
  std::vector<std::string> places;
  const std::string folder = parentPath(artifact.path());
  if (!option.empty()) {
    places.push_back(option);
  } else {
    places.push_back(concat(folder, "/weights"));
    for (const std::string &path : artifact.metadata().weightsPaths)
      places.push_back(
          !path.empty() && path[0] == '/' ? path : concat(folder, "/", path));
  }
  std::string searched;
  for (const std::string &place : places) {
    StatusOr<std::shared_ptr<const Checkpoint>> checkpoint =
        Checkpoint::open(place);
    if (checkpoint.ok()) {
      MOE_RETURN_IF_ERROR(
          matchCheckpoint(artifact.plan(), **checkpoint, constants));
      return checkpoint;
    }
    // What is there but damaged must not be passed over.
    if (checkpoint.status().number() != 401)
      return checkpoint;
    searched += concat(searched.empty() ? "" : "; ", "'", place, "' (",
                       checkpoint.status().because(), ")");
  }
  return Status::error(401,
                       concat("weights not found for '", artifact.path(), "'"))
      .because(concat("searched: ", searched))
      .fix("name the folder of the checkpoint: --weights=DIR");
}

StatusOr<std::shared_ptr<const SafetensorsFile>>
moert::openPackedWeights(const Artifact &artifact, const std::string &option) {
  std::string path = option.empty() ? artifact.packedPath() : option;
  if (isDirectory(path)) {
    std::string file = artifact.path();
    path +=
        concat("/", file.substr(file.rfind('/') + 1), ".weights.safetensors");
  }
  if (!isRegularFile(path))
    return Status::error(401, concat("packed weights not found for '",
                                     artifact.path(), "'"))
        .because(concat("searched: '", path, "'"))
        .fix("copy the file that moe-compile wrote beside the artifact, or "
             "name it: --weights=FILE");
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const SafetensorsFile> file,
                       SafetensorsFile::open(path));
  auto value = [&](const char *key) -> std::string {
    auto it = file->metadata().find(key);
    return it == file->metadata().end() ? "" : it->second;
  };
  if (value("layout") != packedLayoutId)
    return Status::error(402, concat("'", path,
                                     "' holds no packed weights of "
                                     "layout ",
                                     packedLayoutId))
        .because(concat("its layout is '", value("layout"), "'"))
        .fix("give the file that moe-compile --weights=packed wrote");
  const fb::Plan &plan = artifact.plan();
  if (value("fingerprint") != plan.fingerprint()->string_view())
    return Status::error(403, "weights of another model")
        .at(path)
        .because(concat("the fingerprint of the file is '",
                        value("fingerprint"), "', the artifact needs '",
                        plan.fingerprint()->string_view(), "'"))
        .fix("give the file that was written with this artifact");
  for (const fb::Constant *constant : *plan.constants()) {
    const TensorEntry *entry = file->find(constant->name()->string_view());
    if (!entry || entry->dtype != DType::U8 ||
        entry->bytes != constant->bytes() || entry->offset % 64 != 0)
      return Status::error(402, concat("packed constant '",
                                       constant->name()->string_view(),
                                       "' is missing, has another size than ",
                                       constant->bytes(),
                                       " bytes, or is not aligned"))
          .at(path)
          .fix("give the file that was written with this artifact");
  }
  return file;
}

Status moert::verifyContents(const Artifact &artifact,
                             const Checkpoint *checkpoint,
                             const SafetensorsFile *packed,
                             const std::vector<uint32_t> &constants,
                             uint64_t &compared) {
  const auto &hashes = artifact.metadata().contentHashes;
  const fb::Plan &plan = artifact.plan();
  compared = 0;
  auto check = [&](std::string_view name, const uint8_t *data, uint64_t bytes,
                   const std::string &where) -> Status {
    auto it = hashes.find(std::string(name));
    if (it == hashes.end())
      return {};
    ++compared;
    if (it->second == xxh3Hex(data, bytes))
      return {};
    return Status::error(406, concat("contents of '", name,
                                     "' differ from those at compile time"))
        .at(where)
        .because(concat("its hash is ", xxh3Hex(data, bytes), ", recorded is ",
                        it->second))
        .fix("use the checkpoint that the artifact was compiled from");
  };
  std::set<std::string_view> done;
  for (uint32_t index : constants) {
    const fb::Constant &constant = *plan.constants()->Get(index);
    std::string_view name = constant.name()->string_view();
    if (!checkpoint) {
      const TensorEntry *entry = packed ? packed->find(name) : nullptr;
      MOE_RETURN_IF_ERROR(
          check(name, entry ? entry->data : artifact.embedded(index),
                constant.bytes(), packed ? packed->path() : artifact.path()));
      continue;
    }
    for (uint32_t index : *constant.weights()) {
      const fb::Weight &weight = *plan.weights()->Get(index);
      for (const auto *sources : {weight.sources(), weight.scale_sources()})
        for (uint32_t i = 0; sources && i < sources->size(); ++i) {
          std::string_view source = sources->Get(i)->string_view();
          const TensorEntry *entry = checkpoint->find(source);
          if (!entry || !done.insert(source).second)
            continue;
          MOE_RETURN_IF_ERROR(
              check(source, entry->data, entry->bytes, entry->file->path()));
          entry->dropPages(0, entry->bytes);
        }
    }
  }
  return {};
}
