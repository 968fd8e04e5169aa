#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Every C and C++ file looks as clang-format writes it; no text is sloppy.

usage: check_format.py CLANG_FORMAT ROOT

TableGen, CMake and Python files have no formatter here; of them and of all
other text: no tabs (TableGen, C++, Python), no space at the end of a line, a
newline at the end of the file, and for Python at most 80 columns.
"""

import pathlib
import subprocess
import sys

FORMATTED = {".h", ".cpp", ".c", ".inc"}
TEXT = FORMATTED | {".td", ".py", ".txt", ".cmake", ".md", ".fbs", ".def"}
TEXT |= {".json", ".toml"}
SKIPPED = ("test/golden/",)


def tracked(root):
    """Files of the repository, or of a copy that is none."""
    done = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached"],
        capture_output=True,
    )
    if done.returncode == 0:
        names = done.stdout.decode().split("\0")[:-1]
        return [name for name in names if (root / name).is_file()]
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and not path.relative_to(root).parts[0].startswith(("build", ".git"))
    ]


def text_problems(root, name):
    suffix = pathlib.Path(name).suffix
    if suffix not in TEXT or name.startswith(SKIPPED) and suffix == ".json":
        return
    text = (root / name).read_text()
    if text and not text.endswith("\n"):
        yield f"{name}: no newline at the end"
    for number, line in enumerate(text.split("\n"), 1):
        if line.rstrip(" \t\r") != line:
            yield f"{name}:{number}: space at the end of the line"
        if "\t" in line and suffix != ".md":
            yield f"{name}:{number}: a tab"
        if suffix == ".py" and len(line) > 80:
            yield f"{name}:{number}: {len(line)} columns, more than 80"


def main(clang_format, root):
    root = pathlib.Path(root).resolve()
    names = tracked(root)
    problems = [p for name in names for p in text_problems(root, name)]
    sources = [n for n in names if pathlib.Path(n).suffix in FORMATTED]
    for problem in problems:
        print(problem)
    failed = bool(problems)
    if sources:
        done = subprocess.run(
            [clang_format, "--dry-run", "-Werror", *sources],
            cwd=root,
            capture_output=True,
            text=True,
        )
        lines = done.stderr.splitlines()
        unformatted = {l.split(":")[0] for l in lines if ": error:" in l}
        unformatted = sorted(unformatted)
        for name in unformatted:
            print(f"{name}: not as clang-format writes it")
        if unformatted:
            print(f"run: {clang_format} -i {' '.join(unformatted)}")
        failed |= done.returncode != 0
        if done.returncode and not unformatted:
            print(done.stderr)
    print(f"{len(sources)} sources, {len(names)} files looked at")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
