#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What tools/quickstart and tools/check share: steps, and building."""

import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRESS = re.compile(r"\[(\d+)/(\d+)\]")
# Seconds between two lines about a running build where there is no terminal.
QUIET_SECONDS = 30


class Failure(Exception):
    """Ends a script: a message in the form of the tools, and an exit code."""

    def __init__(self, text, exit_code=1):
        super().__init__(text)
        self.exit_code = exit_code


def error(number, what, where="", because="", fix="", exit_code=1):
    """The exception for a failure that the scripts themselves find."""
    text = f"error[MOE{number:04}]: {what}"
    for mark, part in ((" -->", where), ("because", because), ("fix:", fix)):
        if part:
            text += f"\n{mark} {part}"
    return Failure(text, exit_code)


def jobs():
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def say(text=""):
    print(text, flush=True)


def seconds(value):
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


class Steps:
    """Numbers the steps of a script and tells their times."""

    def __init__(self, count):
        self.count = count
        self.number = 0
        self.begin = time.monotonic()
        self.times = []

    def start(self, title):
        self.number += 1
        say(f"\n[{self.number}/{self.count}] {title}")
        self.times.append((title, time.monotonic()))

    def total(self):
        return time.monotonic() - self.begin


def run(command, what, log=None, env=None, cwd=ROOT):
    """Runs a command to the end, quietly; its output goes to `log`.

    Returns stdout and stderr together. Fails with the last lines of it.
    """
    command = [str(part) for part in command]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        say(tail)
        raise error(
            121,
            f"{what} failed with exit status {done.returncode}",
            where=" ".join(command),
            because="the lines above say why",
            fix=f"the whole output is in {relative(log)}" if log else "",
        )
    return done.stdout


def relative(path):
    """`path` as seen from the repository, where it lies in there."""
    try:
        return pathlib.Path(path).relative_to(ROOT)
    except ValueError:
        return path


def configure(build, source=ROOT, options=(), preset=None, env=None):
    command = ["cmake", "-S", source, "-B", build, "-G", "Ninja"]
    if preset:
        command += ["--preset", preset]
    run(command + list(options), "cmake", build / "configure.log", env)


def build(folder, targets=()):
    """Builds with ninja, telling how far it is."""
    command = ["ninja", "-C", str(folder), "-j", str(jobs()), *targets]
    log = folder / "build.log"
    terminal = sys.stdout.isatty()
    told = time.monotonic()
    tail = []
    environment = dict(os.environ, NINJA_STATUS="[%f/%t] ", TERM="dumb")
    with open(log, "w") as file, subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            file.write(line)
            tail = (tail + [line])[-60:]
            match = PROGRESS.match(line)
            if not match:
                continue
            done, total = match.groups()
            if terminal:
                print(f"\r  {done} of {total} ", end="", flush=True)
            elif time.monotonic() - told >= QUIET_SECONDS:
                told = time.monotonic()
                say(f"  {done} of {total}")
    if terminal:
        print("\r" + " " * 30, end="\r", flush=True)
    if process.returncode:
        say("".join(tail))
        raise error(
            121,
            "the build failed",
            where=relative(folder),
            because="the lines above say why",
            fix=f"the whole output is in {relative(log)}",
        )


def main(body):
    """Runs a script's body and turns what ends it into an exit status."""
    try:
        sys.exit(body())
    except Failure as failure:
        sys.stdout.flush()
        print(failure, file=sys.stderr)
        sys.exit(failure.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
