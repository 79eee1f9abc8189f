# SPDX-License-Identifier: BSD-3-Clause
"""From a batch to the call of a model: which tensors go in, which positions count, which samples they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch

from ..._arguments import type_name
from .._common import Module, Tensor

_SPECIAL = "special_tokens_mask"  # of tokenisers, with return_special_tokens_mask=True
_NOT_INPUTS = ("ids", _SPECIAL)  # go to a model only where it asks for them
ENCODER = ("attention_mask", "src_key_padding_mask", "key_padding_mask", "memory_key_padding_mask")
DECODER = ("decoder_attention_mask", "tgt_key_padding_mask")
CROSS = ("encoder_attention_mask",)  # of what a model attends to beside its own input
MASKS = (*ENCODER, *DECODER, *CROSS)
SampleId: TypeAlias = str | int
Masks: TypeAlias = dict[str, "Mask"]  # by name in the batch
Ids: TypeAlias = str | Callable[[Any], Any] | Sequence[SampleId] | None


class Mask:
    """Which positions of a batch count: `values` are (n, positions) bool, in CPU memory.

    What poolings need of it is found once a batch, on the CPU, and copied once to each device: a layer costs
    no synchronisation.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._there: dict[tuple[str, Any], Tensor] = {}

    @cached_property
    def whole(self) -> bool:
        """Whether all positions count."""
        return bool(self.values.all())

    @property
    def positions(self) -> int:
        """How many positions there are."""
        return int(self.values.shape[1])

    def check(self) -> None:
        """Refuse a sample of which no position counts."""
        for empty in (~self.values.any(1)).nonzero()[:1, 0].tolist():
            raise ValueError(f"the mask leaves no position of sample {empty} of the batch")

    def on(self, device: Any, what: str = "values") -> Tensor:
        """Return, on a device, `values` or the "counts", "first", "last" or "rows" of what counts."""
        if (what, device) not in self._there:
            self._there[what, device] = getattr(self, what).to(device)
        return self._there[what, device]

    @cached_property
    def counts(self) -> Tensor:
        """How many positions of each sample count."""
        self.check()
        return self.values.sum(1)

    @cached_property
    def first(self) -> Tensor:
        """The first position of each sample that counts."""
        self.check()
        return self.values.int().argmax(1)

    @cached_property
    def last(self) -> Tensor:
        """The last position of each sample that counts."""
        self.check()
        return (self.values * torch.arange(self.positions)).argmax(1)

    @cached_property
    def rows(self) -> Tensor:
        """The places, in (n * positions), of all positions that count."""
        self.check()
        return self.values.flatten().nonzero()[:, 0]


def masks_in(named: Mapping[Any, Any], n: int, more: tuple[str, ...] = ()) -> Masks:
    """Return the masks of the form (n, positions) among named inputs; `more`: names that the user gave."""
    found = {}
    for name in dict.fromkeys((*MASKS, *more)):
        if named.get(name) is not None:
            mask = torch.as_tensor(named[name]).detach().cpu()
            if mask.ndim == 2 and len(mask) == n:
                # Padding masks, as torch has them, are true at padding, or added to the scores: 0 elsewhere.
                found[name] = Mask(mask == 0 if name.endswith("padding_mask") else mask != 0)
    return found


@dataclass(frozen=True)
class Inputs:
    """One call of a model, and the masks in the batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    masks: Masks
    n_samples: int
    named: dict[str, Any]  # the arguments by their names
    again: Callable[[], Inputs]  # reads the batch once more: the model may have written to its inputs
    special: Tensor | None = None  # (n, positions) bool, true at special tokens
    advice: str = ""  # should the model fail


class Reader:
    """Turns the batches of a loader into calls of one model."""

    def __init__(self, model: Module, device: object, masks: tuple[str, ...] = ()) -> None:
        self.device = torch.device(device) if device is not None else device_of(model)
        self.dtype = _half_precision(model)
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
        if isinstance(batch, tuple | list):
            _refuse_texts(batch)
        if isinstance(batch, Mapping):
            named, whole = dict(batch), self._takes_whole(batch)
            args, kwargs = ((batch,), {}) if whole else ((), self._keywords(batch))
        else:
            items = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
            args, kwargs = self._arguments(items), {}
            named = dict(zip(self.positional, args, strict=False))
        entries: Mapping[Any, Any] = dict(enumerate(args)) if args else kwargs
        if isinstance(batch, Mapping) and args:
            entries = named
        n = _n_samples(entries, batch)
        args, kwargs = self._moved(args), self._moved(kwargs)
        names = [*self.positional, *(f"input {k}" for k in range(len(self.positional), len(args)))]
        masks = masks_in(named, n, self.masks)
        found = dict(args[0]) if isinstance(batch, Mapping) and args else dict(zip(names, args, strict=False))
        advice = self._advice(batch) if isinstance(batch, Mapping) and args else ""
        special = named.get(_SPECIAL)
        return Inputs(
            args,
            kwargs,
            masks,
            n,
            {**found, **kwargs},
            lambda: self.read(batch),
            None if special is None else torch.as_tensor(special).detach().cpu() != 0,
            advice,
        )

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
        taken = {
            k: v
            for k, v in batch.items()
            if k in self.keywords or (self.any_keyword and k not in _NOT_INPUTS)
        }
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
            dtype = self.dtype if value.is_floating_point() and self.dtype else value.dtype
            # From pinned memory without waiting.
            at_once = self.device.type == "cuda" and value.is_pinned()
            return value.detach().to(self.device, dtype, copy=True, non_blocking=at_once)
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


def _half_precision(model: Module) -> torch.dtype | None:
    """Return the type of all floating-point parameters of a model, where it is float16 or bfloat16.

    Such a model takes no float32 images.
    """
    found = {p.dtype for p in model.parameters() if p.is_floating_point()}
    return found.pop() if len(found) == 1 and found <= {torch.float16, torch.bfloat16} else None


def _refuse_texts(batch: Sequence[Any]) -> None:
    texts = batch if batch and isinstance(batch[0], str) else batch[0] if batch else ()
    if isinstance(texts, tuple | list) and texts and isinstance(texts[0], str):
        raise TypeError(_TEXTS.format("a batch"))


def _n_samples(entries: Mapping[Any, Any], batch: Any) -> int:
    for value in entries.values():
        if isinstance(value, torch.Tensor | np.ndarray) and value.ndim > 0:
            return len(value)
        if isinstance(value, tuple | list) and value and isinstance(value[0], torch.Tensor | np.ndarray):
            return len(value)  # images of different sizes
    for name, value in entries.items():
        if isinstance(value, tuple | list) and value and isinstance(batch, Mapping):
            if isinstance(value[0], str):
                raise TypeError(_TEXTS.format(f"entry {name!r} of a batch"))
            raise TypeError(
                f"entry {name!r} of a batch is a list of {type_name(value[0])}, and a model takes tensors: "
                f"data sets of Hugging Face give them after dataset.set_format('torch'), tokenisers with "
                f"return_tensors='pt'"
            )
    raise TypeError(
        f"a batch must be a tensor, a tuple that begins with the model's inputs, or a dict of them, with "
        f"the samples along the first dimension; got {type_name(batch)}"
    )


_TEXTS = (
    "{} is a list of texts, and a model takes numbers: let the loader (its collate_fn) give what the "
    "tokeniser of the model makes of them, tokenizer(texts, padding=True, return_tensors='pt')"
)


def parameters_of(model: Module) -> list[inspect.Parameter]:
    """Return what the ``forward`` of a model takes; nothing where it has no readable signature."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return []
