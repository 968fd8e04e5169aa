#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Exceptions. Their text is what the command line tools print."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnostic:
    """One message of a tool or of the runtime."""

    #: "error", "warning", "note" or "remark".
    severity: str
    #: What happened, in one line.
    what: str
    #: Number of the error (the nnnn of MOEnnnn), 0 when it has none.
    number: int = 0
    #: A file, with line and column where known. Empty when unknown.
    where: str = ""
    #: Why. Empty when obvious.
    because: str = ""
    #: What to do about it. Empty when unknown.
    fix: str = ""


_SEVERITIES = "error|warning|note|remark"
_NUMBERED = re.compile(rf"({_SEVERITIES})\[MOE(\d+)\]: (.*)")
_PLACE = r"(?:(\S.*?:\d+:\d+): |loc\(.*?\): )?"
_LOCATED = re.compile(rf"{_PLACE}({_SEVERITIES}): (.*)")
_PART = re.compile(r"\s*(-->|because|fix:)\s+(.*)")


def parse_diagnostics(text: str) -> list[Diagnostic]:
    """The diagnostics in what a tool wrote to stderr, in order."""
    found: list[dict] = []
    for line in text.splitlines():
        numbered = _NUMBERED.match(line)
        if numbered:
            severity, number, what = numbered.groups()
            found.append(dict(severity=severity, number=int(number), what=what))
            continue
        part = _PART.match(line)
        if part and found:
            key = {"-->": "where", "fix:": "fix"}.get(part[1], "because")
            earlier = found[-1].get(key)
            found[-1][key] = f"{earlier}; {part[2]}" if earlier else part[2]
            continue
        located = _LOCATED.match(line)
        if located:
            where, severity, what = located.groups()
            found.append(dict(severity=severity, what=what, where=where or ""))
    return [Diagnostic(**entry) for entry in found]


class MoeError(Exception):
    """A diagnosed failure.

    ``str(error)`` is the whole text, ``number`` the nnnn of MOEnnnn (0 when
    there is none) and ``diagnostics`` its parts.
    """

    def __init__(self, text: str, number: int = 0):
        super().__init__(text.rstrip("\n"))
        self.diagnostics = parse_diagnostics(text)
        if not number:
            numbers = [d.number for d in self.diagnostics if d.number]
            number = numbers[0] if numbers else 0
        self.number = number

    @classmethod
    def made_of(cls, number: int, what: str, where="", because="", fix=""):
        """An error in the form that the tools use."""
        text = f"error[MOE{number:04}]: {what}\n"
        if where:
            text += f" --> {where}\n"
        if because:
            text += f"because {because}\n"
        if fix:
            text += f"fix: {fix}\n"
        return cls(text, number)


class CompileError(MoeError):
    """moe-compile failed; ``exit_code`` is its exit status."""

    exit_code = 1


class UsageError(MoeError, ValueError):
    """An argument names something that does not exist (00xx)."""


class InputError(MoeError, ValueError):
    """An input has another rank, shape, element type or layout (0013).

    Routes of another call or model are such, too (0016).
    """


class FileError(MoeError, OSError):
    """A file cannot be read or written (0010 to 0012)."""

    # OSError's own formatting takes no notice of one argument.
    __str__ = Exception.__str__


class CallError(MoeError, RuntimeError):
    """A call was interrupted, or its data is invalid (0014, 0015, 0017)."""


class IncompatibleArtifact(MoeError):
    """The artifact is damaged, or not for this runtime or CPU (03xx)."""


class WeightsError(MoeError):
    """The weights are missing, damaged or of another model (04xx)."""


class OutOfMemory(MoeError, MemoryError):
    """A buffer could not be allocated (06xx)."""


class LibraryNotFound(MoeError, ImportError):
    """libmoert or a tool was not found, or has another ABI version."""


class ClosedError(MoeError, ValueError):
    """A session was used after it was closed."""


def error_of(number: int, text: str) -> MoeError:
    """The exception for an error number of the runtime."""
    kind: type[MoeError] = MoeError
    if number in (10, 11, 12):
        kind = FileError
    elif number in (13, 16):
        kind = InputError
    elif number in (14, 15, 17, 320, 321):
        kind = CallError
    elif number < 100:
        kind = UsageError
    elif 300 <= number < 400:
        kind = IncompatibleArtifact
    elif 400 <= number < 500:
        kind = WeightsError
    elif 600 <= number < 700:
        kind = OutOfMemory
    return kind(text or f"error[MOE{number:04}]", number)
