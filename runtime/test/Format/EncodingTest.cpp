//===- EncodingTest.cpp - Tests of what encoded weights may be ------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include <functional>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

namespace {

/// makePlan() whose weight "w" [1, 40, 5] is of INT8 [40, 5] with a scale per
/// row.
fb::PlanT encodedPlan() {
  fb::PlanT plan = makePlan();
  fb::WeightT &w = *plan.weights[0];
  w.encoding = fb::WeightEncoding::Int8Scaled;
  w.stored_shape = {40, 5};
  w.scale_shape = {40, 1};
  w.scale_sources = {"w0.scale"};
  return plan;
}

using Change = std::function<void(fb::WeightT &)>;

/// What is wrong with encodedPlan() after this change.
std::string problem(const Change &change) {
  fb::PlanT plan = encodedPlan();
  change(*plan.weights[0]);
  std::string bytes = packPlan(std::move(plan));
  auto result = readPlan(reinterpret_cast<const uint8_t *>(bytes.data()),
                         bytes.size(), "x.moe");
  if (result.ok())
    return "no error";
  EXPECT_EQ(result.status().number(), 303);
  return result.status().what();
}

Change mxfp4(std::vector<int64_t> stored, std::vector<int64_t> scales) {
  return [=](fb::WeightT &w) {
    w.encoding = fb::WeightEncoding::Mxfp4;
    w.stored_shape = stored;
    w.scale_shape = scales;
  };
}

Change fp8(std::vector<int64_t> block, std::vector<int64_t> scales) {
  return [=](fb::WeightT &w) {
    w.encoding = fb::WeightEncoding::Fp8Block;
    w.block = block;
    w.scale_shape = scales;
  };
}

Change scales(std::vector<int64_t> shape) {
  return [=](fb::WeightT &w) { w.scale_shape = shape; };
}

} // namespace

TEST(Encoding, AcceptsWhatFits) {
  EXPECT_EQ(problem([](auto &) {}), "no error");
  EXPECT_EQ(problem(scales({})), "no error");
  EXPECT_EQ(problem(scales({8, 5})), "no error");
  EXPECT_EQ(problem(fp8({16, 2}, {3, 3})), "no error");
  EXPECT_EQ(problem([](auto &w) { w.stored_shape = {8, 25}; }),
            "weight 'w' of the plan has INT8 codes of shape [8, 25] with "
            "scales [40, 1]");
  EXPECT_EQ(problem([](auto &w) {
              w.stored_shape = {8, 25};
              w.scale_shape = {8, 5};
            }),
            "no error");
}

TEST(Encoding, RejectsWhatContradictsItself) {
  EXPECT_EQ(
      problem([](auto &w) { w.encoding = static_cast<fb::WeightEncoding>(9); }),
      "weight 'w' of the plan has an unknown encoding");
  EXPECT_EQ(problem([](auto &w) { w.encoding = fb::WeightEncoding::Plain; }),
            "weight 'w' of the plan has scales without an encoding");
  EXPECT_EQ(problem([](auto &w) { w.dtype = fb::DType::I32; }),
            "weight 'w' of the plan is encoded, but of an integer type");
  EXPECT_EQ(problem([](auto &w) { w.scale_sources.clear(); }),
            "weight 'w' of the plan has 0 scales for 1 sources");
  EXPECT_EQ(problem([](auto &w) { w.stored_shape.clear(); }),
            "weight 'w' of the plan is encoded, but empty");
  EXPECT_EQ(problem(scales({40, 0})),
            "weight 'w' of the plan is encoded, but empty");
  EXPECT_EQ(problem([](auto &w) { w.scale_sources = {"s\n"}; }),
            "plan has an empty or unprintable name of a tensor");
  EXPECT_EQ(problem([](auto &w) { w.stored_shape = {INT64_MAX, INT64_MAX}; }),
            "weight 'w' of the plan has stored shape [9223372036854775807, "
            "9223372036854775807], which is negative or overflows");
  EXPECT_EQ(problem([](auto &w) {
              w.stored_shape = {40, 4};
              w.scale_shape = {1, 1};
            }),
            "weight 'w' of the plan has stored shape [40, 4], 160 elements, "
            "for [40, 5]");
}

TEST(Encoding, RejectsScalesThatDoNotFit) {
  EXPECT_EQ(problem(scales({40})),
            "weight 'w' of the plan has INT8 codes of shape [40, 5] with "
            "scales [40]");
  EXPECT_EQ(problem(scales({3, 1})),
            "weight 'w' of the plan has INT8 codes of shape [40, 5] with "
            "scales [3, 1]");
  EXPECT_EQ(problem(mxfp4({40, 1, 16}, {40, 2})),
            "weight 'w' of the plan has MXFP4 codes of shape [40, 1, 16] with "
            "scales [40, 2]");
  EXPECT_EQ(problem(mxfp4({40, 1, 8}, {40, 1})),
            "weight 'w' of the plan has MXFP4 codes of shape [40, 1, 8] with "
            "scales [40, 1]");
  EXPECT_EQ(problem(mxfp4({16}, {})),
            "weight 'w' of the plan has MXFP4 codes of shape [16] with scales "
            "[]");
  EXPECT_EQ(problem(mxfp4({40, 1, 16}, {40, 1})),
            "weight 'w' of the plan has stored shape [40, 1, 16], 1280 "
            "elements, for [40, 5]");
  EXPECT_EQ(problem(fp8({}, {3, 3})),
            "weight 'w' of the plan has FP8 blocks of []");
  EXPECT_EQ(problem(fp8({16, 0}, {3, 3})),
            "weight 'w' of the plan has FP8 blocks of [16, 0]");
  EXPECT_EQ(problem(fp8({16, 2}, {2, 3})),
            "weight 'w' of the plan has FP8 codes in blocks [16, 2] of shape "
            "[40, 5] with scales [2, 3]");
}

namespace {

/// What matchCheckpoint says of encodedPlan() after `change` for a checkpoint
/// with these tensors and "bias".
Status match(const Change &change, std::vector<TensorSpec> specs) {
  TemporaryFolder folder;
  specs.push_back({"bias", DType::F32, {40}});
  auto writer =
      SafetensorsWriter::create(folder.file("model.safetensors"), specs);
  EXPECT_TRUE(writer.ok());
  for (const TensorSpec &spec : specs) {
    std::string data(*shapeBytes(spec.shape, byteSize(spec.dtype)), '\1');
    EXPECT_TRUE(writer->write(data.data(), data.size()).ok());
  }
  EXPECT_TRUE(writer->finish().ok());
  auto checkpoint = Checkpoint::open(folder.path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().toString();
  fb::PlanT plan = encodedPlan();
  change(*plan.weights[0]);
  std::string bytes = packPlan(std::move(plan));
  const fb::Plan *read = fb::GetPlan(bytes.data());
  EXPECT_TRUE(verifyPlan(*read).ok()) << verifyPlan(*read).toString();
  Status status = matchCheckpoint(*read, **checkpoint);
  if (!status.ok()) {
    EXPECT_EQ(status.number(), 402);
    // Packing looks again.
    std::vector<uint8_t> out(2048);
    Status packing = packConstant(*read, *read->constants()->Get(0),
                                  **checkpoint, out.data());
    EXPECT_EQ(packing.number(), 402);
    EXPECT_EQ(status.what(),
              "1 tensor does not match this artifact: " + packing.what());
  }
  return status;
}

const std::string prefix = "1 tensor does not match this artifact: ";

} // namespace

TEST(Encoding, CheckpointsThatDoNotMatch) {
  auto same = [](fb::WeightT &) {};
  const TensorSpec codes{"w0", DType::I8, {40, 5}};
  EXPECT_TRUE(match(same, {codes, {"w0.scale", DType::F32, {40, 1}}}).ok());
  EXPECT_TRUE(match(same, {codes, {"w0.scale", DType::BF16, {40, 1}}}).ok());
  EXPECT_TRUE(
      match(scales({}), {codes, {"w0.scale", DType::BF16, {20, 5}}}).ok());
  EXPECT_EQ(match(same, {codes}).what(),
            prefix + "tensor 'w0.scale' is missing");
  EXPECT_EQ(match(same, {codes, {"w0.scale", DType::F16, {40, 1}}}).what(),
            prefix + "tensor 'w0.scale' is F16 [40, 1], needed is F32 or BF16 "
                     "[40, 1]");
  EXPECT_EQ(match(same, {codes, {"w0.scale", DType::F32, {1, 5}}}).what(),
            prefix + "tensor 'w0.scale' is F32 [1, 5], needed is F32 or BF16 "
                     "[40, 1]");
  EXPECT_EQ(match(scales({}), {codes, {"w0.scale", DType::F32, {3, 1}}}).what(),
            prefix + "tensor 'w0.scale' has shape [3, 1], needed is one of "
                     "extents that divide [40, 5]");
  EXPECT_EQ(match(same, {{"w0", DType::F32, {40, 5}},
                         {"w0.scale", DType::F32, {40, 1}}})
                .what(),
            prefix + "tensor 'w0' is F32 [40, 5], needed is I8 [40, 5]");
  EXPECT_EQ(match(fp8({16, 2}, {3, 3}), {codes}).what(),
            prefix + "tensor 'w0' is I8 [40, 5], needed is F8_E4M3 [40, 5]");
}

TEST(Encoding, FingerprintCoversScales) {
  auto of = [](const Change &change) {
    fb::PlanT plan = encodedPlan();
    change(*plan.weights[0]);
    std::string bytes = packPlan(std::move(plan));
    return fb::GetPlan(bytes.data())->fingerprint()->str();
  };
  const std::string base = of([](auto &) {});
  EXPECT_EQ(base, of([](auto &w) { w.dtype = fb::DType::BF16; }));
  EXPECT_NE(base, of(scales({20, 1})));
  EXPECT_NE(base, of([](auto &w) { w.scale_sources = {"other"}; }));
  EXPECT_NE(base, of(fp8({1, 5}, {40, 1})));
  FingerprintBuilder builder;
  builder.add("w0", DType::I8, {40, 5}, 200);
  builder.add("w0.scale", DType::F32, {40, 1}, 160);
  builder.add("bias", DType::F32, {40}, 160);
  EXPECT_EQ(base, builder.finish());
}
