//===- Rows.h - The rows of the table of families, by group ---------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// One function per family. What the reference implementations do is written
// down in test/golden/README.md.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_MODEL_FAMILIES_ROWS_H
#define MOE_LIB_MODEL_FAMILIES_ROWS_H

#include "../Family.h"

namespace mlir::moe::model {

// Softmax.cpp: token choice by the softmax over all experts.
Family mixtral();
Family olmoe();
Family qwen2Moe();
Family qwen3Moe();
Family qwen3Next();
Family jamba();
Family grok1();
Family dbrx();

// Deepseek.cpp: DeepSeek, and those who took over its router.
Family deepseek();
Family deepseekV2();
Family deepseekV3();
Family longcatFlash();

// Logits.cpp: choice by logits.
Family gptOss();
Family jetmoe();
Family llama4();
Family llama4Text();
Family phimoe();

// Capacity.cpp: experts with a capacity.
Family deepspeedMoe();
Family gshard();
Family limoe();
Family nllbMoe();
Family switchTransformers();
Family vmoe();

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

using Names = std::vector<TensorName>;

/// `names` with `prefix` before each.
inline Names at(StringRef prefix, Names names) {
  for (TensorName &name : names)
    name.pattern = prefix.str() + name.pattern;
  return names;
}

inline Names operator+(Names a, const Names &b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Three matrices of every expert, `experts.{E}.<name>.weight`.
Names perExpert(StringRef gate = "gate_proj", StringRef up = "up_proj",
                StringRef down = "down_proj");

/// `experts.{gate_up,down}_proj`, as transformers 5 holds them in memory.
Names fusedExperts();

/// `<prefix>{gate,up,down}_proj.weight` of the shared expert.
Names sharedExpert(StringRef prefix);

/// A key that must have this value when it is there.
inline Choice fact(StringRef key, StringRef value) {
  return {key, value, {{value}}};
}

} // namespace mlir::moe::model

#endif // MOE_LIB_MODEL_FAMILIES_ROWS_H
