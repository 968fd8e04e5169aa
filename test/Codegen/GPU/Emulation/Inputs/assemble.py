# ===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compiles cut modules to PTX, and assembles it where ptxas is at hand.

usage: assemble.py MLIR_OPT FILE...

Prints a line per file. Spilled registers and serialised wgmma are failures.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FEATURES = {"sm_80": "+ptx80", "sm_90a": "+ptx86"}


def find_ptxas():
    for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        if home and os.access(os.path.join(home, "bin", "ptxas"), os.X_OK):
            return os.path.join(home, "bin", "ptxas")
    return shutil.which("ptxas")


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def ptx_of(text):
    """The PTX in an MLIR module of images, whose strings escape bytes."""
    found = re.search(r'(?:assembly|bin) = "((?:[^"\\]|\\.)*)"', text)
    escaped = found.group(1)
    plain = re.sub(
        r'\\([0-9A-Fa-f]{2}|["\\])',
        lambda m: m.group(1)
        if len(m.group(1)) == 1
        else chr(int(m.group(1), 16)),
        escaped,
    )
    return plain.rstrip("\0")


def main(mlir_opt, files):
    ptxas = find_ptxas()
    for name in files:
        chip = re.search(
            r'moe\.arch = "(\w+)"', pathlib.Path(name).read_text()
        ).group(1)
        pipeline = (
            "builtin.module(gpu.module(convert-nvvm-to-llvm),"
            f"nvvm-attach-target{{chip={chip} features={FEATURES[chip]} O=3}},"
            "gpu-module-to-binary{format=isa})"
        )
        ptx = ptx_of(run([mlir_opt, name, f"--pass-pipeline={pipeline}"]))
        short = pathlib.Path(name).stem
        if ".extern .func" in ptx:
            sys.exit(f"{short}: the PTX needs a library")
        if not ptxas:
            print(f"{short}: PTX for {chip}, not assembled: no ptxas")
            continue
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "a.ptx")
            pathlib.Path(source).write_text(ptx)
            cubin = os.path.join(folder, "a.cubin")
            log = run([ptxas, "-v", f"-arch={chip}", source, "-o", cubin])
        spills = re.findall(r"([1-9]\d*) bytes spill", log)
        if spills or re.search(r"C75(10|14)", log):
            sys.exit(f"{short}: {log}")
        print(f"{short}: PTX for {chip}, assembled")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
