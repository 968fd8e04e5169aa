//===- CheckForms.cpp - Forms that have no GPU code -----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Codegen/GPU/KernelExpansion.h"
#include "moe/Dialect/Plan/IR/Plan.h"

#include "moert/Format/Status.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::gpu;
using moert::Status;

namespace {
/// A form, as the user writes it, and what to do without it.
struct Form {
  std::string name, instead;

  explicit operator bool() const { return !name.empty(); }
};
} // namespace

static Form clause(const Twine &text) {
  return {("'" + text + "'").str(), "remove it from the policy"};
}

static Form op(const Twine &text) {
  return {("'" + text + "'").str(), "remove the op"};
}

/// The first clause of a policy that warps do not know.
static Form findClause(PolicyAttr policy) {
  const Policy &p = policy.getPolicy();
  if (policy.getCapacity())
    return clause("capacity");
  if (p.prefers)
    return clause("prefer");
  if (p.biasAfterFirst)
    return clause("bias_after_first");
  if (p.weightSource == WeightSource::Sparsemixer)
    return clause("weights = sparsemixer");
  if (p.keep == Keep::Random)
    return clause("keep = random");
  return {};
}

static Form findForm(Operation *kernelOp) {
  return llvm::TypeSwitch<Operation *, Form>(kernelOp)
      .Case([](KernelRouterLogitsOp logits) {
        return logits.getCosine()
                   ? Form{"'cosine' logits", "remove it from moe.router_logits"}
                   : Form();
      })
      .Case([](KernelSelectTopkOp select) {
        return findClause(select.getPolicy());
      })
      .Case([](KernelRouteRowsOp route) {
        // Its logits have as many columns as its lists have experts.
        return route.getPolicy().getNullExperts() > 0
                   ? clause("null_experts")
                   : findClause(route.getPolicy());
      })
      .Case([](KernelApplyCapacityOp) { return clause("capacity"); })
      .Case([](KernelSelectProductsOp) { return op("moe.route_products"); })
      .Case([](KernelChooseRowsOp) {
        return op("moe.choose_tokens (expert choice)");
      })
      .Case([](KernelSliceRowsOp) { return op("moe.restrict"); })
      .Case([](KernelRowLogitsOp) { return op("moe.grouped_logits"); })
      .Case([](KernelNestIdsOp) { return op("moe.nest"); })
      .Case([](KernelCountIdsOp) {
        return Form{"'moe.expert_counts ... chosen'", "count without 'chosen'"};
      })
      .Case([](KernelRandomOp) { return op("moe.random"); })
      .Case([](KernelLookupRowsOp) { return op("moe.lookup"); })
      .Case([](KernelFoldRowsOp) {
        return op("statistics of a router, or soft dispatch");
      })
      .Default([](Operation *) { return Form(); });
}

/// Names of the functions that launch `kernel`.
static std::string functionsOf(plan::KernelOp kernel) {
  std::string names;
  auto module = kernel->getParentOfType<ModuleOp>();
  for (auto func : module.getOps<plan::FuncOp>()) {
    WalkResult launches = func.walk([&](plan::DispatchOp dispatch) {
      return dispatch.getKernel() == kernel.getSymName()
                 ? WalkResult::interrupt()
                 : WalkResult::advance();
    });
    if (launches.wasInterrupted())
      names += (names.empty() ? "'" : ", '") + func.getSymName().str() + "'";
  }
  return names;
}

static std::string locationOf(Operation *op) {
  auto loc = op->getLoc()->findInstanceOf<FileLineColLoc>();
  if (!loc)
    return {};
  return (loc.getFilename().getValue() + ":" + Twine(loc.getLine()) + ":" +
          Twine(loc.getColumn()))
      .str();
}

/// What computes a number of rows; that of tokens is an argument.
static Form findCount(Operation *kernelOp) {
  if (isa<MoeDialect>(kernelOp->getDialect()))
    return {};
  return {"rows other than tokens (constant tensors, slots, experts within "
          "experts)",
          "make constant tensors moe.weights"};
}

LogicalResult mlir::moe::gpu::checkForms(plan::KernelOp kernel) {
  // An op says more than how it is told its number of rows.
  SmallVector<std::pair<Operation *, Form>> forms;
  for (Operation &kernelOp : kernel.getBody().front())
    forms.emplace_back(&kernelOp, findForm(&kernelOp));
  for (Operation &kernelOp : kernel.getBody().front())
    forms.emplace_back(&kernelOp, findCount(&kernelOp));
  for (auto &[op, form] : forms) {
    if (!form)
      continue;
    Operation &kernelOp = *op;
    std::string functions = functionsOf(kernel), where = locationOf(&kernelOp);
    if (!functions.empty())
      where += (where.empty() ? "function " : ", function ") + functions;
    Status status =
        Status::error(113, "GPUs do not have " + form.name)
            .at(where)
            .because("no GPU kernel computes it; kernels for CPUs do")
            .fix("compile for CPUs only (no sm_* in --target), or " +
                 form.instead);
    return kernelOp.emitError() << StringRef(status.toString()).rtrim();
  }
  return success();
}
