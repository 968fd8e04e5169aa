#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""A MoE block in numpy: routing bit for bit after docs/Numerics.md.

Written from that page alone, so that it judges the compiler's interpreter as
well as the golden files. All arithmetic is f32 unless a comment says else.
"""

from dataclasses import dataclass

import numpy as np

import families
from tensorfile import round_bf16, to_f32, widen_bf16

F32 = np.float32
LANES = 16


def fma(a, b, c):
    """round_f32(a * b + c), exactly.

    The product of two f32 is exact in f64. The sum is rounded to odd, which
    makes the second rounding, to f32, the only one that counts.
    """
    product = np.multiply(a, b, dtype=np.float64)
    c = np.asarray(c, np.float64)
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)
    inexact = np.isfinite(total) & (error != 0)
    even = (np.ascontiguousarray(total).view(np.int64) & 1) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    total = np.where(inexact & even, np.nextafter(total, toward), total)
    with np.errstate(over="ignore"):
        return total.astype(F32)


def _fold(lanes):
    """Adds 16 lanes in halves; the lanes are the last dimension."""
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def lane_sum(values):
    """The sixteen-lane plain sum over the last dimension."""
    lanes = np.zeros(values.shape[:-1] + (LANES,), F32)
    for begin in range(0, values.shape[-1], LANES):
        part = values[..., begin : begin + LANES]
        lanes[..., : part.shape[-1]] += part
    return _fold(lanes)


def lane_dot(x, w):
    """Sixteen-lane dot products of the rows of x [n, H] and w [E, H]."""
    lanes = np.zeros((x.shape[0], w.shape[0], LANES), F32)
    for begin in range(0, x.shape[1], LANES):
        a = x[:, None, begin : begin + LANES]
        b = w[None, :, begin : begin + LANES]
        used = a.shape[-1]
        lanes[..., :used] = fma(a, b, lanes[..., :used])
    return _fold(lanes)


def exp(x):
    """The exponential of docs/Numerics.md."""
    x = np.asarray(x, F32)
    inside = (x >= F32(-87.33654)) & (x <= F32(88.72283))
    safe = np.where(inside, x, F32(0))
    n = np.rint(safe * F32(1.44269502))
    r = fma(n, F32(-0.693145752), safe)
    r = fma(n, F32(-1.42860677e-6), r)
    p = np.full_like(r, F32(1.98756914e-4))
    for coefficient in (
        1.39819994e-3,
        8.33345205e-3,
        4.16657962e-2,
        0.166666657,
        0.5,
    ):
        p = fma(p, r, F32(coefficient))
    p = fma(p, r * r, r) + F32(1)
    whole = n.astype(np.int32)
    first = whole >> 1
    for part in (first, whole - first):
        p = p * ((part + 127) << 23).astype(np.int32).view(F32)
    p = np.where(x > F32(88.72283), F32(np.inf), p)
    p = np.where(x < F32(-87.33654), F32(0), p)
    return np.where(np.isnan(x), x, p).astype(F32)


def sigmoid(x):
    return F32(1) / (F32(1) + exp(-x))


def rounded(values, dtype):
    """`values` rounded to dtype and converted back."""
    if dtype == "BF16":
        return widen_bf16(round_bf16(values))
    return np.asarray(values, F32)


def _order(keys):
    """Indices of the last dimension by falling key, lowest index first."""
    keys = np.where(np.isnan(keys), F32(-np.inf), keys)
    return np.argsort(-keys, axis=-1, kind="stable")


@dataclass
class Routing:
    """The decision for n tokens, pairs in ascending expert id."""

    ids: np.ndarray  # int32 [n, k]
    weights: np.ndarray  # f32 [n, k]
    key_gap: np.ndarray  # f64 [n], k-th minus (k+1)-th eligible key
    group_gap: np.ndarray  # f64 [n], the same of the group filter
    logit_gap: np.ndarray  # f64 [n], between the experts of key_gap
    logit_size: np.ndarray  # f64 [n], the larger magnitude of these two


def route(block, logits, bias=None):
    """Steps 1 to 9 of `moe.route` for logits [n, E]."""
    n, count = logits.shape
    rows = np.arange(n)[:, None]
    with np.errstate(invalid="ignore", over="ignore"):
        if block.score == "softmax":
            largest = logits.max(axis=-1, keepdims=True)
            t = exp(logits - largest)
            scores = t / lane_sum(t)[:, None]
        else:
            scores = sigmoid(logits)
    keys = scores if bias is None else scores + bias
    # Eligible keys: the group filter takes experts out of the order whatever
    # their keys are, so it sorts before the keys.
    eligible = np.ones((n, count), bool)
    group_gap = np.full(n, np.inf)
    if block.kept_groups < block.groups:
        size = count // block.groups
        grouped = keys.reshape(n, block.groups, size)
        top = np.take_along_axis(grouped, _order(grouped)[..., :2], axis=-1)
        top = np.where(np.isnan(top), F32(-np.inf), top)
        value = top[..., 0] + top[..., 1]
        ranks = _order(value)
        kept = np.zeros((n, block.groups), bool)
        kept[rows, ranks[:, : block.kept_groups]] = True
        eligible = np.repeat(kept, size, axis=-1)
        ranked = np.take_along_axis(value, ranks, -1).astype(np.float64)
        group_gap = (
            ranked[:, block.kept_groups - 1] - ranked[:, block.kept_groups]
        )
    order = _order(keys)
    falling = np.take_along_axis(~eligible, order, axis=-1)
    order = np.take_along_axis(
        order, np.argsort(falling, axis=-1, kind="stable"), axis=-1
    )
    chosen = order[:, : block.top_k]
    weights = scores[rows, chosen]
    if block.normalize:
        total = weights[:, 0].copy()
        for i in range(1, block.top_k):
            total = total + weights[:, i]
        if block.epsilon:
            total = total + F32(block.epsilon)
        weights = weights / total[:, None]
    if block.scale != 1:
        weights = weights * F32(block.scale)
    if block.round_weights:
        weights = rounded(weights, block.dtype)

    key_gap = np.full(n, np.inf)
    logit_gap = np.full(n, np.inf)
    logit_size = np.zeros(n)
    if block.top_k < count:
        pair = order[:, block.top_k - 1 : block.top_k + 1]
        two = keys[rows, pair].astype(np.float64)
        rival = eligible[np.arange(n), pair[:, 1]]
        key_gap = np.where(rival, two[:, 0] - two[:, 1], np.inf)
        two = logits[rows, pair].astype(np.float64)
        logit_gap = np.where(rival, two[:, 0] - two[:, 1], np.inf)
        logit_size = np.abs(two).max(axis=-1)
    ascending = np.argsort(chosen, axis=-1)
    return Routing(
        np.take_along_axis(chosen, ascending, -1).astype(np.int32),
        np.take_along_axis(weights, ascending, -1).astype(F32),
        key_gap,
        group_gap,
        logit_gap,
        logit_size,
    )


def _matmul(x, w):
    """x · wᵀ with sums in f64: no summation order to agree upon."""
    return (x.astype(np.float64) @ w.astype(np.float64).T).astype(F32)


def _mlp(x, gate, up, down, dtype):
    g = _matmul(x, gate)
    with np.errstate(over="ignore"):
        activated = g / (F32(1) + np.exp(-g)) * _matmul(x, up)
    return rounded(_matmul(rounded(activated, dtype), down), dtype)


class Weights:
    """The weights of one layer, whichever spelling the checkpoint has."""

    def __init__(self, block, tensors, layer):
        self.block = block
        self.tensors = tensors
        self.layer = layer
        self.prefix = f"model.layers.{layer}.mlp."
        self.fused = self.prefix + "experts.gate_up_proj" in tensors

    def get(self, name):
        return to_f32(self.tensors[name])

    def router(self):
        return self.get(
            families.router_name(self.block.family, self.layer, self.fused)
        )

    def bias(self):
        name = self.prefix + "gate.e_score_correction_bias"
        return self.get(name) if name in self.tensors else None

    def expert(self, e):
        if self.fused:
            both = self.get(self.prefix + "experts.gate_up_proj")[e]
            down = self.get(self.prefix + "experts.down_proj")[e]
            return both[: self.block.width], both[self.block.width :], down
        return [
            self.get(
                families.expert_name(self.block.family, self.layer, e, part)
            )
            for part in ("gate", "up", "down")
        ]

    def shared(self):
        gated = self.block.shared == "gated"
        room = "shared_expert" if gated else "shared_experts"
        return [
            self.get(f"{self.prefix}{room}.{part}_proj.weight")
            for part in ("gate", "up", "down")
        ]


def logits(block, weights, x):
    """`moe.router_logits` for x [n, H]."""
    values = lane_dot(x, weights.router())
    return rounded(values, block.dtype) if block.round_logits else values


def forward(block, weights, x, inner=None):
    """The block on x [n, H] (f32 values of the model's type).

    Returns the output as f32 values of the model's type, and the routing.
    With `inner` = "F32" nothing behind the routing is rounded to that type.
    """
    inner = inner or block.dtype
    routing = route(block, logits(block, weights, x), weights.bias())
    total = np.zeros(x.shape, F32)
    for e in np.unique(routing.ids):
        token, slot = np.nonzero(routing.ids == e)
        rows = _mlp(x[token], *weights.expert(e), inner)
        total[token] = fma(
            routing.weights[token, slot][:, None], rows, total[token]
        )
    if block.shared:
        rows = _mlp(x, *weights.shared(), inner)
        factor = np.ones((x.shape[0], 1), F32)
        if block.shared == "gated":
            gate = weights.get(weights.prefix + "shared_expert_gate.weight")
            factor = sigmoid(_matmul(x, gate))
        total = fma(factor, rows, total)
    return rounded(total, inner), routing
