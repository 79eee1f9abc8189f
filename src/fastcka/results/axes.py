# SPDX-License-Identifier: BSD-3-Clause
"""What both pictures share: axes that name as many layers as there is room for, and sizes of text."""

from __future__ import annotations

import itertools
import os
import textwrap
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .labels import axis_title, short_names

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties
    from matplotlib.ticker import FuncFormatter, Locator
except ImportError as error:
    raise ImportError('plotting needs matplotlib: pip install "fastcka[plot]"') from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axis import Axis
    from numpy.typing import NDArray

UNDEFINED = {"facecolor": "0.93", "edgecolor": "0.6", "hatch": "////", "linewidth": 0.0}
CHARACTER = 0.6  # mean width of a character, in units of the font size


def checked(ax: object) -> Axes | None:
    """Refuse what is no Axes, such as a file name."""
    if ax is None or isinstance(ax, Axes):
        return ax
    how = f"; to write a file: .figure.savefig({ax!r})" if isinstance(ax, str | os.PathLike) else ""
    raise TypeError(f"ax: expected matplotlib Axes, got {ax!r}{how}")


def name_layers(axis: Axis, names: Sequence[str], model: str, cell: float) -> None:
    """Title an axis with the network and mark its layers, as many as there is room for.

    `cell` is the room for one layer, in points. Names along the x axis stand upright unless they fit.
    """
    size = font_size()
    labels, prefix = short_names(names)
    spacing, rotation = 1.1 * size, 0
    if axis.axis_name == "x":
        if label_height(names, cell) > size:
            rotation = 90
        else:
            spacing = label_width(labels) + size / 2
    axis.set_major_locator(_LayerLocator(len(names), spacing))
    axis.set_major_formatter(FuncFormatter(partial(_nth, labels)))
    axis.set_tick_params(labelsize=size, labelrotation=rotation, length=2)
    axis.set_label_text(plain(wrapped(axis_title(model, prefix), cell * len(names))))


def label_width(labels: Sequence[str]) -> float:
    """Return about how wide the longest label is, in points."""
    return CHARACTER * font_size() * max(map(len, labels))


def label_height(names: Sequence[str], cell: float) -> float:
    """Return about how high the layer names of an x axis are, in points: upright ones need their width."""
    width = label_width(short_names(names)[0])
    size = font_size()
    side_by_side = width + size / 2 <= max(cell, 3 * size)  # short ones, such as numbers, rather thin out
    return size if side_by_side else width


def wrapped(title: str, length: float) -> str:
    """Break a title into lines of about this length, in points."""
    size = FontProperties(size=matplotlib.rcParams["axes.labelsize"]).get_size_in_points()
    return textwrap.fill(title, max(12, int(length / (CHARACTER * size))), break_on_hyphens=False)


def font_size() -> float:
    """Return the size of all labels, in points."""
    return min(8.0, float(FontProperties(size=matplotlib.rcParams["ytick.labelsize"]).get_size_in_points()))


def _nth(labels: Sequence[str], position: float, _: int | None = None) -> str:
    i = round(position)
    return plain(labels[i]) if i == position and 0 <= i < len(labels) else ""


def plain(text: str) -> str:
    """Keep matplotlib from reading a name with two dollar signs as mathematics."""
    return text.replace("$", r"\$")


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
