#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Packs a folder that checks GPU code on a machine with an NVIDIA driver.

usage: tools/gpu-check [--build DIR] [--families NAME,...]
                       [--target ARCH,...] [--save-temps DIR]
                       [--bench NAME,...] FOLDER

FOLDER, which must not exist yet, gets the runtime's tools, artifacts with their
weights, inputs, the interpreter's outputs, those of the emulator, and a program
`run`. Copy it to the machine with the GPU and start `./run` there: Python 3 is
all that it needs. It writes report.json and prints a table; see ./run --help.

  --build DIR        the build to take the tools from (default: build)
  --families NAMES   of mixtral, olmoe, qwen2_moe, qwen3_moe, deepseek_v3
                     (default: all)
  --target ARCHS     default sm_80,sm_90a
  --save-temps DIR   keep the emulated kernels, to run the folder itself on
                     the stand-in driver
  --bench NAMES      also artifacts of real size, of olmoe, qwen3_moe, mixtral;
                     their weights are drawn on the machine with the GPU,
                     which then needs numpy
"""

import getopt
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import steps
from steps import ROOT, say

sys.path.insert(0, str(ROOT / "test" / "golden"))
sys.path.insert(0, str(ROOT / "test" / "Integration"))

# family: H, F, E, k and further arguments of make_model.py; small experts, the
# real number of them and the real policy.
FAMILIES = {
    "mixtral": (192, 320, 8, 2, []),
    "olmoe": (136, 80, 64, 8, []),
    "qwen2_moe": (100, 44, 60, 4, ["--shared=176"]),
    "qwen3_moe": (128, 72, 128, 8, []),
    "deepseek_v3": (112, 40, 256, 8, ["--groups=8", "--keep-groups=4"]),
}
BENCH = {
    "olmoe": (2048, 1024, 64, 8),
    "qwen3_moe": (2048, 768, 128, 8),
    "mixtral": (4096, 14336, 8, 2),
}
TOKENS = (1, 17, 333)


def make_model(folder, family, h, f, e, k, extra):
    steps.run(
        [sys.executable, "-B", ROOT / "test" / "golden" / "make_model.py",
         f"--family={family}", f"--hidden={h}", f"--intermediate={f}",
         f"--experts={e}", f"--top-k={k}", "--dtype=bf16", f"--out={folder}",
         *extra],
        f"cannot make the model {family}")


class Packer:
    def __init__(self, build, targets, folder, temps):
        self.build, self.targets = build, targets
        self.folder, self.temps = folder, temps
        self.cases = []

    def tool(self, name, *arguments, env=None):
        return steps.run([self.build / "bin" / name, *arguments],
                         f"{name} failed", env=env)

    def compile(self, source, output, *flags):
        self.tool("moe-compile", source, "-q", "-o", output,
                  f"--target=x86-64-v3,{self.targets}",
                  f"--save-temps={self.temps}", *flags)

    def standin(self):
        """Environment in which moe-run meets the emulator."""
        arch = self.targets.split(",")[0].removesuffix("a")
        return dict(
            os.environ, MOE_STANDIN_DEVICE=arch,
            MOE_STANDIN_IMAGES=str(self.temps),
            MOE_CUDA_LIBRARY=str(self.build / "test/StandIn/libcuda.so.1"))

    def add(self, name, artifact, function, inputs, expected, limit):
        """One call: input and expected output as .npy, the emulator's too."""
        import numpy as np

        place = pathlib.Path("cases") / name
        (self.folder / place).mkdir(parents=True)
        np.save(self.folder / place / "x.npy", inputs)
        if expected is not None:
            np.save(self.folder / place / "y.npy", expected)
        self.tool(
            "moe-run", self.folder / artifact, "-q", "--device=cuda:0",
            f"--function={function}",
            f"--input=@{self.folder / place / 'x.npy'}",
            f"--output=@{self.folder / place / 'emulated.npy'}",
            env=self.standin())
        self.cases.append({
            "name": name, "artifact": str(artifact), "function": function,
            "reference": expected is not None, "limit": limit})

    def add_family(self, family):
        import compiled
        import numpy as np
        import tensorfile

        h, f, e, k, extra = FAMILIES[family]
        scratch = pathlib.Path(tempfile.mkdtemp())
        try:
            model, module = scratch / "model", scratch / "model.mlir"
            make_model(model, family, h, f, e, k, extra)
            self.tool("moe-compile", model, "-q", "--compile-to=import", "-o",
                      module)
            imported = module.read_text()
            layer = re.search(r"@layers\.(\d+)\.mlp", imported).group(1)
            function = f"layers.{layer}.mlp"
            artifact = pathlib.Path("artifacts") / f"{family}.moe"
            self.compile(model, self.folder / artifact, "--weights=embedded")

            # The router alone: its weights as a dense matrix.
            routing = scratch / "routing.mlir"
            text = compiled.routing_module(imported, f"layers.{layer}")
            routing.write_text(text)
            tensors = tensorfile.read_model(str(model))
            eye = np.eye(e, dtype=np.float32).reshape(e, 1, e)
            tensors["one_hot"] = tensorfile.Tensor("F32", eye)
            weights = scratch / "routing.safetensors"
            tensorfile.write(str(weights), tensors)
            router = pathlib.Path("artifacts") / f"{family}-router.moe"
            self.compile(routing, self.folder / router, "--weights=embedded",
                         f"--checkpoint={weights}")

            rng = np.random.default_rng(1)
            os.environ["PATH"] = f"{self.build / 'bin'}:{os.environ['PATH']}"
            for n in TOKENS:
                x = tensorfile.from_f32(
                    rng.standard_normal((n, h), np.float32), "BF16")
                y = compiled.interpret(
                    str(module), function, str(model), {"x": x}, ["y"],
                    str(scratch))[0]
                self.add(f"{family}-{n}", artifact, function, x.data, y.data,
                         1e-2)
                # No tolerance: routing is specified bit for bit.
                self.add(f"{family}-router-{n}", router, "weights", x.data,
                         None, 0)
        finally:
            shutil.rmtree(scratch)

    def add_bench(self, family):
        h, f, e, k = BENCH[family]
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            model = pathlib.Path(scratch) / "model"
            make_model(model, family, h, f, e, k, [])
            artifact = self.folder / "bench" / f"{family}.moe"
            artifact.parent.mkdir(exist_ok=True)
            self.compile(model, artifact)
        shutil.copytree(ROOT / "test" / "golden", self.folder / "golden",
                        dirs_exist_ok=True,
                        ignore=lambda _, names: [
                            n for n in names if not n.endswith(".py")])
        return {"name": family, "artifact": f"bench/{family}.moe", "hidden": h,
                "intermediate": f, "experts": e, "top_k": k}

    def copy_tools(self):
        (self.folder / "bin").mkdir()
        (self.folder / "lib").mkdir()
        (self.folder / "artifacts").mkdir()
        for name in ("moe-run", "moe-inspect"):
            shutil.copy2(self.build / "bin" / name, self.folder / "bin")
        # What a plain machine need not have.
        linked = subprocess.run(["ldd", self.build / "bin" / "moe-run"],
                                capture_output=True, text=True).stdout
        for library in re.findall(r"=> (\S*/lib(?:fmt|xxhash)\S*)", linked):
            shutil.copy2(library, self.folder / "lib")
        run = self.folder / "run"
        shutil.copy2(ROOT / "tools" / "lib" / "gpu_check_run.py", run)
        run.chmod(0o755)


def body():
    try:
        options, rest = getopt.getopt(
            sys.argv[1:], "h", ["help", "build=", "families=", "target=",
                                "save-temps=", "bench="])
    except getopt.GetoptError as problem:
        raise steps.error(1, str(problem),
                          fix="tools/gpu-check --help lists the options",
                          exit_code=2)
    options = dict(options)
    if "-h" in options or "--help" in options:
        print(__doc__)
        return 0
    if len(rest) != 1:
        raise steps.error(1, "expected one folder to write",
                          fix="tools/gpu-check FOLDER", exit_code=2)
    folder = pathlib.Path(rest[0]).resolve()
    if folder.exists():
        raise steps.error(11, f"'{rest[0]}' exists already",
                          fix="name a new folder", exit_code=2)
    build = pathlib.Path(options.get("--build", ROOT / "build")).resolve()
    for needed in ("bin/moe-compile", "test/StandIn/libcuda.so.1"):
        if not (build / needed).exists():
            raise steps.error(11, f"there is no '{build / needed}'",
                              fix="run tools/check first, or name --build")
    families = options.get("--families", ",".join(FAMILIES)).split(",")
    bench = [n for n in options.get("--bench", "").split(",") if n]
    for names, known in ((families, FAMILIES), (bench, BENCH)):
        for name in names:
            if name not in known:
                raise steps.error(1, f"unknown family '{name}'",
                                  fix=f"use one of: {', '.join(known)}",
                                  exit_code=2)
    with tempfile.TemporaryDirectory() as scratch:
        temps = pathlib.Path(options.get("--save-temps", scratch)).resolve()
        packer = Packer(build, options.get("--target", "sm_80,sm_90a"), folder,
                        temps)
        try:
            folder.mkdir(parents=True)
            packer.copy_tools()
            for family in families:
                say(f"packing {family}")
                packer.add_family(family)
            benches = [packer.add_bench(family) for family in bench]
            (folder / "cases.json").write_text(json.dumps(
                {"targets": packer.targets, "cases": packer.cases,
                 "bench": benches}, indent=1) + "\n")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    say(f"{len(packer.cases)} cases, {size / 2**20:.1f} MiB in {rest[0]}")
    return 0


if __name__ == "__main__":
    steps.main(body)
