# SPDX-License-Identifier: BSD-3-Clause
"""The exact value, from sums of products of all features of all pairs of layers; and how large these are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _core
from .._arguments import byte_limit
from .._arrays import Array, both
from .._budget import SMALL
from .._machine import available_bytes, size_in_words
from .._pair_inference import pvalues_by_chi2
from .._pairwise import naming
from ..threads import resolve
from .accumulator import AboveChance, Limits, Values, notes_of
from .batches import Batch, Layout
from .settings import StreamSettings


class Exact:
    """Sums of products of all features of all pairs of layers; see src/cpp/sums/moments.hpp."""

    def __init__(
        self,
        layout: Layout,
        settings: StreamSettings,
        limits: Limits,
        state: dict[str, Array] | None = None,
    ) -> None:
        check_exact_state(layout, limits.max_bytes)
        self._layout, self._settings, self._limits = layout, settings, limits
        shape = (*both(layout.widths), layout.double_precision)
        try:
            saved = None if state is None else {**state, "samples": state["samples"].tolist()}
            self._moments = _core.Moments(*shape, saved)
        except MemoryError:
            size = exact_state_size(layout.widths, layout.double_precision)
            raise _too_large(size, _BEYOND) from None

    @property
    def n_samples(self) -> int:
        return self._moments.n_samples

    def check(self, batch: Batch) -> None:
        """Refuse what `update` would refuse."""
        a, b = both(batch.sides)
        with naming(a, b, self._layout.label):
            self._moments.check(a, b, resolve(self._limits.n_threads))

    def update(self, batch: Batch) -> None:
        a, b = both(batch.sides)
        with naming(a, b, self._layout.label):
            self._moments.update(a, b, resolve(self._limits.n_threads))

    def merge(self, other: Exact) -> None:
        self._moments.merge(other._moments, resolve(self._limits.n_threads))

    def values(self) -> Values:
        result = self._moments.result(self._settings.estimator == "unbiased", resolve(self._limits.n_threads))
        statuses = [result.status_a, result.status_b][: len(self._layout.names)]
        return Values(result.cka, result.chance, tuple(notes_of(statuses)))

    def above_chance(self) -> AboveChance:
        # Under permutation unbiased CKA has mean 0 and variance 2 / (n (n - 3)), whatever the data.
        n, unbiased = self.n_samples, self._moments.result(True, resolve(self._limits.n_threads)).cka
        return AboveChance(unbiased, unbiased * np.sqrt(n * (n - 3) / 2), pvalues_by_chi2(n * unbiased))

    def empty(self) -> Exact:
        return Exact(self._layout, self._settings, self._limits)

    def state(self) -> dict[str, Array]:
        state = self._moments.state(resolve(self._limits.n_threads))
        return {name: np.asarray(value) for name, value in state.items()}


def exact_state_size(
    widths: Sequence[Sequence[int]], double_precision: bool, n_groups: int | None = None
) -> int:
    """Return the bytes of the state of `Exact`, for the widths of one side or two.

    With groups: the states of all groups, and the temporary states that a result merges them into.
    """
    if (features := sum(map(sum, widths))) > 2**29:  # of which more than 2**60 bytes follow
        raise MemoryError(f"no machine holds the exact state of {features} features; {_INSTEAD}")
    states = 1 if n_groups is None else n_groups + (n_groups - 1).bit_length() + 1
    return states * _core.Moments.state_bytes(*both(widths), double_precision)


def check_exact_state(layout: Layout, max_bytes: int | str | None, n_groups: int | None = None) -> None:
    """Refuse a state that is larger than `max_bytes`, or than what this process may still use."""
    size, limit = exact_state_size(layout.widths, layout.double_precision, n_groups), byte_limit(max_bytes)
    if limit and size > limit:
        raise _too_large(size, f"more than max_bytes={limit}")
    if size > 2**47:  # the addresses of a process
        raise _too_large(size, _BEYOND)
    if not limit and size > SMALL and size > (available := available_bytes()):
        raise _too_large(size, f"but this process may use only {size_in_words(available)} more")


def _too_large(size: int, why: str) -> MemoryError:
    return MemoryError(
        f"the exact state of these layers takes {size} bytes ({size / 1e9:.3g} GB), {why}; {_INSTEAD}"
    )


_BEYOND = "more than this process can have"
_INSTEAD = (
    'method="minibatch" keeps a few numbers for each pair of layers; layers saved with create_store can be '
    "compared a few at a time; pooled layers have a smaller state"
)
