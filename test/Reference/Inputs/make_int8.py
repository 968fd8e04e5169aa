"""make_int8.py FILE: writes I8 codes [4, 6], scales of good and bad shapes."""

import json
import struct
import sys

tensors = {
    "codes": ("I8", [4, 6], struct.pack("<24b", *range(-12, 12))),
    "rows": ("F32", [4, 1], struct.pack("<4f", 1, 2, 0.5, -1)),
    "halves": ("BF16", [2, 3], struct.pack("<6H", *[0x3F80, 0x4000] * 3)),
    "thirds": ("F32", [3, 1], bytes(12)),
    "flat": ("F32", [4], bytes(16)),
}
header, data = {}, b""
for name, (dtype, shape, raw) in tensors.items():
    header[name] = {"dtype": dtype, "shape": shape,
                    "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
head = json.dumps(header).encode()
head += b" " * (-len(head) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(head)) + head + data)
