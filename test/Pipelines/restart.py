#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compiles files phase by phase, through text and through bytecode, and all at
once, and compares the results byte for byte, with and without locations.

Also checks that the result of each phase prints as it was read. Exit status 0,
or 1 when something differs.

    restart.py [--phases NAME,...] [--targets NAME,...] FILE...
"""

import argparse
import os
import subprocess
import sys
import tempfile

PHASES = "import,graph,routed,tiled"
TARGETS = "x86-64"


def opt(source, passes, output, *flags):
    command = [
        "moe-opt",
        source,
        f"-pass-pipeline=builtin.module({passes})",
        "-o",
        output,
        *flags,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"{' '.join(command)}\nexit status {done.returncode}\n{done.stderr}"
        )


def read(path):
    with open(path, "rb") as file:
        return file.read()


def check(file, phases, targets, folder):
    """The number of comparisons and what was found to differ."""
    count, different = 0, []

    def path(name):
        return os.path.join(folder, name)

    def expect_equal(first, second, what):
        nonlocal count
        count += 1
        if read(path(first)) != read(path(second)):
            different.append(what)

    # What a compilation depends on is an attribute of the module.
    opt(file, "", path("plain.mlir"), "--mlir-print-debuginfo")
    with open(path("plain.mlir")) as plain:
        text = plain.read()
    with open(path("start.mlir"), "w") as start:
        names = ", ".join(f'"{name}"' for name in targets)
        attributes = f'moe.targets = [{names}], moe.numerics = "default"'
        attributes = f"module attributes {{{attributes}}} {{"
        start.write(text.replace("module {", attributes, 1))

    for mode, flags in (("plain", ()), ("loc", ("--mlir-print-debuginfo",))):
        opt(path("start.mlir"), ",".join(phases), path("once.mlir"), *flags)
        opt(path("start.mlir"), ",".join(phases), path("again.mlir"), *flags)
        expect_equal("once.mlir", "again.mlir", f"{mode} again")
        current = "start.mlir"
        for phase in phases:
            result = f"{phase}-{mode}.mlir"
            opt(path(current), phase, path(result), *flags)
            opt(path(result), "", path("printed.mlir"), *flags)
            expect_equal(result, "printed.mlir", f"{mode} {phase} printed")
            current = result
        expect_equal("once.mlir", current, f"{mode} step by step")

    current = path("start.mlir")
    for phase in phases:
        result = path(f"{phase}.mlirbc")
        opt(current, phase, result, "--emit-bytecode")
        current = result
    opt(current, "", path("bytecode.mlir"), "--mlir-print-debuginfo")
    expect_equal("once.mlir", "bytecode.mlir", "bytecode")
    return count, different


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--phases", default=PHASES)
    parser.add_argument("--targets", default=TARGETS)
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    phases = [f"moe-{name}" for name in options.phases.split(",")]
    targets = options.targets.split(",")
    failures = 0
    for file in options.files:
        with tempfile.TemporaryDirectory() as folder:
            count, different = check(file, phases, targets, folder)
        name = os.path.basename(file)
        for what in different:
            print(f"{name}: {what}: DIFFERENT")
        print(f"{name}: {count - len(different)} of {count} equal")
        failures += len(different)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
