#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Says of each GPU image of an artifact whether a folder of --save-temps has
the same bytes, and an emulated module with their hash as its name.

    image_hashes.py ARTIFACT FOLDER
"""

import ctypes
import ctypes.util
import os
import subprocess
import sys
import tempfile


def images(artifact):
    """(arch, kind, bytes) of each image, read without LLVM's library."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "section")
        command = ["llvm-objcopy", f"--dump-section=.llvm.offloading={path}"]
        subprocess.run([*command, artifact, "/dev/null"], check=True)
        with open(path, "rb") as file:
            data = file.read()
    while data:
        size, entry = (
            int.from_bytes(data[i : i + 8], "little") for i in (8, 16)
        )
        kind = int.from_bytes(data[entry : entry + 2], "little")
        strings, count, offset, length = (
            int.from_bytes(data[entry + i : entry + i + 8], "little")
            for i in (8, 16, 24, 32)
        )

        def text(at):
            start = int.from_bytes(data[at : at + 8], "little")
            return data[start : data.index(b"\0", start)].decode()

        table = {
            text(strings + 16 * i): text(strings + 16 * i + 8)
            for i in range(count)
        }
        kind = {3: "cubin", 5: "ptx"}[kind]
        yield table["arch"], kind, data[offset : offset + length]
        data = data[size + -size % 8 :]


def main(artifact, folder):
    library = ctypes.CDLL(ctypes.util.find_library("xxhash"))
    library.XXH3_64bits.restype = ctypes.c_uint64
    library.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    for arch, kind, data in images(artifact):
        with open(os.path.join(folder, f"{arch}.{kind}"), "rb") as file:
            same = file.read() == data
        name = f"{library.XXH3_64bits(data, len(data)):016x}.so"
        found = same and os.path.exists(os.path.join(folder, name))
        print(f"{arch} {kind}: {'found' if found else 'MISSING'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
