//===- PlanOps.td - The plan dialect --------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_PLAN_IR_PLANOPS_TD
#define MOE_DIALECT_PLAN_IR_PLANOPS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe/Dialect/Moe/IR/MoeAttrs.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let cppNamespace = "::mlir::plan";
  let summary = "The execution plan: one op is one command of the runtime";
  let description = [{
    The exit dialect. A function is a list of guarded variants, a variant a list
    of commands on buffers; kernels stand beside it, first as kernel ops, in
    the end as object code in a `plan.binary`. Serialised as
    moert/Format/Plan.fbs, which documents the meaning of each command.
  }];
  let useDefaultTypePrinterParser = 1;
}

class Plan_Op<string mnemonic, list<Trait> traits = []>
    : Op<Plan_Dialect, mnemonic, traits>;

def Plan_BufferType : TypeDef<Plan_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "an input, output, temporary or constant of the plan";
}

def Plan_FuncOp
    : Plan_Op<"func", [Symbol, IsolatedFromAbove, NoTerminator,
                       SingleBlock]> {
  let summary = "a function of the plan";
  let description = [{
    Block arguments: one index per symbol, then one buffer per input, then one
    per output. Each dynamic dimension of an input or output is the symbol that
    `dims` names for it, in order of occurrence. The body is a list of
    `plan.variant`; the first whose guards hold runs.

    C1. Block arguments are as described.
    C2. `dims` has one symbol number per dynamic dimension of all types.
    C3. `symbol_min` and `symbol_max` have one entry per symbol, 0 <= min <= max.
    C4. The body holds variants only, at least one, the last without guards.
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    StrArrayAttr:$symbols,
    DenseI64ArrayAttr:$symbol_min, DenseI64ArrayAttr:$symbol_max,
    StrArrayAttr:$input_names, TypeArrayAttr:$input_types,
    StrArrayAttr:$output_names, TypeArrayAttr:$output_types,
    DenseI64ArrayAttr:$dims);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Plan_VariantOp
    : Plan_Op<"variant", [HasParent<"FuncOp">, NoTerminator, SingleBlock]> {
  let summary = "commands for a range of symbol values";
  let description = [{
    Runs when `lo <= value < hi` for each guard, written [symbol, lo, hi].

    C1. `guards` holds triples of a symbol number of the function and a
        non-empty range.
  }];
  let arguments = (ins DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$guards);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "(`where` $guards^)? attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Plan_AllocOp : Plan_Op<"alloc"> {
  let summary = "temporary memory of a variant";
  let description = [{
    The size in bytes is the least of `sizes`, each an affine function of the
    symbols. Buffers with the same `slot` are never alive together.

    C1. Each of `sizes` has one result and one dimension per symbol, no symbol
        operand, and is linear.
  }];
  let arguments = (ins AffineMapArrayAttr:$sizes, I64Attr:$slot);
  let results = (outs Plan_BufferType:$buffer);
  let assemblyFormat = "$sizes `slot` $slot attr-dict";
  let hasVerifier = 1;
}

def Plan_ConstantOp : Plan_Op<"constant", [Symbol]> {
  let summary = "read-only bytes: weights in a physical layout";
  let description = [{
    The packing recipe: `weights` name the `moe.weight` symbols in order of
    parts; `layout` says how their elements are ordered.

    C1. `row_major` has exactly one weight; `panels` has 1 or 2 of one type
        and rank 2 or 3.
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name, FlatSymbolRefArrayAttr:$weights,
    Moe_LayoutAttr:$layout);
  let assemblyFormat = "$sym_name `packs` $weights qualified($layout) attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Size of the packed bytes.
    uint64_t getNumBytes();
  }];
}

def Plan_GetConstantOp
    : Plan_Op<"get_constant",
              [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the buffer of a constant";
  let description = [{C1. The symbol names a `plan.constant`.}];
  let arguments = (ins FlatSymbolRefAttr:$constant);
  let results = (outs Plan_BufferType:$buffer);
  let assemblyFormat = "$constant attr-dict";
}

def Plan_DispatchOp
    : Plan_Op<"dispatch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs a kernel and waits for its workers";
  let description = [{
    Operands are buffers or sizes, in the order of the kernel's arguments.
    `single` asks for one worker instead of one per thread.

    C1. The symbol names a `plan.kernel` with as many arguments; buffers go to
        memrefs, sizes to indices.
  }];
  let arguments = (ins
    FlatSymbolRefAttr:$kernel,
    Variadic<AnyTypeOf<[Plan_BufferType, Index]>>:$args,
    StrAttr:$label, UnitAttr:$single);
  let assemblyFormat = [{
    $kernel `(` $args `)` `label` $label (`single` $single^)? attr-dict
    `:` type($args)
  }];
}

def Plan_CopyOp : Plan_Op<"copy"> {
  let summary = "copies bytes from one buffer to another";
  let arguments = (ins Plan_BufferType:$source, Plan_BufferType:$target,
                   AffineMapAttr:$size, StrAttr:$label);
  let assemblyFormat = "$source `to` $target `size` $size `label` $label attr-dict";
}

def Plan_RecordExpertsOp : Plan_Op<"record_experts"> {
  let summary = "adds expert counts to the statistics of a layer";
  let arguments = (ins Plan_BufferType:$expert_offsets, I64Attr:$experts,
                   StrAttr:$layer);
  let assemblyFormat = "$expert_offsets `experts` $experts `layer` $layer attr-dict";
}

def Plan_KernelOp
    : Plan_Op<"kernel", [Symbol, IsolatedFromAbove, NoTerminator, SingleBlock]> {
  let summary = "code that the workers of a dispatch run";
  let description = [{
    Block arguments are flat memrefs and indices. The body is a list of kernel
    ops without order between workers. `variants` are the configurations to
    generate, one per ISA level.

    C1. Block arguments are memrefs of rank 1 or indices.
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    DefaultValuedAttr<ArrayAttr, "{}">:$variants);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Plan_BinaryOp : Plan_Op<"binary", [Symbol]> {
  let summary = "object code of all kernels for one target";
  let description = [{
    `format` is "elf-x86_64-object". `kernels` describes what it holds: a
    dictionary from kernel name to {args, levels, scratch = [i64 per level],
    accumulation = [str per level]}.
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name, StrAttr:$format,
    DictionaryAttr:$kernels, DenseI8ArrayAttr:$data);
  let assemblyFormat = "$sym_name $format $kernels $data attr-dict";
}

#endif // MOE_DIALECT_PLAN_IR_PLANOPS_TD
