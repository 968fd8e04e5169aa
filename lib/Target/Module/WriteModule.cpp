//===- WriteModule.cpp - Writing the artifact -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Module/LinkShared.h"
#include "moe/Target/Module/Passes.h"

#include "BuildMetadata.h"
#include "BuildPlan.h"

#include "moe/Dialect/Plan/IR/Plan.h"

#include "moert/Format/Artifact.h"

#include "llvm/Object/OffloadBinary.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"

namespace mlir::moe {
#define GEN_PASS_DEF_WRITEMODULEPASS
#include "moe/Target/Module/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
namespace fb = moert::fb;

/// Largest sum of embedded constants: x86-64 code reaches 2 GiB around itself.
static constexpr uint64_t kMaxEmbeddedBytes = uint64_t(1) << 30;

namespace {

class ModuleWriter {
public:
  ModuleWriter(ModuleOp module, StringRef output, StringRef checkpointPath)
      : module(module), output(output.str()),
        checkpointPath(checkpointPath.str()) {}
  LogicalResult write();

private:
  LogicalResult fail(moert::Status status) {
    return emitError(module.getLoc()) << StringRef(status.toString()).rtrim();
  }
  LogicalResult openCheckpoint();
  LogicalResult writeEmbedded(const fb::Plan &plan, StringRef path);
  void hashSources(const fb::Plan &plan);
  SmallVector<char, 0> writeOffloading();

  ModuleOp module;
  std::string output, checkpointPath;
  std::shared_ptr<const moert::Checkpoint> checkpoint;
  std::map<std::string, std::string> hashes;
};

LogicalResult ModuleWriter::openCheckpoint() {
  if (checkpointPath.empty())
    return fail(moert::Status::error(2, "packed and embedded weights, and "
                                        "content hashes, need the checkpoint")
                    .because("an .mlir file names weights, but does not hold "
                             "them")
                    .fix("add --checkpoint=DIR (pass option 'checkpoint')"));
  auto opened = moert::Checkpoint::open(checkpointPath);
  if (!opened.ok())
    return fail(std::move(opened).status());
  checkpoint = *opened;
  return success();
}

/// Packs all constants one after the other into a file for `.moe.weights`.
LogicalResult ModuleWriter::writeEmbedded(const fb::Plan &plan,
                                          StringRef path) {
  std::error_code error;
  llvm::raw_fd_ostream os(path, error);
  std::vector<uint8_t> bytes;
  for (const fb::Constant *constant : *plan.constants()) {
    if (error)
      break;
    bytes.assign(llvm::alignTo(constant->bytes(), moert::slotAlignment), 0);
    moert::Status status =
        moert::packConstant(plan, *constant, *checkpoint, bytes.data());
    if (!status.ok())
      return fail(std::move(status));
    hashes[constant->name()->str()] =
        moert::xxh3Hex(bytes.data(), constant->bytes());
    os.write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    error = os.error();
  }
  // Kernels may read a little past the end.
  os.write_zeros(moert::readSlack);
  os.close();
  if (!error)
    error = os.error();
  os.clear_error();
  if (error)
    return fail(moert::Status::error(11, "cannot write '" + path.str() +
                                             "': " + error.message()));
  return success();
}

void ModuleWriter::hashSources(const fb::Plan &plan) {
  for (const fb::Weight *weight : *plan.weights())
    for (const auto *names : {weight->sources(), weight->scale_sources()})
      for (unsigned i = 0; names && i < names->size(); ++i)
        if (const moert::TensorEntry *entry =
                checkpoint->find(names->Get(i)->str()))
          hashes[names->Get(i)->str()] =
              moert::xxh3Hex(entry->data, entry->bytes);
}

/// The GPU images, one OffloadBinary after the other.
SmallVector<char, 0> ModuleWriter::writeOffloading() {
  SmallVector<char, 0> section;
  for (auto binary : module.getOps<plan::BinaryOp>()) {
    if (!binary.getArch())
      continue;
    llvm::object::OffloadBinary::OffloadingImage image;
    image.TheImageKind = binary.getFormat() == "cubin" ? llvm::object::IMG_Cubin
                                                       : llvm::object::IMG_PTX;
    image.TheOffloadKind = llvm::object::OFK_Cuda;
    image.StringData["triple"] = moert::cudaTriple;
    image.StringData["arch"] = *binary.getArch();
    image.Image = llvm::MemoryBuffer::getMemBuffer(
        StringRef(reinterpret_cast<const char *>(binary.getData().data()),
                  binary.getData().size()),
        /*BufferName=*/"", /*RequiresNullTerminator=*/false);
    llvm::append_range(section, llvm::object::OffloadBinary::write(image));
    section.resize(llvm::alignTo(section.size(),
                                 llvm::object::OffloadBinary::getAlignment()));
  }
  return section;
}

LogicalResult ModuleWriter::write() {
  plan::BinaryOp host;
  for (auto binary : module.getOps<plan::BinaryOp>()) {
    if (binary.getFormat() == "elf-x86_64-object" && !host)
      host = binary;
    else if (binary.getFormat() != "ptx" && binary.getFormat() != "cubin")
      return binary.emitError()
             << "unknown object format '" << binary.getFormat() << "'";
  }
  if (!host)
    return emitError(module.getLoc())
           << "expected a plan.binary with the host's code; run the phase "
              "'target' first";

  auto mode = module->getAttrOfType<StringAttr>("moe.weights");
  StringRef modeName = mode ? mode.getValue() : "external";
  SmallVector<uint64_t> offsets;
  if (modeName == "embedded") {
    uint64_t end = 0;
    for (auto constant : module.getOps<plan::ConstantOp>()) {
      offsets.push_back(end);
      end += llvm::alignTo(constant.getNumBytes(), moert::slotAlignment);
    }
    if (end > kMaxEmbeddedBytes)
      return fail(
          moert::Status::error(407,
                               "weights of " + std::to_string(end) +
                                   " bytes cannot be embedded; the limit is " +
                                   std::to_string(kMaxEmbeddedBytes))
              .because("code and data of a shared object must lie within 2 "
                       "GiB of each other")
              .fix("use --weights=packed or --weights=external"));
  }
  FailureOr<std::vector<uint8_t>> planBytes = buildPlan(module, offsets);
  if (failed(planBytes))
    return failure();
  // What we write, the runtime's own verifier accepts.
  auto plan = moert::readPlan(planBytes->data(), planBytes->size(), output);
  if (!plan.ok())
    return fail(std::move(plan).status());

  SmallVector<ExtraSection> sections;
  std::string weightsFile = output + ".weights.tmp";
  llvm::FileRemover removeWeights;
  bool hashWeights = module->hasAttr("moe.hash_weights");
  if (modeName != "external" || hashWeights) {
    if (failed(openCheckpoint()))
      return failure();
    if (moert::Status status = moert::matchCheckpoint(***plan, *checkpoint);
        !status.ok())
      return fail(std::move(status));
  }
  if (modeName == "embedded") {
    removeWeights.setFile(weightsFile);
    if (failed(writeEmbedded(***plan, weightsFile)))
      return failure();
    sections.push_back({moert::weightsSection, {}, weightsFile, 4096});
  } else if (modeName == "external" && hashWeights) {
    hashSources(***plan);
  }

  SmallVector<char, 0> offloading = writeOffloading();
  std::string metadata =
      buildMetadata(module, **plan, *planBytes, offloading, hashes);
  char sum[8];
  llvm::support::endian::write64le(
      sum, moert::xxh3(metadata.data(), metadata.size()));
  sections.push_back({moert::planSection,
                      StringRef(reinterpret_cast<char *>(planBytes->data()),
                                planBytes->size()),
                      {},
                      16});
  sections.push_back({moert::metaSection, metadata, {}, 16});
  sections.push_back({moert::sumSection, StringRef(sum, 8), {}, 8});
  if (!offloading.empty())
    sections.push_back({moert::offloadSection,
                        StringRef(offloading.data(), offloading.size()),
                        {},
                        8,
                        "llvm_offloading"});

  ArrayRef<int8_t> data = host.getData();
  std::string temporary = output + ".tmp";
  llvm::FileRemover removeTemporary(temporary);
  if (failed(linkShared(
          module.getLoc(),
          ArrayRef(reinterpret_cast<const char *>(data.data()), data.size()),
          sections, temporary)))
    return failure();
  if (moert::Status status = sealCode(temporary); !status.ok())
    return fail(std::move(status));
  if (modeName == "packed")
    if (moert::Status status = moert::writePackedWeights(
            ***plan, *checkpoint, output + ".weights.safetensors");
        !status.ok())
      return fail(std::move(status));
  if (std::error_code error = llvm::sys::fs::rename(temporary, output))
    return fail(moert::Status::error(11, "cannot write '" + output +
                                             "': " + error.message()));
  removeTemporary.releaseFile();
  return success();
}

struct WriteModulePass
    : public moe::impl::WriteModulePassBase<WriteModulePass> {
  using WriteModulePassBase::WriteModulePassBase;
  void runOnOperation() override {
    if (output.empty()) {
      getOperation().emitError() << "the pass option 'output' is missing";
      return signalPassFailure();
    }
    if (failed(ModuleWriter(getOperation(), output, checkpoint).write()))
      signalPassFailure();
  }
};

} // namespace
