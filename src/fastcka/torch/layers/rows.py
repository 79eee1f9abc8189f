# SPDX-License-Identifier: BSD-3-Clause
"""The rows that one batch adds to the matrix of each layer, and the search for values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..._arrays import needs_float64
from .._common import Tensor, copied
from ..data.inputs import SampleId


@dataclass(frozen=True)
class Rows:
    """(n, p) by layer; a row is a sample or, where `positions` is given, a position of one.

    `positions` is (n_samples, positions) bool, true for positions that became rows, sample by sample; `side`
    says whether they are those of the encoder or of the decoder. `borrowed` layers are memory of the model,
    which may write to it when it runs again.
    """

    layers: dict[str, Tensor]
    n_samples: int
    positions: Tensor | None = None
    side: str = ""
    borrowed: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return self.n_samples if self.positions is None else int(self.positions.sum())

    def samples(self, start: int, stop: int) -> Rows:
        """Return the rows of samples `start` to `stop` only."""
        if (start, stop) == (0, self.n_samples):
            return self
        first, last, positions = start, stop, None
        if self.positions is not None:
            first, last = int(self.positions[:start].sum()), int(self.positions[:stop].sum())
            positions = self.positions[start:stop]
        layers = {k: rows[first:last] for k, rows in self.layers.items()}
        return replace(self, layers=layers, n_samples=stop - start, positions=positions)

    def owned(self) -> Rows:
        """Return rows of which none is memory of the model."""
        if not self.borrowed:
            return self
        layers = {k: copied(X) if k in self.borrowed else X for k, X in self.layers.items()}
        return replace(self, layers=layers, borrowed=frozenset())

    def on(self, device: torch.device) -> Rows:
        """Return the rows on a device: parts of a model may be elsewhere."""
        if all(X.device == device for X in self.layers.values()):
            return self
        return replace(self, layers={layer: X.to(device) for layer, X in self.layers.items()})

    def sample_of(self, row: int) -> int:
        """Return the sample, counted from 0, to which a row belongs."""
        if self.positions is None:
            return row
        return int(self.positions.nonzero()[row, 0])

    def ids(self, samples: list[SampleId] | None, start: int) -> list[SampleId] | None:
        """Return an id for each row, from those of the samples.

        Positions that became rows are called ``sample:position``, where samples without ids are counted from
        `start`.
        """
        if self.positions is None:
            return samples
        names = samples if samples is not None else range(start, start + self.n_samples)
        if len(set(names)) < len(names):
            raise ValueError(f"ids: two samples of a batch have the same id, among {names}")
        return [f"{names[i]}:{k}" for i, k in self.positions.nonzero().tolist()]


def like(X: Tensor, n_rows: int) -> np.ndarray[Any, Any]:
    """Return an array of n rows like X, of a type that NumPy has, that takes no memory."""
    dtype = torch.float32 if X.dtype == torch.bfloat16 else X.dtype
    return np.broadcast_to(torch.zeros(1, 1, dtype=dtype).numpy(), (n_rows, X.shape[1]))


def is_double(batch: Sequence[Rows], dtype: object) -> bool:
    """Return whether the arithmetic is float64 for these layers."""
    return needs_float64([like(X, 1) for rows in batch for X in rows.layers.values()], dtype)


class NonFinite:
    """Layers in which NaN or infinity was found, each with the reason that it has no CKA."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def look(self, rows: Rows, start: int) -> list[str]:
        """Look through the rows of a batch, from sample `start` on; return the layers found now."""
        new = []
        for layer, X in rows.layers.items():
            if layer in self.found or not X.is_floating_point():
                continue
            if math.isfinite(X.sum().item()):  # then all are: ten times as fast as to look at each
                continue
            finite = torch.isfinite(X)
            if not finite.all():  # else the sum has overflowed
                row, feature = (~finite).nonzero()[0].tolist()
                kind = "NaN" if torch.isnan(X[row, feature]) else "infinity"
                where = f"first at sample {start + rows.sample_of(row)}, feature {feature}"
                self.found[layer] = f"contains {kind}, {where}"  # as cka_matrix says it
                new.append(layer)
        return new
