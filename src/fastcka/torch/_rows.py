# SPDX-License-Identifier: BSD-3-Clause
"""The rows that one batch adds to the matrix of each layer."""

from __future__ import annotations

from dataclasses import dataclass

from ._inputs import SampleId
from ._pool import Tensor


@dataclass(frozen=True)
class Rows:
    """(n, p) by layer, in CPU memory; a row is a sample or, where `positions` is given, a position of one.

    `positions` is (n_samples, positions) bool, true for those that became rows, sample by sample;
    `side` says whether they are those of the encoder or of the decoder.
    """

    layers: dict[str, Tensor]
    n_samples: int
    positions: Tensor | None = None
    side: str = ""

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
        return Rows(
            {k: rows[first:last] for k, rows in self.layers.items()}, stop - start, positions, self.side
        )

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
