#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Kills moe-compile in several ways while it waits for its input, and fills
the disk under it. It must say so, end with the right code, and leave nothing
behind.

    faults.py MODEL.mlir
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

DEADLINE = 60.0


def start(folder):
    """A compiler whose child waits for standard input."""
    process = subprocess.Popen(
        ["moe-compile", "-q", "-", "-o", os.path.join(folder, "out.moe")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + DEADLINE
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    while time.monotonic() < end:
        with open(path, encoding="ascii") as children:
            pids = children.read().split()
        # The child counts once it runs the compiler, not a copy of its parent.
        if pids:
            with open(f"/proc/{pids[0]}/cmdline", "rb") as line:
                if b"--in-process=" in line.read():
                    return process, int(pids[0])
        time.sleep(0.01)
    sys.exit("the compiler did not start a child")


def expect(what, process, folder, code, text):
    try:
        _, errors = process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        sys.exit(f"{what}: the compiler hangs")
    if process.returncode != code:
        sys.exit(f"{what}: exit code {process.returncode}, expected {code}")
    if text not in errors:
        sys.exit(f"{what}: message is {errors!r}, expected {text!r}")
    if os.listdir(folder):
        sys.exit(f"{what}: left behind {os.listdir(folder)}")
    print(f"{what}: ok")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process, _ = start(folder)
            process.send_signal(number)
            expect(number.name, process, folder, code, "nothing was written")

        process, child = start(folder)
        os.kill(child, signal.SIGKILL)
        expect(
            "killed child", process, folder, 70,
            "error[MOE9001]: the compiler was killed by signal 9",
        )
        process, child = start(folder)
        os.kill(child, signal.SIGSEGV)
        expect(
            "crashed child", process, folder, 70,
            "error[MOE9001]: the compiler crashed: signal 11",
        )

        # A limit on the size of files stands in for a full disk.
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

        process = subprocess.Popen(
            ["moe-compile", "-q", sys.argv[1], "-o",
             os.path.join(folder, "out.moe")],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            preexec_fn=limit,
        )
        expect("file size limit", process, folder, 1, "error[MOE0011]")


if __name__ == "__main__":
    main()
