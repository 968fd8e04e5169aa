#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compiles models for GPUs and runs every kernel of them in the emulator.

    gpu.py golden [NAME...]     the golden directories
    gpu.py examples FILE...     .mlir files, against the interpreter
    gpu.py blocks               blocks of the families with real E, k and policy
    gpu.py fuzz COUNT [SEED]    random awkward shapes, each architecture in turn
    gpu.py bugs                 bugs planted into the kernels are found by name

The runtime's own CUDA driver runs the artifact on the stand-in libcuda.so.1,
whose kernels are the emulated cut modules that `--save-temps` wrote, with all
checks on, under the schedules late, eager and random; once command by command
and once as a captured graph, whose bits must be equal. Outputs are compared
with the golden tensors or the interpreter, routing weights bit for bit with
those of the CPU. Exit status 0, or 1 when anything differs or the emulator
finds something.
"""

import argparse
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, os.pardir, "golden"))

import catalog  # noqa: E402
import compiled  # noqa: E402
from compiled import Mismatch, relative_error, tool  # noqa: E402
import semantics  # noqa: E402
import tensorfile  # noqa: E402

LIMIT = {"F32": 1e-5, "BF16": 1e-2, "F16": 2e-3}
ARCHS = ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"]
SCHEDULES = ["late", "eager", "random:7"]


class Run:
    """Artifacts of one process, and what their functions must give."""

    def __init__(self, folder):
        self.folder = folder
        self.images = os.path.join(folder, "images")
        os.mkdir(self.images)
        self.cases = []
        self.count = 0

    def compile(self, source, arch, *flags):
        self.count += 1
        path = os.path.join(self.folder, f"{self.count}.moe")
        tool("moe-compile", source, "-q", "-o", path,
             f"--target=x86-64-v3,{arch}", f"--save-temps={self.images}",
             *flags)
        return path

    def add(self, where, path, weights, function, inputs, outputs):
        """`outputs` are (name, Tensor) pairs; None: the bits of the CPU."""
        self.cases.append((where, path, weights, function, inputs, outputs))

    def check(self, arch, schedules=SCHEDULES):
        """Runs all cases under each schedule, then forgets them."""
        path = os.path.join(self.folder, "cases.pickle")
        with open(path, "wb") as file:
            pickle.dump(self.cases, file)
        for schedule in schedules:
            report = os.path.join(self.folder, "report")
            environment = dict(
                os.environ,
                MOE_CUDA_LIBRARY=standin(),
                MOE_STANDIN_IMAGES=self.images,
                MOE_STANDIN_DEVICE=re.sub("a$", "", arch),
                MOE_STANDIN_SCHEDULE=schedule,
                MOE_STANDIN_REPORT=report,
                MOE_STANDIN_LEAKS="1",
            )
            done = subprocess.run(
                [sys.executable, "-B", __file__, "child", path],
                env=environment, capture_output=True, text=True)
            found = ""
            if os.path.exists(report):
                with open(report, encoding="utf-8") as file:
                    found = file.read()
                os.remove(report)
            if done.returncode or found:
                raise Mismatch(
                    f"{arch}, schedule {schedule}:\n{done.stdout}{done.stderr}"
                    f"{found}")
        count = len(self.cases)
        self.cases = []
        return count


def standin():
    """The stand-in beside the library under test."""
    library = os.environ["MOERT_LIBRARY"]
    build = os.path.dirname(os.path.dirname(os.path.abspath(library)))
    return os.path.join(build, "test", "StandIn", "libcuda.so.1")


def compare(where, name, found, expected):
    if found.shape != expected.data.shape:
        raise Mismatch(f"{where}: {name} is {found.shape}")
    if expected.dtype.startswith("I"):
        if not np.array_equal(found, expected.data):
            raise Mismatch(f"{where}: {name} differs")
        return
    tensor = tensorfile.Tensor(expected.dtype, found)
    nans = np.isnan(tensorfile.to_f32(expected))
    if not np.array_equal(np.isnan(tensorfile.to_f32(tensor)), nans):
        raise Mismatch(f"{where}: {name} has NaNs elsewhere")
    if nans.any():
        return
    error = relative_error(tensor, expected)
    if not error <= LIMIT[expected.dtype]:
        raise Mismatch(f"{where}: {name} has error {error:.2e}")


def child(path):
    """Runs pickled cases on the device of this process's environment."""
    import moe

    with open(path, "rb") as file:
        cases = pickle.load(file)
    sessions = {}

    def session(path, weights, device, **options):
        key = (path, device, str(options))
        if key not in sessions:
            sessions[key] = moe.load(
                path, weights=weights, device=device, **options)
        return sessions[key]

    for where, path, weights, function, inputs, outputs in cases:
        direct = compiled.call(
            session(path, weights, "cuda:0"), function, inputs)
        graph = session(path, weights, "cuda:0", graphs=True)
        for _ in range(2):  # captured, then replayed
            replayed = compiled.call(graph, function, inputs)
            for a, b in zip(direct, replayed):
                if a.tobytes() != b.tobytes():
                    raise Mismatch(f"{where}: the graph gives other bits")
        if outputs is None:
            host = compiled.call(
                session(path, weights, "cpu"), function, inputs)
            for a, b in zip(direct, host):
                if a.tobytes() != b.tobytes():
                    raise Mismatch(f"{where}: the CPU gives other bits")
            continue
        for (name, expected), found in zip(outputs, direct):
            compare(where, name, found, expected)
    for open_session in sessions.values():
        open_session.close()


def add_routing(run, source, imported, block, arch, inputs, where, tensors):
    """Cases that compare routing weights with the CPU's, bit for bit."""
    text = compiled.routing_module(imported, block)
    path = os.path.join(run.folder, f"routing{run.count}.mlir")
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    experts = int(re.search(r"@one_hot : tensor<(\d+)x", text).group(1))
    one_hot = np.eye(experts, dtype=np.float32).reshape(experts, 1, experts)
    tensors = dict(tensors, one_hot=tensorfile.Tensor("F32", one_hot))
    weights = os.path.join(run.folder, f"routing{run.count}.safetensors")
    tensorfile.write(weights, tensors)
    artifact = run.compile(path, arch)
    for x in inputs:
        run.add(f"{where}: routing of {len(x)} tokens", artifact, weights,
                "weights", [x], None)


def read_model(directory):
    tensors = {}
    for name in os.listdir(directory):
        if name.endswith(".safetensors") and name != "golden.safetensors":
            tensors |= tensorfile.read(os.path.join(directory, name))[0]
    return tensors


def run_golden(folder, names):
    run = Run(folder)
    if names:
        golden_cases(run, names, SCHEDULES)
        return
    names = sorted(
        name for name in os.listdir(compiled.GOLDEN)
        if os.path.isfile(
            os.path.join(compiled.GOLDEN, name, "golden.safetensors")))
    golden_cases(run, [n for n in names if catalog.find(n) is None], SCHEDULES)
    # Of the families of catalog.py those in bf16, under one schedule.
    rest = [n for n in names if catalog.find(n) is not None and "-bf16" in n]
    golden_cases(run, rest, SCHEDULES[:1])


def golden_cases(run, names, schedules):
    compared = 0
    for name in names:
        directory = os.path.join(compiled.GOLDEN, name)
        golden = tensorfile.read(
            os.path.join(directory, "golden.safetensors"))[0]
        try:
            artifact = run.compile(directory, "sm_80")
        except Mismatch as error:
            # The families of catalog.py may have forms that GPUs do not run
            # yet; the compiler must say which.
            if catalog.find(name) is None or not re.search(
                    r"error\[MOE\d+\]: GPUs do not have", str(error)):
                raise
            refusal = re.search(r"error\[MOE\d+\]: .*", str(error)).group(0)
            print(f"{name}: {refusal}")
            continue
        compared += 1
        imported = tool(
            "moe-compile", directory, "-q", "--compile-to=import", "-o", "-")
        tensors = read_model(directory)
        by_block = {}
        for key in golden:
            if not key.endswith(".input"):
                continue
            case = key.removesuffix(".input")
            block = case.rpartition(".")[0]
            x = golden[key].data
            by_block.setdefault(block, []).append(x)
            run.add(f"{name}: {case}", artifact, directory,
                    f"{block}.mlp", [x],
                    [("output", golden[case + ".output"])])
        block, inputs = next(iter(by_block.items()))
        add_routing(run, directory, imported, block, "sm_80", inputs, name,
                    tensors)
    count = run.check("sm_80", schedules)
    print(f"golden: {compared} directories, {count} cases, "
          f"{len(schedules)} schedules, no findings")


def run_examples(folder, files):
    run = Run(folder)
    for path in files:
        with open(path, encoding="utf-8") as source:
            text = source.read()
        canonical = tool("moe-opt", path)
        rng = np.random.default_rng(len(text))
        weights = None
        tensors = semantics.make_weights(rng, canonical)
        if tensors:
            weights = os.path.join(folder, f"weights{run.count}.safetensors")
            tensorfile.write(weights, tensors)
        try:
            artifact = run.compile(path, "sm_80")
        except Mismatch as error:
            # What GPUs do not run yet must be refused by name.
            refusal = re.search(
                r"error\[MOE0113\]: GPUs do not have .*", str(error))
            if not refusal:
                raise
            print(f"{os.path.basename(path)}: {refusal.group(0)}")
            continue
        for line in canonical.splitlines():
            if "func.func @" not in line:
                continue
            function = semantics.Function(line)
            keys = [key for key, _ in function.outputs]
            for n in (0, 1, 17):
                inputs = {}
                for key, kind in function.inputs:
                    extents, dtype = semantics.parse_type(kind)
                    inputs[key] = semantics.random_tensor(
                        rng, [n if e is None else e for e in extents], dtype)
                expected = compiled.interpret(
                    path, function.name, weights, inputs, keys, folder)
                run.add(f"{os.path.basename(path)}: {function.name}, "
                        f"{n} tokens", artifact, weights, function.name,
                        [t.data for t in inputs.values()],
                        list(zip(keys, expected)))
    count = run.check("sm_80")
    print(f"examples: {len(files)} files, {count} cases, "
          f"{len(SCHEDULES)} schedules, no findings")


def add_model(run, arch, family, dtype, h, f, e, k, extra, tokens, seed):
    """Cases of one generated block."""
    name = f"{family} {dtype} H={h} F={f} E={e} k={k} for {arch}"
    model = os.path.join(run.folder, f"model{run.count}")
    tool(sys.executable, os.path.join(compiled.GOLDEN, "make_model.py"),
         f"--family={family}", f"--hidden={h}", f"--intermediate={f}",
         f"--experts={e}", f"--top-k={k}", f"--dtype={dtype}",
         f"--out={model}", f"--seed={seed}", *extra)
    module = model + ".mlir"
    tool("moe-compile", model, "-q", "--compile-to=import", "-o", module)
    with open(module, encoding="utf-8") as source:
        imported = source.read()
    layer = re.search(r"@layers\.(\d+)\.mlp", imported).group(1)
    artifact = run.compile(model, arch)
    rng = np.random.default_rng(seed)
    inputs = []
    for n in tokens:
        x = tensorfile.from_f32(
            rng.standard_normal((n, h), np.float32), dtype.upper())
        expected = compiled.interpret(
            module, f"layers.{layer}.mlp", model, {"x": x}, ["y"], run.folder)
        run.add(f"{name}, {n} tokens", artifact, model, f"layers.{layer}.mlp",
                [x.data], [("y", expected[0])])
        inputs.append(x.data)
    add_routing(run, model, imported, f"layers.{layer}", arch, inputs, name,
                read_model(model))
    return name


# family, dtype, H, F, E, k, further arguments of make_model.py
BLOCKS = [
    ("mixtral", "bf16", 192, 320, 8, 2, []),
    ("olmoe", "bf16", 136, 80, 64, 8, []),
    ("qwen2_moe", "bf16", 100, 44, 60, 4, ["--shared=176"]),
    ("qwen3_moe", "bf16", 128, 72, 128, 8, []),
    ("deepseek_v3", "bf16", 112, 40, 256, 8,
     ["--groups=8", "--keep-groups=4"]),
]
TOKENS = (0, 1, 17, 333)


def run_blocks(folder):
    for arch, schedules, tokens in (("sm_80", SCHEDULES, TOKENS),
                                    ("sm_90a", ["late"], TOKENS[:3])):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            run = Run(scratch)
            for i, block in enumerate(BLOCKS):
                add_model(run, arch, *block, tokens, seed=i)
            count = run.check(arch, schedules)
            print(f"blocks: {len(BLOCKS)} families, {arch}, {count} cases, "
                  f"{len(schedules)} schedules, no findings")


def run_fuzz(folder, count, seed):
    rng = random.Random(seed)
    awkward = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 40, 63, 64, 65, 72, 80, 100,
               127, 130]
    for i in range(count):
        arch = ARCHS[i % len(ARCHS)]
        e = rng.choice([1, 2, 3, 5, 8, 16, 31, 60, 64, 128, 256])
        k = rng.randint(1, min(e, 9))
        h, f = rng.choice(awkward), rng.choice(awkward + [192, 704])
        dtype = rng.choice(["bf16", "bf16", "f32"])
        family = rng.choice(["mixtral", "olmoe", "qwen3_moe"])
        tokens = (0, rng.choice([1, 2, 5, 17, 64, 65, 130]))
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            run = Run(scratch)
            name = add_model(run, arch, family, dtype, h, f, e, k, [], tokens,
                             seed + i)
            run.check(arch, [f"random:{seed + i}"])
        print(f"fuzz {i}: {name}, {tokens[1]} tokens: equal")
    print(f"fuzz: {count} shapes, no findings")


# Bug of test-mutate-cut -> names of the findings, one of which must appear.
BUGS = {
    "missing-barrier": {"race"},
    "missing-wait": {"race", "uninitialised-read"},
    "early-stage-release": {"race", "uninitialised-read"},
    "out-of-bounds": {"out-of-bounds-global"},
    "uninitialised-read": {"uninitialised-read"},
    "divergent-collective": {"divergent-collective"},
    "misaligned-ldmatrix": {"misaligned"},
}
# Places of a bug that are tried, spread over all kernels.
PLACES = 3


def run_bugs(folder):
    """Each bug, planted into the cut module of a block, must be found by its
    name under one of the schedules."""
    run = Run(folder)
    name = add_model(run, "sm_80", "mixtral", "bf16", 136, 200, 4, 2, [], [130],
                     seed=3)
    run.cases = run.cases[:1]
    cases = list(run.cases)
    run.check("sm_80")
    with open(os.path.join(folder, "cases.pickle"), "wb") as file:
        pickle.dump(cases, file)
    # Only the objects of this artifact, not those of its router alone.
    for old in os.listdir(run.images):
        os.remove(os.path.join(run.images, old))
    run.compile(os.path.join(folder, "model0"), "sm_80")
    objects = [f for f in os.listdir(run.images) if f.endswith(".so")]
    cut = os.path.join(run.images, "sm_80.cut.mlir")
    for bug, names in BUGS.items():
        done = subprocess.run(
            ["moe-opt", cut, f"--test-mutate-cut=bug={bug} nth=1000000"],
            capture_output=True, text=True)
        total = int(re.search(r"fits (\d+) places", done.stderr).group(1))
        step = max(1, total // PLACES)
        caught, seen = 0, set()
        places = range(0, total, step)[:PLACES]
        for nth in places:
            # One object for each image: PTX and, with an assembler, cubin.
            first = os.path.join(run.images, objects[0])
            tool("moe-opt", cut, f"--test-mutate-cut=bug={bug} nth={nth}",
                 f"--moe-emit-emulated-object=output={first}", "-o",
                 os.devnull)
            for other in objects[1:]:
                shutil.copyfile(first, os.path.join(run.images, other))
            found = set()
            for schedule in SCHEDULES:
                report = os.path.join(folder, "report")
                environment = dict(
                    os.environ, MOE_CUDA_LIBRARY=standin(),
                    MOE_STANDIN_IMAGES=run.images, MOE_STANDIN_DEVICE="sm_80",
                    MOE_STANDIN_SCHEDULE=schedule, MOE_STANDIN_REPORT=report)
                subprocess.run(
                    [sys.executable, "-B", __file__, "child",
                     os.path.join(folder, "cases.pickle")],
                    env=environment, capture_output=True, text=True)
                if os.path.exists(report):
                    with open(report, encoding="utf-8") as file:
                        found |= set(re.findall(r"^([a-z-]+): ", file.read(),
                                                re.M))
                    os.remove(report)
                if found & names:
                    break
            seen |= found
            caught += bool(found & names)
        print(f"{bug}: {caught} of {len(places)} places found as "
              f"{', '.join(sorted(seen))}")
        if not caught:
            raise Mismatch(f"{bug}: not found in {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "what",
        choices=["golden", "examples", "blocks", "fuzz", "bugs", "child"])
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    try:
        if args.what == "child":
            child(args.names[0])
            return
        with tempfile.TemporaryDirectory() as folder:
            if args.what == "golden":
                run_golden(folder, args.names)
            elif args.what == "examples":
                run_examples(folder, args.names)
            elif args.what == "blocks":
                run_blocks(folder)
            elif args.what == "bugs":
                run_bugs(folder)
            else:
                run_fuzz(folder, int(args.names[0]),
                         int(args.names[1]) if args.names[1:] else 1)
    except Mismatch as error:
        sys.exit(f"FAILED: {error}")


if __name__ == "__main__":
    main()
