#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Imports every golden directory and interprets every block of it, as the
importer made it or after a later phase.

For each MoE layer and number of tokens, expert ids must equal those of the
family's own implementation, and the output must lie within 1e-5 (f32) or 1e-2
(bf16) of it in relative Frobenius norm. Prints one line per directory, and
what failed. Exit status 0, or 1 when something failed or nothing was compared.

    golden-interpret.py --compile moe-compile --interpret moe-interpret
        [--phase import|graph|routed] [NAME...]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, os.pardir, "golden")
sys.path.insert(0, GOLDEN)

import tensorfile  # noqa: E402

OUTPUT_LIMIT = {"F32": 1e-5, "BF16": 1e-2}
# Of a routing weight; a rounded one may fall on the other side (2^-7).
WEIGHT_LIMIT = {"F32": 1e-5, "BF16": 2.0**-7}


class Failure(Exception):
    """A tool that failed, or numbers that differ."""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failure(
            f"{' '.join(command)}\nexit status {done.returncode}\n{done.stderr}"
        )


def relative_error(found, expected):
    norm = np.linalg.norm(expected.astype(np.float64))
    error = np.linalg.norm(found.astype(np.float64) - expected)
    return error / norm if norm else error


def compare_block(tools, module, directory, golden, case, scratch):
    """Runs one block; returns (rows, output error, weight error)."""
    function = case.rsplit(".", 1)[0]
    output = os.path.join(scratch, "output.safetensors")
    routing = os.path.join(scratch, "routing.safetensors")
    source = os.path.join(directory, "golden.safetensors")
    run(
        tools.interpret,
        module,
        f"--function={function}.mlp",
        f"--weights={directory}",
        f"--input=x=@{source}:{case}.input",
        f"--output=y=@{output}:y",
        f"--routing=@{routing}",
    )
    found = tensorfile.read(output)[0]["y"]
    routed = tensorfile.read(routing)[0]
    expected = golden[case + ".output"]
    if found.dtype != expected.dtype or found.data.shape != expected.data.shape:
        raise Failure(
            f"output is {found.dtype} {found.data.shape}, "
            f"expected {expected.dtype} {expected.data.shape}"
        )
    ids, expected_ids = routed["0.ids"].data, golden[case + ".ids"].data
    if not np.array_equal(ids, expected_ids):
        row = int(np.argwhere((ids != expected_ids).any(axis=1))[0, 0])
        raise Failure(
            f"token {row} visits experts {ids[row].tolist()}, "
            f"expected {expected_ids[row].tolist()}"
        )
    # Pairs that were dropped have id -1.
    kept = expected_ids >= 0
    weights = routed["0.weights"].data[kept]
    weight_error = np.max(
        np.abs(weights / golden[case + ".weights"].data[kept] - 1.0),
        initial=0.0,
    )
    if not weight_error <= WEIGHT_LIMIT[found.dtype]:
        raise Failure(f"routing weights differ by {weight_error:.2e}")
    error = relative_error(
        tensorfile.to_f32(found), tensorfile.to_f32(expected)
    )
    if not error <= OUTPUT_LIMIT[found.dtype]:
        raise Failure(
            f"output differs by {error:.2e}, more than "
            f"{OUTPUT_LIMIT[found.dtype]:.0e}"
        )
    return len(ids), error, weight_error


def compare_directory(tools, name, scratch):
    directory = os.path.join(tools.golden, name)
    module = os.path.join(scratch, name + ".mlir")
    run(tools.compile, directory, f"--compile-to={tools.phase}", "-o", module)
    golden, _ = tensorfile.read(os.path.join(directory, "golden.safetensors"))
    cases = sorted(n[: -len(".input")] for n in golden if n.endswith(".input"))
    if not cases:
        raise Failure("no golden inputs")
    rows, error, weight_error = 0, 0.0, 0.0
    for case in cases:
        try:
            result = compare_block(
                tools, module, directory, golden, case, scratch
            )
        except Failure as failure:
            raise Failure(f"{case}: {failure}") from None
        rows += result[0]
        error = max(error, result[1])
        weight_error = max(weight_error, result[2])
    print(
        f"{name:28} {len(cases):3} calls {rows:5} tokens  ids equal  "
        f"weights {weight_error:.1e}  output {error:.1e}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--compile", required=True, help="moe-compile")
    parser.add_argument("--interpret", required=True, help="moe-interpret")
    parser.add_argument(
        "--phase", default="import", choices=("import", "graph", "routed"),
        help="what to interpret the result of",
    )
    parser.add_argument("--golden", default=GOLDEN, help="golden directories")
    parser.add_argument("names", nargs="*", help="all when none is given")
    tools = parser.parse_args()
    names = tools.names or sorted(
        name
        for name in os.listdir(tools.golden)
        if os.path.exists(os.path.join(tools.golden, name, "config.json"))
    )
    families, failed = set(), not names
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                compare_directory(tools, name, scratch)
            except Failure as failure:
                failed = True
                print(f"{name}: {failure}", file=sys.stderr)
        with open(os.path.join(tools.golden, name, "config.json")) as file:
            families.add(json.load(file)["model_type"])
    print(f"{len(names)} directories of {len(families)} families")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
