#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Calls: what comes out, what is refused, and what is not copied."""

import json
import threading

import numpy as np
import pytest

import moe
from conftest import distance, golden
from moe import _library

H = 40
NAME = "layers.0.mlp"


def rows(count, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((count, H), np.float32)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("tokens", [1, 2, 17])
def test_f32_reproduces_golden(mixtral, layer, tokens):
    tensors = golden("mixtral-f32")
    x = tensors[f"layers.{layer}.n{tokens}.input"]
    y = mixtral[f"layers.{layer}.mlp"](x)
    assert y.dtype == np.float32 and y.shape == x.shape
    assert distance(y, tensors[f"layers.{layer}.n{tokens}.output"]) <= 1e-5
    ids = tensors[f"layers.{layer}.n{tokens}.ids"]
    stats = mixtral.expert_stats()
    assert stats.layers == [f"layers.{layer}.mlp"]
    counts = np.bincount(ids.ravel(), minlength=5)
    assert stats.counts[0].tolist() == counts.tolist()


def test_bf16_travels_as_uint16(artifacts):
    tensors = golden("olmoe-bf16")
    x = tensors["layers.1.n17.input"]
    with moe.load(artifacts("olmoe-bf16")) as session:
        y = session.call("layers.1.mlp", x)
    assert x.dtype == y.dtype == np.uint16
    expected = moe.from_bf16(tensors["layers.1.n17.output"])
    assert distance(moe.from_bf16(y), expected) <= 1e-2


def test_bf16_of_ml_dtypes(artifacts):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = golden("olmoe-bf16")["layers.1.n17.input"]
    with moe.load(artifacts("olmoe-bf16")) as session:
        bits = session["layers.1.mlp"](x)
        y = session["layers.1.mlp"](x.view(ml_dtypes.bfloat16))
    assert y.dtype == ml_dtypes.bfloat16
    assert (y.view(np.uint16) == bits).all()


def test_no_tokens(mixtral):
    assert mixtral[NAME](np.empty((0, H), np.float32)).shape == (0, H)


class Recorder:
    """Stands before libmoert and keeps what moert_session_call was given."""

    def __init__(self, library):
        self._library = library
        self.seen = []

    def __getattr__(self, name):
        return getattr(self._library, name)

    def moert_session_call(self, handle, function, inputs, ni, outputs, no):
        self.seen.append((inputs[0].data, outputs[0].data))
        return self._library.moert_session_call(
            handle, function, inputs, ni, outputs, no
        )


def test_arrays_are_not_copied(mixtral, monkeypatch):
    recorder = Recorder(_library.library())
    monkeypatch.setattr(_library, "library", lambda: recorder)
    x = rows(9)[2:7]
    x.flags.writeable = False
    before = x.copy()
    y = np.full((5, H), np.nan, np.float32)
    assert mixtral[NAME](x, out=y) is y
    assert recorder.seen == [(x.ctypes.data, y.ctypes.data)]
    assert (x == before).all()
    assert (y == mixtral[NAME](x)).all()


def test_metadata_and_signatures(mixtral):
    assert mixtral.metadata["schema"] == "moe.meta/1"
    assert mixtral.functions == ["layers.0.mlp", "layers.1.mlp"]
    info = mixtral[NAME].info
    (x,), (y,) = info.inputs, info.outputs
    assert (x.name, x.dtype, x.shape[1]) == ("x", "f32", H)
    symbol = x.shape[0]
    assert isinstance(symbol, str) and y.shape == (symbol, H)
    low, high = x.bounds[symbol]
    assert low == 0 and high >= 1000
    assert repr(mixtral[NAME]).startswith("<moe function layers.0.mlp(x: f32")
    json.dumps(mixtral.metadata)


def test_threads_give_the_same_bits(artifacts):
    x = rows(33)
    outputs = []
    for threads in (1, 2, 3):
        with moe.load(artifacts("mixtral-f32"), threads=threads) as session:
            assert session.threads == threads
            outputs.append(session[NAME](x))
    assert (outputs[0] == outputs[1]).all()
    assert (outputs[0] == outputs[2]).all()


def test_one_session_in_many_threads(mixtral):
    inputs = [rows(1 + i % 5, seed=i) for i in range(40)]
    expected = [mixtral[NAME](x) for x in inputs]
    mixtral.reset_expert_stats()
    found = [None] * len(inputs)

    def work(first):
        for i in range(first, len(inputs), 4):
            found[i] = mixtral[NAME](inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for y, e in zip(found, expected):
        assert (y == e).all()
    assert mixtral.expert_stats().tokens.tolist() == [sum(map(len, inputs))]


def test_statistics_start_again(mixtral):
    mixtral[NAME](rows(6))
    stats = mixtral.expert_stats()
    assert stats.counts.sum() == 2 * 6 and stats.tokens.tolist() == [6]
    mixtral.reset_expert_stats()
    assert mixtral.expert_stats().counts.sum() == 0


def test_trace(artifacts, tmp_path):
    with moe.load(artifacts("mixtral-f32"), trace=True) as session:
        session[NAME](rows(3))
        root = json.loads(session.write_trace(tmp_path / "t.json").read_text())
        with pytest.raises(moe.FileError, match=r"error\[MOE0011\]"):
            session.write_trace(tmp_path / "no" / "t.json")
    spans = [e for e in root["traceEvents"] if e.get("ph") == "X"]
    assert spans and all(e["dur"] >= 0 for e in spans)


def test_only_chosen_functions(artifacts):
    path = artifacts("mixtral-f32")
    with moe.load(path, functions=["layers.1.mlp"]) as session:
        session["layers.1.mlp"](rows(2))
        with pytest.raises(moe.MoeError):
            session[NAME](rows(2))


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: rows(4).T.copy().T, "input 'x' is not C-contiguous"),
        (lambda: rows(4)[:, ::-1], "fix: pass numpy.ascontiguousarray(array)"),
        (lambda: rows(4).astype("f8"), "input 'x' has element type float64"),
        (lambda: rows(4).astype("f8"), "fix: pass array.astype(numpy.float32)"),
        (lambda: rows(4).astype(">f4"), "input 'x' has element type >f4"),
        (lambda: rows(4).tolist(), "input 'x' is a list, not a numpy array"),
        (lambda: rows(4)[0], "error[MOE0013]"),
        (lambda: rows(4)[:, :39].copy(), "error[MOE0013]"),
    ],
)
def test_arrays_that_do_not_fit(mixtral, make, text):
    with pytest.raises(moe.InputError) as caught:
        mixtral[NAME](make())
    assert text in str(caught.value) and caught.value.number == 13
    assert isinstance(caught.value, ValueError)


def test_outputs_that_do_not_fit(mixtral):
    x = rows(4)
    with pytest.raises(moe.InputError, match="the call gives"):
        mixtral[NAME](x, out=np.empty((3, H), np.float32))
    with pytest.raises(moe.InputError, match="element type float64"):
        mixtral[NAME](x, out=np.empty((4, H)))
    fixed = np.empty((4, H), np.float32)
    fixed.flags.writeable = False
    with pytest.raises(moe.InputError, match="read-only"):
        mixtral[NAME](x, out=fixed)
    with pytest.raises(moe.UsageError, match="gives 1 outputs"):
        mixtral[NAME](x, out=[])
    with pytest.raises(moe.InputError, match="output 'y' overlaps an input"):
        mixtral[NAME](x, out=x)


def test_names_and_counts(mixtral):
    with pytest.raises(moe.UsageError) as caught:
        mixtral["layers.7.mlp"]
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.what == "there is no function 'layers.7.mlp'"
    assert diagnostic.because == "the artifact has: layers.0.mlp, layers.1.mlp"
    with pytest.raises(moe.UsageError, match="takes 1 inputs, 2 given"):
        mixtral[NAME](rows(1), rows(1))


def test_closed(artifacts):
    session = moe.load(artifacts("mixtral-f32"))
    function = session[NAME]
    assert not session.closed
    session.close()
    session.close()
    assert session.closed and "closed" in repr(session)
    for use in (
        lambda: function(rows(1)),
        session.expert_stats,
        session.reset_expert_stats,
        session.trace,
    ):
        with pytest.raises(moe.ClosedError, match="the session is closed"):
            use()
    # What was read stays readable.
    assert session.metadata["schema"] == "moe.meta/1"


def test_closing_waits_for_calls(artifacts):
    session = moe.load(artifacts("mixtral-f32"))
    ended = []

    def work():
        try:
            while True:
                session[NAME](rows(2))
        except moe.ClosedError:
            ended.append(True)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    session.close()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 3
