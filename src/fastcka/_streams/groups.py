# SPDX-License-Identifier: BSD-3-Clause
"""A stream that knows how sure its values are: a state for each of some groups of samples.

All states merged are the stream; all but one are the stream without that group, which is what a jackknife
needs. Those are made by halves: all of the left half begin with the right half merged, and so on. That takes
n log2(n) merges for n groups, not n^2, and log2(n) states beside those of the groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .._groups import FEWEST
from .._pair_inference import PairInference
from .accumulator import Accumulator, Values
from .batches import Batch
from .exact import Exact
from .minibatch import Minibatch


class Inferred(NamedTuple):
    """What a stream says of all pairs, and how many groups the standard errors come from."""

    values: Values
    inference: PairInference
    n_groups: int


class Grouped:
    """Accumulators of one kind, one for each group.

    Without labels, an exact stream deals its samples to the groups in turn, and a stream of mini-batches
    gives each batch to the group with fewest samples. Labels that are equal modulo the number of groups are
    one group.
    """

    def __init__(self, states: Sequence[Exact | Minibatch]) -> None:
        self.states: tuple[Any, ...] = tuple(states)

    @property
    def n_samples(self) -> int:
        return sum(state.n_samples for state in self.states)

    def update(self, batch: Batch) -> None:
        if isinstance(self.states[0], Minibatch):
            self.states[self._group_of(batch)].update(batch)
            return
        self.states[0].check(batch)  # the whole batch, before any of it is added
        count = len(self.states)
        if batch.groups is None:
            before = self.n_samples
            parts: list[Any] = [slice((group - before) % count, None, count) for group in range(count)]
        else:
            labels = batch.groups % count
            parts = [np.flatnonzero(labels == group) for group in range(count)]
        for state, part in zip(self.states, parts, strict=True):
            sides = tuple([X[part] for X in side] for side in batch.sides)
            if len(sides[0][0]):
                state.update(replace(batch, sides=sides))

    def _group_of(self, batch: Batch) -> int:
        """Return the group that a mini-batch belongs to."""
        if batch.groups is None:
            return int(np.argmin([state.n_samples for state in self.states]))
        if len(labels := np.unique(batch.groups)) > 1:
            raise ValueError(
                f"groups: a mini-batch is left out as a whole, so its samples need one label, got "
                f"{labels[:5].tolist()}"
            )
        return int(labels[0] % len(self.states))

    def merge(self, other: Any) -> None:
        for mine, theirs in zip(self.states, other.states, strict=True):
            mine.merge(theirs)

    def inferred(self, *, labelled: bool, two: bool) -> Inferred:
        """Return values and standard errors, and p-values and z-scores unless there are labels."""
        used = [state for state in self.states if state.n_samples]
        n, sizes = self.n_samples, [state.n_samples for state in used]
        if n < FEWEST or n - max(sizes) < 4:
            outside = n - max(sizes, default=0)
            raise ValueError(
                f"inference=True needs at least {FEWEST} samples, 4 of them outside the largest group; this "
                f"stream has seen {n}, {outside} of them outside: give it more with update"
            )
        total = self._merged(used)
        values, known = total.values(), total.above_chance()
        del total  # an exact one is large
        left_out = {id(state): rest.above_chance().unbiased for state, rest in self._all_but_one(used, None)}
        stderr = _standard_errors(known.unbiased, np.array([left_out[id(state)] for state in used]), sizes)
        if not two:  # 1, whatever the samples
            np.fill_diagonal(stderr, np.where(np.isnan(np.diag(known.unbiased)), np.nan, 0.0))
        above = (None, None) if labelled else (known.pvalues, known.zscores)
        inference = PairInference(known.unbiased, stderr, *above).without_diagonal(two=two)
        return Inferred(values, inference, len(used))

    def state(self) -> dict[str, Array]:
        return {
            f"{group}.{name}": array
            for group, state in enumerate(self.states)
            for name, array in state.state().items()
        }

    def _merged(self, states: Sequence[Accumulator], start: Accumulator | None = None) -> Any:
        """Return all of these in one, after what is in `start`."""
        merged = self.states[0].empty()
        for state in states if start is None else (start, *states):
            merged.merge(state)
        return merged

    def _all_but_one(self, states: Sequence[Any], rest: Any) -> Iterator[tuple[Any, Any]]:
        """Yield each state with the merge of all others; `rest` is the merge of those outside `states`."""
        if len(states) == 1:
            yield states[0], rest
            return
        half = len(states) // 2
        for mine, others in ((states[:half], states[half:]), (states[half:], states[:half])):
            yield from self._all_but_one(mine, self._merged(others, rest))


def states_of(saved: dict[str, Array], count: int) -> list[dict[str, Array]]:
    """Return the arrays of each group, from those of `Grouped.state`."""
    states: list[dict[str, Array]] = [{} for _ in range(count)]
    for name, array in saved.items():
        group, _, own = name.partition(".")
        states[int(group)][own] = array
    return states


def _standard_errors(
    value: NDArray[np.float64], left_out: NDArray[np.float64], sizes: Sequence[int]
) -> NDArray[np.float64]:
    """Return the delete-a-group jackknife of Busing et al. 1999; `left_out` has a group on its first axis."""
    h = sum(sizes) / np.array(sizes, dtype=np.float64)[:, None, None]
    deviations = left_out - value
    pseudo = (h - 1) * deviations - ((1 - 1 / h) * deviations).sum(axis=0)
    error: NDArray[np.float64] = np.sqrt((pseudo**2 / (h - 1)).mean(axis=0))
    return error
