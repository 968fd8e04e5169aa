#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compiles models and runs them at every ISA level.

    compiled.py golden [NAME...]     the golden directories
    compiled.py examples FILE...     .mlir files, against the interpreter
    compiled.py shapes               generated models of awkward sizes

Every function runs at each level that this machine has and, through an artifact
whose AMX code is emulated, at level AMX in any case; with 1, 2 and 3 threads,
whose bits must be equal. `golden` compares with the families' own
implementations: expert ids exactly, outputs within 1e-5 (f32) or 1e-2 (bf16)
in relative Frobenius norm; the others compare with moe-interpret. Functions
that map each token alone also run token by token, whose bits must be those of
the whole batch. Prints which levels ran natively and which emulated. Exit
status 0, or 1 when anything differs or a level ran in neither way.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, os.pardir, "golden")
sys.path.insert(0, GOLDEN)
sys.path.insert(0, os.path.join(HERE, os.pardir, "Pipelines"))
sys.path.insert(0, os.path.join(HERE, os.pardir, os.pardir, "python"))

import moe  # noqa: E402
import semantics  # noqa: E402
import tensorfile  # noqa: E402

LEVELS = ["avx2", "avx512", "amx"]
COUPLES = re.compile(r"capacity|moe\.(choose_tokens|soft_dispatch|random)")
LIMIT = {"F32": 1e-5, "F16": 2e-3, "BF16": 1e-2}


class Mismatch(Exception):
    """Numbers that differ."""


def tool(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Mismatch(
            f"{' '.join(command)}\nexit status {done.returncode}\n{done.stderr}"
        )
    return done.stdout


def relative_error(found, expected):
    found = tensorfile.to_f32(found).astype(np.float64)
    expected = tensorfile.to_f32(expected).astype(np.float64)
    norm = np.linalg.norm(expected)
    return np.linalg.norm(found - expected) / norm if norm else (
        np.linalg.norm(found))


class Levels:
    """Loads artifacts at every level; remembers how each was run."""

    def __init__(self):
        self.ran = {level: set() for level in LEVELS}

    def compile(self, source, folder, *flags, emulate=True):
        """The native artifact and, with `emulate`, one with emulated AMX."""
        paths = []
        for name, extra in (("native", []), ("emulated", ["--emulate-amx"])):
            if extra and not emulate:
                continue
            path = os.path.join(folder, f"{name}.moe")
            tool("moe-compile", source, "-q", "-o", path, *extra, *flags)
            paths.append(path)
        return paths

    def sessions(self, paths, weights):
        """(level, how, sessions with 1, 2 and 3 threads)."""
        runs = [(level, "natively", paths[0]) for level in LEVELS]
        runs += [("amx", "emulated", path) for path in paths[1:]]
        for level, how, path in runs:
            try:
                group = [
                    moe.load(path, weights=weights, threads=t, isa=level)
                    for t in (1, 2, 3)
                ]
            except moe.IncompatibleArtifact as error:
                if how == "natively" and level != "avx2":
                    continue
                raise Mismatch(f"level {level} does not load: {error}")
            self.ran[level].add(how)
            yield level, how, group
            for session in group:
                session.close()

    def report(self, needed=LEVELS):
        for level, how in self.ran.items():
            print(f"level {level}: {' and '.join(sorted(how)) or 'not run'}")
        missing = [level for level in needed if not self.ran[level]]
        if missing:
            raise Mismatch(f"levels {missing} ran in neither way")


def call(session, name, inputs):
    """Outputs of a call as a list of arrays."""
    outputs = session.call(name, *inputs)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def same_bits(group, name, inputs, where):
    """Runs with every thread count; returns the outputs they agree on."""
    first = call(group[0], name, inputs)
    for session in group[1:]:
        for a, b in zip(first, call(session, name, inputs)):
            if a.tobytes() != b.tobytes():
                raise Mismatch(
                    f"{where}: {session.threads} threads give other bits than 1"
                )
    return first


ROUTING = """
#id = affine_map<(m, n) -> (m, n)>
#row = affine_map<(m, n) -> (0, n)>
func.func @weights(%x: {x}) -> tensor<?x{experts}xf32> {{
{router}
  %n0 = arith.constant 0 : index
  %ones = moe.get_weight @one_hot : tensor<{experts}x1x{experts}xf32>
  %n = tensor.dim %x, %n0 : {x}
  %xs = moe.dispatch %x by %{routing} : {x}, {type} -> {x}
  %ys = moe.experts ins(%xs) weights(%ones) by %{routing}
      : ({x}, tensor<{experts}x1x{experts}xf32>), {type}
      -> tensor<?x{experts}xf32> {{
  ^bb0(%t: {x}, %w: tensor<1x{experts}xf32>):
    %c0 = arith.constant 0 : index
    %r = tensor.dim %t, %c0 : {x}
    %e = tensor.empty(%r) : tensor<?x{experts}xf32>
    %o = linalg.generic {{indexing_maps = [#row, #id],
                         iterator_types = ["parallel", "parallel"]}}
        ins(%w : tensor<1x{experts}xf32>)
        outs(%e : tensor<?x{experts}xf32>) {{
    ^bb0(%a: f32, %b: f32):
      linalg.yield %a : f32
    }} -> tensor<?x{experts}xf32>
    moe.yield %o : tensor<?x{experts}xf32>
  }}
  %y = moe.combine %ys by %{routing} : tensor<?x{experts}xf32>, {type}
      -> tensor<?x{experts}xf32>
  return %y : tensor<?x{experts}xf32>
}}
"""


def routing_module(imported, block):
    """A module whose function `weights` maps tokens to a dense N x E matrix of
    routing weights: expert e yields the e-th unit row. Made from the router of
    an imported block."""
    body = imported.split(f"func.func @{block}.mlp(", 1)[1]
    body = body.split("func.func @", 1)[0]
    argument, x = re.match(r"(%\w+): (tensor<[^>]*>)", body).groups()
    route = re.search(
        r"%(\w+) = moe\.route .* -> (!moe\.routing<experts = (\d+), .*?>)", body
    )
    wanted, lines = {route.group(1)}, []
    for line in reversed(body[: route.end()].splitlines()):
        result = re.match(r"\s*%(\w+) = ", line)
        if result and result.group(1) in wanted:
            wanted |= set(re.findall(r"%(\w+)", line))
            lines.append(re.sub(r" loc\(.*", "", line))
    router = "\n".join(reversed(lines)).replace(argument + " ", "%x ")
    router = router.replace(argument + ",", "%x,")
    experts = int(route.group(3))
    weights = "\n".join(
        re.sub(r" loc\(.*", "", line)
        for line in imported.splitlines()
        if line.strip().startswith("moe.weight")
    )
    one_hot = (
        f"moe.weight @one_hot : tensor<{experts}x1x{experts}xf32> "
        'from ["one_hot"]\n'
    )
    return weights + "\n" + one_hot + ROUTING.format(
        x=x, router=router, experts=experts, routing=route.group(1),
        type=route.group(2))


def expected_matrix(ids, weights, experts):
    # Pairs that were dropped have id -1: they go to a column of their own.
    matrix = np.zeros((len(ids), experts + 1), np.float32)
    np.put_along_axis(matrix, ids.astype(np.int64), weights, axis=1)
    return matrix[:, :experts]


def check_routing(levels, scratch, directory, imported, block, golden, cases):
    """Routing weights of the compiled router: the set of experts exactly."""
    path = os.path.join(scratch, "routing.mlir")
    text = routing_module(imported, block)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    experts = int(re.search(r"@one_hot : tensor<(\d+)x", text).group(1))
    tensors = {}
    for name in os.listdir(directory):
        if name.endswith(".safetensors") and name != "golden.safetensors":
            tensors |= tensorfile.read(os.path.join(directory, name))[0]
    one_hot = np.eye(experts, dtype=np.float32).reshape(experts, 1, experts)
    tensors["one_hot"] = tensorfile.Tensor("F32", one_hot)
    weights = os.path.join(scratch, "routing.safetensors")
    tensorfile.write(weights, tensors)
    # No code of a router depends on AMX.
    paths = levels.compile(path, scratch, emulate=False)
    found = {}
    for level, how, group in levels.sessions(paths, weights):
        for case in cases:
            matrix = same_bits(
                group, "weights", [golden[case + ".input"].data], case
            )[0]
            ids = golden[case + ".ids"].data
            expected = expected_matrix(
                ids, golden[case + ".weights"].data, experts
            )
            if not np.array_equal(matrix != 0, expected != 0):
                raise Mismatch(f"{case}: level {level} visits other experts")
            previous = found.setdefault(case, matrix)
            if previous.tobytes() != matrix.tobytes():
                raise Mismatch(f"{case}: level {level} has other weights")


def run_golden(names):
    levels = Levels()
    directories = names or sorted(
        name
        for name in os.listdir(GOLDEN)
        if os.path.isfile(os.path.join(GOLDEN, name, "golden.safetensors"))
    )
    families = set()
    for name in directories:
        directory = os.path.join(GOLDEN, name)
        golden_path = os.path.join(directory, "golden.safetensors")
        golden = tensorfile.read(golden_path)[0]
        families.add(name.split("-")[0])
        worst = {}
        with tempfile.TemporaryDirectory() as scratch:
            imported = tool(
                "moe-compile", directory, "-q", "--compile-to=import", "-o", "-"
            )
            by_block = {}
            for key in golden:
                if key.endswith(".input"):
                    case = key.removesuffix(".input")
                    block = case.rpartition(".")[0]
                    by_block.setdefault(block, []).append(case)
            paths = levels.compile(directory, scratch)
            for level, how, group in levels.sessions(paths, directory):
                for block, cases in by_block.items():
                    for case in cases:
                        where = f"{name}: {case} at {level}, {how}"
                        x = golden[case + ".input"]
                        y = same_bits(
                            group, f"{block}.mlp", [x.data], where
                        )[0]
                        error = relative_error(
                            tensorfile.Tensor(x.dtype, y),
                            golden[case + ".output"],
                        )
                        worst[level] = max(worst.get(level, 0), error)
                        if not error <= LIMIT[x.dtype]:
                            raise Mismatch(f"{where}: error {error:.2e}")
            # The blocks of a directory differ in their weights only.
            block, cases = next(iter(by_block.items()))
            check_routing(
                levels, scratch, directory, imported, block, golden, cases
            )
        figures = ", ".join(f"{l} {e:.1e}" for l, e in worst.items())
        print(f"{name}: ids equal, output {figures}")
    print(f"{len(directories)} directories of {len(families)} families")
    levels.report()


def interpret(module, name, weights, inputs, outputs, scratch):
    """Outputs by the interpreter."""
    command = ["moe-interpret", module, f"--function={name}"]
    if weights:
        command.append(f"--weights={weights}")
    source = os.path.join(scratch, "inputs.safetensors")
    tensorfile.write(source, inputs)
    command += [f"--input={key}=@{source}:{key}" for key in inputs]
    files = []
    for key in outputs:
        files.append(os.path.join(scratch, f"{key}.safetensors"))
        command.append(f"--output={key}=@{files[-1]}:{key}")
    tool(*command)
    return [tensorfile.read(f)[0][k] for f, k in zip(files, outputs)]


def check_function(levels, paths, weights, module, function, inputs, where,
                   scratch, by_token):
    """One function on one set of inputs at every level."""
    outputs = [key for key, _ in function.outputs]
    expected = interpret(
        module, function.name, weights, inputs, outputs, scratch
    )
    arrays = [tensor.data for tensor in inputs.values()]
    tokens = len(arrays[0])
    for level, how, group in levels.sessions(paths, weights):
        here = f"{where} at {level}, {how}"
        found = same_bits(group, function.name, arrays, here)
        for key, a, b in zip(outputs, found, expected):
            if a.shape != b.data.shape:
                raise Mismatch(f"{here}: {key} is {a.shape}")
            if b.dtype.startswith("I"):
                if not np.array_equal(a, b.data):
                    raise Mismatch(f"{here}: {key} differs")
                continue
            nans = np.isnan(tensorfile.to_f32(b))
            found_tensor = tensorfile.Tensor(b.dtype, a)
            found_nans = np.isnan(tensorfile.to_f32(found_tensor))
            if not np.array_equal(found_nans, nans):
                raise Mismatch(f"{here}: {key} has NaNs elsewhere")
            if nans.any():
                continue
            error = relative_error(found_tensor, b)
            if not error <= LIMIT[b.dtype]:
                raise Mismatch(f"{here}: {key} has error {error:.2e}")
        if not by_token:
            continue
        for t in sorted({0, tokens // 2, tokens - 1} if tokens else set()):
            # Tables and the like are not by token.
            own = [
                a[t:t + 1] if kind.startswith("tensor<?") else a
                for a, (_, kind) in zip(arrays, function.inputs)
            ]
            alone = call(group[0], function.name, own)
            for key, a, b in zip(outputs, alone, found):
                if a.tobytes() != b[t:t + 1].tobytes():
                    raise Mismatch(
                        f"{here}: token {t} of {key} has other bits alone"
                    )


def run_examples(files):
    levels = Levels()
    count = 0
    for path in files:
        with open(path, encoding="utf-8") as source:
            text = source.read()
        canonical = tool("moe-opt", path)
        functions = [
            semantics.Function(line)
            for line in canonical.splitlines()
            if "func.func @" in line
        ]
        with tempfile.TemporaryDirectory() as scratch:
            rng = np.random.default_rng(len(text))
            weights = None
            tensors = semantics.make_weights(rng, canonical)
            if tensors:
                weights = os.path.join(scratch, "weights.safetensors")
                tensorfile.write(weights, tensors)
            # AMX multiplies bf16; of files in f32 one shows that it runs.
            paths = levels.compile(
                path, scratch, "--numerics=strict",
                emulate=path == files[0] or "bf16" in canonical)
            for function in functions:
                for n in (0, 1, 2, 17, 333):
                    inputs = {}
                    for key, kind in function.inputs:
                        extents, dtype = semantics.parse_type(kind)
                        inputs[key] = semantics.random_tensor(
                            rng, [n if e is None else e for e in extents], dtype
                        )
                    # Counts are of the batch, not of a token; and some
                    # routers look at all tokens, or at a token's place.
                    by_token = not COUPLES.search(canonical) and all(
                        "?" in kind for _, kind in function.outputs
                    )
                    check_function(
                        levels, paths, weights, path, function, inputs,
                        f"{os.path.basename(path)}: {function.name}, "
                        f"{n} tokens",
                        scratch, by_token,
                    )
                count += 1
        print(f"{os.path.basename(path)}: equal to the interpreter")
    print(f"{count} functions of {len(files)} files")
    if not count:
        raise Mismatch("nothing was compared")
    levels.report()


# family, dtype, H, F, E, k, further arguments of make_model.py
SHAPES = [
    ("mixtral", "f32", 40, 56, 5, 3, []),
    ("mixtral", "bf16", 40, 56, 5, 3, []),
    ("olmoe", "bf16", 1, 1, 1, 1, []),
    ("olmoe", "f32", 33, 17, 7, 7, []),
    ("qwen3_moe", "bf16", 64, 48, 256, 8, []),
    ("qwen3_moe", "f32", 31, 65, 256, 8, []),
    ("qwen2_moe", "bf16", 40, 24, 6, 2, ["--shared=56"]),
    ("deepseek_v3", "bf16", 96, 40, 256, 8, ["--groups=8", "--keep-groups=4"]),
]


def run_shapes():
    levels = Levels()
    for family, dtype, h, f, e, k, extra in SHAPES:
        name = f"{family} {dtype} H={h} F={f} E={e} k={k}"
        with tempfile.TemporaryDirectory() as scratch:
            model = os.path.join(scratch, "model")
            tool(
                sys.executable, os.path.join(GOLDEN, "make_model.py"),
                f"--family={family}", f"--hidden={h}", f"--intermediate={f}",
                f"--experts={e}", f"--top-k={k}", f"--dtype={dtype}",
                f"--out={model}", f"--seed={h}", *extra,
            )
            module = os.path.join(scratch, "model.mlir")
            phase = "--compile-to=import"
            tool("moe-compile", model, "-q", phase, "-o", module)
            with open(module, encoding="utf-8") as source:
                text = source.read()
                layer = re.search(r"@layers\.(\d+)\.mlp", text).group(1)
            kind = f"tensor<?x{h}x{dtype}>"
            function = semantics.Function(
                f"func.func @layers.{layer}.mlp(%x: {kind}) -> {kind} {{"
            )
            paths = levels.compile(model, scratch, "--numerics=strict")
            rng = np.random.default_rng(h)
            for n in (0, 1, 2, 17, 1000):
                x = rng.standard_normal((n, h), np.float32)
                # Equal tokens visit equal experts; the others get none.
                equal = x[:1].repeat(n, 0)
                for what, rows in (("random", x), ("equal", equal)):
                    check_function(
                        levels, paths, model, module, function,
                        {"x": tensorfile.from_f32(rows, dtype.upper())},
                        f"{name}, {n} {what} tokens", scratch, True,
                    )
        print(f"{name}: equal to the interpreter")
    levels.report()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["golden", "examples", "shapes"])
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    try:
        if args.what == "golden":
            run_golden(args.names)
        elif args.what == "examples":
            run_examples(args.names)
        else:
            run_shapes()
    except Mismatch as error:
        sys.exit(f"FAILED: {error}")


if __name__ == "__main__":
    main()
