//===- MoeEnums.td - Enumerations of the moe dialect ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEENUMS_TD
#define MOE_DIALECT_MOE_IR_MOEENUMS_TD

include "mlir/IR/EnumAttr.td"

class Moe_Enum<string name, string summary, list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
}

def Moe_Score : Moe_Enum<"Score", "function from router logits to scores", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Softmax", 1, "softmax">,
  I32EnumAttrCase<"Sigmoid", 2, "sigmoid">,
  I32EnumAttrCase<"SqrtSoftplus", 3, "sqrt_softplus">]>;

def Moe_TokenScore
    : Moe_Enum<"TokenScore", "function from router logits to what an expert "
                             "chooses tokens by", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Softmax", 1, "softmax">,
  I32EnumAttrCase<"Sigmoid", 2, "sigmoid">,
  I32EnumAttrCase<"SoftmaxOverTokens", 3, "softmax_over_tokens">]>;

def Moe_GroupFilter : Moe_Enum<"GroupFilter", "value of a group of experts", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Max", 1, "max">,
  I32EnumAttrCase<"Top2Sum", 2, "top2_sum">]>;

def Moe_WeightSource : Moe_Enum<"WeightSource",
                                "where the weight of a pair comes from", [
  I32EnumAttrCase<"Scores", 0, "scores">,
  I32EnumAttrCase<"Softmax", 1, "softmax">,
  I32EnumAttrCase<"Sigmoid", 2, "sigmoid">,
  I32EnumAttrCase<"Sparsemixer", 3, "sparsemixer">,
  I32EnumAttrCase<"Constant", 4, "constant">]>;

def Moe_Keep : Moe_Enum<"Keep", "which of the chosen pairs of a token stay", [
  I32EnumAttrCase<"All", 0, "all">,
  I32EnumAttrCase<"Threshold", 1, "threshold">,
  I32EnumAttrCase<"TopP", 2, "top_p">,
  I32EnumAttrCase<"Random", 3, "random">]>;

def Moe_CapacityKind : Moe_Enum<"CapacityKind", "what a capacity counts in", [
  I32EnumAttrCase<"Factor", 0, "factor">,
  I32EnumAttrCase<"Tokens", 1, "tokens">,
  I32EnumAttrCase<"Slots", 2, "slots">]>;

def Moe_DropOrder
    : Moe_Enum<"DropOrder", "which pairs get the slots of an expert first", [
  I32EnumAttrCase<"Choice", 0, "choice">,
  I32EnumAttrCase<"Position", 1, "position">,
  I32EnumAttrCase<"Weight", 2, "weight">,
  I32EnumAttrCase<"Priority", 3, "priority">]>;

def Moe_Distribution
    : Moe_Enum<"Distribution", "distribution of random numbers", [
  I32EnumAttrCase<"Uniform", 0, "uniform">,
  I32EnumAttrCase<"Normal", 1, "normal">,
  I32EnumAttrCase<"Gumbel", 2, "gumbel">]>;

def Moe_WeightEncoding
    : Moe_Enum<"WeightEncoding", "how a checkpoint stores a weight", [
  I32EnumAttrCase<"Mxfp4", 1, "mxfp4">,
  I32EnumAttrCase<"Fp8Block", 2, "fp8_block">,
  I32EnumAttrCase<"Int8Scaled", 3, "int8_scaled">]>;

def Moe_Isa : Moe_Enum<"Isa", "instruction set level of a CPU kernel", [
  I32EnumAttrCase<"AVX2", 0, "avx2">,
  I32EnumAttrCase<"AVX512", 1, "avx512">,
  I32EnumAttrCase<"AMX", 2, "amx">]>;

def Moe_DeviceKind : Moe_Enum<"DeviceKind", "kind of device that runs code", [
  I32EnumAttrCase<"Cpu", 0, "cpu">,
  I32EnumAttrCase<"Cuda", 1, "cuda">]>;

def Moe_LayoutKind : Moe_Enum<"LayoutKind", "physical layout of a constant", [
  I32EnumAttrCase<"RowMajor", 0, "row_major">,
  I32EnumAttrCase<"Panels", 1, "panels">,
  I32EnumAttrCase<"Rows", 2, "rows">]>;

#endif // MOE_DIALECT_MOE_IR_MOEENUMS_TD
