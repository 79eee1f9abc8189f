# SPDX-License-Identifier: BSD-3-Clause
"""The layers of a file in memory or mapped, and a choice of their samples: the same in whichever command."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from typing import Any

import numpy as np

from .._arrays import Array, layer_label


class Choice:
    """`most` of the samples, the same ones of every layer.

    They have the smallest hashes of the seed and their id, or the number of their row where there are no ids.
    So stores with the same ids yield the same samples in any order, and fewer samples are among
    more of the same seed.
    """

    def __init__(self, most: int, seed: int | None, ids: Sequence[object] | None, *, gram: bool) -> None:
        if most < 1:
            raise ValueError(f"--max-samples: expected a positive number, got {most}")
        self._most = most
        self._seed = seed or 0
        self._ids = ids
        self._gram = gram  # layers are Gram matrices, whose columns are samples, too
        self._first: tuple[str, int] | None = None  # the layer that was seen first, and its samples
        self._rows: Array = np.arange(0)

    def of(self, X: Array, label: str) -> Array:
        """Return a layer with the chosen samples; one that is mapped is read no further than these."""
        if X.ndim == 0:
            return X  # no layer: the comparison says so
        if self._first is None:
            self._first, self._rows = (label, len(X)), self._chosen(len(X))
        first, n = self._first
        if len(X) != n:
            raise ValueError(
                f"{first} has {n} samples but {label} has {len(X)}: all must hold the same samples"
            )
        if len(self._rows) == n:
            return X
        return X[np.ix_(self._rows, self._rows)] if self._gram and X.shape == (n, n) else X[self._rows]

    def _chosen(self, n: int) -> Array:
        names: Sequence[object] = range(n) if self._ids is None or len(self._ids) != n else self._ids

        def key(row: int) -> bytes:
            text = f"{self._seed} {names[row]}"
            return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()

        return np.array(sorted(nsmallest(self._most, range(n), key)))

    def of_ids(self, ids: Sequence[Any]) -> tuple[Any, ...]:
        """Return the ids of the chosen samples."""
        return tuple(ids[i] for i in self._rows)

    @property
    def said(self) -> str | None:
        """What was done, for the provenance; None where all samples were taken."""
        n = self._first[1] if self._first else 0
        return f"{self._most} of {n} samples, seed {self._seed}" if self._most < n else None


class Opened(dict[str, Any]):
    """Layers of a file, each opened once, with its path, its provenance and the ids of its samples."""

    def __init__(self, layers: Mapping[str, Any], source: str, choice: Choice | None) -> None:
        super().__init__()
        for name in layers:
            X = layers[name]
            self[name] = X if choice is None else choice.of(X, layer_label(source, name))
        self.path, self.provenance, self.ids = (
            getattr(layers, known, None) for known in ("path", "provenance", "ids")
        )
        if choice is not None and self.ids is not None:
            self.ids = choice.of_ids(self.ids)
