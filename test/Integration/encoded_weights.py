#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Encoded and reshaped weights against the same numbers stored plainly.

    encoded_weights.py mixtral-f32.mlir FOLDER

Takes a block and gives its weights other declarations: MXFP4, FP8 in blocks,
scaled INT8, and a reshape. The checkpoint is random; a second one has the
numbers decoded here. Compiled or interpreted, in each mode of the weights, the
block must give the same bits for both. Exit status 1 when it does not.
"""

import json
import pathlib
import re
import struct
import subprocess
import sys

import numpy as np

E, H, I = 8, 64, 96
ENCODED = """
moe.weight @layers.0.router : tensor<8x64xf32>
    from ["router"] stored [512]
moe.weight @layers.0.gate : tensor<8x96x64xf32>
    from ["gate_up.blocks"] encoding mxfp4 scales ["gate_up.scales"]
    stored [8, 192, 2, 16] split [1, 0, 192, 2, 192]
moe.weight @layers.0.up : tensor<8x96x64xf32>
    from ["up.{0..7}"] encoding fp8_block scales ["up.{0..7}.inv"]
    block [40, 48] stack
moe.weight @layers.0.down : tensor<8x64x96xf32>
    from ["down"] encoding int8_scaled scales ["down.scales"]
    stored [768, 64] transpose
"""


def e2m1(codes):
    values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    return np.where(codes < 8, values[codes % 8], -values[codes % 8])


def e4m3(codes):
    exponent, mantissa = codes >> 3 & 15, codes & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent.astype(float) - 7)
    value = np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal)
    return np.where(codes < 128, value, -value).astype(np.float32)


def make(random):
    """The encoded tensors, and the plain ones: name -> (dtype, array)."""
    router = random.standard_normal((E, H)).astype(np.float32)
    blocks = random.integers(0, 256, (E, 2 * I, H // 32, 16), np.uint8)
    scales = random.integers(120, 126, (E, 2 * I, H // 32), np.uint8)
    pairs = np.stack([blocks & 15, blocks >> 4], axis=-1)
    gate = e2m1(pairs.reshape(E, 2 * I, H // 32, 32))
    gate = gate * np.ldexp(np.float32(1), scales.astype(int) - 127)[..., None]
    gate = gate.reshape(E, 2 * I, H)[:, ::2].astype(np.float32)

    up = random.integers(0, 256, (E, I, H), np.uint8)
    up[up % 128 == 127] = 0  # No NaN.
    inverse = random.uniform(0.001, 0.01, (E, 3, 2)).astype(np.float32)
    grown = inverse.repeat(40, axis=1)[:, :I].repeat(48, axis=2)[:, :, :H]

    down = random.integers(-128, 128, (E * I, H), np.int8)
    factors = random.uniform(0.001, 0.01, (E, H)).astype(np.float32)
    plain = down.astype(np.float32) * factors.repeat(I, axis=0)

    encoded = {
        "router": ("F32", router.reshape(-1)),
        "gate_up.blocks": ("U8", blocks),
        "gate_up.scales": ("U8", scales),
        "down": ("I8", down),
        "down.scales": ("F32", factors),
    }
    moe = "model.layers.0.block_sparse_moe"
    decoded = {f"{moe}.gate.weight": ("F32", router)}
    for e in range(E):
        encoded[f"up.{e}"] = ("F8_E4M3", up[e])
        encoded[f"up.{e}.inv"] = ("F32", inverse[e])
        decoded[f"{moe}.experts.{e}.w1.weight"] = ("F32", gate[e])
        decoded[f"{moe}.experts.{e}.w3.weight"] = (
            "F32", e4m3(up[e]) * grown[e])
        decoded[f"{moe}.experts.{e}.w2.weight"] = (
            "F32", plain[e * I:(e + 1) * I].T.copy())
    return encoded, decoded


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}\n"
                 + done.stderr.decode())


def main():
    source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    text = source.read_text()
    body = text[text.index("#act ="):]
    (folder / "encoded.mlir").write_text(ENCODED + body)
    (folder / "plain.mlir").write_text(
        text[text.index("moe.weight"):text.index("#act =")] + body)
    random = np.random.default_rng()
    for name, tensors in zip(("encoded", "plain"), make(random)):
        (folder / name).mkdir(exist_ok=True)
        write(folder / name / "model.safetensors", tensors)
    x = random.standard_normal((37, H)).astype(np.float32)
    np.save(folder / "x.npy", x)
    function = re.search(r"func.func @([\w.]+)", body).group(1)

    results = {}
    for name in ("plain", "encoded"):
        mlir, weights = folder / f"{name}.mlir", folder / name
        output = folder / f"{name}.npy"
        run("moe-interpret", mlir, f"--function={function}",
            f"--input=@{folder}/x.npy", f"--weights={weights}",
            f"--output=@{output}")
        results["interpreted", name] = output.read_bytes()
        for mode in ("external", "packed", "embedded"):
            artifact = folder / f"{name}.moe"
            run("moe-compile", mlir, "-o", artifact, f"--weights={mode}",
                f"--checkpoint={weights}", "--hash-weights")
            given = [f"--weights={weights}"] if mode == "external" else []
            run("moe-run", artifact, f"--input=@{folder}/x.npy", "-q",
                f"--output=@{output}", "--verify-weights", *given)
            results[mode, name] = output.read_bytes()
    bad = [how for how, name in results
           if results[how, name] != results[how, "plain"]]
    for how in bad:
        print(f"{how}: encoded weights give other bits than plain ones")
    y = np.load(output)
    if y.shape != x.shape or not np.isfinite(y).all() or not y.any():
        bad.append("the outputs are not what numbers can show anything of")
        print(bad[-1])
    return 1 if bad else 0


def write(path, tensors):
    """A safetensors file."""
    header, data = {}, b""
    for name, (dtype, array) in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


if __name__ == "__main__":
    sys.exit(main())
