//===- Npy.cpp - Reading and writing .npy files ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Npy.h"

#include <cstring>

using namespace moert;

namespace {

struct Descr {
  const char *text;
  DType type;
};
/// The first entry of a type is what the writer uses.
constexpr Descr descrs[] = {
    {"<f4", DType::F32}, {"<f8", DType::F64},  {"<f2", DType::F16},
    {"<u2", DType::U16}, {"<V2", DType::BF16}, {"|V2", DType::BF16},
    {"<i2", DType::I16}, {"<i4", DType::I32},  {"<i8", DType::I64},
    {"<u4", DType::U32}, {"<u8", DType::U64},  {"|u1", DType::U8},
    {"|i1", DType::I8},  {"|b1", DType::Bool}, {"<u1", DType::U8},
    {"<i1", DType::I8},  {"<b1", DType::Bool},
};

Status damaged(const std::string &where, std::string what) {
  return Status::error(12, std::move(what))
      .at(where)
      .fix("save the array again: numpy.save(path, "
           "numpy.ascontiguousarray(a))");
}

/// Reads the Python dictionary of a header: string keys; strings, True, False
/// or tuples of integers as values.
class DictParser {
public:
  explicit DictParser(std::string_view text) : text(text) {}

  /// False when the header is not of this form.
  bool parse() {
    if (!take('{'))
      return false;
    while (!take('}')) {
      std::string key;
      if (!string(key) || !take(':') || !value(key))
        return false;
      if (!take(',') && peek() != '}')
        return false;
    }
    skip();
    return position == text.size() && hasDescr && hasOrder && hasShape;
  }

  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;

private:
  void skip() {
    while (position < text.size() && std::strchr(" \t\n\r", text[position]) &&
           text[position])
      ++position;
  }
  char peek() {
    skip();
    return position < text.size() ? text[position] : '\0';
  }
  bool take(char c) {
    if (peek() != c || c == '\0')
      return false;
    ++position;
    return true;
  }
  bool word(std::string_view w) {
    skip();
    if (text.substr(position, w.size()) != w)
      return false;
    position += w.size();
    return true;
  }
  bool string(std::string &out) {
    char quote = peek();
    if (quote != '\'' && quote != '"')
      return false;
    size_t end = text.find(quote, position + 1);
    if (end == std::string_view::npos)
      return false;
    out = text.substr(position + 1, end - position - 1);
    position = end + 1;
    return true;
  }
  bool value(const std::string &key) {
    if (key == "descr")
      return !std::exchange(hasDescr, true) && string(descr);
    if (key == "fortran_order") {
      if (std::exchange(hasOrder, true))
        return false;
      fortran = word("True");
      return fortran || word("False");
    }
    return key == "shape" && !std::exchange(hasShape, true) && tuple();
  }
  bool tuple() {
    if (!take('('))
      return false;
    while (!take(')')) {
      int64_t dim = 0;
      skip();
      size_t first = position;
      for (; position < text.size() && text[position] >= '0' &&
             text[position] <= '9';
           ++position)
        if (__builtin_mul_overflow(dim, int64_t(10), &dim) ||
            __builtin_add_overflow(dim, int64_t(text[position] - '0'), &dim))
          return false;
      if (position == first || shape.size() == 64)
        return false;
      shape.push_back(dim);
      if (!take(',') && peek() != ')')
        return false;
    }
    return true;
  }

  std::string_view text;
  size_t position = 0;
  bool hasDescr = false, hasOrder = false, hasShape = false;
};

} // namespace

StatusOr<NpyArray> moert::parseNpy(const uint8_t *data, uint64_t size,
                                   const std::string &where) {
  if (size < 10 || std::memcmp(data, "\x93NUMPY", 6) != 0)
    return damaged(where, "file does not start like a .npy file");
  unsigned major = data[6];
  if (major < 1 || major > 3)
    return damaged(where, concat(".npy version ", major, " is not 1, 2 or 3"));
  uint64_t lengthBytes = major == 1 ? 2 : 4;
  uint64_t start = 8 + lengthBytes;
  uint64_t headerSize = 0;
  if (size >= start)
    for (uint64_t i = 0; i < lengthBytes; ++i)
      headerSize |= uint64_t(data[8 + i]) << (8 * i);
  if (size < start || headerSize > size - start)
    return damaged(where, concat(".npy header of ", headerSize,
                                 " bytes reaches past the end of the file of ",
                                 size, " bytes"));
  DictParser dict(std::string_view(reinterpret_cast<const char *>(data + start),
                                   headerSize));
  if (headerSize > 65536 || !dict.parse())
    return damaged(where, ".npy header is not readable");
  NpyArray array;
  const Descr *found = nullptr;
  for (const Descr &descr : descrs)
    if (dict.descr == descr.text)
      found = &descr;
  if (!found)
    return damaged(
        where, concat(".npy element type '", dict.descr, "' is not read here"));
  if (dict.fortran && dict.shape.size() > 1)
    return damaged(where, "array is in Fortran order; C order is needed");
  array.dtype = found->type;
  array.shape = std::move(dict.shape);
  std::optional<uint64_t> bytes =
      shapeBytes(array.shape, byteSize(array.dtype));
  uint64_t dataStart = start + headerSize;
  if (!bytes || *bytes != size - dataStart)
    return damaged(
        where, concat("array of shape ", formatShape(array.shape), " of ",
                      name(array.dtype), " needs ",
                      bytes ? std::to_string(*bytes) : std::string("too many"),
                      " bytes; the file has ", size - dataStart));
  array.data = data + dataStart;
  array.bytes = *bytes;
  return array;
}

StatusOr<NpyArray> moert::readNpy(const std::string &path) {
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file,
                       MappedFile::open(path));
  MOE_ASSIGN_OR_RETURN(NpyArray array,
                       parseNpy(file->data(), file->size(), path));
  array.file = std::move(file);
  return array;
}

Status moert::writeNpy(const std::string &path, DType dtype,
                       const std::vector<int64_t> &shape, const void *data) {
  DType stored = dtype == DType::BF16 ? DType::U16 : dtype;
  const char *descr = nullptr;
  for (const Descr &candidate : descrs)
    if (!descr && candidate.type == stored)
      descr = candidate.text;
  std::optional<uint64_t> bytes = shapeBytes(shape, byteSize(dtype));
  if (!descr || !bytes)
    return Status::error(12, concat("cannot store an array of ", name(dtype),
                                    " in a .npy file"))
        .at(path)
        .fix("write a .safetensors file instead");
  std::string header =
      concat("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (size_t i = 0; i < shape.size(); ++i)
    header += concat(i ? ", " : "", shape[i]);
  header += shape.size() == 1 ? ",), }" : "), }";
  // The data starts at a multiple of 64.
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  char prefix[10] = {'\x93',
                     'N',
                     'U',
                     'M',
                     'P',
                     'Y',
                     1,
                     0,
                     static_cast<char>(header.size() & 0xff),
                     static_cast<char>(header.size() >> 8)};
  MOE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(path));
  MOE_RETURN_IF_ERROR(file.write(prefix, sizeof(prefix)));
  MOE_RETURN_IF_ERROR(file.write(header.data(), header.size()));
  MOE_RETURN_IF_ERROR(file.write(data, *bytes));
  return file.commit();
}
