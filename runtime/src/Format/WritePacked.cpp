//===- WritePacked.cpp - Writes the file of packed weights ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Packing.h"

#include <algorithm>

using namespace moert;

Status moert::writePackedWeights(const fb::Plan &plan,
                                 const Checkpoint &checkpoint,
                                 const std::string &path,
                                 const ParallelFor &parallel) {
  MOE_RETURN_IF_ERROR(matchCheckpoint(plan, checkpoint));
  std::vector<TensorSpec> specs;
  uint64_t largest = 0;
  for (const fb::Constant *constant : *plan.constants()) {
    specs.push_back({constant->name()->str(),
                     DType::U8,
                     {static_cast<int64_t>(constant->bytes())}});
    largest = std::max<uint64_t>(largest, constant->bytes());
  }
  MOE_ASSIGN_OR_RETURN(
      SafetensorsWriter writer,
      SafetensorsWriter::create(path, specs,
                                {{"layout", packedLayoutId},
                                 {"fingerprint", plan.fingerprint()->str()}},
                                packedAlignment));
  std::unique_ptr<uint8_t[]> buffer(new (std::nothrow) uint8_t[largest + 1]);
  if (!buffer)
    return Status::error(601, concat("cannot allocate ", formatBytes(largest),
                                     " to pack a constant"));
  for (const fb::Constant *constant : *plan.constants()) {
    MOE_RETURN_IF_ERROR(
        packConstant(plan, *constant, checkpoint, buffer.get(), parallel));
    MOE_RETURN_IF_ERROR(writer.write(buffer.get(), constant->bytes()));
  }
  return writer.finish();
}
