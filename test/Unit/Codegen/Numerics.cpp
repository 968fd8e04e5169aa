//===- Numerics.cpp - docs/Numerics.md, word by word ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Numerics.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace moe_test;

static uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

static float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(bits));
  return value;
}

uint16_t moe_test::roundToBf16(float value) {
  uint32_t u = bitsOf(value);
  if (std::isnan(value))
    return (u >> 16) | 0x40;
  return (u + 0x7fff + ((u >> 16) & 1)) >> 16;
}

float moe_test::fromBf16(uint16_t bits) {
  return fromBits(uint32_t(bits) << 16);
}

std::vector<uint16_t> moe_test::roundToBf16(const std::vector<float> &values) {
  std::vector<uint16_t> result;
  for (float value : values)
    result.push_back(roundToBf16(value));
  return result;
}

std::vector<float> moe_test::fromBf16(const std::vector<uint16_t> &bits) {
  std::vector<float> result;
  for (uint16_t value : bits)
    result.push_back(fromBf16(value));
  return result;
}

static float addHalves(float (&lanes)[16]) {
  for (int half : {8, 4, 2, 1})
    for (int j = 0; j < half; ++j)
      lanes[j] += lanes[j + half];
  return lanes[0];
}

float moe_test::sixteenLaneDot(const float *a, const float *b, int64_t n) {
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i)
    lanes[i % 16] = std::fmaf(a[i], b[i], lanes[i % 16]);
  return addHalves(lanes);
}

float moe_test::sixteenLaneSum(const float *a, int64_t n) {
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i)
    lanes[i % 16] += a[i];
  return addHalves(lanes);
}

float moe_test::specifiedExp(float x) {
  if (std::isnan(x))
    return x;
  if (x > 88.72283f)
    return std::numeric_limits<float>::infinity();
  if (x < -87.33654f)
    return 0.0f;
  float n = std::nearbyintf(x * 1.44269502f);
  float r = std::fmaf(n, -0.693145752f, x);
  r = std::fmaf(n, -1.42860677e-6f, r);
  float p = 1.98756914e-4f;
  for (float c :
       {1.39819994e-3f, 8.33345205e-3f, 4.16657962e-2f, 0.166666657f, 0.5f})
    p = std::fmaf(p, r, c);
  p = std::fmaf(p, r * r, r);
  p = p + 1.0f;
  int whole = static_cast<int>(n), first = whole >> 1;
  auto power = [](int e) { return fromBits(uint32_t(e + 127) << 23); };
  return p * power(first) * power(whole - first);
}

float moe_test::specifiedLog(float x) {
  if (std::isnan(x) || x < 0.0f)
    return std::numeric_limits<float>::quiet_NaN();
  if (x == 0.0f)
    return -std::numeric_limits<float>::infinity();
  if (std::isinf(x))
    return x;
  int e0 = 0, e = 0;
  if (x < std::numeric_limits<float>::min()) {
    x = x * 8388608.0f;
    e0 = -23;
  }
  float m = std::frexp(x, &e);
  if (m < 0.707106769f) {
    e = e - 1;
    m = (m + m) - 1.0f;
  } else {
    m = m - 1.0f;
  }
  float z = m * m, p = 7.0376836292e-2f;
  for (float c : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f,
                  1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f,
                  -2.4999993993e-1f, 3.3333331174e-1f})
    p = std::fmaf(p, m, c);
  float y = (m * z) * p, f = float(e + e0);
  y = std::fmaf(f, -2.12194440e-4f, y);
  y = std::fmaf(-0.5f, z, y);
  float r = m + y;
  return std::fmaf(f, 0.693359375f, r);
}

Lists moe_test::groupRows(const std::vector<int32_t> &ids,
                          const std::vector<float> &weights, int64_t tokens,
                          int64_t perToken, int64_t experts) {
  Lists lists;
  lists.expertOffsets.push_back(0);
  std::vector<std::vector<int32_t>> rowsOf(tokens);
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = 0; j < perToken; ++j)
        if (ids[t * perToken + j] == e) {
          rowsOf[t].push_back(lists.rowToken.size());
          lists.rowToken.push_back(t);
          lists.rowWeight.push_back(weights[t * perToken + j]);
        }
    lists.expertOffsets.push_back(lists.rowToken.size());
  }
  for (const std::vector<int32_t> &rows : rowsOf) {
    lists.tokenOffsets.push_back(lists.tokenRows.size());
    lists.tokenRows.insert(lists.tokenRows.end(), rows.begin(), rows.end());
  }
  lists.tokenOffsets.push_back(lists.tokenRows.size());
  return lists;
}

bool moe_test::sameBits(float x, float y) {
  return bitsOf(x) == bitsOf(y) || (std::isnan(x) && std::isnan(y));
}

void moe_test::expectSameBits(const std::vector<float> &actual,
                              const std::vector<float> &expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_TRUE(sameBits(actual[i], expected[i]))
        << "element " << i << " is " << actual[i] << ", expected "
        << expected[i];
}

void moe_test::expectSameBits(const std::vector<uint16_t> &actual,
                              const std::vector<uint16_t> &expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_TRUE(actual[i] == expected[i] ||
                sameBits(fromBf16(actual[i]), fromBf16(expected[i])))
        << "element " << i << " is " << fromBf16(actual[i]) << ", expected "
        << fromBf16(expected[i]);
}
