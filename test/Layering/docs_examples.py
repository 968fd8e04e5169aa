#!/usr/bin/env python3
"""Runs the examples of the documentation.

usage: docs_examples.py [--include DIR] <root of the repository> [page...]

In every .md file of docs/ (or the pages given), fenced blocks marked

    ```sh test                  run by bash -e in a scratch folder that shows
                                the files of the repository
    ```mlir moe-opt=FLAGS       given to moe-opt, which must accept it
    ```mlir moe-opt-fails=FLAGS given to moe-opt, which must refuse it
    ```c test                   compiled, as C, against runtime/include

are examples. Prints one line per example and exits with 1 when one fails, or
when there is none.
"""

import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap


def examples(page):
    """(line, kind, argument, text) of each marked block of a page."""
    fence = re.compile(r"^( *)```(\S+) (\S.*)$")
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        start = fence.match(lines[number])
        number += 1
        if not start:
            continue
        first = number
        while number < len(lines) and lines[number].strip() != "```":
            number += 1
        text = textwrap.dedent("\n".join(lines[first:number])) + "\n"
        mark, _, argument = start.group(3).partition("=")
        yield first, (start.group(2), mark), argument, text


def run_shell(root, text, _):
    with tempfile.TemporaryDirectory() as folder:
        for entry in root.iterdir():
            os.symlink(entry.resolve(), os.path.join(folder, entry.name))
        # python3 is the one that runs this script; what else lies beside it
        # must not hide the tools under test.
        own = os.path.join(folder, ".bin")
        os.mkdir(own)
        python = os.path.join(own, "python3")
        with open(python, "w") as file:
            file.write(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        os.chmod(python, 0o755)
        path = own + os.pathsep + os.environ["PATH"]
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail"],
            input=text,
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )


def run_opt(root, text, flags):
    return subprocess.run(
        ["moe-opt", "-", "-o", os.devnull, *shlex.split(flags)],
        input=text,
        capture_output=True,
        text=True,
    )


def run_c(root, text, _):
    compiler = os.environ.get("CC", "cc")
    return subprocess.run(
        [compiler, "-std=c11", "-Wall", "-Werror", "-fsyntax-only"]
        + [f"-I{root / 'runtime' / 'include'}", "-x", "c", "-"],
        input=text,
        capture_output=True,
        text=True,
    )


KINDS = {
    ("sh", "test"): (run_shell, True),
    ("mlir", "moe-opt"): (run_opt, True),
    ("mlir", "moe-opt-fails"): (run_opt, False),
    ("c", "test"): (run_c, True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("pages", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    pages = options.pages or sorted((options.root / "docs").rglob("*.md"))
    count = failures = 0
    for page in pages:
        for line, kind, argument, text in examples(page):
            where = f"{page.name}:{line}: {kind[0]} {kind[1]}"
            count += 1
            if kind not in KINDS:
                print(f"{where}: unknown kind of example")
                failures += 1
                continue
            run, succeeds = KINDS[kind]
            done = run(options.root, text, argument)
            if (done.returncode == 0) == succeeds and done.returncode >= 0:
                print(f"{where}: ok")
                continue
            print(f"{where}: FAILED with {done.returncode}")
            print(done.stdout + done.stderr)
            failures += 1
    print(f"{count - failures} of {count} examples work")
    return int(failures > 0 or count == 0)


if __name__ == "__main__":
    sys.exit(main())
