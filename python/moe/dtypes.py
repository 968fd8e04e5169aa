#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Element types: numpy has no bfloat16, so its bits travel as uint16."""

from __future__ import annotations

import numpy as np

#: numpy dtype for each number of ``moert_dtype``; 1 is bfloat16.
NUMPY_TYPES = {
    0: np.dtype(np.float32),
    1: np.dtype(np.uint16),
    2: np.dtype(np.float16),
    3: np.dtype(np.int32),
    4: np.dtype(np.int64),
    5: np.dtype(np.uint8),
}

#: Name of each number of ``moert_dtype``.
NAMES = {0: "f32", 1: "bf16", 2: "f16", 3: "i32", 4: "i64", 5: "u8"}

BF16 = 1


def is_ml_bfloat16(dtype: np.dtype) -> bool:
    """True for ``ml_dtypes.bfloat16``, without importing ml_dtypes."""
    return dtype.name == "bfloat16" and dtype.itemsize == 2


def number_of(dtype: np.dtype) -> int | None:
    """The ``moert_dtype`` of a numpy dtype; None when there is none.

    uint16 and ``ml_dtypes.bfloat16`` both stand for bfloat16. Arrays in
    foreign byte order have none.
    """
    if is_ml_bfloat16(dtype):
        return BF16
    for number, known in NUMPY_TYPES.items():
        if dtype == known:
            return number
    return None


def to_bf16(values: np.ndarray) -> np.ndarray:
    """The bits of float values rounded to bfloat16 (nearest even), as uint16.

    A NaN stays a NaN. The shape is kept; the result is C-contiguous.
    """
    values = np.ascontiguousarray(values, np.float32)
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
    quiet = (bits >> 16) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits (uint16 or ``ml_dtypes.bfloat16``) as exact float32."""
    bits = np.ascontiguousarray(bits).view(np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32)
