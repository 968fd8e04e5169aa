//===- MatrixMath.cpp - Number formats and products of tiles --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The products are compiled for three levels of x86-64. All give the same
// bits: products of bf16 or f16 numbers are exact in f32, so a fused
// multiply-add rounds as a multiplication and an addition do.
//
//===----------------------------------------------------------------------===//

#include "MatrixMath.h"

#define MOE_ALWAYS_INLINE inline __attribute__((always_inline))

namespace moe::emu {

//===----------------------------------------------------------------------===//
// Number formats
//===----------------------------------------------------------------------===//

uint16_t bfloatOf(float value) {
  uint32_t bits = bitsOf(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000)
    return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

uint16_t halfOf(float value) {
  uint32_t bits = bitsOf(value);
  uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  bits &= 0x7FFFFFFF;
  if (bits > 0x7F800000)
    return uint16_t(sign | 0x7E00 | (bits >> 13 & 0x3FF));
  if (bits >= 0x477FF000) // rounds to 65536 or more
    return uint16_t(sign | 0x7C00);
  if (bits < 0x38800000) {
    // Subnormal: adding 0.5 aligns the last bit with 2^-24, and rounds.
    return uint16_t(sign | (bitsOf(floatOf(bits) + 0.5f) - bitsOf(0.5f)));
  }
  uint32_t rebased = bits - (112u << 23);
  return uint16_t(sign | (rebased + 0xFFF + (rebased >> 13 & 1)) >> 13);
}

float roundedToOdd(double value) {
  float nearest = float(value);
  double back = nearest;
  if (back == value || value != value)
    return nearest;
  uint32_t bits = bitsOf(nearest);
  if (bits & 1)
    return nearest;
  // The neighbour on the other side of `value` has an odd last bit.
  if (nearest == 0)
    return floatOf(value > 0 ? 1u : 0x80000001u);
  bool beyond = value > 0 ? back > value : back < value;
  return floatOf(beyond ? bits - 1 : bits + 1);
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

namespace {

template <bool half> MOE_ALWAYS_INLINE float element(uint32_t bits) {
  return half ? fromHalf(uint16_t(bits)) : fromBfloat(uint16_t(bits));
}

template <bool half, uint32_t k>
MOE_ALWAYS_INLINE void
multiplyWarp(const uint32_t *const a[32], const uint32_t *const b[32],
             const float *const c[32], float *const d[32]) {
  float tileA[16][k], tileB[k][8], sum[16][8];
  for (uint32_t lane = 0; lane < 32; ++lane) {
    uint32_t row = lane / 4, column = lane % 4 * 2;
    for (uint32_t i = 0; i < k / 4; ++i) {
      uint32_t pair = a[lane][i];
      float *to = &tileA[row + i % 2 * 8][column + i / 2 * 8];
      to[0] = element<half>(pair);
      to[1] = element<half>(pair >> 16);
    }
    for (uint32_t i = 0; i < k / 8; ++i) {
      uint32_t pair = b[lane][i];
      tileB[column + i * 8][row] = element<half>(pair);
      tileB[column + i * 8 + 1][row] = element<half>(pair >> 16);
    }
  }
  for (uint32_t i = 0; i < 16; i += 4) {
    float part[4][8] = {};
    for (uint32_t x = 0; x < k; ++x)
      for (uint32_t r = 0; r < 4; ++r)
        for (uint32_t j = 0; j < 8; ++j)
          part[r][j] += tileA[i + r][x] * tileB[x][j];
    std::memcpy(sum[i], part, sizeof part);
  }
  for (uint32_t lane = 0; lane < 32; ++lane) {
    uint32_t row = lane / 4, column = lane % 4 * 2;
    for (uint32_t i = 0; i < 4; ++i)
      d[lane][i] = c[lane][i] + sum[row + i / 2 * 8][column + i % 2];
  }
}

MOE_ALWAYS_INLINE void multiplyWarpAny(bool half, uint32_t k,
                                       const uint32_t *const a[32],
                                       const uint32_t *const b[32],
                                       const float *const c[32],
                                       float *const d[32]) {
  if (half)
    return k == 16 ? multiplyWarp<true, 16>(a, b, c, d)
                   : multiplyWarp<true, 8>(a, b, c, d);
  return k == 16 ? multiplyWarp<false, 16>(a, b, c, d)
                 : multiplyWarp<false, 8>(a, b, c, d);
}

MOE_ALWAYS_INLINE void multiplyGroup(uint32_t n, const float *a, const float *b,
                                     float *d) {
  for (uint32_t column = 0; column < n; column += 16)
    for (uint32_t row = 0; row < 64; row += 4) {
      float part[4][16] = {};
      for (uint32_t x = 0; x < 16; ++x)
        for (uint32_t r = 0; r < 4; ++r)
          for (uint32_t j = 0; j < 16; ++j)
            part[r][j] +=
                a[(row + r) * 16 + x] * b[x * kGroupStride + column + j];
      for (uint32_t r = 0; r < 4; ++r)
        std::memcpy(d + (row + r) * kGroupStride + column, part[r],
                    sizeof part[r]);
    }
}

#define MOE_LEVEL(name, attribute)                                             \
  attribute void warp##name(bool half, uint32_t k,                             \
                            const uint32_t *const a[32],                       \
                            const uint32_t *const b[32],                       \
                            const float *const c[32], float *const d[32]) {    \
    multiplyWarpAny(half, k, a, b, c, d);                                      \
  }                                                                            \
  attribute void group##name(uint32_t n, const float *a, const float *b,       \
                             float *d) {                                       \
    multiplyGroup(n, a, b, d);                                                 \
  }

MOE_LEVEL(Base, )
MOE_LEVEL(Avx2, __attribute__((target("avx2,fma"))))
MOE_LEVEL(Avx512, __attribute__((target("avx512f,avx512vl,avx2,fma"))))
#undef MOE_LEVEL

int level() {
  static const int chosen = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
      return 2;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1
                                                                           : 0;
  }();
  return chosen;
}

} // namespace

void warpMatrixMultiply(bool half, uint32_t k, const uint32_t *const a[32],
                        const uint32_t *const b[32], const float *const c[32],
                        float *const d[32]) {
  switch (level()) {
  case 2:
    return warpAvx512(half, k, a, b, c, d);
  case 1:
    return warpAvx2(half, k, a, b, c, d);
  default:
    return warpBase(half, k, a, b, c, d);
  }
}

void groupMatrixMultiply(uint32_t n, const float *a, const float *b, float *d) {
  switch (level()) {
  case 2:
    return groupAvx512(n, a, b, d);
  case 1:
    return groupAvx2(n, a, b, d);
  default:
    return groupBase(n, a, b, d);
  }
}

} // namespace moe::emu
