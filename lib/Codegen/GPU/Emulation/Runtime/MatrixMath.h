//===- MatrixMath.h - Number formats and products of tiles ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_RUNTIME_MATRIXMATH_H
#define MOE_CODEGEN_GPU_EMULATION_RUNTIME_MATRIXMATH_H

#include <cstdint>
#include <cstring>

namespace moe::emu {

//===----------------------------------------------------------------------===//
// Number formats
//===----------------------------------------------------------------------===//

inline float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

inline float fromBfloat(uint16_t bits) { return floatOf(uint32_t(bits) << 16); }

/// Exact, subnormals included: the exponents differ by 112, which a
/// multiplication makes good.
inline float fromHalf(uint16_t bits) {
  float magnitude = floatOf(uint32_t(bits & 0x7FFF) << 13) * 0x1p112f;
  uint32_t special = (bits & 0x7C00) == 0x7C00 ? 0x7F800000u : 0u;
  return floatOf(bitsOf(magnitude) | special | uint32_t(bits & 0x8000) << 16);
}

/// To nearest, ties to even.
uint16_t bfloatOf(float value);
uint16_t halfOf(float value);
/// The float nearest to `value` away from ties, for one more rounding: its
/// last bit is set if the result is inexact.
float roundedToOdd(double value);

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

/// mma.sync.m16n8k<k>: fragments by lane as in the PTX ISA. The sum over k
/// starts at zero; C is added last.
void warpMatrixMultiply(bool half, uint32_t k, const uint32_t *const a[32],
                        const uint32_t *const b[32], const float *const c[32],
                        float *const d[32]);

/// Leading dimension of B and D below.
constexpr uint32_t kGroupStride = 256;

/// D[64][n] = A[64][16] * B[16][n], n a multiple of 8 up to 256; columns up to
/// the next multiple of 16 are computed, too.
void groupMatrixMultiply(uint32_t n, const float *a, const float *b, float *d);

} // namespace moe::emu

#endif // MOE_CODEGEN_GPU_EMULATION_RUNTIME_MATRIXMATH_H
