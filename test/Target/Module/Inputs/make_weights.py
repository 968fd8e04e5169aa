"""Writes f32 tensors of random values: make_weights.py FILE NAME:EXTENTS..."""

import json
import random
import struct
import sys

header, data = {}, b""
for text in sys.argv[2:]:
    name, extents = text.split(":")
    shape = [int(e) for e in extents.split("x")]
    count = 1
    for extent in shape:
        count *= extent
    begin = len(data)
    data += struct.pack(
        f"<{count}f", *(random.uniform(-1, 1) for _ in range(count))
    )
    header[name] = {
        "dtype": "F32",
        "shape": shape,
        "data_offsets": [begin, len(data)],
    }
head = json.dumps(header).encode()
head += b" " * (-len(head) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(head)) + head + data)
