//===- Artifact.h - Reading a model.moe without running it ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_ARTIFACT_H
#define MOERT_FORMAT_ARTIFACT_H

#include "moert/Format/Elf.h"
#include "moert/Format/File.h"
#include "moert/Format/Metadata.h"
#include "moert/Format/Offload.h"
#include "moert/Format/PlanReader.h"

namespace moert {

/// Names of the sections of an artifact.
constexpr const char *planSection = ".moe.plan";
constexpr const char *metaSection = ".moe.meta";
constexpr const char *sumSection = ".moe.sum";
constexpr const char *weightsSection = ".moe.weights";
constexpr const char *offloadSection = ".llvm.offloading";

/// A verified artifact. Nothing of it has been executed. Immutable, hence
/// thread-safe.
class Artifact {
public:
  /// Checks everything that can be checked without running code: MOE0010,
  /// MOE0301 to MOE0304.
  static StatusOr<std::shared_ptr<const Artifact>>
  open(const std::string &path);

  const std::string &path() const { return file->path(); }
  const MappedFile &mapping() const { return *file; }
  const ElfFile &elf() const { return sections; }
  const Metadata &metadata() const { return meta; }
  const fb::Plan &plan() const { return **verified; }

  /// The GPU images, in the order of the file; none without such a section.
  const std::vector<GpuImage> &images() const { return gpuImages; }

  /// Architectures of the GPU images, oldest first, each once.
  std::vector<GpuArch> gpuArchs() const;

  /// "CPU (avx2, avx512)", "sm_80 (cubin, PTX)", ...: what the artifact has
  /// code for, for messages and listings.
  std::vector<std::string> codeFor() const;

  /// True when the metadata lists the target "x86-64:amx (emulated)": the
  /// code of level amx is an expansion that needs AVX2 only, made for tests.
  bool emulatesAmx() const;

  /// Bytes of an embedded constant. Only when weights_mode is Embedded.
  const uint8_t *embedded(uint32_t constant) const;

  /// "<artifact>.weights.safetensors", where packed weights are looked for.
  std::string packedPath() const { return path() + ".weights.safetensors"; }

private:
  Artifact() = default;
  Status verify();

  std::shared_ptr<const MappedFile> file;
  ElfFile sections;
  Metadata meta;
  std::shared_ptr<const VerifiedPlan> verified;
  const ElfSection *weights = nullptr;
  std::vector<GpuImage> gpuImages;
};

/// One place that was searched for weights, and what was found there.
struct WeightsAttempt {
  std::string path;
  std::string result;
};

/// The folder or file with external weights of an artifact, searched in this
/// order: `option` (when not empty, the only place), the folder `weights`
/// beside the artifact, the paths recorded in its metadata. MOE0401 lists all
/// places; MOE0402 when the first checkpoint found does not match the
/// constants (all of the plan's when null).
StatusOr<std::shared_ptr<const Checkpoint>>
findCheckpoint(const Artifact &artifact, const std::string &option,
               const std::vector<uint32_t> *constants = nullptr);

/// Opens the packed weights of an artifact: `option`, or the file beside it.
/// Checks layout, fingerprint and that every constant is there with its size.
/// MOE0401, MOE0402, MOE0403.
StatusOr<std::shared_ptr<const SafetensorsFile>>
openPackedWeights(const Artifact &artifact, const std::string &option);

/// Compares the contents of what `constants` need with the hashes recorded in
/// the metadata: MOE0406 on a difference. The number of hashes compared is
/// stored in `compared`. One of `checkpoint` and `packed` may be null.
Status verifyContents(const Artifact &artifact, const Checkpoint *checkpoint,
                      const SafetensorsFile *packed,
                      const std::vector<uint32_t> &constants,
                      uint64_t &compared);

} // namespace moert

#endif // MOERT_FORMAT_ARTIFACT_H
