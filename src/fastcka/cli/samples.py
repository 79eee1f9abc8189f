# SPDX-License-Identifier: BSD-3-Clause
"""``--max-samples``: the same few samples of every layer, whichever command asks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest

import numpy as np

from .._arrays import Array, layer_label


class Cap:
    """A number of samples, chosen by a seed.

    The chosen ones have the smallest hashes of the seed and their id, or of the number of their row where
    there are no ids. So stores that hold the same ids give the same samples, in whatever order, and a lower
    cap gives some of those of a higher one.
    """

    def __init__(self, most: int, seed: int, ids: Sequence[object] | None) -> None:
        if most < 1:
            raise ValueError(f"--max-samples: expected at least one sample, got {most}")
        self._most = most
        self._seed = seed
        self._ids = ids
        self._first: tuple[str, int] | None = None  # the layer that was seen first, and its samples
        self._rows: Array | None = None

    def rows(self, label: str, n: int) -> Array:
        """Return the chosen rows of a layer with `n` samples, in ascending order."""
        if self._rows is None:
            self._first = label, n
            self._rows = self._chosen(n)
        first, m = self._first or (label, n)
        if n != m:
            raise ValueError(f"{first} has {m} samples but {label} has {n}: all must hold the same samples")
        return self._rows

    def _chosen(self, n: int) -> Array:
        names: Sequence[object] = range(n) if self._ids is None or len(self._ids) != n else self._ids

        def key(row: int) -> bytes:
            text = f"{self._seed} {names[row]}"
            return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()

        return np.array(sorted(nsmallest(self._most, range(n), key)))


class Capped(Mapping[str, Array]):
    """Layers with the chosen samples only; a layer that is mapped is read no further than these."""

    def __init__(self, layers: Mapping[str, Array], cap: Cap, source: str, gram: bool) -> None:
        self._layers = layers
        self._cap = cap
        self._source = source
        self._gram = gram  # the layers are Gram matrices, whose columns are samples, too

    def __getitem__(self, name: str) -> Array:
        X = self._layers[name]
        if X.ndim == 0:
            return X  # what is no layer is refused where the others are
        rows = self._cap.rows(layer_label(self._source, name), len(X))
        if len(rows) == len(X):
            return X
        return X[np.ix_(rows, rows)] if self._gram and X.shape == (len(X), len(X)) else X[rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)
