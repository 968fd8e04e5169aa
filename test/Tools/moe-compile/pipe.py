#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compiles into a pipe, which must stay one.

usage: pipe.py MODULE FILE

FILE is a new name for the pipe; beside it goes the artifact as a file.
"""

import os
import pathlib
import stat
import subprocess
import sys
import threading


def main(module, name):
    pipe = pathlib.Path(name)
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(
        target=lambda: received.append(pipe.read_bytes()), daemon=True
    )
    reader.start()
    subprocess.run(["moe-compile", module, "-q", "-o", pipe], check=True)
    reader.join(timeout=60)
    assert stat.S_ISFIFO(os.stat(pipe).st_mode), "the pipe is gone"
    artifact = pipe.with_suffix(".moe")
    subprocess.run(["moe-compile", module, "-q", "-o", artifact], check=True)
    assert received == [artifact.read_bytes()], "other bytes came out"


if __name__ == "__main__":
    main(*sys.argv[1:])
