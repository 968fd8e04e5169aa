//===- Entry.cpp - Entry points of the fuzzers ----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"

#include "moert/Format/Elf.h"
#include "moert/Format/Metadata.h"
#include "moert/Format/Offload.h"
#include "moert/Format/PlanReader.h"

using namespace moert;

namespace {
/// Keeps reads from being optimised away.
volatile uint64_t sink;

void touch(const uint8_t *data, uint64_t size) {
  if (size)
    sink = sink + data[0] + data[size - 1];
}
} // namespace

void fuzz::plan(const uint8_t *data, size_t size) {
  auto plan = readPlan(data, size, "fuzz");
  if (!plan.ok())
    return;
  for (const fb::Constant *constant : *(**plan)->constants())
    sink = sink + packedBytes(***plan, *constant).ok();
  for (const fb::Function *function : *(**plan)->functions()) {
    for (fb::DeviceKind device : {fb::DeviceKind::Cpu, fb::DeviceKind::Cuda})
      (void)constantsOf(*function, device);
    for (int64_t value : {int64_t(0), int64_t(1), int64_t(17), INT64_MAX}) {
      std::vector<int64_t> symbols(
          function->symbols() ? function->symbols()->size() : 0, value);
      const fb::Variant *variant = nullptr;
      for (fb::DeviceKind device : {fb::DeviceKind::Cuda, fb::DeviceKind::Cpu})
        if (const fb::Variant *v = selectVariant(*function, symbols, device))
          variant = v;
      auto layout = layoutWorkspace(*variant, symbols);
      if (layout.ok())
        for (size_t i = 0; i < layout->offsets.size(); ++i)
          sink =
              sink + (layout->offsets[i] + layout->sizes[i] <= layout->bytes);
      for (const fb::Tensor *output : *function->outputs())
        sink =
            sink + shapeBytes(evaluateShape(*output, symbols), 4).value_or(0);
      for (const fb::CommandEntry *entry : *variant->commands()) {
        if (const fb::Copy *copy = entry->command_as_Copy())
          sink = sink + evaluate(*copy->size(), symbols).ok();
        else if (const fb::TapRoutes *tap = entry->command_as_TapRoutes())
          sink = sink + evaluate(*tap->tokens(), symbols).ok();
        else if (const fb::Dispatch *dispatch = entry->command_as_Dispatch())
          sink =
              sink + (**plan)->kernels()->Get(dispatch->kernel())->num_args();
      }
    }
    std::vector<std::vector<int64_t>> shapes;
    for (const fb::Tensor *input : *function->inputs())
      shapes.emplace_back(input->dims()->size(), 3);
    sink = sink + bindSymbols(*function, shapes).ok();
    for (const fb::Tensor *input : *function->inputs())
      sink = sink + formatType(*input, *function).size();
  }
}

void fuzz::metadata(const uint8_t *data, size_t size) {
  auto metadata = readMetadata(data, size, "fuzz");
  if (metadata.ok())
    sink = sink + metadata->json.size();
}

void fuzz::elf(const uint8_t *data, size_t size) {
  auto file = ElfFile::parse(data, size, "fuzz");
  if (!file.ok())
    return;
  for (const ElfSection &section : file->sections()) {
    touch(section.data, section.size);
    sink = sink + section.name.size();
  }
}

void fuzz::offload(const uint8_t *data, size_t size) {
  auto images = readOffloading(data, size, "fuzz");
  if (!images.ok())
    return;
  for (const GpuImage &image : *images) {
    touch(image.data, image.size);
    sink = sink + image.ptxVersion().second + image.arch.name().size();
  }
}

void fuzz::safetensors(const uint8_t *data, size_t size) {
  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> extra;
  if (!parseSafetensors(data, size, "fuzz", entries, extra).ok())
    return;
  for (const TensorEntry &entry : entries)
    touch(entry.data, entry.bytes);
}
