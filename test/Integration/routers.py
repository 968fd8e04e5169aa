#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compares compiled routers with the interpreter, at random.

    routers.py POINTS [SEED]

Draws POINTS routers from the whole cross product of policies and of the other
router ops, several to an artifact, and runs each on small and odd inputs, with
ties, equal, infinite and NaN logits among them, at every ISA level and with 1,
2 and 3 threads. Which expert each token visits, with what weight, and how many
rows were chosen, kept and dropped must be bit for bit what moe-interpret says.
Prints how often each clause was drawn. Exit status 0, or 1 with the module and
the inputs of the first difference kept in a folder that is named.
"""

import collections
import os
import shutil
import sys
import tempfile

import numpy as np

import compiled
import tensorfile

PER_ARTIFACT = 10
TOKENS = (0, 1, 2, 7, 33)


class Draw:
    """Random choices that remember what was drawn."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.seen = collections.Counter()

    def chance(self, probability):
        return self.rng.random() < probability

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def number(self, low, high):
        """A number with few digits, printed as MLIR reads it."""
        return f"{self.rng.uniform(low, high):.3f}"

    def clause(self, name, text):
        self.seen[name] += 1
        return text


class Point:
    """One router: a function `name` from logits (and more) to what it did."""

    def __init__(self, draw, name):
        self.draw, self.name = draw, name
        self.inputs = {}
        self.lines = []
        # Results: (value, type), all compared exactly but for `losses`.
        self.results, self.losses = [], set()
        # What a one-hot expert yields: by number of experts.
        self.hot = set()
        kind = draw.pick(
            *["policy"] * 13, "expert_choice", "expert_choice", "products",
            "hash", "nested", "restrict",
        )
        draw.seen[f"router {kind}"] += 1
        getattr(self, kind)()

    # Inputs.

    def input(self, name, kind):
        self.inputs[name] = kind
        return f"%{name}"

    def logits(self, name, experts):
        """Logits, with noise or a temperature on top now and then."""
        kind = f"tensor<?x{experts}xf32>"
        value = self.input(name, kind)
        draw = self.draw
        if draw.chance(0.15):
            draw.seen["noise on logits"] += 1
            law = draw.pick("normal", "gumbel")
            noise = self.random(law, value, kind, kind)
            self.lines.append(
                f"%noisy_{name} = arith.addf {value}, {noise} : {kind}"
            )
            value = f"%noisy_{name}"
        return value, kind

    def random(self, distribution, like, like_type, kind):
        seed = self.input("seed", "tensor<1xi64>")
        stream = int(self.draw.rng.integers(1000))
        value = f"%random{len(self.lines)}"
        self.draw.seen[f"random {distribution}"] += 1
        self.lines.append(
            f"{value} = moe.random {distribution} seed({seed}) like {like} "
            f"stream {stream} : tensor<1xi64>, {like_type} -> {kind}"
        )
        return value

    # What is observed.

    def observe(self, routing, kind, experts):
        """The dense matrix of routing weights, and the counts."""
        self.hot.add(experts)
        rows = f"tensor<?x{experts}xf32>"
        hot = f"tensor<{experts}x1x{experts}xf32>"
        n = len(self.results)
        x = self.input("x", "tensor<?x1xf32>")
        self.lines += [
            f"%hot{n} = moe.get_weight @hot{experts} : {hot}",
            f"%xs{n} = moe.dispatch {x} by {routing} : tensor<?x1xf32>, {kind} "
            "-> tensor<?x1xf32>",
            f"%ys{n} = moe.experts ins(%xs{n}) weights(%hot{n}) by {routing} "
            f": (tensor<?x1xf32>, {hot}), {kind} -> {rows} {{",
            f"^bb0(%t: tensor<?x1xf32>, %w: tensor<1x{experts}xf32>):",
            "  %c0 = arith.constant 0 : index",
            "  %num = tensor.dim %t, %c0 : tensor<?x1xf32>",
            f"  %e = tensor.empty(%num) : {rows}",
            "  %o = linalg.generic {indexing_maps = [#row, #id],",
            '      iterator_types = ["parallel", "parallel"]}',
            f"      ins(%w : tensor<1x{experts}xf32>) outs(%e : {rows}) {{",
            "  ^bb0(%a: f32, %b: f32):",
            "    linalg.yield %a : f32",
            f"  }} -> {rows}",
            f"  moe.yield %o : {rows}",
            "}",
            f"%y{n} = moe.combine %ys{n} by {routing} : {rows}, {kind} "
            f"-> {rows}",
        ]
        self.results.append((f"%y{n}", rows))
        self.count(routing, kind, experts)

    def count(self, routing, kind, experts, chosen=False):
        n = len(self.results)
        word = " chosen" if chosen else ""
        self.lines.append(
            f"%n{n} = moe.expert_counts {routing}{word} : {kind} "
            f"-> tensor<{experts}xi64>"
        )
        self.results.append((f"%n{n}", f"tensor<{experts}xi64>"))

    def loss(self, text, kind="tensor<1xf32>"):
        n = len(self.results)
        self.lines.append(f"%l{n} = {text} -> {kind}")
        self.losses.add(n)
        self.results.append((f"%l{n}", kind))

    # Policies.

    def capacity(self, top_k, experts):
        draw = self.draw
        kind = draw.pick("factor", "tokens", "slots")
        if kind == "slots":
            text = f"slots {draw.rng.integers(1, 9)}"
        else:
            high = 2.0 if kind == "factor" else 1.0
            text = f"{kind} {draw.number(0.05, high)}"
            if draw.chance(0.4):
                text += " floor"
            if draw.chance(0.4):
                text += f" min {draw.rng.integers(1, 5)}"
            if draw.chance(0.4):
                text += f" multiple {draw.rng.integers(2, 5)}"
        if draw.chance(0.3):
            text += f" every {draw.rng.integers(1, 12)}"
        return draw.clause(f"capacity {kind}", text)

    def normalize(self, after):
        draw = self.draw
        text = "normalize"
        if draw.chance(0.3):
            text += f" by {draw.rng.integers(1, 5)}"
        if draw.chance(0.4):
            text += draw.pick(
                " epsilon 1.0e-20", " epsilon 0.125", " at_least 1.0e-07",
                " at_least 0.5",
            )
        return draw.clause(text.split(" 0")[0], text + (
            " after_drop" if after else ""))

    def clauses(self, experts, simple=False):
        """A legal policy: text, top_k, null experts, operands that it needs."""
        draw = self.draw
        null = 0
        if not simple and experts > 2 and draw.chance(0.15):
            null = int(draw.rng.integers(1, experts // 2 + 1))
        most = experts - null
        top_k = int(draw.rng.integers(1, min(most, 12) + 1))
        if draw.chance(0.1):
            top_k = most
        score = draw.pick("softmax", "sigmoid", "sqrt_softplus", "none")
        if simple:
            score = draw.pick("sigmoid", "none")
        sources = ["scores", "scores", "scores", "sigmoid", "constant"]
        if score in ("softmax", "none"):
            sources.append("softmax")
        if score == "none" and not simple:
            sources.append("sparsemixer")
        source = draw.pick(*sources)
        text = [draw.clause(f"score {score}", f"score = {score}")]
        needs = set()
        if not simple and draw.chance(0.2):
            text.append(draw.clause(
                "round_scores", f"round_scores = {draw.pick('bf16', 'f16')}"))
        grouped = False
        divisors = [g for g in range(2, experts + 1) if experts % g == 0]
        if (not simple and source != "sparsemixer" and divisors
                and draw.chance(0.35)):
            groups = int(draw.pick(*divisors))
            size = experts // groups
            rules = ["max"] + (["top2_sum"] if size > 1 else [])
            least = -(-top_k // size)
            if least < groups:
                keep = int(draw.rng.integers(least, groups))
                rule = draw.pick(*rules)
                text.append(draw.clause(
                    f"groups by {rule}",
                    f"groups = {groups} keep {keep} by {rule}"))
                grouped = True
        prefers = (not simple and source != "sparsemixer"
                   and draw.chance(0.15))
        if prefers:
            # Also so much that sums are rounded to one number.
            rule = draw.pick("prefer = 1.0e+09", *[
                f"prefer = {draw.number(0, 0.3)}"] * 5)
            if draw.chance(0.5):
                rule += f" beyond {draw.rng.integers(0, top_k + 1)}"
            text.append(draw.clause("prefer", rule))
            needs.add("resident")
        if not simple and draw.chance(0.4):
            needs.add(draw.pick("bias", "bias", "token_bias"))
            if top_k > 1 and not grouped and not prefers and draw.chance(0.3):
                text.append(draw.clause("bias_after_first", "bias_after_first"))
        if null:
            text.append(draw.clause("null_experts", f"null_experts = {null}"))
        text.append(f"top_k = {top_k}")
        jitter = f" jitter {draw.number(0, 0.5)}" * (source == "sparsemixer")
        text.append(draw.clause(
            f"weights {source}", f"weights = {source}{jitter}"))
        keeps = top_k > 1 and source != "constant" and not simple
        keep = keeps and draw.chance(0.3)
        if keep:
            rule = draw.pick("threshold", "top_p", "random")
            text.append(draw.clause(
                f"keep {rule}", f"keep = {rule} {draw.number(0.05, 0.9)}"))
            if rule == "random":
                needs.add("random")
        capacity = not simple and draw.chance(0.35)
        if capacity:
            order = draw.pick("choice", "position", "weight", "priority")
            text.append(draw.clause(
                f"drop by {order}",
                f"capacity = {self.capacity(top_k, most)} by {order}"))
        after = (keep or capacity) and draw.chance(0.5)
        if draw.chance(0.5) and (
                after or source not in ("softmax", "constant")):
            text.append(self.normalize(after))
        if draw.chance(0.4):
            text.append(draw.clause("scale", f"scale = {draw.number(-3, 3)}")
                        .replace("= 0.000", "= 1.5").replace("-0.000", "1.5"))
        if draw.chance(0.3):
            text.append(draw.clause(
                "round_weights", f"round_weights = {draw.pick('bf16', 'f16')}"))
        fixed, rest = text[:1], text[1:]
        draw.rng.shuffle(rest)
        return ", ".join(fixed + list(rest)), top_k, null, needs

    def experts_number(self):
        return int(self.draw.pick(1, 2, 3, 4, 5, 8, 12, 16, 17, 31, 40, 64))

    def operands(self, needs, value, kind, experts, top_k):
        """The operands of moe.route, and the type of the bias."""
        text, types = "", ""
        if "bias" in needs:
            self.draw.seen["bias"] += 1
            text += f" bias({self.input('bias', f'tensor<{experts}xf32>')})"
            types = f", tensor<{experts}xf32>"
        if "token_bias" in needs:
            self.draw.seen["bias per token"] += 1
            if self.draw.chance(0.5):
                bias = self.input("bias", kind)
            else:
                bias = self.random("gumbel", value, kind, kind)
            text += f" bias({bias})"
            types = f", {kind}"
        if "resident" in needs:
            resident = self.input("resident", f"tensor<{experts}xi32>")
            text += f" resident({resident} : tensor<{experts}xi32>)"
        if "random" in needs:
            u = f"tensor<?x{top_k}xf32>"
            text += f" random({self.random('uniform', value, kind, u)} : {u})"
        return text, types

    def route(self, name, experts, simple=False):
        """moe.route on new logits: value, type, number of visited experts."""
        value, kind = self.logits(f"{name}_logits", experts)
        policy, top_k, null, needs = self.clauses(experts, simple)
        operands, types = self.operands(needs, value, kind, experts, top_k)
        visited = experts - null
        routing = f"!moe.routing<experts = {visited}, per_token = {top_k}>"
        self.lines.append(
            f"%{name} = moe.route {value}{operands} policy<{policy}> "
            f": {kind}{types} -> {routing}"
        )
        return f"%{name}", routing, visited, value, kind, "prefer" in policy

    def policy(self):
        experts = self.experts_number()
        value, kind, visited, logits, shape, prefers = self.route(
            "routing", experts
        )
        self.observe(value, kind, visited)
        self.count(value, kind, visited, chosen=True)
        draw = self.draw
        if draw.chance(0.2):
            score = draw.pick("softmax", "sigmoid", "sqrt_softplus")
            words = "".join(
                f" {word}" for word in (
                    "normalized", "first_choice", "per_choice",
                    f"every {draw.rng.integers(1, 9)}",
                ) if draw.chance(0.3)
            )
            if visited == experts:
                draw.seen["loss load_balance"] += 1
                self.loss(f"moe.load_balance_loss {score} {logits} by {value}"
                          f"{words} : {shape}, {kind}")
        if draw.chance(0.1):
            draw.seen["loss router_z"] += 1
            self.loss(f"moe.router_z_loss {logits} : {shape}")
        if draw.chance(0.1):
            draw.seen["loss importance"] += 1
            self.loss(f"moe.importance_loss {value} : {kind}")
        if prefers and draw.chance(0.5):
            draw.seen["regret"] += 1
            self.loss(f"moe.routing_regret {value} : {kind}", "tensor<2xf32>")

    def expert_choice(self):
        draw = self.draw
        experts = self.experts_number()
        value, kind = self.logits("logits", experts)
        score = draw.pick("none", "softmax", "sigmoid", "softmax_over_tokens")
        # The bound of the rows is that of CapacityAttr::getRowBound.
        factor, slots = None, None
        if draw.chance(0.3):
            slots = int(draw.rng.integers(1, 9))
            capacity, rows, extra = f"slots {slots}", 0, experts * slots
        else:
            factor = draw.number(0.1, 3.0)
            minimum = int(draw.pick(1, 1, 3))
            multiple = int(draw.pick(1, 1, 4))
            capacity = f"factor {factor}"
            capacity += f" min {minimum}" * (minimum > 1)
            capacity += f" multiple {multiple}" * (multiple > 1)
            rows = int(np.ceil(float(factor)))
            extra = experts * (1 + minimum + multiple)
            if float(factor) >= experts:
                rows, extra = experts, 0
        if draw.chance(0.3):
            capacity += f" every {draw.rng.integers(1, 12)}"
            rows, extra = experts, 0
        draw.seen[f"expert choice {score}"] += 1
        words = " average" * draw.chance(0.3)
        if draw.chance(0.3):
            words += " scale 1.500000e+00"
        if draw.chance(0.3):
            words += " round bf16"
        routing = f"!moe.routing<experts = {experts}, per_token = {experts}"
        if (rows, extra) != (experts, 0):
            routing += f", rows = {rows}, extra = {extra}"
        routing += ">"
        self.lines.append(
            f"%routing = moe.choose_tokens {value} score {score} capacity "
            f"<{capacity}>{words} : {kind} -> {routing}"
        )
        self.observe("%routing", routing, experts)

    def products(self):
        draw = self.draw
        first, second = int(draw.pick(3, 5, 8)), int(draw.pick(3, 4, 9))
        while True:
            policy, top_k, _, _ = self.clauses(min(first, second), simple=True)
            if top_k <= min(first, second):
                break
        a = self.input("first", f"tensor<?x{first}xf32>")
        b = self.input("second", f"tensor<?x{second}xf32>")
        experts = first * second
        routing = f"!moe.routing<experts = {experts}, per_token = {top_k}>"
        self.lines.append(
            f"%routing = moe.route_products {a}, {b} policy<{policy}> "
            f": tensor<?x{first}xf32>, tensor<?x{second}xf32> -> {routing}"
        )
        self.observe("%routing", routing, experts)

    def hash(self):
        experts = 9
        table = self.input("table", "tensor<13x2xi32>")
        tokens = self.input("words", "tensor<?xi32>")
        weights = self.input("given", "tensor<?x2xf32>")
        routing = f"!moe.routing<experts = {experts}, per_token = 2>"
        self.lines += [
            f"%ids = moe.lookup {table}[{tokens}] : tensor<13x2xi32>, "
            "tensor<?xi32> -> tensor<?x2xi32>",
            f"%routing = moe.assign %ids, {weights} : tensor<?x2xi32>, "
            f"tensor<?x2xf32> -> {routing}",
        ]
        self.observe("%routing", routing, experts)

    def nested(self):
        """Experts of experts: the inner router sees the outer rows."""
        inner = int(self.draw.pick(2, 3, 5))
        value, kind, outer, _, _, _ = self.route("outer", 4)
        x = self.input("features", "tensor<?x6xf32>")
        policy, top_k, _, _ = self.clauses(inner, simple=True)
        router = f"tensor<{outer}x{inner}x6xf32>"
        inner_kind = f"!moe.routing<experts = {inner}, per_token = {top_k}>"
        nest = f"!moe.routing<experts = {outer * inner}, per_token = {top_k}>"
        name = f"inner{outer}x{inner}"
        self.hot.add((name, (outer, inner, 6)))
        rows = f"tensor<?x{outer * inner}xf32>"
        hot = f"tensor<{outer * inner}x1x{outer * inner}xf32>"
        self.hot.add(outer * inner)
        self.lines += [
            f"%rows = moe.dispatch {x} by {value} : tensor<?x6xf32>, {kind} "
            "-> tensor<?x6xf32>",
            f"%router = moe.get_weight @{name} : {router}",
            f"%il = moe.grouped_logits ins(%rows, %router) by {value} "
            f": tensor<?x6xf32>, {router}, {kind} -> tensor<?x{inner}xf32>",
            f"%ir = moe.route %il policy<{policy}> : tensor<?x{inner}xf32> "
            f"-> {inner_kind}",
            f"%n = moe.nest %ir in {value} : {inner_kind}, {kind} -> {nest}",
            f"%hot = moe.get_weight @hot{outer * inner} : {hot}",
            f"%nx = moe.dispatch %rows by %n : tensor<?x6xf32>, {nest} "
            "-> tensor<?x6xf32>",
            f"%ny = moe.experts ins(%nx) weights(%hot) by %n "
            f": (tensor<?x6xf32>, {hot}), {nest} -> {rows} {{",
            f"^bb0(%t: tensor<?x6xf32>, %w: tensor<1x{outer * inner}xf32>):",
            "  %c0 = arith.constant 0 : index",
            "  %d = tensor.dim %t, %c0 : tensor<?x6xf32>",
            f"  %e = tensor.empty(%d) : {rows}",
            "  %o = linalg.generic {indexing_maps = [#row, #id],",
            '      iterator_types = ["parallel", "parallel"]}',
            f"      ins(%w : tensor<1x{outer * inner}xf32>) "
            f"outs(%e : {rows}) {{",
            "  ^bb0(%a: f32, %b: f32):",
            "    linalg.yield %a : f32",
            f"  }} -> {rows}",
            f"  moe.yield %o : {rows}",
            "}",
            f"%no = moe.combine %ny by %n : {rows}, {nest} -> {rows}",
            f"%y = moe.combine %no by {value} : {rows}, {kind} -> {rows}",
        ]
        # Products of weights are rounded by the order of the sums.
        self.losses.add(len(self.results))
        self.results.append(("%y", rows))
        self.count("%n", nest, outer * inner)

    def restrict(self):
        experts = int(self.draw.pick(4, 7, 16))
        value, kind, visited, _, _, _ = self.route("routing", experts)
        if visited < 2:
            self.observe(value, kind, visited)
            return
        middle = int(self.draw.rng.integers(1, visited))
        per_token = int(kind.rsplit(" ", 1)[1][:-1])
        for i, (begin, end) in enumerate([(0, middle), (middle, visited)]):
            size = end - begin
            part = (f"!moe.routing<experts = {size}, "
                    f"per_token = {min(size, per_token)}>")
            self.lines.append(
                f"%part{i} = moe.restrict {value} [{begin}, {end}] : {kind} "
                f"-> {part}"
            )
            self.observe(f"%part{i}", part, size)

    def text(self):
        arguments = ", ".join(
            f'%{name}: {kind} {{moe.name = "{name}"}}'
            for name, kind in self.inputs.items()
        )
        results = ", ".join(
            f'{kind} {{moe.name = "y{i}"}}'
            for i, (_, kind) in enumerate(self.results)
        )
        values = ", ".join(value for value, _ in self.results)
        types = ", ".join(kind for _, kind in self.results)
        body = "\n".join("  " + line for line in self.lines)
        return (
            f"func.func @{self.name}({arguments}) -> ({results}) {{\n{body}\n"
            f"  return {values} : {types}\n}}\n"
        )


def make_logits(rng, shape):
    """Rows of several kinds: plain, with ties, all equal, not finite."""
    values = rng.standard_normal(shape).astype(np.float32) * 2
    for row in values:
        kind = rng.integers(8)
        if kind == 0:
            row[:] = np.round(row)
        elif kind == 1:
            row[:] = row[:1]
        elif kind == 2 and row.size:
            row[rng.integers(row.size)] = rng.choice(
                [np.nan, np.inf, -np.inf, 100, -100, -0.0])
        elif kind == 3:
            row[:] = row.astype(np.float16)
    return values


def make_inputs(rng, point, tokens):
    inputs = {}
    for name, kind in point.inputs.items():
        extents, dtype = compiled.semantics.parse_type(kind)
        shape = [tokens if e is None else e for e in extents]
        if name == "seed":
            data = rng.integers(-2**62, 2**62, shape)
        elif name == "resident":
            data = rng.integers(0, 2, shape)
        elif name == "words":
            data = rng.integers(0, 13, shape)
        elif name == "table":
            # -1 is no expert; ids of one token differ.
            data = np.array([
                rng.permutation(np.r_[-1, -1, 0:9])[:2] for _ in range(13)])
        elif "logits" in name or name in ("first", "second"):
            data = make_logits(rng, shape)
        else:
            data = rng.standard_normal(shape) + (name == "x") * 5
        numpy_type = {"I64": np.int64, "I32": np.int32, "F32": np.float32}
        inputs[name] = tensorfile.Tensor(
            dtype, np.asarray(data).astype(numpy_type[dtype]))
    return inputs


def compare(where, key, is_loss, found, expected):
    if found.shape != expected.shape:
        raise compiled.Mismatch(f"{where}: {key} has shape {found.shape}")
    if not is_loss or expected.dtype.kind == "i":
        # Bit for bit but for the sign of zero and the payload of NaNs.
        if not np.array_equal(found, expected,
                              equal_nan=expected.dtype.kind == "f"):
            raise compiled.Mismatch(
                f"{where}: {key} differs\n{found}\ninstead of\n{expected}")
        return
    finite = np.isfinite(expected)
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        raise compiled.Mismatch(f"{where}: {key} has NaNs elsewhere")
    if not np.allclose(found[finite], expected[finite], rtol=2e-5, atol=1e-6):
        raise compiled.Mismatch(
            f"{where}: {key} is {found} instead of {expected}")


def run_batch(levels, rng, points, folder):
    """Compiles the points into one artifact and checks each."""
    hot = set().union(*(point.hot for point in points))
    text = ("#id = affine_map<(m, n) -> (m, n)>\n"
            "#row = affine_map<(m, n) -> (0, n)>\n")
    tensors = {}
    for item in sorted(hot, key=str):
        if isinstance(item, tuple):
            name, shape = item
            data = rng.standard_normal(shape).astype(np.float32)
        else:
            name, shape = f"hot{item}", (item, 1, item)
            data = np.eye(item, dtype=np.float32).reshape(shape)
        tensors[name] = tensorfile.Tensor("F32", data)
        extents = "x".join(str(e) for e in shape)
        text += f'moe.weight @{name} : tensor<{extents}xf32> from ["{name}"]\n'
    text += "".join(point.text() for point in points)
    source = os.path.join(folder, "routers.mlir")
    with open(source, "w", encoding="utf-8") as out:
        out.write(text)
    weights = os.path.join(folder, "weights.safetensors")
    tensorfile.write(weights, tensors)
    # No code of a router depends on AMX.
    paths = levels.compile(source, folder, emulate=False)
    cases = []
    for point in points:
        for tokens in TOKENS:
            inputs = make_inputs(rng, point, tokens)
            outputs = [f"y{i}" for i in range(len(point.results))]
            expected = compiled.interpret(
                source, point.name, weights, inputs, outputs, folder)
            cases.append((point, tokens, inputs, expected))
    for level, how, group in levels.sessions(paths, weights):
        for point, tokens, inputs, expected in cases:
            where = f"{point.name}, {tokens} tokens at {level}, {how}"
            arrays = [tensor.data for tensor in inputs.values()]
            try:
                found = compiled.same_bits(group, point.name, arrays, where)
                for i, (a, b) in enumerate(zip(found, expected)):
                    compare(where, point.results[i][0], i in point.losses, a,
                            b.data)
            except compiled.Mismatch:
                tensorfile.write(
                    os.path.join(folder, "inputs.safetensors"), inputs)
                raise


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) == 3 else 1
    draw = Draw(seed)
    levels = compiled.Levels()
    done = 0
    while done < count:
        points = [
            Point(draw, f"p{done + i}")
            for i in range(min(PER_ARTIFACT, count - done))
        ]
        folder = tempfile.mkdtemp(prefix="routers-")
        try:
            run_batch(levels, draw.rng, points, folder)
        except compiled.Mismatch as error:
            print(f"seed {seed}: {error}\nkept in {folder}", file=sys.stderr)
            sys.exit(1)
        shutil.rmtree(folder)
        done += len(points)
    for clause, times in sorted(draw.seen.items()):
        print(f"{times:6} {clause}")
    print(f"{done} routers equal to the interpreter, seed {seed}")
    # Routers have no code of AMX, and not every machine has AVX-512.
    levels.report(needed=["avx2"])


if __name__ == "__main__":
    main()
