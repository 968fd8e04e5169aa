#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Golden values of the families whose own code no package has.

One function per family, token by token in f64, written from the description
of the model and not from catalog_reference.py: the two judge each other. A
function takes config.json, the tensors of the checkpoint (f32 arrays by name),
the prefix of the block and the rows, and returns the output [n, H], the pairs
of each token as a list of (expert, weight), and the logits [n, E].
"""

import math

import numpy as np

from tensorfile import round_bf16, widen_bf16


def _bf16(value):
    one = np.float32(value).reshape(1)
    return float(widen_bf16(round_bf16(one))[0])


def _dot(a, b):
    return float(np.dot(a.astype(np.float64), b.astype(np.float64)))


def _probabilities(row):
    top = max(row)
    terms = [math.exp(v - top) for v in row]
    total = sum(terms)
    return [t / total for t in terms]


def _best(values, count):
    """Indices of the largest values, the lowest index first on ties."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]


def _tanh_gelu(v):
    inner = math.sqrt(2 / math.pi) * (v + 0.044715 * v * v * v)
    return 0.5 * v * (1 + np.tanh(inner))


def grok_1(config, tensors, prefix, x, narrow):
    router = tensors[prefix + "router.weight"]
    output, pairs, logits = [], [], []
    for row in x:
        scores = [float(np.float32(_dot(w, row))) for w in router]
        p = _probabilities(scores)
        y = np.zeros(len(row))
        mine = []
        for e in _best(p, config["num_experts_per_tok"]):
            room = f"{prefix}moe.{e}."
            a = tensors[room + "linear.weight"].astype(np.float64) @ row
            b = tensors[room + "linear_v.weight"].astype(np.float64) @ row
            h = _tanh_gelu(a) * b
            w = _bf16(p[e]) if narrow else p[e]
            down = tensors[room + "linear_1.weight"].astype(np.float64)
            y += w * (down @ h)
            mine.append((e, w))
        output.append(y)
        pairs.append(mine)
        logits.append(scores)
    return np.array(output), pairs, np.array(logits)


def limoe(config, tensors, prefix, x, narrow):
    moe = config["encoder"]["moe"]
    count = moe["num_experts"]
    chosen = moe["router"]["num_selected_experts"]
    dispatcher = moe["router"]["dispatcher"]
    n = len(x)
    slots = math.ceil(n * chosen * dispatcher["capacity_factor"] / count)
    slots += -slots % 4
    kernel = tensors[prefix + "Router/dense/kernel"]
    logits = [
        [float(np.float32(_dot(kernel[:, e], row))) for e in range(count)]
        for row in x
    ]
    # flax computes the router in the type of the model.
    if narrow:
        logits = [[_bf16(v) for v in row] for row in logits]
    gates = [_probabilities(row) for row in logits]
    if narrow:
        gates = [[_bf16(v) for v in p] for p in gates]
    picks = [_best(p, chosen) for p in gates]
    order = list(range(n))
    if dispatcher["batch_priority"]:
        order.sort(key=lambda t: (-gates[t][picks[t][0]], t))
    free = [slots] * count
    pairs = [[] for _ in range(n)]
    for rank in range(chosen):
        for t in order:
            e = picks[t][rank]
            if free[e] > 0:
                pairs[t].append((e, gates[t][e]))
            free[e] -= 1
    output = np.zeros(x.shape)
    names = [f"{prefix}Mlp/Dense_{i}/" for i in (0, 1)]
    for t in range(n):
        for e, w in pairs[t]:
            h = x[t].astype(np.float64)
            for step, name in enumerate(names):
                h = h @ tensors[name + "kernel"][e].astype(np.float64)
                h = h + tensors[name + "bias"][e]
                if step == 0:
                    h = _tanh_gelu(h)
            output[t] += w * h
    return output, pairs, np.array(logits)


FUNCTIONS = {
    "grok-1": grok_1,
    "limoe": limoe,
}
