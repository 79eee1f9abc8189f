# SPDX-License-Identifier: BSD-3-Clause
"""Several heat maps side by side, on one colour scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .comparison import Comparison
from .labels import short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from .matrix import CKAMatrix

MOST_IN_A_ROW = 4
WIDEST = 11.0  # inches, of all heat maps of a row together


def plot_grid(
    matrices: Mapping[str, CKAMatrix] | Sequence[CKAMatrix] | Sequence[Sequence[CKAMatrix]],
    *,
    vmin: float | Literal["auto"] = 0.0,
    vmax: float = 1.0,
    cmap: str = "magma",
    annotate: bool | None = None,
    fmt: str | None = None,
    highlight: Literal["best"] | None = None,
    label: str | None = None,
) -> NDArray[Any]:
    """Draw several heat maps on one colour scale, with one colour bar.

    Axes shared with a neighbour are labelled only once. Needs matplotlib (``pip install
    "fastcka[plot]"``). To write a file: ``plot_grid(matrices)[0, 0].figure.savefig("grid.pdf")``.

    Parameters
    ----------
    matrices : mapping of title to CKAMatrix, sequence, or sequence of sequences
        The heat maps, filled row by row; each inner sequence of a nested sequence is one row.
    vmin, vmax : float
        As for `CKAMatrix.plot`; ``"auto"`` looks at all matrices.
    cmap, annotate, fmt, highlight : optional
        As for `CKAMatrix.plot`.
    label : str, optional
        Label of the colour bar. None: what all matrices have in common, such as "CKA, linear" or "CKA".

    Returns
    -------
    (rows, columns) ndarray of matplotlib Axes

    Raises
    ------
    TypeError
        If one of them is not a CKAMatrix.
    ValueError
        If there is none, or as for `CKAMatrix.plot`.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> layers = {"conv": np.random.rand(50, 8), "fc": np.random.rand(50, 4)}
    >>> kernels = {kernel: fastcka.cka_matrix(layers, kernel=kernel) for kernel in ("linear", "rbf")}
    >>> fastcka.plot_grid(kernels, vmin="auto").shape
    (1, 2)
    """
    from .heatmap import add_colorbar, draw, scale

    titles, rows = _in_rows(matrices)
    flat = [matrix for row in rows for matrix in row]
    low = scale(flat, vmin, vmax)
    figure, axes, cell = _new_figure(rows, titled=bool(titles))
    keys = {}
    for i, row in enumerate(rows):
        for j, matrix in enumerate(row):
            ax = axes[i, j]
            mesh, explained = draw(matrix, ax, cell, (low, vmax), cmap, annotate, fmt, highlight)
            keys.update({patch.get_label(): patch for patch in explained})
            if titles:
                ax.set_title(titles[i][j], fontsize="medium")
            if j > 0 and _side(row[j - 1], 0) == _side(matrix, 0):
                ax.set_ylabel("")
                ax.tick_params(axis="y", labelleft=False)
            below = rows[i + 1][j] if i + 1 < len(rows) and j < len(rows[i + 1]) else None
            if below is not None and _side(below, 1) == _side(matrix, 1):
                ax.set_xlabel("")
                ax.tick_params(axis="x", labelbottom=False)
        for ax in axes[i, len(row) :]:
            ax.set_axis_off()
    common = label if label is not None else _common(flat)
    add_colorbar(mesh, flat, common, ax=list(axes.flat), fraction=0.05, pad=0.02, aspect=25)
    if keys:
        figure.legend(handles=list(keys.values()), loc="outside lower right", fontsize="small", frameon=False)
    return axes


def _in_rows(matrices: object) -> tuple[list[list[str]], list[list[Comparison]]]:
    """Return titles (none unless given) and matrices, row by row."""
    titles = list(map(str, matrices)) if isinstance(matrices, Mapping) else []
    if isinstance(matrices, Comparison) or not isinstance(matrices, Iterable):
        raise TypeError(f"matrices: expected a mapping or sequence of CKAMatrix objects, got {matrices!r}")
    given: list[Any] = list(matrices.values() if isinstance(matrices, Mapping) else matrices)
    if not given:
        raise ValueError("matrices: expected at least one CKAMatrix, got none")
    if not titles and all(isinstance(row, list | tuple) and row for row in given):
        rows = [list(row) for row in given]
    else:
        n = len(given) if len(given) <= MOST_IN_A_ROW else int(np.ceil(np.sqrt(len(given))))
        n = min(n, MOST_IN_A_ROW)
        rows = [given[k : k + n] for k in range(0, len(given), n)]
        titles = [titles[k : k + n] for k in range(0, len(titles), n)]  # type: ignore[misc]
    for row in rows:
        for matrix in row:
            if not isinstance(matrix, Comparison):
                raise TypeError(f"matrices: expected CKAMatrix objects, got {matrix!r}")
    return titles, rows  # type: ignore[return-value]


def _new_figure(rows: Sequence[Sequence[Comparison]], titled: bool) -> tuple[Figure, NDArray[Any], float]:
    """Make a figure that fits; return it, its Axes and the side of a cell in points."""
    from matplotlib import pyplot

    from .axes import label_height, label_width

    n_columns = max(map(len, rows))
    flat = [matrix for row in rows for matrix in row]
    high = [max(matrix.shape[0] for matrix in row) for row in rows]
    wide = [max(row[j].shape[1] for row in rows if j < len(row)) for j in range(n_columns)]
    longest = max(high + wide)
    cell = min(max(0.45, 1.8 / longest), WIDEST / sum(wide), 5.4 / longest)  # inches
    left = max(label_width(short_names(matrix.rows)[0]) for matrix in flat) / 72 + 0.4
    under = max(label_height(matrix.columns, cell * 72) for matrix in flat) / 72 + 0.3
    n_left = max(len({_side(matrix, 0) for matrix in row}) for row in rows)
    n_under = max(len({_side(row[j], 1) for row in rows if j < len(row)}) for j in range(n_columns))
    # Beside the cells: names, titles and gaps; at the right the colour bar, below a key.
    width = cell * sum(wide) + left * n_left + 0.15 * n_columns + 1.0
    height = cell * sum(high) + under * n_under + (0.35 if titled else 0.15) * len(rows) + 0.4
    figure, axes = pyplot.subplots(
        len(rows),
        n_columns,
        figsize=(width, height),
        layout="compressed",
        squeeze=False,
        width_ratios=wide,
        height_ratios=high,
    )
    return figure, axes, cell * 72


def _side(matrix: Comparison, side: int) -> tuple[str, tuple[str, ...]]:
    return matrix.models[side], (matrix.rows, matrix.columns)[side]


def _common(matrices: Sequence[Comparison]) -> str:
    titles = {matrix.title for matrix in matrices}
    if len(titles) == 1:
        return titles.pop()
    unbiased = all(matrix.estimator == "unbiased" for matrix in matrices)
    return f"{'unbiased ' if unbiased else ''}{', '.join(dict.fromkeys(m.measure_name for m in matrices))}"
