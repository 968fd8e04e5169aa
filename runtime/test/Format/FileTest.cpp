//===- FileTest.cpp - Tests of mapped and atomic files --------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestArtifact.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moert;
using namespace moert::test;

TEST(File, MissingFileIsAnError) {
  auto file = MappedFile::open("/nowhere/x");
  EXPECT_EQ(file.status().toString(),
            "error[MOE0010]: cannot read '/nowhere/x'\n"
            "because No such file or directory\n"
            "fix: check the path\n");
}

TEST(File, FolderIsNoFile) {
  TemporaryFolder folder;
  auto file = MappedFile::open(folder.path);
  EXPECT_EQ(file.status().number(), 10);
  EXPECT_EQ(file.status().because(), "it is not a regular file");
}

TEST(File, EmptyFileMaps) {
  TemporaryFolder folder;
  writeBytes(folder.file("e"), "");
  auto file = MappedFile::open(folder.file("e"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->size(), 0u);
}

TEST(File, DroppedPagesAreReadAgain) {
  TemporaryFolder folder;
  std::string bytes(20000, 'a');
  bytes[9000] = 'b';
  writeBytes(folder.file("f"), bytes);
  auto file = MappedFile::open(folder.file("f"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->data()[9000], 'b');
  (*file)->dropPages(8999, 1u << 30);
  (*file)->dropPages(1u << 30, 5);
  EXPECT_EQ((*file)->data()[9000], 'b');
}

TEST(File, AppearsOnlyAtCommit) {
  TemporaryFolder folder;
  {
    auto out = OutputFile::create(folder.file("o"));
    ASSERT_TRUE(out.ok());
    ASSERT_TRUE(out->write("hello", 5).ok());
    EXPECT_NE(::access(folder.file("o").c_str(), F_OK), 0);
  }
  EXPECT_TRUE(folder.list().empty()) << "an abandoned file was left";
  ASSERT_TRUE(writeFile(folder.file("o"), "one", 3).ok());
  ASSERT_TRUE(writeFile(folder.file("o"), "two!", 4).ok());
  EXPECT_EQ(readFile(folder.file("o")), "two!");
  EXPECT_EQ(folder.list().size(), 1u);
}

TEST(File, CannotWriteWhereThereIsNoFolder) {
  Status status = writeFile("/nowhere/x.npy", "a", 1);
  EXPECT_EQ(status.toString(),
            "error[MOE0011]: cannot write '/nowhere/x.npy'\n"
            "because No such file or directory\n"
            "fix: choose an existing folder that you may write\n");
}

TEST(File, FullDiskIsAnError) {
  std::string bytes(1 << 16, 'x');
  Status status = writeFile("/dev/full", bytes.data(), bytes.size());
  EXPECT_EQ(status.toString(),
            "error[MOE0011]: cannot write '/dev/full'\n"
            "because No space left on device\n"
            "fix: make room on the disk, or choose a path on another one\n");
  struct stat info;
  ASSERT_EQ(::stat("/dev/full", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode)) << "a device was replaced by a file";
}
