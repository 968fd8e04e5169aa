#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Plots. Needs matplotlib; draws to files only, never to a window."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from .stats import ExpertStats


def _figure(width: float, height: float):
    # The object interface leaves the user's backend and figures alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(width, height), dpi=120, layout="constrained"
    )
    FigureCanvasAgg(figure)
    return figure


def heatmap(
    stats: ExpertStats | str | os.PathLike[str],
    path: str | os.PathLike[str],
    title: str | None = None,
) -> pathlib.Path:
    """Draws load by layer and expert to a .png, .svg or .pdf file.

    A colour says how the load of an expert relates to an even spread: white is
    1, orange is more, purple is less (distinguishable without red and green).
    Grey cells are experts that a layer does not have, or layers without
    tokens.

    Args:
      stats: statistics, or a file that ``moe-run --expert-stats`` wrote.
      path: the file to write; its suffix decides the format.
      title: replaces the model's name in the first line.

    Returns the path. Raises FileError for a bad file of statistics and
    ValueError when there is no layer to draw.
    """
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.ticker import MaxNLocator

    if not isinstance(stats, ExpertStats):
        stats = ExpertStats.read(stats)
    load = stats.load
    if load.size == 0:
        raise ValueError("the statistics have no layer: no function was called")
    layers, experts = load.shape

    figure = _figure(
        width=min(max(4.5 + 0.11 * experts, 6.5), 16.0),
        height=min(max(2.1 + 0.26 * layers, 2.8), 16.0),
    )
    axes = figure.add_subplot()
    colours = _colours()
    top = np.nanmax(load) if not np.all(np.isnan(load)) else 1.0
    picture = axes.imshow(
        np.ma.masked_invalid(load),
        aspect="auto",
        interpolation="nearest",
        cmap=colours,
        norm=TwoSlopeNorm(vmin=0.0, vcenter=1.0, vmax=max(top, 1.5)),
    )
    axes.set_xlabel("expert")
    axes.set_ylabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator(16, integer=True, min_n_ticks=1))
    step = -(-layers // 32)
    axes.set_yticks(range(0, layers, step), stats.layers[::step])
    bar = figure.colorbar(picture, ax=axes, pad=0.02)
    bar.set_label("load ÷ even spread")
    bar.set_ticks(_ticks(max(top, 1.5)))

    imbalance = stats.imbalance
    what = "no tokens"
    if not np.all(np.isnan(imbalance)):
        worst = int(np.nanargmax(imbalance))
        what = (
            f"{int(stats.tokens.max())} tokens; imbalance (max ÷ mean) "
            f"{np.nanmean(imbalance):.2f} on average, "
            f"{imbalance[worst]:.2f} in {stats.layers[worst]}"
        )
    name = title if title is not None else stats.model or "expert load"
    axes.set_title(f"{name}\n{what}", fontsize=10)
    figure.savefig(path)
    return pathlib.Path(path)


def _colours():
    from matplotlib import colormaps

    colours = colormaps["PuOr_r"].copy()
    colours.set_bad("0.75")
    return colours


def _ticks(top: float) -> list[float]:
    """Some values of 0, 0.5 and 1 to `top` for the colour bar."""
    steps = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 1e9)
    step = next(s for s in steps if top <= 6 * s)
    above = [1 + step * i for i in range(1, 7) if 1 + step * i <= top]
    return [0, 0.5, 1, *above]
