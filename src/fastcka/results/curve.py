# SPDX-License-Identifier: BSD-3-Clause
"""Similarity over depth, with matplotlib: `CKAMatrix.plot_curve` describes the arguments."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from .axes import UNDEFINED, checked, font_size, label_height, name_layers, plain, wrapped
from .comparison import Comparison
from .labels import axis_title

try:
    from matplotlib import pyplot
except ImportError as error:
    raise ImportError('plotting needs matplotlib: pip install "fastcka[plot]"') from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (7, 1, 1, 1, 1, 1)))


def curve(
    matrix: Comparison,
    ax: Axes | None,
    *,
    others: object,
    reference: str | None,
    by: Literal["name", "position"],
    depth: str,
    label: str | None,
) -> Axes:
    """Draw the curves of `CKAMatrix.plot_curve`."""
    ax = checked(ax)
    if depth not in ("layers", "percent"):
        raise ValueError(f"depth: expected 'layers' or 'percent', got {depth!r}")
    if by not in ("name", "position"):
        raise ValueError(f"by: expected 'name' or 'position', got {by!r}")
    if not isinstance(others, Sequence) or not all(isinstance(other, Comparison) for other in others):
        raise TypeError(f"others: expected a sequence of CKAMatrix objects, got {others!r}")
    matrices = [matrix, *others]
    if any(other.rows != matrix.rows for other in others):
        raise ValueError("others: expected comparisons with the same row layers")
    which = _partners(matrices, by)
    parts = {which: np.array([_values(m, which, m.values) for m in matrices])}
    if reference is not None:
        found = [m.values[:, _column(m, reference)] for m in matrices]
        parts[f"with {_shown(reference)}"] = np.array(found)
    chance = [_values(m, which, m.beside) for m in matrices if m.beside is not None]

    n_rows = len(matrix.rows)
    if ax is None:
        ax, width, height = _new_figure(matrix)
    else:
        width, height = ax.get_window_extent().size * 72 / ax.figure.dpi
    step = 100 / max(1, n_rows - 1) if depth == "percent" else 1.0
    x = step * np.arange(n_rows)
    nth = len({line.get_gid() for line in ax.lines if line.get_gid()})  # comparisons drawn before
    style = {
        "marker": MARKERS[nth % len(MARKERS)],
        "linestyle": DASHES[nth % len(DASHES)],
        "markersize": 4 if n_rows <= 40 else 2,
        "gid": f"comparison {nth}",
    }
    color = None
    for part, values in parts.items():
        missing = np.isnan(values).all(axis=0)
        # One comparison has one colour and one marker; the one with the reference is hollow.
        hollow = {} if part == which else {"markerfacecolor": "none", "linewidth": 1.0}
        name = part if label is None else label if part == "same layer" else f"{label}, {part}"
        mean = np.full(n_rows, np.nan)
        mean[~missing] = np.nanmean(values[:, ~missing], axis=0)
        (line,) = ax.plot(x, mean, color=color, label=name, **style, **hollow)
        color = line.get_color()
        if others:
            low, high = (
                np.where(missing, np.nan, f(values, axis=0, initial=s, where=~np.isnan(values)))
                for f, s in ((np.min, np.inf), (np.max, -np.inf))
            )
            ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
        for i in np.flatnonzero(missing):
            known = "undefined" in ax.get_legend_handles_labels()[1]
            area = (x[i] - step / 2, x[i] + step / 2)
            ax.axvspan(*area, zorder=0, label=None if known else "undefined", **UNDEFINED)
    if not others and matrix.stderr is not None and matrix.unbiased is not None:
        # Intervals are those of unbiased CKA, which is beside what is shown.
        unbiased = _values(matrix, which, matrix.unbiased)
        reach = _values(matrix, which, matrix.confidence_interval()[1]) - unbiased
        name = "95 %" if matrix.estimator == "unbiased" else "unbiased, 95 %"
        name = name if label is None else f"{label}, {name}"
        ax.errorbar(x, unbiased, reach, fmt="none", ecolor=color, elinewidth=1, capsize=2, label=name)
        if matrix.estimator != "unbiased":
            ax.plot(x, unbiased, color=color, linewidth=0.8, alpha=0.7)
    if chance:
        known = "chance" in ax.get_legend_handles_labels()[1]
        ax.plot(x, np.mean(chance, axis=0), ":", color=color, label=None if known else "chance")

    lowest = min(float(np.min(v, where=~np.isnan(v), initial=0.0)) for v in parts.values())
    bottom, top = ax.get_ylim()
    ax.set(xlim=(-step / 2, x[-1] + step / 2), ylim=(min(bottom, lowest - 0.03), max(top, 1.03)))
    titles = [matrix.title] if label else [matrix.title, f"with {_shown(matrix.models[1])}"]
    if label and which == "same layer":
        titles.append("with the same layer")
    ax.set_ylabel("\n".join(wrapped(title, height) for title in titles))
    if depth == "percent":
        ax.set_xlabel("depth (%)")
    else:
        name_layers(ax.xaxis, matrix.rows, matrix.models[0], width / n_rows)
    ax.tick_params(axis="y", labelsize=font_size())
    ax.legend(fontsize="small")
    return ax


def _partners(matrices: Sequence[Comparison], by: Literal["name", "position"]) -> str:
    """Say with what each row layer is compared, in the words of the legend."""
    if by == "position":
        return "same position"
    namesakes = all(set(m.rows) <= set(m.columns) for m in matrices)
    return "same layer" if namesakes else "best match"


def _values(matrix: Comparison, which: str, of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each row layer, the number in `of` that belongs to its partner."""
    if which == "best match":
        names = [match.column for match in matrix.best_matches()]
    else:
        names = list(matrix.counterparts("name" if which == "same layer" else "position"))
    places = [None if name is None else matrix.columns.index(name) for name in names]
    return np.array([np.nan if j is None else of[i, j] for i, j in enumerate(places)])


def _shown(name: str) -> str:
    return plain(axis_title(name, ""))


def _column(matrix: Comparison, name: str) -> int:
    if name in matrix.columns:
        return matrix.columns.index(name)
    near = difflib.get_close_matches(name, matrix.columns) or matrix.columns[:5]
    raise ValueError(f"reference: {matrix.models[1]} has no layer {name!r}; it has {', '.join(near)}, ...")


def _new_figure(matrix: Comparison) -> tuple[Axes, float, float]:
    """Make a figure for a curve; return its Axes and their width and height in points."""
    n_rows = len(matrix.rows)
    width, height = min(6.0, max(3.2, 0.3 * n_rows)), 2.4  # inches, of the Axes
    names = label_height(matrix.rows, width / n_rows * 72) / 72
    _, ax = pyplot.subplots(figsize=(width + 0.8, height + names + 0.4), layout="constrained")
    return ax, width * 72, height * 72
