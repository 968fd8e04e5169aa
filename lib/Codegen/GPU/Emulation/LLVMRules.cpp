//===- LLVMRules.cpp - Host form of llvm ops ------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Most ops mean the same on the host. What touches memory is checked first;
// what would need a library, or only a GPU understands, is refused.
//
//===----------------------------------------------------------------------===//

#include "Retarget.h"

#include "moe/Codegen/GPU/Emulation/Operations.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe::emulation;

namespace {

/// Intrinsics for which x86-64-v3 has instructions or LLVM has expansions
/// without calls, with the results of the GPU.
bool isHostIntrinsic(StringRef name) {
  static const llvm::StringSet<> names = {
      "abs",
      "assume",
      "bitreverse",
      "bswap",
      "ceil",
      "copysign",
      "ctlz",
      "ctpop",
      "cttz",
      "dbg.declare",
      "dbg.label",
      "dbg.value",
      "experimental.noalias.scope.decl",
      "expect",
      "expect.with.probability",
      "fabs",
      "floor",
      "fma",
      "fptosi.sat",
      "fptoui.sat",
      "fshl",
      "fshr",
      "is.constant",
      "is.fpclass",
      "lifetime.end",
      "lifetime.start",
      "maximum",
      "maximumnum",
      "maxnum",
      "minimum",
      "minimumnum",
      "minnum",
      "nearbyint",
      "rint",
      "roundeven",
      "sadd.sat",
      "sadd.with.overflow",
      "smax",
      "smin",
      "smul.with.overflow",
      "sqrt",
      "sshl.sat",
      "ssub.sat",
      "ssub.with.overflow",
      "trunc",
      "uadd.sat",
      "uadd.with.overflow",
      "umax",
      "umin",
      "umul.with.overflow",
      "ushl.sat",
      "usub.sat",
      "usub.with.overflow",
      "vector.reduce.add",
      "vector.reduce.and",
      "vector.reduce.fadd",
      "vector.reduce.fmax",
      "vector.reduce.fmaximum",
      "vector.reduce.fmin",
      "vector.reduce.fminimum",
      "vector.reduce.fmul",
      "vector.reduce.mul",
      "vector.reduce.or",
      "vector.reduce.smax",
      "vector.reduce.smin",
      "vector.reduce.umax",
      "vector.reduce.umin",
      "vector.reduce.xor",
  };
  return names.contains(name);
}

void check(Rewrite &r, Value address, unsigned bytes, uint64_t alignment,
           uint32_t kind) {
  if (!r.isPrivate(address))
    r.call(
        "moe_emu_check", Type(),
        {address, r.constant(bytes), r.constant(alignment), r.constant(kind)});
}

/// Checks the access of an op that claims `op.getAlignment()` or, as NVPTX
/// does, the natural alignment of the type.
template <typename Op>
void checkAccess(Rewrite &r, Op op, Type type, uint32_t kind) {
  uint64_t natural =
      r.getRetargeter().getDataLayout().getTypeABIAlignment(type);
  check(r, op.getAddr(), r.sizeOf(type), op.getAlignment().value_or(natural),
        kind);
}

/// The host's access is right at any address: what is misaligned is a finding,
/// not a crash.
template <typename Op>
LogicalResult rewriteAccess(Rewrite &r, Op op, Type type, uint32_t kind) {
  bool isAtomic = op.getOrdering() != LLVM::AtomicOrdering::not_atomic;
  if (isAtomic || op.getVolatile_())
    r.call("moe_emu_yield", Type(), {});
  checkAccess(r, op, type, isAtomic ? uint32_t(MOE_EMU_ATOMIC) : kind);
  op.setNontemporal(false);
  op.setSyncscope(std::nullopt);
  if (!isAtomic)
    op.setAlignment(1);
  return success();
}

LogicalResult rewriteAtomicRMW(Rewrite &r, LLVM::AtomicRMWOp op) {
  Type type = op.getVal().getType();
  check(r, op.getPtr(), r.sizeOf(type), r.sizeOf(type), MOE_EMU_ATOMIC);
  op.setSyncscope(std::nullopt);
  return success();
}

LogicalResult rewriteCmpXchg(Rewrite &r, LLVM::AtomicCmpXchgOp op) {
  Type type = op.getVal().getType();
  r.call("moe_emu_yield", Type(), {});
  check(r, op.getPtr(), r.sizeOf(type), r.sizeOf(type), MOE_EMU_ATOMIC);
  op.setSyncscope(std::nullopt);
  return success();
}

void checkRange(Rewrite &r, Value address, Value bytes, uint32_t kind) {
  if (!r.isPrivate(address))
    r.call("moe_emu_check", Type(),
           {address, r.toInt(bytes, r.i32), r.constant(1), r.constant(kind)});
}

/// memcpy and memmove. Claims about alignment are dropped.
template <typename Op> LogicalResult rewriteCopy(Rewrite &r, Op op) {
  Value length;
  if constexpr (std::is_same_v<Op, LLVM::MemcpyInlineOp>)
    length = r.constant(op.getLen().getSExtValue());
  else
    length = op.getLen();
  checkRange(r, op.getSrc(), length, MOE_EMU_READ);
  checkRange(r, op.getDst(), length, MOE_EMU_WRITE);
  op->removeAttr("arg_attrs");
  return success();
}

template <typename Op> LogicalResult rewriteFill(Rewrite &r, Op op) {
  Value length;
  if constexpr (std::is_same_v<Op, LLVM::MemsetInlineOp>)
    length = r.constant(op.getLen().getSExtValue());
  else
    length = op.getLen();
  checkRange(r, op.getDst(), length, MOE_EMU_WRITE);
  op->removeAttr("arg_attrs");
  return success();
}

LogicalResult rewriteAddressOf(Rewrite &r, LLVM::AddressOfOp op) {
  std::optional<uint32_t> offset =
      r.getRetargeter().getSharedOffset(op.getGlobalName());
  if (!offset)
    return success();
  Value address =
      r.offset(r.field(offsetof(moe_emu_thread, shared), r.ptr), *offset);
  r.replace(LLVM::AddrSpaceCastOp::create(r.b, r.loc, op.getType(), address)
                .getResult());
  return success();
}

LogicalResult rewriteCall(Rewrite &r, LLVM::CallOp op) {
  std::optional<StringRef> callee = op.getCallee();
  if (!callee)
    return op.emitError("the emulator has no calls through pointers");
  LLVM::LLVMFuncOp function = r.getRetargeter().lookupFunction(*callee);
  if (!function || function.isExternal())
    return op.emitError("function '")
           << *callee << "' is external: the emulator, as PTX, needs its body";
  op->insertOperands(0, r.thread());
  auto segments = op->getPropertiesStorage().as<LLVM::CallOp::Properties *>();
  segments->operandSegmentSizes[0] += 1;
  op.removeArgAttrsAttr();
  op.setCConv(LLVM::CConv::C);
  return success();
}

} // namespace

LogicalResult mlir::moe::emulation::rewriteLLVMOp(Rewrite &r, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](LLVM::LoadOp load) {
        return rewriteAccess(r, load, load.getType(), MOE_EMU_READ);
      })
      .Case([&](LLVM::StoreOp store) {
        return rewriteAccess(r, store, store.getValue().getType(),
                             MOE_EMU_WRITE);
      })
      .Case([&](LLVM::AtomicRMWOp rmw) { return rewriteAtomicRMW(r, rmw); })
      .Case([&](LLVM::AtomicCmpXchgOp cas) { return rewriteCmpXchg(r, cas); })
      .Case<LLVM::MemcpyOp, LLVM::MemcpyInlineOp, LLVM::MemmoveOp>(
          [&](auto copy) { return rewriteCopy(r, copy); })
      .Case<LLVM::MemsetOp, LLVM::MemsetInlineOp>(
          [&](auto fill) { return rewriteFill(r, fill); })
      .Case([&](LLVM::AddressOfOp address) {
        return rewriteAddressOf(r, address);
      })
      .Case([&](LLVM::CallOp call) { return rewriteCall(r, call); })
      .Case([&](LLVM::FenceOp) {
        r.call("moe_emu_fence", Type(), {});
        r.erase();
        return success();
      })
      .Case<LLVM::Trap, LLVM::DebugTrap, LLVM::UBSanTrap>([&](auto) {
        r.call("moe_emu_trap", Type(), {});
        r.erase();
        return success();
      })
      // NVPTX fuses it.
      .Case([&](LLVM::FMulAddOp op) {
        r.replace(
            LLVM::FMAOp::create(r.b, r.loc, op.getA(), op.getB(), op.getC())
                .getResult());
        return success();
      })
      .Case([&](LLVM::InlineAsmOp op) {
        return op.emitError("the emulator cannot run inline assembly '")
               << op.getAsmString() << "'";
      })
      .Case([&](LLVM::CallIntrinsicOp op) {
        return op.emitError("the emulator cannot run the intrinsic '")
               << op.getIntrin() << "' called by name";
      })
      .Case<LLVM::InvokeOp, LLVM::LandingpadOp, LLVM::ResumeOp, LLVM::VaArgOp,
            LLVM::IndirectBrOp, LLVM::BlockAddressOp>([&](auto refused) {
        return refused->emitOpError("is not an operation of the emulator");
      })
      .Default([&](Operation *other) -> LogicalResult {
        StringRef name = other->getName().getStringRef();
        if (isa<LLVM::FRemOp>(other) ||
            (name.consume_front("llvm.intr.") && !isHostIntrinsic(name)))
          return other->emitOpError("would need a library on the host");
        return success();
      });
}
