# SPDX-License-Identifier: BSD-3-Clause
"""In which order a loader gives its samples, as far as its sampler tells, and whether it does so again.

What is not known of a sampler is tried out: a copy of it draws its indices a few times. No sample is loaded,
and the sampler and the random states are as before.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from ._loaders import is_sized
from ._state import random_states

_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
_MOST = 1_000_000  # indices of a sampler without a length, which may have no end


@dataclass(frozen=True)
class Order:
    """The `indices` of the samples, where they are known; `change` says why another pass may differ."""

    indices: list[Any] | None = None
    change: str = ""

    def contradicts(self, other: Order) -> bool:
        """Return whether the same indices come in another order."""
        a, b = self.indices, other.indices
        return a is not None and b is not None and a != b and Counter(a) == Counter(b)


def order_of(loader: Any) -> Order:
    """Return the order of a loader; of one without a sampler, nothing is known."""
    sampler = _deciding(loader)
    if sampler is None:
        return Order()
    if isinstance(sampler, _SHUFFLING) or getattr(sampler, "shuffle", False):
        return Order(change="is shuffled")
    has = f"has a sampler, {type(sampler).__name__},"
    try:
        with random_states(loader):
            passes = list(_passes(sampler, loader))
    except Exception as error:  # whatever foreign code raises
        if getattr(sampler, "shuffle", True) is False:
            return Order()  # it says that it has one order, if not which
        return Order(change=f"{has} whose order is not known ({type(error).__name__}: {error})")
    if any(indices != passes[0] for indices in passes):
        return Order(change=f"{has} that gives another order each time")
    return Order(indices=passes[0])


def _deciding(loader: Any) -> Any:
    """Return the sampler, of indices or of batches of them, that decides on the order, or None."""
    if isinstance(getattr(loader, "dataset", None), IterableDataset):
        return None
    sampler = getattr(loader, "batch_sampler", None)
    if sampler is None or type(sampler) is BatchSampler:
        sampler = getattr(loader if sampler is None else sampler, "sampler", None)
    return sampler


def _passes(sampler: Any, loader: Any) -> Iterator[list[Any]]:
    """Give the indices of several passes: of many where there are few, which may agree by chance."""
    fixed = type(sampler) in (SequentialSampler, list, tuple, range, torch.Tensor)
    if not fixed:
        owners = [getattr(x, "__dict__", {}) for x in (loader, sampler, getattr(sampler, "sampler", None))]
        shared = [owner[key] for owner in owners for key in ("dataset", "data_source") if key in owner]
        sampler = copy.deepcopy(sampler, {id(x): x for x in shared})
    first = _drawn(sampler)
    yield first
    for _ in range(0 if fixed else 10 if len(first) < 1000 else 1):
        yield _drawn(sampler)


def _drawn(sampler: Any) -> list[Any]:
    if is_sized(sampler):
        return list(_indices(islice(sampler, len(sampler))))
    return list(islice(_indices(sampler), _MOST))


def _indices(found: Iterable[Any]) -> Iterator[Any]:
    for item in found:
        plain = item.tolist() if isinstance(item, torch.Tensor | np.ndarray) else item
        if isinstance(plain, Iterable) and not isinstance(plain, str):
            yield from _indices(plain)  # a batch
        else:
            yield plain
