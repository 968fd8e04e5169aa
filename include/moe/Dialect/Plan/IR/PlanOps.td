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
  let dependentDialects = ["::mlir::moe::MoeDialect"];
}

class Plan_Op<string mnemonic, list<Trait> traits = []>
    : Op<Plan_Dialect, mnemonic, traits>;

def Plan_BufferType : TypeDef<Plan_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "an input, output, temporary or constant of the plan";
  let description = [{
    Bytes; what they mean is up to the kernels that take them.

    Example: `!plan.buffer`
  }];
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

    Example:
    ```mlir
    plan.func @f symbols(%n: "N" [0, 4096])
        inputs(%x: "x" tensor<?x8xf32>) outputs(%y: "y" tensor<?x8xf32>)
        dims [0, 0] {
      plan.variant {
        plan.dispatch @k(%x, %y, %n) label "f/k"
            : !plan.buffer, !plan.buffer, index
      }
    }
    ```

    - C1. Block arguments are as described.
    - C2. `dims` has one symbol number per dynamic dimension of all types.
    - C3. `symbol_min` and `symbol_max` have one entry per symbol,
        0 <= min <= max.
    - C4. The body holds variants only, at least one; those of one device
        follow each other, and the last of each, and no other, is without
        guards.
    - C5. Inputs and outputs are ranked tensors of f32, bf16, f16, i32, i64 or
        i8.
    - C6. Names are not empty; no two symbols, inputs or outputs share one.
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
  let hasRegionVerifier = 1;
}

def Plan_VariantOp
    : Plan_Op<"variant", [HasParent<"FuncOp">, NoTerminator, SingleBlock]> {
  let summary = "commands for a range of symbol values";
  let description = [{
    Runs on devices of its kind (`cpu` unless said otherwise) when
    `lo <= value < hi` for each guard, written [symbol, lo, hi].

    Examples:
    ```mlir
    plan.variant where [0, 0, 16] { ... }
    plan.variant on cuda { ... }
    ```

    - C1. `guards` holds triples of a symbol number of the function and a
        non-empty range.
    - C2. The body holds ops of this dialect only.
  }];
  let arguments = (ins
    DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$guards,
    DefaultValuedAttr<Moe_DeviceKindAttr,
                      "::mlir::moe::DeviceKind::Cpu">:$device);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    custom<OnDevice>($device) (`where` $guards^)? attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

def Plan_AllocOp : Plan_Op<"alloc", [HasParent<"VariantOp">]> {
  let summary = "temporary memory of a variant";
  let description = [{
    The size in bytes is the least of `sizes`, each an affine function of the
    symbols. Buffers with the same `slot` are never alive together.

    Example: `%t = plan.alloc [affine_map<(n) -> (n * 256)>] slot 0`

    - C1. At least one of `sizes`; each has one result and one dimension per
        symbol, no symbol operand, and is linear.
    - C2. `slot` is not negative.
  }];
  let arguments = (ins AffineMapArrayAttr:$sizes, I64Attr:$slot);
  let results = (outs Plan_BufferType:$buffer);
  let assemblyFormat = "$sizes `slot` $slot attr-dict";
  let hasVerifier = 1;
}

def Plan_ConstantOp
    : Plan_Op<"constant", [Symbol,
                           DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "read-only bytes: weights in a physical layout";
  let description = [{
    The packing recipe: `weights` name the `moe.weight` symbols in order of
    parts; `layout` says how their elements are ordered.

    Example:
    ```mlir
    plan.constant @layers.0.gate_up packs [@layers.0.gate, @layers.0.up]
        #moe.layout<kind = panels>
    ```

    - C1. `row_major` has exactly one weight; `panels` has 1 or 2 of one type
        and rank 2 or 3.
    - C2. The symbols name `moe.weight` ops.
    - C3. `panels` are of bf16 with kTile = 32 and kInner = 2, or of f32 with
        kTile = 1 and kInner = 1.
    - C4. `rows` has 1 or 2 weights of one type, of f32, bf16 or f16 and rank 2
        or 3; kTile elements are a multiple of 16 bytes.
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name, FlatSymbolRefArrayAttr:$weights,
    Moe_LayoutAttr:$layout);
  let assemblyFormat = [{
    $sym_name `packs` $weights qualified($layout) attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Size of the packed bytes: of the elements of the one weight for
    /// `row_major`, of all panels with their padding for `panels`. The weights
    /// must exist in the enclosing module.
    uint64_t getNumBytes();
  }];
}

def Plan_GetConstantOp
    : Plan_Op<"get_constant",
              [Pure, HasParent<"VariantOp">,
               DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the buffer of a constant";
  let description = [{
    Example: `%w = plan.get_constant @layers.0.gate_up`

    - C1. The symbol names a `plan.constant`.
  }];
  let arguments = (ins FlatSymbolRefAttr:$constant);
  let results = (outs Plan_BufferType:$buffer);
  let assemblyFormat = "$constant attr-dict";
}

def Plan_DispatchOp
    : Plan_Op<"dispatch", [HasParent<"VariantOp">,
                           DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs a kernel and waits for its workers";
  let description = [{
    Operands are buffers or sizes, in the order of the kernel's arguments.
    `single` asks for one worker instead of one per thread.

    Example:
    ```mlir
    plan.dispatch @route(%x, %y, %n) label "layers.0.mlp/route" single
        : !plan.buffer, !plan.buffer, index
    ```

    - C1. The symbol names a `plan.kernel` with as many arguments; buffers go to
        memrefs, sizes to indices. When the kernel is in a `plan.binary`, that
        says the number of arguments. Its variants are for the kind of device
        of the variant that dispatches it.
    - C2. Sizes are symbols of the function.
    - C3. `label` is not empty.
  }];
  let arguments = (ins
    FlatSymbolRefAttr:$kernel,
    Variadic<AnyTypeOf<[Plan_BufferType, Index]>>:$args,
    StrAttr:$label, UnitAttr:$single);
  let assemblyFormat = [{
    $kernel `(` $args `)` `label` $label (`single` $single^)? attr-dict
    `:` type($args)
  }];
  let hasVerifier = 1;
}

def Plan_CopyOp : Plan_Op<"copy", [HasParent<"VariantOp">]> {
  let summary = "copies bytes from one buffer to another";
  let description = [{
    `size` is the number of bytes, a function of the symbols.

    Example:
    ```mlir
    plan.copy %x to %y size affine_map<(n) -> (n * 32)> label "f/copy"
    ```

    - C1. `size` has one result and one dimension per symbol, no symbol operand,
        and is linear.
    - C2. `label` is not empty.
  }];
  let arguments = (ins Plan_BufferType:$source, Plan_BufferType:$target,
                   AffineMapAttr:$size, StrAttr:$label);
  let assemblyFormat = [{
    $source `to` $target `size` $size `label` $label attr-dict
  }];
  let hasVerifier = 1;
}

def Plan_RecordExpertsOp
    : Plan_Op<"record_experts", [HasParent<"VariantOp">]> {
  let summary = "adds expert counts to the statistics of a layer";
  let description = [{
    `expert_offsets` holds `experts` + 1 values of i32, which commands before
    this one have written; counts are their differences. `dropped` holds
    `experts` values of i32: how many pairs (token, expert) a limit of capacity
    dropped, which the counts leave out.

    Examples:
    ```mlir
    plan.record_experts %eo experts 8 layer "layers.0.mlp"
    plan.record_experts %eo experts 8 layer "layers.0.mlp" dropped %d
    ```

    - C1. `experts` is at least 1, `layer` is not empty.
  }];
  let arguments = (ins Plan_BufferType:$expert_offsets, I64Attr:$experts,
                   StrAttr:$layer, Optional<Plan_BufferType>:$dropped);
  let assemblyFormat = [{
    $expert_offsets `experts` $experts `layer` $layer (`dropped` $dropped^)?
    attr-dict
  }];
  let builders = [
    OpBuilder<(ins "::mlir::Value":$expert_offsets, "int64_t":$experts,
                   "::mlir::StringRef":$layer),
    [{ build($_builder, $_state, expert_offsets, experts, layer, Value()); }]>
  ];
  let hasVerifier = 1;
}

def Plan_TapRoutesOp : Plan_Op<"tap_routes", [HasParent<"VariantOp">]> {
  let summary = "where a session can record or replay what a router chose";
  let description = [{
    Stands between the command that chose and the first that reads the choice.
    `ids` holds `tokens` x `per_token` values of i32, experts in
    [0, `experts`) or -1 for none, `weights` as many of f32. Does nothing unless
    the session records routes, which copies them, or replays some, which
    overwrites them. Behind a kernel that chooses and builds the lists at once,
    it is `read_only`: recording only.

    Example:
    ```mlir
    plan.tap_routes %ids, %weights tokens affine_map<(n) -> (n)> per_token 2
        experts 8 layer "layers.0.mlp"
    ```

    - C1. `tokens` has one result and one dimension per symbol, no symbol
        operand, and is linear.
    - C2. `per_token` is at least 1, and at most `experts`; `layer` is not
        empty.
    - C3. No other tap of the variant has this layer.
    - C4. `ids` and `weights` are temporary buffers or outputs; inputs only when
        `read_only`.
  }];
  let arguments = (ins Plan_BufferType:$ids, Plan_BufferType:$weights,
                   AffineMapAttr:$tokens, I64Attr:$per_token, I64Attr:$experts,
                   StrAttr:$layer, UnitAttr:$read_only);
  let assemblyFormat = [{
    $ids `,` $weights `tokens` $tokens `per_token` $per_token
    `experts` $experts `layer` $layer (`read_only` $read_only^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Plan_KernelOp
    : Plan_Op<"kernel", [Symbol, IsolatedFromAbove, NoTerminator,
                         SingleBlock]> {
  let summary = "code that the workers of a dispatch run";
  let description = [{
    Block arguments are flat memrefs and indices. The body is a list of kernel
    ops without order between workers. `variants` are the configurations to
    generate: one per ISA level of a CPU, or one per GPU architecture.

    Example:
    ```mlir
    plan.kernel @count(%eo: memref<?xi32>, %n: memref<?xi64>)
        variants [#moe.cpu<isa = avx2, mr = 4, nr = 2, kc = 4096, prefetch = 0,
                           accumulation = "avx2">] {
      moe.kernel.count_rows ins(%eo : memref<?xi32>)
          outs(%n : memref<?xi64>) {experts = 8 : i64}
    }
    ```

    - C1. Block arguments are memrefs of rank 1 or indices.
    - C2. `variants` are `#moe.cpu` attributes, at most one per ISA level, when
        `device` is cpu, and `#moe.gpu` attributes, at most one per
        architecture, when it is cuda.
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    DefaultValuedAttr<Moe_DeviceKindAttr,
                      "::mlir::moe::DeviceKind::Cpu">:$device,
    DefaultValuedAttr<ArrayAttr, "{}">:$variants);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Plan_BinaryOp : Plan_Op<"binary", [Symbol]> {
  let summary = "object code of all kernels for one target";
  let description = [{
    `format` says what `data` is and `kernels` describes what it holds, a
    dictionary from kernel name to a dictionary:

    - "elf-x86_64-object": {args, levels, scratch = [i64 per level],
      accumulation = [str per level]}. At most one such binary.
    - "ptx" and "cubin": {args, threads, blocks, shared, scratch, accumulation,
      and of a cubin static_shared, registers}, as table GpuKernel of
      moert/Format/Plan.fbs documents them. The attribute `arch`
      names the architecture; at most one of each format per architecture, and
      no cubin without the PTX.

    - C1. `format` is as said; `arch` is given unless it is an object.
    - C2. Each entry of `kernels` is a dictionary with an integer `args`, and
        `levels` or `threads`.
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name, StrAttr:$format,
    DictionaryAttr:$kernels, DenseI8ArrayAttr:$data,
    OptionalAttr<StrAttr>:$arch);
  let assemblyFormat = [{
    $sym_name $format $kernels $data (`arch` $arch^)? attr-dict
  }];
  let hasVerifier = 1;
}

#endif // MOE_DIALECT_PLAN_IR_PLANOPS_TD
