//===- Module.cpp - Modules, functions, variables -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Call.h"
#include "Image.h"

#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe::standin;

//===----------------------------------------------------------------------===//
// Emulated objects
//===----------------------------------------------------------------------===//

Module::~Module() {
  if (library)
    dlclose(library);
  // Open as long as the library, whose name has its number.
  if (file >= 0)
    close(file);
}

/// Lets emulated objects find the functions moe_emu_* here, although whoever
/// loaded the stand-in need not have made its symbols visible.
static void publishOwnSymbols() {
  static const bool done = [] {
    Dl_info info;
    if (dladdr(reinterpret_cast<void *>(&publishOwnSymbols), &info))
      dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    return true;
  }();
  (void)done;
}

/// A copy of the file in memory, so that every load has variables of its own.
static int copyFile(const std::string &path) {
  int from = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (from < 0)
    return -1;
  struct stat status;
  int to = memfd_create("emulated", MFD_CLOEXEC);
  bool good = to >= 0 && fstat(from, &status) == 0;
  for (off_t at = 0; good && at < status.st_size;)
    good = sendfile(to, from, &at, size_t(status.st_size - at)) > 0;
  close(from);
  if (good)
    return to;
  if (to >= 0)
    close(to);
  return -1;
}

/// Opens the emulated object of an image. Returns a text about what is wrong.
static std::string openEmulated(const Driver &driver, Module &module) {
  std::string name = "/" + module.hash + ".so";
  for (const std::string &folder : driver.environment.images) {
    module.file = copyFile(folder + name);
    if (module.file >= 0)
      break;
  }
  if (module.file < 0)
    return "no emulated object " + module.hash +
           ".so in the folders of MOE_STANDIN_IMAGES";
  publishOwnSymbols();
  std::string path = "/proc/self/fd/" + std::to_string(module.file);
  module.library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module.library)
    return std::string("emulated object ") + module.hash + ": " + dlerror();
  module.emulated = static_cast<const moe_emu_module *>(
      dlsym(module.library, MOE_EMU_MODULE_SYMBOL));
  if (!module.emulated)
    return "emulated object " + module.hash + " has no " MOE_EMU_MODULE_SYMBOL;
  if (module.emulated->abi_version != MOE_EMU_ABI_VERSION)
    return "emulated object " + module.hash + " has ABI version " +
           std::to_string(module.emulated->abi_version);
  return std::string();
}

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

/// Writes the text where the options ask for the log of errors.
static void writeErrorLog(const std::string &text, unsigned count,
                          const int *options, void **values) {
  char *buffer = nullptr;
  uint64_t size = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
      buffer = static_cast<char *>(values[i]);
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
      size = reinterpret_cast<uint64_t>(values[i]) & 0xffffffff;
  }
  if (buffer && size)
    std::snprintf(buffer, size, "%s", text.c_str());
}

static CUresult loadModule(Call &call, CUmodule *result, const void *data,
                           unsigned count, const int *options, void **values) {
  if (!result || !data || (count && (!options || !values)))
    return CUDA_ERROR_INVALID_VALUE;
  writeErrorLog("", count, options, values);
  Image image = readImage(data, *call.device().limits,
                          call.driver.environment.driverVersion);
  if (image.result) {
    call.detail = image.message;
    writeErrorLog(image.message, count, options, values);
    return image.result;
  }
  auto module = std::make_shared<Module>();
  module->context = call.context;
  module->hash = image.hash;
  call.detail = image.hash + (image.isPtx ? " ptx" : " cubin");
  std::string wrong = openEmulated(call.driver, *module);
  if (!wrong.empty()) {
    writeErrorLog(wrong, count, options, values);
    return call.misuse(CUDA_ERROR_INVALID_IMAGE, wrong);
  }
  for (uint32_t i = 0; i < module->emulated->global_count; ++i) {
    const moe_emu_global &global = module->emulated->globals[i];
    if (global.size == 0)
      continue;
    std::shared_ptr<Allocation> piece = call.driver.memory.add(
        Allocation::Kind::Global, global.address, global.size);
    piece->context = call.context.get();
    piece->device = call.context->device;
    piece->name = std::string("variable ") + global.name;
    module->globals.push_back(piece);
  }
  module->handle = call.driver.modules.add<CUmodule>(module);
  *result = module->handle;
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  return enterCall(
      FunctionId::cuModuleLoadData, Current | Unsafe, [&](Call &call) {
        return loadModule(call, module, image, 0, nullptr, nullptr);
      });
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image,
                            unsigned numOptions, int *options,
                            void **optionValues) {
  return enterCall(FunctionId::cuModuleLoadDataEx, Current | Unsafe,
                   [&](Call &call) {
                     return loadModule(call, module, image, numOptions, options,
                                       optionValues);
                   });
}

static std::shared_ptr<Module> getModule(Call &call, CUmodule handle) {
  std::shared_ptr<Module> module = call.driver.modules.find(handle);
  if (module && module->context == call.context)
    return module;
  call.misuse(CUDA_ERROR_INVALID_HANDLE, "no such module in this context");
  return nullptr;
}

CUresult cuModuleUnload(CUmodule handle) {
  return enterCall(FunctionId::cuModuleUnload, Current | Release | Unsafe,
                   [&](Call &call) {
                     std::shared_ptr<Module> module = getModule(call, handle);
                     if (!module)
                       return CUDA_ERROR_INVALID_HANDLE;
                     drain(call.lock, *call.context);
                     module->unloaded = true;
                     for (const auto &piece : module->globals)
                       releaseAllocation(piece);
                     for (const auto &[name, function] : module->functions)
                       call.driver.functions.erase(function);
                     call.driver.modules.erase(handle);
                     return CUDA_SUCCESS;
                   });
}

//===----------------------------------------------------------------------===//
// What a module has
//===----------------------------------------------------------------------===//

CUresult cuModuleGetFunction(CUfunction *result, CUmodule handle,
                             const char *name) {
  return enterCall(FunctionId::cuModuleGetFunction, Current, [&](Call &call) {
    std::shared_ptr<Module> module = getModule(call, handle);
    if (!module)
      return CUDA_ERROR_INVALID_HANDLE;
    if (!result || !name)
      return CUDA_ERROR_INVALID_VALUE;
    call.detail = name;
    CUfunction &known = module->functions[name];
    for (uint32_t i = 0; !known && i < module->emulated->kernel_count; ++i) {
      const moe_emu_kernel &kernel = module->emulated->kernels[i];
      if (std::strcmp(kernel.name, name) != 0)
        continue;
      auto function = std::make_shared<Function>();
      function->module = module;
      function->kernel = &kernel;
      known = call.driver.functions.add<CUfunction>(function);
    }
    *result = known;
    return known ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
  });
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *pointer, size_t *bytes,
                              CUmodule handle, const char *name) {
  return enterCall(FunctionId::cuModuleGetGlobal_v2, Current, [&](Call &call) {
    std::shared_ptr<Module> module = getModule(call, handle);
    if (!module)
      return CUDA_ERROR_INVALID_HANDLE;
    if (!name)
      return CUDA_ERROR_INVALID_VALUE;
    call.detail = name;
    for (uint32_t i = 0; i < module->emulated->global_count; ++i) {
      const moe_emu_global &global = module->emulated->globals[i];
      if (std::strcmp(global.name, name) != 0)
        continue;
      if (pointer)
        *pointer = reinterpret_cast<CUdeviceptr>(global.address);
      if (bytes)
        *bytes = global.size;
      return CUDA_SUCCESS;
    }
    return CUDA_ERROR_NOT_FOUND;
  });
}
