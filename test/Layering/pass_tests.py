#!/usr/bin/env python3
"""Checks that every pass is described and tested.

usage: pass_tests.py <root of the repository>

For each flag of a Passes.td (`moe-x`, or `convert-x` between dialects): a
summary, a description, a test x.mlir (convert-x.mlir) that runs it and an error
twin, -invalid.mlir, that runs it. Passes of the tests' own (`test-x`) need a
test that runs them.
"""

import pathlib
import re
import sys


def passes(td):
    """(flag, summary, description) of each pass that a .td file defines."""
    text = re.sub(r"//.*", "", td.read_text())
    for body in re.split(r"(?m)^def\s+", text)[1:]:
        head = re.search(r'Pass<\s*"([^"]+)"', body.split("{")[0])
        if not head:
            continue
        summary = re.search(r'let\s+summary\s*=\s*"([^"]+)"', body)
        description = re.search(
            r"let\s+description\s*=\s*\[\{(.*?)\}\]", body, re.S
        )
        yield (
            head.group(1),
            bool(summary),
            bool(description and description.group(1).strip()),
        )


def runs(file, flag):
    """Whether a RUN line of `file` names the flag."""
    wanted = re.compile(r"(?<!\w)(?<!\w-)" + re.escape(flag) + r"(?![\w-])")
    return any(
        wanted.search(line)
        for line in file.read_text(errors="replace").splitlines()
        if "RUN:" in line
    )


def check(root):
    bad = 0

    def report(message):
        nonlocal bad
        print(message)
        bad += 1

    tests = {}
    for file in sorted((root / "test").rglob("*.mlir")):
        tests.setdefault(file.name, []).append(file)
    for td in sorted((root / "include").rglob("*.td")):
        where = td.relative_to(root).as_posix()
        for flag, summary, description in passes(td):
            if not flag.startswith(("moe-", "convert-", "test-")):
                report(f"{where}: {flag}: flags start with moe-")
            if not summary:
                report(f"{where}: {flag}: no summary")
            if not description:
                report(f"{where}: {flag}: no description")
            if flag.startswith("test-"):
                if not any(runs(f, flag) for fs in tests.values() for f in fs):
                    report(f"{where}: {flag}: no test runs it")
                continue
            name = re.sub("^moe-", "", flag)
            for wanted in (f"{name}.mlir", f"{name}-invalid.mlir"):
                if not any(runs(f, flag) for f in tests.get(wanted, [])):
                    report(f"{where}: {flag}: no test {wanted} that runs it")
    return bad


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(1 if check(pathlib.Path(sys.argv[1])) else 0)
