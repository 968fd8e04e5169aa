//===- RouterMath.cpp - Functions of numbers, bit for bit -----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled without contraction of a * b + c: every fma is written out.
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/Router.h"
#include "moe/Reference/Tensor.h"

#include "llvm/ADT/bit.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::reference;

static constexpr float infinity = std::numeric_limits<float>::infinity();

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

static float addLanes(float (&lane)[16]) {
  for (int half = 8; half >= 1; half /= 2)
    for (int j = 0; j < half; ++j)
      lane[j] = lane[j] + lane[j + half];
  return lane[0];
}

float mlir::moe::reference::sixteenLaneDot(ArrayRef<float> a,
                                           ArrayRef<float> b) {
  float lane[16] = {};
  for (size_t i = 0; i < a.size(); ++i)
    lane[i % 16] = std::fma(a[i], b[i], lane[i % 16]);
  return addLanes(lane);
}

float mlir::moe::reference::sixteenLaneSum(ArrayRef<float> a) {
  float lane[16] = {};
  for (size_t i = 0; i < a.size(); ++i)
    lane[i % 16] = lane[i % 16] + a[i];
  return addLanes(lane);
}

static float larger(float a, float b) { return a > b ? a : b; }

float mlir::moe::reference::cosineDot(ArrayRef<float> a, ArrayRef<float> b,
                                      float epsilon) {
  float dot = sixteenLaneDot(a, b);
  float normA = larger(std::sqrt(sixteenLaneDot(a, a)), epsilon);
  float normB = larger(std::sqrt(sixteenLaneDot(b, b)), epsilon);
  return dot / (normA * normB);
}

//===----------------------------------------------------------------------===//
// Elementary functions
//===----------------------------------------------------------------------===//

/// r = c0, then r = fma(r, x, c) for the others.
static float horner(ArrayRef<float> coefficients, float x) {
  float r = coefficients.front();
  for (float c : coefficients.drop_front())
    r = std::fma(r, x, c);
  return r;
}

/// 2^exponent for a normal result.
static float powerOfTwo(int32_t exponent) {
  return llvm::bit_cast<float>(static_cast<uint32_t>(exponent + 127) << 23);
}

float mlir::moe::reference::routerExp(float x) {
  if (std::isnan(x))
    return x;
  if (x > 88.72283f)
    return infinity;
  if (x < -87.33654f)
    return 0.0f;
  float n = std::nearbyint(x * 1.44269502f);
  float r = std::fma(n, -0.693145752f, x);
  r = std::fma(n, -1.42860677e-6f, r);
  float p = horner({1.98756914e-4f, 1.39819994e-3f, 8.33345205e-3f,
                    4.16657962e-2f, 0.166666657f, 0.5f},
                   r);
  float square = r * r;
  p = std::fma(p, square, r);
  p = p + 1.0f;
  int32_t exponent = static_cast<int32_t>(n);
  int32_t first = exponent >> 1;
  float scaled = p * powerOfTwo(first);
  return scaled * powerOfTwo(exponent - first);
}

float mlir::moe::reference::routerSigmoid(float x) {
  float t = 1.0f + routerExp(-x);
  return 1.0f / t;
}

float mlir::moe::reference::routerLog(float x) {
  if (std::isnan(x) || x < 0)
    return std::numeric_limits<float>::quiet_NaN();
  if (x == 0)
    return -infinity;
  if (x == infinity)
    return x;
  int32_t exponent = 0;
  if (x < std::numeric_limits<float>::min()) {
    x = x * 0x1p23f;
    exponent = -23;
  }
  // x = m * 2^exponent with m in [0.5, 1).
  uint32_t bits = llvm::bit_cast<uint32_t>(x);
  exponent += static_cast<int32_t>(bits >> 23) - 126;
  float m = llvm::bit_cast<float>((bits & 0x007fffff) | 0x3f000000);
  if (m < 0.707106769f) {
    exponent -= 1;
    m = (m + m) - 1.0f;
  } else {
    m = m - 1.0f;
  }
  float z = m * m;
  float p = horner({7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f,
                    -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f,
                    2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f},
                   m);
  float y = (m * z) * p;
  float f = exponent;
  y = std::fma(f, -2.12194440e-4f, y);
  y = std::fma(-0.5f, z, y);
  float r = m + y;
  return std::fma(f, 0.693359375f, r);
}

float mlir::moe::reference::routerSoftplus(float x) {
  if (std::isnan(x))
    return x;
  float log = routerLog(1.0f + routerExp(-std::fabs(x)));
  return (x > 0 ? x : 0.0f) + log;
}

//===----------------------------------------------------------------------===//
// Rounding
//===----------------------------------------------------------------------===//

float mlir::moe::reference::roundToBF16(float x) {
  uint32_t u = llvm::bit_cast<uint32_t>(x);
  u = std::isnan(x) ? (u >> 16) | 0x40 : (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  return llvm::bit_cast<float>(u << 16);
}

float mlir::moe::reference::roundRouterValue(float x, Type type) {
  if (!type)
    return x;
  return type.isBF16() ? roundToBF16(x) : roundToType(x, type);
}

//===----------------------------------------------------------------------===//
// Random numbers
//===----------------------------------------------------------------------===//

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

/// The inverse of the normal distribution, by Acklam.
static float normalQuantile(float p) {
  static constexpr float a[] = {
      -3.969683028665376e+01f, 2.209460984245205e+02f,  -2.759285104469687e+02f,
      1.383577518672690e+02f,  -3.066479806614716e+01f, 2.506628277459239e+00f};
  static constexpr float b[] = {-5.447609879822406e+01f, 1.615858368580409e+02f,
                                -1.556989798598866e+02f, 6.680131188771972e+01f,
                                -1.328068155288572e+01f, 1.0f};
  static constexpr float c[] = {
      -7.784894002430293e-03f, -3.223964580411365e-01f, -2.400758277161838e+00f,
      -2.549732539343734e+00f, 4.374664141464968e+00f,  2.938163982698783e+00f};
  static constexpr float d[] = {7.784695709041462e-03f, 3.224671290700398e-01f,
                                2.445134137142996e+00f, 3.754408661907416e+00f,
                                1.0f};
  constexpr float low = 0.02425f;
  if (p < low) {
    float q = std::sqrt(-2.0f * routerLog(p));
    return horner(c, q) / horner(d, q);
  }
  if (p > 1.0f - low) {
    float q = std::sqrt(-2.0f * routerLog(1.0f - p));
    return -horner(c, q) / horner(d, q);
  }
  float q = p - 0.5f, r = q * q;
  return (horner(a, r) * q) / horner(b, r);
}

float mlir::moe::reference::randomNumber(Distribution distribution,
                                         uint64_t seed, uint64_t stream,
                                         uint64_t row, uint64_t column,
                                         uint64_t columns) {
  uint64_t counter = (stream << 48) + (row * columns + column);
  uint64_t h = mix(seed + 0x9E3779B97F4A7C15 * (1 + counter));
  if (distribution == Distribution::Uniform)
    return static_cast<float>(h >> 40) * 0x1p-24f;
  float p = (static_cast<float>(h >> 41) + 0.5f) * 0x1p-23f;
  if (distribution == Distribution::Normal)
    return normalQuantile(p);
  return -routerLog(-routerLog(p));
}
