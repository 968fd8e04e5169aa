#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""One routed block in numpy, for every family of catalog.py.

Scores, weights and experts are computed in f64 from f32 values; nothing is
rounded except where the family's router rounds (logits, scores, weights) and
the output at the end. The golden inputs keep a distance from every decision,
so f64 decides as f32 does.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from tensorfile import round_bf16, widen_bf16

erf = np.vectorize(math.erf, otypes=[np.float64])

ACTIVATIONS = {
    "silu": lambda v: v / (1 + np.exp(-v)),
    "relu": lambda v: np.maximum(v, 0),
    "gelu": lambda v: v * 0.5 * (1 + erf(v / math.sqrt(2))),
    "gelu_tanh": lambda v: v
    * 0.5
    * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
}


def rounded(values, dtype):
    """`values` rounded to dtype, in f64 again."""
    values = np.asarray(values, np.float32)
    if dtype == "BF16":
        values = widen_bf16(round_bf16(values))
    return values.astype(np.float64)


@dataclass
class Expert:
    """gate, up [F, H] and down [H, F]; without `up` it is ungated.

    A `limit` makes it the clamped form: silu of slope alpha, up + 1.
    """

    gate: np.ndarray
    down: np.ndarray
    up: np.ndarray = None
    gate_bias: np.ndarray = None
    up_bias: np.ndarray = None
    down_bias: np.ndarray = None
    activation: str = "silu"
    limit: float = None
    alpha: float = 1.702

    def __call__(self, x):
        def linear(v, w, bias):
            out = v @ w.astype(np.float64).T
            return out if bias is None else out + bias

        g = linear(x, self.gate, self.gate_bias)
        if self.limit is not None:
            u = linear(x, self.up, self.up_bias)
            g = np.minimum(g, self.limit)
            u = np.clip(u, -self.limit, self.limit)
            h = (u + 1) * g / (1 + np.exp(-self.alpha * g))
        else:
            h = ACTIVATIONS[self.activation](g)
            if self.up is not None:
                h = h * linear(x, self.up, self.up_bias)
        return linear(h, self.down, self.down_bias)


@dataclass
class Block:
    """What a family computes; arrays are f32."""

    dtype: str
    router: np.ndarray  # [E, H]
    top_k: int
    experts: list  # Expert, or None for an identity expert
    router_bias: np.ndarray = None
    round_logits: bool = False
    round_scores: bool = False
    round_weights: bool = False
    score: str = "softmax"  # softmax, none
    selection_bias: np.ndarray = None
    groups: int = 1
    kept_groups: int = 1
    # scores, softmax_chosen, sigmoid, sparsemixer
    weight: str = "scores"
    threshold: float = 0.0  # of sparsemixer: 2 * jitter
    normalize: str = ""  # "", before_drop, after_drop
    epsilon: float = 0.0
    scale: float = 1.0
    capacity: object = None  # tokens -> slots of each expert
    by_probability: bool = False  # order of the slots
    scale_input: bool = False
    shared: Expert = None
    shared_gate: np.ndarray = None  # [1, H]
    residual: Expert = None
    coefficient: np.ndarray = None  # [2, H]
    coefficient_bias: np.ndarray = None
    output_bias: np.ndarray = None


@dataclass
class Routing:
    """Pairs in ascending id; dropped ones last, with id -1 and weight 0."""

    ids: np.ndarray
    weights: np.ndarray
    logits: np.ndarray
    # Distances from another decision, per token.
    key_gap: np.ndarray
    logit_ulps: np.ndarray
    score_ulps: np.ndarray
    border: np.ndarray
    order_gap: np.ndarray
    extras: dict = field(default_factory=dict)


def ulp_bf16(magnitude):
    floor = np.maximum(np.abs(magnitude), 2.0**-126)
    return np.exp2(np.floor(np.log2(floor)) - 7)


def softmax(v):
    t = np.exp(v - v.max(axis=-1, keepdims=True))
    return t / t.sum(axis=-1, keepdims=True)


def _sparsemixer(block, logits):
    """Weights [n, 2] and ids of the two picks, and the nearest border."""
    n = len(logits)
    ids = np.zeros((n, 2), np.int64)
    weights = np.zeros((n, 2))
    border = np.full(n, np.inf)
    inside = np.zeros(n, np.int64)
    for t in range(n):
        row = logits[t].copy()
        for pick in range(2):
            best = int(np.argmax(row))
            most = row[best]
            others = np.isfinite(row)
            with np.errstate(invalid="ignore"):
                ratio = (most - logits[t]) / np.maximum(
                    np.abs(logits[t]), most
                )
            near = np.abs(ratio[others] / block.threshold - 1).min()
            border[t] = min(border[t], near)
            taken = others & ~(ratio > block.threshold)
            inside[t] += int(taken.sum()) - 1
            weights[t, pick] = 1 / np.exp(row[taken] - most).sum()
            ids[t, pick] = best
            row[best] = -np.inf
    return ids, weights, border, inside


def _eligible(block, keys):
    """The keys with dropped groups at minus infinity, and the group gap."""
    n, count = keys.shape
    if block.kept_groups >= block.groups:
        return keys, np.full(n, np.inf)
    size = count // block.groups
    value = keys.reshape(n, block.groups, size).max(axis=-1)
    order = np.argsort(-value, axis=-1, kind="stable")
    ranked = np.take_along_axis(value, order, -1)
    gap = ranked[:, block.kept_groups - 1] - ranked[:, block.kept_groups]
    kept = np.zeros(value.shape, bool)
    np.put_along_axis(kept, order[:, : block.kept_groups], True, axis=-1)
    return np.where(np.repeat(kept, size, axis=-1), keys, -np.inf), gap


def _drop(block, ids, scores):
    """Which pairs [n, k] (in rank order) find a slot, and the order's gap."""
    n, k = ids.shape
    kept = np.ones((n, k), bool)
    gap = np.full(n, np.inf)
    if block.capacity is None or not n:
        return kept, gap
    slots = block.capacity(n)
    order = np.arange(n)
    if block.by_probability:
        priority = scores.max(axis=-1)
        order = np.argsort(-priority, kind="stable")
        ranked = priority[order]
        if n > 1:
            steps = ranked[:-1] - ranked[1:]
            gap[order[1:]] = steps
            gap[order[:-1]] = np.minimum(gap[order[:-1]], steps)
    used = {}
    for rank in range(k):
        for t in order:
            e = int(ids[t, rank])
            used[e] = used.get(e, 0) + 1
            kept[t, rank] = used[e] <= slots
    return kept, gap


def route(block, logits):
    """The routing of logits [n, E], which are already rounded."""
    logits = np.asarray(logits, np.float64)
    n = len(logits)
    k = block.top_k
    scores = softmax(logits) if block.score == "softmax" else logits
    exact_scores = scores
    if block.round_scores:
        scores = rounded(scores, block.dtype)
    keys = scores
    if block.selection_bias is not None:
        keys = keys + block.selection_bias
    keys, group_gap = _eligible(block, keys)
    order = np.argsort(-keys, axis=-1, kind="stable")
    chosen = order[:, :k]
    border = np.full(n, np.inf)
    extras = {}
    if block.weight == "sparsemixer":
        chosen, weights, border, extras["near"] = _sparsemixer(block, logits)
    elif block.weight == "softmax_chosen":
        weights = softmax(np.take_along_axis(logits, chosen, -1))
    elif block.weight == "sigmoid":
        weights = 1 / (1 + np.exp(-np.take_along_axis(logits, chosen, -1)))
    else:
        weights = np.take_along_axis(scores, chosen, -1)
    kept, order_gap = _drop(block, chosen, scores)
    if block.normalize:
        alive = weights if block.normalize == "before_drop" else weights * kept
        total = alive.sum(axis=-1, keepdims=True)
        weights = weights / np.maximum(total + block.epsilon, 1e-30)
    if block.round_weights:
        weights = rounded(weights, block.dtype)
    weights = weights * block.scale * kept

    # Also the ranks among the chosen decide where slots run out.
    first = 0 if block.capacity else k - 1
    key_gap = group_gap
    logit_ulps = score_ulps = np.full(n, np.inf)
    for i in range(first, min(k, keys.shape[1] - 1)):
        pair = order[:, i : i + 2]
        two = np.take_along_axis(keys, pair, -1)
        rival = np.isfinite(two[:, 1])
        with np.errstate(invalid="ignore"):
            key_gap = np.where(
                rival, np.minimum(key_gap, two[:, 0] - two[:, 1]), key_gap
            )
        for values, name in ((logits, "l"), (exact_scores, "s")):
            two = np.take_along_axis(values, pair, -1)
            units = np.abs(two[:, 0] - two[:, 1]) / ulp_bf16(
                np.abs(two).max(axis=-1)
            )
            units = np.where(rival, units, np.inf)
            if name == "l":
                logit_ulps = np.minimum(logit_ulps, units)
            else:
                score_ulps = np.minimum(score_ulps, units)

    ids = np.where(kept, chosen, -1)
    position = np.argsort(np.where(kept, chosen, 1 << 30), axis=-1)
    return Routing(
        np.take_along_axis(ids, position, -1).astype(np.int32),
        np.take_along_axis(weights, position, -1).astype(np.float32),
        logits,
        key_gap,
        logit_ulps,
        score_ulps,
        border,
        order_gap,
        extras,
    )


def logits(block, x):
    """The router's logits for x [n, H] before any rounding."""
    values = x.astype(np.float64) @ block.router.astype(np.float64).T
    if block.router_bias is not None:
        values = values + block.router_bias
    return values


def forward(block, x, given=None):
    """Output (f64, not rounded) and routing of x [n, H].

    `given` are the logits to route by; without, they are computed.
    """
    if given is None:
        given = logits(block, x)
        given = rounded(given, block.dtype if block.round_logits else "F32")
    routing = route(block, given)
    x = x.astype(np.float64)
    total = np.zeros_like(x)
    for e in np.unique(routing.ids[routing.ids >= 0]):
        token, slot = np.nonzero(routing.ids == e)
        w = routing.weights[token, slot][:, None].astype(np.float64)
        rows = x[token]
        expert = block.experts[e] or (lambda v: v)
        if block.scale_input:
            scaled = rows * w
            if block.round_weights:
                scaled = rounded(scaled, block.dtype)
            total[token] += expert(scaled)
        else:
            total[token] += w * expert(rows)
    if block.shared:
        factor = 1.0
        if block.shared_gate is not None:
            z = x @ block.shared_gate.astype(np.float64).T
            factor = 1 / (1 + np.exp(-z))
        total += factor * block.shared(x)
    if block.residual:
        c = softmax(
            x @ block.coefficient.astype(np.float64).T + block.coefficient_bias
        )
        total = total * c[:, :1] + block.residual(x) * c[:, 1:]
    if block.output_bias is not None:
        total += block.output_bias
    return total, routing
