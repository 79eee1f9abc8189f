# SPDX-License-Identifier: BSD-3-Clause
"""From a batch to the call of a model: which tensors go in, which positions count, which samples they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from .._arrays import _type_name
from ._masks import NAMES as MASKS
from ._masks import Masks, masks_in, parameters_of
from ._select import Module

SampleId: TypeAlias = str | int
Ids: TypeAlias = str | Callable[[Any], Any] | Sequence[SampleId] | None


@dataclass(frozen=True)
class Inputs:
    """One call of a model, and the masks in the batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    masks: Masks
    n_samples: int
    named: dict[str, Any]  # the arguments by their names
    advice: str = ""  # should the model fail


class Reader:
    """Turns the batches of a loader into calls of one model."""

    def __init__(self, model: Module, device: object, masks: tuple[str, ...] = ()) -> None:
        self.device = torch.device(device) if device is not None else device_of(model)
        parameters = parameters_of(model)  # without any, a model takes the first tensor
        self.masks = masks  # names that the user gave
        self.name = type(model).__name__
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self.positional = [p.name for p in parameters if p.kind in positional]
        self.required = [p.name for p in parameters if p.kind in positional and p.default is p.empty]
        self.keywords = {p.name for p in parameters if p.kind in (positional[1], p.KEYWORD_ONLY)}
        self.any_keyword = any(p.kind == p.VAR_KEYWORD for p in parameters)

    def read(self, batch: Any) -> Inputs:
        """Return the call for a batch; the tensors are copies, which the model may write to."""
        args: tuple[Any, ...]
        kwargs: dict[str, Any]
        if isinstance(batch, tuple | list) and batch and isinstance(batch[0], Mapping):
            batch = batch[0]  # (dict of inputs, labels)
        if isinstance(batch, Mapping):
            named, whole = dict(batch), self._takes_whole(batch)
            args, kwargs = ((batch,), {}) if whole else ((), self._keywords(batch))
        else:
            items = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
            args, kwargs = self._arguments(items), {}
            named = dict(zip(self.positional, args, strict=False))
        entries = named.values() if isinstance(batch, Mapping) and args else (*args, *kwargs.values())
        n = _n_samples(list(entries), batch)
        args, kwargs = self._moved(args), self._moved(kwargs)
        names = [*self.positional, *(f"input {k}" for k in range(len(self.positional), len(args)))]
        masks = masks_in(named, n, self.masks)
        found = dict(args[0]) if isinstance(batch, Mapping) and args else dict(zip(names, args, strict=False))
        advice = self._advice(batch) if isinstance(batch, Mapping) and args else ""
        return Inputs(args, kwargs, masks, n, {**found, **kwargs}, advice)

    def _arguments(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return as many entries of a tuple as the model requires; labels and the like come after them."""
        needed = max(1, len(self.required))
        if len(items) < needed:
            raise ValueError(
                f"a batch has {len(items)} entries, but {self.name}.forward needs {needed}: "
                f"{', '.join(self.required)}"
            )
        for name, item in list(zip(self.positional, items, strict=False))[needed:]:
            if name in MASKS and np.shape(item) == np.shape(items[0])[:2]:
                raise ValueError(
                    f"a batch is a tuple in which entry {self.positional.index(name)} looks like {name}, but "
                    f"{self.name}.forward requires {needed}, and the rest is taken for labels: let loaders "
                    f"give dicts, {{{self.positional[0]!r}: ..., {name!r}: ...}}"
                )
        return items[:needed]

    def _keywords(self, batch: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the entries of a dict that the model takes."""
        taken = {k: v for k, v in batch.items() if k in self.keywords or (self.any_keyword and k != "ids")}
        missing = [name for name in self.required if name not in taken]
        if missing or not taken:
            raise ValueError(self._advice(batch))
        return taken

    def _takes_whole(self, batch: Mapping[Any, Any]) -> bool:
        """Return whether the only input is the dict itself: the model takes none of its entries."""
        return len(self.required) == 1 and not self.keywords & set(batch)

    def _advice(self, batch: Mapping[Any, Any]) -> str:
        takes = ", ".join(self.positional) or "no named argument"
        return (
            f"{self.name}.forward takes {takes}; a batch has the entries {', '.join(map(str, batch))}: "
            f"name the inputs in the batch as the model does"
        )

    def _moved(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        if isinstance(value, torch.Tensor):
            return value.detach().to(self.device, copy=True)
        if isinstance(value, Mapping):
            return {key: self._moved(item) for key, item in value.items()}
        if isinstance(value, tuple | list):
            return (
                type(value)([self._moved(item) for item in value]) if type(value) in (tuple, list) else value
            )
        return value


def device_of(model: Module) -> Any:
    """Return where the first parameter, or buffer, of a model is."""
    for tensors in (model.parameters(), model.buffers()):
        for tensor in tensors:
            if tensor.device.type != "meta":
                return tensor.device
    return torch.device("cpu")


def _n_samples(values: list[Any], batch: Any) -> int:
    for value in values:
        if isinstance(value, torch.Tensor | np.ndarray) and value.ndim > 0:
            return len(value)
        if isinstance(value, tuple | list) and value and isinstance(value[0], torch.Tensor | np.ndarray):
            return len(value)  # images of different sizes
    raise TypeError(
        f"a batch must be a tensor, a tuple that begins with the model's inputs, or a dict of them, with "
        f"the samples along the first dimension; got {_type_name(batch)}"
    )


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
                raise ValueError(f"{self.argument}={self.source!r} is no entry of a batch, which has {has}")
            ids = _plain(entries[self.source], self.argument)
        if len(ids) != n:
            raise ValueError(f"{self.argument} gave {len(ids)} ids for a batch of {n} samples")
        return ids


def _plain(ids: Any, argument: str) -> list[SampleId]:
    items = ids.tolist() if isinstance(ids, torch.Tensor | np.ndarray) else list(ids)
    items = [i.item() if isinstance(i, torch.Tensor | np.generic) else i for i in items]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise TypeError(f"{argument} must be texts or integers, one for each sample, got {item!r}")
    return items
