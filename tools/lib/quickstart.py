#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""From nothing to a checked run of a real-sized MoE model on this CPU.

usage: tools/quickstart [options] [MODEL_DIR]

Builds what is needed, takes a model directory (without one it writes
OLMoE-1B-7B with random weights: two layers of real size, bf16), compiles it,
looks inside, runs 1, 16 and 128 tokens through every MoE layer, and compares
every row and every expert id with the interpreter. What it writes is under
build/quickstart.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np

import steps
from steps import ROOT, Failure, say

sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "test" / "golden"))
sys.path.insert(0, str(ROOT / "python"))
import moe
import tensorfile

TARGETS = ["moe-compile", "moe-run", "moe-inspect", "moe-interpret", "moert"]
TOKENS = (1, 16, 128)
# Relative Frobenius norm of a row's difference that is still right.
BOUNDS = {"f32": 1e-5, "bf16": 1e-2}
OLMOE = (
    "--family olmoe --hidden 2048 --intermediate 1024 --experts 64 --top-k 8 "
    "--layers 2 --dtype bf16 --shards 2"
).split()
BARS = " ▁▂▃▄▅▆▇█"


def tool(name, *arguments):
    """Runs one of our tools; its failure is ours, with its message."""
    command = [str(tool.folder / name), *map(str, arguments)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    if done.returncode:
        code = done.returncode
        if code < 0:
            code = 128 - code
        text = done.stderr.strip() or f"{name} ended with status {code}"
        raise Failure(f"{text}\nin: {' '.join(command)}", code)
    return done


class Layer:
    """One function of the artifact, with its input and what is right."""

    def __init__(self, info, folder, seed):
        self.info = info
        (self.input,) = info.inputs
        (self.output,) = info.outputs
        if self.input.dtype not in BOUNDS:
            raise steps.error(
                2,
                f"{info.name} takes {self.input.dtype}",
                because="the quickstart makes inputs of f32 and bf16 only",
                fix="use moe-run with inputs of your own",
            )
        self.folder = folder
        random = np.random.default_rng(seed)
        x = random.standard_normal((max(TOKENS), self.input.shape[1]))
        kind = self.input.dtype.upper()
        self.x = tensorfile.from_f32(x.astype(np.float32), kind)
        self.kept = {}

    def file(self, what, suffix="safetensors"):
        return self.folder / f"{self.info.name}.{what}.{suffix}"

    def write_inputs(self):
        for count in TOKENS:
            x = tensorfile.Tensor(self.x.dtype, self.x.data[:count])
            tensorfile.write(self.file(f"x{count}"), {"x": x})

    def interpret(self, module, model):
        """What the interpreter says of all rows: outputs and sorted ids."""
        tool(
            "moe-interpret",
            module,
            f"--function={self.info.name}",
            f"--weights={model}",
            f"--input=@{self.file(f'x{max(TOKENS)}')}",
            f"--output=@{self.file('expected')}",
            f"--routing=@{self.file('routing')}",
        )
        (expected,) = tensorfile.read(self.file("expected"))[0].values()
        self.expected = tensorfile.to_f32(expected).astype(np.float64)
        routing = tensorfile.read(self.file("routing"))[0]
        self.ids = np.sort(routing["0.ids"].data, axis=1)

    def run(self, artifact, model, count):
        """Runs moe-run on the first `count` rows; returns its report."""
        self.stats = self.file(f"experts{count}", "json")
        self.trace = self.file(f"trace{count}", "json")
        done = tool(
            "moe-run",
            artifact,
            f"--function={self.info.name}",
            f"--weights={model}",
            f"--input=@{self.file(f'x{count}')}",
            f"--output=@{self.file(f'y{count}')}",
            f"--expert-stats={self.stats}",
            f"--trace={self.trace}",
            "--repeat=5",
            "--json",
            "-q",
        )
        self.counts = moe.ExpertStats.read(self.stats)
        return json.loads(done.stdout)

    def check_rows(self, count):
        """The largest distance of a row; names what differs."""
        (found,) = tensorfile.read(self.file(f"y{count}"))[0].values()
        found = tensorfile.to_f32(found).astype(np.float64)
        expected = self.expected[:count]
        if found.shape != expected.shape:
            return np.inf, [f"shape {found.shape}, not {expected.shape}"]
        size = np.linalg.norm(expected, axis=1)
        error = np.linalg.norm(found - expected, axis=1)
        distance = error / np.where(size > 0, size, 1)
        # A NaN is larger than any bound.
        distance = np.where(np.isnan(distance), np.inf, distance)
        bound = BOUNDS[self.output.dtype]
        bad = [
            f"token {row}: distance {distance[row]:.3g}, allowed {bound:g}"
            for row in np.flatnonzero(distance > bound)
        ]
        wanted = np.bincount(self.ids[:count].ravel())
        counted = self.counts.counts[0]
        wanted = np.pad(wanted, (0, len(counted) - len(wanted)))
        if (counted != wanted).any():
            expert = int(np.flatnonzero(counted != wanted)[0])
            bad.append(
                f"expert {expert} got {counted[expert]} tokens, the "
                f"interpreter says {wanted[expert]}"
            )
        return distance.max(), bad

    def check_ids(self, session):
        """Experts of every token, told by a call with that token alone."""
        bad = []
        for row, wanted in enumerate(self.ids):
            session.reset_expert_stats()
            session[self.info.name](self.x.data[row : row + 1])
            found = np.flatnonzero(session.expert_stats().counts[0])
            if found.tolist() != wanted.tolist():
                bad.append(
                    f"token {row}: experts {found.tolist()}, the interpreter "
                    f"says {wanted.tolist()}"
                )
        return bad


def histogram(counts):
    """Tokens per expert as a row of bars, and its extremes."""
    top = max(int(counts.max()), 1)
    scaled = -(-counts * (len(BARS) - 1) // top)
    bars = "".join(BARS[height] for height in scaled)
    encoding = sys.stdout.encoding or "ascii"
    try:
        bars.encode(encoding)
    except UnicodeEncodeError:
        bars = " ".join(map(str, counts))
    unused = int((counts == 0).sum())
    return (
        f"|{bars}|  most {counts.max()}, mean {counts.mean():.1f}, "
        f"{unused} of {len(counts)} unused"
    )


def make_model(folder):
    """OLMoE-1B-7B's layer shapes with random weights; kept between runs."""
    model = folder / "OLMoE-1B-7B"
    if model.exists():
        say(f"  {steps.relative(model)} is there already")
        return model
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < 3 << 30:
        raise steps.error(
            11,
            "not enough room on the disk",
            where=folder,
            because="the model and what is made of it take 2 GiB",
            fix="make room, or name a model: tools/quickstart MODEL_DIR",
        )
    script = ROOT / "test" / "golden" / "make_model.py"
    command = [sys.executable, script, *OLMOE, "--out", model]
    steps.run(command, "writing the model")
    return model


def indent(text):
    return textwrap.indent(text.rstrip(), "  ")


def listing(model):
    files = sorted(p for p in model.iterdir() if p.is_file())
    for path in files[:6]:
        say(f"  {path.stat().st_size / 1e6:>10.1f} MB  {path.name}")
    if len(files) > 6:
        say(f"  and {len(files) - 6} more")


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tools/quickstart",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("model", nargs="?", metavar="MODEL_DIR")
    add("--no-install", action="store_true", help="install no packages")
    add("--no-build", action="store_true", help="use what the build holds")
    add("--build", default=ROOT / "build", help="folder of the build")
    add("--out", help="folder to write to (default BUILD/quickstart)")
    add("--seed", type=int, default=1, help="of the inputs")
    return parser.parse_args(arguments)


def compile_model(model, out):
    say(indent(tool("moe-compile", model, "-o", out).stderr))
    module = out.with_suffix(".import.mlir")
    tool("moe-compile", model, "--compile-to=import", "-o", module)
    return module


def run_layers(layers, artifact, model):
    """Runs and checks all; prints the table; returns what differs."""
    say(
        "  function            tokens     time      weights read     speed"
        "   worst row  rows"
    )
    problems = []
    for layer in layers:
        for count in TOKENS:
            report = layer.run(artifact, model, count)
            worst, bad = layer.check_rows(count)
            problems += [f"{layer.info.name}, {count} tokens: {b}" for b in bad]
            say(
                f"  {layer.info.name:<20}{count:>6}"
                f"{report['min_ms']:>10.3f} ms"
                f"{report['weight_bytes_read'] / 1e6:>12.1f} MB"
                f"{report['weight_gb_per_s']:>9.1f} GB/s"
                f"{worst:>10.1e}  {'differ' if bad else 'agree'}"
            )
    say(f"  level {report['isa']}, {report['threads']} threads")
    for layer in layers:
        name = layer.info.name
        # One layer's weights at a time: a whole model may not fit in memory.
        with moe.load(artifact, weights=model, functions=[name]) as session:
            bad = layer.check_ids(session)
        problems += [f"{name}: {b}" for b in bad]
        good = len(layer.ids) - len(bad)
        say(
            f"  {name}: experts of {good} of {len(layer.ids)} tokens equal "
            "the interpreter's"
        )
    return problems


def body():
    options = parse(sys.argv[1:])
    progress = steps.Steps(7)
    build = pathlib.Path(options.build).resolve()
    folder = pathlib.Path(options.out or build / "quickstart").resolve()
    tool.folder = build / "bin"
    os.environ.setdefault("MOERT_LIBRARY", str(build / "lib/libmoert.so.0"))

    progress.start("Build the tools")
    if not options.no_build:
        steps.configure(build, preset="release")
        steps.build(build, TARGETS)
    folder.mkdir(parents=True, exist_ok=True)

    if options.model:
        model = pathlib.Path(options.model).resolve()
        progress.start(f"Take the model {options.model}")
        if not (model / "config.json").is_file():
            raise steps.error(
                202,
                "this is no model directory",
                where=options.model,
                because="it has no config.json",
                fix="name a folder with config.json and safetensors files",
            )
    else:
        progress.start("Write OLMoE-1B-7B with random weights, two layers")
        model = make_model(folder)
    listing(model)

    progress.start("Compile for the CPU")
    artifact = folder / f"{model.name}.moe"
    module = compile_model(model, artifact)

    progress.start("Look inside")
    where = f"--weights={model}"
    say(indent(tool("moe-inspect", artifact, where).stdout))
    say()
    tokens = f"--tokens={max(TOKENS)}"
    say(indent(tool("moe-inspect", "memory", artifact, tokens).stdout))

    functions = moe.Module(artifact).functions.values()
    layers = [
        Layer(info, folder, [options.seed, index])
        for index, info in enumerate(functions)
    ]
    progress.start(f"Interpret {max(TOKENS)} tokens in every layer (slow)")
    for layer in layers:
        layer.write_inputs()
        layer.interpret(module, model)
        say(f"  {layer.info.name}")

    progress.start("Run them compiled, and compare every row")
    problems = run_layers(layers, artifact, model)

    progress.start(f"Which experts {max(TOKENS)} tokens chose")
    for layer in layers:
        say(f"  {layer.info.name:<16}{histogram(layer.counts.counts[0])}")
    show_files(layers, folder)

    say()
    if problems:
        for problem in problems[:10]:
            say(f"  {problem}")
        if len(problems) > 10:
            say(f"  and {len(problems) - 10} more")
        raise steps.error(
            501,
            f"{len(problems)} results differ from the interpreter's",
            where=artifact,
            fix="report it with the output of moe-inspect and the model's "
            "config.json",
            exit_code=5,
        )
    rows = len(layers) * sum(TOKENS)
    say(
        f"All {rows} rows and their experts agree with the interpreter. "
        f"Total time {steps.seconds(progress.total())}."
    )
    return 0


def show_files(layers, folder):
    last = layers[-1]
    say(f"  statistics  {steps.relative(last.stats)}")
    say(f"  time line   {steps.relative(last.trace)}")
    say("              (open it in ui.perfetto.dev or chrome://tracing)")
    all_layers = moe.ExpertStats.merge([layer.counts for layer in layers])
    picture = moe.plot.heatmap(all_layers, folder / "experts.png")
    say(f"  heatmap     {steps.relative(picture)}")


if __name__ == "__main__":
    steps.main(body)
