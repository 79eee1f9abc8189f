# SPDX-License-Identifier: BSD-3-Clause
"""What is known of a loader before it is read: how many samples, in which order; and their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

from ..._arguments import type_name
from .inputs import Ids, Inputs, Reader, SampleId


def check_loader(loader: object, argument: str) -> None:
    """Check that a loader gives batches."""
    if isinstance(loader, torch.Tensor) or hasattr(loader, "__array__"):
        raise TypeError(
            f"{argument} is a single {type_name(loader)}, but an iterable of batches is expected: split it, "
            f"{argument}=tensor.split(64), or wrap one batch, [tensor]"
        )
    if isinstance(loader, Dataset):
        raise TypeError(
            f"{argument} is a data set, which gives single samples: wrap it, "
            f"torch.utils.data.DataLoader({argument}, batch_size=64)"
        )
    if isinstance(loader, Mapping):
        raise TypeError(
            f"{argument} must be an iterable of batches, got {type_name(loader)} with the entries "
            f"{', '.join(map(str, loader))}: several loaders are for compare_loaders, one batch is [batch]"
        )
    if isinstance(loader, list | tuple) and any(isinstance(entry, DataLoader) for entry in loader):
        raise TypeError(
            f"{argument} is a {type_name(loader)} of loaders, but one is expected: compare_loaders takes a "
            f"mapping of names to loaders"
        )
    if not isinstance(loader, Iterable) or isinstance(loader, str | bytes):
        raise TypeError(f"{argument} must be an iterable of batches, got {type_name(loader)}")


def described(loader: Any) -> str:
    """Say what a loader reads, for the provenance of a result."""
    data = getattr(loader, "dataset", loader)
    length = f" of {len(data)}" if is_sized(data) else ""
    what = "samples" if data is not loader else "batches"
    return f"{type(data).__name__}{length} {what}" if length else type(data).__name__


def exact_length(loader: Any) -> int | None:
    """Return the number of samples where the loader knows it."""
    if isinstance(loader, list | tuple):
        lengths = [_length(batch) for batch in loader]
        return None if None in lengths else sum(n for n in lengths if n is not None)
    if not isinstance(loader, DataLoader) or loader.batch_size is None or not is_sized(loader.sampler):
        return None
    n = len(loader.sampler)
    return n - n % loader.batch_size if loader.drop_last else n


def _length(batch: Any) -> int | None:
    """Return the number of samples in a batch whose tensors all have as many; otherwise None."""
    items = (
        batch.values()
        if isinstance(batch, Mapping)
        else batch
        if isinstance(batch, tuple | list)
        else [batch]
    )
    lengths = {len(x) if isinstance(x, torch.Tensor | np.ndarray) and x.ndim else None for x in items}
    return lengths.pop() if len(lengths) == 1 else None


class Extent:
    """How many samples a pass over a loader gives, `most` at most, as far as the loader says."""

    def __init__(self, loader: Any, most: int | None) -> None:
        self.most = most
        self.exact = exact_length(loader)
        self.batches = len(loader) if self.exact is None and is_sized(loader) else None
        # A collate function may leave samples out, or make several of one.
        self.certain = (
            isinstance(loader, list | tuple) or getattr(loader, "collate_fn", None) is default_collate
        )

    def total(self, in_batch: int) -> int | None:
        """Return the samples of the pass: an estimate where the loader knows its batches only."""
        total = self.batches * in_batch if self.batches is not None else self.exact
        return self.most if total is None else min(total, self.most or total)

    def left(self, done: int) -> int | None:
        """Return how many samples are still to come, where that is certain."""
        if self.exact is None or not self.certain or done > self.exact:
            return None
        return min(self.exact, self.most or self.exact) - done


def batches(
    loader: Any, reader: Reader, most: int | None, transform: Callable[[Any], Any] | None = None
) -> Iterator[tuple[Any, Inputs, int]]:
    """Give each batch, its call of the model, and the number of samples up to its end or to `most`.

    No batch is asked for that is not used.
    """
    done = 0
    for k, batch in enumerate(loader):
        try:
            inputs = reader.read(batch if transform is None else transform(batch))
        except (TypeError, ValueError) as error:
            error.add_note(f"batch {k} of the loader")
            raise
        done += inputs.n_samples
        yield batch, inputs, done if most is None else min(done, most)
        if most is not None and done >= most:
            return


def is_sized(value: object) -> bool:
    """Return whether len(value) works; some types define __len__ and raise."""
    try:
        return isinstance(value, Sized) and len(value) >= 0
    except TypeError:  # an iterable data set has the method, and raises
        return False


# ------------------------------------------------------------------------------------------- the order

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


# ------------------------------------------------------------------------------------------- the names


class SampleIds:
    """The names of the samples, from wherever the user says that they are."""

    def __init__(self, ids: Ids, argument: str) -> None:
        self.argument = argument
        self.source = ids
        self.sequence: list[SampleId] | None = None
        if not (ids is None or isinstance(ids, str) or callable(ids)):
            self.sequence = _plain(ids, argument)
            if not self.sequence:
                raise ValueError(f"{argument} is empty")

    def of(self, batch: Any, start: int, n: int) -> list[SampleId] | None:
        """Return the ids of a batch of n samples, the first of which is sample number `start`."""
        if self.source is None:
            return None
        if self.sequence is not None:
            ids = self.sequence[start : start + n]
            if len(ids) < n:
                raise ValueError(
                    f"{self.argument} has {len(self.sequence)} entries, but the loader gave {start + n} "
                    f"samples so far"
                )
            return ids
        if callable(self.source):
            ids = _plain(self.source(batch), self.argument)
        else:
            entries = batch[0] if isinstance(batch, tuple | list) and batch else batch
            if not isinstance(entries, Mapping) or self.source not in entries:
                has = (
                    f"the entries {', '.join(map(str, entries))}"
                    if isinstance(entries, Mapping)
                    else "no names"
                )
                raise ValueError(f"{self.argument}={self.source!r} is not in the batch, which has {has}")
            ids = _plain(entries[self.source], self.argument)
        if len(ids) != n:
            raise ValueError(f"{self.argument} gave {len(ids)} ids for a batch of {n} samples")
        return ids


def _plain(ids: Any, argument: str) -> list[SampleId]:
    items = ids.tolist() if isinstance(ids, torch.Tensor | np.ndarray) else list(ids)
    items = [i.item() if isinstance(i, torch.Tensor | np.generic) else i for i in items]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise TypeError(f"{argument} must be strings or integers, one for each sample, got {item!r}")
    return items
