#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Runs the commands of README.md as they stand there.

usage: readme.py ROOT BUILD DIR

They run in DIR, a new folder that looks like a checkout whose build is BUILD.
Also: every file that README.md links to exists.
"""

import os
import pathlib
import re
import subprocess
import sys


def fenced(text, language, count):
    """The fenced blocks of a language, in order."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    if len(blocks) != count:
        sys.exit(
            f"README.md has {len(blocks)} blocks of {language}, not {count}"
        )
    return blocks


def main(root, build, folder):
    root = pathlib.Path(root).resolve()
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    for name in ("test", "python", "tools"):
        (folder / name).symlink_to(root / name)
    (folder / "build").symlink_to(pathlib.Path(build).resolve())
    text = (root / "README.md").read_text()
    start, gpu = fenced(text, "sh", 2)
    if len(start.splitlines()) > 10:
        sys.exit(f"the start has {len(start.splitlines())} lines, not ten")
    (python,) = fenced(text, "python", 1)
    script = (
        f"set -eux\n{start}\n{gpu}\n"
        "python3 - <<'PYTHON'\n"
        'import numpy\nx = numpy.load("x.npy")\n'
        f"{python}\n"
        'assert (y == numpy.load("y.npy")).all()\n'
        "PYTHON\n"
    )
    environment = dict(
        os.environ,
        MOERT_LIBRARY=str(pathlib.Path(build) / "lib" / "libmoert.so.0"),
        # The interpreter with numpy comes first.
        PATH=os.pathsep.join(
            [os.path.dirname(sys.executable), os.environ["PATH"]]
        ),
    )
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, env=environment
    )
    if done.returncode:
        return done.returncode
    made = ["tiny.moe", "both.moe", "x.npy", "y.npy", "experts.json"]
    made.append("experts.png")
    missing = [name for name in made if not (folder / name).is_file()]
    links = re.findall(r"\]\(([^):]+)\)", re.sub(r"(?ms)^```.*?^```", "", text))
    missing += [name for name in links if not (root / name).exists()]
    for name in missing:
        print(f"README.md: {name} is missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
