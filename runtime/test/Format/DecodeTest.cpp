//===- DecodeTest.cpp - Tests of encoded weights --------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Random codes and scales are packed, and each element of the result is
// compared with a computation of its own from the definition of the encoding.
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <thread>

using namespace moert;
using namespace moert::test;

namespace {

using Shape = std::vector<int64_t>;

int64_t product(const Shape &shape) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

/// A number of 1 sign bit, `exponentBits` and `mantissaBits`, read off the
/// definition: (-1)^s * 2^(e - bias) * (1 + m / 2^M), without the 1 for e = 0.
double smallFloat(unsigned code, int exponentBits, int mantissaBits) {
  const int bias = (1 << (exponentBits - 1)) - 1;
  const int mantissa = code & ((1 << mantissaBits) - 1);
  const int exponent = code >> mantissaBits & ((1 << exponentBits) - 1);
  const bool negative = code >> (mantissaBits + exponentBits) & 1;
  double value = mantissa / double(1 << mantissaBits);
  value = exponent ? (1 + value) * std::pow(2.0, exponent - bias)
                   : value * std::pow(2.0, 1 - bias);
  return negative ? -value : value;
}

/// The nearest number of `bits` mantissa bits (with the leading one) whose
/// unit is at least 2^minimum; ties to even. Infinity from `limit` on.
double nearest(double value, int bits, int minimum, double limit) {
  if (value == 0 || !std::isfinite(value))
    return value;
  const int exponent = std::max(std::ilogb(value) + 1 - bits, minimum);
  double unit = std::ldexp(1.0, exponent);
  double count = std::floor(value / unit), rest = value / unit - count;
  if (rest > 0.5 || (rest == 0.5 && std::fmod(count, 2) != 0))
    count += 1;
  const double result = count * unit;
  return std::fabs(result) >= limit ? std::copysign(INFINITY, value) : result;
}

double roundTo(fb::DType type, double value) {
  if (type == fb::DType::F32)
    return nearest(value, 24, -149, 0x1p128);
  if (type == fb::DType::BF16)
    return nearest(value, 8, -133, 0x1p128);
  return nearest(value, 11, -24, 0x1p16);
}

/// The value that the bits at `data` stand for.
double valueOf(fb::DType type, const uint8_t *data) {
  if (type == fb::DType::F32) {
    float value;
    std::memcpy(&value, data, 4);
    return value;
  }
  const unsigned bits = data[0] | data[1] << 8;
  const int exponentBits = type == fb::DType::BF16 ? 8 : 5;
  const int mantissaBits = 15 - exponentBits;
  if ((bits >> mantissaBits & ((1 << exponentBits) - 1)) ==
      (1u << exponentBits) - 1)
    return bits & ((1 << mantissaBits) - 1) ? NAN
           : bits >> 15                     ? -INFINITY
                                            : INFINITY;
  return smallFloat(bits, exponentBits, mantissaBits);
}

/// An encoded weight of a checkpoint and how it is used.
struct Encoded {
  fb::WeightEncoding encoding = fb::WeightEncoding::Mxfp4;
  fb::DType dtype = fb::DType::BF16;
  Shape stored, scales, source;
  Shape block;
  DType scaleType = DType::F32;
  bool stack = false, transpose = false;
  int64_t sources = 1;
  /// dimension, begin, end, step
  Shape slice;
  fb::Layout layout = fb::Layout::RowMajor;
  uint32_t kTile = 1, kInner = 1;
};

class Decode : public testing::Test {
protected:
  /// Element i of source s, in f32 before rounding to the weight's type.
  double expected(const Encoded &e, int64_t s, int64_t i) const {
    const std::string &codes = contents.at("w." + std::to_string(s));
    const std::string &scales = contents.at("s." + std::to_string(s));
    auto byte = [](const std::string &data, int64_t at) {
      return static_cast<uint8_t>(data[at]);
    };
    if (e.encoding == fb::WeightEncoding::Mxfp4) {
      const unsigned pair = byte(codes, i / 2);
      const unsigned scale = byte(scales, i / 32);
      if (scale == 255)
        return NAN;
      const double value = smallFloat(i % 2 ? pair >> 4 : pair & 15, 2, 1);
      return nearest(value * std::pow(2.0, int(scale) - 127), 24, -149,
                     0x1p128);
    }
    // Position of the element, from the last dimension on.
    Shape at(e.stored.size());
    int64_t rest = i;
    for (size_t d = at.size(); d-- > 0; rest /= e.stored[d])
      at[d] = rest % e.stored[d];
    int64_t index = 0;
    for (size_t d = 0; d < at.size(); ++d) {
      int64_t extent = e.stored[d] / e.scales[d];
      if (e.encoding == fb::WeightEncoding::Fp8Block)
        extent = d + 2 < at.size() ? 1 : e.block[d + 2 - at.size()];
      index = index * e.scales[d] + at[d] / extent;
    }
    const size_t bytes = byteSize(e.scaleType);
    const double scale =
        valueOf(e.scaleType == DType::F32 ? fb::DType::F32 : fb::DType::BF16,
                reinterpret_cast<const uint8_t *>(&scales[index * bytes]));
    const uint8_t code = byte(codes, i);
    double value = static_cast<int8_t>(code);
    if (e.encoding == fb::WeightEncoding::Fp8Block)
      value = code % 128 == 127 ? NAN : smallFloat(code, 4, 3);
    return nearest(value * scale, 24, -149, 0x1p128);
  }

  fb::PlanT makePlan(const Encoded &e) const {
    fb::PlanT plan;
    plan.format_major = 1;
    auto w = std::make_unique<fb::WeightT>();
    w->name = "w";
    w->dtype = e.dtype;
    w->encoding = e.encoding;
    w->stored_shape = e.stored;
    w->scale_shape = e.scales;
    w->block = e.block;
    w->source_shape = e.source;
    w->stack = e.stack;
    w->transpose = e.transpose;
    w->shape = e.source;
    if (!e.slice.empty()) {
      w->slice_dim = int32_t(e.slice[0]);
      w->slice_begin = e.slice[1];
      w->slice_end = e.slice[2];
      w->slice_step = e.slice[3];
      w->shape[e.slice[0]] = (e.slice[2] - e.slice[1] - 1) / e.slice[3] + 1;
    }
    if (e.transpose)
      std::swap(w->shape[w->shape.size() - 2], w->shape.back());
    if (e.stack)
      w->shape.insert(w->shape.begin(), e.sources);
    for (int64_t s = 0; s < e.sources; ++s) {
      w->sources.push_back("w." + std::to_string(s));
      w->scale_sources.push_back("s." + std::to_string(s));
    }
    plan.weights.push_back(std::move(w));
    auto constant = std::make_unique<fb::ConstantT>();
    constant->name = "c";
    constant->dtype = e.dtype;
    constant->layout = e.layout;
    constant->k_tile = e.kTile;
    constant->k_inner = e.kInner;
    constant->weights = {0};
    plan.constants.push_back(std::move(constant));
    return plan;
  }

  void writeCheckpoint(const Encoded &e) {
    std::vector<TensorSpec> specs;
    const DType types[] = {DType::U8, DType::U8, DType::F8E4M3, DType::I8};
    for (int64_t s = 0; s < e.sources; ++s) {
      specs.push_back(
          {"w." + std::to_string(s), types[int(e.encoding)], e.stored});
      specs.push_back(
          {"s." + std::to_string(s),
           e.encoding == fb::WeightEncoding::Mxfp4 ? DType::U8 : e.scaleType,
           e.scales});
    }
    auto writer =
        SafetensorsWriter::create(folder.file("model.safetensors"), specs);
    ASSERT_TRUE(writer.ok());
    std::normal_distribution<float> normal;
    for (const TensorSpec &spec : specs) {
      std::string bytes(*shapeBytes(spec.shape, byteSize(spec.dtype)), '\0');
      const bool isFloat =
          spec.dtype == DType::F32 || spec.dtype == DType::BF16;
      for (size_t i = 0; i < bytes.size();
           i += isFloat ? byteSize(spec.dtype) : 1) {
        if (!isFloat) {
          bytes[i] = static_cast<char>(random());
          continue;
        }
        const float scale = std::exp(normal(random)) / 64;
        uint32_t bits;
        std::memcpy(&bits, &scale, 4);
        if (spec.dtype == DType::BF16)
          bits >>= 16;
        std::memcpy(&bytes[i], &bits, byteSize(spec.dtype));
      }
      ASSERT_TRUE(writer->write(bytes.data(), bytes.size()).ok());
      contents[spec.name] = bytes;
    }
    ASSERT_TRUE(writer->finish().ok());
  }

  /// Packs and returns the elements in the order of the constant's bytes.
  void pack(const Encoded &e, std::vector<double> &out) {
    writeCheckpoint(e);
    auto checkpoint = Checkpoint::open(folder.path);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().toString();
    std::string bytes = packPlan(makePlan(e));
    const fb::Plan *plan = fb::GetPlan(bytes.data());
    ASSERT_TRUE(verifyPlan(*plan).ok()) << verifyPlan(*plan).toString();
    ASSERT_TRUE(matchCheckpoint(*plan, **checkpoint).ok());
    const fb::Constant &c = *plan->constants()->Get(0);
    ParallelFor threads = [](int64_t count,
                             const std::function<void(int64_t)> &body) {
      std::thread other([&] {
        for (int64_t i = 1; i < count; i += 2)
          body(i);
      });
      for (int64_t i = 0; i < count; i += 2)
        body(i);
      other.join();
    };
    std::string packed(c.bytes() + 64, '\x5a');
    auto *target = reinterpret_cast<uint8_t *>(packed.data());
    Status status = packConstant(*plan, c, **checkpoint, target, threads);
    ASSERT_TRUE(status.ok()) << status.toString();
    EXPECT_EQ(packed.substr(c.bytes()), std::string(64, '\x5a'));
    // In pieces the bytes are the same.
    std::string whole;
    const uint64_t pieces = packingPieces(*plan, c);
    for (uint64_t i = 0; i < pieces; ++i) {
      std::string one(c.bytes() / pieces, '\0');
      ASSERT_TRUE(packPieces(*plan, c, **checkpoint, i, i + 1,
                             reinterpret_cast<uint8_t *>(one.data()))
                      .ok());
      whole += one;
    }
    EXPECT_EQ(whole, packed.substr(0, c.bytes()));
    const int64_t size = e.dtype == fb::DType::F32 ? 4 : 2;
    for (int64_t i = 0; i < int64_t(c.bytes()) / size; ++i)
      out.push_back(valueOf(e.dtype, target + i * size));
  }

  static void expectSame(double got, double want, int64_t i) {
    if (std::isnan(want))
      ASSERT_TRUE(std::isnan(got)) << "element " << i << " is " << got;
    else
      ASSERT_EQ(got, want) << "element " << i;
  }

  /// All elements of all sources, row-major and unchanged in shape.
  void check(Encoded e) {
    for (fb::DType type : {fb::DType::F32, fb::DType::BF16, fb::DType::F16}) {
      e.dtype = type;
      std::vector<double> got;
      ASSERT_NO_FATAL_FAILURE(pack(e, got));
      const int64_t count = product(e.source);
      ASSERT_EQ(int64_t(got.size()), count * e.sources);
      for (int64_t i = 0; i < count * e.sources; ++i)
        expectSame(got[i], roundTo(type, expected(e, i / count, i % count)), i);
    }
  }

  TemporaryFolder folder;
  std::map<std::string, std::string> contents;
  std::mt19937 random{std::random_device()()};
};

Encoded mxfp4(Shape stored) {
  Encoded e;
  e.stored = e.scales = stored;
  e.scales.pop_back();
  e.source = e.scales;
  e.source.back() *= 32;
  return e;
}

Encoded fp8(Shape stored, Shape block, Shape scales) {
  Encoded e;
  e.encoding = fb::WeightEncoding::Fp8Block;
  e.stored = e.source = std::move(stored);
  e.block = std::move(block);
  e.scales = std::move(scales);
  return e;
}

Encoded int8(Shape stored, Shape scales, DType scaleType) {
  Encoded e;
  e.encoding = fb::WeightEncoding::Int8Scaled;
  e.stored = e.source = std::move(stored);
  e.scales = std::move(scales);
  e.scaleType = scaleType;
  return e;
}

} // namespace

TEST_F(Decode, Mxfp4) {
  check(mxfp4({3, 5, 2, 16}));
  check(mxfp4({1, 16}));
  check(mxfp4({700, 40, 16})); // More than one piece.
}

TEST_F(Decode, Mxfp4EveryCodeAndScale) {
  // A block for each scale whose bytes count up: all codes in both nibbles.
  Encoded e = mxfp4({256, 16, 16});
  writeCheckpoint(e);
  std::string codes(256 * 256, '\0'), scales(256 * 16, '\0');
  for (int i = 0; i < 256 * 256; ++i)
    codes[i] = static_cast<char>(i);
  for (int i = 0; i < 256 * 16; ++i)
    scales[i] = static_cast<char>(i / 16);
  auto writer = SafetensorsWriter::create(
      folder.file("model.safetensors"),
      {{"w.0", DType::U8, e.stored}, {"s.0", DType::U8, e.scales}});
  ASSERT_TRUE(writer->write(codes.data(), codes.size()).ok() &&
              writer->write(scales.data(), scales.size()).ok() &&
              writer->finish().ok());
  auto checkpoint = Checkpoint::open(folder.path);
  ASSERT_TRUE(checkpoint.ok());
  std::string bytes = packPlan(makePlan(e));
  const fb::Plan *plan = fb::GetPlan(bytes.data());
  std::vector<uint16_t> out(256 * 512);
  ASSERT_TRUE(packConstant(*plan, *plan->constants()->Get(0), **checkpoint,
                           reinterpret_cast<uint8_t *>(out.data()))
                  .ok());
  const double table[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (int i = 0; i < 256 * 512; ++i) {
    const int scale = i / 512, pair = i / 2 % 256;
    const int code = i % 2 ? pair >> 4 : pair & 15;
    double want = table[code % 8] * std::pow(2.0, scale - 127);
    want = scale == 255 ? NAN : code >= 8 ? -want : want;
    if (std::fabs(want) >= 0x1p128)
      want = std::copysign(INFINITY, want);
    expectSame(valueOf(fb::DType::BF16, reinterpret_cast<uint8_t *>(&out[i])),
               want, i);
  }
}

TEST_F(Decode, Fp8Blocks) {
  check(fp8({6, 8}, {2, 4}, {3, 2}));
  check(fp8({7, 9}, {4, 4}, {2, 3})); // Ragged at both ends.
  check(fp8({300, 270}, {128, 128}, {3, 3}));
  check(fp8({2, 5, 7}, {3, 7}, {2, 2, 1}));
  check(fp8({1, 1}, {128, 128}, {1, 1}));
  check(fp8({520, 1030}, {128, 128}, {5, 9})); // More than one piece.
}

TEST_F(Decode, Int8Scales) {
  for (DType type : {DType::F32, DType::BF16}) {
    check(int8({4, 6}, {1, 1}, type));
    check(int8({4, 6}, {4, 1}, type));
    check(int8({4, 6}, {1, 6}, type));
    check(int8({4, 6}, {2, 3}, type));
    check(int8({3, 4, 6}, {3, 2, 1}, type));
    check(int8({5}, {1}, type));
    check(int8({2, 3, 4, 5}, {1, 3, 2, 5}, type));
  }
}

TEST_F(Decode, Int8LeavesTheShapeOfScalesOpen) {
  Encoded e = int8({4, 6}, {2, 3}, DType::F32);
  writeCheckpoint(e);
  auto checkpoint = Checkpoint::open(folder.path);
  fb::PlanT plan = makePlan(e);
  plan.weights[0]->scale_shape.clear();
  std::string bytes = packPlan(std::move(plan));
  const fb::Plan *read = fb::GetPlan(bytes.data());
  ASSERT_TRUE(verifyPlan(*read).ok()) << verifyPlan(*read).toString();
  std::vector<uint16_t> out(24);
  ASSERT_TRUE(packConstant(*read, *read->constants()->Get(0), **checkpoint,
                           reinterpret_cast<uint8_t *>(out.data()))
                  .ok());
  for (int i = 0; i < 24; ++i)
    expectSame(valueOf(fb::DType::BF16, reinterpret_cast<uint8_t *>(&out[i])),
               roundTo(fb::DType::BF16, expected(e, 0, i)), i);
}

TEST_F(Decode, ReshapedStackedSlicedTransposed) {
  // MXFP4 as gpt-oss has it, one of two interleaved projections: stored
  // [E, 2I, H / 32, 16].
  Encoded e = mxfp4({3, 10, 2, 16});
  e.slice = {1, 1, 10, 2};
  std::vector<double> got;
  ASSERT_NO_FATAL_FAILURE(pack(e, got));
  ASSERT_EQ(got.size(), 3u * 5 * 64);
  for (int64_t i = 0; i < 3 * 5 * 64; ++i) {
    const int64_t x = i / 320, row = 1 + 2 * (i / 64 % 5), k = i % 64;
    expectSame(got[i],
               roundTo(e.dtype, expected(e, 0, (x * 10 + row) * 64 + k)), i);
  }

  // Experts under one another in a matrix, each of them transposed.
  e = int8({12, 6}, {12, 1}, DType::BF16);
  e.source = {3, 4, 6};
  e.transpose = true;
  got.clear();
  ASSERT_NO_FATAL_FAILURE(pack(e, got));
  for (int64_t i = 0; i < 72; ++i) {
    const int64_t x = i / 24, column = i / 4 % 6, row = i % 4;
    expectSame(got[i],
               roundTo(e.dtype, expected(e, 0, (x * 4 + row) * 6 + column)), i);
  }

  // One tensor per expert.
  e = fp8({7, 9}, {4, 4}, {2, 3});
  e.stack = true;
  e.sources = 4;
  e.dtype = fb::DType::F16;
  got.clear();
  ASSERT_NO_FATAL_FAILURE(pack(e, got));
  for (int64_t i = 0; i < 4 * 63; ++i)
    expectSame(got[i], roundTo(e.dtype, expected(e, i / 63, i % 63)), i);

  // A matrix that is transposed as a whole.
  e = fp8({7, 9}, {4, 4}, {2, 3});
  e.transpose = true;
  got.clear();
  ASSERT_NO_FATAL_FAILURE(pack(e, got));
  for (int64_t i = 0; i < 63; ++i)
    expectSame(got[i], roundTo(e.dtype, expected(e, 0, i % 7 * 9 + i / 7)), i);
}

TEST_F(Decode, ReshapeWithoutEncoding) {
  auto writer = SafetensorsWriter::create(folder.file("model.safetensors"),
                                          {{"w.0", DType::F32, {6, 4}}});
  std::vector<float> data = randomFloats(24, random());
  ASSERT_TRUE(writer->write(data.data(), 96).ok() && writer->finish().ok());
  auto checkpoint = Checkpoint::open(folder.path);
  Encoded e;
  e.encoding = fb::WeightEncoding::Plain;
  e.dtype = fb::DType::F32;
  e.stored = {6, 4};
  e.source = {2, 3, 4};
  e.transpose = true;
  fb::PlanT plan = makePlan(e);
  plan.weights[0]->scale_sources.clear();
  std::string bytes = packPlan(std::move(plan));
  const fb::Plan *read = fb::GetPlan(bytes.data());
  ASSERT_TRUE(verifyPlan(*read).ok()) << verifyPlan(*read).toString();
  ASSERT_TRUE(matchCheckpoint(*read, **checkpoint).ok());
  std::vector<float> out(24);
  ASSERT_TRUE(packConstant(*read, *read->constants()->Get(0), **checkpoint,
                           reinterpret_cast<uint8_t *>(out.data()))
                  .ok());
  for (int i = 0; i < 24; ++i)
    EXPECT_EQ(out[i], data[i / 12 * 12 + i % 3 * 4 + i / 3 % 4]);
}

TEST_F(Decode, KernelLayouts) {
  Encoded e = mxfp4({2, 40, 3, 16});
  e.layout = fb::Layout::Panels;
  e.kTile = 32;
  e.kInner = 2;
  std::vector<double> got;
  ASSERT_NO_FATAL_FAILURE(pack(e, got));
  ASSERT_EQ(got.size(), 2u * 64 * 96);
  for (int64_t i = 0; i < int64_t(got.size()); ++i) {
    // [E][panel][k / 32][tile][k % 32 / 2][16 columns][2]
    const int64_t k = i / 1024 % 3 * 32 + i / 32 % 16 * 2 + i % 2;
    const int64_t column = i / 3072 % 2 * 32 + i / 512 % 2 * 16 + i / 2 % 16;
    const int64_t expert = i / 6144;
    expectSame(
        got[i],
        column < 40
            ? roundTo(e.dtype, expected(e, 0, (expert * 40 + column) * 96 + k))
            : 0,
        i);
  }

  e = fp8({2, 20, 24}, {8, 16}, {2, 3, 2});
  e.layout = fb::Layout::Rows;
  e.kTile = 16;
  got.clear();
  ASSERT_NO_FATAL_FAILURE(pack(e, got));
  ASSERT_EQ(got.size(), 2u * 24 * 32);
  for (int64_t i = 0; i < int64_t(got.size()); ++i) {
    const int64_t k = i % 32, row = i / 32 % 24, expert = i / 768;
    expectSame(
        got[i],
        k < 24 && row < 20
            ? roundTo(e.dtype, expected(e, 0, (expert * 20 + row) * 24 + k))
            : 0,
        i);
  }
}
