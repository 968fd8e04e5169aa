//===- NpyTest.cpp - Tests of .npy files ----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include "moert/Format/Npy.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace moert;
using namespace moert::test;

/// A version 1 file with this dictionary.
static std::string npy(const std::string &dict, const std::string &data) {
  std::string bytes = "\x93NUMPY";
  bytes += std::string("\x01\x00", 2);
  bytes += static_cast<char>(dict.size());
  bytes += static_cast<char>(dict.size() >> 8);
  return bytes + dict + data;
}

static StatusOr<NpyArray> parse(const std::string &bytes) {
  return parseNpy(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(),
                  "x.npy");
}

static std::string error(const std::string &bytes) {
  auto array = parse(bytes);
  return array.ok() ? "no error" : array.status().what();
}

TEST(Npy, RoundTripsEveryType) {
  TemporaryFolder folder;
  for (DType type : {DType::F32, DType::F64, DType::F16, DType::I32, DType::I64,
                     DType::U8, DType::BF16}) {
    for (const std::vector<int64_t> &shape :
         {std::vector<int64_t>{}, {3}, {2, 5}, {0, 4}, {1, 2, 3}}) {
      uint64_t bytes = *shapeBytes(shape, byteSize(type));
      std::string data;
      for (uint64_t i = 0; i < bytes; ++i)
        data += static_cast<char>(i * 37);
      ASSERT_TRUE(
          writeNpy(folder.file("a.npy"), type, shape, data.data()).ok());
      auto array = readNpy(folder.file("a.npy"));
      ASSERT_TRUE(array.ok()) << array.status().toString();
      EXPECT_EQ(array->dtype, type == DType::BF16 ? DType::U16 : type);
      EXPECT_EQ(array->shape, shape);
      EXPECT_EQ(array->bytes, bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(array->data) % 64, 0u);
      EXPECT_EQ(bytes ? std::memcmp(array->data, data.data(), bytes) : 0, 0);
    }
  }
}

TEST(Npy, ReadsWhatNumpyWrites) {
  auto array = parse(
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }   \n",
          "12345678"));
  ASSERT_TRUE(array.ok()) << array.status().toString();
  EXPECT_EQ(array->shape, (std::vector<int64_t>{1, 2}));
  array = parse(
      npy("{\"shape\":(2,),\"fortran_order\":True,\"descr\":\"|V2\"}", "1234"));
  ASSERT_TRUE(array.ok()) << "one dimension has no order";
  EXPECT_EQ(array->dtype, DType::BF16);
}

TEST(Npy, RejectsDamage) {
  EXPECT_EQ(error("no"), "file does not start like a .npy file");
  std::string good = npy(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "12345678");
  EXPECT_EQ(error(good), "no error");
  EXPECT_EQ(error(good.substr(0, good.size() - 1)),
            "array of shape [2] of F32 needs 8 bytes; the file has 7");
  EXPECT_EQ(error(good.substr(0, 20)), ".npy header of 57 bytes reaches past "
                                       "the end of the file of 20 bytes");
  std::string version = good;
  version[6] = 9;
  EXPECT_EQ(error(version), ".npy version 9 is not 1, 2 or 3");
  for (const char *dict :
       {"{'descr': '<f4', 'shape': (2,)}", "{'descr': <f4}", "[]", "{", "",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': "
        "(2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': "
        "(99999999999999999999,)}"})
    EXPECT_EQ(error(npy(dict, "12345678")), ".npy header is not readable")
        << dict;
}

TEST(Npy, RejectsOtherKinds) {
  EXPECT_EQ(
      error(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "")),
      ".npy element type '|O' is not read here");
  EXPECT_EQ(error(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}",
                      "1234")),
            ".npy element type '>f4' is not read here");
  EXPECT_EQ(
      error(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}",
                "12345678")),
      "array is in Fortran order; C order is needed");
  EXPECT_EQ(error(npy("{'descr': '<f8', 'fortran_order': False, 'shape': "
                      "(4611686018427387904, 8)}",
                      "")),
            "array of shape [4611686018427387904, 8] of F64 needs too many "
            "bytes; the file has 0");
}

TEST(Npy, NamesTheFileAndTheFix) {
  auto array = parse("garbage...");
  EXPECT_EQ(array.status().toString(),
            "error[MOE0012]: file does not start like a .npy file\n"
            " --> x.npy\n"
            "fix: save the array again: numpy.save(path, "
            "numpy.ascontiguousarray(a))\n");
}
