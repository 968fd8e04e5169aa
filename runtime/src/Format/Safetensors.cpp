//===- Safetensors.cpp - Reading and writing safetensors ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_set>

using namespace moert;

namespace {

/// Builds entries while the header is parsed, so that repeated keys are seen
/// and no document tree is kept. One instance reads one header.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
public:
  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(int64_t) override { return scalar("a negative number"); }
  bool number_float(double, const std::string &) override {
    return scalar("a fraction or a number beyond 64 bits");
  }
  bool binary(binary_t &) override { return scalar("binary"); }

  bool number_unsigned(uint64_t value) override {
    if (state == Shape && value > uint64_t(INT64_MAX))
      return fail("has a dimension beyond 63 bits");
    if (state == Shape) {
      if (current.shape.size() == 64)
        return fail("has more than 64 dimensions");
      current.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state == Offsets) {
      offsets.push_back(value);
      return offsets.size() <= 2 || fail("has more than two data_offsets");
    }
    return scalar("a number");
  }

  bool string(std::string &value) override {
    if (state == Metadata) {
      metadata[field] = value;
      return true;
    }
    if (state != Tensor || field != "dtype")
      return scalar("a string");
    std::optional<DType> type = parseDType(value);
    if (!type)
      return fail(concat("has unknown dtype '", value, "'"));
    current.dtype = *type;
    return true;
  }

  bool start_object(size_t) override {
    if (state == Start) {
      state = Top;
      return true;
    }
    if (state != Top)
      return scalar("an object");
    if (field == "__metadata__") {
      state = Metadata;
      return true;
    }
    state = Tensor;
    current = {};
    current.name = field;
    offsets.clear();
    seen.clear();
    return true;
  }

  bool key(std::string &name) override {
    std::unordered_set<std::string> &keys = state == Top ? names : seen;
    field = name;
    if (!keys.insert(name).second) {
      if (state == Top)
        problem = concat("tensor '", name, "' appears twice");
      else
        problem =
            concat("key '", name, "' appears twice in '",
                   state == Metadata ? "__metadata__" : current.name, "'");
      return false;
    }
    if (state == Tensor && name != "dtype" && name != "shape" &&
        name != "data_offsets")
      return fail(concat("has unknown key '", name, "'"));
    return true;
  }

  bool end_object() override {
    if (state == Metadata) {
      seen.clear();
      state = Top;
      return true;
    }
    if (state == Top) {
      state = End;
      return true;
    }
    for (const char *key : {"dtype", "shape", "data_offsets"})
      if (!seen.count(key))
        return fail(concat("has no '", key, "'"));
    if (offsets.size() != 2)
      return fail("has not exactly two data_offsets");
    if (offsets[0] > offsets[1])
      return fail(concat("has data_offsets [", offsets[0], ", ", offsets[1],
                         "] that end before they begin"));
    std::optional<uint64_t> bytes =
        shapeBytes(current.shape, byteSize(current.dtype));
    if (!bytes)
      return fail(concat("has shape ", formatShape(current.shape),
                         ", whose size overflows"));
    current.offset = offsets[0];
    current.bytes = offsets[1] - offsets[0];
    if (*bytes != current.bytes)
      return fail(concat("has shape ", formatShape(current.shape), " of ",
                         ::name(current.dtype), " = ", *bytes,
                         " bytes, but data_offsets [", offsets[0], ", ",
                         offsets[1], "] span ", current.bytes, " bytes"));
    entries.push_back(std::move(current));
    state = Top;
    seen.clear();
    return true;
  }

  bool start_array(size_t) override {
    if (state != Tensor || field == "dtype")
      return scalar("an array");
    state = field == "shape" ? Shape : Offsets;
    return true;
  }

  bool end_array() override {
    state = Tensor;
    return true;
  }

  bool parse_error(size_t position, const std::string &,
                   const nlohmann::json::exception &) override {
    problem = concat("the header is not valid JSON at its byte ", position);
    return false;
  }

private:
  static std::string_view name(DType type) { return moert::name(type); }

  bool fail(std::string_view what) {
    problem = concat("tensor '", current.name, "' ", what);
    return false;
  }
  bool scalar(const char *found) {
    if (state == Start)
      problem = "the header is no JSON object";
    else if (state == Top)
      problem = concat("tensor '", field, "' is ", found, ", not an object");
    else if (state == Metadata)
      problem =
          concat("__metadata__ '", field, "' is ", found, ", not a string");
    else
      return fail(concat("has ", found, " in '", field, "'"));
    return false;
  }

  enum { Start, Top, Metadata, Tensor, Shape, Offsets, End } state = Start;
  std::string field;
  TensorEntry current;
  std::vector<uint64_t> offsets;
  std::unordered_set<std::string> names, seen;
};

Status damaged(const std::string &where, std::string what) {
  return Status::error(404, std::move(what))
      .at(where)
      .fix("download or write the file again");
}

} // namespace

Status moert::parseSafetensors(const uint8_t *data, uint64_t size,
                               const std::string &where,
                               std::vector<TensorEntry> &entries,
                               std::map<std::string, std::string> &metadata) {
  if (size < 8)
    return damaged(where, concat("safetensors file has ", size,
                                 " bytes; the header length alone has 8"));
  uint64_t headerSize = 0;
  for (int i = 7; i >= 0; --i)
    headerSize = headerSize << 8 | data[i];
  if (headerSize > size - 8)
    return damaged(where, concat("safetensors header of ", headerSize,
                                 " bytes reaches past the end of the file of ",
                                 size, " bytes"));
  if (headerSize > maxSafetensorsHeader)
    return damaged(where, concat("safetensors header of ", headerSize,
                                 " bytes is larger than the limit of ",
                                 maxSafetensorsHeader, " bytes"));
  if (headerSize == 0 || data[8] != '{')
    return damaged(where, "safetensors header does not start with '{'");

  HeaderHandler handler;
  const char *begin = reinterpret_cast<const char *>(data + 8);
  if (!nlohmann::json::sax_parse(begin, begin + headerSize, &handler))
    return damaged(where, handler.problem);

  entries = std::move(handler.entries);
  metadata = std::move(handler.metadata);
  std::sort(entries.begin(), entries.end(),
            [](const TensorEntry &a, const TensorEntry &b) {
              return std::make_pair(a.offset, a.offset + a.bytes) <
                     std::make_pair(b.offset, b.offset + b.bytes);
            });
  const uint64_t dataStart = 8 + headerSize;
  const uint64_t dataSize = size - dataStart;
  uint64_t expected = 0;
  const TensorEntry *previous = nullptr;
  for (TensorEntry &entry : entries) {
    uint64_t end = entry.offset + entry.bytes;
    if (end > dataSize)
      return damaged(where,
                     concat("tensor '", entry.name, "' at [", entry.offset,
                            ", ", end, ") reaches past the ", dataSize,
                            " bytes of data in the file"));
    if (entry.offset < expected)
      return damaged(where,
                     concat("tensor '", entry.name, "' at [", entry.offset,
                            ", ", end, ") overlaps tensor '", previous->name,
                            "', which ends at ", expected));
    if (entry.offset > expected)
      return damaged(where, concat("nothing describes the bytes [", expected,
                                   ", ", entry.offset, ") before tensor '",
                                   entry.name, "'"));
    expected = end;
    previous = &entry;
  }
  if (expected != dataSize)
    return damaged(where,
                   concat("tensors end at byte ", expected,
                          ", but the file has ", dataSize, " bytes of data"));
  for (TensorEntry &entry : entries) {
    entry.offset += dataStart;
    entry.data = data + entry.offset;
  }
  return {};
}

StatusOr<std::shared_ptr<const SafetensorsFile>>
SafetensorsFile::open(const std::string &path) {
  std::shared_ptr<SafetensorsFile> result(new SafetensorsFile());
  MOE_ASSIGN_OR_RETURN(result->file, MappedFile::open(path));
  MOE_RETURN_IF_ERROR(parseSafetensors(result->file->data(),
                                       result->file->size(), path,
                                       result->entries, result->extra));
  for (TensorEntry &entry : result->entries) {
    entry.file = result->file.get();
    result->byName.emplace(entry.name, &entry);
  }
  return std::shared_ptr<const SafetensorsFile>(std::move(result));
}

const TensorEntry *SafetensorsFile::find(std::string_view name) const {
  auto it = byName.find(name);
  return it == byName.end() ? nullptr : it->second;
}

//===----------------------------------------------------------------------===//
// Writer
//===----------------------------------------------------------------------===//

StatusOr<SafetensorsWriter> SafetensorsWriter::create(
    const std::string &path, const std::vector<TensorSpec> &tensors,
    const std::map<std::string, std::string> &metadata, uint64_t alignment) {
  if (alignment == 0 || (alignment & (alignment - 1)))
    return Status::error(9000, concat("alignment ", alignment,
                                      " of a safetensors file is no power of "
                                      "two"));
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  MOE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(path));
  SafetensorsWriter writer(std::move(file));
  uint64_t offset = 0;
  unsigned pads = 0;
  auto add = [&](const std::string &tensor, DType type,
                 const std::vector<int64_t> &shape, uint64_t bytes, bool pad) {
    header[tensor] = {{"dtype", std::string(name(type))},
                      {"shape", shape},
                      {"data_offsets", {offset, offset + bytes}}};
    writer.pieces.emplace_back(bytes, pad);
    offset += bytes;
  };
  for (const TensorSpec &tensor : tensors) {
    if (header.contains(tensor.name))
      return Status::error(
                 9000, concat("tensor '", tensor.name, "' is written twice"))
          .at(path);
    if (uint64_t over = offset % alignment)
      add(concat("__pad.", pads++), DType::U8, {int64_t(alignment - over)},
          alignment - over, true);
    std::optional<uint64_t> bytes =
        shapeBytes(tensor.shape, byteSize(tensor.dtype));
    if (!bytes)
      return Status::error(9000,
                           concat("shape ", formatShape(tensor.shape),
                                  " of tensor '", tensor.name, "' overflows"))
          .at(path);
    add(tensor.name, tensor.dtype, tensor.shape, *bytes, false);
  }
  std::reverse(writer.pieces.begin(), writer.pieces.end());

  std::string text =
      header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  uint64_t unit = std::max<uint64_t>(alignment, 8);
  text.resize((text.size() + 8 + unit - 1) / unit * unit - 8, ' ');
  uint8_t length[8];
  for (int i = 0; i < 8; ++i)
    length[i] = static_cast<uint8_t>(text.size() >> (8 * i));
  MOE_RETURN_IF_ERROR(writer.out.write(length, 8));
  MOE_RETURN_IF_ERROR(writer.out.write(text.data(), text.size()));
  MOE_RETURN_IF_ERROR(writer.pad());
  return StatusOr<SafetensorsWriter>(std::move(writer));
}

Status SafetensorsWriter::pad() {
  static const char zeros[4096] = {};
  while (!pieces.empty() && (pieces.back().second || !pieces.back().first)) {
    for (uint64_t left = pieces.back().first; left > 0;) {
      uint64_t chunk = std::min<uint64_t>(left, sizeof(zeros));
      MOE_RETURN_IF_ERROR(out.write(zeros, chunk));
      left -= chunk;
    }
    pieces.pop_back();
  }
  return {};
}

Status SafetensorsWriter::write(const void *data, uint64_t size) {
  const char *next = static_cast<const char *>(data);
  while (size > 0) {
    if (pieces.empty())
      return Status::error(9000, "more bytes than the tensors have were "
                                 "written to a safetensors file");
    uint64_t chunk = std::min(size, pieces.back().first);
    MOE_RETURN_IF_ERROR(out.write(next, chunk));
    pieces.back().first -= chunk;
    next += chunk;
    size -= chunk;
    MOE_RETURN_IF_ERROR(pad());
  }
  return {};
}

Status SafetensorsWriter::finish() {
  if (!pieces.empty())
    return Status::error(9000, concat(pieces.back().first,
                                      " bytes of a tensor were not written to "
                                      "a safetensors file"));
  return out.commit();
}
