#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Builds everything and runs every test.

usage: tools/check [--full] [--no-install]

  --full        also the long runs: a build with AddressSanitizer and
                UndefinedBehaviorSanitizer and all tests in it, with every
                moe-opt of the tests under --verify-roundtrip, a minute of
                every fuzzer from a new seed, five hundred random shapes on
                emulated GPUs, and five thousand random routers
  --no-install  do not install Debian packages

The last line is "N passed, N failed, N skipped". Exit status 0 when nothing
failed, 1 when a test or the build did, 2 for a bad argument.
"""

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from dataclasses import dataclass, field

import steps
from steps import ROOT, say

# No test takes longer; one that hangs must not hang the machine.
TEST_SECONDS = 1500
# Of a fuzzer in the long run.
FUZZ_SECONDS = 60
# Random shapes on emulated GPUs, and random routers, in the long run.
GPU_SHAPES = 500
ROUTERS = 5000
# Of the output of a test that failed.
SHOWN_LINES = 60


@dataclass
class Result:
    """Counts of one entry of ctest."""

    name: str
    passed: int = 0
    failed: int = 0
    #: (test, reason)
    skipped: list = field(default_factory=list)
    seconds: float = 0.0
    output: str = ""


def lit_report(path):
    """Counts and skipped tests of a report that lit wrote."""
    cases = xml.parse(path).getroot().iter("testcase")
    passed, failed, skipped = 0, 0, []
    for case in cases:
        name = f"{case.get('classname')}/{case.get('name')}"
        reason = case.find("skipped")
        if reason is not None:
            skipped.append((name, reason.get("message", "no reason given")))
        elif case.find("failure") is not None:
            failed += 1
        else:
            passed += 1
    return passed, failed, skipped


def gtest_output(text):
    """The same of what a GoogleTest program printed; None if it is none."""
    if "[==========]" not in text or " ran. (" not in text:
        return None
    numbers = r"^\[  %s  \] (\d+) tests?"
    passed = sum(map(int, re.findall(numbers % "PASSED", text, re.M)))
    failed = sum(map(int, re.findall(numbers % "FAILED", text, re.M)))
    skipped = []
    pattern = r"^\[ RUN      \] (\S+)$((?:\n(?!\[ RUN).*)*?)\n\[  SKIPPED \] \1"
    for name, said in re.findall(pattern, text, re.M):
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        reason = " ".join(l for l in lines if not l.endswith(": Skipped"))
        skipped.append((name, reason or "no reason given"))
    # GoogleTest counts a skipped test as neither.
    return passed, failed, skipped


def pytest_output(text):
    """The same of pytest."""
    summary = re.search(r"^=*\s*((?:\d+ \w+,? ?)+) in [\d.]+s", text, re.M)
    if not summary:
        return None
    found = re.findall(r"(\d+) (\w+)", summary[1])
    counts = {word: int(number) for number, word in found}
    failed = counts.get("failed", 0)
    failed += counts.get("errors", 0) + counts.get("error", 0)
    skipped = []
    pattern = r"^SKIPPED \[(\d+)\] (\S+?):? (.*)$"
    for number, name, reason in re.findall(pattern, text, re.M):
        skipped += [(name, reason)] * int(number)
    return counts.get("passed", 0), failed, skipped


def unittest_output(text):
    """The same of unittest."""
    ran = re.search(r"^Ran (\d+) tests? in", text, re.M)
    last = re.search(r"^(?:OK|FAILED)(?: \((.*)\))?$", text, re.M)
    if not ran or not last:
        return None
    counts = dict(re.findall(r"(\w+)=(\d+)", last[1] or ""))
    failed = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
    skipped = re.findall(r"^(\S+) .*\.\.\. skipped ['\"](.*)['\"]$", text, re.M)
    unseen = int(counts.get("skipped", 0)) - len(skipped)
    skipped += [("unittest", "no reason given")] * unseen
    return int(ran[1]) - failed - len(skipped), failed, skipped


def count(case, lit):
    """One testcase element of ctest's report, as a Result."""
    output = case.findtext("system-out") or ""
    result = Result(
        case.get("name"), seconds=float(case.get("time", 0)), output=output
    )
    status = case.get("status")
    if status in ("notrun", "disabled"):
        reason = case.find("skipped")
        message = reason.get("message") if reason is not None else "not run"
        if status == "disabled" or message.startswith("SKIP_"):
            told = gtest_output(output)
            result.skipped = told and told[2] or [(result.name, message)]
        else:
            # A program that was not built, or a file that is not there.
            result.failed = 1
        return result
    found = None
    if result.name == "check-moe-lit" and lit.exists():
        found = lit_report(lit)
    for reader in (gtest_output, pytest_output, unittest_output):
        found = found or reader(output)
    result.passed, result.failed, result.skipped = found or (0, 0, [])
    if status != "run":
        # It may have died after tests that passed.
        result.failed = max(result.failed, 1)
    elif not found:
        result.passed = 1
    return result


def ctest(build, environment=None):
    """Runs the tests of a build; returns the results and prints failures."""
    report = build / "test-report.xml"
    lit = build / "test-report-lit.xml"
    for old in (report, lit):
        old.unlink(missing_ok=True)
    env = dict(os.environ, **(environment or {}))
    env["LIT_OPTS"] = f"{env.get('LIT_OPTS', '')} --xunit-xml-output={lit}"
    command = ["ctest", "--test-dir", build, "--timeout", TEST_SECONDS]
    command += ["-j", steps.jobs(), "--output-junit", report]
    # The whole output: counts and reasons are at its end.
    command += ["--test-output-size-passed", 1 << 26]
    command += ["--test-output-size-failed", 1 << 26]
    with open(build / "ctest.log", "w") as log:
        subprocess.run(
            list(map(str, command)),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    results = []
    if report.exists():
        results = [count(c, lit) for c in xml.parse(report).iter("testcase")]
    if not results:
        raise steps.error(
            121,
            "there are no tests",
            where=steps.relative(build),
            because="ctest found none, or ended before its report",
            fix=f"look at {steps.relative(build / 'ctest.log')}",
        )
    show(results)
    return results


def show(results):
    """One line for each group of entries, and the output of those failed."""
    groups = {}
    for result in results:
        group = groups.setdefault(result.name.split(".")[0], Result("sum"))
        group.passed += result.passed
        group.failed += result.failed
        group.skipped += result.skipped
        group.seconds += result.seconds
    for name, group in sorted(groups.items()):
        say(
            f"  {name:<24}{group.passed:>6} passed{group.failed:>5} failed"
            f"{len(group.skipped):>5} skipped{group.seconds:>9.1f} s"
        )
    for result in results:
        if result.failed:
            say(f"\n  {result.name} failed; the end of its output:")
            lines = result.output.splitlines()[-SHOWN_LINES:]
            say("\n".join("    " + line for line in lines))


def fuzz(build):
    """Runs every fuzzer from a new seed; new inputs stay in the build."""
    results = []
    for program in sorted((build / "bin").glob("fuzz-*")):
        reader = program.name[len("fuzz-") :]
        found = build / "fuzz" / reader
        found.mkdir(parents=True, exist_ok=True)
        corpus = ROOT / "runtime" / "fuzz" / "Corpus" / reader
        command = [program, f"-max_total_time={FUZZ_SECONDS}", "-max_len=65536"]
        command += [f"-artifact_prefix={found}/", found, corpus]
        env = dict(os.environ, ASAN_OPTIONS="allocator_may_return_null=1")
        done = subprocess.run(
            list(map(str, command)),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        good = done.returncode == 0
        result = Result(program.name, int(good), int(not good))
        result.output = done.stdout
        result.seconds = FUZZ_SECONDS
        results.append(result)
    show(results)
    return results


def long_run(build, name, script, *arguments):
    """A test script of test/Integration with a number of its own."""
    tests = ROOT / "test" / "Integration" / script
    env = dict(os.environ, MOERT_LIBRARY=str(build / "lib" / "libmoert.so"))
    env["PATH"] = f"{build / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-B", str(tests), *map(str, arguments)],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    good = done.returncode == 0
    result = Result(name, int(good), int(not good))
    result.output = done.stdout
    result.seconds = time.monotonic() - begin
    show([result])
    return [result]


def hidden():
    """CMake options behind which LLVM, CUDA and MPI cannot be found."""
    packages = "LLVM MLIR Clang LLD CUDA CUDAToolkit MPI NCCL".split()
    options = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in packages]
    folders = ["/usr/lib/llvm-22", "/usr/local/cuda", "/usr/lib/cuda"]
    options.append(f"-DCMAKE_IGNORE_PREFIX_PATH={';'.join(folders)}")
    return options


def runtime_alone(folder):
    """Builds and tests the runtime with g++ and nothing else of ours."""
    options = ["-DCMAKE_CXX_COMPILER=g++", "-DCMAKE_C_COMPILER=gcc"]
    # The compiler stays off the PATH too.
    kept = [
        part
        for part in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if "llvm" not in part and "cuda" not in part
    ]
    env = dict(os.environ, PATH=os.pathsep.join(kept))
    steps.configure(folder, ROOT / "runtime", options + hidden(), env=env)
    steps.build(folder)
    return ctest(folder)


def parse(arguments):
    for argument in arguments:
        if argument in ("--help", "-h"):
            print(__doc__)
            sys.exit(0)
        if argument not in ("--full", "--no-install"):
            raise steps.error(
                1,
                f"unknown option '{argument}'",
                fix="tools/check --help lists the options",
                exit_code=2,
            )
    return "--full" in arguments


def body():
    full = parse(sys.argv[1:])
    progress = steps.Steps(10 if full else 5)
    results = []

    progress.start("Configure")
    main = ROOT / "build"
    fuzzers = ["-DMOERT_BUILD_FUZZERS=ON"]
    steps.configure(main, preset="release", options=fuzzers)
    progress.start("Build everything")
    steps.build(main)
    steps.build(main, ["moe-doc"])
    progress.start("Run all tests")
    results += ctest(main)
    progress.start("The runtime alone: g++, no LLVM, CUDA or MPI")
    results += runtime_alone(ROOT / "build" / "runtime-alone")
    if full:
        progress.start("Build with AddressSanitizer")
        sanitized = ROOT / "build-asan"
        steps.configure(sanitized, preset="asan")
        steps.build(sanitized)
        progress.start("Run all tests with it")
        results += ctest(sanitized, {"MOE_VERIFY_ROUNDTRIP": "1"})
        progress.start("Fuzz the readers")
        results += fuzz(main)
        progress.start("Random shapes on emulated GPUs")
        seed = int(time.time())
        shapes = ("gpu.py", "fuzz", GPU_SHAPES, seed)
        results += long_run(main, "gpu-shapes", *shapes)
        progress.start("Random routers")
        results += long_run(main, "routers-long", "routers.py", ROUTERS, seed)
    progress.start("Summary")
    return summarize(results, progress)


def summarize(results, progress):
    skipped = [entry for result in results for entry in result.skipped]
    for name, reason in skipped:
        say(f"  skipped: {name}: {reason}")
    for result in results:
        if result.failed:
            say(f"  failed: {result.name}: {result.failed}")
    times = progress.times[1:] + [("", progress.begin + progress.total())]
    for (title, begin), (_, end) in zip(progress.times, times):
        say(f"  {steps.seconds(end - begin):>14}  {title}")
    say(f"  {steps.seconds(progress.total()):>14}  in all")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    say()
    say(f"{passed} passed, {failed} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    steps.main(body)
