//===- File.h - Mapped input files and atomic output files ----------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_FILE_H
#define MOERT_FORMAT_FILE_H

#include "moert/Format/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace moert {

/// A whole regular file, mapped read-only. Immutable, hence thread-safe.
class MappedFile {
public:
  /// MOE0010 when the file is missing, is no regular file, or may not be read.
  static StatusOr<std::shared_ptr<const MappedFile>>
  open(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  const std::string &path() const { return filePath; }
  const uint8_t *data() const { return bytes; }
  uint64_t size() const { return length; }

  /// Takes [offset, offset + size) out of this process's resident set. The
  /// bytes stay readable and are read from the file again when touched.
  void dropPages(uint64_t offset, uint64_t size) const;
  /// Reads the range ahead, so that later accesses do not fault.
  void prefault(uint64_t offset, uint64_t size) const;

private:
  MappedFile() = default;
  std::string filePath;
  const uint8_t *bytes = nullptr;
  uint64_t length = 0;
};

/// A file that appears under its name only when complete: bytes go to an
/// unnamed file in the same folder (a named temporary one where the file
/// system knows no unnamed files), and `commit` puts it in place of an old one
/// in one step. Without a commit nothing is left behind. Thread-compatible.
class OutputFile {
public:
  /// MOE0011 when the folder does not exist or may not be written.
  static StatusOr<OutputFile> create(const std::string &path);
  OutputFile(OutputFile &&other) noexcept { *this = std::move(other); }
  OutputFile &operator=(OutputFile &&other) noexcept;
  ~OutputFile();

  /// Appends. MOE0011, with the system's reason, when the disk is full.
  Status write(const void *data, uint64_t size);
  /// Flushes and puts the file in place.
  Status commit();

private:
  OutputFile() = default;
  Status failure(const char *action, int error) const;
  std::string path;
  std::string temporary; // Empty while the file has no name.
  int descriptor = -1;
  bool inPlace = false;
};

/// Writes a whole file through an OutputFile.
Status writeFile(const std::string &path, const void *data, uint64_t size);

/// The folder part of `path`, "." when there is none.
std::string parentPath(const std::string &path);
bool isDirectory(const std::string &path);
bool isRegularFile(const std::string &path);

} // namespace moert

#endif // MOERT_FORMAT_FILE_H
