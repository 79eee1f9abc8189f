# SPDX-License-Identifier: BSD-3-Clause
"""What a stream keeps of its batches: moments of all pairs of layers, or sums of HSIC of mini-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import Array, byte_limit
from ._batches import Batch, Layout, both
from ._budget import SMALL, within_memory
from ._machine import available_bytes, size_in_words
from ._pair_inference import pvalues_by_chi2
from ._pairwise import check_inputs, naming
from ._settings import Settings
from .kernels import Kernel
from .threads import resolve

WEIGHTS = ("equal", "by_size")


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


def _notes(statuses: Sequence[Sequence[str]]) -> Iterator[LayerNote]:
    """Yield a note for every status but "", which says that all is well."""
    for network, of_layers in enumerate(statuses):
        for layer, status in enumerate(of_layers):
            if status:
                yield LayerNote(network, layer, status)


class Accumulator(Protocol):
    """The two kinds, as streaming.py sees them. A batch that is refused leaves them as they were.

    `_stream_groups.Grouped` is several of one kind.
    """

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


class Exact:
    """Sums of products of all features of all pairs of layers; see src/cpp/sums/moments.hpp."""

    def __init__(
        self, layout: Layout, unbiased: bool, limits: Limits, state: dict[str, Array] | None = None
    ) -> None:
        check_exact_state(layout, limits.max_bytes)
        self._layout, self._unbiased, self._limits = layout, unbiased, limits
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
        result = self._moments.result(self._unbiased, resolve(self._limits.n_threads))
        statuses = [result.status_a, result.status_b][: len(self._layout.names)]
        return Values(result.cka, result.chance, tuple(_notes(statuses)))

    def above_chance(self) -> AboveChance:
        # Under permutation unbiased CKA has mean 0 and variance 2 / (n (n - 3)), whatever the data.
        n, unbiased = self.n_samples, self._moments.result(True, resolve(self._limits.n_threads)).cka
        return AboveChance(unbiased, unbiased * np.sqrt(n * (n - 3) / 2), pvalues_by_chi2(n * unbiased))

    def empty(self) -> Exact:
        return Exact(self._layout, self._unbiased, self._limits)

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


class Minibatch:
    """Sums over batches of unbiased HSIC, of each pair and of each layer with itself."""

    _SUMS = ("hsic", "self_a", "self_b")
    _ADDED = (*_SUMS, "null_variance", "n_samples")

    def __init__(
        self,
        layout: Layout,
        kernel: Kernel,
        weights: str,
        limits: Limits,
        state: dict[str, Array] | None = None,
    ) -> None:
        self._layout, self._kernel, self._weights, self._limits = layout, kernel, weights, limits
        dtype = "float64" if layout.double_precision else "float32"
        self._settings = Settings.checked(kernel, "unbiased", dtype, *limits)
        self._chosen: dict[int, _core.Settings] = {}  # by the number of samples in a batch
        a, b = len(layout.names[0]), len(layout.names[-1])
        if state is None:
            state = {name: np.zeros((a, b)) for name in ("hsic", "null_variance")}
            state["n_samples"] = np.array(0)
            for side, count in (("a", a), ("b", b)):
                state[f"self_{side}"] = np.zeros(count)
                state[f"varies_{side}"] = np.zeros(count, dtype=bool)  # in some batch
                state[f"sound_{side}"] = np.zeros(count, dtype=bool)  # likewise: has a CKA
        self._state = state

    @property
    def n_samples(self) -> int:
        return int(self._state["n_samples"])

    def update(self, batch: Batch) -> None:
        n, layout = batch.n_samples, self._layout
        if n < 4:
            raise ValueError(
                f"this batch has {n} sample{'s' if n > 1 else ''}, but mini-batch CKA needs at least 4 in "
                f"each: leave out a short last batch (drop_last=True of torch loaders), choose another batch "
                f'size, or use method="exact", for which batch sizes do not matter'
            )
        result = self._compared(batch)
        _check_range(result, layout)
        weight = 1.0 if self._weights == "equal" else float(n * (n - 3))
        state = {name: self._state[name] + weight * getattr(result, name) for name in self._SUMS}
        # Of the samples of a batch among themselves; sums of independent batches have the sum of variances.
        variance = 2 / (n * (n - 3)) * np.outer(weight * result.self_a, weight * result.self_b)
        state["null_variance"] = self._state["null_variance"] + variance
        state["n_samples"] = self._state["n_samples"] + n
        for side, statuses in zip("ab", (result.status_a, result.status_b), strict=True):
            status = np.array(statuses) if any(statuses) else np.array("")
            state[f"varies_{side}"] = self._state[f"varies_{side}"] | (status != "constant")
            state[f"sound_{side}"] = self._state[f"sound_{side}"] | (status == "")
        self._state = state

    def _compared(self, batch: Batch) -> _core.Pairwise:
        """Return HSIC of all pairs in a batch. What a batch of this size needs is found once."""
        a, b = both(batch.sides)
        settings = self._settings
        if (n_threads := resolve(self._limits.n_threads)) != settings.n_threads:
            settings = self._settings = replace(settings, n_threads=n_threads)
            self._chosen.clear()
        check_inputs(a, b, self._layout.label, settings)
        if batch.n_samples not in self._chosen:
            self._chosen[batch.n_samples] = within_memory(a, b, settings)
        with naming(a, b, self._layout.label):
            return _core.pairwise(a, b, self._chosen[batch.n_samples], None)

    def merge(self, other: Minibatch) -> None:
        self._state = {
            name: mine + other._state[name] if name in self._ADDED else mine | other._state[name]
            for name, mine in self._state.items()
        }

    def values(self) -> Values:
        statuses = [self._status(side) for side in "ab"]
        roots = [
            np.array([np.nan if why else np.sqrt(total) for why, total in zip(status, totals, strict=True)])
            for status, totals in zip(statuses, (self._state["self_a"], self._state["self_b"]), strict=True)
        ]
        cka = self._state["hsic"] / np.outer(*roots)
        return Values(cka, 0 * cka, tuple(_notes(statuses[: len(self._layout.names)])))

    def above_chance(self) -> AboveChance:
        unbiased, variance = self.values().cka, self._state["null_variance"]
        with np.errstate(divide="ignore", invalid="ignore"):
            zscores = np.where(np.isnan(unbiased), np.nan, self._state["hsic"] / np.sqrt(variance))
        # With batches as with all samples, a sum of weighted (chi-squared_1 - 1), whose tail is
        # below that of a single one, of variance 2, at levels up to 0.05 (Shen et al. 2022).
        return AboveChance(unbiased, zscores, pvalues_by_chi2(np.sqrt(2) * zscores))

    def empty(self) -> Minibatch:
        return Minibatch(self._layout, self._kernel, self._weights, self._limits)

    def _status(self, side: str) -> list[str]:
        """Return the statuses of layers as of now: those of the core, for sums over batches."""
        state = self._state
        totals, varies, sound = (state[f"{name}_{side}"] for name in ("self", "varies", "sound"))
        return [
            "zero_bandwidth"
            if np.isnan(total)  # in one batch, at least
            else "constant"
            if not some_variation
            else ""
            if some_sound and total > 0
            else "nonpositive"
            for total, some_variation, some_sound in zip(totals, varies, sound, strict=True)
        ]

    def state(self) -> dict[str, Array]:
        return self._state


def _check_range(result: _core.Pairwise, layout: Layout) -> None:
    """Refuse a batch whose HSIC, a fourth power of its values, is no float64 though its CKA is."""
    for side, (totals, statuses) in enumerate(
        ((result.self_a, result.status_a), (result.self_b, result.status_b))[: len(layout.names)]
    ):
        if totals.min() > 0 and totals.max() < np.inf:
            continue
        for layer, (total, status) in enumerate(zip(totals, statuses, strict=True)):
            if not status and not 0 < total < np.inf:
                raise ValueError(
                    f"{layout.label(side, layer)}: its HSIC in this batch leaves the range of float64 "
                    f"({total}); multiply the layer by one constant in every batch, which changes no CKA"
                )
