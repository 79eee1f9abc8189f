# SPDX-License-Identifier: BSD-3-Clause
"""p-values of many pairs of layers, adjusted for their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05  # adjusted p-values from here on are not above chance, and marked so

Float = NDArray[np.float64]


def adjusted(pvalues: Float, method: str, *, mirrored: bool) -> Float:
    """Return p-values adjusted by "holm" or "bh"; nan stays nan, and is not counted.

    `mirrored`: rows and columns are the same layers, so that each pair stands twice if values are symmetric.
    """
    if method not in ("holm", "bh"):
        raise ValueError(f"method: expected 'holm' or 'bh', got {method!r}")
    mirrored = mirrored and np.array_equal(pvalues, pvalues.T, equal_nan=True)
    once = ~np.isnan(pvalues)
    if mirrored:
        once = np.triu(once)
    found = np.full(pvalues.shape, np.nan)
    found[once] = _in_order(pvalues[once], method)
    return np.fmax(found, found.T) if mirrored else found


def _in_order(p: Float, method: str) -> Float:
    order, count = np.argsort(p, kind="stable"), len(p)
    adjusted = np.empty(count)
    if method == "holm":
        adjusted[order] = np.maximum.accumulate(p[order] * np.arange(count, 0, -1))
    else:
        steps = p[order] * count / np.arange(1, count + 1)
        adjusted[order] = np.minimum.accumulate(steps[::-1])[::-1]
    return np.minimum(adjusted, 1.0)
