#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Routes: recorded, and given back."""

import numpy as np
import pytest

import moe
import tensorfile

NAME = "layers.0.mlp"


def rows(count, seed):
    random = np.random.default_rng(seed)
    return random.standard_normal((count, 40), np.float32)


def read(path):
    tensors, _ = tensorfile.read(path)
    return {key: tensor.data for key, tensor in tensors.items()}


def test_records_what_was_chosen(mixtral, tmp_path):
    path = tmp_path / "routes.safetensors"
    x = rows(17, 1)
    mixtral.reset_expert_stats()
    plain = mixtral[NAME](x)
    with mixtral.record_routes(path):
        recorded = mixtral[NAME](x)
    assert plain.tobytes() == recorded.tobytes()
    routes = read(path)
    ids = routes[f"{NAME}.ids"]
    weights = routes[f"{NAME}.weights"]
    assert ids.shape == weights.shape == (17, 2)
    assert ids.dtype == np.int32 and weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    counts = np.bincount(ids.ravel(), minlength=5)
    assert (2 * counts == mixtral.expert_stats().counts[0]).all()


def test_replays(mixtral, tmp_path):
    path = tmp_path / "routes.safetensors"
    x, other = rows(9, 2), rows(9, 3)
    with mixtral.record_routes(path):
        y = mixtral[NAME](x)
    with mixtral.replay_routes(path):
        assert mixtral[NAME](x).tobytes() == y.tobytes()
        with mixtral.record_routes(tmp_path / "again.safetensors"):
            forced = mixtral[NAME](other)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    free = mixtral[NAME](other)
    assert free.tobytes() != forced.tobytes()


def test_errors(mixtral, tmp_path):
    path = tmp_path / "routes.safetensors"
    with pytest.raises(moe.UsageError, match="no routes to write"):
        with mixtral.record_routes(path):
            pass
    with pytest.raises(ZeroDivisionError):
        with mixtral.record_routes(path):
            mixtral[NAME](rows(3, 4))
            1 / 0
    assert not path.exists()
    with mixtral.record_routes(path):
        mixtral[NAME](rows(3, 4))
    with mixtral.replay_routes(path):
        with pytest.raises(moe.InputError, match="of 3 tokens, the call has 4"):
            mixtral[NAME](rows(4, 5))
        with pytest.raises(moe.InputError, match="are of function"):
            mixtral["layers.1.mlp"](rows(3, 5))
    mixtral["layers.1.mlp"](rows(3, 5))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(moe.InputError, match="not a file of routes"):
        with mixtral.replay_routes(path):
            pass
    with pytest.raises(moe.FileError):
        with mixtral.replay_routes(tmp_path / "none"):
            pass
