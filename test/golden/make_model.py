#!/usr/bin/env python3
#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Writes a model directory of any size with random weights.

  make_model.py --family olmoe --hidden 2048 --intermediate 1024 \\
      --experts 64 --top-k 8 --layers 2 --dtype bf16 --shards 2 --out DIR

config.json and sharded safetensors with the tensors of the MoE blocks only.
The same arguments give the same bytes; a tensor's values depend on the seed,
its name and its size, not on the sharding. Needs numpy only.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import families
import tensorfile

# Elements drawn at a time.
CHUNK = 1 << 20
# A weight is a normal quantile looked up by 16 random bits: several times
# faster than drawing from the distribution, and the same with every numpy.
TABLE_BITS = 16


@functools.lru_cache(maxsize=None)
def quantiles():
    """The middles of 2^16 equally likely steps of a normal distribution."""
    steps = 1 << TABLE_BITS
    normal = statistics.NormalDist()
    half = [normal.inv_cdf((i + 0.5) / steps) for i in range(steps // 2)]
    half = np.array(half, np.float64)
    return np.concatenate([half, -half[::-1]])


def chunks(spec, seed):
    """The bytes of a tensor, in pieces."""
    name = zlib.crc32(spec.name.encode())
    random = np.random.PCG64([seed, name])
    table = tensorfile.from_f32(
        quantiles() * spec.std + spec.mean, spec.dtype
    ).data
    left = int(np.prod(spec.shape, dtype=np.int64))
    while left:
        count = min(left, CHUNK)
        words = random.random_raw((count + 3) // 4)
        index = words.astype("<u8", copy=False).view("<u2")[:count]
        values = table[index]
        if spec.dtype == "F32":
            # The table has 16 bits; fill the lower part of the mantissa.
            words = random.random_raw((count + 3) // 4)
            low = words.astype("<u8", copy=False).view("<u2")[:count]
            values = values * (
                np.float32(1) + low.astype(np.float32) * np.float32(2.0**-29)
            )
        yield values.astype(tensorfile.STORAGE[spec.dtype], copy=False)
        left -= count


def write_shard(path, specs, seed, stop):
    """Writes one safetensors file, never holding more than a chunk.

    Gives up when the event `stop` is set.
    """
    head, _ = tensorfile.header(
        [(s.name, s.dtype, s.shape) for s in specs], {"format": "pt"}
    )
    with open(path, "wb") as file:
        file.write(head)
        for spec in specs:
            for values in chunks(spec, seed):
                if stop.is_set():
                    return
                file.write(values.data)


def size_of(spec):
    count = int(np.prod(spec.shape, dtype=np.int64))
    return count * tensorfile.STORAGE[spec.dtype].itemsize


def split(specs, shards):
    """Parts of about the same size, in order, none empty."""
    total = sum(size_of(s) for s in specs)
    parts = [[]]
    done = 0
    for i, spec in enumerate(specs):
        left = shards - len(parts)
        full = done * shards >= total * len(parts)
        if parts[-1] and left and (full or len(specs) - i <= left):
            parts.append([])
        parts[-1].append(spec)
        done += size_of(spec)
    return parts


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def write_model(config, specs, args, path):
    """Fills the empty directory `path`."""
    parts = split(specs, args.shards)
    names = ["model.safetensors"]
    if len(parts) > 1:
        names = [
            f"model-{i + 1:05}-of-{len(parts):05}.safetensors"
            for i in range(len(parts))
        ]
        weight_map = {
            spec.name: name
            for name, part in zip(names, parts)
            for spec in part
        }
        total = sum(size_of(s) for s in specs)
        write_json(
            os.path.join(path, "model.safetensors.index.json"),
            {"metadata": {"total_size": total}, "weight_map": weight_map},
        )
    write_json(os.path.join(path, "config.json"), config)
    quantiles()
    stop = threading.Event()

    def write(name, part):
        write_shard(os.path.join(path, name), part, args.seed, stop)

    # Looking up and writing leave the interpreter lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for _ in pool.map(write, names, parts):
                pass
        except BaseException:
            stop.set()
            raise


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--family", required=True, choices=sorted(families.FAMILIES))
    add("--hidden", type=positive, required=True, help="model width H")
    add("--intermediate", type=positive, required=True, help="expert width")
    add("--experts", type=positive, required=True, help="routed experts E")
    add("--top-k", type=positive, required=True, help="experts per token")
    add("--layers", type=positive, default=1, help="MoE layers (default 1)")
    add("--dtype", choices=sorted(families.DTYPES), default="bf16")
    add("--shards", type=positive, default=1, help="files (default 1)")
    add("--seed", type=int, default=0, help="default 0")
    add(
        "--shared",
        type=positive,
        help="qwen2_moe: width of the shared expert (default 4 times the\n"
        "expert width); deepseek_v3: number of shared experts (default 1)",
    )
    add("--groups", type=positive, help="deepseek_v3: expert groups")
    add("--keep-groups", type=positive, help="deepseek_v3: groups kept")
    add("--fused", action="store_true", help="fused tensor names")
    add("--out", metavar="DIR", required=True, help="a new directory")
    args = parser.parse_args(arguments)

    more = {}
    if args.top_k > args.experts:
        parser.error(
            f"--top-k {args.top_k} is more than --experts {args.experts}"
        )
    if args.seed < 0:
        parser.error("--seed must not be negative")
    if args.shared:
        if not families.FAMILIES[args.family].shared:
            parser.error(f"--shared: {args.family} has no shared expert")
        key = "n_shared_experts"
        if args.family == "qwen2_moe":
            key = "shared_expert_intermediate_size"
        more[key] = args.shared
    if args.groups or args.keep_groups:
        if args.family != "deepseek_v3":
            parser.error("--groups is for deepseek_v3 only")
        groups = args.groups or 1
        kept = args.keep_groups or groups
        size = args.experts // groups
        if args.experts % groups or size < 2:
            parser.error(
                f"--groups {groups} does not split {args.experts} experts "
                "into equal groups of two or more"
            )
        if kept > groups or args.top_k > kept * size:
            parser.error(
                f"--keep-groups {kept} of {groups} groups of {size} does not "
                f"leave {args.top_k} experts"
            )
        more.update(n_group=groups, topk_group=kept)
    config = families.make_config(
        args.family,
        args.hidden,
        args.intermediate,
        args.experts,
        args.top_k,
        args.layers,
        args.dtype,
        **more,
    )
    specs = list(families.tensors(families.Block.read(config), args.fused))
    if args.shards > len(specs):
        parser.error(f"{args.shards} shards for {len(specs)} tensors")
    if args.fused:
        config = families.modern_spelling(config)
    return args, config, specs


def main(arguments):
    args, config, specs = parse(arguments)
    path = os.path.abspath(args.out)
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        if os.path.exists(path) and not (
            os.path.isdir(path) and not os.listdir(path)
        ):
            raise FileExistsError(f"{args.out}: exists and is not empty")
        os.makedirs(temporary)
        try:
            write_model(config, specs, args, temporary)
            os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        print(f"make_model.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
