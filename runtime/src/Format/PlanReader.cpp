//===- PlanReader.cpp - Verifying execution plans -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/PlanReader.h"

#include "moert/Format/KernelABI.h"

#include <cstring>
#include <unordered_set>

using namespace moert;

namespace {

Status bad(std::string what) { return Status::error(303, std::move(what)); }

/// Names go to terminals and into JSON: they are not empty, and every byte is
/// printable or part of a UTF-8 sequence.
Status checkName(std::string_view what, std::string_view name) {
  bool good = !name.empty();
  for (unsigned char c : name)
    good &= c >= 0x20 && c != 0x7f;
  if (good)
    return {};
  return bad(concat("plan has an empty or unprintable name of a ", what));
}

/// Checks names and that they differ from each other.
class UniqueNames {
public:
  explicit UniqueNames(const char *what) : what(what) {}
  Status add(std::string_view name) {
    MOE_RETURN_IF_ERROR(checkName(what, name));
    if (!seen.insert(name).second)
      return bad(concat("plan has two of ", what, " '", name, "'"));
    return {};
  }

private:
  const char *what;
  std::unordered_set<std::string_view> seen;
};

/// The FlatBuffers verifier checks where a vector's length lies, not where its
/// elements of 8 bytes do.
template <typename T>
Status checkAligned(const flatbuffers::Vector<T> *vector) {
  // The writer does not pad where no element follows.
  if (vector && vector->size() &&
      reinterpret_cast<uintptr_t>(vector->Data()) % 8)
    return bad("plan has a list that is not aligned");
  return {};
}

template <typename T> uint64_t sizeOf(const flatbuffers::Vector<T> *vector) {
  return vector ? vector->size() : 0;
}

/// Verifies one function.
class FunctionVerifier {
public:
  FunctionVerifier(const fb::Plan &plan, const fb::Function &function)
      : plan(plan), function(function),
        symbolCount(sizeOf(function.symbols())) {}

  Status verify() {
    MOE_RETURN_IF_ERROR(verifySignature());
    if (function.variants()->size() == 0)
      return fail("has no variant");
    for (uint32_t i = 0; i < function.variants()->size(); ++i) {
      const fb::Variant &variant = *function.variants()->Get(i);
      bool last = i + 1 == function.variants()->size();
      if (last && sizeOf(variant.guards()) != 0)
        return fail("has guards on its last variant");
      MOE_RETURN_IF_ERROR(verifyVariant(variant));
    }
    return {};
  }

private:
  Status fail(std::string what) {
    return bad(concat("function '", function.name()->string_view(),
                      "' of the plan ", what));
  }

  Status verifySignature() {
    UniqueNames symbols("symbol");
    if (function.symbols())
      for (const fb::Symbol *symbol : *function.symbols()) {
        MOE_RETURN_IF_ERROR(symbols.add(symbol->name()->string_view()));
        if (symbol->min() < 0 || symbol->min() > symbol->max())
          return fail(concat("has symbol '", symbol->name()->string_view(),
                             "' in the empty range ", symbol->min(), " to ",
                             symbol->max()));
      }
    std::vector<bool> bound(symbolCount);
    UniqueNames inputs("input"), outputs("output");
    for (const fb::Tensor *input : *function.inputs())
      MOE_RETURN_IF_ERROR(verifyTensor(*input, inputs, &bound));
    for (const fb::Tensor *output : *function.outputs())
      MOE_RETURN_IF_ERROR(verifyTensor(*output, outputs, nullptr));
    for (uint64_t i = 0; i < symbolCount; ++i)
      if (!bound[i])
        return fail(concat("has symbol '",
                           function.symbols()->Get(i)->name()->string_view(),
                           "', which no input binds"));
    return {};
  }

  Status verifyTensor(const fb::Tensor &tensor, UniqueNames &names,
                      std::vector<bool> *bound) {
    MOE_RETURN_IF_ERROR(names.add(tensor.name()->string_view()));
    if (tensor.dtype() > fb::DType::MAX)
      return fail("has an input or output of an unknown element type");
    MOE_RETURN_IF_ERROR(checkAligned(tensor.dims()));
    if (tensor.dims()->size() > 64)
      return fail("has an input or output of more than 64 dimensions");
    for (const fb::Dim *dim : *tensor.dims()) {
      if (dim->symbol() == -1
              ? dim->constant() < 0
              : dim->symbol() < 0 || uint64_t(dim->symbol()) >= symbolCount)
        return fail(concat("has a bad dimension of '",
                           tensor.name()->string_view(), "'"));
      if (bound && dim->symbol() >= 0)
        (*bound)[dim->symbol()] = true;
    }
    return {};
  }

  Status verifyAffine(const fb::Affine &affine) {
    MOE_RETURN_IF_ERROR(checkAligned(affine.coefficients()));
    uint64_t count = sizeOf(affine.coefficients());
    if (count != 0 && count != symbolCount)
      return fail(concat("has an expression of ", count, " symbols, not ",
                         symbolCount));
    return {};
  }

  Status verifyArg(const fb::Arg &arg, const fb::Variant &variant) {
    uint64_t count = 0;
    switch (arg.kind()) {
    case fb::ArgKind::Input:
      count = function.inputs()->size();
      break;
    case fb::ArgKind::Output:
      count = function.outputs()->size();
      break;
    case fb::ArgKind::Buffer:
      count = sizeOf(variant.buffers());
      break;
    case fb::ArgKind::Constant:
      count = plan.constants()->size();
      break;
    case fb::ArgKind::Symbol:
      count = symbolCount;
      break;
    default:
      return fail(concat("has an argument of unknown kind ",
                         static_cast<unsigned>(arg.kind())));
    }
    if (arg.index() >= count)
      return fail(
          concat("has an argument with index ", arg.index(), " of ", count));
    return {};
  }

  Status verifyVariant(const fb::Variant &variant) {
    MOE_RETURN_IF_ERROR(checkAligned(variant.guards()));
    if (variant.guards())
      for (const fb::Guard *guard : *variant.guards())
        if (guard->symbol() >= symbolCount || guard->lo() > guard->hi())
          return fail("has a bad guard");
    const uint64_t bufferCount = sizeOf(variant.buffers());
    for (uint64_t i = 0; i < bufferCount; ++i) {
      const fb::Buffer &buffer = *variant.buffers()->Get(i);
      if (buffer.slot() >= bufferCount)
        return fail(concat("has a buffer in slot ", buffer.slot(), " of ",
                           bufferCount));
      if (buffer.sizes()->size() == 0)
        return fail("has a buffer without a size");
      for (const fb::Affine *size : *buffer.sizes())
        MOE_RETURN_IF_ERROR(verifyAffine(*size));
    }
    for (const fb::CommandEntry *entry : *variant.commands()) {
      MOE_RETURN_IF_ERROR(verifyCommand(*entry, variant));
    }
    return {};
  }

  Status verifyCommand(const fb::CommandEntry &entry,
                       const fb::Variant &variant) {
    if (const fb::Dispatch *dispatch = entry.command_as_Dispatch()) {
      MOE_RETURN_IF_ERROR(
          checkName("dispatch", dispatch->label()->string_view()));
      if (dispatch->kernel() >= plan.kernels()->size())
        return fail(concat("dispatches kernel ", dispatch->kernel(), " of ",
                           plan.kernels()->size()));
      if (dispatch->grid() > fb::Grid::MAX)
        return fail("has a dispatch with an unknown grid");
      const fb::Kernel &kernel = *plan.kernels()->Get(dispatch->kernel());
      if (dispatch->args()->size() != kernel.num_args())
        return fail(concat("gives ", dispatch->args()->size(),
                           " arguments to kernel '",
                           kernel.name()->string_view(), "', which takes ",
                           kernel.num_args()));
      for (const fb::Arg *arg : *dispatch->args())
        MOE_RETURN_IF_ERROR(verifyArg(*arg, variant));
      return {};
    }
    if (const fb::Copy *copy = entry.command_as_Copy()) {
      MOE_RETURN_IF_ERROR(checkName("copy", copy->label()->string_view()));
      if (!copy->source() || !copy->target())
        return fail("has a copy without source or target");
      MOE_RETURN_IF_ERROR(verifyArg(*copy->source(), variant));
      MOE_RETURN_IF_ERROR(verifyArg(*copy->target(), variant));
      MOE_RETURN_IF_ERROR(verifyAffine(*copy->size()));
      if (copy->source()->kind() == fb::ArgKind::Symbol ||
          (copy->target()->kind() != fb::ArgKind::Buffer &&
           copy->target()->kind() != fb::ArgKind::Output))
        return fail(concat("has a copy '", copy->label()->string_view(),
                           "' from or to what is no memory"));
      return {};
    }
    if (const fb::RecordExperts *record = entry.command_as_RecordExperts()) {
      MOE_RETURN_IF_ERROR(checkName("layer", record->layer()->string_view()));
      if (!record->offsets() || record->experts() > (1u << 20))
        return fail("records the experts of no buffer, or too many");
      MOE_RETURN_IF_ERROR(verifyArg(*record->offsets(), variant));
      if (record->offsets()->kind() != fb::ArgKind::Buffer &&
          record->offsets()->kind() != fb::ArgKind::Input &&
          record->offsets()->kind() != fb::ArgKind::Output)
        return fail("records experts from what is no buffer");
      return {};
    }
    return fail("has a command of an unknown kind");
  }

  const fb::Plan &plan;
  const fb::Function &function;
  const uint64_t symbolCount;
};

Status verifyKernels(const fb::Plan &plan) {
  UniqueNames names("kernel");
  for (const fb::Kernel *kernel : *plan.kernels()) {
    MOE_RETURN_IF_ERROR(names.add(kernel->name()->string_view()));
    if (kernel->levels() == 0)
      return bad(concat("kernel '", kernel->name()->string_view(),
                        "' of the plan has code for no level"));
    if (kernel->num_args() > 1024 || kernel->scratch_bytes() > (1ull << 32))
      return bad(concat("kernel '", kernel->name()->string_view(),
                        "' of the plan has ", kernel->num_args(),
                        " arguments and ", kernel->scratch_bytes(),
                        " bytes of scratch"));
  }
  return {};
}

Status verifyConstants(const fb::Plan &plan) {
  UniqueNames weights("weight"), constants("constant");
  for (const fb::Weight *weight : *plan.weights()) {
    MOE_RETURN_IF_ERROR(weights.add(weight->name()->string_view()));
    MOE_RETURN_IF_ERROR(checkAligned(weight->shape()));
    MOE_RETURN_IF_ERROR(checkAligned(weight->source_shape()));
    for (const flatbuffers::String *source : *weight->sources())
      MOE_RETURN_IF_ERROR(checkName("tensor", source->string_view()));
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
    MOE_RETURN_IF_ERROR(FunctionVerifier(plan, *function).verify());
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
