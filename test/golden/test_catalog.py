#!/usr/bin/env python3
#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The directories of catalog.py: damage is found, and each shows its point."""

import json
import os
import shutil
import sys
import tempfile
import unittest

import numpy as np

sys.dont_write_bytecode = True
import catalog
import catalog_check as check
import catalog_logits
import catalog_reference as reference
import tensorfile

HERE = os.path.dirname(os.path.abspath(__file__))


def load(name):
    """(family, dtype, config, tensors, golden, metadata) of a directory."""
    path = os.path.join(HERE, name)
    golden, metadata = tensorfile.read(os.path.join(path, "golden.safetensors"))
    return (
        *catalog.find(name),
        check.read_config(path),
        tensorfile.read_model(path),
        golden,
        metadata,
    )


def blocks(name):
    """(function, block, golden) of every block of a directory."""
    family, dtype, config, tensors, golden, _ = load(name)
    for site in family.sites(config):
        block = family.block(config, dtype, check.getter(tensors), site)
        yield site.function, block, golden


class Damage(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="catalog-")
        self.addCleanup(shutil.rmtree, self.root)

    def damage(self, name, change, file="golden.safetensors"):
        path = os.path.join(self.root, name)
        shutil.copytree(os.path.join(HERE, name), path)
        file = os.path.join(path, file)
        tensors, metadata = tensorfile.read(file)
        tensors = {
            n: tensorfile.Tensor(t.dtype, t.data.copy())
            for n, t in tensors.items()
        }
        change(tensors, metadata)
        tensorfile.write(file, tensors, metadata)
        return path

    def assert_fails(self, text, name, change, *file):
        path = self.damage(name, change, *file)
        with self.assertRaisesRegex(check.Mismatch, text):
            check.check_directory(path, *catalog.find(name))

    def test_a_dropped_pair_comes_back(self):
        def change(tensors, _):
            ids = tensors["layers.1.n17.ids"].data
            row = int(np.nonzero((ids < 0).any(axis=1))[0][0])
            ids[row, -1] = next(e for e in range(7) if e not in ids[row])

        self.assert_fails(
            r"layers\.1\.n17\.ids: token \d+ has", "gshard-f32", change
        )

    def test_weight_of_a_dropped_pair(self):
        def change(tensors, _):
            ids = tensors["layers.1.n17.ids"].data
            tensors["layers.1.n17.weights"].data[ids < 0] = 0.5

        self.assert_fails("zero elsewhere", "vmoe-f32", change)

    def test_other_weights(self):
        def change(tensors, _):
            tensors["encoder.layers.3.n2.weights"].data[0, 0] /= 0.8

        self.assert_fails(
            r"encoder\.layers\.3\.n2\.weights: relative", "nllb_moe-f32", change
        )

    def test_other_output(self):
        for name, factor in (("jetmoe-f32", 1 + 1e-4), ("jetmoe-bf16", 1.03)):

            def change(tensors, _):
                old = tensors["layers.1.n17.output"]
                tensors["layers.1.n17.output"] = tensorfile.from_f32(
                    tensorfile.to_f32(old) * np.float32(factor), old.dtype
                )

            text = r"layers\.1\.n17(\.output|: rounding)"
            self.assert_fails(text, name, change)

    def test_nibbles_exchanged(self):
        def change(tensors, _):
            name = "model.layers.1.mlp.experts.down_proj_blocks"
            data = tensors[name].data
            data[:] = (data << 4) | (data >> 4)

        self.assert_fails(
            r"layers\.1\.n1\.output: relative error",
            "gpt_oss-f32-mxfp4",
            change,
            "model.safetensors",
        )

    def test_halves_instead_of_interleaved(self):
        def change(tensors, _):
            data = tensors["model.layers.0.mlp.experts.gate_up_proj"].data
            data[:] = np.concatenate([data[..., 0::2], data[..., 1::2]], -1)

        self.assert_fails(
            r"layers\.0\.n1\.output: relative error",
            "gpt_oss-f32",
            change,
            "model.safetensors",
        )

    def test_coefficients_are_judged(self):
        def change(tensors, _):
            name = "language_model.encoder.layers.3.mlp.coefficient.bias"
            data = tensors[name].data
            data[:] = data[::-1].copy()

        self.assert_fails(
            r"layers\.3\.n1\.output: relative error",
            "deepspeed_moe-f32",
            change,
            "model.safetensors",
        )

    def test_missing_tensor(self):
        name = "encoder.block.3.layer.1.mlp.experts.expert_5.wo.weight"
        self.assert_fails(
            "expert_5.wo.weight: found None",
            "switch_transformers-bf16",
            lambda tensors, _: tensors.pop(name),
            "model.safetensors",
        )

    def test_missing_count_and_tier(self):
        self.assert_fails(
            r"dbrx|layers\.0\.n0\.ids: not expected",
            "dbrx-f32",
            lambda tensors, _: tensors.pop("layers.0.n0.ids"),
        )
        self.assert_fails(
            "tier B",
            "jamba-f32",
            lambda _, metadata: metadata.update(tier="B"),
        )


class Point(unittest.TestCase):
    """What each directory is there for does happen in it."""

    def test_capacity_decides(self):
        """By another order, or without a capacity, other pairs are kept."""
        for family in catalog.FAMILIES:
            if not family.wants_drops:
                continue
            for dtype in family.dtypes:
                name = family.directory(dtype)
                changed = False
                for function, block, golden in blocks(name):
                    logits = golden[f"{function}.n17.logits"].data
                    ids = golden[f"{function}.n17.ids"].data
                    self.assertTrue((ids < 0).any(), name)
                    block.by_probability = not block.by_probability
                    other = reference.route(block, logits).ids
                    changed |= not np.array_equal(other, ids)
                    block.capacity = None
                    self.assertFalse(
                        (reference.route(block, logits).ids < 0).any()
                    )
                self.assertTrue(changed, name)

    def test_identity_experts_are_chosen(self):
        for name in ("longcat_flash-f32", "longcat_flash-bf16"):
            for function, block, golden in blocks(name):
                ids = golden[f"{function}.n17.ids"].data
                self.assertTrue((ids >= 6).any())
                self.assertTrue((ids < 6).any())

    def test_selection_bias_decides(self):
        changed = False
        for function, block, golden in blocks("longcat_flash-f32"):
            block.selection_bias = None
            logits = golden[f"{function}.n17.logits"].data
            other = reference.route(block, logits).ids
            ids = golden[f"{function}.n17.ids"].data
            changed |= not np.array_equal(other, ids)
        self.assertTrue(changed)

    def test_groups_decide(self):
        changed = False
        for function, block, golden in blocks("deepseek_v2-f32"):
            block.kept_groups = block.groups
            logits = golden[f"{function}.n17.logits"].data
            other = reference.route(block, logits).ids
            ids = golden[f"{function}.n17.ids"].data
            changed |= not np.array_equal(other, ids)
        self.assertTrue(changed)

    def test_sparsemixer_is_not_softmax_of_two(self):
        for function, _, golden in blocks("phimoe-f32"):
            weights = golden[f"{function}.n17.weights"].data
            self.assertTrue((weights == 1).any())
            self.assertTrue((weights < 0.9).any())

    def test_clamps_act(self):
        for function, block, golden in blocks("gpt_oss-f32"):
            x = tensorfile.to_f32(golden[f"{function}.n17.input"])
            gate = [x @ e.gate.T + e.gate_bias for e in block.experts]
            up = [x @ e.up.T + e.up_bias for e in block.experts]
            self.assertGreater(np.max(gate), 7)
            self.assertGreater(np.max(up), 7)
            self.assertLess(np.min(up), -7)

    def test_input_and_output_scale_differ(self):
        for function, block, golden in blocks("llama4-f32"):
            x = tensorfile.to_f32(golden[f"{function}.n17.input"])
            y = tensorfile.to_f32(golden[f"{function}.n17.output"])
            block.scale_input = False
            other, _ = reference.forward(block, x)
            error = np.linalg.norm(other - y) / np.linalg.norm(y)
            self.assertGreater(error, 1e-3)

    def test_an_expert_without_tokens(self):
        """Also with many tokens some expert stays empty somewhere."""
        empty = 0
        for family in catalog.FAMILIES:
            name = family.directory(family.dtypes[0])
            for function, block, golden in blocks(name):
                ids = golden[f"{function}.n17.ids"].data
                empty += len(set(range(len(block.router))) - set(ids.ravel()))
        self.assertGreater(empty, 0)

    def test_dense_layers_lie_between(self):
        for name in (
            "deepseek", "qwen3_next", "llama4_text", "llama4", "jamba",
            "switch_transformers", "nllb_moe", "gshard", "vmoe",
            "deepspeed_moe",
        ):
            family, _ = catalog.find(f"{name}-f32")
            functions = {s.function for s in family.sites(family.config())}
            self.assertFalse(
                functions & {"layers.0", "encoder.layers.0", "decoder.layers.0"}
            )

    def test_mxfp4_vector(self):
        """Byte 0xB3 with scale 125: low nibble 1.5 / 4, high -1.5 / 4."""
        codes = np.full((1, 1, 16), 0xB3, np.uint8)
        found = catalog_logits.mxfp4(codes, np.full((1, 1), 125, np.uint8))
        np.testing.assert_array_equal(found[0, :2], [0.375, -0.375])
        self.assertEqual(found.shape, (1, 32))

    def test_margins_are_demanded(self):
        for family in catalog.FAMILIES:
            for dtype in family.dtypes:
                metadata = load(family.directory(dtype))[-1]
                found = json.loads(metadata["smallest_margins"])
                for margin, limit in json.loads(metadata["margins"]).items():
                    if margin == "rounding":
                        self.assertLessEqual(found[margin], limit)
                    elif margin in found:
                        self.assertGreaterEqual(found[margin], limit)


if __name__ == "__main__":
    unittest.main()
