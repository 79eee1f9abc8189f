# SPDX-License-Identifier: BSD-3-Clause
"""The layers of a file in memory or mapped, and a random choice of their samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Opened(dict[str, Any]):
    """Layers of a file, each opened once, with its path, its provenance and the ids of its samples."""

    def __init__(self, layers: Mapping[str, Any]) -> None:
        super().__init__(layers)
        self.path, self.provenance, self.ids = (
            getattr(layers, known, None) for known in ("path", "provenance", "ids")
        )


def draw(networks: Sequence[Opened], n_drawn: int | None, seed: int | None, square: bool) -> str | None:
    """Keep `n_drawn` random samples, the same of every layer; return what was done, None for nothing.

    Of Gram matrices (`square`), rows and columns are kept.
    """
    if n_drawn is None:
        if seed is not None:
            raise ValueError("--seed is for --max-samples")
        return None
    if n_drawn < 1:
        raise ValueError(f"--max-samples: expected a positive number, got {n_drawn}")
    counts = {len(X) for layers in networks for X in layers.values() if X.ndim}
    if len(counts) != 1 or n_drawn >= max(counts):
        return None  # of layers with different samples, the comparison says what is wrong
    (n,) = counts
    rows = np.sort(np.random.default_rng(seed or 0).choice(n, n_drawn, replace=False))
    for layers in networks:
        for name, X in layers.items():
            layers[name] = X[np.ix_(rows, rows)] if square and X.shape == (n, n) else X[rows]
        if layers.ids is not None:
            layers.ids = tuple(layers.ids[i] for i in rows)
    return f"{n_drawn} of {n} samples, seed {seed or 0}"
