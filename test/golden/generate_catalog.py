#!/usr/bin/env python3
#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Makes the golden directories of catalog.py.

  generate_catalog.py --loader LOADER [--out DIR] [NAME...]

--loader says what this environment has: v5 (requirements.txt), v4 and deepseek
(requirements-v4.txt), deepspeed, vmoe, grok, mesh (their own files), or numpy
alone for what is tier B. Directories of other loaders are left alone.
`generate.py --check` checks all of them.
"""

import argparse
import json
import os
import shutil
import sys
import zlib

import numpy as np

import catalog
import catalog_check as check
import catalog_oracles as oracles
import catalog_reference as reference
import tensorfile
from catalog_base import DTYPES

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 20264
COUNTS = (0, 1, 2, 17)
TRIES = 2000
LOADERS = ["v5", "v4", "deepseek", "deepspeed", "vmoe", "grok", "mesh", "numpy"]


def stream(seed, *words):
    """A random stream of its own for a thing with this name."""
    name = "/".join(str(word) for word in words)
    return np.random.Generator(
        np.random.PCG64([seed, zlib.crc32(name.encode())])
    )


def draw(spec, dtype, random):
    """The random values of a tensor."""
    if spec.kind == "codes":
        data = random.integers(0, 256, spec.shape).astype(np.uint8)
        return tensorfile.Tensor("U8", data)
    if spec.kind == "exponents":
        # Around the deviation of weights over some tens of inputs.
        data = random.integers(121, 126, spec.shape).astype(np.uint8)
        return tensorfile.Tensor("U8", data)
    deviation = spec.gain
    deviation *= 0.5 if spec.kind == "bias" else 1 / np.sqrt(spec.fan)
    values = random.standard_normal(spec.shape) * deviation
    return tensorfile.from_f32(values, spec.dtype or dtype)


def write_model(family, dtype, path, seed):
    """config.json and the weights; returns both."""
    config = family.config()
    word = DTYPES[dtype]
    config["torch_dtype"] = word
    if "text_config" in config:
        config["text_config"]["torch_dtype"] = word
    with open(os.path.join(path, "config.json"), "w") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")
    name = family.directory(dtype)
    tensors = {
        spec.name: draw(spec, dtype, stream(seed, name, spec.name))
        for spec in family.specs(config)
    }
    file = os.path.join(path, "model.safetensors")
    tensorfile.write(file, tensors, {"format": "pt"})
    return config, tensors


def far_from_borders(block, x):
    """Rows none of whose logits lies where rounding to bf16 turns."""
    exact = reference.logits(block, x)
    unit = reference.ulp_bf16(exact)
    rest = unit / 2 - np.abs(reference.rounded(exact, "BF16") - exact)
    return (np.abs(rest) >= 5e-6).all(axis=-1)


def run_rows(family, block, oracle, x):
    """Golden parts of x, the margins, and which rows are sound."""
    output, logits, matrix = oracle(x)
    rows = tensorfile.to_f32(x)
    exact, routing = reference.forward(block, rows, logits)
    found = check.margins(block, routing)
    found["rounding"] = check.rounding(
        exact, reference.rounded(output, block.dtype)
    )
    limits = check.demanded(block)
    good = np.ones(len(rows), bool)
    for name, limit in limits.items():
        if name == "rounding":
            good &= found[name] <= limit
        else:
            good &= found[name] >= limit
    if block.dtype == "BF16":
        # A family that divides in bf16 rounds more than once; a test has 2^-7.
        ids, weights = pairs(matrix, block.top_k)
        if np.array_equal(ids, routing.ids):
            error = np.abs(weights - routing.weights)
            good &= (error <= 2.0**-8 * weights).all(axis=-1)
    if block.weight == "sparsemixer" and block.dtype == "BF16":
        good &= far_from_borders(block, rows)
    parts = {"output": output, "logits": logits, "matrix": matrix}
    return parts, {name: found[name] for name in limits}, good, routing


def pairs(matrix, top_k):
    """ids and weights of the pairs that are not zero, the rest -1 and 0."""
    ids = np.full((len(matrix), top_k), -1, np.int32)
    weights = np.zeros((len(matrix), top_k), np.float32)
    for token, row in enumerate(matrix):
        mine = np.nonzero(row)[0]
        ids[token, : len(mine)] = mine
        weights[token, : len(mine)] = row[mine]
    return ids, weights


def acceptable(family, block, routing, n):
    """Whether the largest case shows what the directory is there for."""
    if n != COUNTS[-1]:
        return True
    if family.wants_drops and not (routing.ids < 0).any():
        return False
    near = routing.extras.get("near")
    return near is None or block.dtype == "BF16" or near.sum() >= 2


def run_count(family, block, oracle, random, n):
    """Golden tensors of n rows, and the smallest margins they have."""
    width = block.router.shape[1]
    common = stream(0, family.name, "direction").standard_normal(width)

    def fresh(count):
        rows = random.standard_normal((count, width)) + family.skew * common
        return tensorfile.to_f32(tensorfile.from_f32(rows, block.dtype))

    kept = fresh(n)
    for _ in range(TRIES):
        x = tensorfile.from_f32(kept, block.dtype)
        parts, found, good, routing = run_rows(family, block, oracle, x)
        if not good.all():
            bad = np.nonzero(~good)[0]
            kept[bad] = fresh(len(bad))
        elif not acceptable(family, block, routing, n):
            kept = fresh(n)
        else:
            break
    else:
        raise SystemExit(
            f"no {n} rows with these margins; "
            + str({k: (v.min(), v.max()) for k, v in found.items()})
        )
    ids, weights = pairs(parts["matrix"], block.top_k)
    if not np.array_equal(routing.ids, ids):
        raise SystemExit(f"not the reference's:\n{ids}\n{routing.ids}")
    tensors = {
        "input": x,
        "output": tensorfile.from_f32(parts["output"], block.dtype),
        "ids": tensorfile.Tensor("I32", ids),
        "weights": tensorfile.Tensor("F32", weights),
        "logits": tensorfile.Tensor("F32", parts["logits"].astype(np.float32)),
    }
    smallest = {
        name: float(values.max() if name == "rounding" else values.min())
        for name, values in found.items()
    }
    return tensors, smallest


def no_rows(block):
    """The golden tensors of a call without tokens."""
    width = block.router.shape[1]

    def empty(columns):
        return np.zeros((0, columns), np.float32)

    return {
        "input": tensorfile.from_f32(empty(width), block.dtype),
        "output": tensorfile.from_f32(empty(width), block.dtype),
        "ids": tensorfile.Tensor("I32", np.zeros((0, block.top_k), np.int32)),
        "weights": tensorfile.Tensor("F32", empty(block.top_k)),
        "logits": tensorfile.Tensor("F32", empty(len(block.router))),
    }


def generate(family, dtype, path, seed):
    """Makes one directory at `path`, which must exist and be empty."""
    config, tensors = write_model(family, dtype, path, seed)
    sites = family.sites(config)
    runs, versions = oracles.load(family, path, config, tensors, sites)
    golden, smallest = {}, {}
    for site, oracle in zip(sites, runs):
        block = family.block(config, dtype, check.getter(tensors), site)
        for n in COUNTS:
            parts, found = no_rows(block), {}
            if n:
                random = stream(
                    seed, family.directory(dtype), site.function, n
                )
                parts, found = run_count(family, block, oracle, random, n)
            for part, tensor in parts.items():
                golden[f"{site.function}.n{n}.{part}"] = tensor
            for name, value in found.items():
                pick = max if name == "rounding" else min
                smallest[name] = pick(value, smallest.get(name, value))
    metadata = {
        "family": family.model_type,
        "tier": family.tier,
        "source": family.source,
        "reason": family.reason,
        "token_counts": json.dumps(list(COUNTS)),
        "margins": json.dumps(check.demanded(block)),
        "smallest_margins": json.dumps(
            {k: v for k, v in smallest.items() if np.isfinite(v)}
        ),
        "seed": str(seed),
        "versions": json.dumps({**versions, "numpy": np.__version__}),
    }
    file = os.path.join(path, "golden.safetensors")
    tensorfile.write(file, golden, metadata)


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", metavar="DIR", default=HERE)
    parser.add_argument(
        "--loader", required=True, choices=LOADERS
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("names", nargs="*", help="directories; default: all")
    args = parser.parse_args(arguments)
    for family in catalog.FAMILIES:
        loader = "numpy" if family.tier == "B" else family.loader
        if loader != args.loader:
            continue
        for dtype in family.dtypes:
            name = family.directory(dtype)
            if args.names and name not in args.names:
                continue
            path = os.path.join(args.out, name)
            temporary = f"{path}.tmp-{os.getpid()}"
            os.makedirs(temporary)
            try:
                generate(family, dtype.upper(), temporary, args.seed)
                if os.path.isdir(path):
                    shutil.rmtree(path)
                os.rename(temporary, path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
