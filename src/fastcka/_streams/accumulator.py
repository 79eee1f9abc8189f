# SPDX-License-Identifier: BSD-3-Clause
"""What a stream keeps of its batches, as streaming.py sees it: something that adds batches and has values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .batches import Batch


class Limits(NamedTuple):
    """What belongs to the machine, not to the stream."""

    n_threads: int | None
    max_bytes: int | str | None


class LayerNote(NamedTuple):
    """A layer that has no CKA: its network (0 or 1), its number there, its status in the core."""

    network: int
    layer: int
    status: str


class Values(NamedTuple):
    """CKA of all pairs, its chance level, and the layers that have none."""

    cka: NDArray[np.float64]
    chance: NDArray[np.float64]
    notes: tuple[LayerNote, ...]


class AboveChance(NamedTuple):
    """Unbiased CKA of all pairs, and how far it is above what unrelated samples have."""

    unbiased: NDArray[np.float64]
    zscores: NDArray[np.float64]
    pvalues: NDArray[np.float64]  # by the chi-squared bound


def notes_of(statuses: Sequence[Sequence[str]]) -> Iterator[LayerNote]:
    """Yield a note for every status but "", which says that all is well."""
    for network, of_layers in enumerate(statuses):
        for layer, status in enumerate(of_layers):
            if status:
                yield LayerNote(network, layer, status)


class Accumulator(Protocol):
    """`Exact` or `Minibatch`; `Grouped` is several of one kind. A rejected batch leaves it as it was."""

    @property
    def n_samples(self) -> int:
        """Number of samples so far."""

    def update(self, batch: Batch) -> None:
        """Add a batch."""

    def merge(self, other: Any) -> None:
        """Add what an accumulator of the same kind and layout has seen."""

    def values(self) -> Values:
        """Return CKA as of now."""

    def above_chance(self) -> AboveChance:
        """Return unbiased CKA as of now, against its distribution under permutation of the samples."""

    def empty(self) -> Any:
        """Return an accumulator of the same kind and layout that has seen nothing."""

    def state(self) -> dict[str, Array]:
        """Return all that is needed to continue, as arrays."""
