//===- PlanReader.cpp - Verifying execution plans -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlanVerifier.h"

#include <cstring>

using namespace moert;
using namespace moert::plan_verifier;

namespace {

Status verifyConstants(const fb::Plan &plan) {
  UniqueNames weights("weight"), constants("constant");
  for (const fb::Weight *weight : *plan.weights()) {
    MOE_RETURN_IF_ERROR(weights.add(weight->name()->string_view()));
    MOE_RETURN_IF_ERROR(checkAligned(weight->shape()));
    MOE_RETURN_IF_ERROR(checkAligned(weight->source_shape()));
    MOE_RETURN_IF_ERROR(checkAligned(weight->stored_shape()));
    MOE_RETURN_IF_ERROR(checkAligned(weight->scale_shape()));
    MOE_RETURN_IF_ERROR(checkAligned(weight->block()));
    for (const auto *names : {weight->sources(), weight->scale_sources()})
      if (names)
        for (const flatbuffers::String *name : *names)
          MOE_RETURN_IF_ERROR(checkName("tensor", name->string_view()));
    MOE_RETURN_IF_ERROR(verifyWeight(*weight));
  }
  for (const fb::Constant *constant : *plan.constants()) {
    MOE_RETURN_IF_ERROR(constants.add(constant->name()->string_view()));
    MOE_ASSIGN_OR_RETURN(uint64_t bytes, packedBytes(plan, *constant));
    if (bytes != constant->bytes())
      return bad(concat("constant '", constant->name()->string_view(),
                        "' of the plan has ", constant->bytes(),
                        " bytes, but its layout gives ", bytes));
  }
  if (plan.weights_mode() > fb::WeightsMode::MAX)
    return bad("plan has an unknown weights mode");
  const auto *offsets = plan.embedded_offsets();
  if (plan.weights_mode() == fb::WeightsMode::Embedded &&
      sizeOf(offsets) != plan.constants()->size())
    return bad(concat("plan has ", sizeOf(offsets),
                      " offsets of embedded constants, not ",
                      plan.constants()->size()));
  MOE_RETURN_IF_ERROR(checkAligned(offsets));
  if (offsets)
    for (uint64_t offset : *offsets)
      if (offset % 64)
        return bad(concat("plan has an embedded constant at ", offset,
                          ", which is no multiple of 64"));
  std::string fingerprint = computeFingerprint(plan);
  if (plan.fingerprint()->string_view() != fingerprint)
    return bad(concat("plan has fingerprint '",
                      plan.fingerprint()->string_view(),
                      "', but its weights give ", fingerprint));
  return {};
}

} // namespace

Status moert::verifyPlan(const fb::Plan &plan) {
  if (plan.format_major() != planFormatMajor)
    return Status::error(301,
                         concat("artifact has format ", plan.format_major(),
                                ".", plan.format_minor(),
                                "; this runtime reads ", planFormatMajor, ".x"))
        .fix(plan.format_major() > planFormatMajor
                 ? "upgrade the runtime, or compile the model again with the "
                   "moe-compile of this release"
                 : "compile the model again with the moe-compile of this "
                   "release");
  MOE_RETURN_IF_ERROR(verifyKernels(plan));
  MOE_RETURN_IF_ERROR(verifyConstants(plan));
  UniqueNames functions("function");
  for (const fb::Function *function : *plan.functions()) {
    MOE_RETURN_IF_ERROR(functions.add(function->name()->string_view()));
    MOE_RETURN_IF_ERROR(verifyFunction(plan, *function));
  }
  return {};
}

StatusOr<std::shared_ptr<const VerifiedPlan>>
moert::readPlan(const uint8_t *data, uint64_t size, const std::string &where) {
  const char *fix = "copy the file again, or compile the model again";
  if (size < 8 || size > (uint64_t(1) << 31) - 1)
    return bad(concat("execution plan has ", size, " bytes"))
        .at(where)
        .fix(fix);
  std::shared_ptr<VerifiedPlan> result(new VerifiedPlan());
  result->storage.resize((size + 7) / 8);
  std::memcpy(result->storage.data(), data, size);
  auto *bytes = reinterpret_cast<const uint8_t *>(result->storage.data());
  flatbuffers::Verifier verifier(bytes, size, /*max_depth=*/32,
                                 /*max_tables=*/4'000'000);
  if (!fb::VerifyPlanBuffer(verifier))
    return bad("execution plan is not readable").at(where).fix(fix);
  result->root = fb::GetPlan(bytes);
  if (Status status = verifyPlan(*result->root); !status.ok()) {
    bool hasFix = !status.fix().empty();
    status = std::move(status).at(where);
    return hasFix ? std::move(status) : std::move(status).fix(fix);
  }
  return std::shared_ptr<const VerifiedPlan>(std::move(result));
}
