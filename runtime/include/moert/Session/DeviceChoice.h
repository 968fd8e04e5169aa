//===- DeviceChoice.h - Which device runs an artifact -------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_SESSION_DEVICECHOICE_H
#define MOERT_SESSION_DEVICECHOICE_H

#include "moert/HAL/Driver.h"

namespace moert {

/// A device with the code of an artifact.
struct OpenedDevice {
  // Destroyed last to first: the code goes before its device.
  std::unique_ptr<hal::Device> device;
  std::unique_ptr<hal::Executable> code;
};

/// Opens the device `name` and loads the code of `artifact`, of which
/// `functions` (indices into the plan) will be called:
///   "cpu"             the CPU
///   "cuda", "cuda:N"  GPU 0, or GPU N
///   "auto"            GPU 0 when there is one, the functions have code for it,
///                     and options.isa asks for no level of a CPU; else the
///                     CPU, with one line to options.log when a GPU could not
///                     be used although the artifact has code for GPUs
/// MOE0002 for another name, MOE0311 when a function has no code for the
/// device, and what Driver::open and Device::load report.
StatusOr<OpenedDevice> openDevice(const std::string &name,
                                  const Artifact &artifact,
                                  const std::vector<uint32_t> &functions,
                                  hal::DeviceOptions options);

/// N of "cuda:N", 0 of "cuda"; MOE0002 for another name.
StatusOr<int32_t> cudaOrdinal(const std::string &name);

/// MOE0311 for a function without a variant for this kind of device.
Status noCodeFor(const Artifact &artifact, const fb::Function &function,
                 fb::DeviceKind kind);

} // namespace moert

#endif // MOERT_SESSION_DEVICECHOICE_H
