//===- MoeBase.td - The moe dialect ---------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEBASE_TD
#define MOE_DIALECT_MOE_IR_MOEBASE_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

def Moe_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::mlir::moe";
  let summary = "Routing, dispatch, expert computation and combine";
  let description = [{
    Mixture-of-Experts layers at three levels.

    *Graph*: values are tensors, a routing decision is a value of type
    `!moe.routing`, an expert is a region. *Routed*: the decision is explicit
    as index lists, expert computation is grouped by expert. *Kernel*: one op
    is what the workers of one dispatch do, on flat buffers.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
  let hasCanonicalizer = 1;
}

class Moe_Op<string mnemonic, list<Trait> traits = []>
    : Op<Moe_Dialect, mnemonic, traits>;

class Moe_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Moe_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

class Moe_Type<string name, string typeMnemonic, list<Trait> traits = []>
    : TypeDef<Moe_Dialect, name, traits> {
  let mnemonic = typeMnemonic;
}

/// Extents of results are known in terms of operands, which lets
/// canonicalisation move `tensor.dim` up to function arguments.
defvar Moe_ReifyShapes =
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>;

/// Rows of tokens or of (token, expert) pairs.
def Moe_Matrix : 2DTensorOf<[F32, BF16, F16]>;
def Moe_IndexList : 1DTensorOf<[I32]>;
def Moe_WeightList : 1DTensorOf<[F32]>;

#endif // MOE_DIALECT_MOE_IR_MOEBASE_TD
