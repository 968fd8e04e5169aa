#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Safetensors files in plain numpy, bf16 included.

A `Tensor` is a dtype name and an array. numpy has no bf16, so a BF16 tensor is
held as the uint16 array of its bits; `to_f32` and `from_f32` convert.
"""

import json
import os
import struct
from collections import namedtuple

import numpy as np

Tensor = namedtuple("Tensor", "dtype data")

STORAGE = {
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
}


class FormatError(ValueError):
    """A file that is not what safetensors prescribes."""


def round_bf16(values):
    """The bits of `values` (f32) rounded to bf16, nearest even; NaNs quiet."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    rounded = np.where(np.isnan(values), (bits >> 16) | 0x40, rounded)
    return rounded.astype(np.uint16)


def widen_bf16(bits):
    """bf16 bits as f32, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_f32(tensor):
    """The values of an F32, F16 or BF16 tensor as an f32 array."""
    if tensor.dtype == "BF16":
        return widen_bf16(tensor.data)
    return np.asarray(tensor.data, np.float32)


def from_f32(values, dtype):
    """A tensor of `dtype` (F32, F16 or BF16) from f32 values."""
    values = np.ascontiguousarray(values, np.float32)
    if dtype == "F16":
        return Tensor("F16", values.astype(np.float16))
    if dtype == "BF16":
        return Tensor("BF16", round_bf16(values))
    return Tensor("F32", values)


def header(entries, metadata=None):
    """The leading bytes of a file and its data size.

    `entries` is a list of (name, dtype, shape); the data follows in this
    order. The header is padded so that the data starts at a multiple of 8.
    """
    table = {}
    if metadata:
        table["__metadata__"] = metadata
    offset = 0
    for name, dtype, shape in entries:
        size = STORAGE[dtype].itemsize
        for dim in shape:
            size *= dim
        table[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, offset


def write(path, tensors, metadata=None):
    """Writes `tensors` (a dict of name to Tensor) to `path`, by rename."""
    entries = [(n, t.dtype, t.data.shape) for n, t in tensors.items()]
    head, _ = header(entries, metadata)
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(head)
            for tensor in tensors.values():
                storage = STORAGE[tensor.dtype]
                file.write(np.ascontiguousarray(tensor.data, storage).data)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def read(path):
    """The tensors of a file by name, and its metadata."""
    with open(path, "rb") as file:
        content = file.read()
    if len(content) < 8:
        raise FormatError(f"{path}: {len(content)} bytes, less than 8")
    (length,) = struct.unpack_from("<Q", content)
    if length > len(content) - 8:
        raise FormatError(f"{path}: header length {length} is past the end")
    table = json.loads(content[8 : 8 + length])
    metadata = table.pop("__metadata__", {})
    base = 8 + length
    end = 0
    tensors = {}
    for name, entry in sorted(
        table.items(), key=lambda item: item[1]["data_offsets"]
    ):
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        begin, stop = entry["data_offsets"]
        if dtype not in STORAGE:
            raise FormatError(f"{path}: {name}: dtype {dtype} is not read here")
        storage = STORAGE[dtype]
        count = int(np.prod(shape, dtype=np.int64))
        size = storage.itemsize * count
        if begin != end or stop - begin != size:
            raise FormatError(
                f"{path}: {name}: offsets [{begin}, {stop}] do not fit a "
                f"{dtype} of shape {list(shape)} that starts at {end}"
            )
        if base + stop > len(content):
            raise FormatError(f"{path}: {name}: data is past the end")
        data = np.frombuffer(content, storage, count, base + begin)
        tensors[name] = Tensor(dtype, data.reshape(shape))
        end = stop
    if base + end != len(content):
        raise FormatError(f"{path}: bytes after the last tensor")
    return tensors, metadata


def read_model(directory):
    """All tensors of a model directory, single file or sharded with index."""
    index = os.path.join(directory, "model.safetensors.index.json")
    if not os.path.exists(index):
        return read(os.path.join(directory, "model.safetensors"))[0]
    with open(index) as file:
        listing = json.load(file)
    shards = {
        shard: read(os.path.join(directory, shard))[0]
        for shard in sorted(set(listing["weight_map"].values()))
    }
    tensors = {}
    for name, shard in listing["weight_map"].items():
        if name not in shards[shard]:
            raise FormatError(f"{index}: {name} is not in {shard}")
        tensors[name] = shards[shard][name]
    total = sum(t.data.nbytes for t in tensors.values())
    if total != listing["metadata"]["total_size"]:
        raise FormatError(f"{index}: total_size is not {total}")
    return tensors
