#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compiling, in a child process: the tool moe-compile."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Sequence

from ._library import find_tool
from .errors import CompileError, LibraryNotFound


def flags_of(options: dict[str, object]) -> list[str]:
    """Command line flags: ``compile_to="tiled"`` is --compile-to=tiled.

    True gives --name, False --no-name, None nothing, and a list or tuple its
    elements joined by commas.
    """
    flags = []
    for key, value in options.items():
        name = "--" + key.replace("_", "-")
        if value is None:
            continue
        if value is True:
            flags.append(name)
        elif value is False:
            flags.append("--no-" + name[2:])
        elif isinstance(value, (list, tuple)):
            flags.append(f"{name}={','.join(map(str, value))}")
        elif isinstance(value, os.PathLike):
            flags.append(f"{name}={os.fspath(value)}")
        else:
            flags.append(f"{name}={value}")
    return flags


def compile(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    extra_args: Sequence[str] = (),
    **flags: object,
) -> pathlib.Path:
    """Compiles a model to an artifact and returns the artifact's path.

    Args:
      model: a Hugging Face directory, or a .mlir file in the moe dialect.
      output: the artifact to write. Nothing is left there after a failure.
      extra_args: arguments passed as they are.
      flags: options of moe-compile with _ for -: ``weights="packed"``,
        ``numerics="strict"``, ``target=["x86-64-v4"]``.

    Raises:
      CompileError: with ``diagnostics``, and stderr of the tool as its text.
      LibraryNotFound: there is no moe-compile (MOE_COMPILE may name it).
    """
    tool = find_tool("moe-compile", "MOE_COMPILE")
    output = pathlib.Path(output)
    command = [tool, os.fspath(model), "-o", str(output)]
    command += flags_of(flags) + list(extra_args)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise LibraryNotFound.made_of(
            1, "moe-compile cannot be run", tool, str(error), "see MOE_COMPILE"
        ) from None
    if done.returncode:
        text = done.stderr.strip()
        if not text:
            text = f"error: {tool} ended with status {done.returncode}"
        error = CompileError(text)
        error.exit_code = done.returncode
        raise error
    return output
