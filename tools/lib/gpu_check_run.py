#!/usr/bin/env python3
#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Runs the cases of this folder on the GPU of this machine.

usage: ./run [--device cuda:N] [--no-bench]

Each case runs three times command by command, whose bits must be equal, and as
a captured graph, which must give the same; outputs are compared with the
interpreter's, and with the emulator's: a router's bit for bit. Where
compute-sanitizer is found, one case of each artifact runs under memcheck,
racecheck, initcheck and synccheck. With artifacts of real size, also their
times beside the time that memory and arithmetic need at least, and beside torch
where it is installed. Prints a table and writes report.json; exit status 0 when
all is well, 1 when a case failed.
"""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RUNS = 3
BENCH_TOKENS = (1, 16, 64, 256, 1024, 4096)
BENCH_RUNS = 30
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")


def npy(path):
    """(dtype, shape text, bytes) of a .npy file."""
    data = path.read_bytes()
    size = struct.unpack_from("<H", data, 8)[0]
    header = data[10:10 + size].decode()
    return header, data[10 + size:]


def differing(a, b):
    """Share of bytes that differ, 1 when the types do."""
    (head_a, bytes_a), (head_b, bytes_b) = npy(a), npy(b)
    if head_a.split() != head_b.split() or len(bytes_a) != len(bytes_b):
        return 1.0
    if not bytes_a:
        return 0.0
    return sum(x != y for x, y in zip(bytes_a, bytes_b)) / len(bytes_a)


class Machine:
    def __init__(self, device):
        self.device = device
        self.env = dict(os.environ)
        libraries = [str(HERE / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        self.env["LD_LIBRARY_PATH"] = ":".join(p for p in libraries if p)
        self.report = {"cases": [], "sanitizer": [], "bench": []}

    def moe_run(self, artifact, *flags, under=()):
        return subprocess.run(
            [*under, str(HERE / "bin" / "moe-run"), str(HERE / artifact),
             f"--device={self.device}", *flags],
            env=self.env, capture_output=True, text=True)

    def describe(self):
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,"
             "clocks.max.mem,memory.total", "--format=csv,noheader"],
            capture_output=True, text=True) if shutil.which(
                "nvidia-smi") else None
        self.report["gpu"] = found.stdout.strip() if found else "no nvidia-smi"
        print(f"GPU: {self.report['gpu']}")

    def check(self, case, scratch):
        place = HERE / "cases" / case["name"]
        result = {"name": case["name"], "problems": []}
        outputs = []
        for i, flags in enumerate([[]] * RUNS + [["--graph"]]):
            output = scratch / f"y{i}.npy"
            flags = flags + ["-q", "--json", f"--function={case['function']}",
                             f"--input=@{place / 'x.npy'}",
                             f"--output=@{output}"]
            if case["reference"]:
                flags += [f"--expected-output=@{place / 'y.npy'}",
                          f"--rel-frobenius={case['limit']}"]
            done = self.moe_run(case["artifact"], *flags)
            if done.returncode:
                result["problems"].append(
                    f"run {i}: exit {done.returncode}: {done.stderr.strip()}")
                return result
            told = json.loads(done.stdout)
            result["code"] = told.get("code")
            result["checks"] = told.get("checks")
            outputs.append(output)
        for i, output in enumerate(outputs[1:], 1):
            if differing(outputs[0], output):
                what = "the graph" if i == RUNS else f"run {i}"
                result["problems"].append(f"{what} gives other bits")
        share = differing(outputs[0], place / "emulated.npy")
        result["differs_from_emulator"] = share
        if share and case["limit"] == 0:
            result["problems"].append("routing differs from the emulator's")
        return result

    def sanitize(self, case, scratch):
        tool = shutil.which("compute-sanitizer") or (
            "/usr/local/cuda/bin/compute-sanitizer")
        if not os.path.exists(tool):
            return
        for kind in SANITIZERS:
            done = self.moe_run(
                case["artifact"], "-q", f"--function={case['function']}",
                f"--input=@{HERE / 'cases' / case['name'] / 'x.npy'}",
                f"--output=@{scratch / 'sanitized.npy'}",
                under=[tool, f"--tool={kind}", "--error-exitcode=9"])
            good = done.returncode == 0
            self.report["sanitizer"].append(
                {"case": case["name"], "tool": kind, "good": good,
                 "output": "" if good else done.stdout[-4000:]})
            print(f"  {kind:<10} {case['name']:<24} "
                  f"{'clean' if good else 'FAILED'}")

    def copy_bandwidth(self):
        """Bytes per second of a device copy, read and written; None without
        torch."""
        try:
            import torch
        except ImportError:
            return None
        a = torch.randn(1 << 28, device="cuda")
        b = torch.empty_like(a)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        best = float("inf")
        for _ in range(10):
            start.record()
            b.copy_(a)
            end.record()
            end.synchronize()
            best = min(best, start.elapsed_time(end))
        return 2 * a.numel() * 4 / (best * 1e-3)

    def torch_time(self, bench, tokens):
        """Milliseconds of the block by torch._grouped_mm, None without it."""
        try:
            import torch
        except ImportError:
            return None
        if not hasattr(torch, "_grouped_mm"):
            return None
        h, f = bench["hidden"], bench["intermediate"]
        e, k = bench["experts"], bench["top_k"]
        new = dict(device="cuda", dtype=torch.bfloat16)
        x = torch.randn(tokens, h, **new)
        router = torch.randn(e, h, **new)
        up = torch.randn(e, h, 2 * f, **new) * h**-0.5
        down = torch.randn(e, f, h, **new) * f**-0.5

        def block():
            scores = torch.softmax((x @ router.T).float(), -1)
            weights, ids = scores.topk(k)
            order = ids.flatten().argsort(stable=True)
            ends = torch.bincount(ids.flatten(), minlength=e).cumsum(0)
            rows = x[order // k]
            both = torch._grouped_mm(rows, up, offs=ends.int())
            gate, value = both.chunk(2, -1)
            rows = torch._grouped_mm(torch.nn.functional.silu(gate) * value,
                                     down, offs=ends.int())
            rows = rows * weights.flatten()[order, None].to(rows.dtype)
            return torch.zeros_like(x).index_add_(0, order // k, rows)

        for _ in range(3):
            block()
        times = []
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(BENCH_RUNS):
            start.record()
            block()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        return sorted(times)[len(times) // 2]

    def bench(self, bench, scratch):
        try:
            import numpy as np
        except ImportError:
            print("no numpy: artifacts of real size are not timed")
            return
        model = scratch / "model"
        subprocess.run(
            [sys.executable, str(HERE / "golden" / "make_model.py"),
             f"--family={bench['name']}", f"--hidden={bench['hidden']}",
             f"--intermediate={bench['intermediate']}",
             f"--experts={bench['experts']}", f"--top-k={bench['top_k']}",
             "--dtype=bf16", f"--out={model}"], check=True)
        bandwidth = self.copy_bandwidth()
        rng = np.random.default_rng(2)
        for n in BENCH_TOKENS:
            bits = rng.standard_normal((n, bench["hidden"]), np.float32)
            bits = (bits.view(np.uint32) >> 16).astype(np.uint16)
            np.save(scratch / "x.npy", bits)
            stats = scratch / "stats.json"
            done = self.moe_run(
                bench["artifact"], "-q", "--json", "--graph",
                f"--repeat={BENCH_RUNS}", f"--weights={model}",
                f"--input=@{scratch / 'x.npy'}",
                f"--output=@{scratch / 'y.npy'}", f"--expert-stats={stats}")
            row = {"name": bench["name"], "tokens": n}
            if done.returncode:
                row["problem"] = done.stderr.strip()
            else:
                told = json.loads(done.stdout)
                row["median_ms"] = told["median_ms"]
                row["code"] = told.get("code")
                counts = json.loads(stats.read_text())["counts"][0]
                touched = sum(c > 0 for c in counts)
                weights = 3 * bench["hidden"] * bench["intermediate"] * 2
                row["touched_experts"] = touched
                if bandwidth:
                    row["floor_ms"] = touched * weights / bandwidth * 1e3
                row["torch_ms"] = self.torch_time(bench, n)
            self.report["bench"].append(row)
            print("  " + ", ".join(f"{k} {v}" for k, v in row.items()))


def main():
    device, want_bench = "cuda:0", True
    arguments = sys.argv[1:]
    while arguments:
        argument = arguments.pop(0)
        if argument in ("-h", "--help"):
            print(__doc__)
            return 0
        if argument == "--no-bench":
            want_bench = False
        elif argument == "--device" and arguments:
            device = arguments.pop(0)
        else:
            print(f"unknown argument '{argument}'; see ./run --help",
                  file=sys.stderr)
            return 2
    plan = json.loads((HERE / "cases.json").read_text())
    machine = Machine(device)
    machine.describe()
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for case in plan["cases"]:
            result = machine.check(case, pathlib.Path(scratch))
            machine.report["cases"].append(result)
            failed += bool(result["problems"])
            same = result.get("differs_from_emulator")
            print(f"  {case['name']:<28}"
                  f"{'FAILED' if result['problems'] else 'ok':<8}"
                  f"{result.get('code', '')}, "
                  + ("bits of the emulator" if same == 0 else
                     f"{same:.2%} of bytes unlike the emulator"
                     if same is not None else ""))
            for problem in result["problems"]:
                print(f"    {problem}")
        seen = set()
        for case in plan["cases"]:
            if case["artifact"] not in seen and "-17" in case["name"]:
                seen.add(case["artifact"])
                machine.sanitize(case, pathlib.Path(scratch))
        for bench in plan["bench"] if want_bench else []:
            machine.bench(bench, pathlib.Path(scratch))
    failed += sum(not s["good"] for s in machine.report["sanitizer"])
    (HERE / "report.json").write_text(
        json.dumps(machine.report, indent=1) + "\n")
    print(f"{len(plan['cases'])} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
