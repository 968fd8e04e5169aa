#!/usr/bin/env python3
"""Checks that every #include goes the allowed way between rooms.

usage: include_direction.py <root of the repository>

A room is a folder; it stands for include/moe/<room> and lib/<room>. ALLOWED
lists what a room may include besides itself. Prints one line per violation and
exits with 1 when there is any.
"""

import pathlib
import posixpath
import re
import sys

IR = ["Support", "Dialect/Moe/IR", "Dialect/Coll/IR", "Dialect/Plan/IR"]
DIALECT = IR + ["Dialect/Moe/Analysis", "Dialect/Moe/Transforms"]
CODEGEN = DIALECT + ["Conversion", "Codegen"]
ALL = CODEGEN + ["Target", "Model", "Reference", "Pipelines", "Tools"]

# Longest prefix wins.
ALLOWED = {
    "Support": [],
    "Dialect/Moe/IR": ["Support"],
    "Dialect/Coll/IR": ["Support", "Dialect/Moe/IR"],
    "Dialect/Plan/IR": ["Support", "Dialect/Moe/IR", "Dialect/Coll/IR"],
    "Dialect/Moe/Analysis": IR,
    "Dialect/Moe/Transforms": IR + ["Dialect/Moe/Analysis"],
    "Model": ["Support", "Dialect/Moe/IR"],
    # The judge knows nothing of what it judges.
    "Reference": ["Support", "Dialect/Moe/IR", "Dialect/Coll/IR"],
    "Conversion": DIALECT,
    "Codegen": DIALECT + ["Conversion"],
    "Codegen/CPU": [r for r in CODEGEN if r != "Codegen"] + ["Codegen/CPU"],
    "Codegen/GPU": [r for r in CODEGEN if r != "Codegen"] + ["Codegen/GPU"],
    "Codegen/GPU/Emulation": [],
    "Target": CODEGEN,
    "Pipelines": [r for r in ALL if r != "Tools"],
    "Tools": ALL,
}

# Rooms of the runtime: runtime/include/moert/<room> and runtime/src/<room>.
RUNTIME = {
    "Format": [],
    "Base": ["Format"],
    "HAL": ["Format", "Base"],
    "Drivers": ["Format", "Base", "HAL"],
    "Channels": ["Format", "Base", "HAL"],
    "Module": ["Format", "Base", "HAL"],
    "Session": ["Format", "Base", "HAL", "Drivers", "Channels", "Module"],
}

# Upstream headers that belong to some rooms only.
RESTRICTED = {
    "llvm/Support/CommandLine.h": ["Tools", "Pipelines"],
    # The emulator compiles for the host, which is no target of models.
    "llvm/Target/": ["Target", "Tools", "Codegen/GPU/Emulation"],
    "llvm/CodeGen/": ["Target"],
    "llvm/MC/": ["Target", "Codegen/GPU/Emulation"],
    "lld/": ["Target", "Tools"],
}


def room_of(path, rooms):
    """The longest of `rooms` that `path` lies in, or None."""
    found = [r for r in rooms if path == r or path.startswith(r + "/")]
    return max(found, key=len, default=None)


def check_compiler(room, include):
    """Why `room` may not include `include`, or None."""
    if include.startswith("moert/") and not include.startswith("moert/Format/"):
        return "the compiler sees of the runtime only moert/Format"
    if include.startswith("moert/") and room.startswith(("Dialect", "Support")):
        return "this room knows nothing of the artifact"
    for prefix, rooms in RESTRICTED.items():
        if include.startswith(prefix) and not room_of(room, rooms):
            return "only " + " and ".join(rooms) + " may include it"
    if not include.startswith("moe/"):
        return None
    target = include[len("moe/") :]
    if "/" not in target:  # moe/InitAll.h: everything
        return None if room in ("Tools", "Pipelines") else "it knows every room"
    allowed = ALLOWED[room] + [room]
    if room == "Codegen/CPU" or room == "Codegen/GPU":
        # What both share lies in Codegen itself.
        if target.startswith("Codegen/") and target.count("/") == 1:
            return None
    if any(target.startswith(a + "/") for a in allowed):
        return None
    return f"{room} may include {', '.join(ALLOWED[room]) or 'no other room'}"


def check_runtime(room, include):
    if include.startswith(("mlir/", "llvm/", "moe/", "mlir-c/", "llvm-c/")):
        return "the runtime knows no compiler"
    if room is None or not include.startswith("moert/"):
        return None
    target = room_of(include[len("moert/") :], RUNTIME)
    if target in (None, room) or target in RUNTIME[room]:
        return None
    return f"{room} may include {', '.join(RUNTIME[room]) or 'no other room'}"


def resolve(tree, inside, include):
    """A private header's path, relative to its folder, as a public one's."""
    if not include.startswith(".."):
        return include
    path = posixpath.join(posixpath.dirname(inside), include)
    path = posixpath.normpath(path)
    return ("moert/" if tree.startswith("runtime") else "moe/") + path


def check(root):
    bad = 0
    trees = [
        ("include/moe", ALLOWED, check_compiler),
        ("lib", ALLOWED, check_compiler),
        ("runtime/include/moert", RUNTIME, check_runtime),
        ("runtime/src", RUNTIME, check_runtime),
        ("runtime/tools", RUNTIME, check_runtime),
    ]
    for tree, rooms, why_not in trees:
        for file in sorted((root / tree).rglob("*")):
            if file.suffix not in (".h", ".cpp", ".c", ".td", ".def"):
                continue
            inside = file.relative_to(root / tree).as_posix()
            room = room_of(inside, rooms)
            if room is None and why_not is check_compiler:
                if "/" in inside:
                    print(f"{tree}/{inside}: not in a known room")
                    bad += 1
                continue
            text = file.read_text(errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                match = re.match(r'\s*#?\s*include\s+["<]([^">]+)[">]', line)
                if not match:
                    continue
                include = match.group(1)
                reason = why_not(room, resolve(tree, inside, include))
                if reason:
                    print(f"{tree}/{inside}:{number}: {include}: {reason}")
                    bad += 1
    return bad


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(1 if check(pathlib.Path(sys.argv[1])) else 0)
