#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Makes each call of each driver function fail in turn, under moe-run.

    faults.py TOOLS STANDIN GOLDEN

TOOLS has moe-compile and moe-run, STANDIN is libcuda.so.1, GOLDEN the directory
of a model with golden tensors. A first run counts the calls of each function.
Whatever then fails: the run ends in time and not by a signal, what it cannot do
is a diagnostic that names the function or the driver's error, what it can do
without gives the same output, and nothing is left behind in the driver.
"""

import collections
import os
import subprocess
import sys
import tempfile

# Functions that give something back, or that the runtime can do without. The
# context is also entered to give something back.
DISPENSABLE = (
    "Release", "Unload", "Free", "Destroy", "Unregister", "PushCurrent",
    "PopCurrent", "cuMemGetInfo", "cuMemPool", "cuDeviceGetDefaultMemPool",
)
# Without them it runs a function command by command.
RECORDING = (
    "cuStreamBeginCapture_v2", "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
)
ASYNCHRONOUS = (
    "cuLaunchKernel", "cuMemcpyAsync", "cuMemsetD8Async", "cuGraphLaunch",
)
# How often they are called depends on time.
POLLS = ("cuStreamQuery", "cuEventQuery")

Result = collections.namedtuple("Result", "status text report calls output")


class Sweep:
    def __init__(self, tools, standin, golden, folder):
        self.tools = tools
        self.standin = standin
        self.golden = golden
        self.folder = folder
        self.failed = []
        self.runs = 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def prepare(self):
        subprocess.run(
            [os.path.join(self.tools, "moe-compile"), self.golden, "-q",
             "--target=x86-64-v3,sm_80", f"--save-temps={self.path('images')}",
             "-o", self.path("m.moe")], check=True)

    def run(self, flags, failure=None):
        for name in ("report", "counts", "y.npy"):
            if os.path.exists(self.path(name)):
                os.remove(self.path(name))
        environment = dict(
            os.environ,
            MOE_CUDA_LIBRARY=self.standin,
            MOE_STANDIN_IMAGES=self.path("images"),
            MOE_STANDIN_DEVICE="sm_80",
            MOE_STANDIN_LEAKS="1",
            MOE_STANDIN_REPORT=self.path("report"),
            MOE_STANDIN_COUNTS=self.path("counts"),
        )
        if failure:
            environment["MOE_STANDIN_FAIL"] = failure
        self.runs += 1
        try:
            done = subprocess.run(
                [os.path.join(self.tools, "moe-run"), self.path("m.moe"),
                 f"--weights={self.golden}", "--function=layers.0.mlp",
                 f"--input=@{self.golden}/golden.safetensors:"
                 "layers.0.n17.input",
                 f"--output=@{self.path('y.npy')}", "--device=cuda",
                 "--timeout=10", *flags],
                env=environment, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return Result(None, "", [], {}, None)
        lines = [line for line in done.stderr.splitlines()
                 if not line.startswith("stand-in: ")]
        return Result(done.returncode, "\n".join(lines), self.lines("report"),
                      {name: int(count) for name, count in
                       (line.split() for line in self.lines("counts"))},
                      self.bytes("y.npy"))

    def lines(self, name):
        if not os.path.exists(self.path(name)):
            return []
        with open(self.path(name), encoding="utf-8") as file:
            return file.read().splitlines()

    def bytes(self, name):
        if not os.path.exists(self.path(name)):
            return None
        with open(self.path(name), "rb") as file:
            return file.read()

    def judge(self, function, mode, good, found):
        """What is wrong with a run, or None."""
        if found.status is None:
            return "hangs"
        if found.status < 0 or found.status == 70:
            return f"ends with status {found.status}"
        # Whoever cannot enter the context cannot give anything back.
        if found.report and function != "cuCtxPushCurrent_v2":
            return "leaves: " + "; ".join(found.report)
        if found.status:
            base = function.split("_v")[0]
            if "error[MOE" not in found.text:
                return "gives no diagnostic"
            if base not in found.text and "CUDA_ERROR_" not in found.text and \
                    "MOE06" not in found.text:
                return "does not say what failed"
            return None
        if found.output != good.output:
            return "succeeds with another output"
        if any(word in function for word in DISPENSABLE) or function in POLLS:
            return None
        if "recording a graph failed" in found.text:
            return None
        if function in RECORDING:
            return "does not say that it records no graph"
        return f"succeeds{' later' if mode else ''} all the same"

    def sweep(self, flags):
        good = self.run(flags)
        if good.status or good.report or good.output is None:
            raise SystemExit(f"the run without failures fails: {good}")
        for function, count in good.calls.items():
            if count > 8:
                calls = {1, 2, count // 2, count}
            else:
                calls = set(range(1, count + 1))
            if function in POLLS:
                calls = {1}
            modes = [""] + [":async"] * (function in ASYNCHRONOUS)
            for mode in modes:
                for call in sorted(calls):
                    failure = f"{function}:{call}{mode}"
                    found = self.run(flags, failure)
                    wrong = self.judge(function, mode, good, found)
                    if wrong:
                        self.failed.append(
                            f"{' '.join(flags)} {failure}: {wrong}\n"
                            f"{found.text}")


def main():
    tools, standin, golden = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(tools, standin, golden, folder)
        sweep.prepare()
        for flags in ([], ["--graph", "--repeat=2"]):
            sweep.sweep(flags)
        for text in sweep.failed:
            print(text)
        print(f"{sweep.runs} runs, {len(sweep.failed)} wrong")
    return 1 if sweep.failed else 0


if __name__ == "__main__":
    sys.exit(main())
