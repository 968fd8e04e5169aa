//===- BuildModule.cpp - From a described model to moe IR -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockBuilder.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;

Type model::convertDType(OpBuilder &builder, moert::DType dtype) {
  return dtype == moert::DType::BF16 ? Type(builder.getBF16Type())
                                     : Type(builder.getF32Type());
}

/// What the artifact tells about the model.
static DictionaryAttr describe(OpBuilder &builder, const ImportedModel &model) {
  auto integer = [&](int64_t value) {
    return builder.getI64IntegerAttr(value);
  };
  int64_t most = *llvm::max_element(model.experts);
  SmallVector<NamedAttribute> entries = {
      {"arch", builder.getStringAttr(model.family->modelType)},
      {"name", builder.getStringAttr(model.name)},
      {"layers", integer(model.layers)},
      {"moe_layers", builder.getDenseI64ArrayAttr(model.moeLayers)},
      {"experts", integer(most)},
      {"top_k", integer(model.topK)},
      {"hidden", integer(model.hidden)},
      {"width", integer(model.width)},
      {"shared_width", integer(model.sharedWidth)},
      {"activation", builder.getStringAttr(model.activation)},
      {"dtype", TypeAttr::get(convertDType(builder, model.dtype))}};
  if (llvm::any_of(model.experts, [&](int64_t n) { return n != most; }))
    entries.emplace_back("layer_experts",
                         builder.getDenseI64ArrayAttr(model.experts));
  if (model.identityExperts > 0)
    entries.emplace_back("identity_experts", integer(model.identityExperts));
  return builder.getDictionaryAttr(entries);
}

OwningOpRef<ModuleOp> model::buildModule(MLIRContext *context,
                                         const ImportedModel &model,
                                         const ImportOptions &options) {
  context->loadDialect<MoeDialect, arith::ArithDialect, func::FuncDialect,
                       linalg::LinalgDialect, math::MathDialect,
                       tensor::TensorDialect>();
  OpBuilder builder(context);
  auto name = NameLoc::get(builder.getStringAttr(model.name));
  OwningOpRef<ModuleOp> module(ModuleOp::create(builder, name));
  (*module)->setAttr("moe.model", describe(builder, model));
  if (options.maxTokens)
    (*module)->setAttr("moe.max_tokens",
                       builder.getI64IntegerAttr(*options.maxTokens));
  builder.setInsertionPointToEnd(module->getBody());
  for (const ImportedBlock &block : model.blocks)
    BlockBuilder(builder, model, block, options).build();
  return module;
}
