//===- PlanEval.cpp - Evaluating plans for given sizes --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/PlanReader.h"

#include <algorithm>
#include <set>

using namespace moert;

const fb::Function *moert::findFunction(const fb::Plan &plan,
                                        std::string_view name) {
  for (const fb::Function *function : *plan.functions())
    if (function->name()->string_view() == name)
      return function;
  return nullptr;
}

const char *moert::deviceName(fb::DeviceKind device) {
  return device == fb::DeviceKind::Cpu ? "cpu" : "cuda";
}

bool moert::hasCode(const fb::Function &function, fb::DeviceKind device) {
  for (const fb::Variant *variant : *function.variants())
    if (variant->device() == device)
      return true;
  return false;
}

std::vector<uint32_t> moert::constantsOf(const fb::Function &function,
                                         fb::DeviceKind device) {
  std::set<uint32_t> found;
  auto visit = [&](const fb::Arg &arg) {
    if (arg.kind() == fb::ArgKind::Constant)
      found.insert(arg.index());
  };
  for (const fb::Variant *variant : *function.variants()) {
    if (variant->device() != device)
      continue;
    for (const fb::CommandEntry *entry : *variant->commands()) {
      if (const fb::Dispatch *dispatch = entry->command_as_Dispatch())
        for (const fb::Arg *arg : *dispatch->args())
          visit(*arg);
      else if (const fb::Copy *copy = entry->command_as_Copy())
        visit(*copy->source());
    }
  }
  return std::vector<uint32_t>(found.begin(), found.end());
}

StatusOr<uint64_t> moert::evaluate(const fb::Affine &affine,
                                   const std::vector<int64_t> &symbols) {
  int64_t value = affine.constant();
  bool overflow = false;
  if (const auto *coefficients = affine.coefficients())
    for (uint32_t i = 0; i < coefficients->size(); ++i) {
      int64_t term;
      overflow |=
          __builtin_mul_overflow(coefficients->Get(i), symbols[i], &term);
      overflow |= __builtin_add_overflow(value, term, &value);
    }
  if (overflow || value < 0)
    return Status::error(601, "a size of the plan overflows for this input")
        .because("the sizes of this call are beyond 63 bits")
        .fix("call with fewer tokens");
  return static_cast<uint64_t>(value);
}

std::vector<int64_t> moert::evaluateShape(const fb::Tensor &tensor,
                                          const std::vector<int64_t> &symbols) {
  std::vector<int64_t> shape;
  for (const fb::Dim *dim : *tensor.dims())
    shape.push_back(dim->symbol() < 0 ? dim->constant()
                                      : symbols[dim->symbol()]);
  return shape;
}

std::string moert::lowerName(fb::DType type) {
  std::string text(name(checkpointType(type)));
  for (char &c : text)
    c = c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
  return text;
}

std::string moert::formatType(const fb::Tensor &tensor,
                              const fb::Function &function) {
  std::string text = lowerName(tensor.dtype()) + " [";
  bool first = true;
  for (const fb::Dim *dim : *tensor.dims()) {
    text += first ? "" : ", ";
    first = false;
    if (dim->symbol() < 0)
      text += concat(dim->constant());
    else
      text += function.symbols()->Get(dim->symbol())->name()->string_view();
  }
  return text + "]";
}

StatusOr<std::vector<int64_t>>
moert::bindSymbols(const fb::Function &function,
                   const std::vector<std::vector<int64_t>> &inputShapes) {
  const auto &inputs = *function.inputs();
  auto wrong = [&](std::string what) {
    return Status::error(13, std::move(what))
        .at(concat("function '", function.name()->string_view(), "'"));
  };
  if (inputShapes.size() != inputs.size())
    return wrong(concat(inputShapes.size(), " inputs are given, ",
                        inputs.size(), " are needed"))
        .fix("give every input once");
  std::vector<int64_t> symbols(
      function.symbols() ? function.symbols()->size() : 0, -1);
  std::vector<const fb::Tensor *> binder(symbols.size());
  for (uint32_t i = 0; i < inputs.size(); ++i) {
    const fb::Tensor &input = *inputs.Get(i);
    const std::vector<int64_t> &shape = inputShapes[i];
    auto mismatch = [&](std::string_view part) {
      return wrong(concat("input '", input.name()->string_view(), "' has ",
                          part, " ", formatShape(shape), ", needed is ",
                          formatType(input, function)));
    };
    if (shape.size() != input.dims()->size())
      return mismatch(concat("rank ", shape.size(), ", shape"))
          .fix(concat("give an array of rank ", input.dims()->size()));
    for (uint32_t d = 0; d < shape.size(); ++d) {
      const fb::Dim &dim = *input.dims()->Get(d);
      if (dim.symbol() < 0) {
        if (shape[d] != dim.constant())
          return mismatch("shape").fix(
              concat("dimension ", d, " must be ", dim.constant()));
        continue;
      }
      const fb::Symbol &symbol = *function.symbols()->Get(dim.symbol());
      int64_t &value = symbols[dim.symbol()];
      if (binder[dim.symbol()] && value != shape[d])
        return mismatch("shape").because(concat(
            "'", symbol.name()->string_view(), "' is ", value, " in input '",
            binder[dim.symbol()]->name()->string_view(), "'"));
      if (shape[d] < symbol.min() || shape[d] > symbol.max())
        return mismatch("shape").because(
            concat("'", symbol.name()->string_view(), "' must lie in ",
                   symbol.min(), " to ", symbol.max()));
      value = shape[d];
      binder[dim.symbol()] = &input;
    }
  }
  return symbols;
}

const fb::Variant *moert::selectVariant(const fb::Function &function,
                                        const std::vector<int64_t> &symbols,
                                        fb::DeviceKind device) {
  for (const fb::Variant *variant : *function.variants()) {
    bool holds = variant->device() == device;
    if (holds && variant->guards())
      for (const fb::Guard *guard : *variant->guards()) {
        int64_t value = symbols[guard->symbol()];
        holds &= value >= guard->lo() && value < guard->hi();
      }
    if (holds)
      return variant;
  }
  // The last variant of each device in a verified plan has no guards.
  return nullptr;
}

StatusOr<WorkspaceLayout>
moert::layoutWorkspace(const fb::Variant &variant,
                       const std::vector<int64_t> &symbols) {
  WorkspaceLayout layout;
  if (!variant.buffers())
    return layout;
  const auto &buffers = *variant.buffers();
  std::vector<uint64_t> slots(buffers.size());
  for (const fb::Buffer *buffer : buffers) {
    uint64_t least = UINT64_MAX;
    for (const fb::Affine *size : *buffer->sizes()) {
      MOE_ASSIGN_OR_RETURN(uint64_t bytes, evaluate(*size, symbols));
      least = std::min(least, bytes);
    }
    layout.sizes.push_back(least);
    slots[buffer->slot()] = std::max(slots[buffer->slot()], least);
  }
  uint64_t next = 0;
  for (uint64_t &slot : slots) {
    uint64_t bytes = slot;
    slot = next;
    // Sizes are below 2^63; the sum of rounded sizes may not be.
    uint64_t rounded =
        (bytes + slotAlignment - 1) / slotAlignment * slotAlignment;
    std::optional<uint64_t> sum = checkedAdd(next, rounded);
    if (!sum || *sum > uint64_t(INT64_MAX))
      return Status::error(601, "the workspace of this call overflows")
          .because("the sizes of this call are beyond 63 bits")
          .fix("call with fewer tokens");
    next = *sum;
  }
  for (const fb::Buffer *buffer : buffers)
    layout.offsets.push_back(slots[buffer->slot()]);
  layout.bytes = next;
  return layout;
}
