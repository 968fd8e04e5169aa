//===- Packing.cpp - Executes packing recipes -----------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Decode.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

using namespace moert;

namespace {

/// One matrix of a source: element (n, k) is at base + n * sn + k * sk.
struct Matrix {
  const uint8_t *base;
  int64_t n, k, sn, sk;
};

/// Where one tile column strip of a panel goes, in elements.
struct Strip {
  uint8_t *target;
  /// Distance between two k tiles of the strip: both tiles of the panel.
  int64_t tileStride;
  int64_t kTile, kInner;
};

template <typename T> T load(const uint8_t *base, int64_t index) {
  T value;
  std::memcpy(&value, base + index * int64_t(sizeof(T)), sizeof(T));
  return value;
}

/// Any strides, any sizes: elements [k0, k) of up to 16 columns. Padding up to
/// `kEnd` becomes zero.
template <typename T>
void packElements(const Matrix &m, int64_t column, int64_t k0, int64_t kEnd,
                  const Strip &strip) {
  const int64_t columns =
      std::min<int64_t>(16, std::max<int64_t>(0, m.n - column));
  T *out = reinterpret_cast<T *>(strip.target);
  for (int64_t k = k0; k < kEnd; ++k) {
    int64_t inTile = k % strip.kTile;
    T *row = out + k / strip.kTile * strip.tileStride +
             inTile / strip.kInner * 16 * strip.kInner + inTile % strip.kInner;
    const int64_t filled = k < m.k ? columns : 0;
    for (int64_t c = 0; c < filled; ++c)
      row[c * strip.kInner] = load<T>(m.base, (column + c) * m.sn + k * m.sk);
    for (int64_t c = filled; c < 16; ++c)
      row[c * strip.kInner] = 0;
  }
}

#if defined(__SSE2__)
/// Rows of 16 columns whose elements lie next to each other along k: 4-byte
/// units (one f32 or a pair of bf16) are transposed. Returns the k up to which
/// the strip is done.
int64_t packUnits(const Matrix &m, int64_t column, int64_t elementBytes,
                  const Strip &strip) {
  const int64_t perUnit = 4 / elementBytes;
  if (m.sk != 1 || column + 16 > m.n || strip.kInner != perUnit)
    return 0;
  const int64_t unitsPerTile = strip.kTile / perUnit;
  const int64_t units = m.k / perUnit / 4 * 4;
  const int64_t tileStride = strip.tileStride / perUnit;
  uint32_t *out = reinterpret_cast<uint32_t *>(strip.target);
  auto rowOf = [&](int64_t unit) {
    return out + unit / unitsPerTile * tileStride + unit % unitsPerTile * 16;
  };
  const uint8_t *source[16];
  for (int64_t c = 0; c < 16; ++c)
    source[c] = m.base + (column + c) * m.sn * elementBytes;
  for (int64_t unit = 0; unit < units; unit += 4) {
    uint32_t *rows[4];
    for (int64_t r = 0; r < 4; ++r)
      rows[r] = rowOf(unit + r);
    for (int64_t c = 0; c < 16; c += 4) {
      __m128i a[4];
      for (int64_t i = 0; i < 4; ++i)
        a[i] = _mm_loadu_si128(
            reinterpret_cast<const __m128i *>(source[c + i] + unit * 4));
      __m128i lo01 = _mm_unpacklo_epi32(a[0], a[1]);
      __m128i hi01 = _mm_unpackhi_epi32(a[0], a[1]);
      __m128i lo23 = _mm_unpacklo_epi32(a[2], a[3]);
      __m128i hi23 = _mm_unpackhi_epi32(a[2], a[3]);
      auto store = [&](int64_t r, __m128i v) {
        _mm_storeu_si128(reinterpret_cast<__m128i *>(rows[r] + c), v);
      };
      store(0, _mm_unpacklo_epi64(lo01, lo23));
      store(1, _mm_unpackhi_epi64(lo01, lo23));
      store(2, _mm_unpacklo_epi64(hi01, hi23));
      store(3, _mm_unpackhi_epi64(hi01, hi23));
    }
  }
  return units * perUnit;
}
#else
int64_t packUnits(const Matrix &, int64_t, int64_t, const Strip &) { return 0; }
#endif

void packStrip(const Matrix &m, int64_t column, int64_t kEnd,
               int64_t elementBytes, const Strip &strip) {
  int64_t done = 0;
  if (elementBytes == 2 || elementBytes == 4)
    done = packUnits(m, column, elementBytes, strip);
  switch (elementBytes) {
  case 1:
    return packElements<uint8_t>(m, column, done, kEnd, strip);
  case 2:
    return packElements<uint16_t>(m, column, done, kEnd, strip);
  case 4:
    return packElements<uint32_t>(m, column, done, kEnd, strip);
  default:
    return packElements<uint64_t>(m, column, done, kEnd, strip);
  }
}

/// Layout Rows: 8 output channels from `row` on, each of `kEnd` elements.
template <typename T>
void packRows(const Matrix &m, int64_t row, int64_t kEnd, uint8_t *target) {
  const int64_t filled = std::clamp<int64_t>(m.n - row, 0, 8);
  std::memset(target, 0, 8 * kEnd * sizeof(T));
  if (m.sk == 1) {
    for (int64_t r = 0; r < filled && m.k > 0; ++r)
      std::memcpy(target + r * kEnd * sizeof(T),
                  m.base + (row + r) * m.sn * int64_t(sizeof(T)),
                  m.k * sizeof(T));
    return;
  }
  // Channels of a transposed source lie side by side.
  T *out = reinterpret_cast<T *>(target);
  for (int64_t k = 0; k < m.k; ++k)
    for (int64_t r = 0; r < filled; ++r)
      out[r * kEnd + k] = load<T>(m.base, (row + r) * m.sn + k * m.sk);
}

void run(const ParallelFor &parallel, int64_t count,
         const std::function<void(int64_t)> &body) {
  if (parallel && count > 1)
    return parallel(count, body);
  for (int64_t i = 0; i < count; ++i)
    body(i);
}

/// The range of elements that a view touches.
std::pair<int64_t, int64_t> extent(const StridedView &view) {
  int64_t last = view.start;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    if (view.shape[i] == 0)
      return {view.start, view.start};
    last += (view.shape[i] - 1) * view.strides[i];
  }
  return {view.start, last + 1};
}

/// Copies the elements of `view` in row-major order to `target`.
void copyView(const StridedView &view, const uint8_t *source, uint8_t *target,
              int64_t elementBytes, const ParallelFor &parallel) {
  int64_t rowLength = 1, rows = 1, rowStride = 1;
  const int64_t rank = view.shape.size();
  if (rank > 0) {
    rowLength = view.shape[rank - 1];
    rowStride = view.strides[rank - 1];
  }
  for (int64_t i = 0; i + 1 < rank; ++i)
    rows *= view.shape[i];
  if (rows == 0 || rowLength == 0)
    return;
  // Enough rows in a piece to make handing it out worthwhile.
  const int64_t chunk =
      std::max<int64_t>(1, (1 << 20) / (rowLength * elementBytes));
  run(parallel, (rows + chunk - 1) / chunk, [&](int64_t piece) {
    for (int64_t row = piece * chunk, end = std::min(rows, (piece + 1) * chunk);
         row < end; ++row) {
      int64_t address = view.start, rest = row;
      for (int64_t i = rank - 2; i >= 0; --i) {
        address += rest % view.shape[i] * view.strides[i];
        rest /= view.shape[i];
      }
      uint8_t *out = target + row * rowLength * elementBytes;
      const uint8_t *in = source + address * elementBytes;
      if (rowStride == 1) {
        std::memcpy(out, in, rowLength * elementBytes);
        continue;
      }
      for (int64_t i = 0; i < rowLength; ++i)
        std::memcpy(out + i * elementBytes, in + i * rowStride * elementBytes,
                    elementBytes);
    }
  });
}

/// The elements of one source that a view touches: in the mapped file, or
/// decoded into memory of their own.
class SourceElements {
public:
  static StatusOr<SourceElements> open(const fb::Weight &weight, uint32_t i,
                                       const Checkpoint &checkpoint,
                                       const StridedView &view,
                                       const ParallelFor &parallel) {
    SourceElements result(weight);
    MOE_ASSIGN_OR_RETURN(result.source, findSource(weight, i, checkpoint));
    std::tie(result.first, result.last) = extent(view);
    result.data = result.source.codes->data;
    if (!isEncoded(weight))
      return StatusOr<SourceElements>(std::move(result));
    const int64_t elementBytes = byteSize(checkpointType(weight.dtype()));
    const int64_t bytes = (result.last - result.first) * elementBytes;
    result.decoded.reset(new (std::nothrow) uint8_t[bytes + 1]);
    if (!result.decoded)
      return Status::error(601, concat("cannot allocate ", formatBytes(bytes),
                                       " to decode a tensor"));
    decode(weight, result.source, result.first, result.last,
           result.decoded.get(), parallel);
    result.data = nullptr;
    return StatusOr<SourceElements>(std::move(result));
  }

  /// The address of element `index` of the source, of `elementBytes` each.
  const uint8_t *at(int64_t index, int64_t elementBytes) const {
    if (decoded)
      return decoded.get() + (index - first) * elementBytes;
    return data + index * elementBytes;
  }

  void dropPages() const { dropSource(*weight, source, first, last); }

private:
  explicit SourceElements(const fb::Weight &weight) : weight(&weight) {}

  const fb::Weight *weight;
  SourceTensors source;
  const uint8_t *data = nullptr;
  std::unique_ptr<uint8_t[]> decoded;
  int64_t first = 0, last = 0;
};

/// How many of the leading slices of a view to read at a time: of a decoded
/// source not more than a few MiB, as long as they lie one behind the other.
int64_t slicesAtOnce(const fb::Weight &weight, const StridedView &view,
                     int64_t count) {
  constexpr int64_t most = 1 << 24;
  if (!isEncoded(weight) || view.shape.empty() || count < 2)
    return count;
  StridedView one = view;
  one.shape[0] = 1;
  auto [first, last] = extent(one);
  if (last - first > view.strides[0])
    return count;
  return std::clamp<int64_t>(most / std::max<int64_t>(view.strides[0], 1), 1,
                             count);
}

/// Pieces [begin, end): sources when they are stacked, else slices of the
/// leading dimension.
Status packRowMajor(const fb::Weight &weight, const Checkpoint &checkpoint,
                    int64_t begin, int64_t end, uint8_t *target,
                    const ParallelFor &parallel) {
  MOE_ASSIGN_OR_RETURN(StridedView view, sourceView(weight));
  const int64_t elementBytes = byteSize(checkpointType(weight.dtype()));
  auto packView = [&](const StridedView &part, int64_t source) -> Status {
    MOE_ASSIGN_OR_RETURN(
        SourceElements elements,
        SourceElements::open(weight, source, checkpoint, part, parallel));
    int64_t count = 1;
    for (int64_t dim : part.shape)
      count *= dim;
    StridedView placed = part;
    placed.start = 0;
    copyView(placed, elements.at(part.start, elementBytes), target,
             elementBytes, parallel);
    elements.dropPages();
    target += count * elementBytes;
    return {};
  };
  if (weight.stack() || view.shape.empty()) {
    for (int64_t i = begin; i < end; ++i)
      MOE_RETURN_IF_ERROR(packView(view, i));
    return {};
  }
  const int64_t step = slicesAtOnce(weight, view, end - begin);
  for (int64_t i = begin; i < end; i += step) {
    StridedView part = view;
    part.start += i * view.strides[0];
    part.shape[0] = std::min(step, end - i);
    MOE_RETURN_IF_ERROR(packView(part, 0));
  }
  return {};
}

} // namespace

uint64_t moert::packingPieces(const fb::Plan &plan,
                              const fb::Constant &constant) {
  const auto &shape = *plan.weights()->Get(constant.weights()->Get(0))->shape();
  if (constant.bytes() == 0)
    return 0;
  const bool divides = constant.layout() == fb::Layout::RowMajor
                           ? shape.size() >= 1
                           : shape.size() == 3;
  return divides ? shape.Get(0) : 1;
}

Status moert::packConstant(const fb::Plan &plan, const fb::Constant &constant,
                           const Checkpoint &checkpoint, uint8_t *target,
                           const ParallelFor &parallel) {
  return packPieces(plan, constant, checkpoint, 0,
                    packingPieces(plan, constant), target, parallel);
}

Status moert::packPieces(const fb::Plan &plan, const fb::Constant &constant,
                         const Checkpoint &checkpoint, uint64_t begin,
                         uint64_t end, uint8_t *target,
                         const ParallelFor &parallel) {
  const auto &indices = *constant.weights();
  if (constant.layout() == fb::Layout::RowMajor)
    return packRowMajor(*plan.weights()->Get(indices.Get(0)), checkpoint,
                        int64_t(begin), int64_t(end), target, parallel);

  const int64_t elementBytes = byteSize(checkpointType(constant.dtype()));
  const int64_t parts = indices.size();
  const int64_t kTile = constant.k_tile(), kInner = constant.k_inner();
  const auto &shape = *plan.weights()->Get(indices.Get(0))->shape();
  const int64_t rank = shape.size();
  const int64_t n = shape.Get(rank - 2), k = shape.Get(rank - 1);
  const bool rows = constant.layout() == fb::Layout::Rows;
  // A block is a panel, or 8 rows of every part.
  const int64_t columns = rows ? 8 : 32 / parts;
  const int64_t blocks = (n + columns - 1) / columns;
  const int64_t kEnd = (k + kTile - 1) / kTile * kTile;
  const int64_t blockBytes = kEnd * columns * parts * elementBytes;
  for (int64_t e = int64_t(begin); e < int64_t(end); ++e) {
    for (int64_t part = 0; part < parts; ++part) {
      const fb::Weight &weight = *plan.weights()->Get(indices.Get(part));
      MOE_ASSIGN_OR_RETURN(StridedView view, sourceView(weight));
      if (view.shape.size() == 3) { // All experts in one tensor.
        view.start += e * view.strides[0];
        view.shape.erase(view.shape.begin());
        view.strides.erase(view.strides.begin());
      }
      MOE_ASSIGN_OR_RETURN(SourceElements elements,
                           SourceElements::open(weight, weight.stack() ? e : 0,
                                                checkpoint, view, parallel));
      Matrix matrix{elements.at(view.start, elementBytes), n, k,
                    view.strides[0], view.strides[1]};
      run(parallel, blocks, [&](int64_t block) {
        uint8_t *base =
            target + ((e - int64_t(begin)) * blocks + block) * blockBytes;
        if (rows) {
          base += part * 8 * kEnd * elementBytes;
          if (elementBytes == 2)
            packRows<uint16_t>(matrix, block * 8, kEnd, base);
          else
            packRows<uint32_t>(matrix, block * 8, kEnd, base);
          return;
        }
        for (int64_t tile = part; tile < 2; tile += parts) {
          Strip strip{base + tile * 16 * kTile * elementBytes, 2 * 16 * kTile,
                      kTile, kInner};
          packStrip(matrix, block * columns + tile / parts * 16, kEnd,
                    elementBytes, strip);
        }
      });
      elements.dropPages();
    }
  }
  return {};
}
