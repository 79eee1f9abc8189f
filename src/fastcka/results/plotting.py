# SPDX-License-Identifier: BSD-3-Clause
"""Draw a `CKAMatrix` with matplotlib: the heat map of the papers, and similarity over depth.

Users call `CKAMatrix.plot` and `CKAMatrix.plot_curve`, which describe the arguments and import this module
when called. Everything is drawn as vectors, in the fonts of the user's style; no global setting is changed,
and pyplot is used only to make a figure when no Axes is given.
"""

from __future__ import annotations

import difflib
import itertools
import textwrap
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .labels import axis_title, short_names

try:
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import Patch, Rectangle
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter, Locator
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory
except ImportError as error:
    raise ImportError('plotting needs matplotlib: pip install "fastcka[plot]"') from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backend_bases import RendererBase
    from numpy.typing import NDArray

    from .comparison import Comparison

BELOW = "#2f9e9e"  # values below the scale: a hue that magma does not have
UNDEFINED = {"facecolor": "0.93", "edgecolor": "0.6", "hatch": "////", "linewidth": 0.0}
ROUNDING = 1e-6  # a value this little outside the scale counts as on it
MOST_WRITTEN_IN = 12  # layers on a side up to which the values are written into the cells
SMALLEST_FONT = 4.0  # points
CHARACTER = 0.6  # mean width of a character, in units of the font size


def heatmap(
    matrix: Comparison,
    ax: Axes | None,
    *,
    vmin: float,
    vmax: float,
    cmap: str,
    annotate: bool | None,
    colorbar: bool,
) -> Axes:
    """Draw the heat map of `CKAMatrix.plot`."""
    if not vmin < vmax:
        raise ValueError(f"vmin, vmax: expected vmin < vmax, got {vmin!r} and {vmax!r}")
    n_rows, n_columns = matrix.values.shape
    if ax is None:
        ax, cell = _heatmap_figure(matrix)
    else:
        box = ax.get_window_extent()
        cell = min(box.width / n_columns, box.height / n_rows) * 72 / ax.figure.dpi
    values = np.where(np.abs(matrix.values - vmin) < ROUNDING, vmin, matrix.values)
    defined = values[~np.isnan(values)]

    # Quadrilaterals, not an image: sharp at any zoom of a PDF. Edges in the colour of the face close the
    # hairlines that viewers show between neighbours.
    mesh = ax.pcolormesh(
        np.arange(n_columns + 1) - 0.5,
        np.arange(n_rows + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=matplotlib.colormaps[cmap].with_extremes(under=BELOW),
        vmin=vmin,
        vmax=vmax,
        edgecolors="face",
        linewidth=0.2,
    )
    ax.set(aspect="equal", xlim=(-0.5, n_columns - 0.5), ylim=(-0.5, n_rows - 0.5))
    ax.grid(visible=False)
    _name_layers(ax.xaxis, matrix.columns, matrix.models[1], cell)
    _name_layers(ax.yaxis, matrix.rows, matrix.models[0], cell)
    if annotate or (annotate is None and max(n_rows, n_columns) <= MOST_WRITTEN_IN):
        _write_values(ax, matrix.values, mesh.cmap(mesh.norm(values)))
    if defined.size < values.size:
        # The mesh is transparent where it is masked: hatch what lies under it.
        ax.add_patch(Rectangle((-0.5, -0.5), n_columns, n_rows, zorder=0, **UNDEFINED))
        key = Patch(label="undefined", **UNDEFINED)
        where, anchor = ("upper left", (1, 0)) if colorbar else ("lower right", (1, 1))
        ax.legend(handles=[key], loc=where, bbox_to_anchor=anchor, fontsize="small", frameon=False)
    if colorbar:
        # Beside the Axes, not carved out of it: 0.1 inch away, 0.13 inch wide, as high as the heat map.
        beside = ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, ax.transAxes)
        strip = ax.inset_axes((0.1, 0, 0.13, 1), transform=blended_transform_factory(beside, ax.transAxes))
        below, above = (defined < vmin).any(), (defined > vmax + ROUNDING).any()
        extend = ("both" if above else "min") if below else ("max" if above else "neither")
        bar = ax.figure.colorbar(mesh, cax=strip, extend=extend, label=_wrapped(matrix.title, n_rows * cell))
        bar.ax.tick_params(labelsize=_font_size())
    return ax


def curve(matrix: Comparison, ax: Axes | None, *, reference: str | None, label: str | None) -> Axes:
    """Draw the curves of `CKAMatrix.plot_curve`."""
    n_rows, n_columns = matrix.values.shape
    if n_rows == n_columns:
        own = [matrix.columns.index(name) for name in matrix.counterparts()]
        curves = {label or "same layer": matrix.values[range(n_rows), own]}
    else:
        best = np.array([match.value for match in matrix.best_matches()])
        curves = {label or "best match": best}
    if reference is not None:
        name = f"{label}, with {reference}" if label else f"with {reference}"
        curves[name] = matrix.values[:, _column(matrix, reference)]

    if ax is None:
        ax, width, height = _curve_figure(matrix)
    else:
        width, height = ax.get_window_extent().size * 72 / ax.figure.dpi
    style = {"marker": "o", "markersize": 4 if n_rows <= 40 else 2}
    color = None
    for (name, values), dashes in zip(curves.items(), ("-", "--"), strict=False):
        (line,) = ax.plot(np.arange(n_rows), values, dashes, color=color, label=name, **style)
        color = line.get_color()  # one comparison, one colour
        for i in np.flatnonzero(np.isnan(values)):
            known = "undefined" in ax.get_legend_handles_labels()[1]
            ax.axvspan(i - 0.5, i + 0.5, zorder=0, label=None if known else "undefined", **UNDEFINED)
    lowest = min(float(np.min(v, where=~np.isnan(v), initial=0.0)) for v in curves.values())
    bottom, top = ax.get_ylim()
    ax.set(xlim=(-0.5, n_rows - 0.5), ylim=(min(bottom, lowest - 0.03), max(top, 1.03)))
    titles = [matrix.title] if label else [matrix.title, f"with {matrix.models[1]}"]
    ax.set_ylabel("\n".join(_wrapped(title, height) for title in titles))
    _name_layers(ax.xaxis, matrix.rows, matrix.models[0], width / n_rows)
    ax.tick_params(axis="y", labelsize=_font_size())
    ax.legend(fontsize="small")
    return ax


def _column(matrix: Comparison, name: str) -> int:
    if name in matrix.columns:
        return matrix.columns.index(name)
    near = difflib.get_close_matches(name, matrix.columns) or matrix.columns[:5]
    raise ValueError(f"reference: {matrix.models[1]} has no layer {name!r}; it has {', '.join(near)}, ...")


def _heatmap_figure(matrix: Comparison) -> tuple[Axes, float]:
    """Make a figure that fits the heat map; return its Axes and the side of a cell in points."""
    n_rows, n_columns = matrix.values.shape
    longest = max(n_rows, n_columns)
    cell = min(max(0.45, 2.0 / longest), 5.4 / longest)  # inches
    names, _ = short_names(matrix.rows)
    side = cell * n_rows * 72
    extra_lines = _wrapped(matrix.title, side).count("\n") + _wrapped(matrix.models[0], side).count("\n")
    # 1.6 inches for the colour bar and a line of text on either side.
    width = 1.6 + 0.18 * extra_lines + _width(names) / 72 + max(1.1, cell * n_columns)
    height = 0.7 + _height(matrix.columns, cell * 72) / 72 + max(1.1, cell * n_rows)
    _, ax = pyplot.subplots(figsize=(width, height), layout="compressed")
    return ax, cell * 72


def _curve_figure(matrix: Comparison) -> tuple[Axes, float, float]:
    """Make a figure for a curve; return its Axes and their width and height in points."""
    n_rows = len(matrix.rows)
    width, height = min(6.0, max(3.2, 0.3 * n_rows)), 2.4  # inches, of the Axes
    names = _height(matrix.rows, width / n_rows * 72) / 72
    _, ax = pyplot.subplots(figsize=(width + 0.8, height + names + 0.4), layout="constrained")
    return ax, width * 72, height * 72


def _name_layers(axis: Axis, names: Sequence[str], model: str, cell: float) -> None:
    """Title an axis with the network and mark its layers, as many as there is room for.

    `cell` is the room for one layer, in points. Names along the x axis stand upright unless they fit.
    """
    size = _font_size()
    labels, prefix = short_names(names)
    spacing, rotation = 1.1 * size, 0
    if axis.axis_name == "x":
        if _height(names, cell) > size:
            rotation = 90
        else:
            spacing = _width(labels) + size / 2
    axis.set_major_locator(_LayerLocator(len(names), spacing))
    axis.set_major_formatter(FuncFormatter(partial(_nth, labels)))
    axis.set_tick_params(labelsize=size, labelrotation=rotation, length=2)
    axis.set_label_text(_wrapped(axis_title(model, prefix), cell * len(names)))


def _width(labels: Sequence[str]) -> float:
    """Return about how wide the longest label is, in points."""
    return CHARACTER * _font_size() * max(map(len, labels))


def _height(names: Sequence[str], cell: float) -> float:
    """Return about how high the layer names of an x axis are, in points: upright ones need their width."""
    width = _width(short_names(names)[0])
    size = _font_size()
    side_by_side = width + size / 2 <= max(cell, 3 * size)  # short ones, such as numbers, rather thin out
    return size if side_by_side else width


def _wrapped(title: str, length: float) -> str:
    """Break a title into lines of about this length, in points."""
    size = FontProperties(size=matplotlib.rcParams["axes.labelsize"]).get_size_in_points()
    return textwrap.fill(title, max(12, int(length / (CHARACTER * size))), break_on_hyphens=False)


def _font_size() -> float:
    return min(8.0, float(FontProperties(size=matplotlib.rcParams["ytick.labelsize"]).get_size_in_points()))


def _nth(labels: Sequence[str], position: float, _: int | None = None) -> str:
    i = round(position)
    return labels[i] if i == position and 0 <= i < len(labels) else ""


class _LayerLocator(Locator):  # type: ignore[misc]
    """Every layer, or every 2nd, 5th, 10th, 20th …, whichever has room when the figure is drawn."""

    def __init__(self, n_layers: int, spacing: float) -> None:
        self.n_layers = n_layers
        self.spacing = spacing  # points from label to label

    def __call__(self) -> NDArray[np.float64]:
        low, high = sorted(self.axis.get_view_interval())
        box = self.axis.axes.get_window_extent()
        pixels = box.width if self.axis.axis_name == "x" else box.height
        room = max(1.0, pixels * 72 / self.axis.figure.dpi / self.spacing)
        steps = (m * 10**k for k in itertools.count() for m in (1, 2, 5))
        step = next(s for s in steps if (high - low) / s <= room)
        return np.arange(0, self.n_layers, step, dtype=np.float64)


class _CellText(Text):  # type: ignore[misc]
    """A number as large as its cell allows when the figure is drawn, left out where it could not be read."""

    def draw(self, renderer: RendererBase) -> None:
        (left, _), (right, _) = self.axes.transData.transform([(0, 0), (1, 0)])
        size = min(_font_size(), 0.28 * (right - left) * 72 / self.figure.dpi)
        if size != self.get_fontsize():
            self.set_fontsize(size)
        if size >= SMALLEST_FONT:
            super().draw(renderer)


def _write_values(ax: Axes, values: NDArray[np.float64], colors: NDArray[np.float64]) -> None:
    """Write each value into its cell, in black or white, whichever stands out more (WCAG contrast)."""
    luminance = colors[..., :3] ** 2.2 @ np.array([0.2126, 0.7152, 0.0722])
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            text = f"{value:z.2f}".replace("-", "−")
            shade = "black" if luminance[i, j] > 0.18 else "white"
            ax.add_artist(_CellText(j, i, text, ha="center", va="center", color=shade, in_layout=False))
