//===- TestArtifact.h - Builds small artifacts for tests ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_TEST_SUPPORT_TESTARTIFACT_H
#define MOERT_TEST_SUPPORT_TESTARTIFACT_H

#include "moert/Format/Artifact.h"

#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace moert::test {

/// A folder that goes away with the object.
class TemporaryFolder {
public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string file(const std::string &name) const { return path + "/" + name; }
  /// Names of everything in it, sorted.
  std::vector<std::string> list() const;
  const std::string path;
};

std::string readFile(const std::string &path);
void writeBytes(const std::string &path, const std::string &bytes);

/// Runs a command with a shell; what it printed, and its exit code.
struct CommandResult {
  int exitCode = -1;
  std::string out, err;
};
CommandResult runCommand(const std::string &command);

/// The bytes of a safetensors file with this header text and this much data.
std::string rawSafetensors(const std::string &header, const std::string &data);

/// A plan whose kernels are those of Inputs/Kernels.c. Functions:
///   twice(x: f32 [N, 5]) -> y: f32 [N, 5], in two variants, through a copy
///   linear(x: f32 [N, 5]) -> y: f32 [N, 40], with constants "w" (panels of
///     tensors w0 stacked as [1, 40, 5]) and "bias"
///   experts(x: f32 [N, 5]) -> (none), records layer "layers.0"
///   level() -> y: i32 [1];  fails();  slow()
///   scratches(x: u8 [N]) -> sum: i64 [1]
///   half(x: bf16 [N, 2]) -> y: bf16 [N, 2], a copy
fb::PlanT makePlan();

/// Adds routes(ids: i32 [N, 2], weights: f32 [N, 2], offsets: i32 [5],
/// dropped: i32 [4]) -> chosen: i32 [N, 2], shares: f32 [N, 2], copies of ids
/// and weights behind a tap of layer "layers.0", 2 of 4 experts, which is
/// `readOnly`; records offsets and dropped for that layer.
void addRoutes(fb::PlanT &plan, bool readOnly = false);

/// Gives a makePlan() kernels "gpu_<name>" for sm_80 and sm_90a, a constant
/// "w.rows", and to every function but "fails" a variant for CUDA. With `only`
/// every function has one, and nothing is left for the CPU.
void addGpuVariants(fb::PlanT &plan, bool only = false);

/// Serialises a plan after computing its fingerprint and, where 0, the sizes
/// of its constants.
std::string packPlan(fb::PlanT plan);

/// Bytes of a section `.llvm.offloading`: a cubin and PTX for sm_80 and a cubin
/// for sm_90a, all of them noise of different sizes.
std::string makeOffloading();

/// Metadata that belongs to the bytes of a plan.
nlohmann::json makeMetadata(const std::string &planBytes);

/// Links an artifact from Kernels.c and these sections. `metadata` is padded
/// with NUL bytes; without `weights` there is no section .moe.weights, without
/// `offloading` none of GPU images.
void linkArtifact(const std::string &path, const std::string &planBytes,
                  const std::string &metadata, const std::string &weights = "",
                  const std::string &offloading = "");

/// linkArtifact of a plan with its metadata.
void buildArtifact(const std::string &path, const fb::PlanT &plan);

/// Writes the checkpoint of makePlan() (w0 [40, 5], bias [40]) with random
/// values as folder/model.safetensors.
struct TestWeights {
  std::vector<float> w, bias;
};
TestWeights writeWeights(const std::string &folder, unsigned seed);

std::vector<float> randomFloats(size_t count, unsigned seed);

} // namespace moert::test

#endif // MOERT_TEST_SUPPORT_TESTARTIFACT_H
