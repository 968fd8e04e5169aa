//===- FunctionLowering.h - From one function to its commands -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_MOETOPLAN_FUNCTIONLOWERING_H
#define MOE_LIB_CONVERSION_MOETOPLAN_FUNCTIONLOWERING_H

#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace mlir::moe {

/// Kernels and constants of a module, each created once.
class ModuleState {
public:
  explicit ModuleState(ModuleOp module)
      : module(module), b(module.getBodyRegion()) {
    b.setInsertionPointToEnd(module.getBody());
    for (Operation &op : *module.getBody())
      if (auto name = SymbolTable::getSymbolName(&op))
        symbols.insert(name.getValue());
  }

  using BodyBuilder = function_ref<void(OpBuilder &, ValueRange)>;

  /// A kernel with the given body, or an equal one that exists already.
  plan::KernelOp getKernel(Location loc, StringRef name, DeviceKind device,
                           TypeRange types, BodyBuilder build) {
    OpBuilder::InsertionGuard guard(b);
    auto kernel = plan::KernelOp::create(
        b, loc, b.getStringAttr(name),
        DeviceKindAttr::get(b.getContext(), device), b.getArrayAttr({}));
    Block *block = b.createBlock(&kernel.getBody());
    for (Type type : types)
      block->addArgument(type, loc);
    build(b, block->getArguments());

    SmallVector<plan::KernelOp> &known = kernels[name];
    for (plan::KernelOp other : known) {
      kernel.setSymName(other.getSymName());
      if (OperationEquivalence::isEquivalentTo(
              kernel, other, OperationEquivalence::IgnoreLocations)) {
        kernel.erase();
        return other;
      }
    }
    kernel.setSymName(makeUnique(name));
    known.push_back(kernel);
    return kernel;
  }

  /// The constant that packs these weights in this layout.
  plan::ConstantOp getConstant(Location loc,
                               ArrayRef<FlatSymbolRefAttr> weights,
                               LayoutAttr layout) {
    SmallVector<Attribute> refs(weights.begin(), weights.end());
    ArrayAttr symbols = b.getArrayAttr(refs);
    plan::ConstantOp &constant = constants[{symbols, layout}];
    if (!constant) {
      std::string name;
      for (FlatSymbolRefAttr weight : weights)
        name += (name.empty() ? "" : "+") + weight.getValue().str();
      name += ("." + stringifyLayoutKind(layout.getKind())).str();
      constant =
          plan::ConstantOp::create(b, loc, makeUnique(name), symbols, layout);
    }
    return constant;
  }

  ModuleOp module;

private:
  /// A symbol that the module does not have yet: `name`, or with a number.
  std::string makeUnique(StringRef name) {
    std::string unique = name.str();
    for (unsigned i = 1; !symbols.insert(unique).second; ++i)
      unique = (name + "_" + Twine(i)).str();
    return unique;
  }

  OpBuilder b;
  /// By the name asked for.
  llvm::StringMap<SmallVector<plan::KernelOp>> kernels;
  DenseMap<std::pair<Attribute, Attribute>, plan::ConstantOp> constants;
  llvm::StringSet<> symbols;
};

/// Rows of a tile of a ragged GEMM: what a GPU loads its weights for at once.
constexpr int64_t kTileRows = 64;

/// Turns one function into commands, for one kind of device.
class FunctionLowering {
public:
  FunctionLowering(func::FuncOp func, ModuleState &state)
      : func(func), state(state), b(func) {}
  /// The function of the plan, without variants.
  plan::FuncOp createFunction();
  /// Its variant for `device`.
  void addVariant(plan::FuncOp planFunc, DeviceKind device);

private:
  void lower(Operation *op);
  void lowerGroups(Operation *op);
  void lowerGroupedFfn(GroupedFfnOp op);
  void lowerRaggedFfn(GroupedFfnOp op);
  void lowerMapRows(MapRowsOp op);
  void lowerReturn(func::ReturnOp op);

  /// The largest number of tokens for which row numbers fit 32 bits.
  int64_t maxTokens();

  /// An affine size `perToken * N + constant` in bytes.
  AffineMap size(int64_t perToken, int64_t constant) {
    return AffineMap::get(1, 0, b.getAffineDimExpr(0) * perToken + constant);
  }
  Value allocate(Location loc, ArrayRef<AffineMap> sizes) {
    return plan::AllocOp::create(b, loc, plan::BufferType::get(b.getContext()),
                                 b.getAffineMapArrayAttr(sizes), 0);
  }
  /// Bytes of a tensor with `rows` rows per token (0: a static tensor).
  AffineMap tensorSize(RankedTensorType type, int64_t rows) {
    int64_t bytes = type.getElementTypeBitWidth() / 8;
    for (int64_t dim : type.getShape().drop_front(rows ? 1 : 0))
      bytes *= dim;
    return rows ? size(bytes * rows, 0) : size(0, bytes);
  }
  /// Memory for a result: the output it becomes, or a temporary.
  Value define(Value result, int64_t rows) {
    Value &buffer = buffers[result];
    if (!buffer)
      buffer =
          allocate(result.getLoc(),
                   tensorSize(cast<RankedTensorType>(result.getType()), rows));
    rowsPerToken[result] = rows;
    return buffer;
  }

  /// The buffer of a value; a weight becomes a row-major constant.
  Value buffer(Value value) {
    Value &result = buffers[value];
    if (!result) {
      auto weight = cast<GetWeightOp>(value.getDefiningOp());
      result = getConstant(
          value.getLoc(), {weight.getWeightAttr()},
          LayoutAttr::get(b.getContext(), LayoutKind::RowMajor, 1, 1));
    }
    return result;
  }
  Value getConstant(Location loc, ArrayRef<FlatSymbolRefAttr> weights,
                    LayoutAttr layout) {
    plan::ConstantOp constant = state.getConstant(loc, weights, layout);
    return plan::GetConstantOp::create(b, loc,
                                       plan::BufferType::get(b.getContext()),
                                       FlatSymbolRefAttr::get(constant));
  }

  Type flat(Type element) {
    return MemRefType::get({ShapedType::kDynamic}, element);
  }
  Type flatOf(Value tensor) {
    return flat(cast<ShapedType>(tensor.getType()).getElementType());
  }

  /// A list of kernel arguments under construction: buffers with the flat type
  /// that the kernel sees, and N.
  struct Args {
    SmallVector<Value> values;
    SmallVector<Type> types;
    unsigned add(Value value, Type type) {
      values.push_back(value);
      types.push_back(type);
      return values.size() - 1;
    }
  };
  unsigned addTokens(Args &args) { return args.add(tokens, b.getIndexType()); }
  unsigned addTensor(Args &args, Value tensor) {
    return args.add(buffer(tensor), flatOf(tensor));
  }

  void dispatch(Operation *op, StringRef name, const Args &args,
                ModuleState::BodyBuilder build, bool single = false) {
    std::string symbol = name.str();
    if (onGpu())
      symbol += "_gpu";
    plan::KernelOp kernel =
        state.getKernel(op->getLoc(), symbol, device, args.types, build);
    plan::DispatchOp::create(b, op->getLoc(), kernel.getSymName(), args.values,
                             (func.getSymName() + "/" + name).str(), single);
  }

  bool onGpu() const { return device == DeviceKind::Cuda; }
  /// Whether the choice of `select` goes straight into the lists of one
  /// `moe.group_rows`, which a GPU then builds in the same kernel.
  GroupRowsOp getFusedGroup(SelectTopkOp select);
  /// Whether a ragged GEMM reads the rows of these lists, and a worklist.
  bool needsWorklist(Value expertOffsets) {
    return onGpu() && llvm::any_of(expertOffsets.getUsers(), [](Operation *op) {
             return isa<GroupedFfnOp>(op);
           });
  }

  func::FuncOp func;
  ModuleState &state;
  OpBuilder b;
  DeviceKind device = DeviceKind::Cpu;
  Value tokens;
  plan::VariantOp variant;
  DenseMap<Value, Value> buffers;
  /// By `expert_offsets`.
  DenseMap<Value, Value> worklists;
  /// Upper bound of a row tensor's rows per token; for `expert_offsets`, of the
  /// pairs that it counts.
  DenseMap<Value, int64_t> rowsPerToken;
  unsigned routings = 0;
};

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_MOETOPLAN_FUNCTIONLOWERING_H
