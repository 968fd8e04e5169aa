#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Errors of compiling and loading, and how their text is taken apart."""

import os
import subprocess
import sys

import pytest

import moe
from conftest import GOLDEN, ROOT
from moe.compiler import flags_of
from moe.errors import Diagnostic, error_of, parse_diagnostics


def test_parse_diagnostics():
    text = (
        "error[MOE0402]: 2 tensors do not match\n"
        " --> model.safetensors\n"
        "because a is missing\n"
        "note: look again\n"
        "fix: download it\n"
        "x.mlir:3:7: error: 'moe.route' op k exceeds E\n"
        "some other line\n"
    )
    assert parse_diagnostics(text) == [
        Diagnostic(
            "error",
            "2 tensors do not match",
            402,
            "model.safetensors",
            "a is missing",
        ),
        Diagnostic("note", "look again", fix="download it"),
        Diagnostic(
            "error", "'moe.route' op k exceeds E", where="x.mlir:3:7"
        ),
    ]
    assert parse_diagnostics("") == []


@pytest.mark.parametrize(
    "number, kind",
    [
        (1, moe.UsageError),
        (10, moe.FileError),
        (13, moe.InputError),
        (14, moe.CallError),
        (15, moe.CallError),
        (16, moe.InputError),
        (17, moe.CallError),
        (303, moe.IncompatibleArtifact),
        (403, moe.WeightsError),
        (601, moe.OutOfMemory),
        (9000, moe.MoeError),
    ],
)
def test_classes_by_number(number, kind):
    error = error_of(number, f"error[MOE{number:04}]: it\n")
    assert type(error) is kind and error.number == number
    assert str(error) == f"error[MOE{number:04}]: it"


def test_flags():
    assert flags_of(
        dict(
            compile_to="tiled",
            weights=None,
            quick=True,
            hash_weights=False,
            target=["x86-64-v3", "x86-64-v4"],
            layers=3,
            checkpoint=GOLDEN,
        )
    ) == [
        "--compile-to=tiled",
        "--quick",
        "--no-hash-weights",
        "--target=x86-64-v3,x86-64-v4",
        "--layers=3",
        f"--checkpoint={GOLDEN}",
    ]


def test_compile_error(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no_such"}')
    with pytest.raises(moe.CompileError) as caught:
        moe.compile(tmp_path, tmp_path / "out.moe")
    assert caught.value.number == 201 and caught.value.exit_code == 1
    assert "no_such" in caught.value.diagnostics[0].what
    assert not (tmp_path / "out.moe").exists()


def test_compile_usage_error(tmp_path):
    with pytest.raises(moe.CompileError) as caught:
        moe.compile(GOLDEN / "mixtral-f32", tmp_path / "o.moe", weights="no")
    assert caught.value.exit_code == 2


def test_compile_with_flags(tmp_path):
    path = moe.compile(
        GOLDEN / "mixtral-f32",
        tmp_path / "o.mlir",
        compile_to="import",
        layers=[1],
    )
    text = path.read_text()
    assert "@layers.1.mlp" in text and "@layers.0.mlp" not in text


def test_missing_tool(monkeypatch, tmp_path):
    monkeypatch.setenv("MOE_COMPILE", "/nonexistent/moe-compile")
    with pytest.raises(moe.LibraryNotFound, match="cannot be run"):
        moe.compile(GOLDEN / "mixtral-f32", tmp_path / "o.moe")


def test_missing_artifact(tmp_path):
    with pytest.raises(moe.FileError) as caught:
        moe.load(tmp_path / "none.moe")
    assert isinstance(caught.value, OSError) and caught.value.number == 10
    assert str(caught.value).startswith("error[MOE0010]")


def test_damaged_artifact(artifacts, tmp_path):
    data = artifacts("mixtral-f32").read_bytes()
    (tmp_path / "short.moe").write_bytes(data[: len(data) // 2])
    with pytest.raises(moe.IncompatibleArtifact):
        moe.load(tmp_path / "short.moe")
    (tmp_path / "text.moe").write_text("no artifact")
    with pytest.raises(moe.IncompatibleArtifact) as caught:
        moe.load(tmp_path / "text.moe")
    assert caught.value.diagnostics[0].fix


def test_wrong_weights(artifacts, tmp_path):
    path = artifacts("mixtral-f32")
    with pytest.raises(moe.WeightsError):
        moe.load(path, weights=tmp_path)
    with pytest.raises(moe.WeightsError):
        moe.load(path, weights=GOLDEN / "olmoe-f32")


def test_unknown_level(artifacts):
    with pytest.raises(moe.MoeError) as caught:
        moe.load(artifacts("mixtral-f32"), isa="mmx")
    assert "mmx" in str(caught.value)


def in_child(code, **environment):
    return subprocess.run(
        [sys.executable, "-B", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python"), **environment},
        capture_output=True,
        text=True,
    )


def test_library_not_found():
    code = "import moe; moe.load('x.moe')"
    done = in_child(code, MOERT_LIBRARY="/nonexistent/libmoert.so.0")
    assert done.returncode == 1
    assert "error[MOE0001]: libmoert was not found" in done.stderr
    assert "LibraryNotFound" in done.stderr
    assert "/nonexistent/libmoert.so.0 does not exist" in done.stderr


def test_another_library():
    libc = "libc.so.6"
    done = in_child("import moe; moe.load('x.moe')", MOERT_LIBRARY=libc)
    assert "error[MOE0001]: this is no libmoert" in done.stderr


def test_import_needs_neither_library_nor_matplotlib(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('absent')")
    done = in_child(
        "import moe; print(moe.__version__)",
        MOERT_LIBRARY="/nonexistent/libmoert.so.0",
        PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT / 'python'}",
    )
    assert done.stdout.strip() == moe.__version__, done.stderr


def test_every_error_number_has_a_title():
    """Numbers that the package itself uses are in the common table."""
    table = (ROOT / "runtime/include/moert/Format/ErrorCodes.def").read_text()
    for number in (1, 2, 10, 11, 13):
        assert f"MOE_ERROR({number}," in table


def test_golden_directory_is_left_alone(artifacts):
    before = sorted(p.name for p in (GOLDEN / "mixtral-f32").iterdir())
    artifacts("mixtral-f32")
    after = sorted(p.name for p in (GOLDEN / "mixtral-f32").iterdir())
    assert before == after
