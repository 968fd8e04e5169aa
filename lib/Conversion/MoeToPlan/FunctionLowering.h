//===- FunctionLowering.h - From one function to its commands -----------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_MOETOPLAN_FUNCTIONLOWERING_H
#define MOE_LIB_CONVERSION_MOETOPLAN_FUNCTIONLOWERING_H

#include "moe/Dialect/Moe/Transforms/RowSpaces.h"
#include "moe/Dialect/Plan/IR/Plan.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
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

/// At most so many rows: perToken * N + constant.
struct RowBound {
  int64_t perToken = 0, constant = 0;

  RowBound operator*(int64_t factor) const {
    return {perToken * factor, constant * factor};
  }
  RowBound operator+(int64_t rows) const { return {perToken, constant + rows}; }
};

/// Turns one function into commands, for one kind of device.
class FunctionLowering {
public:
  FunctionLowering(func::FuncOp func, ModuleState &state)
      : func(func), state(state), b(func) {
    analyze();
  }
  /// The function of the plan, without variants.
  plan::FuncOp createFunction();
  /// Its variant for `device`.
  void addVariant(plan::FuncOp planFunc, DeviceKind device);

private:
  /// Finds what rows values have and how many there can be, and names the
  /// decisions.
  void analyze();
  void boundPairs(Operation *maker);

  void lower(Operation *op);
  void lowerRouterLogits(RouterLogitsOp op);
  void lowerGather(GatherRowsOp op);
  void lowerCombine(CombineRowsOp op);
  void lowerGroupedFfn(GroupedFfnOp op);
  void lowerRaggedFfn(GroupedFfnOp op);
  void lowerReturn(func::ReturnOp op);
  // LowerGroups.cpp: ops that make the five lists.
  void lowerGroups(Operation *op);
  void lowerChooseRows(ChooseRowsOp op);
  void lowerSliceRows(SliceRowsOp op);
  // LowerRouters.cpp: ops that choose.
  bool lowerRouter(Operation *op);
  void lowerSelect(SelectTopkOp op);
  void lowerCapacity(ApplyCapacityOp op);
  void lowerProducts(SelectProductsOp op);
  void lowerNest(NestIdsOp op);
  // LowerRows.cpp: tensor code.
  void lowerMapRows(MapRowsOp op);
  void lowerFoldRows(FoldRowsOp op);
  void lowerConstant(arith::ConstantOp op);

  /// The largest number of tokens for which row numbers fit 32 bits.
  int64_t maxTokens();

  /// An affine size in bytes: of rows of `bytes` each.
  AffineMap size(RowBound rows, int64_t bytes) {
    return AffineMap::get(1, 0,
                          b.getAffineDimExpr(0) * (rows.perToken * bytes) +
                              rows.constant * bytes);
  }
  Value allocate(Location loc, ArrayRef<AffineMap> sizes) {
    return plan::AllocOp::create(b, loc, plan::BufferType::get(b.getContext()),
                                 b.getAffineMapArrayAttr(sizes), 0);
  }
  RowBound getBound(const RowSpace &space) {
    switch (space.kind) {
    case RowSpace::Kind::None:
      return {0, 1};
    case RowSpace::Kind::Tokens:
      return {1, 0};
    case RowSpace::Kind::Pairs:
      return pairBounds.lookup(space.pairs);
    case RowSpace::Kind::Fixed:
      return {0, space.rows};
    }
    llvm_unreachable("unknown kind of rows");
  }
  /// Bytes of a tensor.
  AffineMap tensorSize(Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    bool isDynamic = type.getRank() != 0 && type.isDynamicDim(0);
    int64_t bytes = type.getElementTypeBitWidth() / 8;
    for (int64_t dim : type.getShape().drop_front(isDynamic ? 1 : 0))
      bytes *= dim;
    return size(isDynamic ? getBound(spaces.lookup(value)) : RowBound{0, 1},
                bytes);
  }
  /// Memory for a result: the output it becomes, or a temporary.
  Value define(Value result) {
    Value &buffer = buffers[result];
    if (!buffer)
      buffer = allocate(result.getLoc(), tensorSize(result));
    return buffer;
  }
  /// Memory for the five lists, and for a worklist where one is needed.
  void defineLists(Operation *maker);

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
  unsigned addTensor(Args &args, Value tensor) {
    return args.add(buffer(tensor), flatOf(tensor));
  }
  void addTensors(Args &args, ValueRange tensors) {
    for (Value tensor : tensors)
      addTensor(args, tensor);
  }
  /// How a kernel learns the number of rows: from an argument that is N, from
  /// the last of the offsets in an argument, or as a constant.
  struct Count {
    RowSpace space;
    unsigned arg;
  };
  Count addCount(Args &args, RowSpace space);
  Count addCountOf(Args &args, Value value) {
    return addCount(args, spaces.lookup(value));
  }
  /// The number, in the body of a kernel with arguments `v`.
  static Value getCount(OpBuilder &b, Location loc, ValueRange v,
                        const Count &count);

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
  /// Lets sessions record and replay what `ids` holds, if a `moe.group_rows`
  /// reads it.
  void tap(Value ids, bool readOnly = false);
  void record(Operation *maker);
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
  RowSpaces spaces;
  /// By `expert_offsets`: most rows altogether, and most of one token.
  DenseMap<Value, RowBound> pairBounds;
  DenseMap<Value, int64_t> pairsPerToken;
  /// Of the ops that make lists from a decision.
  DenseMap<Operation *, std::string> layers;
};

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_MOETOPLAN_FUNCTIONLOWERING_H
