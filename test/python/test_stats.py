#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Expert statistics, their heatmap, and bfloat16."""

import json
import struct

import numpy as np
import pytest

import moe


def text_of(**changes):
    root = {
        "schema": "moe.expert_stats/1",
        "model": "tiny",
        "fingerprint": "0123456789abcdef",
        "layers": ["layers.0", "layers.3", "layers.5"],
        "num_experts": 4,
        "top_k": 2,
        "tokens": [10, 0, 6],
        "counts": [[11, 3, 6, 0], [0, 0, 0, 0], [6, 6]],
    }
    root.update(changes)
    return json.dumps({k: v for k, v in root.items() if v is not None})


def test_arrays():
    stats = moe.ExpertStats.from_json(text_of())
    assert stats.top_k == 2 and stats.model == "tiny"
    assert stats.counts.dtype == np.int64
    assert stats.counts.tolist() == [[11, 3, 6, 0], [0] * 4, [6, 6, 0, 0]]
    assert stats.experts.tolist() == [4, 4, 2]
    nan = np.nan
    np.testing.assert_allclose(
        stats.load, [[2.2, 0.6, 1.2, 0], [nan] * 4, [1, 1, nan, nan]]
    )
    np.testing.assert_allclose(stats.imbalance, [2.2, nan, 1])


def test_merge():
    a = moe.ExpertStats.from_json(text_of())
    b = moe.ExpertStats.from_json(
        text_of(layers=["layers.9", "layers.0"], tokens=[1, 2],
                counts=[[0, 2], [1, 1, 1, 1]])
    )
    both = moe.ExpertStats.merge([a, b])
    assert both.layers == ["layers.0", "layers.3", "layers.5", "layers.9"]
    assert both.tokens.tolist() == [12, 0, 6, 1]
    assert both.counts[0].tolist() == [12, 4, 7, 1]
    assert both.counts[3].tolist() == [0, 2, 0, 0]
    assert both.experts.tolist() == [4, 4, 2, 2]
    with pytest.raises(ValueError, match="no statistics"):
        moe.ExpertStats.merge([])
    c = moe.ExpertStats.from_json(text_of(layers=["layers.0"] * 3))
    with pytest.raises(ValueError, match="4 and 2 experts"):
        moe.ExpertStats.merge([c])


def test_nothing_counted():
    stats = moe.ExpertStats.from_json(
        text_of(layers=[], tokens=[], counts=[], top_k=None)
    )
    assert stats.counts.shape == (0, 0) and stats.imbalance.shape == (0,)
    assert stats.top_k is None
    with pytest.raises(ValueError, match="no layer"):
        moe.plot.heatmap(stats, "never-written.png")


@pytest.mark.parametrize(
    "text, why",
    [
        ("{", "it is no JSON"),
        ("[]", "its schema is not moe.expert_stats/1"),
        (text_of(schema="moe.expert_stats/2"), "its schema is not"),
        (text_of(counts=None), "a key is missing"),
        (text_of(tokens=["x"]), "of another type"),
        (text_of(tokens=[1]), "it has 3 layers, 3 rows of counts and 1"),
        (text_of(tokens=[1, 0, 6]), "counts 20 choices, more than top-2 of 1"),
    ],
)
def test_bad_statistics(text, why):
    with pytest.raises(moe.FileError) as caught:
        moe.ExpertStats.from_json(text, "s.json")
    assert why in str(caught.value) and " --> s.json" in str(caught.value)


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_heatmap_of_a_file(tmp_path):
    (tmp_path / "s.json").write_text(text_of())
    path = moe.plot.heatmap(tmp_path / "s.json", tmp_path / "h.png")
    width, height = png_size(path)
    assert width >= 700 and height >= 300
    with pytest.raises(moe.FileError, match="cannot read expert statistics"):
        moe.plot.heatmap(tmp_path / "none.json", tmp_path / "h2.png")
    assert not (tmp_path / "h2.png").exists()


def test_heatmap_says_what_it_shows(tmp_path):
    stats = moe.ExpertStats.from_json(text_of())
    path = moe.plot.heatmap(stats, tmp_path / "h.svg")
    # Text becomes outlines; matplotlib keeps it in comments.
    text = path.read_text()
    for label in ("tiny", "layers.3", "expert", "layer", "2.20 in layers.0"):
        assert label in text, label


def test_heatmap_of_many_layers_and_no_tokens(tmp_path):
    random = np.random.default_rng(7)
    counts = random.integers(0, 9, (61, 256))
    many = moe.ExpertStats.from_json(
        text_of(
            layers=[f"layers.{i}" for i in range(61)],
            tokens=counts.sum(axis=1).tolist(),
            counts=counts.tolist(),
            top_k=None,
        )
    )
    width, height = png_size(moe.plot.heatmap(many, tmp_path / "m.png"))
    assert width <= 2000 and height <= 2000
    none = moe.ExpertStats.from_json(
        text_of(layers=["layers.0"], tokens=[0], counts=[[0, 0]])
    )
    png_size(moe.plot.heatmap(none, tmp_path / "n.png"))


def test_bf16_rounds_to_nearest_even():
    for bits, rounded in {
        0x3F800000: 0x3F80,
        0x3F808000: 0x3F80,
        0x3F818000: 0x3F82,
        0x3F808001: 0x3F81,
        0x7F7FFFFF: 0x7F80,
        0x7F800001: 0x7FC0,
    }.items():
        value = np.array([bits], np.uint32).view(np.float32)
        assert moe.to_bf16(value).tolist() == [rounded]
    every = np.arange(1 << 16, dtype=np.uint16)
    wide = moe.from_bf16(every)
    exact = ~np.isnan(wide)
    assert (moe.to_bf16(wide)[exact] == every[exact]).all()
    assert np.isnan(moe.from_bf16(moe.to_bf16(wide[~exact]))).all()
    assert moe.to_bf16(np.zeros((2, 0, 3))).shape == (2, 0, 3)


def test_dropped_pairs():
    assert moe.ExpertStats.from_json(text_of()).dropped is None
    lost = [[1, 0, 0, 5], [0] * 4, [2, 3]]
    stats = moe.ExpertStats.from_json(text_of(dropped=lost))
    assert stats.dropped.tolist() == [[1, 0, 0, 5], [0] * 4, [2, 3, 0, 0]]
    both = moe.ExpertStats.merge(
        [stats, moe.ExpertStats.from_json(text_of()), stats]
    )
    assert both.dropped.tolist() == [[2, 0, 0, 10], [0] * 4, [4, 6, 0, 0]]
    assert both.counts[0].tolist() == [33, 9, 18, 0]


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"counts": [[-1, 3, 6, 0], [0] * 4, [6, 6]]},
         "it has a negative count"),
        ({"tokens": [10, 0, -6]}, "it has a negative count"),
        ({"dropped": [[0, 0, 0, -2], [0] * 4, [0, 0]]},
         "it has a negative count"),
        ({"dropped": [[0], [0] * 4, [0, 0]]},
         "its counts and dropped pairs differ in their sizes"),
    ],
)
def test_impossible_counts(changes, why):
    with pytest.raises(moe.FileError, match=f"because {why}"):
        moe.ExpertStats.from_json(text_of(**changes))
