//===- TensorFile.cpp - Tensors in .npy and safetensors files -------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Reference/TensorFile.h"

#include "moert/Format/Npy.h"
#include "moert/Format/Safetensors.h"

#include "mlir/IR/Builders.h"

#include <cstring>
#include <map>
#include <set>

using namespace mlir;
using namespace mlir::moe::reference;
using moert::concat;
using moert::DType;
using moert::Status;
using moert::StatusOr;

TensorPath TensorPath::parse(StringRef text) {
  size_t end = text.find(".safetensors:");
  if (end == StringRef::npos)
    return {text.str(), ""};
  end += StringRef(".safetensors").size();
  return {text.take_front(end).str(), text.drop_front(end + 1).str()};
}

namespace {

/// Bytes of a tensor in a file.
struct Stored {
  DType dtype;
  std::vector<int64_t> shape;
  const uint8_t *data;
  std::shared_ptr<const void> owner;
};

} // namespace

static StatusOr<Stored> openStored(const TensorPath &path) {
  if (path.isNpy()) {
    MOE_ASSIGN_OR_RETURN(moert::NpyArray array, moert::readNpy(path.file));
    return Stored{array.dtype, array.shape, array.data, array.file};
  }
  if (!StringRef(path.file).ends_with(".safetensors"))
    return Status::error(1, concat("'", path.file,
                                   "' is neither a .npy nor a .safetensors "
                                   "file"));
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const moert::SafetensorsFile> file,
                       moert::SafetensorsFile::open(path.file));
  const moert::TensorEntry *entry = nullptr;
  if (!path.tensor.empty())
    entry = file->find(path.tensor);
  else if (file->tensors().size() == 1)
    entry = &file->tensors().front();
  if (!entry) {
    std::string names;
    for (const moert::TensorEntry &tensor : file->tensors())
      names += (names.empty() ? "" : ", ") + tensor.name;
    return Status::error(
               2, path.tensor.empty()
                      ? concat("a tensor of ", path.file, " must be named")
                      : concat("no tensor '", path.tensor, "' in ", path.file))
        .because("the file holds: " + names)
        .fix("write " + path.file + ":TENSOR");
  }
  return Stored{entry->dtype, entry->shape, entry->data, file};
}

static std::optional<Storage> floatStorage(DType dtype) {
  switch (dtype) {
  case DType::F64:
    return Storage::F64;
  case DType::F32:
    return Storage::F32;
  case DType::BF16:
    return Storage::BF16;
  case DType::F16:
    return Storage::F16;
  default:
    return std::nullopt;
  }
}

/// The MLIR type of stored elements, null when there is none.
static Type typeOf(DType dtype, MLIRContext *context) {
  Builder builder(context);
  switch (dtype) {
  case DType::F64:
    return builder.getF64Type();
  case DType::F32:
    return builder.getF32Type();
  case DType::BF16:
    return builder.getBF16Type();
  case DType::F16:
    return builder.getF16Type();
  case DType::Bool:
    return builder.getI1Type();
  case DType::I8:
    return builder.getIntegerType(8);
  case DType::I16:
    return builder.getIntegerType(16);
  case DType::I32:
    return builder.getI32Type();
  case DType::I64:
    return builder.getI64Type();
  default:
    return {};
  }
}

static int64_t loadInt(const uint8_t *data, int64_t bytes) {
  int64_t value = 0;
  std::memcpy(&value, data, bytes);
  return value;
}

static StatusOr<Tensor> toTensor(const Stored &stored, Type type) {
  if (std::optional<Storage> storage = floatStorage(stored.dtype))
    return Tensor::borrowed(type, stored.shape, *storage, stored.data,
                            stored.owner);
  int64_t bytes = moert::byteSize(stored.dtype);
  std::vector<int64_t> values(ShapedType::getNumElements(stored.shape));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = wrapToType(loadInt(stored.data + i * bytes, bytes), type);
  return Tensor::ofInts(type, stored.shape, std::move(values));
}

static std::string describeType(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

StatusOr<Tensor> mlir::moe::reference::readTensor(const TensorPath &path,
                                                  Type elementType,
                                                  bool convert) {
  MOE_ASSIGN_OR_RETURN(Stored stored, openStored(path));
  if (path.isNpy() && stored.dtype == DType::U16 && elementType.isBF16())
    stored.dtype = DType::BF16;
  Type type = typeOf(stored.dtype, elementType.getContext());
  bool same = type == elementType ||
              (elementType.isIndex() && stored.dtype == DType::I64);
  bool canConvert = isa<FloatType>(elementType) && type && isa<FloatType>(type);
  if (!same && !(convert && canConvert)) {
    Status status =
        Status::error(13, concat("the elements of ", path.file,
                                 path.tensor.empty() ? "" : ":" + path.tensor,
                                 " are ", moert::name(stored.dtype),
                                 ", expected ", describeType(elementType)));
    if (canConvert)
      return std::move(status).fix("--convert-inputs rounds them");
    return status;
  }
  MOE_ASSIGN_OR_RETURN(Tensor tensor, toTensor(stored, elementType));
  if (same)
    return tensor;
  // The elements are still those of the file: round them to the type.
  std::vector<double> values = tensor.getFloats();
  for (double &value : values)
    value = roundToType(value, elementType);
  return Tensor::ofFloats(elementType, tensor.getShape(), std::move(values));
}

StatusOr<Tensor> mlir::moe::reference::readAnyTensor(const TensorPath &path,
                                                     MLIRContext *context) {
  MOE_ASSIGN_OR_RETURN(Stored stored, openStored(path));
  if (path.isNpy() && stored.dtype == DType::U16)
    stored.dtype = DType::BF16;
  Type type = typeOf(stored.dtype, context);
  if (!type)
    return Status::error(13,
                         concat("elements of type ", moert::name(stored.dtype),
                                " in ", path.file, " cannot be compared"));
  return toTensor(stored, type);
}

/// The bytes of a tensor in the type that files have for it.
static DType encode(const Tensor &tensor, std::vector<char> &bytes) {
  Type type = tensor.getElementType();
  int64_t count = tensor.getNumElements();
  auto append = [&](auto value) {
    const char *begin = reinterpret_cast<const char *>(&value);
    bytes.insert(bytes.end(), begin, begin + sizeof(value));
  };
  if (auto floatType = dyn_cast<FloatType>(type)) {
    for (int64_t i = 0; i < count; ++i) {
      APFloat value(tensor.getFloat(i));
      bool losesInfo;
      value.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                    &losesInfo);
      uint64_t bits = value.bitcastToAPInt().getZExtValue();
      if (type.isF64())
        append(bits);
      else if (type.isF32())
        append(static_cast<uint32_t>(bits));
      else
        append(static_cast<uint16_t>(bits));
    }
    return type.isF64()    ? DType::F64
           : type.isF32()  ? DType::F32
           : type.isBF16() ? DType::BF16
                           : DType::F16;
  }
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  for (int64_t i = 0; i < count; ++i) {
    int64_t value = tensor.getInt(i);
    if (width == 1)
      append(static_cast<uint8_t>(value != 0));
    else if (width <= 8)
      append(static_cast<int8_t>(value));
    else if (width <= 16)
      append(static_cast<int16_t>(value));
    else if (width <= 32)
      append(static_cast<int32_t>(value));
    else
      append(value);
  }
  return width == 1    ? DType::Bool
         : width <= 8  ? DType::I8
         : width <= 16 ? DType::I16
         : width <= 32 ? DType::I32
                       : DType::I64;
}

Status mlir::moe::reference::writeTensors(
    const std::vector<std::pair<TensorPath, Tensor>> &tensors) {
  struct File {
    std::vector<moert::TensorSpec> specs;
    std::vector<std::vector<char>> contents;
  };
  std::map<std::string, File> files;
  std::set<std::pair<std::string, std::string>> places;
  for (const auto &[path, tensor] : tensors) {
    if (!path.isNpy() && !StringRef(path.file).ends_with(".safetensors"))
      return Status::error(1, concat("'", path.file,
                                     "' is neither a .npy nor a .safetensors "
                                     "file"));
    if (!places.insert({path.file, path.isNpy() ? "" : path.tensor}).second)
      return Status::error(2, concat("two outputs go to ", path.file,
                                     path.isNpy() ? "" : ":" + path.tensor));
    std::vector<char> bytes;
    DType dtype = encode(tensor, bytes);
    std::vector<int64_t> shape(tensor.getShape());
    if (path.isNpy()) {
      MOE_RETURN_IF_ERROR(
          moert::writeNpy(path.file, dtype, shape, bytes.data()));
      continue;
    }
    files[path.file].specs.push_back({path.tensor, dtype, shape});
    files[path.file].contents.push_back(std::move(bytes));
  }
  for (const auto &[name, file] : files) {
    MOE_ASSIGN_OR_RETURN(moert::SafetensorsWriter writer,
                         moert::SafetensorsWriter::create(name, file.specs));
    for (const std::vector<char> &bytes : file.contents)
      MOE_RETURN_IF_ERROR(writer.write(bytes.data(), bytes.size()));
    MOE_RETURN_IF_ERROR(writer.finish());
  }
  return {};
}
