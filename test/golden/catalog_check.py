#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Margins of golden rows, and the check of a directory of catalog.py."""

import json
import os

import numpy as np

import catalog_reference as reference
import tensorfile

OUTPUT_LIMIT = {"F32": 1e-5, "BF16": 1e-2}
WEIGHT_LIMIT = {"F32": 1e-5, "BF16": 2.0**-7}
PARTS = ("input", "output", "ids", "weights", "logits")

# Least distance of two selection keys that decide, and of two tokens in the
# order in which slots are given.
KEY_MARGIN = 1e-4
# The same in bf16 units, where logits or scores are rounded to bf16.
ULPS = 3.0
# Of a ratio from the threshold of sparsemixer, relative.
MASK_MARGIN = 0.02
# Most that roundings to bf16 may cost a row, as a relative norm.
ROUNDING_LIMIT = 6e-3


class Mismatch(Exception):
    """A golden directory that does not agree with the reference."""


def demanded(block):
    """Name and least value of the margins that this block's rows have."""
    found = {"key_gap": KEY_MARGIN}
    narrow = block.dtype == "BF16"
    if narrow and block.round_logits:
        found["logit_gap_ulps"] = ULPS
    if narrow and block.round_scores:
        found["score_gap_ulps"] = ULPS
    if block.weight == "sparsemixer":
        found["mask_border"] = MASK_MARGIN
    if block.capacity and block.by_probability:
        found["order_gap"] = KEY_MARGIN
        if narrow and block.round_scores:
            # Three units of scores between 1/2 and 1.
            found["order_gap"] = 3 * 2.0**-8
    if narrow:
        found["rounding"] = ROUNDING_LIMIT
    return found


def margins(block, routing):
    """The margins of every token, by the names of `demanded`."""
    return {
        "key_gap": routing.key_gap,
        "logit_gap_ulps": routing.logit_ulps,
        "score_gap_ulps": routing.score_ulps,
        "mask_border": routing.border,
        "order_gap": routing.order_gap,
    }


def rounding(exact, output):
    """What roundings cost each row; 0 for rows that are zero in both."""
    size = np.linalg.norm(exact, axis=-1)
    error = np.linalg.norm(output - exact, axis=-1)
    return np.where(error == 0, 0, error / np.where(size == 0, 1e-30, size))


def getter(tensors):
    """Reads a tensor as f32, or as it is when it is U8."""

    def get(name):
        tensor = tensors[name]
        if tensor.dtype == "U8":
            return tensor.data
        return tensorfile.to_f32(tensor)

    return get


def read_config(path):
    with open(os.path.join(path, "config.json")) as file:
        return json.load(file)


def check_names(family, dtype, config, tensors):
    expected = {
        s.name: (s.dtype or dtype, s.shape) for s in family.specs(config)
    }
    found = {n: (t.dtype, t.data.shape) for n, t in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise Mismatch(
                f"{name}: found {found.get(name)}, "
                f"expected {expected.get(name)}"
            )


def check_case(block, n, parts, claimed, where):
    """One block on one number of tokens; returns errors of output, weights."""
    pair = (n, block.top_k)
    width = block.router.shape[1]
    expected = (
        (block.dtype, (n, width)),
        (block.dtype, (n, width)),
        ("I32", pair),
        ("F32", pair),
        ("F32", (n, len(block.router))),
    )
    for part, want in zip(PARTS, expected):
        found = (parts[part].dtype, parts[part].data.shape)
        if found != want:
            raise Mismatch(f"{where}.{part}: found {found}, expected {want}")
    if not n:
        return 0.0, 0.0
    x = tensorfile.to_f32(parts["input"])
    target = tensorfile.to_f32(parts["output"]).astype(np.float64)
    # The margins are those of the logits that made the file.
    exact, own = reference.forward(block, x, parts["logits"].data)
    for name, values in margins(block, own).items():
        if name in claimed and values.min() < claimed[name]:
            raise Mismatch(
                f"{where}: {name} is {values.min():g}, the file claims "
                f"{claimed[name]:g}"
            )
    cost = rounding(exact, target).max()
    if cost > claimed.get("rounding", np.inf):
        raise Mismatch(f"{where}: rounding cost a row {cost:g}")
    output, routing = reference.forward(block, x)
    output = reference.rounded(output, block.dtype)
    ids = parts["ids"].data
    if not np.array_equal(routing.ids, ids):
        row = int(np.nonzero((routing.ids != ids).any(axis=1))[0][0])
        raise Mismatch(
            f"{where}.ids: token {row} has {ids[row]}, "
            f"expected {routing.ids[row]}"
        )
    routed = parts["weights"].data
    if not np.array_equal(routed == 0, ids < 0):
        raise Mismatch(f"{where}.weights: zero elsewhere than where dropped")
    kept = ids >= 0
    weight_error = (
        np.max(np.abs(routing.weights[kept] / routed[kept] - 1))
        if kept.any()
        else 0.0
    )
    if not weight_error <= WEIGHT_LIMIT[block.dtype]:
        raise Mismatch(f"{where}.weights: relative error {weight_error:g}")
    error = np.linalg.norm(output - target) / np.linalg.norm(target)
    if not error <= OUTPUT_LIMIT[block.dtype]:
        raise Mismatch(f"{where}.output: relative error {error:g}")
    return float(error), float(weight_error)


def check_directory(path, family, dtype):
    """Checks one directory; returns its worst figures, or raises Mismatch."""
    config = read_config(path)
    tensors = tensorfile.read_model(path)
    golden, metadata = tensorfile.read(os.path.join(path, "golden.safetensors"))
    check_names(family, dtype, config, tensors)
    counts = json.loads(metadata["token_counts"])
    claimed = json.loads(metadata["margins"])
    sites = family.sites(config)
    expected = {
        f"{site.function}.n{n}.{part}"
        for site in sites
        for n in counts
        for part in PARTS
    }
    if expected != set(golden):
        raise Mismatch(
            f"golden.safetensors: {sorted(expected ^ set(golden))[0]}: "
            "not expected"
        )
    if metadata["tier"] != family.tier:
        raise Mismatch(f"golden.safetensors: tier {metadata['tier']}")
    worst = {"output": 0.0, "weights": 0.0, "margins": claimed}
    dropped = 0
    for site in sites:
        block = family.block(config, dtype, getter(tensors), site)
        if set(claimed) != set(demanded(block)):
            raise Mismatch(f"golden.safetensors: margins {sorted(claimed)}")
        for n in counts:
            where = f"{site.function}.n{n}"
            parts = {part: golden[f"{where}.{part}"] for part in PARTS}
            error, weights = check_case(block, n, parts, claimed, where)
            worst["output"] = max(worst["output"], error)
            worst["weights"] = max(worst["weights"], weights)
            dropped += int((parts["ids"].data < 0).sum())
    if family.wants_drops != (dropped > 0):
        raise Mismatch(f"golden.safetensors: {dropped} dropped pairs")
    return worst
