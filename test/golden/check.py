#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Checks golden directories against the numpy reference.

Needs numpy only. What is compared: tensor names, shapes and dtypes against
`families.tensors`; ids exactly; weights; outputs in relative Frobenius norm;
and the margins that the golden file claims.
"""

import json
import os

import numpy as np

import catalog
import catalog_check
import families
import reference
import tensorfile

# Relative Frobenius norm of the output; largest relative error of a weight
# (rounding to bf16 may fall on the other side: one unit is 2^-8 .. 2^-7).
OUTPUT_LIMIT = {"F32": 1e-5, "BF16": 1e-2}
WEIGHT_LIMIT = {"F32": 1e-5, "BF16": 2.0**-7}
PARTS = ("input", "output", "ids", "weights", "logits")


class Mismatch(Exception):
    """A golden directory that does not agree with the reference."""


def read_directory(path):
    """(block, model tensors, golden tensors, metadata) of a directory."""
    with open(os.path.join(path, "config.json")) as file:
        block = families.Block.read(json.load(file))
    golden, metadata = tensorfile.read(os.path.join(path, "golden.safetensors"))
    return block, tensorfile.read_model(path), golden, metadata


def check_names(block, tensors):
    """Every expected tensor is there, as expected, and nothing else is."""
    fused = any(name.endswith("experts.gate_up_proj") for name in tensors)
    dense = any(
        f"model.layers.{layer}.mlp.gate_proj.weight" in tensors
        for layer in block.dense_layers
    )
    expected = {
        s.name: (s.dtype, s.shape)
        for s in families.tensors(block, fused, dense)
    }
    found = {n: (t.dtype, t.data.shape) for n, t in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise Mismatch(
                f"{name}: found {found.get(name)}, "
                f"expected {expected.get(name)}"
            )


def ulp_bf16(magnitude):
    """The distance of neighbouring bf16 numbers of this magnitude."""
    floor = np.maximum(magnitude, 2.0**-126)
    return np.exp2(np.floor(np.log2(floor)) - 7)


def margins(block, routing):
    """The smallest margins over all tokens, as the metadata states them."""
    found = {"key_gap": float(routing.key_gap.min())}
    if block.kept_groups < block.groups:
        found["group_gap"] = float(routing.group_gap.min())
    if block.dtype == "BF16" and block.round_logits:
        units = routing.logit_gap / ulp_bf16(routing.logit_size)
        found["logit_gap_ulps"] = float(units.min())
    return found


def rounding(block, weights, x, output):
    """What the output's roundings to bf16 cost each row, as a relative norm.

    Measured against the block with nothing behind the routing rounded.
    """
    exact, _ = reference.forward(block, weights, x, inner="F32")
    return np.linalg.norm(output - exact, axis=-1) / np.linalg.norm(
        exact, axis=-1
    )


def check_margins(claimed, found, where):
    """The margins of one tensor against those the metadata claims."""
    if set(claimed) - {"rounding"} != set(found):
        raise Mismatch(f"{where}: margins are {sorted(found)}")
    for name, value in found.items():
        if value < claimed[name]:
            raise Mismatch(
                f"{where}: {name} is {value:g}, the file claims "
                f"{claimed[name]:g}"
            )


def check_shapes(block, n, parts, where):
    """The dtypes and shapes of one token count's tensors."""
    pair = (n, block.top_k)
    expected = [
        (block.dtype, (n, block.hidden)),
        (block.dtype, (n, block.hidden)),
        ("I32", pair),
        ("F32", pair),
        ("F32", (n, block.experts)),
    ]
    for part, tensor, want in zip(PARTS, parts, expected):
        found = (tensor.dtype, tensor.data.shape)
        if found != want:
            raise Mismatch(f"{where}.{part}: found {found}, expected {want}")


def check_directory(path):
    """Checks one directory; returns its worst figures.

    Raises Mismatch with the first disagreement.
    """
    block, tensors, golden, metadata = read_directory(path)
    check_names(block, tensors)
    counts = json.loads(metadata["token_counts"])
    claimed = json.loads(metadata["margins"])
    worst = {"output": 0.0, "weights": 0.0}
    expected = {
        f"layers.{layer}.n{n}.{part}"
        for layer in block.moe_layers
        for n in counts
        for part in PARTS
    }
    if expected != set(golden):
        difference = sorted(expected ^ set(golden))
        raise Mismatch(f"golden.safetensors: {difference[0]}: not expected")
    for layer in block.moe_layers:
        weights = reference.Weights(block, tensors, layer)
        for n in counts:
            where = f"layers.{layer}.n{n}"
            parts = [golden[f"{where}.{part}"] for part in PARTS]
            check_shapes(block, n, parts, where)
            x, y, ids, routed, logits = parts
            x = tensorfile.to_f32(x)
            target = tensorfile.to_f32(y)
            # The margins are those of the reference's own logits.
            own = reference.route(block, logits.data, weights.bias())
            check_margins(claimed, margins(block, own), where)
            if block.dtype == "BF16":
                cost = rounding(block, weights, x, target).max()
                if cost > claimed["rounding"]:
                    raise Mismatch(f"{where}: rounding cost a row {cost:g}")
            output, routing = reference.forward(block, weights, x)
            if not np.array_equal(routing.ids, ids.data):
                row = int(np.nonzero(routing.ids != ids.data)[0][0])
                raise Mismatch(
                    f"{where}.ids: token {row} has {ids.data[row]}, "
                    f"expected {routing.ids[row]}"
                )
            error = np.max(np.abs(routing.weights / routed.data - 1))
            if not error <= WEIGHT_LIMIT[block.dtype]:
                raise Mismatch(f"{where}.weights: relative error {error:g}")
            worst["weights"] = max(worst["weights"], float(error))
            error = np.linalg.norm(output - target) / np.linalg.norm(target)
            if not error <= OUTPUT_LIMIT[block.dtype]:
                raise Mismatch(f"{where}.output: relative error {error:g}")
            worst["output"] = max(worst["output"], float(error))
    worst["margins"] = claimed
    return worst


FAILURES = (
    Mismatch,
    catalog_check.Mismatch,
    tensorfile.FormatError,
    KeyError,
    OSError,
)


def directories(root, family=None):
    """The golden directories below root, optionally of one family only."""
    return sorted(
        name
        for name in os.listdir(root)
        if os.path.exists(os.path.join(root, name, "golden.safetensors"))
        and (family is None or name.split("-")[0] == family)
    )


def check_any(path, name):
    """Checks a directory of families.py or of catalog.py."""
    found = catalog.find(name)
    if found is None:
        return check_directory(path)
    return catalog_check.check_directory(path, *found)


def check_all(root, family=None, expected=None, limit=None):
    """Checks every directory and prints a line for each; True when all agree.

    `expected`, when given, lists the directories that must be there; `limit`
    is the most bytes they may have together.
    """
    names = directories(root, family)
    good = bool(names)
    if not names:
        print(f"{root}: no golden directory")
    for name in expected or []:
        if name not in names:
            print(f"{name}: missing")
            good = False
    total = 0
    for name in names:
        path = os.path.join(root, name)
        size = sum(e.stat().st_size for e in os.scandir(path))
        total += size
        try:
            worst = check_any(path, name)
        except FAILURES as error:
            print(f"{name}: FAILED: {error}")
            good = False
            continue
        gaps = " ".join(f"{k}={v:.3g}" for k, v in worst["margins"].items())
        print(
            f"{name}: ids equal, output {worst['output']:.2e}, weights "
            f"{worst['weights']:.2e}, {gaps}, {size} bytes"
        )
    print(f"{len(names)} directories, {total} bytes")
    if limit is not None and total > limit:
        print(f"more than {limit} bytes")
        good = False
    return good
