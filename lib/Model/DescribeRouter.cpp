//===- DescribeRouter.cpp - From config.json to the policy ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ImportedModel.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;
using moert::concat;

static Status readScale(const Config &config, ImportedModel &model) {
  const Router &router = model.family->router;
  auto refuse = [&](const Number &setting, std::string because) {
    StringRef key = config.nameOf(setting.names);
    return contradiction(config, key,
                         concat("'", config.show(key), "' is no usable number"),
                         std::move(because));
  };
  MOE_ASSIGN_OR_RETURN(double dropout, config.get(router.dropout));
  if (!(dropout >= 0.0 && dropout < 1.0))
    return refuse(router.dropout, "it must be at least 0 and less than 1");
  double scale = 1.0;
  if (!model.normalize || !router.normalizeOrScale) {
    MOE_ASSIGN_OR_RETURN(scale, config.get(router.scale));
  }
  model.scale = scale * (1.0 - dropout);
  // Routers compute in f32.
  float rounded = static_cast<float>(model.scale);
  if (!std::isfinite(rounded) || rounded == 0.0f)
    return refuse(router.scale, "it must be finite and not zero as a float32");
  return {};
}

static Status readGroups(const Config &config, ImportedModel &model) {
  const Router &router = model.family->router;
  int64_t experts = model.experts.front();
  MOE_ASSIGN_OR_RETURN(model.groups, config.get(router.groups, 1, experts));
  MOE_ASSIGN_OR_RETURN(model.keptGroups,
                       config.get(router.keptGroups, 1, model.groups));
  if (model.groups == 1)
    return {};
  StringRef key = config.nameOf(router.groups.names);
  if (experts % model.groups)
    return contradiction(config, key,
                         concat("'", config.show(key), "' is ", model.groups,
                                ", which does not divide ", experts,
                                " experts"),
                         "all groups have the same number of experts");
  int64_t perGroup = experts / model.groups;
  if (router.filter == GroupFilter::Top2Sum && perGroup < 2)
    return contradiction(config, key,
                         concat("'", config.show(key), "' is ", model.groups,
                                " for ", experts, " experts"),
                         "the value of a group is the sum of its two best "
                         "experts, so a group needs two");
  key = config.nameOf(router.keptGroups.names);
  if (model.keptGroups * perGroup < model.topK)
    return contradiction(
        config, key, concat("'", config.show(key), "' is ", model.keptGroups),
        concat("that many groups have ", model.keptGroups * perGroup,
               " experts, but every token visits ", model.topK));
  return {};
}

static Status readCapacity(const Config &config, ImportedModel &model) {
  const Capacity &capacity = *model.family->router.capacity;
  ImportedCapacity result{capacity.kind};
  MOE_ASSIGN_OR_RETURN(result.factor, config.get(capacity.factor));
  if (result.kind != CapacityKind::Slots && !(result.factor > 0)) {
    // Without slots either, the reference gives an expert twice its share.
    if (!capacity.slots.names.empty() &&
        config.find(capacity.slots.names.front())) {
      result.kind = CapacityKind::Slots;
    } else if (capacity.kind == CapacityKind::Tokens) {
      result = {CapacityKind::Factor, 1.0};
      result.multiple = 2;
      model.capacity = result;
      return {};
    }
  }
  if (result.kind == CapacityKind::Slots) {
    MOE_ASSIGN_OR_RETURN(result.slots,
                         config.get(capacity.slots, 1, maxChannels));
    model.capacity = result;
    return {};
  }
  MOE_ASSIGN_OR_RETURN(result.factor,
                       getF32(config, capacity.factor, /*isPositive=*/true));
  if (capacity.factorPerToken)
    result.factor /= static_cast<double>(model.topK);
  // A token visits an expert once: as many slots as tokens are always enough.
  if (result.kind == CapacityKind::Tokens && result.factor >= 1.0)
    return {};
  MOE_ASSIGN_OR_RETURN(result.minimum,
                       config.get(capacity.minimum, 0, maxChannels));
  result.minimum = std::max<int64_t>(result.minimum, 1);
  MOE_ASSIGN_OR_RETURN(result.multiple,
                       config.get(capacity.multiple, 1, maxChannels));
  model.capacity = result;
  return {};
}

Status model::readRouter(const Config &config, ImportedModel &model) {
  const Family &family = *model.family;
  const Router &router = family.router;
  int64_t experts = *llvm::min_element(model.experts);
  MOE_ASSIGN_OR_RETURN(model.topK, config.get(family.topK, 1, maxCount));
  if (model.topK > experts + model.identityExperts) {
    StringRef key = config.nameOf(family.topK.names);
    return contradiction(
        config, key.empty() ? config.nameOf(family.experts.names) : key,
        key.empty() ? concat("a token visits ", model.topK,
                             " experts, but there are ", experts)
                    : concat("'", config.show(key), "' is ", model.topK,
                             ", but there are ",
                             experts + model.identityExperts, " experts"),
        "a token cannot visit more experts than there are");
  }
  MOE_ASSIGN_OR_RETURN(model.normalize, config.get(router.normalize));
  if (router.normalizeSeveral && model.topK == 1)
    model.normalize = false;
  MOE_ASSIGN_OR_RETURN(model.jitter,
                       getF32(config, router.jitter, /*isPositive=*/false));
  if (router.keep != Keep::All) {
    MOE_ASSIGN_OR_RETURN(model.keepBound,
                         getF32(config, router.keepBound, /*isPositive=*/true));
  }
  MOE_RETURN_IF_ERROR(readScale(config, model));
  MOE_RETURN_IF_ERROR(readGroups(config, model));
  if (router.capacity)
    return readCapacity(config, model);
  return {};
}
