//===- Numerics.h - docs/Numerics.md, word by word ------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A plain implementation of the specification, written from its text, that
// generated code is compared with bit for bit.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TEST_UNIT_CODEGEN_NUMERICS_H
#define MOE_TEST_UNIT_CODEGEN_NUMERICS_H

#include <cstdint>
#include <vector>

namespace moe_test {

/// bf16 as its bits.
uint16_t roundToBf16(float value);
float fromBf16(uint16_t bits);
std::vector<uint16_t> roundToBf16(const std::vector<float> &values);
std::vector<float> fromBf16(const std::vector<uint16_t> &bits);

float sixteenLaneDot(const float *a, const float *b, int64_t n);
float sixteenLaneSum(const float *a, int64_t n);
float specifiedExp(float x);
float specifiedLog(float x);

/// The five lists of a routing.
struct Lists {
  std::vector<int32_t> expertOffsets, rowToken, tokenOffsets, tokenRows;
  std::vector<float> rowWeight;
};

/// From `perToken` ids and weights per token, in any order.
Lists groupRows(const std::vector<int32_t> &ids,
                const std::vector<float> &weights, int64_t tokens,
                int64_t perToken, int64_t experts);

/// Whether the bits are the same, or both are NaN.
bool sameBits(float x, float y);
/// Fails the test at the first value with different bits.
void expectSameBits(const std::vector<float> &actual,
                    const std::vector<float> &expected);
void expectSameBits(const std::vector<uint16_t> &actual,
                    const std::vector<uint16_t> &expected);

} // namespace moe_test

#endif // MOE_TEST_UNIT_CODEGEN_NUMERICS_H
