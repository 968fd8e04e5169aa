//===- InitAll.h - Registration of dialects and passes --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_INITALL_H
#define MOE_INITALL_H

namespace mlir {
class DialectRegistry;
}

namespace mlir::moe {

/// Our dialects and the upstream ones that any phase uses.
void registerAllDialects(DialectRegistry &registry);

/// Our passes and pipelines, and the upstream passes that pipelines use.
void registerAllPasses();

} // namespace mlir::moe

#endif // MOE_INITALL_H
