//===- Families.cpp - The table of families -------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One row per value of `model_type`; the rows are in Families/.
//
//===----------------------------------------------------------------------===//

#include "Families/Rows.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;

Names model::perExpert(StringRef gate, StringRef up, StringRef down) {
  auto name = [](StringRef matrix) {
    return ("experts.{E}." + matrix + ".weight").str();
  };
  return {
      {Role::Gate, name(gate)}, {Role::Up, name(up)}, {Role::Down, name(down)}};
}

Names model::fusedExperts() {
  return {{Role::GateUp, "experts.gate_up_proj"},
          {Role::Down, "experts.down_proj"}};
}

Names model::sharedExpert(StringRef prefix) {
  return at(prefix, {{Role::SharedGate, "gate_proj.weight"},
                     {Role::SharedUp, "up_proj.weight"},
                     {Role::SharedDown, "down_proj.weight"}});
}

static std::vector<Family> makeTable() {
  std::vector<Family> table = {deepseek(),   deepseekV2(),
                               deepseekV3(), deepspeedMoe(),
                               dbrx(),       gptOss(),
                               grok1(),      gshard(),
                               jamba(),      jetmoe(),
                               limoe(),      llama4(),
                               llama4Text(), longcatFlash(),
                               mixtral(),    nllbMoe(),
                               olmoe(),      phimoe(),
                               qwen2Moe(),   qwen3Moe(),
                               qwen3Next(),  switchTransformers(),
                               vmoe()};
  llvm::sort(table, [](const Family &a, const Family &b) {
    return a.modelType < b.modelType;
  });
  return table;
}

ArrayRef<Family> model::getFamilies() {
  static const std::vector<Family> table = makeTable();
  return table;
}

const Family *model::findFamily(StringRef modelType) {
  for (const Family &family : getFamilies())
    if (family.modelType == modelType)
      return &family;
  return nullptr;
}
