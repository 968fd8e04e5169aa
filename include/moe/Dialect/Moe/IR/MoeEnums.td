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
  I32EnumAttrCase<"Sigmoid", 2, "sigmoid">]>;

def Moe_GroupFilter : Moe_Enum<"GroupFilter", "value of a group of experts", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Max", 1, "max">,
  I32EnumAttrCase<"Top2Sum", 2, "top2_sum">]>;

def Moe_WeightSource : Moe_Enum<"WeightSource",
                                "where the weight of a pair comes from", [
  I32EnumAttrCase<"Scores", 0, "scores">,
  I32EnumAttrCase<"Softmax", 1, "softmax">]>;

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
