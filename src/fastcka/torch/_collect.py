# SPDX-License-Identifier: BSD-3-Clause
"""From the rows of two models, batch by batch, to CKA: which of three ways, and each of them.

A stream of moments takes memory with the square of the features, kept activations with the samples; both are
exact, and the smaller one is taken. Where neither fits, there is the mini-batch estimator.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
import torch

from .._arrays import ESTIMATORS, needs_float64
from .._machine import size_in_words
from .._pairwise import Reasons
from .._plan import plan
from .._settings import Settings as Checked
from ..kernels import Kernel, Linear
from ..results import CKAMatrix
from ..similarity import compare_layers
from ..streaming import Method, StreamingCKA
from ._kept import Kept
from ._pool import Tensor
from ._rows import Rows
from ._types import as_array

Settings = dict[str, Any]  # estimator, dtype, n_threads
Batch = list[dict[str, Tensor]]  # of both models; or empty

_FEWEST = ESTIMATORS["unbiased"]


class Collector(Protocol):
    """Takes batches in, and gives CKA of all of them."""

    words: str

    def add(self, a: Rows, b: Rows, left: int | None) -> None:
        """Take in a batch of both models, after which `left` samples are to come, where that is known."""

    def result(self) -> tuple[CKAMatrix, Reasons]:
        """Return CKA of all batches, and why layers have none."""


def collector(
    method: str, kernel: Kernel, settings: Settings, limit: int, a: Rows, b: Rows, total: int | None
) -> Collector:
    """Choose by the first batch and the number of samples (None where it is not known)."""
    arrays = [as_array(X, layer) for rows in (a, b) for layer, X in rows.layers.items()]
    double = needs_float64(arrays, settings["dtype"])
    given, settings = settings["estimator"], {**settings, "estimator": settings["estimator"] or "biased"}
    if method != "minibatch":
        ways: list[tuple[int, Collector]] = []
        if isinstance(kernel, Linear):
            size = _state_bytes(a, b, "float64" if double else "float32")
            ways.append(
                (size, _Stream("exact", kernel, settings, limit, f"exact, sums of {size_in_words(size)}"))
            )
        if total is not None:
            size = _kept_bytes(a, b, kernel, settings, len(a) * total // a.n_samples)
            words = f"exact, with kept activations, {size_in_words(size)}"
            ways.append((size, _KeptRows(kernel, settings, limit, words)))
        if ways:
            size, way = min(ways, key=lambda sized: sized[0])
            if size <= limit:
                return way
        _refuse_or_warn(method, kernel, given, [size for size, _ in ways], limit)
    if given == "biased":
        raise ValueError('method="minibatch" is for estimator="unbiased" only: leave the estimator out')
    return _Stream("minibatch", kernel, {**settings, "estimator": "unbiased"}, limit, "mini-batch")


def _refuse_or_warn(method: str, kernel: Kernel, estimator: str | None, sizes: list[int], limit: int) -> None:
    need = (
        f"exact CKA would take {size_in_words(min(sizes))} ({min(sizes)} bytes), "
        f"more than {size_in_words(limit)}"
        if sizes
        else f"exact CKA with {kernel} keeps all activations, and the loader does not say how many there are"
    )
    if method == "exact" or estimator == "biased":
        rest = "" if estimator != "biased" else " (mini-batch CKA is always unbiased)"
        raise MemoryError(
            f"{need}{rest}: pool, choose fewer layers, raise max_bytes or give max_samples; or extract into "
            f"a store (out=) and use cka_matrix"
        )
    changed = (
        "mini-batch CKA" if estimator else "mini-batch CKA with the unbiased estimator, not the biased one,"
    )
    warnings.warn(
        f'{need}: {changed} instead (the result says method="minibatch"). To have it exact, pool, take '
        f"fewer layers, raise max_bytes or give max_samples",
        UserWarning,
        stacklevel=4,
    )


def _state_bytes(a: Rows, b: Rows, dtype: str) -> int:
    widths = [[X.shape[1] for X in rows.layers.values()] for rows in (a, b)]
    try:
        return int(StreamingCKA.state_bytes(*widths, dtype=dtype))
    except MemoryError:  # more than any machine has
        return 2**63


def _kept_bytes(a: Rows, b: Rows, kernel: Kernel, settings: Settings, n_rows: int) -> int:
    """Return what kept activations and their comparison take."""
    sides = [[_like(X, max(n_rows, 2)) for X in rows.layers.values()] for rows in (a, b)]
    kept: int = sum(len(X) * X.shape[1] * X.itemsize for side in sides for X in side)
    work = plan(*sides, kernel=kernel, dtype=settings["dtype"], n_threads=settings["n_threads"])
    return kept + int(work.bytes)


def _like(X: Tensor, n_rows: int) -> np.ndarray[Any, Any]:
    """Return an array of n rows like X that takes no memory."""
    first = as_array(X[:1].float() if X.dtype == torch.bfloat16 else X[:1], "")
    return np.broadcast_to(first, (n_rows, first.shape[1]))


class _KeptRows:
    """Keeps all activations, and compares them at the end."""

    def __init__(self, kernel: Kernel, settings: Settings, limit: int, words: str) -> None:
        self.kernel, self.settings, self.words = kernel, settings, words
        self.sides = Kept(limit), Kept(limit)

    def add(self, a: Rows, b: Rows, left: int | None) -> None:
        for side, rows in zip(self.sides, (a, b), strict=True):
            side.add(rows, None)

    def result(self) -> tuple[CKAMatrix, Reasons]:
        a, b = (side.joined() for side in self.sides)
        chosen = Checked.checked(self.kernel, **self.settings, max_bytes=None)
        return compare_layers(a, b, chosen)


class _Stream:
    """Takes batches into a StreamingCKA.

    A mini-batch of fewer than 4 samples has no unbiased HSIC: it is joined with those that follow, until they
    are enough, and at the end with the batch before. A batch waits for the next one, unless it is known that
    such an end is not to come.
    """

    def __init__(self, method: Method, kernel: Kernel, settings: Settings, limit: int, words: str) -> None:
        self.whole = method == "minibatch"  # nothing grows with the batches, so there is no limit to obey
        self.stream = StreamingCKA(method, kernel, **settings, max_bytes=None if self.whole else limit)
        self.words = words
        self.waiting: Batch = []
        self.small: Batch = []  # after the one that waits

    def add(self, a: Rows, b: Rows, left: int | None) -> None:
        batch: Batch = [a.layers, b.layers]
        if not self.whole:
            self.stream.update(*batch)
            return
        batch, self.small = _joined(self.small, batch), []
        if _length(batch) < _FEWEST:
            self.small = batch
            return
        self._take(self.waiting)
        self.waiting = batch
        if left is not None and (left == 0 or left >= _FEWEST):
            self._take(self.waiting)
            self.waiting = []

    def result(self) -> tuple[CKAMatrix, Reasons]:
        self._take(_joined(self.waiting, self.small))
        return self.stream._compared()

    def _take(self, batch: Batch) -> None:
        if batch:
            self.stream.update(*batch)


def _length(batch: Batch) -> int:
    return len(next(iter(batch[0].values())))


def _joined(first: Batch, second: Batch) -> Batch:
    """Return two batches as one; either may be empty."""
    if not first or not second:
        return first or second
    return [
        {layer: torch.cat([X, others[layer]]) for layer, X in side.items()}
        for side, others in zip(first, second, strict=True)
    ]
