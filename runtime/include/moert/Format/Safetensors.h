//===- Safetensors.h - Reading and writing safetensors files --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The reader trusts nothing: every number of the header is checked before it
// is used, and an error names the file, the tensor and the numbers.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_SAFETENSORS_H
#define MOERT_FORMAT_SAFETENSORS_H

#include "moert/Format/DType.h"
#include "moert/Format/File.h"
#include "moert/Format/Status.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace moert {

/// Largest header that is read, as in other implementations.
constexpr uint64_t maxSafetensorsHeader = 100'000'000;

/// A tensor inside a safetensors file. `data` is borrowed from the file.
struct TensorEntry {
  std::string name;
  DType dtype = DType::U8;
  std::vector<int64_t> shape;
  /// Offset from the start of the file, and size, in bytes.
  uint64_t offset = 0;
  uint64_t bytes = 0;
  const uint8_t *data = nullptr;
  /// The file that holds it; never null in an opened file.
  const MappedFile *file = nullptr;

  /// Takes [begin, begin + size) of the tensor out of the resident set.
  void dropPages(uint64_t begin, uint64_t size) const {
    file->dropPages(offset + begin, size);
  }
};

/// One opened file. Immutable, hence thread-safe.
class SafetensorsFile {
public:
  /// MOE0010 when unreadable, MOE0404 when it breaks the format.
  static StatusOr<std::shared_ptr<const SafetensorsFile>>
  open(const std::string &path);

  const std::string &path() const { return file->path(); }
  /// In the order of their offsets.
  const std::vector<TensorEntry> &tensors() const { return entries; }
  /// The tensor of this name, null when there is none.
  const TensorEntry *find(std::string_view name) const;
  /// The strings of `__metadata__`.
  const std::map<std::string, std::string> &metadata() const { return extra; }
  const MappedFile &mapping() const { return *file; }

private:
  SafetensorsFile() = default;
  std::shared_ptr<const MappedFile> file;
  std::vector<TensorEntry> entries;
  std::unordered_map<std::string_view, const TensorEntry *> byName;
  std::map<std::string, std::string> extra;
};

/// Parses a header. `data` and `size` are the whole file; entries get no
/// `file`. Entry point of the fuzzer; `where` goes into messages.
Status parseSafetensors(const uint8_t *data, uint64_t size,
                        const std::string &where,
                        std::vector<TensorEntry> &entries,
                        std::map<std::string, std::string> &metadata);

/// The tensors of a model: one file, or a folder with `model.safetensors`, or
/// with `model.safetensors.index.json` and its shards, or with any other
/// *.safetensors files. Immutable, hence thread-safe.
class Checkpoint {
public:
  /// MOE0401 when `path` holds no safetensors file, MOE0404 for a damaged one,
  /// MOE0405 for an index that names what is not there.
  static StatusOr<std::shared_ptr<const Checkpoint>>
  open(const std::string &path);

  const std::string &path() const { return root; }
  const TensorEntry *find(std::string_view name) const;
  /// All names in ascending order.
  std::vector<std::string> names() const;
  const std::vector<std::shared_ptr<const SafetensorsFile>> &files() const {
    return shards;
  }

private:
  Checkpoint() = default;
  Status openIndex(const std::string &indexPath);
  Status add(std::shared_ptr<const SafetensorsFile> shard);

  std::string root;
  std::vector<std::shared_ptr<const SafetensorsFile>> shards;
  std::unordered_map<std::string_view, const TensorEntry *> byName;
};

/// What a file will hold, in this order.
struct TensorSpec {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
};

/// Writes a file front to back without holding a tensor in memory. The file
/// appears under its name at `finish`; without it nothing is left.
class SafetensorsWriter {
public:
  /// With `alignment` > 1 (a power of two) every tensor starts at a multiple
  /// of it, counted from the start of the file: the header is padded with
  /// spaces and gaps are U8 tensors named "__pad.N", which readers that do not
  /// know them may ignore.
  static StatusOr<SafetensorsWriter>
  create(const std::string &path, const std::vector<TensorSpec> &tensors,
         const std::map<std::string, std::string> &metadata = {},
         uint64_t alignment = 1);

  /// Appends bytes to the data of the tensors, in the order of `tensors`;
  /// pieces may end anywhere. Padding is added by the writer.
  Status write(const void *data, uint64_t size);
  /// MOE9000 when not all bytes were written.
  Status finish();

private:
  explicit SafetensorsWriter(OutputFile out) : out(std::move(out)) {}
  Status pad();

  OutputFile out;
  /// Remaining pieces, last first: bytes, and whether they are padding.
  std::vector<std::pair<uint64_t, bool>> pieces;
};

} // namespace moert

#endif // MOERT_FORMAT_SAFETENSORS_H
