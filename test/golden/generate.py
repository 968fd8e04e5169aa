#!/usr/bin/env python3
#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Makes the golden tensors of families.py, or checks all there are.

  generate.py --check [--out DIR] [--family F]    needs numpy only
  generate.py --out DIR [--family F] [--full]     needs requirements.txt

A directory is made in three steps. Weights are drawn from the seed and written
under checkpoint names. The reference implementation loads that directory with
its own loader, which proves names and layouts. Then each MoE block is run on
rows that are drawn until every token has the margins below.
"""

import argparse
import json
import os
import shutil
import sys
import zlib

import numpy as np

import catalog
import check
import families
import reference
import tensorfile

HERE = os.path.dirname(os.path.abspath(__file__))
# Most bytes of the committed directories.
SIZE_LIMIT = 8 << 20

SEED = 20260
COUNTS = (1, 2, 17)
FULL_COUNT = 1000

# Least distance of the k-th selection key from the (k+1)-th, and of the last
# kept group from the first dropped one.
KEY_MARGIN = 1e-4
# Where logits are rounded to bf16: least distance of the two logits. Either
# may fall on the other side of a rounding border, so two units could become a
# tie and three cannot.
LOGIT_MARGIN_ULPS = 3.0
# Most that the reference's own roundings to bf16 may cost a row, as a relative
# norm. It rounds at every step, so a row can be nearly 1e-2 away from what it
# stands for, and a test with that tolerance would judge the reference.
ROUNDING_LIMIT = 6e-3

DTYPES = ("f32", "bf16")
# Rows drawn at a time.
DRAW = 64


def case(family, sizes, dtypes=DTYPES, variant="", shards=1, **options):
    """A golden directory per dtype; `options` go to `families.tensors`."""
    return [
        {
            "name": "-".join(filter(None, (family, dtype, variant))),
            "family": family,
            "dtype": dtype,
            "sizes": sizes,
            "shards": shards,
            "options": options,
        }
        for dtype in dtypes
    ]


def sizes(hidden, width, experts, top_k, layers, **more):
    return dict(
        hidden=hidden,
        width=width,
        experts=experts,
        top_k=top_k,
        layers=layers,
        **more,
    )


CASES = [
    *case("mixtral", sizes(40, 28, 5, 2, 2)),
    *case("mixtral", sizes(24, 20, 5, 2, 1), ["f32"], "fused", fused=True),
    *case("olmoe", sizes(40, 56, 5, 3, 2), shards=2),
    *case(
        "qwen2_moe", sizes(36, 20, 7, 4, 2, shared_expert_intermediate_size=44)
    ),
    *case(
        "qwen2_moe",
        sizes(
            26,
            13,
            5,
            3,
            6,
            shared_expert_intermediate_size=19,
            decoder_sparse_step=2,
            mlp_only_layers=[1],
        ),
        variant="sparse",
    ),
    *case("qwen3_moe", sizes(40, 20, 7, 3, 2)),
    *case("qwen3_moe", sizes(25, 19, 9, 4, 1), ["bf16"], "fused", fused=True),
    *case(
        "deepseek_v3",
        sizes(
            40,
            21,
            12,
            3,
            3,
            intermediate_size=36,
            first_k_dense_replace=1,
            n_group=3,
            topk_group=2,
            n_shared_experts=2,
        ),
        dense=True,
    ),
    *case(
        "deepseek_v3",
        sizes(
            24,
            10,
            12,
            3,
            2,
            intermediate_size=14,
            first_k_dense_replace=1,
            n_group=4,
            topk_group=2,
            n_shared_experts=1,
        ),
        variant="negbias",
        bias=(-2.0, 0.2),
    ),
]


def stream(seed, *words):
    """A random stream of its own for a thing with this name."""
    name = "/".join(str(word) for word in words)
    return np.random.Generator(
        np.random.PCG64([seed, zlib.crc32(name.encode())])
    )


def write_model(case, path, seed):
    """config.json and the weights; returns the block they describe."""
    config = families.make_config(
        case["family"], dtype=case["dtype"], **case["sizes"]
    )
    block = families.Block.read(config)
    if case["options"].get("fused"):
        config = families.modern_spelling(config)
    with open(os.path.join(path, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    tensors = {}
    for spec in families.tensors(block, **case["options"]):
        values = stream(seed, case["name"], spec.name).standard_normal(
            spec.shape
        )
        tensors[spec.name] = tensorfile.from_f32(
            values * spec.std + spec.mean, spec.dtype
        )
    metadata = {"format": "pt"}
    if case["shards"] == 1:
        file = os.path.join(path, "model.safetensors")
        tensorfile.write(file, tensors, metadata)
        return block
    names = list(tensors)
    weight_map = {}
    for shard, part in enumerate(np.array_split(names, case["shards"])):
        file = f"model-{shard + 1:05}-of-{case['shards']:05}.safetensors"
        weight_map.update((str(name), file) for name in part)
        tensorfile.write(
            os.path.join(path, file), {n: tensors[n] for n in part}, metadata
        )
    total = sum(t.data.nbytes for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    with open(os.path.join(path, "model.safetensors.index.json"), "w") as file:
        json.dump(index, file, indent=1, sort_keys=True)
        file.write("\n")
    return block


def load_blocks(block, path):
    """The family's own modules by layer, loaded from the directory."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        path,
        dtype="auto",
        experts_implementation="eager",
        output_loading_info=True,
    )
    lost = [
        key
        for key in info["missing_keys"]
        if ".mlp." in key and int(key.split(".")[2]) in block.moe_layers
    ]
    strange = list(info["unexpected_keys"]) + list(info["mismatched_keys"])
    if lost or strange:
        raise SystemExit(f"{path}: not loaded: {(lost + strange)[:4]}")
    model.eval()
    wanted = families.FAMILIES[block.family].block
    blocks = {}
    for layer in block.moe_layers:
        module = model.model.layers[layer].mlp
        if type(module).__name__ != wanted:
            raise SystemExit(
                f"{path}: layer {layer} is a {type(module).__name__}, "
                f"expected {wanted}"
            )
        blocks[layer] = module
    return blocks


def to_torch(tensor):
    import torch

    if tensor.dtype == "BF16":
        signed = tensor.data.view(np.int16).copy()
        return torch.from_numpy(signed).view(torch.bfloat16)
    return torch.from_numpy(tensor.data.copy())


def run_block(module, x):
    """Output, logits, and routing in ascending id of the reference block.

    All as f32 numpy arrays (exact for bf16), ids as int32.
    """
    import torch

    with torch.no_grad():
        rows = to_torch(x)
        output = module(rows[None])[0]
        logits, weights, ids = module.gate(rows)
    ascending = ids.sort(dim=-1)
    return (
        output.float().numpy(),
        logits.float().numpy(),
        ascending.values.to(torch.int32).numpy(),
        weights.gather(1, ascending.indices).float().numpy(),
    )


def sound_rows(block, weights, x, output, routing):
    """Which tokens have the margins."""
    good = routing.key_gap >= KEY_MARGIN
    good &= routing.group_gap >= KEY_MARGIN
    if block.dtype == "F32":
        return good
    if block.round_logits:
        unit = check.ulp_bf16(routing.logit_size)
        good &= routing.logit_gap >= LOGIT_MARGIN_ULPS * unit
    return good & (check.rounding(block, weights, x, output) <= ROUNDING_LIMIT)


def run_count(block, module, weights, random, n):
    """Golden tensors of n rows, and the margins they have."""
    kept = np.zeros((0, block.hidden), np.float32)
    while len(kept) < n:
        rows = random.standard_normal((DRAW, block.hidden))
        x = tensorfile.from_f32(rows, block.dtype)
        output, logits, _, _ = run_block(module, x)
        routing = reference.route(block, logits, weights.bias())
        values = tensorfile.to_f32(x)
        good = sound_rows(block, weights, values, output, routing)
        kept = np.concatenate([kept, values[good]])[:n]
    # Again, together: another number of rows may sum in another order.
    x = tensorfile.from_f32(kept, block.dtype)
    output, logits, ids, routed = run_block(module, x)
    routing = reference.route(block, logits, weights.bias())
    if not sound_rows(block, weights, kept, output, routing).all():
        raise SystemExit("the margins depend on the batch; take another seed")
    # The reference selects by the same rule; a version that fills dropped
    # groups with 0.0 is caught here.
    if not np.array_equal(routing.ids, ids):
        raise SystemExit(
            "this version of transformers selects other experts than "
            "docs/Numerics.md; see README.md, 'Masked groups'"
        )
    return {
        "input": x,
        "output": tensorfile.from_f32(output, block.dtype),
        "ids": tensorfile.Tensor("I32", ids),
        "weights": tensorfile.Tensor("F32", routed),
        "logits": tensorfile.Tensor("F32", logits),
    }, check.margins(block, routing)


def generate(case, path, counts, seed):
    """Makes one directory at `path`, which must exist and be empty."""
    import torch
    import transformers

    block = write_model(case, path, seed)
    modules = load_blocks(block, path)
    checkpoint = tensorfile.read_model(path)
    tensors = {}
    smallest = {}
    for layer, module in modules.items():
        weights = reference.Weights(block, checkpoint, layer)
        for n in counts:
            random = stream(seed, case["name"], "input", layer, n)
            parts, margins = run_count(block, module, weights, random, n)
            for part, tensor in parts.items():
                tensors[f"layers.{layer}.n{n}.{part}"] = tensor
            for name, value in margins.items():
                smallest[name] = min(value, smallest.get(name, np.inf))
    demanded = {name: KEY_MARGIN for name in smallest}
    if "logit_gap_ulps" in smallest:
        demanded["logit_gap_ulps"] = LOGIT_MARGIN_ULPS
    if block.dtype == "BF16":
        demanded["rounding"] = ROUNDING_LIMIT
    versions = {
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }
    metadata = {
        "family": case["family"],
        "token_counts": json.dumps(list(counts)),
        "margins": json.dumps(demanded),
        "smallest_margins": json.dumps(smallest),
        "seed": str(seed),
        "experts_implementation": "eager",
        "versions": json.dumps(versions),
    }
    tensorfile.write(
        os.path.join(path, "golden.safetensors"), tensors, metadata
    )


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        default=HERE,
        help="where the directories are (default: beside this script)",
    )
    parser.add_argument(
        "--family",
        choices=sorted(
            {*families.FAMILIES, *(f.name for f in catalog.FAMILIES)}
        ),
        help="only this family",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the directories instead of making them",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help=f"also {FULL_COUNT} tokens (too large to commit)",
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, help="default %(default)s"
    )
    return parser.parse_args(arguments)


def main(arguments):
    args = parse(arguments)
    cases = [c for c in CASES if args.family in (None, c["family"])]
    if args.check:
        names = [c["name"] for c in cases]
        names += [
            family.directory(dtype)
            for family in catalog.FAMILIES
            for dtype in family.dtypes
            if args.family in (None, family.name)
        ]
        limit = SIZE_LIMIT if args.out == HERE else None
        good = check.check_all(args.out, args.family, names, limit)
        return 0 if good else 1
    counts = COUNTS + (FULL_COUNT,) if args.full else COUNTS
    for case in cases:
        path = os.path.join(args.out, case["name"])
        temporary = f"{path}.tmp-{os.getpid()}"
        os.makedirs(temporary)
        try:
            generate(case, temporary, counts, args.seed)
            if os.path.isdir(path):
                shutil.rmtree(path)
            os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
