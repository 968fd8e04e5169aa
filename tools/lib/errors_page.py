#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Writes docs/Errors.md from the table of errors.

usage: errors_page.py ErrorCodes.def OUTPUT
"""

import pathlib
import re
import sys
import textwrap

BLOCKS = {
    0: "Usage, input and output files",
    1: "Toolchain and build scripts",
    2: "Import of a model description",
    3: "Artifact and hardware",
    4: "Weights",
    5: "Numerics",
    6: "Memory",
    90: "Internal",
}
HEAD = """\
<!-- Generated from runtime/include/moert/Format/ErrorCodes.def by the target
     moe-doc; edit that table. -->

# Errors

Every message has the form

    error[MOEnnnn]: what
     --> where
    because why
    fix: what to do

and every tool ends with the exit code of its error: 0 success, 1 diagnosed
failure, 2 usage, 3 artifact incompatible with this machine, 4 weights missing
or not matching, 5 numerical check failed, 6 out of memory, 70 internal error,
128 + n killed by signal n. Numbers are never reused.
"""
ENTRY = re.compile(
    r'MOE_ERROR\((\d+),\s*(\d+),\s*("(?:[^"\\]|\\.)*"),\s*'
    r'((?:"(?:[^"\\]|\\.)*"\s*)+)\)'
)


def unquote(literals):
    """The text of C string literals that stand side by side."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"', literals)
    return re.sub(r"\\(.)", r"\1", "".join(parts))


def page(table):
    """The page for the text of the table."""
    table = re.sub(r"(?m)^\s*//.*$", "", table)
    body = table[table.index("#endif") :]
    entries = ENTRY.findall(body)
    if len(entries) != body.count("MOE_ERROR(") or not entries:
        sys.exit("an entry of the table is not of the form that is read here")
    text = HEAD
    last = None
    for number, code, title, explanation in sorted(
        entries, key=lambda entry: int(entry[0])
    ):
        block = int(number) // 100
        if block != last:
            text += f"\n## {BLOCKS[block]}\n"
            last = block
        text += f"\n### MOE{int(number):04}: {unquote(title)}\n"
        words = f"Exit code {code}. {unquote(explanation)}"
        text += "\n" + textwrap.fill(words, 80, break_on_hyphens=False) + "\n"
    return text


def main(table, output):
    text = page(pathlib.Path(table).read_text())
    pathlib.Path(output).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(output).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
