# SPDX-License-Identifier: BSD-3-Clause
"""The grid of heat maps of many models, with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .axes import UNDEFINED, font_size, label_height, label_width
from .heatmap import ROUNDING, heatmap

try:
    from matplotlib import pyplot
    from matplotlib.patches import Patch
except ImportError as error:
    raise ImportError('plotting needs matplotlib: pip install "fastcka[plot]"') from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .models import CKAModels

LARGEST = 8.5  # inches of the heat maps on a side


def grid(
    models: CKAModels, *, vmin: float, vmax: float, cmap: str, annotate: bool | None, highlight: str | None
) -> NDArray[np.object_]:
    """Draw the grid of `CKAModels.plot`."""
    names = models.models
    counts = [len(models.layers(name)) for name in names]
    # One size of cells for all, but no model so thin that it is not seen.
    sides = [max(count, max(counts) / 6) for count in counts]
    cell = min(0.4, LARGEST / sum(sides))  # inches
    labels = [(models.layers(name), max(cell * side, 0.3)) for name, side in zip(names, sides, strict=True)]
    left = max(label_width(layers) for layers, _ in labels) / 72
    below = max(label_height(layers, 72 * cell) for layers, _ in labels) / 72
    side = max(2.0, cell * sum(sides) + 0.06 * len(names))
    figure, axes = pyplot.subplots(
        len(names),
        len(names),
        squeeze=False,
        figsize=(side + left + 1.4, side + below + 0.5),
        gridspec_kw={"width_ratios": sides, "height_ratios": sides[::-1]},
        layout="compressed",
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = axes[::-1]  # the first model at the bottom, as the first layer in each heat map
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            ax = axes[i, j]
            heatmap(
                models.pair(a, b),
                ax,
                vmin=vmin,
                vmax=vmax,
                cmap=cmap,
                annotate=annotate,
                fmt=None,
                highlight=highlight,
                title=None,
                label=None,
                colorbar=False,
            )
            if sides[i] != counts[i] or sides[j] != counts[j]:
                ax.set_aspect("auto")
            if ax.get_legend() is not None:
                ax.get_legend().remove()  # one for all, below
            if i:
                ax.set(xlabel="")
                ax.tick_params(bottom=False, labelbottom=False)
            if j:
                ax.set(ylabel="")
                ax.tick_params(left=False, labelleft=False)
    values = models.matrix.values
    defined = values[~np.isnan(values)]
    below_scale, above_scale = (defined < vmin - ROUNDING).any(), (defined > vmax + ROUNDING).any()
    bar = figure.colorbar(
        axes[0, 0].collections[0],
        ax=axes,
        label=models.matrix.title,
        extend=("both" if above_scale else "min") if below_scale else ("max" if above_scale else "neither"),
        aspect=40,
        pad=0.02,
    )
    bar.ax.tick_params(labelsize=font_size())
    if defined.size < values.size:
        figure.legend(
            handles=[Patch(label="undefined", **UNDEFINED)],
            loc="outside upper right",
            fontsize="small",
            frameon=False,
        )
    return axes  # type: ignore[no-any-return]
