# SPDX-License-Identifier: BSD-3-Clause
"""From the rows of models, batch by batch, to CKA by the core: kept, as sums, or in mini-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from ..._arguments import ESTIMATORS
from ..._pairwise import Reasons
from ..._settings import Settings as Checked
from ..._streams.settings import Method
from ...kernels import Kernel
from ...results import CKAMatrix
from ...similarity import compare_layers
from ...streaming import StreamingCKA
from .._common import as_array
from ..layers.rows import NonFinite, Rows
from .memory import Kept

Settings = dict[str, Any]  # estimator, dtype, n_threads

_FEWEST = ESTIMATORS["unbiased"]


class Outcome(NamedTuple):
    """CKA of all batches, and the layers that have none."""

    matrix: CKAMatrix
    reasons: Reasons


class Collector(Protocol):
    """Takes batches in, and gives CKA of all of them.

    A batch is the rows of the layers of both sides, or of one side, whose layers are compared with one
    another.
    """

    words: str

    def add(self, batch: Sequence[Rows], start: int, left: int | None) -> None:
        """Add a batch that starts at sample `start`; `left` samples follow it, where that is known."""

    def result(self) -> Outcome:
        """Return CKA of all batches."""


class KeptRows:
    """Keeps all activations, and compares them at the end."""

    def __init__(self, kernel: Kernel, settings: Settings, limit: int, words: str) -> None:
        self.kernel, self.settings, self.words, self.limit = kernel, settings, words, limit
        self.sides: list[Kept] = []
        self.non_finite: list[NonFinite] = []

    def add(self, batch: Sequence[Rows], start: int, left: int | None) -> None:
        """Add a batch."""
        self.sides = self.sides or [Kept(self.limit) for _ in batch]
        self.non_finite = self.non_finite or [NonFinite() for _ in batch]
        for side, rows, bad in zip(self.sides, batch, self.non_finite, strict=True):
            if rows.positions is not None:  # the core will name rows, not samples
                bad.look(rows, start)
            side.add(rows.owned(), None)

    def result(self) -> Outcome:
        """Return CKA of all batches."""
        a = self.sides[0].joined()
        b = self.sides[1].joined() if len(self.sides) == 2 else None
        settings = Checked.checked(self.kernel, **self.settings, max_bytes=None)
        matrix, reasons = compare_layers(a, b, settings, "propagate")
        return Outcome(matrix, reasons | found_in(self.non_finite))


class Stream:
    """Takes batches into a StreamingCKA."""

    def __init__(self, method: Method, kernel: Kernel, settings: Settings, limit: int, words: str) -> None:
        whole = method == "minibatch"  # nothing grows with the batches, so there is no limit to obey
        self.stream = StreamingCKA(method, kernel, **settings, max_bytes=None if whole else limit)
        self.words = words
        self.non_finite: list[NonFinite] = []
        self.dtypes: list[np.dtype[Any]] = []  # of all layers, in the first batch

    def add(self, batch: Sequence[Rows], start: int, left: int | None) -> None:
        """Add a batch."""
        self.non_finite = self.non_finite or [NonFinite() for _ in batch]
        try:
            self._update(batch)
        except ValueError:  # the core found a value that is not finite, and took in nothing
            found = [bad.look(rows, start) for bad, rows in zip(self.non_finite, batch, strict=True)]
            if not any(found):
                raise
            self._update(batch)

    def _update(self, batch: Sequence[Rows]) -> None:
        """Add rows, with zeros for layers that are not finite: only those will be nan."""
        sides = tuple(
            [
                as_array(torch.zeros_like(X) if layer in bad.found else X, layer)
                for layer, X in rows.layers.items()
            ]
            for bad, rows in zip(self.non_finite, batch, strict=True)
        )
        dtypes = [X.dtype for side in sides for X in side]
        if dtypes == self.dtypes:
            self.stream._append(sides)
            return
        self.stream.update(
            *(dict(zip(rows.layers, X, strict=True)) for rows, X in zip(batch, sides, strict=True))
        )
        self.dtypes = self.dtypes or dtypes

    def result(self) -> Outcome:
        """Return CKA of all batches."""
        matrix, reasons = self.stream._compared()
        return Outcome(matrix, reasons | found_in(self.non_finite))


class InWholeBatches:
    """Gives mini-batches on that are large enough.

    One of fewer than 4 samples has no unbiased HSIC: it is merged with the next ones, until they are
    enough, and at the end with the batch before. A batch waits for the next one, unless it is known that such
    an end is not to come.
    """

    def __init__(self, target: Collector) -> None:
        self.target, self.words = target, target.words
        self.waiting: tuple[Sequence[Rows], int] | None = None  # and its first sample
        self.small: tuple[Sequence[Rows], int] | None = None  # after the one that waits

    def add(self, batch: Sequence[Rows], start: int, left: int | None) -> None:
        """Add a batch."""
        batch, start = _joined(self.small, (batch, start))
        self.small = None
        if len(batch[0]) < _FEWEST:
            self.small = [rows.owned() for rows in batch], start
            return
        self._take(self.waiting)
        self.waiting = None
        if left is not None and (left == 0 or left >= _FEWEST):
            self._take((batch, start))
        else:
            self.waiting = [rows.owned() for rows in batch], start

    def result(self) -> Outcome:
        """Return CKA of all batches."""
        if self.waiting is not None and self.small is not None:
            self._take(_joined(self.waiting, self.small))
        else:
            self._take(self.waiting or self.small)
        return self.target.result()

    def _take(self, batch: tuple[Sequence[Rows], int] | None) -> None:
        if batch is not None:
            self.target.add(*batch, None)


def _joined(
    first: tuple[Sequence[Rows], int] | None, second: tuple[Sequence[Rows], int]
) -> tuple[Sequence[Rows], int]:
    """Return two batches as one."""
    if first is None:
        return second
    joined = []
    for a, b in zip(first[0], second[0], strict=True):
        layers = {layer: torch.cat([X, b.layers[layer]]) for layer, X in a.layers.items()}
        positions = None
        if a.positions is not None and b.positions is not None:
            width = max(a.positions.shape[1], b.positions.shape[1])
            positions = torch.cat(
                [torch.nn.functional.pad(p, (0, width - p.shape[1])) for p in (a.positions, b.positions)]
            )
        joined.append(replace(a, layers=layers, n_samples=a.n_samples + b.n_samples, positions=positions))
    return [replace(rows, borrowed=frozenset()) for rows in joined], first[1]


def found_in(non_finite: Sequence[NonFinite]) -> Reasons:
    """Return what was found in the layers of each side."""
    return {(side, layer): why for side, bad in enumerate(non_finite) for layer, why in bad.found.items()}
