//===- Tensor.h - Values of the interpreter ---------------------*- C++ -*-===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the interpreter computes with. Integers are held in 64 bits. Floats are
// held as f64:
//
// - a value of a type narrower than f32 is rounded to this type by every op
//   that produces one;
// - a value of type f32 that is the result of a contraction, of a reduction or
//   of an activation keeps f64 precision. It is rounded to f32 where it enters
//   or leaves the interpreter (inputs, weights, results), by the ops of the moe
//   dialect that docs/Numerics.md specifies in f32, and by arithmetic on
//   elements ("Router arithmetic" there), whose results are f32.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_REFERENCE_TENSOR_H
#define MOE_REFERENCE_TENSOR_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace mlir::moe::reference {

/// A number: `f` for float types, `i` for integer types and index. Integers
/// are sign-extended from their width; an i1 is 0 or -1.
union Scalar {
  double f;
  int64_t i;
};

/// `value` rounded to nearest even in a float type.
double roundToType(double value, Type type);

/// `value` with its bits above the width of `type` replaced by its sign.
int64_t wrapToType(int64_t value, Type type);

/// How elements lie in memory.
enum class Storage : uint8_t { I64, F64, F32, BF16, F16 };

/// An immutable dense tensor in row-major order. Copies share their elements;
/// thread-safe.
class Tensor {
public:
  Tensor() = default;
  /// Elements as the caller computed them; nothing is rounded.
  static Tensor ofFloats(Type elementType, ArrayRef<int64_t> shape,
                         std::vector<double> values);
  static Tensor ofInts(Type elementType, ArrayRef<int64_t> shape,
                       std::vector<int64_t> values);
  /// Of either kind, by the element type.
  static Tensor ofScalars(Type elementType, ArrayRef<int64_t> shape,
                          ArrayRef<Scalar> values);
  /// Elements that `owner` keeps alive. They may lie at any address.
  static Tensor borrowed(Type elementType, ArrayRef<int64_t> shape,
                         Storage storage, const void *data,
                         std::shared_ptr<const void> owner);
  /// `slices`, at least one, of one shape and type, under a new leading
  /// dimension.
  static Tensor stacked(std::vector<Tensor> slices);
  /// A tensor of which no element may be read.
  static Tensor undefined(Type elementType, ArrayRef<int64_t> shape);

  Type getElementType() const { return elementType; }
  ArrayRef<int64_t> getShape() const { return shape; }
  int64_t getRank() const { return shape.size(); }
  int64_t getDim(int64_t i) const { return shape[i]; }
  int64_t getNumElements() const;
  bool isFloat() const { return isa<FloatType>(elementType); }

  /// The bytes of the elements. The tensor is not a stack.
  const char *getData() const { return data; }
  /// Elements by row-major position. The tensor is not a stack.
  double getFloat(int64_t position) const;
  int64_t getInt(int64_t position) const;
  Scalar getScalar(int64_t position) const;
  /// `count` floats from `start` on, each `stride` after the last.
  void getFloats(int64_t start, int64_t stride, int64_t count,
                 double *out) const;
  std::vector<double> getFloats() const;
  std::vector<int64_t> getInts() const;

  /// False for elements that were never written.
  bool isDefined(int64_t position) const {
    return !defined || (*defined)[position];
  }
  bool isFullyDefined() const;
  /// This tensor with `mask` saying which elements may be read.
  Tensor withDefined(std::vector<bool> mask) const;

  /// The part at `index` of the leading dimension, without copying.
  Tensor slice(int64_t index) const;
  /// The same tensor, no stack.
  Tensor contiguous() const;
  /// The same elements in another shape of as many elements.
  Tensor reshaped(ArrayRef<int64_t> newShape) const;
  /// Every float rounded to the element type.
  Tensor rounded() const;

  /// "2x3xbf16".
  std::string getTypeString() const;

private:
  Type elementType;
  SmallVector<int64_t, 4> shape;
  Storage storage = Storage::F64;
  const char *data = nullptr;
  std::shared_ptr<const void> owner;
  /// Null when every element is defined.
  std::shared_ptr<const std::vector<bool>> defined;
  /// The slices of a stack, else null.
  std::shared_ptr<const std::vector<Tensor>> slices;
};

/// A routing as the index lists of docs/Dialects (moe, "Routed ops").
struct Routing {
  int64_t experts = 0;
  int64_t perToken = 0;
  std::vector<int64_t> expertOffsets, rowToken, tokenOffsets, tokenRows;
  std::vector<float> rowWeight;
  /// Of the result of `moe.route`: what each token chose before capacity, in
  /// order of selection, N x perToken, -1 for no pair; and what `prefer` cost
  /// each token. Empty for other routings.
  std::vector<int64_t> chosen;
  std::vector<float> regret;

  int64_t getNumTokens() const { return tokenOffsets.size() - 1; }
  int64_t getNumRows() const { return rowToken.size(); }

  /// The expert of each row.
  std::vector<int64_t> getRowExperts() const;
  /// The part that visits experts [begin, end).
  Routing restricted(int64_t begin, int64_t end) const;

  /// From `tokens` x `perToken` distinct expert ids in [0, experts), in any
  /// order within a token, and their weights; -1 is no pair.
  static Routing build(int64_t experts, int64_t perToken, int64_t tokens,
                       ArrayRef<int64_t> ids, ArrayRef<float> weights);
};

using RuntimeValue = std::variant<Scalar, Tensor, Routing>;

} // namespace mlir::moe::reference

#endif // MOE_REFERENCE_TENSOR_H
