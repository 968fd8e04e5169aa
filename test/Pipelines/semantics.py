#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Interprets the functions of a file as written and after the phases graph and
routed, on random weights and inputs, and compares the results.

The interpreter computes in f64 between roundings that the IR states, so f32
results differ by the rounding of fewer values only; integers must be equal.
Prints one line per function, number of tokens and phase. Exit status 0, or 1
when something differs or nothing was compared.

    semantics.py [--seed N] [--tokens N,...] [--other OTHER] FILE

With --other, compares with the same functions of another file as written.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "golden"))

import tensorfile  # noqa: E402

PHASES = {
    "graph": "moe-import,moe-graph",
    "routed": "moe-import,moe-graph,moe-routed",
}
# In relative Frobenius norm.
LIMIT = {"F32": 2e-6, "F16": 2e-3, "BF16": 1e-2}
DTYPES = {
    "f32": "F32", "bf16": "BF16", "f16": "F16", "i32": "I32", "i64": "I64"
}


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"{' '.join(command)}\nexit status {done.returncode}\n{done.stderr}"
        )
    return done.stdout


def parse_type(text):
    """(extents, None for a dynamic one; dtype) of a tensor type."""
    *extents, element = re.fullmatch(r"tensor<(.*)>", text).group(1).split("x")
    return [None if e == "?" else int(e) for e in extents], DTYPES[element]


def split_list(text):
    """Splits at commas outside of brackets."""
    parts, depth, part = [], 0, ""
    for char in text:
        depth += char in "<([{"
        depth -= char in ">)]}"
        if char == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return parts + [part.strip()] if part.strip() else parts


class Function:
    """Name, inputs [(name, type)] and outputs [(name, type)]."""

    def __init__(self, line):
        head = re.match(r"\s*func\.func (?:private )?@(\S+?)\((.*)\{$", line)
        self.name = head.group(1).strip('"')
        arguments, results = re.fullmatch(
            r"(.*)\) -> (.*)", head.group(2).strip()
        ).groups()
        results = results.removesuffix("attributes").strip()
        if results.startswith("("):
            results = results[1:-1]
        self.inputs = self.name_types(
            [re.sub(r"^%\w+: ", "", a) for a in split_list(arguments)], "x"
        )
        self.outputs = self.name_types(split_list(results), "y")

    @staticmethod
    def name_types(texts, prefix):
        named = []
        for number, text in enumerate(texts):
            name = re.search(r'moe\.name = "(.*?)"', text)
            default = prefix if len(texts) == 1 else f"{prefix}{number}"
            type_text = re.match(r"tensor<.*?>", text).group(0)
            named.append((name.group(1) if name else default, type_text))
        return named


def random_tensor(rng, extents, dtype, scale=1.0):
    if dtype.startswith("I"):
        data = rng.integers(0, 1000, extents)
        return tensorfile.Tensor(dtype, data.astype(tensorfile.STORAGE[dtype]))
    values = rng.standard_normal(extents, np.float32) * np.float32(scale)
    return tensorfile.from_f32(values, dtype)


def make_weights(rng, text):
    """A checkpoint with every source of every moe.weight of a module."""
    tensors = {}
    pattern = re.compile(
        r"moe\.weight @(\S+) : (tensor<.*?>) from \[(.*?)\](.*)"
    )
    for _, type_text, sources, options in pattern.findall(text):
        extents, dtype = parse_type(type_text)
        names = []
        for source in re.findall(r'"(.*?)"', sources):
            span = re.search(r"\{(\d+)\.\.(\d+)\}", source)
            first, last = map(int, span.groups()) if span else (0, 0)
            names += [
                re.sub(r"\{\d+\.\.\d+\}", str(i), source)
                for i in range(first, last + 1)
            ]
        shape = extents[1:] if "stack" in options else list(extents)
        if "transpose" in options:
            shape[-2:] = reversed(shape[-2:])
        cut = re.search(r"split \[(\d+), \d+, \d+, \d+, (\d+)\]", options)
        if cut:
            dim, extent = map(int, cut.groups())
            shape[dim] = extent
        # Outputs stay near one.
        scale = 1.0 / np.sqrt(shape[-1])
        for name in names:
            known = tensors.get(name)
            if known is None or list(known.data.shape) < shape:
                tensors[name] = random_tensor(rng, shape, dtype, scale)
    return tensors


def compare(found, expected):
    """What is wrong, or the relative error."""
    if found.dtype != expected.dtype or found.data.shape != expected.data.shape:
        return (
            f"is {found.dtype} {found.data.shape}, "
            f"expected {expected.dtype} {expected.data.shape}"
        )
    if found.dtype.startswith("I"):
        equal = np.array_equal(found.data, expected.data)
        return 0.0 if equal else "integers differ"
    a = tensorfile.to_f32(found).astype(np.float64)
    b = tensorfile.to_f32(expected).astype(np.float64)
    norm = np.linalg.norm(b)
    if b.size and not norm > 0.0:
        return "is all zero, so nothing is compared"
    error = np.linalg.norm(a - b) / norm if b.size else 0.0
    if not error <= LIMIT[found.dtype]:
        return f"differs by {error:.1e}, more than {LIMIT[found.dtype]:.0e}"
    return error


def interpret(module, function, folder, inputs):
    outputs = [
        os.path.join(folder, f"out{i}.safetensors")
        for i in range(len(function.outputs))
    ]
    run(
        "moe-interpret",
        module,
        f"--function={function.name}",
        f"--weights={os.path.join(folder, 'weights.safetensors')}",
        *(f"--input={name}=@{path}:x" for name, path in inputs),
        *(
            f"--output={name}=@{path}:y"
            for (name, _), path in zip(function.outputs, outputs)
        ),
    )
    return [tensorfile.read(path)[0]["y"] for path in outputs]


def check_function(options, function, folder, modules, rng):
    failures = 0
    for tokens in options.tokens:
        inputs = []
        for name, type_text in function.inputs:
            extents, dtype = parse_type(type_text)
            extents = [tokens if e is None else e for e in extents]
            path = os.path.join(folder, f"in{len(inputs)}.safetensors")
            tensorfile.write(path, {"x": random_tensor(rng, extents, dtype)})
            inputs.append((name, path))
        expected = interpret(modules["written"], function, folder, inputs)
        for phase in options.phases:
            found = interpret(modules[phase], function, folder, inputs)
            worst = 0.0
            for (name, _), a, b in zip(function.outputs, found, expected):
                error = compare(a, b)
                if isinstance(error, str):
                    print(
                        f"{function.name}: {name} after {phase}, "
                        f"{tokens} tokens: {error}",
                        file=sys.stderr,
                    )
                    failures += 1
                else:
                    worst = max(worst, error)
            print(f"{function.name} {phase} {tokens} tokens: {worst:.1e}")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", default="0,1,2,17")
    parser.add_argument("--other", help="compare with this file instead")
    parser.add_argument("file")
    options = parser.parse_args()
    options.tokens = [int(n) for n in options.tokens.split(",")]
    options.phases = ["other"] if options.other else list(PHASES)
    rng = np.random.default_rng(options.seed)

    with tempfile.TemporaryDirectory() as folder:
        text = run("moe-opt", options.file)
        functions = [
            Function(line)
            for line in text.splitlines()
            if re.match(r"\s*func\.func ", line)
        ]
        tensorfile.write(
            os.path.join(folder, "weights.safetensors"),
            make_weights(rng, text),
        )
        modules = {"written": options.file, "other": options.other}
        for phase in set(options.phases) & set(PHASES):
            modules[phase] = os.path.join(folder, phase + ".mlir")
            run(
                "moe-opt",
                options.file,
                f"-pass-pipeline=builtin.module({PHASES[phase]})",
                "-o",
                modules[phase],
            )
        failures = sum(
            check_function(options, function, folder, modules, rng)
            for function in functions
        )
    return int(failures > 0 or not functions)


if __name__ == "__main__":
    sys.exit(main())
