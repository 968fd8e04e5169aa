#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compares the interpreter's routers with docs/Numerics.md in numpy.

    second_opinion.py POINTS [SEED]

Draws routers from the whole cross product of policies, expert choice and
product keys, runs each on logits with ties, equal, infinite and NaN ones among
them, and compares ids, weights and drops bit by bit. Exit status 0, or 1 with
the module and the inputs of the first difference kept in a folder.
"""

import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import numerics

f = np.float32


def pick(rng, *choices):
    return choices[rng.integers(len(choices))]


def number(rng, low, high):
    return float(f"{rng.uniform(low, high):.3f}")


def draw_capacity(rng):
    kind = pick(rng, "factor", "tokens", "slots")
    capacity = {"size": (kind, int(rng.integers(1, 6)) if kind == "slots"
                         else number(rng, 0.1, 2))}
    words = f"{kind} {capacity['size'][1]}"
    if kind != "slots":
        if rng.random() < 0.3:
            capacity["floor"] = True
            words += " floor"
        for word in ("min", "multiple"):
            if rng.random() < 0.3:
                capacity[word] = int(rng.integers(1, 5))
                words += f" {word} {capacity[word]}"
    if rng.random() < 0.3:
        capacity["every"] = int(rng.integers(1, 9))
        words += f" every {capacity['every']}"
    return capacity, words


def draw_policy(rng, experts):
    """(policy, its text, number of operands' kinds)."""
    policy = {"score": pick(rng, "none", "softmax", "sigmoid",
                            "sqrt_softplus")}
    text = []
    nulls = int(rng.integers(1, 3)) if rng.random() < 0.2 and experts > 3 else 0
    most = experts - nulls
    k = policy["top_k"] = int(rng.integers(1, min(most, 8) + 1))
    kind = pick(rng, "scores", "scores", "softmax", "sigmoid", "constant",
                "sparsemixer")
    if kind == "sparsemixer":
        policy["score"] = "none"
    if kind == "softmax" and policy["score"] in ("sigmoid", "sqrt_softplus"):
        policy["score"] = "softmax"
    if kind == "sparsemixer":
        jitter = number(rng, 0, 0.5)
        policy["weights"] = (kind, jitter)
        text.append(f"weights = sparsemixer jitter {jitter}")
    elif kind != "scores":
        policy["weights"] = (kind,)
        text.append(f"weights = {kind}")
    if nulls:
        policy["null_experts"] = nulls
        text.append(f"null_experts = {nulls}")
    if rng.random() < 0.2:
        policy["round_scores"] = pick(rng, "bf16", "f16")
        text.append(f"round_scores = {policy['round_scores']}")
    # What decides the order.
    extra = pick(rng, "", "groups", "prefer", "bias", "bias", "bias_after")
    if extra == "groups" and kind != "sparsemixer" and not nulls:
        counts = [g for g in range(2, experts) if experts % g == 0]
        counts = [g for g in counts if experts // g * (g - 1) >= k]
        if counts:
            g = int(pick(rng, *counts))
            least = -(-k // (experts // g))
            keep = int(rng.integers(least, g))
            by = pick(rng, "max", "top2_sum")
            by = by if experts // g > 1 else "max"
            policy["groups"] = (g, keep, by)
            text.append(f"groups = {g} keep {keep} by {by}")
    if extra == "prefer" and kind != "sparsemixer":
        beyond = int(rng.integers(0, k + 1))
        policy["prefer"] = (number(rng, 0, 2), beyond)
        text.append(f"prefer = {policy['prefer'][0]}"
                    + (f" beyond {beyond}" if beyond else ""))
    if extra == "bias_after" and k > 1:
        policy["bias_after_first"] = True
        text.append("bias_after_first")
    # Which pairs stay.
    if k > 1 and kind != "constant" and rng.random() < 0.3:
        policy["keep"] = (pick(rng, "threshold", "top_p", "random"),
                          number(rng, 0.05, 1.5))
        text.append("keep = {} {}".format(*policy["keep"]))
    if rng.random() < 0.4:
        capacity, words = draw_capacity(rng)
        by = pick(rng, "choice", "position", "weight", "priority")
        policy["capacity"] = (capacity, by)
        text.append(f"capacity = {words} by {by}")
    drops = "keep" in policy or "capacity" in policy
    after = drops and rng.random() < 0.5
    if rng.random() < 0.5 and (after or kind not in ("softmax", "constant")):
        by = pick(rng, None, None, 1, 2, 3)
        how = pick(rng, None, "epsilon", "at_least")
        x = number(rng, 0.01, 2) if how else 0
        policy["normalize"] = (by, how, x)
        policy["after_drop"] = after
        text.append("normalize" + (f" by {by}" if by else "")
                    + (f" {how} {x}" if how else "")
                    + (" after_drop" if after else ""))
    if rng.random() < 0.3:
        policy["scale"] = number(rng, 0.1, 3)
        text.append(f"scale = {policy['scale']}")
    if rng.random() < 0.3:
        policy["round_weights"] = pick(rng, "bf16", "f16")
        text.append(f"round_weights = {policy['round_weights']}")
    text += [f"score = {policy['score']}", f"top_k = {k}"]
    rng.shuffle(text)
    return policy, "<" + ", ".join(text) + ">", extra


def draw_logits(rng, tokens, experts):
    logits = rng.standard_normal((tokens, experts)).astype(f) * f(2)
    kind = pick(rng, "plain", "plain", "ties", "equal", "bad")
    if kind == "ties":
        logits = np.rint(logits)
    if kind == "equal":
        logits[:] = logits[:1, :1]
    if kind == "bad" and logits.size:
        where = rng.random(logits.shape) < 0.15
        logits[where] = rng.choice(np.array([np.nan, np.inf, -np.inf], f),
                                   where.sum())
    return logits


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    if a.dtype != f:
        return bool((a == b).all())
    bits = a.view(np.uint32) == np.asarray(b, f).view(np.uint32)
    return bool((bits | (np.isnan(a) & np.isnan(b))).all())


def route_point(rng):
    experts, tokens = int(rng.integers(1, 41)), int(rng.integers(0, 20))
    policy, text, extra = draw_policy(rng, experts)
    k, real = policy["top_k"], experts - policy.get("null_experts", 0)
    logits = draw_logits(rng, tokens, experts)
    inputs, operands, types = [logits], "", ""
    args = {}
    if extra in ("bias", "bias_after"):
        per_token = rng.random() < 0.5
        shape = (tokens, experts) if per_token else (experts,)
        args["bias"] = rng.standard_normal(shape).astype(f)
        inputs.append(args["bias"])
        kind = f"tensor<?x{experts}xf32>" if per_token else (
            f"tensor<{experts}xf32>")
        operands += f" bias(%a{len(inputs) - 1})"
        types = f", {kind}"
    if "prefer" in policy:
        args["resident"] = rng.integers(0, 3, experts).astype(np.int32) // 2
        inputs.append(args["resident"])
        operands += f" resident(%a{len(inputs) - 1} : tensor<{experts}xi32>)"
    if policy.get("keep", ("",))[0] == "random":
        args["random"] = rng.random((tokens, k)).astype(f)
        inputs.append(args["random"])
        operands += f" random(%a{len(inputs) - 1} : tensor<?x{k}xf32>)"
    declared = []
    for i, value in enumerate(inputs):
        extents = ["?" if value.ndim == 2 and d == 0 else str(n)
                   for d, n in enumerate(value.shape)]
        element = "i32" if value.dtype == np.int32 else "f32"
        declared.append(f"%a{i}: tensor<{'x'.join(extents + [element])}>")
    pair = f"tensor<?x{k}xi32>, tensor<?x{k}xf32>"
    counts = f"tensor<{real}xi32>"
    lines = [f"  %i, %w = moe.select_topk %a0{operands} policy{text}",
             f"      : tensor<?x{experts}xf32>{types} -> {pair}"]
    if "capacity" in policy:
        lines += [f"  %j, %v, %d = moe.apply_capacity %i, %w policy{text}",
                  f"      : {pair} -> {pair}, {counts}",
                  f"  return %j, %v, %d : {pair}, {counts}"]
        results = f"{pair}, {counts}"
    else:
        lines.append(f"  return %i, %w : {pair}")
        results = pair
    head = f"func.func @f({', '.join(declared)}) -> ({results}) {{"
    module = "\n".join([head] + lines + ["}", ""])
    expected = numerics.route(logits, policy, **args)
    return module, inputs, expected[:3 if "capacity" in policy else 2]


def products_point(rng):
    a, b = int(rng.integers(1, 30)), int(rng.integers(1, 30))
    k, tokens = int(rng.integers(1, min(a, b) + 1)), int(rng.integers(0, 9))
    policy = {"score": pick(rng, "none", "sigmoid"), "top_k": k}
    text = f"score = {policy['score']}, top_k = {k}"
    if policy["score"] == "none" and rng.random() < 0.5:
        policy["weights"] = (pick(rng, "softmax", "sigmoid", "constant"),)
        text += f", weights = {policy['weights'][0]}"
    elif rng.random() < 0.5:
        policy["normalize"] = (pick(rng, None, 2), None, 0)
        text += ", normalize" + (" by 2" if policy["normalize"][0] else "")
    first, second = draw_logits(rng, tokens, a), draw_logits(rng, tokens, b)
    module = f"""
func.func @f(%a: tensor<?x{a}xf32>, %b: tensor<?x{b}xf32>)
    -> (tensor<?x{k}xi32>, tensor<?x{k}xf32>) {{
  %i, %w = moe.select_products %a, %b policy<{text}>
      : tensor<?x{a}xf32>, tensor<?x{b}xf32>
      -> tensor<?x{k}xi32>, tensor<?x{k}xf32>
  return %i, %w : tensor<?x{k}xi32>, tensor<?x{k}xf32>
}}
"""
    expected = numerics.route_products(first, second, policy)
    return module, [first, second], expected


def tokens_point(rng):
    experts, tokens = int(rng.integers(1, 20)), int(rng.integers(0, 20))
    capacity, words = draw_capacity(rng)
    score = pick(rng, "none", "softmax", "sigmoid", "softmax_over_tokens")
    average, scale = rng.random() < 0.4, pick(rng, 1, 1, 2.5)
    rounded = pick(rng, None, None, "bf16")
    logits = draw_logits(rng, tokens, experts)
    text = f"score {score} capacity <{words}>"
    text += " average" * average
    text += f" scale {scale}" if scale != 1 else ""
    text += f" round {rounded}" if rounded else ""
    lists = (f"tensor<{experts + 1}xi32>, tensor<?xi32>, tensor<?xf32>, "
             "tensor<?xi32>, tensor<?xi32>")
    # A bound that holds for any capacity.
    module = f"""
func.func @f(%l: tensor<?x{experts}xf32>) -> ({lists}) {{
  %0, %1, %2, %3, %4 = moe.choose_rows %l {text} rows {experts} extra 1
      : tensor<?x{experts}xf32> -> {lists}
  return %0, %1, %2, %3, %4 : {lists}
}}
"""
    weights, taken = numerics.choose_tokens(logits, score, capacity, average,
                                            scale, rounded)
    pairs = [(e, t) for e in range(experts) for t in range(tokens)
             if taken[t, e]]
    row = {pair: r for r, pair in enumerate(pairs)}
    own = [[row[e, t] for e in range(experts) if taken[t, e]]
           for t in range(tokens)]

    def offsets(counts):
        return np.cumsum([0] + list(counts)).astype(np.int32)

    expected = (offsets(taken.sum(axis=0)),
                np.array([t for _, t in pairs], np.int32),
                np.array([weights[t, e] for e, t in pairs], f),
                offsets(len(rows) for rows in own),
                np.array([r for rows in own for r in rows], np.int32))
    return module, [logits], expected


def run(folder, module, inputs, expected):
    path = os.path.join(folder, "f.mlir")
    with open(path, "w") as file:
        file.write(module)
    command = ["moe-interpret", path]
    for i, value in enumerate(inputs):
        np.save(os.path.join(folder, f"in{i}.npy"), value)
        command.append(f"--input=@{folder}/in{i}.npy")
    for i in range(len(expected)):
        command.append(f"--output=@{folder}/out{i}.npy")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return done.stderr
    for i, value in enumerate(expected):
        found = np.load(os.path.join(folder, f"out{i}.npy"))
        if not same(found, value):
            return f"result {i}\nfound\n{found}\nexpected\n{value}"
    return ""


def main():
    points = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else (
        int.from_bytes(os.urandom(4), "little"))
    rng = np.random.default_rng(seed)
    np.seterr(all="ignore")
    for n in range(points):
        folder = tempfile.mkdtemp(prefix="router-")
        kind = pick(rng, *[route_point] * 4, products_point, tokens_point)
        module, inputs, expected = kind(rng)
        difference = run(folder, module, inputs, expected)
        if difference:
            print(f"seed {seed}, point {n} in {folder}\n{module}\n{difference}")
            sys.exit(1)
        shutil.rmtree(folder)
    print(f"{points} routers agree")


if __name__ == "__main__":
    main()
