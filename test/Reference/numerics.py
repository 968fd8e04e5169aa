#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""docs/Numerics.md in numpy: a second opinion on what the interpreter says.

Written from the text alone, token by token. f32 arithmetic is that of numpy;
`fma` rounds an exact sum to odd in f64 first, so that rounding to f32 is the
only one that counts.
"""

import numpy as np

f = np.float32
INF = f(np.inf)


def fma(a, b, c):
    a, b, c = (np.asarray(x, np.float64) for x in (a, b, c))
    product = a * b  # Exact: 48 bits.
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)
    bits = total.view(np.int64)
    odd = np.where((error > 0) == (total > 0), bits | 1, (bits - 1) | 1)
    inexact = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
    return np.where(inexact, odd, bits).view(np.float64).astype(f)


def horner(coefficients, x):
    r = np.full_like(x, f(coefficients[0]))
    for c in coefficients[1:]:
        r = fma(r, x, f(c))
    return r


def exp(x):
    x = np.atleast_1d(np.asarray(x, f))
    inside = (x <= f(88.72283)) & (x >= f(-87.33654))
    y = np.where(inside, x, f(0))
    n = np.rint(y * f(1.44269502))
    r = fma(n, f(-0.693145752), y)
    r = fma(n, f(-1.42860677e-6), r)
    p = horner([1.98756914e-4, 1.39819994e-3, 8.33345205e-3, 4.16657962e-2,
                0.166666657, 0.5], r)
    p = fma(p, r * r, r) + f(1)
    whole = n.astype(np.int32)
    half = whole >> 1
    p = p * np.ldexp(f(1), half) * np.ldexp(f(1), whole - half)
    return np.where(inside, p, np.where(np.isnan(x), x,
                                        np.where(x > 0, INF, f(0))))


def log(x):
    x = np.atleast_1d(np.asarray(x, f))
    usual = (x > 0) & (x < INF)
    y = np.where(usual, x, f(1))
    m, e = np.frexp(y)  # m in [0.5, 1), also of a subnormal.
    small = m < f(0.707106769)
    e = (e - small).astype(f)
    m = np.where(small, (m + m) - f(1), m - f(1))
    z = m * m
    p = horner([7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1,
                -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
                2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1], m)
    y = fma(e, f(-2.12194440e-4), (m * z) * p)
    y = fma(f(-0.5), z, y)
    r = fma(e, f(0.693359375), m + y)
    return np.where(usual, r, np.where(x == 0, -INF,
                                       np.where(x == INF, INF, f(np.nan))))


def sigmoid(x):
    return f(1) / (f(1) + exp(-np.asarray(x, f)))


def softplus(x):
    return np.where(x > 0, x, f(0)) + log(f(1) + exp(-np.abs(x)))


def lanes(terms):
    """The sixteen-lane sum."""
    lane = np.zeros(16, f)
    for i in range(0, len(terms), 16):
        part = terms[i:i + 16]
        lane[:len(part)] += part
    for half in (8, 4, 2, 1):
        lane[:half] += lane[half:2 * half]
    return lane[0]


def plain_sum(terms):
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def round_to(values, name):
    if name == "f16":
        return values.astype(np.float16).astype(f)
    if name == "bf16":
        u = np.asarray(values, f).view(np.uint32).astype(np.uint64)
        rounded = (u + 0x7FFF + ((u >> 16) & 1)) >> 16 << 16
        rounded = np.where(np.isnan(values), (u >> 16 | 0x40) << 16, rounded)
        return rounded.astype(np.uint32).view(f)
    return values


def ordered(keys, numbers):
    """`numbers` in the order of step 3."""
    key = [-INF if np.isnan(k) else k for k in keys]
    return sorted(numbers, key=lambda e: (-key[e], e))


def softmax(logits):
    m = f(np.nan) if np.isnan(logits).any() else logits.max()
    t = exp(logits - m)
    return t / lanes(t)


def scores_of(logits, kind, rounded=None):
    scores = {"none": lambda l: l, "softmax": softmax, "sigmoid": sigmoid,
              "sqrt_softplus": lambda l: np.sqrt(softplus(l))}[kind](logits)
    return round_to(scores, rounded)


def selected(keys, policy):
    experts = range(len(keys))
    if policy.get("groups"):
        count, keep, by = policy["groups"]
        size = len(keys) // count
        values = []
        for g in range(count):
            best = ordered(keys, range(g * size, (g + 1) * size))
            top = [-INF if np.isnan(keys[e]) else keys[e] for e in best]
            values.append(top[0] if by == "max" else top[0] + top[1])
        experts = [e for g in ordered(values, range(count))[:keep]
                   for e in range(g * size, (g + 1) * size)]
    return ordered(keys, experts)[:policy["top_k"]]


def sparsemixer(logits, chosen, j, jitter):
    m = logits[chosen[j]]
    quotient = (m - logits) / np.where(np.abs(logits) > m, np.abs(logits), m)
    terms = np.where(quotient > f(2) * f(jitter), f(0), exp(logits - m))
    terms[chosen[:j]] = 0
    return f(1) / lanes(terms)


def weights_of(logits, scores, chosen, policy):
    kind, *jitter = policy.get("weights", ("scores",))
    own = logits[chosen]
    if kind == "scores":
        return scores[chosen]
    if kind == "softmax":
        # A NaN reaches every weight through the sum.
        t = exp(own - np.fmax.reduce(own, initial=-INF))
        return t / plain_sum(t)
    if kind == "sigmoid":
        return sigmoid(own)
    if kind == "constant":
        return np.ones(len(chosen), f)
    return np.array([sparsemixer(logits, chosen, j, jitter[0])
                     for j in range(len(chosen))], f)


def normalised(weights, policy):
    by, kind, x = policy["normalize"]
    if by is None:
        d = plain_sum(weights)
    else:
        powers = np.abs(weights)
        for _ in range(by - 1):
            powers = powers * np.abs(weights)
        d = plain_sum(powers)
        if by == 2:
            d = np.sqrt(d)
        elif by > 2:
            d = exp(log(d) / f(by))[0]
    if kind == "at_least":
        d = d if d > f(x) or np.isnan(d) else f(x)
    elif kind == "epsilon" and x != 0:
        d = d + f(x)
    return weights / d


def choose(logits, policy, bias=None, resident=None, random=None):
    """Steps 1 to 9: ids in order of selection (-1: no pair) and weights."""
    scores = scores_of(logits, policy["score"], policy.get("round_scores"))
    keys = scores if bias is None else scores + bias
    if policy.get("bias_after_first"):
        first = ordered(scores, range(len(scores)))[0]
        others = [e for e in range(len(scores)) if e != first]
        chosen = [first] + ordered(keys, others)[:policy["top_k"] - 1]
    else:
        if policy.get("prefer"):
            x, beyond = policy["prefer"]
            raised = resident != 0
            raised[ordered(keys, range(len(keys)))[:beyond]] = True
            keys = np.where(raised, keys + f(x), keys)
        chosen = selected(keys, policy)
    weights = weights_of(logits, scores, chosen, policy).astype(f)
    real = len(logits) - policy.get("null_experts", 0)
    ids = [e if e < real else -1 for e in chosen]
    weights[[e < 0 for e in ids]] = 0
    if policy.get("normalize") and not policy.get("after_drop"):
        weights = normalised(weights, policy)
    kind, x = policy.get("keep", (None, 0))
    for j in range(1, len(ids)):
        stays = {None: lambda: True,
                 "threshold": lambda: weights[j] > f(x),
                 "top_p": lambda: plain_sum(weights[:j]) < f(x),
                 "random": lambda: random[j] * f(x) < weights[j]}[kind]()
        ids[j] = ids[j] if stays else -1
    weights = np.where([e < 0 for e in ids], f(0), weights)
    return ids, list(weights)


def finish(ids, weights, policy):
    """Steps 11 to 13, then ascending ids."""
    left = [j for j, e in enumerate(ids) if e >= 0]
    w = np.array([weights[j] for j in left], f)
    if policy.get("normalize") and policy.get("after_drop") and left:
        w = normalised(w, policy)
    if policy.get("scale", 1) != 1:
        w = w * f(policy["scale"])
    w = round_to(w, policy.get("round_weights"))
    pairs = sorted(zip([ids[j] for j in left], w))
    missing = len(ids) - len(pairs)
    return ([e for e, _ in pairs] + [-1] * missing,
            [x for _, x in pairs] + [f(0)] * missing)


def slots(capacity, tokens, per_token, experts):
    kind, x = capacity["size"]
    if kind == "slots":
        return x
    c = np.float64(tokens)
    if kind == "factor":
        c = c * per_token * np.float64(x) / experts
    else:
        c = c * np.float64(x)
    c = np.floor(c) if capacity.get("floor") else np.ceil(c)
    c = max(int(min(c, tokens)), capacity.get("min", 1))
    multiple = capacity.get("multiple", 1)
    return -(-c // multiple) * multiple


def groups_of(capacity, tokens):
    size = capacity.get("every") or max(tokens, 1)
    return [range(t, min(t + size, tokens)) for t in range(0, tokens, size)]


def apply_capacity(choices, experts, policy):
    """Drops pairs in place; how many of each expert."""
    capacity, by = policy["capacity"]
    dropped = [0] * experts
    number = lambda w: -INF if np.isnan(w) else w  # noqa: E731
    order = {
        "choice": lambda p: (p[1], p[0]),
        "position": lambda p: p,
        "weight": lambda p: (-number(choices[p[0]][1][p[1]]), *p),
        "priority": lambda p: (p[1], -number(choices[p[0]][1][0]), p[0]),
    }[by]
    for group in groups_of(capacity, len(choices)):
        c = slots(capacity, len(group), policy["top_k"], experts)
        pairs = sorted(((t, j) for t in group
                        for j in range(policy["top_k"])), key=order)
        taken = [0] * experts
        drops = []
        for t, j in pairs:
            e = choices[t][0][j]
            if e < 0:
                continue
            if taken[e] >= c:
                drops.append((t, j))
                dropped[e] += 1
            taken[e] += 1
        for t, j in drops:
            choices[t][0][j] = -1
            choices[t][1][j] = f(0)
    return dropped


def route(logits, policy, bias=None, resident=None, random=None):
    """ids and weights N x k, and dropped pairs of each expert."""
    experts = logits.shape[1] - policy.get("null_experts", 0)
    choices = []
    for t, row in enumerate(logits):
        own = bias if bias is None or bias.ndim == 1 else bias[t]
        choices.append(choose(row, policy, own,
                              None if resident is None else resident.copy(),
                              None if random is None else random[t]))
    dropped = [0] * experts
    if policy.get("capacity"):
        dropped = apply_capacity(choices, experts, policy)
    final = [finish(*choice, policy) for choice in choices]
    k = policy["top_k"]
    return (np.array([ids for ids, _ in final], np.int32).reshape(-1, k),
            np.array([w for _, w in final], f).reshape(-1, k),
            np.array(dropped, np.int32))


def route_products(first, second, policy):
    k, columns = policy["top_k"], second.shape[1]
    ids, weights = [], []
    for a, b in zip(first, second):
        rows = ordered(a, range(len(a)))[:k]
        others = ordered(b, range(len(b)))[:k]
        pairs = {i * columns + j: a[i] + b[j] for i in rows for j in others}
        chosen = sorted(
            pairs, key=lambda e: (-(-INF if np.isnan(pairs[e]) else pairs[e]),
                                  e))[:k]
        logits = np.array([pairs[e] for e in chosen], f)
        scores = scores_of(logits, policy["score"], policy.get("round_scores"))
        w = weights_of(logits, scores, list(range(k)), policy)
        if policy.get("normalize"):
            w = normalised(w, policy)
        e, w = finish(chosen, list(w), policy)
        ids.append(e)
        weights.append(w)
    return (np.array(ids, np.int32).reshape(-1, k),
            np.array(weights, f).reshape(-1, k))


def choose_tokens(logits, score, capacity, average, scale, rounded):
    """N x E weights, NaN-safe mask of what is taken beside them."""
    tokens, experts = logits.shape
    if score == "softmax_over_tokens":
        scores = np.empty_like(logits)
        for group in groups_of(capacity, tokens):
            for e in range(experts):
                own = logits[group, e]
                m = f(np.nan) if np.isnan(own).any() else own.max()
                t = exp(own - m)
                scores[group, e] = t / plain_sum(np.append(f(0), t))
    else:
        scores = np.array([scores_of(row, score) for row in logits],
                          f).reshape(logits.shape)
    taken = np.zeros(logits.shape, bool)
    for group in groups_of(capacity, tokens):
        c = slots(capacity, len(group), 1, experts)
        for e in range(experts):
            taken[ordered(scores[:, e], group)[:c], e] = True
    weights = scores
    if average:
        takers = np.maximum(taken.sum(axis=1, keepdims=True), 1)
        weights = weights / takers.astype(f)
    if scale != 1:
        weights = weights * f(scale)
    return np.where(taken, round_to(weights, rounded), f(0)), taken
