//===- SerializeGpu.cpp - Cut modules to plan.binary ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NVPTX.h"

#include "moe/Codegen/GPU/Emulation/RetargetToHost.h"
#include "moe/Target/NVPTX/Passes.h"

#include "moert/Format/File.h"
#include "moert/Format/Packing.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace mlir::moe {
#define GEN_PASS_DEF_SERIALIZEGPUPASS
#include "moe/Target/NVPTX/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::nvptx;
using moert::Status;

namespace {

/// One kernel function of a cut module.
struct Kernel {
  LLVM::LLVMFuncOp func;
  std::string name;
  GpuConfigAttr config;
  int64_t args = 0, blocks = 0, shared = 0, scratch = 0;
  KernelUsage usage;
};

/// One cut module and what becomes of it.
struct Target {
  mlir::gpu::GPUModuleOp cut;
  const moe::gpu::ArchInfo *arch = nullptr;
  SmallVector<Kernel> kernels;
  std::string ptx, cubin, log;
};

struct SerializeGpu : public moe::impl::SerializeGpuPassBase<SerializeGpu> {
  using SerializeGpuPassBase::SerializeGpuPassBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    SerializeGpuPassBase::getDependentDialects(registry);
    registerNVPTXTranslations(registry);
    registerEmulationTranslations(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::vector<Target> targets;
    for (auto cut : module.getOps<mlir::gpu::GPUModuleOp>()) {
      targets.emplace_back();
      if (failed(collect(cut, targets.back())))
        return signalPassFailure();
    }
    if (failed(checkComplete(module, targets)))
      return signalPassFailure();
    if (targets.empty())
      return;

    moert::StatusOr<Ptxas> assembler = Ptxas::find(ptxas);
    if (!assembler.ok()) {
      (void)fail(module, std::move(assembler).status());
      return signalPassFailure();
    }
    if (!assembler->found() && ptxas != "none")
      warnNoPtxas(module);
    for (Target &target : targets)
      if (failed(compile(target, *assembler)))
        return signalPassFailure();

    OpBuilder b(&getContext());
    b.setInsertionPointToEnd(module.getBody());
    for (Target &target : targets) {
      addBinary(b, target, "ptx", target.ptx);
      if (!target.cubin.empty()) {
        auto binary = addBinary(b, target, "cubin", target.cubin);
        binary->setAttr("moe.ptxas", b.getStringAttr(assembler->version()));
      }
      target.cut.erase();
    }
    for (plan::KernelOp kernel :
         llvm::make_early_inc_range(module.getOps<plan::KernelOp>()))
      if (kernel.getDevice() == DeviceKind::Cuda)
        kernel.erase();
  }

private:
  LogicalResult fail(Operation *op, Status status) {
    return op->emitError() << StringRef(status.toString()).rtrim();
  }

  void warnNoPtxas(ModuleOp module) {
    std::string warning =
        Status::error(110, "ptxas was not found")
            .because("the artifact has PTX only; the driver "
                     "compiles it when it loads the artifact, "
                     "which takes longer and hides what the "
                     "assembler would report here")
            .fix("install the CUDA toolkit, or name NVIDIA's "
                 "assembler with --ptxas=PATH")
            .toString();
    StringRef rest = warning;
    rest.consume_front("error");
    module.emitWarning() << "warning" << rest.rtrim();
  }

  LogicalResult collect(mlir::gpu::GPUModuleOp cut, Target &target) {
    target.cut = cut;
    auto name = cut->getAttrOfType<StringAttr>("moe.arch");
    target.arch = name ? moe::gpu::findArch(name.getValue()) : nullptr;
    if (!target.arch)
      return cut.emitError("'moe.arch' of a cut module is no architecture");
    for (auto func : cut.getOps<LLVM::LLVMFuncOp>()) {
      auto kernelName = func->getAttrOfType<StringAttr>("moe.kernel");
      if (!kernelName)
        continue;
      auto config = func->getAttrOfType<GpuConfigAttr>("moe.config");
      auto shared = func->getAttrOfType<IntegerAttr>("moe.shared_bytes");
      auto scratch = func->getAttrOfType<IntegerAttr>("moe.scratch_bytes");
      if (!config || !shared || !scratch || func.getNumArguments() < 2)
        return func.emitError("function is no kernel; run "
                              "'moe-expand-gpu-kernels' first");
      Kernel &kernel = target.kernels.emplace_back();
      kernel.func = func;
      kernel.name = kernelName.str();
      kernel.config = config;
      kernel.blocks = config.getBlocks();
      // Status and scratch are ours.
      kernel.args = func.getNumArguments() - 2;
      kernel.shared = shared.getInt();
      kernel.scratch = scratch.getInt();
    }
    return success();
  }

  /// Every kernel on cuda has code for each of its variants.
  LogicalResult checkComplete(ModuleOp module, ArrayRef<Target> targets) {
    for (auto kernel : module.getOps<plan::KernelOp>()) {
      if (kernel.getDevice() != DeviceKind::Cuda)
        continue;
      for (auto config : kernel.getVariants().getAsRange<GpuConfigAttr>())
        if (llvm::none_of(targets, [&](const Target &target) {
              return target.arch->name == config.getArch() &&
                     llvm::any_of(target.kernels, [&](const Kernel &k) {
                       return k.name == kernel.getSymName();
                     });
            }))
          return kernel.emitError("kernel has no code for ")
                 << config.getArch();
    }
    return success();
  }

  LogicalResult compile(Target &target, const Ptxas &assembler) {
    // Before anything can fail: this is what one looks at then.
    if (failed(saveText(target)))
      return failure();
    do {
      llvm::StringMap<int64_t> blocks;
      for (Kernel &kernel : target.kernels)
        blocks[kernel.func.getSymName()] = kernel.blocks;
      if (failed(emitPtx(target.cut, *target.arch, blocks, target.ptx)) ||
          failed(save(target, ".ptx", target.ptx)) ||
          (assembler.found() && failed(assemble(target, assembler))))
        return failure();
    } while (shareLess(target));
    int64_t declared = declaredShared(target.cut);
    for (Kernel &kernel : target.kernels)
      if (failed(checkLimits(kernel, *target.arch,
                             assembler.found() ? kernel.usage.staticShared
                                               : declared)))
        return failure();
    return saveEmulated(target);
  }

  /// Fills in the cubin and what the assembler says of each kernel.
  LogicalResult assemble(Target &target, const Ptxas &assembler) {
    StringRef arch = target.arch->name;
    Status status = assembler.run(arch, target.ptx, target.cubin, target.log);
    if (failed(save(target, ".ptxas.log", target.log)))
      return failure();
    if (!status.ok())
      return fail(target.cut, std::move(status));
    if (failed(save(target, ".cubin", target.cubin)))
      return failure();
    PtxasReport report = parsePtxasLog(target.log);
    if (!report.fatalWarnings.empty())
      return fail(target.cut,
                  Status::error(112, "wgmma is not pipelined on " + arch.str())
                      .because("ptxas says: " + report.fatalWarnings[0]));
    for (Kernel &kernel : target.kernels) {
      auto usage = report.kernels.find(kernel.func.getSymName());
      if (usage == report.kernels.end() || !usage->second.registers)
        return fail(target.cut,
                    Status::error(111, "ptxas says nothing about kernel '" +
                                           kernel.name + "' for " + arch.str())
                        .fix("use ptxas of CUDA 12.8 or newer "
                             "(--ptxas=PATH)"));
      kernel.usage = usage->second;
    }
    return success();
  }

  /// Lets kernels that spill share a multiprocessor with fewer blocks, which
  /// leaves them more registers. Whether there are such kernels.
  static bool shareLess(Target &target) {
    bool any = false;
    for (Kernel &kernel : target.kernels)
      if (kernel.usage.spillBytes && kernel.blocks > 1) {
        --kernel.blocks;
        any = true;
      }
    return any;
  }

  /// Shared memory of all variables of a fixed size.
  static int64_t declaredShared(mlir::gpu::GPUModuleOp cut) {
    DataLayout layout(cut);
    int64_t bytes = 0;
    for (auto global : cut.getOps<LLVM::GlobalOp>())
      if (global.getAddrSpace() == 3) {
        Type type = global.getGlobalType();
        bytes = llvm::alignTo(bytes, layout.getTypeABIAlignment(type)) +
                layout.getTypeSize(type).getFixedValue();
      }
    return bytes;
  }

  /// What the architecture cannot launch is never emitted.
  LogicalResult checkLimits(const Kernel &kernel,
                            const moe::gpu::ArchInfo &arch,
                            int64_t staticShared) {
    std::string where =
        "kernel '" + kernel.name + "' for " + arch.name.str() + " ";
    auto tooMuch = [&](std::string what, std::string because) {
      return fail(kernel.func,
                  Status::error(112, where + what).because(std::move(because)));
    };
    if (kernel.usage.spillBytes)
      return tooMuch("spills " + std::to_string(kernel.usage.spillBytes) +
                         " bytes",
                     "its threads need more than the " +
                         std::to_string(kernel.usage.registers) +
                         " registers that they may have");
    int64_t threads = kernel.config.getThreads();
    if (threads > std::min<int64_t>(1024, arch.threadsPerSm))
      return tooMuch("has blocks of " + std::to_string(threads) + " threads",
                     "a block has at most 1024");
    // Registers are handed out to warps in units of 256.
    int64_t registers = llvm::alignTo(kernel.usage.registers * 32, 256) *
                        llvm::divideCeil(threads, 32);
    if (registers > arch.registersPerSm)
      return tooMuch("needs " + std::to_string(registers) + " registers",
                     "a multiprocessor has " +
                         std::to_string(arch.registersPerSm));
    int64_t shared = staticShared + kernel.shared;
    if (shared > arch.maxSharedBytes)
      return tooMuch("needs " + std::to_string(shared) +
                         " bytes of shared memory",
                     "a block may have " + std::to_string(arch.maxSharedBytes));
    return success();
  }

  plan::BinaryOp addBinary(OpBuilder &b, Target &target, StringRef format,
                           StringRef data) {
    SmallVector<NamedAttribute> kernels;
    for (const Kernel &kernel : target.kernels) {
      NamedAttrList attrs;
      auto set = [&](StringRef name, int64_t value) {
        attrs.set(name, b.getI64IntegerAttr(value));
      };
      attrs.set("accumulation",
                b.getStringAttr(kernel.config.getAccumulation()));
      set("args", kernel.args);
      set("blocks", kernel.blocks);
      set("scratch", kernel.scratch);
      set("shared", kernel.shared);
      set("threads", kernel.config.getThreads());
      if (format == "cubin") {
        set("registers", kernel.usage.registers);
        set("static_shared", kernel.usage.staticShared);
      }
      kernels.emplace_back(b.getStringAttr(kernel.name),
                           attrs.getDictionary(b.getContext()));
    }
    return plan::BinaryOp::create(
        b, target.cut.getLoc(), (target.arch->name + "_" + format).str(),
        format, b.getDictionaryAttr(kernels),
        ArrayRef(reinterpret_cast<const int8_t *>(data.data()), data.size()),
        b.getStringAttr(target.arch->name));
  }

  //===--------------------------------------------------------------------===//
  // Intermediate files
  //===--------------------------------------------------------------------===//

  LogicalResult save(Target &target, StringRef suffix, StringRef bytes) {
    if (saveTemps.empty())
      return success();
    SmallString<128> path(saveTemps);
    llvm::sys::path::append(path, target.arch->name + suffix);
    Status status =
        moert::writeFile(std::string(path), bytes.data(), bytes.size());
    return status.ok() ? success() : fail(target.cut, std::move(status));
  }

  /// The cut module as a file that any tool reads on its own.
  LogicalResult saveText(Target &target) {
    if (saveTemps.empty())
      return success();
    if (std::error_code error = llvm::sys::fs::create_directories(saveTemps))
      return fail(target.cut, Status::error(11, "cannot create '" + saveTemps +
                                                    "': " + error.message()));
    std::string text;
    llvm::raw_string_ostream os(text);
    OpPrintingFlags flags;
    flags.enableDebugInfo(/*enable=*/true, /*prettyForm=*/false);
    flags.useLocalScope();
    target.cut->print(os, flags);
    os << "\n";
    return save(target, ".cut.mlir", text);
  }

  /// What a stand-in for the driver loads in place of an image.
  LogicalResult saveEmulated(Target &target) {
    if (saveTemps.empty())
      return success();
    std::string object;
    for (StringRef image : {StringRef(target.ptx), StringRef(target.cubin)}) {
      if (image.empty())
        continue;
      SmallString<128> path(saveTemps);
      llvm::sys::path::append(path, moert::xxh3Hex(image.data(), image.size()) +
                                        ".so");
      if (object.empty()) {
        if (failed(writeEmulatedModule(target.cut, path)))
          return failure();
        object = std::string(path);
      } else if (std::error_code error =
                     llvm::sys::fs::copy_file(object, path)) {
        return fail(target.cut,
                    Status::error(11, "cannot write '" + std::string(path) +
                                          "': " + error.message()));
      }
    }
    return success();
  }
};

} // namespace
