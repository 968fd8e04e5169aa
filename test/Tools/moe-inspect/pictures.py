#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The heatmap and the page of moe-inspect experts: pictures.py FOLDER

Makes random statistics, decodes the PNG that moe-inspect writes, by itself and
in the page, and compares every pixel with the documented colours. The page must
be well-formed, show names as they are, and refer to nothing outside.
"""

import base64
import html.parser
import json
import pathlib
import random
import struct
import subprocess
import sys
import zlib

PURPLE, WHITE, ORANGE = (84, 39, 136), (255, 255, 255), (230, 97, 1)
GREY = (200, 200, 200)


def decode(data):
    """(width, height, rows of pixels) of an 8-bit RGB PNG without filters."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        (check,) = struct.unpack(">I", data[at + 8 + length:at + 12 + length])
        assert check == zlib.crc32(kind + body), "checksum"
        chunks.append((kind, body))
        at += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert rest == [8, 2, 0, 0, 0]
    lines = zlib.decompress(chunks[1][1])
    stride = 1 + 3 * width
    assert len(lines) == height * stride
    rows = []
    for y in range(height):
        line = lines[y * stride:(y + 1) * stride]
        assert line[0] == 0
        rows.append([tuple(line[i:i + 3]) for i in range(1, stride, 3)])
    return width, height, rows


def mix(a, b, share):
    return tuple(x + (y - x) * share for x, y in zip(a, b))


def colors(stats):
    """The colour of each layer and expert, as Experts.h documents them."""
    widest = max(map(len, stats["counts"]))
    loads = [[c * len(row) / sum(row) for c in row] if sum(row) else []
             for row in stats["counts"]]
    largest = max([2] + [load for row in loads for load in row])
    return [
        [mix(PURPLE, WHITE, load) if load <= 1
         else mix(WHITE, ORANGE, (load - 1) / (largest - 1))
         for load in row] + [GREY] * (widest - len(row))
        for row in loads
    ]


def compare(data, stats, cell):
    width, height, rows = decode(data)
    expected = colors(stats)
    assert (width, height) == (len(expected[0]) * cell, len(expected) * cell)
    for y, row in enumerate(rows):
        for x, pixel in enumerate(row):
            want = expected[y // cell][x // cell]
            for a, b in zip(pixel, want):
                assert abs(a - b) <= 0.5 + 1e-9, (x, y, pixel, want)


class Page(html.parser.HTMLParser):
    EMPTY = {"meta", "image", "rect"}

    def __init__(self):
        super().__init__()
        self.stack, self.text, self.images, self.lines = [], "", [], 0

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "link", "iframe", "img"), tag
        for name, value in attributes:
            assert name != "src" and not name.startswith("on"), name
            if name == "href":
                assert value.startswith("data:image/png;base64,"), value
                self.images.append(base64.b64decode(value.split(",")[1]))
        self.lines += tag == "polyline"
        if tag not in self.EMPTY:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.EMPTY:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, tag

    def handle_data(self, data):
        self.text += data


def check(folder, stats, cell):
    (folder / "s.json").write_text(json.dumps(stats))
    done = subprocess.run(
        ["moe-inspect", "experts", "s.json", "--html=e.html", "--png=e.png"],
        cwd=folder, capture_output=True, text=True, check=True)
    compare((folder / "e.png").read_bytes(), stats, cell)
    page = Page()
    text = (folder / "e.html").read_text()
    page.feed(text)
    page.close()
    assert not page.stack and len(page.images) == 1
    compare(page.images[0], stats, 1)
    assert done.stdout in page.text, "the page has no table"
    for name in [stats["model"], *stats["layers"]]:
        assert page.text.count(name) >= 2, name
    used = sum(any(row) for row in stats["counts"])
    assert page.lines == used + (len(stats["layers"]) > 1)
    for word in ("http:", "https:", "url(", "@import", "<script"):
        assert word not in text, word


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    names = ["layers.0", "<script>alert(1)</script>", "a & b", "\"q\" 'r'", "z"]
    stats = {
        "schema": "moe.expert_stats/1", "model": "M<&>\"'", "layers": names,
        "fingerprint": "0123456789abcdef", "tokens": [1] * 5,
        "counts": [[random.randrange(50) for _ in range(experts)]
                   for experts in (8, 160, 1, 16)] + [[0, 0]],
    }
    check(folder, stats, 2048 // 160)
    many = dict(stats, layers=["l"], tokens=[9],
                counts=[[random.randrange(9) for _ in range(3000)]])
    check(folder, many, 1)
    few = dict(stats, layers=["l"], tokens=[9], counts=[[1, 1, 4]])
    check(folder, few, 16)


if __name__ == "__main__":
    main()
