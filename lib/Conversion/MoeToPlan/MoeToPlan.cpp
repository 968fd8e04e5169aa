//===- MoeToPlan.cpp - From routed ops to a plan --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/Passes.h"

#include "AssignSlots.h"
#include "moe/Dialect/Moe/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOPLANPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {

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

int64_t FunctionLowering::maxTokens() {
  int64_t limit = 1 << 20;
  if (auto attr = state.module->getAttrOfType<IntegerAttr>("moe.max_tokens"))
    limit = attr.getInt();
  func.walk([&](Operation *op) {
    int64_t pairs = 1;
    if (auto group = dyn_cast<GroupRowsOp>(op))
      pairs = group.getIds().getType().getDimSize(1);
    else if (auto rows = dyn_cast<AllRowsOp>(op))
      pairs = cast<ShapedType>(rows.getExpertOffsets().getType()).getDimSize(0);
    limit =
        std::min<int64_t>(limit, std::numeric_limits<int32_t>::max() / pairs);
  });
  return limit;
}

plan::FuncOp FunctionLowering::createFunction() {
  auto names = [&](unsigned count, StringRef prefix, auto getAttr) {
    SmallVector<Attribute> list;
    for (unsigned i = 0; i < count; ++i) {
      StringAttr name = getAttr(i);
      if (!name)
        name = b.getStringAttr(count == 1 ? prefix.str()
                                          : prefix.str() + std::to_string(i));
      list.push_back(name);
    }
    return b.getArrayAttr(list);
  };
  ArrayAttr inputNames = names(func.getNumArguments(), "x", [&](unsigned i) {
    return func.getArgAttrOfType<StringAttr>(i, "moe.name");
  });
  ArrayAttr outputNames = names(func.getNumResults(), "y", [&](unsigned i) {
    return func.getResultAttrOfType<StringAttr>(i, "moe.name");
  });
  unsigned dynamicDims = 0;
  for (Type type :
       llvm::concat<const Type>(func.getArgumentTypes(), func.getResultTypes()))
    dynamicDims += cast<RankedTensorType>(type).getNumDynamicDims();

  b.setInsertionPoint(func);
  auto planFunc = plan::FuncOp::create(
      b, func.getLoc(), func.getSymName(), b.getStrArrayAttr({"N"}),
      ArrayRef<int64_t>{0}, ArrayRef<int64_t>{maxTokens()}, inputNames,
      b.getTypeArrayAttr(func.getArgumentTypes()), outputNames,
      b.getTypeArrayAttr(func.getResultTypes()),
      SmallVector<int64_t>(dynamicDims, 0));
  Block *entry = b.createBlock(&planFunc.getBody());
  Location loc = func.getLoc();
  entry->addArgument(b.getIndexType(), loc);
  auto bufferType = plan::BufferType::get(b.getContext());
  for (BlockArgument arg : func.getArguments())
    entry->addArgument(bufferType, arg.getLoc());
  for (unsigned i = 0; i < func.getNumResults(); ++i)
    entry->addArgument(bufferType, loc);
  return planFunc;
}

void FunctionLowering::addVariant(plan::FuncOp planFunc, DeviceKind kind) {
  device = kind;
  auto terminator = cast<func::ReturnOp>(func.front().getTerminator());
  Block *entry = &planFunc.getBody().front();
  tokens = entry->getArgument(0);
  for (auto [arg, input] :
       llvm::zip(func.getArguments(), entry->getArguments().drop_front())) {
    buffers[arg] = input;
    rowsPerToken[arg] = 1;
  }
  for (auto [result, output] :
       llvm::zip_equal(terminator.getOperands(),
                       entry->getArguments().take_back(func.getNumResults()))) {
    // Written in place, unless something else owns the value already.
    if (result.getDefiningOp() && !isa<GetWeightOp>(result.getDefiningOp()))
      buffers.try_emplace(result, output);
  }
  b.setInsertionPointToEnd(entry);
  variant =
      plan::VariantOp::create(b, func.getLoc(), b.getDenseI64ArrayAttr({}),
                              DeviceKindAttr::get(b.getContext(), kind));
  b.createBlock(&variant.getBody());

  for (Operation &op : func.front())
    lower(&op);
  assignSlots(variant);
}

GroupRowsOp FunctionLowering::getFusedGroup(SelectTopkOp select) {
  GroupRowsOp group;
  for (Operation *user : select.getIds().getUsers())
    if (auto candidate = dyn_cast<GroupRowsOp>(user);
        candidate && !candidate.getGiven() && !group &&
        candidate.getIds() == select.getIds() &&
        candidate.getWeights() == select.getWeights())
      group = candidate;
  // Nothing may want the choice before the lists are there.
  for (Operation *user : select->getUsers())
    if (group && user->isBeforeInBlock(group))
      return {};
  return group;
}

void FunctionLowering::lower(Operation *op) {
  Args args;
  if (auto logits = dyn_cast<RouterLogitsOp>(op)) {
    auto type = logits.getWeight().getType();
    define(logits.getLogits(), 1);
    addTensor(args, logits.getX());
    addTensor(args, logits.getWeight());
    if (logits.getBias())
      addTensor(args, logits.getBias());
    addTensor(args, logits.getLogits());
    addTokens(args);
    dispatch(op, "router_logits", args, [&](OpBuilder &b, ValueRange v) {
      bool hasBias = logits.getBias() != nullptr;
      KernelRouterLogitsOp::create(b, op->getLoc(), v[0], v[1],
                                   hasBias ? v[2] : Value(), v[v.size() - 2],
                                   v.back(), type.getDimSize(0),
                                   type.getDimSize(1), logits.getRoundAttr());
    });
    return;
  }
  if (auto select = dyn_cast<SelectTopkOp>(op)) {
    define(select.getIds(), 1);
    define(select.getWeights(), 1);
    if (onGpu() && getFusedGroup(select))
      return;
    addTensor(args, select.getLogits());
    if (select.getBias())
      addTensor(args, select.getBias());
    addTensor(args, select.getIds());
    addTensor(args, select.getWeights());
    addTokens(args);
    dispatch(op, "select_topk", args, [&](OpBuilder &b, ValueRange v) {
      unsigned i = 1;
      Value bias = select.getBias() ? v[i++] : Value();
      KernelSelectTopkOp::create(
          b, op->getLoc(), v[0], bias, v[i], v[i + 1], v[i + 2],
          select.getLogits().getType().getDimSize(1), select.getPolicy());
    });
    return;
  }
  if (isa<GroupRowsOp, AllRowsOp>(op))
    return lowerGroups(op);
  if (auto gather = dyn_cast<GatherRowsOp>(op)) {
    Value offsets = gather.getRowToken().getDefiningOp()->getResult(0);
    define(gather.getRows(), rowsPerToken[offsets]);
    addTensor(args, gather.getX());
    addTensor(args, gather.getRowToken());
    addTensor(args, offsets);
    addTensor(args, gather.getRows());
    dispatch(op, "gather_rows", args, [&](OpBuilder &b, ValueRange v) {
      KernelGatherRowsOp::create(
          b, op->getLoc(), v[0], v[1], v[2], v[3],
          cast<ShapedType>(offsets.getType()).getDimSize(0) - 1,
          gather.getX().getType().getDimSize(1));
    });
    return;
  }
  if (auto ffn = dyn_cast<GroupedFfnOp>(op))
    return lowerGroupedFfn(ffn);
  if (auto map = dyn_cast<MapRowsOp>(op)) {
    lowerMapRows(map);
    return;
  }
  if (auto combine = dyn_cast<CombineRowsOp>(op)) {
    define(combine.getResult(), 1);
    for (Value operand : op->getOperands())
      addTensor(args, operand);
    addTensor(args, combine.getResult());
    addTokens(args);
    dispatch(op, "combine_rows", args, [&](OpBuilder &b, ValueRange v) {
      unsigned n = combine.getRows().size();
      KernelCombineRowsOp::create(b, op->getLoc(), v.slice(0, n), v.slice(n, n),
                                  v.slice(2 * n, n), v.slice(3 * n, n),
                                  v[4 * n], v[4 * n + 1],
                                  combine.getType().getDimSize(1));
    });
    return;
  }
  if (auto count = dyn_cast<CountRowsOp>(op)) {
    define(count.getCounts(), 0);
    addTensor(args, count.getExpertOffsets());
    addTensor(args, count.getCounts());
    dispatch(op, "count_rows", args, [&](OpBuilder &b, ValueRange v) {
      KernelCountRowsOp::create(
          b, op->getLoc(), v[0], v[1],
          cast<ShapedType>(count.getCounts().getType()).getDimSize(0));
    });
    return;
  }
  if (auto terminator = dyn_cast<func::ReturnOp>(op))
    lowerReturn(terminator);
}

void FunctionLowering::lowerGroups(Operation *op) {
  Args args;
  Location loc = op->getLoc();
  auto group = dyn_cast<GroupRowsOp>(op);
  int64_t experts =
      cast<RankedTensorType>(op->getResult(0).getType()).getDimSize(0) - 1;
  int64_t pairs = group ? group.getIds().getType().getDimSize(1) : experts;
  define(op->getResult(0), 0);
  rowsPerToken[op->getResult(0)] = pairs;
  for (unsigned i : {1, 2, 4})
    define(op->getResult(i), pairs);
  // One more than tokens.
  Value &tokenOffsets = buffers[op->getResult(3)];
  if (!tokenOffsets)
    tokenOffsets = allocate(loc, size(4, 4));
  IntegerAttr tileRows;
  if (needsWorklist(op->getResult(0))) {
    // No more tiles than rows.
    worklists[op->getResult(0)] = allocate(loc, size(16 * pairs, 16));
    tileRows = b.getI64IntegerAttr(kTileRows);
  }

  auto select =
      group ? group.getIds().getDefiningOp<SelectTopkOp>() : SelectTopkOp();
  if (!onGpu() || !select || getFusedGroup(select) != group)
    select = {};
  if (select) {
    addTensor(args, select.getLogits());
    if (select.getBias())
      addTensor(args, select.getBias());
  }
  // Of assign_all's tokens only the number counts, and that is N.
  for (Value operand : op->getOperands())
    if (group || operand != op->getOperand(0))
      addTensor(args, operand);
  for (Value result : op->getResults())
    addTensor(args, result);
  addTokens(args);
  if (tileRows)
    args.add(worklists[op->getResult(0)], flat(b.getI32Type()));

  if (select)
    dispatch(op, "route", args, [&](OpBuilder &b, ValueRange v) {
      Value worklist = tileRows ? v.back() : Value();
      Value bias = select.getBias() ? v[1] : Value();
      ValueRange lists = v.drop_front(bias ? 2 : 1);
      KernelRouteRowsOp::create(
          b, loc, v[0], bias, lists[0], lists[1], lists[2], lists[3], lists[4],
          lists[5], lists[6], worklist, lists[7], b.getI64IntegerAttr(experts),
          select.getPolicyAttr(), tileRows);
    });
  else if (group)
    dispatch(
        op, "group_rows", args,
        [&](OpBuilder &b, ValueRange v) {
          Value worklist = tileRows ? v.back() : Value();
          KernelGroupRowsOp::create(
              b, loc, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], worklist,
              b.getI64IntegerAttr(experts), b.getI64IntegerAttr(pairs),
              group.getGivenAttr(), tileRows);
        },
        /*single=*/true);
  else
    dispatch(op, "all_rows", args, [&](OpBuilder &b, ValueRange v) {
      Value worklist = tileRows ? v.back() : Value();
      bool weighted = v.size() == (worklist ? 8 : 7);
      ValueRange lists = weighted ? v.drop_front() : v;
      KernelAllRowsOp::create(b, loc, weighted ? v[0] : Value(), lists[0],
                              lists[1], lists[2], lists[3], lists[4], lists[5],
                              worklist, b.getI64IntegerAttr(experts), tileRows);
    });
  if (!group)
    return;
  std::string layer = func.getSymName().str();
  if (routings++)
    layer += "#" + std::to_string(routings - 1);
  plan::RecordExpertsOp::create(b, loc, buffer(op->getResult(0)), experts,
                                layer);
}

/// A GPU gathers rows while it copies them: nothing is packed, and rows follow
/// each other as in the graph.
void FunctionLowering::lowerRaggedFfn(GroupedFfnOp op) {
  Location loc = op.getLoc();
  Type element = op.getX().getType().getElementType();
  Type bytes = flat(b.getI8Type()), i32 = flat(b.getI32Type());
  int64_t hidden = op.getX().getType().getDimSize(1);
  int64_t elementBytes = element.getIntOrFloatBitWidth() / 8;
  unsigned parts = op.getParts();
  auto type = TypeAttr::get(element);
  auto i64 = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  // One asynchronous copy moves 16 bytes.
  auto layout =
      LayoutAttr::get(b.getContext(), LayoutKind::Rows, 16 / elementBytes, 1);

  struct Segment {
    int64_t experts, width, out;
    Value worklist, activated, upWeights, downWeights;
  };
  SmallVector<Segment> segments;
  for (unsigned s = 0; s < op.getNumSegments(); ++s) {
    SmallVector<FlatSymbolRefAttr> symbols;
    for (Value weight : op.getSegmentWeights(s))
      symbols.push_back(
          cast<GetWeightOp>(weight.getDefiningOp()).getWeightAttr());
    auto up = cast<RankedTensorType>(op.getSegmentWeights(s)[0].getType());
    auto down =
        cast<RankedTensorType>(op.getSegmentWeights(s).back().getType());
    Value offsets = op.getExpertOffsets()[s];
    int64_t pairs = rowsPerToken[offsets];
    Segment segment{up.getDimSize(0),
                    up.getDimSize(1),
                    down.getDimSize(1),
                    worklists.lookup(offsets),
                    {},
                    {},
                    {}};
    segment.upWeights = getConstant(loc, ArrayRef(symbols).drop_back(), layout);
    segment.downWeights = getConstant(loc, symbols.back(), layout);
    segment.activated =
        allocate(loc, size(pairs * segment.width * elementBytes, 0));
    segments.push_back(segment);
    define(op.getResult(s), pairs);
  }

  Args up;
  addTensor(up, op.getX());
  for (auto [s, segment] : llvm::enumerate(segments)) {
    up.add(segment.upWeights, bytes);
    up.add(buffer(op.getRowToken()[s]), i32);
    up.add(segment.worklist, i32);
    up.add(segment.activated, flat(element));
  }
  dispatch(op, "ffn_up", up, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments)) {
      ValueRange own = v.slice(1 + 4 * s, 4);
      auto gemm = KernelRaggedGemmOp::create(
          b, loc, v[0], own[1], own[0], own[2], own[3], i64(segment.experts),
          i64(segment.width), i64(hidden), i64(parts), i64(kTileRows), type);
      IRMapping mapping;
      op.getActivation().cloneInto(&gemm.getActivation(), mapping);
    }
  });

  Args down;
  for (auto [s, segment] : llvm::enumerate(segments)) {
    down.add(segment.activated, flat(element));
    down.add(segment.downWeights, bytes);
    down.add(segment.worklist, i32);
    down.add(buffer(op.getResult(s)), flat(element));
  }
  dispatch(op, "ffn_down", down, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments)) {
      ValueRange own = v.slice(4 * s, 4);
      KernelRaggedGemmOp::create(
          b, loc, own[0], Value(), own[1], own[2], own[3], i64(segment.experts),
          i64(segment.out), i64(segment.width), i64(1), i64(kTileRows), type);
    }
  });
}

void FunctionLowering::lowerGroupedFfn(GroupedFfnOp op) {
  if (onGpu())
    return lowerRaggedFfn(op);
  Location loc = op.getLoc();
  Type element = op.getX().getType().getElementType();
  Type bytes = flat(b.getI8Type()), i32 = flat(b.getI32Type());
  int64_t hidden = op.getX().getType().getDimSize(1);
  unsigned parts = op.getParts();
  auto type = TypeAttr::get(element);
  auto i64 = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  bool isBF16 = element.isBF16();
  auto layout = LayoutAttr::get(b.getContext(), LayoutKind::Panels,
                                isBF16 ? 32 : 1, isBF16 ? 2 : 1);

  /// Packed rows of an expert fill whole blocks of 16; channels are padded to
  /// 32 and take up to four bytes, depending on the ISA level.
  auto allocatePacked = [&](int64_t channels, int64_t pairs, int64_t experts) {
    int64_t rowBytes = llvm::alignTo(channels, 32) * 4;
    return allocate(loc, {size(16 * pairs * rowBytes, 0),
                          size(pairs * rowBytes, 15 * experts * rowBytes)});
  };

  struct Segment {
    int64_t experts, width, out;
    Value packed, activated, upWeights, downWeights;
  };
  SmallVector<Segment> segments;
  for (unsigned s = 0; s < op.getNumSegments(); ++s) {
    SmallVector<FlatSymbolRefAttr> symbols;
    for (Value weight : op.getSegmentWeights(s))
      symbols.push_back(
          cast<GetWeightOp>(weight.getDefiningOp()).getWeightAttr());
    auto up = cast<RankedTensorType>(op.getSegmentWeights(s)[0].getType());
    auto down =
        cast<RankedTensorType>(op.getSegmentWeights(s).back().getType());
    int64_t pairs = rowsPerToken[op.getExpertOffsets()[s]];
    Segment segment{
        up.getDimSize(0), up.getDimSize(1), down.getDimSize(1), {}, {}, {}, {}};
    segment.upWeights = getConstant(loc, ArrayRef(symbols).drop_back(), layout);
    segment.downWeights = getConstant(loc, symbols.back(), layout);
    segment.packed = allocatePacked(hidden, pairs, segment.experts);
    segment.activated = allocatePacked(segment.width, pairs, segment.experts);
    segments.push_back(segment);
    define(op.getResult(s), pairs);
  }

  Args pack;
  addTensor(pack, op.getX());
  for (auto [s, segment] : llvm::enumerate(segments)) {
    pack.add(buffer(op.getRowToken()[s]), i32);
    pack.add(buffer(op.getExpertOffsets()[s]), i32);
    pack.add(segment.packed, bytes);
  }
  dispatch(op, "pack_rows", pack, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments))
      KernelPackRowsOp::create(b, loc, v[0], v[3 * s + 1], v[3 * s + 2],
                               v[3 * s + 3], i64(segment.experts), i64(hidden),
                               type);
  });

  Args up;
  for (auto [s, segment] : llvm::enumerate(segments)) {
    up.add(segment.packed, bytes);
    up.add(segment.upWeights, bytes);
    up.add(buffer(op.getExpertOffsets()[s]), i32);
    up.add(segment.activated, bytes);
  }
  dispatch(op, "ffn_up", up, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments)) {
      auto gemm = KernelGroupedGemmOp::create(
          b, loc, v[4 * s], v[4 * s + 1], v[4 * s + 2], v[4 * s + 3],
          i64(segment.experts), i64(segment.width), i64(hidden), i64(parts),
          type, type);
      IRMapping mapping;
      op.getActivation().cloneInto(&gemm.getActivation(), mapping);
    }
  });

  Args down;
  for (auto [s, segment] : llvm::enumerate(segments)) {
    down.add(segment.activated, bytes);
    down.add(segment.downWeights, bytes);
    down.add(buffer(op.getExpertOffsets()[s]), i32);
    down.add(buffer(op.getResult(s)), flat(element));
  }
  dispatch(op, "ffn_down", down, [&](OpBuilder &b, ValueRange v) {
    for (auto [s, segment] : llvm::enumerate(segments))
      KernelGroupedGemmOp::create(b, loc, v[4 * s], v[4 * s + 1], v[4 * s + 2],
                                  v[4 * s + 3], i64(segment.experts),
                                  i64(segment.out), i64(segment.width), i64(1),
                                  type, type);
  });
}

void FunctionLowering::lowerMapRows(MapRowsOp op) {
  Value offsets = op.getExpertOffsets();
  int64_t experts =
      offsets ? cast<ShapedType>(offsets.getType()).getDimSize(0) - 1 : 0;
  for (Value result : op.getResults())
    define(result, offsets ? rowsPerToken[offsets] : 1);
  Args args;
  for (Value operand : op->getOperands())
    addTensor(args, operand);
  for (Value result : op.getResults())
    addTensor(args, result);
  addTokens(args);
  dispatch(op, "map_rows", args, [&](OpBuilder &b, ValueRange v) {
    auto take = [&](unsigned n) {
      ValueRange head = v.take_front(n);
      v = v.drop_front(n);
      return head;
    };
    ValueRange rows = take(op.getRows().size());
    ValueRange list = take(offsets ? 1 : 0);
    ValueRange weights = take(op.getExpertWeights().size());
    ValueRange invariants = take(op.getInvariants().size());
    ValueRange outs = take(op.getNumResults());
    auto kernel = KernelMapRowsOp::create(b, op.getLoc(), rows,
                                          offsets ? list[0] : Value(), weights,
                                          invariants, outs, v[0], experts);
    IRMapping mapping;
    op.getBody().cloneInto(&kernel.getBody(), mapping);
  });
}

void FunctionLowering::lowerReturn(func::ReturnOp op) {
  auto planFunc = variant->getParentOfType<plan::FuncOp>();
  auto outputs =
      planFunc.getBody().getArguments().take_back(func.getNumResults());
  for (auto [i, pair] : llvm::enumerate(llvm::zip(op.getOperands(), outputs))) {
    auto [value, output] = pair;
    Value source = buffer(value);
    if (source == output)
      continue;
    plan::CopyOp::create(
        b, op.getLoc(), source, output,
        AffineMapAttr::get(tensorSize(cast<RankedTensorType>(value.getType()),
                                      rowsPerToken.lookup(value))),
        b.getStringAttr(func.getSymName() + "/copy"));
  }
}

struct ConvertMoeToPlanPass
    : public moe::impl::ConvertMoeToPlanPassBase<ConvertMoeToPlanPass> {
  void runOnOperation() override {
    if (Attribute attr = getOperation()->getAttr("moe.max_tokens")) {
      auto limit = dyn_cast<IntegerAttr>(attr);
      if (!limit || !limit.getType().isInteger(64) || limit.getInt() < 1) {
        getOperation().emitError()
            << "attribute 'moe.max_tokens' must be a positive i64, got "
            << attr;
        return signalPassFailure();
      }
    }
    // Without targets, for the CPU.
    bool cpu = false, gpu = false;
    auto targets = getOperation()->getAttrOfType<ArrayAttr>("moe.targets");
    for (Attribute attr : targets ? targets.getValue() : ArrayRef<Attribute>())
      if (auto name = dyn_cast<StringAttr>(attr))
        (name.getValue().starts_with("sm_") ? gpu : cpu) = true;

    ModuleState state(getOperation());
    for (auto func :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>())) {
      if (failed(verifyRouted(func)))
        return signalPassFailure();
      plan::FuncOp planFunc = FunctionLowering(func, state).createFunction();
      if (cpu || !gpu)
        FunctionLowering(func, state).addVariant(planFunc, DeviceKind::Cpu);
      if (gpu)
        FunctionLowering(func, state).addVariant(planFunc, DeviceKind::Cuda);
      func.erase();
    }
  }
};

} // namespace
