#!/usr/bin/env python3
#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The golden files agree with the reference, and damage to them is found."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from dataclasses import replace

import numpy as np

sys.dont_write_bytecode = True
import catalog
import catalog_check
import check
import families
import generate
import make_model
import reference
import tensorfile

HERE = os.path.dirname(os.path.abspath(__file__))


def quietly(function, *arguments):
    """The result of a call and what it wrote to stdout and stderr."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            result = function(*arguments)
        except SystemExit as exit:
            result = exit.code
    return result, text.getvalue()


class Arithmetic(unittest.TestCase):
    """The building blocks of reference.py against slower exact ones."""

    def test_fma_rounds_once(self):
        # In f64 the sum falls on the middle between two f32 numbers, and the
        # rest that would break the tie is lost.
        a = np.float32(1 + 2**-12)
        c = np.float32(2.0**-70)
        tie = np.float32(1 + 2**-11)  # a * a = tie + 2^-24, a tie
        self.assertEqual(reference.fma(a, a, np.float32(0)), tie)
        self.assertEqual(reference.fma(a, a, c), tie + np.float32(2**-23))
        self.assertEqual(reference.fma(a, a, -c), tie)

    def test_exp_within_two_units(self):
        x = np.linspace(-87.3, 88.7, 200001).astype(np.float32)
        exact = np.exp(x.astype(np.float64))
        unit = np.spacing(exact.astype(np.float32)).astype(np.float64)
        self.assertLessEqual(
            np.max(np.abs(reference.exp(x) - exact) / unit), 2.0
        )
        edges = np.array([-np.inf, -88, 89, np.inf, np.nan, 0], np.float32)
        np.testing.assert_array_equal(
            reference.exp(edges), [0, 0, np.inf, np.inf, np.nan, 1]
        )

    def test_lane_sums(self):
        random = np.random.default_rng(7)
        for count in (1, 5, 16, 40, 257):
            x = random.standard_normal((3, count)).astype(np.float32)
            w = random.standard_normal((2, count)).astype(np.float32)
            exact = x.astype(np.float64) @ w.T.astype(np.float64)
            np.testing.assert_allclose(
                reference.lane_dot(x, w), exact, atol=1e-5
            )
            # Elements of one lane are added in ascending order.
            lanes = np.zeros((3, 16), np.float32)
            for i in range(count):
                lanes[:, i % 16] += x[:, i]
            for half in (8, 4, 2, 1):
                lanes = lanes[:, :half] + lanes[:, half : 2 * half]
            np.testing.assert_array_equal(reference.lane_sum(x), lanes[:, 0])

    def test_bf16_rounding(self):
        values = np.array(
            [1, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-20, 3.4e38, np.nan],
            np.float32,
        )
        bits = tensorfile.round_bf16(values)
        self.assertEqual(
            [hex(b) for b in bits],
            ["0x3f80", "0x3f80", "0x3f82", "0xbf81", "0x7f80", "0x7fc0"],
        )

    def test_ties_take_the_lowest_index(self):
        block = self.block("mixtral", 4, 2)
        logits = np.array([[1, 2, 0.5, 2], [3, 3, 3, 3]], np.float32)
        routing = reference.route(block, logits)
        np.testing.assert_array_equal(routing.ids, [[1, 3], [0, 1]])
        np.testing.assert_array_equal(routing.weights, np.full((2, 2), 0.5))
        plain = reference.route(replace(block, normalize=False), logits[:1])
        np.testing.assert_allclose(plain.weights, [[0.38595] * 2], atol=1e-6)

    def test_nan_logits_select_the_first(self):
        block = self.block("mixtral", 4, 2)
        logits = np.array([[1, np.nan, 2, 3], [0, 1, np.inf, 2]], np.float32)
        routing = reference.route(block, logits)
        np.testing.assert_array_equal(routing.ids, [[0, 1], [0, 1]])
        self.assertTrue(np.isnan(routing.weights).all())

    @staticmethod
    def block(family, experts, top_k):
        config = families.make_config(family, 8, 4, experts, top_k, 1, "f32")
        return families.Block.read(config)


class Golden(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="golden-")
        self.addCleanup(shutil.rmtree, self.root)

    def copy(self, name):
        path = os.path.join(self.root, name)
        shutil.copytree(os.path.join(HERE, name), path)
        return path

    def damage(self, path, change, file="golden.safetensors"):
        file = os.path.join(path, file)
        tensors, metadata = tensorfile.read(file)
        tensors = {
            n: tensorfile.Tensor(t.dtype, t.data.copy())
            for n, t in tensors.items()
        }
        change(tensors)
        tensorfile.write(file, tensors, metadata)

    def assert_fails(self, path, text):
        with self.assertRaisesRegex(check.Mismatch, text):
            check.check_directory(path)

    def test_all_agree(self):
        result, text = quietly(generate.main, ["--check"])
        self.assertEqual(result, 0, text)
        count = len(generate.CASES)
        count += sum(len(family.dtypes) for family in catalog.FAMILIES)
        self.assertEqual(text.count("ids equal"), count)

    def test_missing_directory(self):
        self.copy("olmoe-f32")
        result, text = quietly(
            generate.main, ["--check", "--out", self.root, "--family", "olmoe"]
        )
        self.assertEqual(result, 1)
        self.assertIn("olmoe-bf16: missing", text)

    def test_other_ids(self):
        path = self.copy("olmoe-f32")

        def change(tensors):
            row = tensors["layers.1.n17.ids"].data[5]
            row[-1] = next(e for e in range(5) if e not in row)

        self.damage(path, change)
        self.assert_fails(path, r"layers\.1\.n17\.ids: token 5 has")

    def test_other_output(self):
        for name, factor in (("mixtral-f32", 1 + 1e-4), ("mixtral-bf16", 1.03)):
            path = self.copy(name)

            def change(tensors):
                old = tensors["layers.0.n2.output"]
                tensors["layers.0.n2.output"] = tensorfile.from_f32(
                    tensorfile.to_f32(old) * np.float32(factor), old.dtype
                )

            self.damage(path, change)
            self.assert_fails(path, r"layers\.0\.n2(\.output|: rounding)")

    def test_other_weights(self):
        path = self.copy("deepseek_v3-f32")

        def change(tensors):
            tensors["layers.2.n1.weights"].data[0, 0] *= 2.5

        self.damage(path, change)
        self.assert_fails(path, r"layers\.2\.n1\.weights: relative error")

    def test_gate_and_up_exchanged(self):
        path = self.copy("mixtral-f32-fused")

        def change(tensors):
            data = tensors["model.layers.0.mlp.experts.gate_up_proj"].data
            data[:] = np.roll(data, data.shape[1] // 2, axis=1)

        self.damage(path, change, "model.safetensors")
        self.assert_fails(path, r"layers\.0\.n1\.output: relative error")

    def test_shared_expert_is_judged(self):
        path = self.copy("qwen2_moe-f32-sparse")

        def change(tensors):
            tensors["model.layers.5.mlp.shared_expert_gate.weight"].data[:] = 0

        self.damage(path, change, "model.safetensors")
        self.assert_fails(path, r"layers\.5\.n1\.output: relative error")

    def test_missing_and_strange_tensors(self):
        path = self.copy("qwen3_moe-f32")
        name = "model.layers.1.mlp.experts.6.up_proj.weight"
        self.damage(path, lambda t: t.pop(name), "model.safetensors")
        self.assert_fails(path, "experts.6.up_proj.weight: found None")

    def test_margin_is_judged(self):
        path = self.copy("qwen3_moe-f32")

        def change(tensors):
            row = tensors["layers.0.n1.logits"].data[0]
            order = np.argsort(-row)
            row[order[3]] = row[order[2]]

        self.damage(path, change)
        self.assert_fails(path, r"layers\.0\.n1: key_gap is 0")

    def test_truncated_file(self):
        path = os.path.join(self.copy("mixtral-bf16"), "model.safetensors")
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) - 1)
        with self.assertRaisesRegex(tensorfile.FormatError, "past the end"):
            tensorfile.read(path)

    def test_masked_groups_matter(self):
        """With dropped groups filled with 0.0, negbias selects others."""
        for dtype in ("f32", "bf16"):
            path = os.path.join(HERE, f"deepseek_v3-{dtype}-negbias")
            block, model, golden, _ = check.read_directory(path)
            weights = reference.Weights(block, model, 1)
            logits = golden["layers.1.n17.logits"].data
            keys = reference.sigmoid(logits) + weights.bias()
            self.assertLess(keys.max(), 0)
            best = np.argsort(-keys, axis=-1)[:, 0] // 3
            for row, ids in enumerate(golden["layers.1.n17.ids"].data):
                kept = set(ids // 3)
                self.assertLessEqual(len(kept), 2)
                filled = np.where(
                    np.isin(np.arange(12) // 3, [*kept, best[row]]),
                    keys[row],
                    np.float32(0),
                )
                wrong = np.sort(np.argsort(-filled, kind="stable")[:3])
                self.assertFalse(np.array_equal(wrong, ids))

    def test_edge_shapes_are_covered(self):
        """The committed cases keep the odd sizes they are there for."""
        blocks = [
            check.read_directory(os.path.join(HERE, name))[0]
            for name in check.directories(HERE)
            if catalog.find(name) is None
        ]
        shapes = {(b.hidden, b.width, b.experts, b.top_k) for b in blocks}
        self.assertIn((40, 56, 5, 3), shapes)
        self.assertTrue(any(b.hidden % 2 and b.width % 2 for b in blocks))
        self.assertEqual(
            {(b.family, b.dtype) for b in blocks},
            {(f, d) for f in families.FAMILIES for d in ("F32", "BF16")},
        )


class MakeModel(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="make-model-")
        self.addCleanup(shutil.rmtree, self.root)

    def make(self, name, *arguments):
        path = os.path.join(self.root, name)
        result, text = quietly(make_model.main, [*arguments, "--out", path])
        self.assertEqual(result, 0, text)
        self.assertEqual(
            [n for n in os.listdir(self.root) if ".tmp-" in n], []
        )
        return path

    def sizes(self, *more):
        words = "--hidden 40 --intermediate 56 --experts 5 --top-k 3"
        return [*words.split(), *more]

    def test_families_and_dtypes(self):
        for family in families.FAMILIES:
            for dtype in ("f32", "bf16"):
                for more in ([], ["--fused"], ["--shards", "3"]):
                    with self.subTest(family=family, dtype=dtype, more=more):
                        self.check_model(family, dtype, more)

    def check_model(self, family, dtype, more):
        name = "-".join([family, dtype, *more])
        path = self.make(
            name,
            *self.sizes("--family", family, "--dtype", dtype, *more),
            "--layers",
            "2",
        )
        with open(os.path.join(path, "config.json")) as file:
            block = families.Block.read(json.load(file))
        self.assertEqual(block.moe_layers, (0, 1))
        tensors = tensorfile.read_model(path)
        check.check_names(block, tensors)
        deviations = [
            np.std(tensorfile.to_f32(t)) * np.sqrt(t.data.shape[-1])
            for t in tensors.values()
            if t.data.size > 2000
        ]
        self.assertLess(np.max(np.abs(np.array(deviations) - 1)), 0.1)
        x = np.ones((1, 40), np.float32)
        y, _ = reference.forward(
            block, reference.Weights(block, tensors, 1), x
        )
        self.assertTrue(np.isfinite(y).all())

    def test_seed_decides(self):
        def content(name, seed, *more):
            words = self.sizes("--family", "olmoe", "--seed", seed, *more)
            tensors = tensorfile.read_model(self.make(name, *words))
            return {n: t.data.tobytes() for n, t in tensors.items()}

        first = content("a", "1")
        self.assertEqual(first, content("b", "1"))
        self.assertEqual(first, content("c", "1", "--shards", "2"))
        self.assertNotEqual(first, content("d", "2"))
        self.assertEqual(len(set(first.values())), len(first))

    def test_256_experts_in_groups(self):
        words = "--family deepseek_v3 --hidden 24 --intermediate 8 --experts"
        path = self.make(
            "many",
            *words.split(),
            *"256 --top-k 8 --groups 8 --keep-groups 4".split(),
        )
        with open(os.path.join(path, "config.json")) as file:
            block = families.Block.read(json.load(file))
        self.assertEqual((block.groups, block.kept_groups), (8, 4))
        check.check_names(block, tensorfile.read_model(path))

    def test_bad_arguments(self):
        for words, text in (
            (["--top-k", "6"], "--top-k 6 is more than --experts 5"),
            (["--experts", "0"], "--experts: 0 is not positive"),
            (["--groups", "2"], "--groups is for deepseek_v3 only"),
            (["--shards", "99"], "99 shards for 16 tensors"),
        ):
            result, found = quietly(
                make_model.main,
                self.sizes(
                    "--family", "olmoe", *words, "--out", self.root + "/x"
                ),
            )
            self.assertEqual(result, 2)
            self.assertIn(text, found)
        self.assertEqual(os.listdir(self.root), [])

    def test_write_error_leaves_nothing(self):
        code = (
            "import resource, sys; "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
            "sys.dont_write_bytecode = True; "
            "import make_model; sys.exit(make_model.main(sys.argv[1:]))"
        )
        words = self.sizes("--family", "olmoe", "--shards", "2")
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--out", self.root + "/x"],
            cwd=HERE,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("make_model.py: [Errno 27] File too large", done.stderr)
        self.assertEqual(os.listdir(self.root), [])

    def test_existing_output(self):
        words = self.sizes("--family", "olmoe")
        path = self.make("there", *words)
        result, text = quietly(make_model.main, [*words, "--out", path])
        self.assertEqual(result, 1)
        self.assertIn("exists and is not empty", text)
        self.assertEqual(os.listdir(self.root), ["there"])


if __name__ == "__main__":
    unittest.main()
