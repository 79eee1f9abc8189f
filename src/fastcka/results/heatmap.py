# SPDX-License-Identifier: BSD-3-Clause
"""The heat map of the papers, with matplotlib: `CKAMatrix.plot` describes the arguments.

Everything is drawn as vectors, in the fonts of the user's style; no global setting is changed, and pyplot is
used only to make a figure when no Axes is given.
"""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import UNDEFINED, checked, font_size, label_height, label_width, name_layers, wrapped
from .comparison import Comparison
from .labels import short_names

try:
    import matplotlib
    from matplotlib import patheffects, pyplot
    from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
    from matplotlib.patches import Patch, PathPatch, Rectangle
    from matplotlib.path import Path
    from matplotlib.text import Text
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory
except ImportError as error:
    raise ImportError('plotting needs matplotlib: pip install "fastcka[plot]"') from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.collections import QuadMesh
    from numpy.typing import NDArray

BELOW = "#6ec6ff"  # below the scale: distinct from all of magma, also for colour-blind readers
NEGATIVE = ("#a8e0ff", "#4db4ff")  # from the lowest value to zero, where the scale starts below zero
ROUNDING = 1e-6  # a value this little outside the scale counts as on it
MOST_WRITTEN_IN = 12  # layers on a side up to which the values are written into the cells
SMALLEST_FONT = 4.0  # points


def heatmap(
    matrix: Comparison,
    ax: Axes | None,
    *,
    vmin: float | str,
    vmax: float,
    cmap: str,
    annotate: bool | None,
    fmt: str | None,
    highlight: str | None,
    title: str | None,
    label: str | None,
    colorbar: bool,
) -> Axes:
    """Draw the heat map of `CKAMatrix.plot`."""
    ax = checked(ax)
    if highlight not in (None, "best"):
        raise ValueError(f"highlight: expected None or 'best', got {highlight!r}")
    low = scale([matrix], vmin, vmax)
    if label is None:
        explained = matrix.beside is not None and _annotated(matrix, annotate)
        label = f"{matrix.title} (in parentheses: chance)" if explained else matrix.title
    n_rows, n_columns = matrix.shape
    if ax is None:
        ax, cell = _new_figure(matrix, label)
    else:
        box = ax.get_window_extent()
        cell = min(box.width / n_columns, box.height / n_rows) * 72 / ax.figure.dpi
    mesh, keys = draw(matrix, ax, cell, (low, vmax), cmap, annotate, fmt, highlight)
    if title is not None:
        ax.set_title(title)
    if highlight and not colorbar:
        keys.pop()  # above the cells it would meet the title
    if keys:
        where, anchor = ("upper left", (1, 0)) if colorbar else ("lower right", (1, 1))
        ax.legend(handles=keys, loc=where, bbox_to_anchor=anchor, fontsize="small", frameon=False)
    if colorbar:
        # Beside the Axes, not carved out of it: 0.1 inch away, 0.13 inch wide, as high as the heat map.
        beside = ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, ax.transAxes)
        strip = ax.inset_axes((0.1, 0, 0.13, 1), transform=blended_transform_factory(beside, ax.transAxes))
        add_colorbar(mesh, [matrix], wrapped(label, n_rows * cell), cax=strip)
    return ax


def difference(
    matrix: Comparison,
    other: Comparison,
    ax: Axes | None,
    *,
    limit: float | None,
    cmap: str,
    annotate: bool | None,
    fmt: str,
    title: str | None,
    label: str | None,
    colorbar: bool,
) -> Axes:
    """Draw the heat map of `CKAMatrix.plot_difference`."""
    if not isinstance(other, Comparison):
        raise TypeError(f"other: expected a CKAMatrix, got {other!r}")
    if (matrix.rows, matrix.columns) != (other.rows, other.columns):
        raise ValueError("other: expected a comparison of layers with the same names, in the same order")
    # Neither the chance level nor p-values are those of a difference.
    change = Comparison(
        matrix.values - other.values,
        matrix.rows,
        matrix.columns,
        matrix.kernel,
        matrix.estimator,
        matrix.n_samples,
        matrix.models,
        method=matrix.method,
        measure=matrix.measure,
    )
    if limit is not None and not limit > 0:
        raise ValueError(f"limit: expected a number above zero, got {limit!r}")
    if limit is None:
        largest = np.max(np.abs(change.values), where=~np.isnan(change.values), initial=0.01)
        limit = float(np.ceil(largest * 20 - ROUNDING) / 20)
    if label is None:
        same = matrix.title == other.title
        label = f"difference in {matrix.title}" if same else f"{matrix.title} − {other.title}"
    return heatmap(
        change,
        ax,
        vmin=-limit,
        vmax=limit,
        cmap=cmap,
        annotate=annotate,
        fmt=fmt,
        highlight=None,
        title=title,
        label=label,
        colorbar=colorbar,
    )


def scale(matrices: Sequence[Comparison], vmin: float | str, vmax: float) -> float:
    """Return the lower end of a colour scale: `vmin`, or what "auto" means for these matrices."""
    low = min(map(_lowest, matrices)) if isinstance(vmin, str) and vmin == "auto" else vmin
    for name, end in (("vmin", low), ("vmax", vmax)):
        if not isinstance(end, Real):
            expected = "a number or 'auto'" if name == "vmin" else "a number"
            raise ValueError(f"{name}: expected {expected}, got {end!r}")
    low = float(low)
    if not low < vmax:
        raise ValueError(f"vmin, vmax: expected vmin < vmax, got {low!r} and {vmax!r}")
    return low


def draw(
    matrix: Comparison,
    ax: Axes,
    cell: float,
    limits: tuple[float, float],
    cmap: str,
    annotate: bool | None,
    fmt: str | None,
    highlight: str | None,
) -> tuple[QuadMesh, list[Patch]]:
    """Draw cells of this many points, names and values; return the cells and what a key has to explain."""
    low, high = limits
    n_rows, n_columns = matrix.shape
    values = np.where(np.abs(matrix.values - low) < ROUNDING, low, matrix.values)
    # Quadrilaterals, not an image: sharp at any zoom of a PDF. Edges in the colour of the face close the
    # hairlines that viewers show between neighbours.
    mesh = ax.pcolormesh(
        np.arange(n_columns + 1) - 0.5,
        np.arange(n_rows + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=_colors(cmap, low, high).with_extremes(under=BELOW),
        vmin=low,
        vmax=high,
        edgecolors="face",
        linewidth=0.2,
    )
    ax.set(aspect="equal", xlim=(-0.5, n_columns - 0.5), ylim=(-0.5, n_rows - 0.5))
    ax.grid(visible=False)
    name_layers(ax.xaxis, matrix.columns, matrix.models[1], cell)
    name_layers(ax.yaxis, matrix.rows, matrix.models[0], cell)
    if _annotated(matrix, annotate):
        fmt = _decimals(matrix, highlight) if fmt is None else fmt
        _write_values(ax, matrix, mesh.cmap(mesh.norm(values)), fmt)
    keys = []
    marked = matrix.not_above_chance
    if marked is not None and marked.any():
        keys.append(_hatch(ax, marked))
    if np.isnan(values).any():
        # The mesh is transparent where it is masked: hatch what lies under it.
        ax.add_patch(Rectangle((-0.5, -0.5), n_columns, n_rows, zorder=0, **UNDEFINED))
        keys.append(Patch(label="undefined", **UNDEFINED))
    if highlight == "best":
        keys.append(_frame_best(ax, matrix, cell))
    return mesh, keys


def _annotated(matrix: Comparison, annotate: bool | None) -> bool:
    """Return whether values are written into the cells."""
    return max(matrix.shape) <= MOST_WRITTEN_IN if annotate is None else annotate


def add_colorbar(mesh: QuadMesh, matrices: Sequence[Comparison], label: str, **where: Any) -> None:
    """Draw the colour bar of `mesh`, with ends for values of the matrices that lie beyond the scale."""
    low, high = mesh.get_clim()
    below = any((m.values < low - ROUNDING).any() for m in matrices)
    above = any((m.values > high + ROUNDING).any() for m in matrices)
    extend = ("both" if above else "min") if below else ("max" if above else "neither")
    bar = mesh.axes.figure.colorbar(mesh, extend=extend, label=label, **where)
    bar.ax.tick_params(labelsize=font_size())


def _new_figure(matrix: Comparison, label: str) -> tuple[Axes, float]:
    """Make a figure that fits the heat map; return its Axes and the side of a cell in points."""
    n_rows, n_columns = matrix.values.shape
    longest = max(n_rows, n_columns)
    cell = min(max(0.45, 2.0 / longest), 5.4 / longest)  # inches
    names, _ = short_names(matrix.rows)
    side = cell * n_rows * 72
    extra_lines = wrapped(label, side).count("\n") + wrapped(matrix.models[0], side).count("\n")
    # 1.6 inches for the colour bar and a line of text on either side.
    width = 1.6 + 0.18 * extra_lines + label_width(names) / 72 + max(1.1, cell * n_columns)
    height = 0.7 + label_height(matrix.columns, cell * 72) / 72 + max(1.1, cell * n_rows)
    _, ax = pyplot.subplots(figsize=(width, height), layout="compressed")
    return ax, cell * 72


def _lowest(matrix: Comparison) -> float:
    """Return the lowest value, rounded down to a twentieth; at most 0.95, the scale ends at 1."""
    lowest = float(np.min(matrix.values, where=~np.isnan(matrix.values), initial=0.95))
    return float(np.floor(lowest * 20 + ROUNDING) / 20)


def _colors(name: str, vmin: float, vmax: float) -> Colormap:
    """Return the colour map; magma, extended in blues if the scale includes values below zero."""
    colors = matplotlib.colormaps.get_cmap(name)
    if name != "magma" or not vmin < -ROUNDING:
        return colors
    n = 4096  # fine steps: where the parts meet must not depend on their sizes
    below = round(n * min(1.0, -vmin / (vmax - vmin)))
    blues = LinearSegmentedColormap.from_list("blues", NEGATIVE)(np.linspace(0, 1, below))
    return ListedColormap(np.concatenate([blues, colors(np.linspace(0, 1, n - below))]))


def _frame_best(ax: Axes, matrix: Comparison, cell: float) -> Patch:
    """Frame the best match of each row; return what the legend shows of it."""
    line = max(0.5, min(1.3, cell / 20))
    outline = [patheffects.withStroke(linewidth=2.2 * line, foreground="black")]
    for i, best in enumerate(matrix.best_matches()):
        if best.column is not None:
            corner = matrix.columns.index(best.column) - 0.46, i - 0.46
            frame = Rectangle(corner, 0.92, 0.92, fill=False, edgecolor="white", linewidth=line)
            frame.set_path_effects(outline)
            ax.add_patch(frame)
    key = Patch(label="best of its row", fill=False, edgecolor="white", linewidth=line)
    key.set_path_effects(outline)
    return key


def _hatch(ax: Axes, marked: NDArray[np.bool_]) -> Patch:
    """Hatch the cells that are not above chance; return what the legend shows of it."""
    style = {"fill": False, "hatch": "////", "edgecolor": "#9a9a9a", "linewidth": 0}
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    cells = np.argwhere(marked)[:, None, ::-1] + corners
    # One patch: a thousand of them take a minute to draw.
    ax.add_patch(PathPatch(Path.make_compound_path_from_polys(cells), **style))
    return Patch(label="not above chance", **style)


def _decimals(matrix: Comparison, highlight: str | None) -> str:
    """Return two decimals or, if best matches are framed, as many up to four as tell them from the others."""
    digits = 2
    rows = [np.sort(row[~np.isnan(row)])[-2:] for row in matrix.values] if highlight else []
    while digits < 4 and any(len(row) == 2 and np.ptp(row.round(digits)) == 0 for row in rows):
        digits += 1
    return f".{digits}f"


class _CellText(Text):  # type: ignore[misc]
    """A number as large as its cell allows when the figure is drawn, left out where it could not be read."""

    def draw(self, renderer: RendererBase) -> None:
        (left, _), (right, _) = self.axes.transData.transform([(0, 0), (1, 0)])
        longest = max(map(len, self.get_text().splitlines()))
        size = min(font_size(), 1.4 / max(longest, 5) * (right - left) * 72 / self.figure.dpi)
        if size != self.get_fontsize():
            self.set_fontsize(size)
        if size >= SMALLEST_FONT:
            super().draw(renderer)


def _write_values(ax: Axes, matrix: Comparison, colors: NDArray[np.float64], fmt: str) -> None:
    """Write each value into its cell, in black or white, whichever stands out more (WCAG contrast)."""
    beside = matrix.beside
    luminance = colors[..., :3] ** 2.2 @ np.array([0.2126, 0.7152, 0.0722])
    for (i, j), value in np.ndenumerate(matrix.values):
        if not np.isnan(value):
            text = _number(value, fmt)
            if beside is not None:
                text += f"\n({_number(float(beside[i, j]), fmt)})"
            shade = "black" if luminance[i, j] > 0.18 else "white"
            ax.add_artist(_CellText(j, i, text, ha="center", va="center", color=shade, in_layout=False))


def _number(value: float, fmt: str) -> str:
    text = format(value, fmt)
    if text.startswith(("-", "+")) and not any(digit in text for digit in "123456789"):
        text = text[1:]  # no -0.00
    return text.replace("-", "−")
