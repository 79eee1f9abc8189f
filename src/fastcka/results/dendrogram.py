# SPDX-License-Identifier: BSD-3-Clause
"""The dendrogram of many models, with matplotlib and SciPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .axes import checked, font_size, label_width, plain, wrapped
from .summary import angles_of

try:
    from matplotlib import pyplot
    from matplotlib.axes import Axes
except ImportError as error:
    raise ImportError('plotting needs matplotlib: pip install "fastcka[plot]"') from error

if TYPE_CHECKING:
    from .summary import ModelSummary

LINKAGES = ("average", "complete", "single", "weighted")  # valid for any dissimilarity


def dendrogram(summary: ModelSummary, ax: object, linkage: str) -> Axes:
    """Draw the dendrogram of `CKAModels.plot_dendrogram`."""
    try:
        from scipy.cluster import hierarchy
    except ImportError as error:
        raise ImportError("plot_dendrogram() needs SciPy: pip install scipy") from error
    if linkage not in LINKAGES:
        raise ValueError(f"linkage: expected one of {', '.join(map(repr, LINKAGES))}, got {linkage!r}")
    if undefined := [
        name for name, row in zip(summary.rows, summary.values, strict=True) if np.isnan(row).any()
    ]:
        raise ValueError(
            f"models without a defined value cannot be clustered: {', '.join(undefined[:5])} "
            f"have nan in their summary"
        )
    angles = angles_of(summary, condensed=True)
    axes = checked(ax)
    if axes is None:
        height = 1.1 + 0.28 * len(summary.rows)
        _, axes = pyplot.subplots(
            figsize=(4.5 + label_width(summary.rows) / 72, height), layout="constrained"
        )
    hierarchy.dendrogram(
        hierarchy.linkage(angles, linkage, optimal_ordering=True),
        labels=[plain(name) for name in summary.rows],
        orientation="left",
        color_threshold=0,
        above_threshold_color="0.2",
        leaf_font_size=font_size() + 1,
        ax=axes,
    )
    length = axes.get_window_extent().width * 72 / axes.figure.dpi
    axes.set_xlabel(wrapped(f"{linkage} linkage, angle of {summary.title} (radians)", length))
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.tick_params(left=False, right=False)
    return axes
