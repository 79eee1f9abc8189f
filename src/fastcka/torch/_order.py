# SPDX-License-Identifier: BSD-3-Clause
"""Whether a loader gives its samples in the same order each time, as far as its sampler says."""

from __future__ import annotations

from typing import Any

from torch.utils.data import (
    BatchSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def is_shuffled(loader: Any) -> bool:
    """Return whether a loader is known to shuffle."""
    samplers = _samplers(loader)
    return any(isinstance(s, _SHUFFLING) or getattr(s, "shuffle", False) is True for s in samplers)


def unsure(loader: Any) -> str:
    """Say why another pass, or another loader, may give the samples in another order; "" if it will not.

    Of a loader without a sampler nothing is known: its order is the caller's to keep.
    """
    if is_shuffled(loader):
        return "is shuffled"
    samplers = _samplers(loader)
    if not samplers or any(getattr(s, "shuffle", None) is False for s in samplers):
        return ""
    if type(samplers[-1]) is SequentialSampler and all(type(s) is BatchSampler for s in samplers[:-1]):
        return ""
    return f"has a sampler, {type(samplers[0]).__name__}, whose order is not known"


def refuse_shuffled(loader: Any) -> None:
    """Refuse to extract in an order that nothing records."""
    if is_shuffled(loader):
        raise ValueError(
            "loader is shuffled, and without ids its samples cannot be told apart afterwards: use "
            "shuffle=False, or name the samples with ids="
        )


def _samplers(loader: Any) -> list[Any]:
    """Return the samplers that decide on the order, the outermost first."""
    if isinstance(getattr(loader, "dataset", None), IterableDataset):
        return []
    sampler = getattr(loader, "batch_sampler", None)
    if sampler is None:
        sampler = getattr(loader, "sampler", None)
    found: list[Any] = []
    while sampler is not None and len(found) < 10:
        found.append(sampler)
        sampler = getattr(sampler, "sampler", None)
    if len(found) > 1 and type(found[0]) is BatchSampler:  # it has no order of its own
        found = found[1:]
    return found
