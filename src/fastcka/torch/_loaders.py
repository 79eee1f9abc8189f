# SPDX-License-Identifier: BSD-3-Clause
"""What can be known of a loader before it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from .._arrays import _type_name
from ._inputs import Inputs, Reader


def check_loader(loader: object, argument: str) -> None:
    """Check that a loader gives batches."""
    if isinstance(loader, torch.Tensor) or hasattr(loader, "__array__"):
        raise TypeError(
            f"{argument} is a single {_type_name(loader)}, but an iterable of batches is expected: split it, "
            f"{argument}=tensor.split(64), or wrap one batch, [tensor]"
        )
    if isinstance(loader, Dataset):
        raise TypeError(
            f"{argument} is a data set, which gives single samples: wrap it, "
            f"torch.utils.data.DataLoader({argument}, batch_size=64)"
        )
    if not isinstance(loader, Iterable) or isinstance(loader, str | bytes | dict):
        raise TypeError(f"{argument} must be an iterable of batches, got {_type_name(loader)}")


def exact_length(loader: Any) -> int | None:
    """Return the number of samples where the loader knows it."""
    if not isinstance(loader, DataLoader) or loader.batch_size is None or not is_sized(loader.sampler):
        return None
    n = len(loader.sampler)
    return n - n % loader.batch_size if loader.drop_last else n


def total_samples(loader: Any, in_batch: int, most: int | None) -> int | None:
    """Return how many samples a pass will give, `most` at most, where the loader has a length.

    It is an estimate where the loader knows its batches only, and this one has `in_batch` samples.
    """
    total = exact_length(loader)
    if total is None and is_sized(loader):
        total = len(loader) * in_batch
    return most if total is None else min(total, most or total)


def samples_left(loader: Any, done: int, most: int | None) -> int | None:
    """Return how many samples a pass will still give, up to `most` in all, where that is certain.

    A collate function may leave samples out, or make several of one.
    """
    total = exact_length(loader)
    if total is None or loader.collate_fn is not default_collate or done > total:
        return None
    return min(total, most or total) - done


def batches(loader: Any, reader: Reader, most: int | None) -> Iterator[tuple[Any, Inputs, int]]:
    """Give each batch, its call of the model, and the number of samples up to its end or to `most`.

    No batch is asked for that is not used.
    """
    done = 0
    for k, batch in enumerate(loader):
        try:
            inputs = reader.read(batch)
        except (TypeError, ValueError) as error:
            error.add_note(f"batch {k} of the loader")
            raise
        done += inputs.n_samples
        yield batch, inputs, done if most is None else min(done, most)
        if most is not None and done >= most:
            return


def is_sized(value: object) -> bool:
    """Return whether a value has a length, which not all do that have the method."""
    try:
        return isinstance(value, Sized) and len(value) >= 0
    except TypeError:  # an iterable data set has the method, and raises
        return False
