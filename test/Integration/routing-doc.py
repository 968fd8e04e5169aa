#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Executes docs/Routing.md.

usage: routing-doc.py ROOT DIR

Writes the module of the page into DIR, runs the page's commands there, compares
the compiled module with the interpreter, and looks for every file and every op
that the page names.
"""

import os
import pathlib
import re
import subprocess
import sys


def main(root, folder):
    root, folder = pathlib.Path(root), pathlib.Path(folder)
    text = (root / "docs" / "Routing.md").read_text()
    (module,) = re.findall(r"^```mlir\n// (\S+)\n(.*?)^```$", text, re.M | re.S)
    (script,) = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    folder.mkdir(parents=True)
    (folder / module[0]).write_text(module[1])
    subprocess.run(["/bin/sh", "-eux", "-c", script], cwd=folder, check=True)
    compiled = root / "test" / "Integration" / "compiled.py"
    subprocess.run(
        [sys.executable, "-B", compiled, "examples", folder / module[0]],
        check=True,
    )

    examples = root / "docs" / "Examples"
    missing = [
        name
        for name in re.findall(r"`((?:Experts/)?[\w-]+\.mlir)`", text)
        if not any(examples.glob(f"*/{pathlib.Path(name).name}"))
    ]
    links = re.findall(r"\]\(([^):]+)\)", text)
    missing += [n for n in links if not (root / "docs" / n).exists()]
    ops = (root / "docs" / "Dialects" / "Moe" / "Ops.md").read_text()
    named_ops = re.findall(r"(?<![#!\w-])moe\.(?!mlir)[a-z_]+", text)
    missing += [name for name in set(named_ops) if f"`{name}`" not in ops]
    # Every router of the page has an example, and the other way round.
    named = set(re.findall(r"`([\w-]+\.mlir)`", text))
    for path in sorted((examples / "Routers").glob("*.mlir")):
        source = path.read_text()
        if path.name not in named and "policy<" not in source:
            missing.append(path.name)
    for name in missing:
        print(f"docs/Routing.md: {name} is missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
