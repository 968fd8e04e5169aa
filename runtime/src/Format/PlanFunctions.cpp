//===- PlanFunctions.cpp - Verifying the functions of a plan --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlanVerifier.h"

using namespace moert;
using namespace moert::plan_verifier;

namespace {

/// More experts than any model has; keeps counts of them within 32 bits.
constexpr uint32_t maxExperts = 1u << 20;

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
    const auto &variants = *function.variants();
    uint32_t seen = 0;
    for (uint32_t i = 0; i < variants.size(); ++i) {
      const fb::Variant &variant = *variants.Get(i);
      if (variant.device() > fb::DeviceKind::MAX)
        return fail("has a variant for an unknown kind of device");
      const uint32_t bit = 1u << static_cast<unsigned>(variant.device());
      if (i > 0 && variants.Get(i - 1)->device() != variant.device() &&
          (seen & bit))
        return fail(concat("has variants for ", deviceName(variant.device()),
                           " in two places"));
      seen |= bit;
      const bool last = i + 1 == variants.size() ||
                        variants.Get(i + 1)->device() != variant.device();
      if (last && sizeOf(variant.guards()) != 0)
        return fail(concat("has guards on its last variant for ",
                           deviceName(variant.device())));
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
    UniqueNames taps("tapped layer");
    for (const fb::CommandEntry *entry : *variant.commands()) {
      MOE_RETURN_IF_ERROR(verifyCommand(*entry, variant));
      if (const fb::TapRoutes *tap = entry->command_as_TapRoutes())
        MOE_RETURN_IF_ERROR(taps.add(tap->layer()->string_view()));
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
      if (kernel.device() != variant.device())
        return fail(concat("dispatches kernel '", kernel.name()->string_view(),
                           "' for ", deviceName(kernel.device()),
                           " in a variant for ", deviceName(variant.device())));
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
      if (!record->offsets() || record->experts() > maxExperts)
        return fail("records the experts of no buffer, or too many");
      for (const fb::Arg *arg : {record->offsets(), record->dropped()}) {
        if (!arg)
          continue;
        MOE_RETURN_IF_ERROR(verifyArg(*arg, variant));
        if (arg->kind() != fb::ArgKind::Buffer &&
            arg->kind() != fb::ArgKind::Input &&
            arg->kind() != fb::ArgKind::Output)
          return fail("records experts from what is no buffer");
      }
      return {};
    }
    if (const fb::TapRoutes *tap = entry.command_as_TapRoutes())
      return verifyTap(*tap, variant);
    return fail("has a command of an unknown kind");
  }

  Status verifyTap(const fb::TapRoutes &tap, const fb::Variant &variant) {
    std::string_view layer = tap.layer()->string_view();
    MOE_RETURN_IF_ERROR(checkName("layer", layer));
    if (tap.experts() > maxExperts || tap.per_token() < 1 ||
        tap.per_token() > tap.experts())
      return fail(concat("taps routes of ", tap.per_token(), " of ",
                         tap.experts(), " experts"));
    MOE_RETURN_IF_ERROR(verifyAffine(*tap.tokens()));
    for (const fb::Arg *arg : {tap.ids(), tap.weights()}) {
      if (!arg)
        return fail("taps routes without ids or weights");
      MOE_RETURN_IF_ERROR(verifyArg(*arg, variant));
      // Replaying writes to them.
      if (arg->kind() != fb::ArgKind::Buffer &&
          arg->kind() != fb::ArgKind::Output &&
          !(arg->kind() == fb::ArgKind::Input && tap.read_only()))
        return fail("taps routes of what is no buffer");
    }
    return {};
  }

  const fb::Plan &plan;
  const fb::Function &function;
  const uint64_t symbolCount;
};

} // namespace

Status plan_verifier::verifyFunction(const fb::Plan &plan,
                                     const fb::Function &function) {
  return FunctionVerifier(plan, function).verify();
}
