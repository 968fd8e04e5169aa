#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""How often each expert was chosen (schema moe.expert_stats/1)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .errors import FileError

SCHEMA = "moe.expert_stats/1"


def _matrix(rows: Iterable[np.ndarray]) -> np.ndarray:
    """Rows of different lengths, filled with zeros."""
    rows = list(rows)
    width = max((len(row) for row in rows), default=0)
    matrix = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        matrix[index, : len(row)] = row
    return matrix


@dataclass(frozen=True)
class ExpertStats:
    """Expert statistics of one session, or of a file.

    ``counts[l, e]`` is the number of tokens that layer l sent to expert e.
    Layers with fewer experts than the widest one are filled with zeros;
    ``experts`` says how many each has.
    """

    #: Name of the model; empty when unknown.
    model: str
    #: Fingerprint of the weights.
    fingerprint: str
    #: Names of the layers, e.g. "layers.0".
    layers: list[str]
    #: Tokens that each layer has seen, int64 [layers].
    tokens: np.ndarray
    #: Experts of each layer, int64 [layers].
    experts: np.ndarray
    #: Tokens per expert, int64 [layers, experts].
    counts: np.ndarray
    #: Experts per token; None when unknown.
    top_k: int | None = None
    #: Pairs of a token and an expert that a limit of capacity left out, int64
    #: [layers, experts]; None when no layer has such a limit.
    dropped: np.ndarray | None = None

    @classmethod
    def from_json(cls, text: str, where: str = "expert statistics"):
        """Parses JSON. Raises FileError when it is not of the schema."""

        def bad(why: str) -> FileError:
            return FileError.made_of(
                10,
                "not a file of expert statistics",
                where=where,
                because=why,
                fix="write one with moe-run --expert-stats=FILE",
            )

        try:
            root = json.loads(text)
        except ValueError as error:
            raise bad(f"it is no JSON: {error}") from None
        if not isinstance(root, dict) or root.get("schema") != SCHEMA:
            raise bad(f"its schema is not {SCHEMA}")
        try:
            layers = [str(name) for name in root["layers"]]
            rows = [np.array(r, np.int64).reshape(-1) for r in root["counts"]]
            tokens = np.array(root["tokens"], np.int64).reshape(-1)
            lost = root.get("dropped")
            if lost is not None:
                lost = [np.array(r, np.int64).reshape(-1) for r in lost]
            top_k = root.get("top_k")
            top_k = None if top_k is None else int(top_k)
        except (KeyError, TypeError, ValueError) as error:
            raise bad(f"a key is missing or of another type: {error}") from None
        if not len(layers) == len(rows) == len(tokens):
            raise bad(
                f"it has {len(layers)} layers, {len(rows)} rows of counts and "
                f"{len(tokens)} numbers of tokens"
            )
        for what in (rows, [tokens], lost or []):
            if any((row < 0).any() for row in what):
                raise bad("it has a negative count")
        if lost is not None and list(map(len, lost)) != list(map(len, rows)):
            raise bad("its counts and dropped pairs differ in their sizes")
        experts = np.array([len(row) for row in rows], np.int64)
        counts = _matrix(rows)
        for index, row in enumerate(rows):
            if top_k and row.sum() > top_k * tokens[index]:
                raise bad(
                    f"layer {layers[index]} counts {row.sum()} choices, more "
                    f"than top-{top_k} of {tokens[index]} tokens"
                )
        return cls(
            model=str(root.get("model", "")),
            fingerprint=str(root.get("fingerprint", "")),
            layers=layers,
            tokens=tokens,
            experts=experts,
            counts=counts,
            top_k=top_k,
            dropped=None if lost is None else _matrix(lost),
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]):
        """Reads what ``moe-run --expert-stats`` wrote. Raises FileError."""
        try:
            with open(path) as file:
                return cls.from_json(file.read(), os.fspath(path))
        except (OSError, UnicodeDecodeError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError.made_of(
                10,
                "cannot read expert statistics",
                where=os.fspath(path),
                because=str(error),
            ) from None

    @classmethod
    def merge(cls, parts: Iterable[ExpertStats]) -> ExpertStats:
        """The layers of several statistics of one model, one after another.

        Layers of one name are added up. Raises ValueError for no parts, or
        when such layers differ in their number of experts.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("no statistics to merge")
        rows: dict[str, np.ndarray] = {}
        lost: dict[str, np.ndarray] = {}
        tokens: dict[str, int] = {}
        for part in parts:
            for index, name in enumerate(part.layers):
                row = part.counts[index, : part.experts[index]]
                if name in rows and len(rows[name]) != len(row):
                    raise ValueError(
                        f"{name} has {len(rows[name])} and {len(row)} experts"
                    )
                rows[name] = rows.get(name, 0) + row
                gone = np.zeros_like(row)
                if part.dropped is not None:
                    gone = part.dropped[index, : part.experts[index]]
                lost[name] = lost.get(name, 0) + gone
                tokens[name] = tokens.get(name, 0) + int(part.tokens[index])
        experts = np.array([len(row) for row in rows.values()], np.int64)
        drops = any(part.dropped is not None for part in parts)
        return cls(
            model=parts[0].model,
            fingerprint=parts[0].fingerprint,
            layers=list(rows),
            tokens=np.array(list(tokens.values()), np.int64),
            experts=experts,
            counts=_matrix(rows.values()),
            top_k=parts[0].top_k,
            dropped=_matrix(lost.values()) if drops else None,
        )

    @property
    def load(self) -> np.ndarray:
        """Load relative to an even spread, float64 [layers, experts].

        1 is the share that every expert would have if all had the same. NaN
        where a layer has no such expert or has seen no token.
        """
        total = self.counts.sum(axis=1, keepdims=True).astype(np.float64)
        total[total == 0] = np.nan
        load = self.counts * self.experts[:, None] / total
        column = np.arange(self.counts.shape[1])
        load[column[None, :] >= self.experts[:, None]] = np.nan
        return load

    @property
    def imbalance(self) -> np.ndarray:
        """Largest load of each layer, float64 [layers]: 1 is even.

        NaN for a layer that has seen no token.
        """
        load = self.load
        if load.shape[1] == 0:
            return np.full(len(self.layers), np.nan)
        largest = np.where(np.isnan(load), -1.0, load).max(axis=1)
        return np.where(largest < 0, np.nan, largest)
