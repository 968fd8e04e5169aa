# Finds LLVM and MLIR 22 and checks what we rely on.
#
# find_package refuses a bare major version, so the version is checked after.
find_package(MLIR REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
if(NOT LLVM_VERSION_MAJOR EQUAL 22)
  message(FATAL_ERROR "LLVM ${LLVM_PACKAGE_VERSION} in ${LLVM_DIR}: version 22 "
                      "is needed. Set MLIR_DIR to its lib/cmake/mlir.")
endif()
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
separate_arguments(moe_llvm_definitions NATIVE_COMMAND "${LLVM_DEFINITIONS}")
add_definitions(${moe_llvm_definitions})
set(MOE_LLVM_TOOLS_DIR ${LLVM_TOOLS_BINARY_DIR})
# MLIR links as static archives, LLVM as libLLVM.so; never libMLIR.so.
set(MOE_LLVM_LIB LLVM)
# The packages set this for MLIR's generator only.
find_program(LLVM_TABLEGEN_EXE llvm-tblgen HINTS ${LLVM_TOOLS_BINARY_DIR}
             REQUIRED NO_DEFAULT_PATH)
find_package(LLD REQUIRED CONFIG HINTS ${LLVM_DIR}/../lld)
