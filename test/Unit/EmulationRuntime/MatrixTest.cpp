//===- MatrixTest.cpp - ldmatrix, stmatrix, mma and number formats --------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulationTest.h"

#include <cmath>

using namespace moe::emu;
using namespace moe::emu::test;

namespace {

TEST(Matrix, LoadAndStore) {
  for (uint32_t count : {1u, 2u, 4u})
    for (uint32_t transpose : {0u, 1u}) {
      auto elements = randomBits<uint16_t>(4 * 64, count + 10 * transpose);
      uint32_t fragments[32][4];
      uint16_t back[4 * 64] = {};
      expectClean({32, 2048}, [&](Thread *thread) {
        uint32_t lane = thread->laneid;
        // Rows in a shuffled order, 32 bytes apart.
        uint16_t *row = shared<uint16_t>(thread, lane * 5 % 32 * 32);
        for (uint32_t i = 0; i < 8; ++i)
          store(thread, row + i, elements[lane * 8 + i], "fill");
        moe_emu_warp_sync(thread, ~0u, "sync");
        moe_emu_ldmatrix(thread, row, count, transpose, fragments[lane],
                         "ldmatrix");
        moe_emu_warp_sync(thread, ~0u, "sync");
        uint16_t *to = shared<uint16_t>(thread, 1024 + lane * 16);
        moe_emu_stmatrix(thread, to, count, transpose, fragments[lane],
                         "stmatrix");
        moe_emu_warp_sync(thread, ~0u, "sync");
        for (uint32_t i = 0; i < 8 && lane < 8 * count; ++i)
          back[lane * 8 + i] = load(thread, to + i, "read");
      });
      for (uint32_t m = 0; m < count; ++m)
        for (uint32_t lane = 0; lane < 32; ++lane)
          for (uint32_t half = 0; half < 2; ++half) {
            uint32_t row = lane / 4, column = lane % 4 * 2 + half;
            if (transpose)
              std::swap(row, column);
            EXPECT_EQ(uint16_t(fragments[lane][m] >> (16 * half)),
                      elements[m * 64 + row * 8 + column]);
          }
      for (uint32_t i = 0; i < count * 64; ++i)
        EXPECT_EQ(back[i], elements[i]);
    }
}

TEST(Matrix, Multiply) {
  for (uint32_t type : {MOE_EMU_BF16, MOE_EMU_F16})
    for (uint32_t k : {8u, 16u}) {
      std::mt19937_64 engine(type * 100 + k);
      uint16_t a[16][16], b[16][8];
      float fa[16][16], fb[16][8], c[16][8], d[16][8];
      for (uint32_t i = 0; i < 16; ++i)
        for (uint32_t j = 0; j < 16; ++j) {
          a[i][j] = smallNumber(engine, type == MOE_EMU_F16, &fa[i][j]);
          if (j < 8) {
            b[i][j] = smallNumber(engine, type == MOE_EMU_F16, &fb[i][j]);
            c[i][j] = float(int(engine() % 1000)) / 16;
          }
        }
      expectClean({32}, [&](Thread *thread) {
        uint32_t group = thread->laneid >> 2, inGroup = thread->laneid & 3;
        uint16_t registersA[8], registersB[4];
        // The index formulas of the PTX ISA for .bf16 and .f16 fragments.
        for (uint32_t i = 0; i < k / 2; ++i) {
          uint32_t row = (i / 2) % 2 == 0 ? group : group + 8;
          uint32_t column = inGroup * 2 + (i & 1) + (i >= 4 ? 8 : 0);
          registersA[i] = a[row][column];
        }
        for (uint32_t i = 0; i < k / 4; ++i)
          registersB[i] = b[inGroup * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group];
        uint32_t packedA[4], packedB[2];
        std::memcpy(packedA, registersA, sizeof packedA);
        std::memcpy(packedB, registersB, sizeof packedB);
        float accumulator[4];
        auto row = [&](uint32_t i) { return i < 2 ? group : group + 8; };
        for (uint32_t i = 0; i < 4; ++i)
          accumulator[i] = c[row(i)][inGroup * 2 + (i & 1)];
        moe_emu_mma(thread, type, k, packedA, packedB, accumulator, accumulator,
                    "mma");
        for (uint32_t i = 0; i < 4; ++i)
          d[row(i)][inGroup * 2 + (i & 1)] = accumulator[i];
      });
      for (uint32_t i = 0; i < 16; ++i)
        for (uint32_t j = 0; j < 8; ++j) {
          float sum = c[i][j];
          for (uint32_t x = 0; x < k; ++x)
            sum += fa[i][x] * fb[x][j];
          EXPECT_EQ(d[i][j], sum) << "type " << type << ", k " << k;
        }
    }
}

TEST(Matrix, MisalignedRow) {
  for (bool check : {true, false})
    expectFinding(
        {32, 2048},
        [](Thread *thread) {
          uint32_t out[1];
          for (uint32_t i = 0; i < 64; i += 4)
            store(thread, shared<uint32_t>(thread, thread->laneid * 64 + i), i,
                  "fill");
          moe_emu_warp_sync(thread, ~0u, "sync");
          uint32_t wrong = thread->laneid == 3 ? 8 : 0;
          moe_emu_ldmatrix(thread, thread->shared + thread->laneid * 64 + wrong,
                           1, 0, out, "ldmatrix");
        },
        FindingKind::Misaligned, "ldmatrix", "must be aligned to 16 bytes", {},
        check);
}

/// Each lane writes a row that it names itself, but four others receive it.
TEST(Matrix, LoadNeedsWarpSync) {
  auto body = [](Thread *thread, bool sync) {
    uint32_t out[1];
    uint64_t *row = shared<uint64_t>(thread, thread->laneid * 16);
    store<uint64_t>(thread, row, 1, "fill");
    store<uint64_t>(thread, row + 1, 1, "fill");
    if (sync)
      moe_emu_warp_sync(thread, ~0u, "sync");
    moe_emu_ldmatrix(thread, row, 1, 0, out, "ldmatrix");
  };
  expectClean({32, 512}, [&](Thread *thread) { body(thread, true); });
  expectFinding(
      {32, 512}, [&](Thread *thread) { body(thread, false); },
      FindingKind::Race, "ldmatrix", "without a barrier");
}

TEST(Matrix, ExitedLane) {
  expectFinding(
      {32},
      [](Thread *thread) {
        uint32_t a[4] = {}, b[2] = {};
        float c[4] = {};
        if (thread->laneid != 9)
          moe_emu_mma(thread, MOE_EMU_BF16, 16, a, b, c, c, "mma");
      },
      FindingKind::DivergentCollective, "mma", "lanes");
}

//===----------------------------------------------------------------------===//
// Number formats
//===----------------------------------------------------------------------===//

template <typename Function> Function symbol(const char *name) {
  for (const Symbol &symbol : runtimeSymbols())
    if (!std::strcmp(symbol.name, name))
      return reinterpret_cast<Function>(symbol.address);
  ADD_FAILURE() << name;
  return nullptr;
}

uint16_t lowBits(float value) {
  uint16_t bits;
  std::memcpy(&bits, &value, 2);
  return bits;
}

float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// The value of a number of `exponentBits` and `mantissaBits`.
double decoded(uint16_t bits, int exponentBits, int mantissaBits) {
  int bias = (1 << (exponentBits - 1)) - 1;
  int exponent = bits >> mantissaBits & ((1 << exponentBits) - 1);
  int mantissa = bits & ((1 << mantissaBits) - 1);
  double sign = bits >> 15 ? -1 : 1;
  if (exponent == (1 << exponentBits) - 1)
    return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0)
    return sign * std::ldexp(mantissa, 1 - bias - mantissaBits);
  return sign * std::ldexp(mantissa + (1 << mantissaBits),
                           exponent - bias - mantissaBits);
}

/// Whether `bits` is `value` rounded to nearest, ties to even.
bool isNearest(double value, uint16_t bits, int exponentBits,
               int mantissaBits) {
  if (std::isnan(value))
    return std::isnan(decoded(bits, exponentBits, mantissaBits));
  auto at = [&](uint16_t magnitude) {
    // One above the largest number stands for where infinity begins.
    uint16_t infinity = uint16_t(((1 << exponentBits) - 1) << mantissaBits);
    if (magnitude == infinity)
      return 2 * decoded(uint16_t(infinity - 1), exponentBits, mantissaBits) -
             decoded(uint16_t(infinity - 2), exponentBits, mantissaBits);
    return decoded(magnitude, exponentBits, mantissaBits);
  };
  if (std::signbit(value) != (bits >> 15))
    return false;
  double magnitude = std::fabs(value);
  uint16_t got = bits & 0x7FFF;
  uint16_t infinity = uint16_t(((1 << exponentBits) - 1) << mantissaBits);
  if (got > infinity)
    return false;
  if (got == infinity) {
    double edge = (at(infinity) + at(uint16_t(infinity - 1))) / 2;
    return magnitude >= edge;
  }
  double error = std::fabs(magnitude - at(got));
  double up = std::fabs(magnitude - at(uint16_t(got + 1)));
  double down = got ? std::fabs(magnitude - at(uint16_t(got - 1))) : INFINITY;
  double other = std::min(up, down);
  return error < other || (error == other && got % 2 == 0);
}

TEST(Formats, RoundToNearest) {
  auto toBfloat = symbol<float (*)(float)>("__truncsfbf2");
  auto toHalf = symbol<float (*)(float)>("__truncsfhf2");
  auto doubleToBfloat = symbol<float (*)(double)>("__truncdfbf2");
  auto doubleToHalf = symbol<float (*)(double)>("__truncdfhf2");
  std::mt19937_64 engine(3);
  for (int i = 0; i < 200000; ++i) {
    uint32_t bits = uint32_t(engine());
    switch (i % 4) {
    case 0: // exponents of halfs, subnormals and overflow
      bits = (bits & 0x80FFFFFF) | (102 + bits % 43) << 23;
      break;
    case 1: // ties of bf16
      bits = (bits & 0xFFFF0000) | 0x8000;
      break;
    case 2: // ties of halfs
      bits = (bits & 0x80FFE000) | 0x1000 | (102 + bits % 43) << 23;
    }
    float value = fromBits(bits);
    EXPECT_TRUE(isNearest(value, lowBits(toBfloat(value)), 8, 7)) << value;
    EXPECT_TRUE(isNearest(value, lowBits(toHalf(value)), 5, 10)) << value;
    if (std::isnan(value))
      continue;
    // Next to a tie: rounding twice would go wrong.
    double wide = double(value) * (1 + (i % 3 - 1) * 0x1p-40);
    EXPECT_TRUE(isNearest(wide, lowBits(doubleToBfloat(wide)), 8, 7)) << wide;
    EXPECT_TRUE(isNearest(wide, lowBits(doubleToHalf(wide)), 5, 10)) << wide;
  }
}

TEST(Formats, ExtendHalf) {
  auto extend = symbol<float (*)(float)>("__extendhfsf2");
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    double expected = decoded(uint16_t(bits), 5, 10);
    float got = extend(fromBits(0xABCD0000u | bits));
    if (std::isnan(expected))
      EXPECT_TRUE(std::isnan(got));
    else
      EXPECT_EQ(got, expected) << bits;
  }
}

TEST(Symbols, AreComplete) {
  for (const Symbol &symbol : runtimeSymbols())
    EXPECT_NE(symbol.address, nullptr) << symbol.name;
  symbol<void *>("moe_emu_check");
  symbol<void *>("moe_emu_wgmma");
}

} // namespace
