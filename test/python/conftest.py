#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What the tests of the Python package share."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "test" / "golden"

sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "python"))
sys.path.insert(0, str(GOLDEN))

import moe
import tensorfile


def golden(name):
    """Tensors of a golden directory's golden.safetensors, by name."""
    tensors, _ = tensorfile.read(GOLDEN / name / "golden.safetensors")
    return {key: tensor.data for key, tensor in tensors.items()}


def distance(found, expected):
    """Relative Frobenius norm of a difference."""
    expected = expected.astype("f8")
    error = found.astype("f8") - expected
    return (error**2).sum() ** 0.5 / (expected**2).sum() ** 0.5


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Compiles golden directories, each once."""
    if os.environ.get("MOE_ASAN") == "1":
        pytest.skip("Python cannot load a libmoert with AddressSanitizer")
    folder = tmp_path_factory.mktemp("artifacts")
    made = {}

    def get(name):
        if name not in made:
            made[name] = moe.compile(GOLDEN / name, folder / f"{name}.moe")
        return made[name]

    return get


@pytest.fixture
def mixtral(artifacts):
    """A session of mixtral-f32 (H = 40, E = 5, k = 2, layers 0 and 1)."""
    with moe.load(artifacts("mixtral-f32")) as session:
        yield session
