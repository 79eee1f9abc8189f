# SPDX-License-Identifier: BSD-3-Clause
"""The mini-batch estimator of Nguyen et al. 2020, from sums of unbiased HSIC within batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import _core
from .._arrays import Array, both
from .._budget import within_memory
from .._pair_inference import pvalues_by_chi2
from .._pairwise import check_inputs, naming
from .._settings import Settings
from ..threads import resolve
from .accumulator import AboveChance, Limits, Values, notes_of
from .batches import Batch, Layout
from .settings import StreamSettings


class Minibatch:
    """Sums over batches of unbiased HSIC, of each pair and of each layer with itself."""

    _SUMS = ("hsic", "self_a", "self_b")
    _ADDED = (*_SUMS, "null_variance", "n_samples")

    def __init__(
        self,
        layout: Layout,
        settings: StreamSettings,
        limits: Limits,
        state: dict[str, Array] | None = None,
    ) -> None:
        self._layout, self._settings, self._limits = layout, settings, limits
        self._of_batch = Settings.checked(settings.kernel, "unbiased", layout.arithmetic, *limits)
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
        weight = 1.0 if self._settings.weights == "equal" else float(n * (n - 3))
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
        settings = self._of_batch
        if (n_threads := resolve(self._limits.n_threads)) != settings.n_threads:
            settings = self._of_batch = replace(settings, n_threads=n_threads)
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
        return Values(cka, 0 * cka, tuple(notes_of(statuses[: len(self._layout.names)])))

    def above_chance(self) -> AboveChance:
        unbiased, variance = self.values().cka, self._state["null_variance"]
        with np.errstate(divide="ignore", invalid="ignore"):
            zscores = np.where(np.isnan(unbiased), np.nan, self._state["hsic"] / np.sqrt(variance))
        # With batches as with all samples, a sum of weighted (chi-squared_1 - 1), whose tail is
        # below that of a single one, of variance 2, at levels up to 0.05 (Shen et al. 2022).
        return AboveChance(unbiased, zscores, pvalues_by_chi2(np.sqrt(2) * zscores))

    def empty(self) -> Minibatch:
        return Minibatch(self._layout, self._settings, self._limits)

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
    """Refuse a batch whose HSIC, a fourth power of its values, overflows float64 though its CKA does not."""
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
