//===- Import.cpp - From a model directory to moe IR ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Model/Import.h"

#include "ImportedModel.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;

static StatusOr<ImportedModel> readModel(StringRef directory,
                                         const ImportOptions &options) {
  MOE_ASSIGN_OR_RETURN(Config config, Config::read(directory));
  MOE_ASSIGN_OR_RETURN(ImportedModel model,
                       describeModel(std::move(config), directory, options));
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const moert::Checkpoint> checkpoint,
                       moert::Checkpoint::open(directory.str()));
  MOE_RETURN_IF_ERROR(bindTensors(model, *checkpoint));
  return model;
}

FailureOr<OwningOpRef<ModuleOp>>
moe::importModel(MLIRContext *context, StringRef directory,
                 const ImportOptions &options) {
  StatusOr<ImportedModel> model = readModel(directory, options);
  if (!model.ok()) {
    std::string message = model.status().toString();
    return emitError(UnknownLoc::get(context)) << StringRef(message).rtrim();
  }
  OwningOpRef<ModuleOp> module = buildModule(context, *model, options);
  if (failed(verify(*module)))
    return failure();
  return module;
}

SmallVector<StringRef> moe::getKnownModelTypes() {
  SmallVector<StringRef> names;
  for (const Family &family : getFamilies())
    names.push_back(family.modelType);
  return names;
}
