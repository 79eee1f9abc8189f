# SPDX-License-Identifier: BSD-3-Clause
"""Which positions count: the padding masks among the inputs, and the mask of each layer.

A mask belongs to an input of the model: ``decoder_attention_mask`` to those called ``decoder_...``,
``attention_mask`` to the others that have as many positions. A layer has the mask of the input from which its
positions come. ``mask=`` says otherwise.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from .._arrays import positive_integer
from ._axes import Axes
from ._common import Module, Tensor, Unfit
from ._select import Pattern, patterns, split

if TYPE_CHECKING:
    from ._inputs import Inputs

Masks: TypeAlias = dict[str, "Mask"]  # by name in the batch
MaskLike: TypeAlias = Mapping[str, str | None] | None

_ENCODER = ("attention_mask", "src_key_padding_mask", "key_padding_mask", "memory_key_padding_mask")
_DECODER = ("decoder_attention_mask", "tgt_key_padding_mask")
_CROSS = ("encoder_attention_mask",)  # of what a model attends to beside its own input
NAMES = (*_ENCODER, *_DECODER, *_CROSS)
_TARGETS = ("decoder_", "tgt")  # inputs of a decoder begin so


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
    for name in dict.fromkeys((*NAMES, *more)):
        if named.get(name) is not None:
            mask = torch.as_tensor(named[name]).detach().cpu()
            if mask.ndim == 2 and len(mask) == n:
                # Padding masks, as torch has them, are true at padding, or added to the scores: 0 elsewhere.
                found[name] = Mask(mask == 0 if name.endswith("padding_mask") else mask != 0)
    return found


class MaskChoice:
    """Which mask of a batch is for a layer of one model."""

    def __init__(self, model: Module, mask: MaskLike, argument: str) -> None:
        self.argument = argument
        if not isinstance(mask, Mapping | None):
            raise TypeError(
                f"{argument} must be a mapping of patterns of layers to entries of the batch, or None"
            )
        self.entries: list[tuple[Pattern, str | None]] = [
            (pattern, key) for text, key in (mask or {}).items() for pattern in patterns(text, argument)
        ]
        self.keys = tuple(key for _, key in self.entries if key is not None)
        self.parameters = {parameter.name for parameter in parameters_of(model)}
        self.two = any(name.startswith(_TARGETS) for name in self.parameters)

    def of(self, layer: str, axes: Axes, inputs: Mapping[str, Any], masks: Masks) -> Mask | None:
        """Return the mask of a layer of a batch; None where all positions count."""
        for pattern, key in self.entries:
            if pattern.matches(layer) or pattern.matches(split(layer)[0]):
                if key is not None and key not in masks:
                    raise ValueError(
                        f"{self.argument}: a batch has no mask {key!r} of the form (n, positions), for layer "
                        f"{layer!r}"
                    )
                return None if key is None else masks[key]
        return self._by_source(axes, inputs, masks)

    def side(self, axes: Axes) -> str:
        """Return "encoder" or "decoder" in a model whose inputs tell them apart, "" in others."""
        if not self.two:
            return ""
        return "decoder" if self._in_decoder(axes.source) else "encoder" if axes.source else "either"

    def _in_decoder(self, source: str) -> bool:
        return source.startswith(_TARGETS) or (source == "labels" and self.two)

    def _by_source(self, axes: Axes, inputs: Mapping[str, Any], masks: Masks) -> Mask | None:
        source = axes.source or self._only(inputs)
        if not source:
            relevant = [key for key in masks if not masks[key].whole and key not in _CROSS]
            if relevant:
                raise Unfit(
                    f"from which input its positions come is not known, nor whether "
                    f"{' or '.join(relevant)} is for them: say so with {self.argument}="
                )
            return None
        names = _DECODER if self._in_decoder(source) else _ENCODER
        given = [name for name in names if name in masks]
        name = next((name for name in given if name in self.parameters), given[0] if given else None)
        if name is None or source.startswith("pixel_"):
            return None
        mask = masks[name]
        value = inputs.get(source)
        if isinstance(value, torch.Tensor) and mask.positions not in value.shape[1:]:
            return None  # the mask of another input
        if axes.moved and not mask.whole:
            raise Unfit(
                f"its positions are no longer those of {source}, so that {name} does not tell which count: "
                f"give a mask for it and name it with {self.argument}="
            )
        return None if axes.moved else mask

    def _only(self, inputs: Mapping[str, Any]) -> str:
        """Return the name of the only input that has positions, if there is but one."""
        names = [
            name
            for name, value in inputs.items()
            if isinstance(value, torch.Tensor)
            and value.ndim > 1
            and name not in (*NAMES, *_BESIDE, *self.keys)
        ]
        return names[0] if len(names) == 1 else ""


class TokenChoice:
    """Which positions become rows, where positions are the samples.

    Those that count; of them not the special tokens, where the batch has a ``special_tokens_mask``; and of a
    sample at most as many as asked for, drawn by its number: the same for all layers, models and runs.
    """

    def __init__(self, most: int | None) -> None:
        self.most = None if most is None else positive_integer(most, "max_tokens")

    def of(self, mask: Mask | None, count: int, inputs: Inputs, start: int) -> Mask:
        """Return the positions of a batch, the first sample of which is number `start`."""
        special = inputs.special
        if self.most is None and special is None and mask is not None:
            return mask
        chosen = (
            torch.ones(inputs.n_samples, count, dtype=torch.bool) if mask is None else mask.values.clone()
        )
        if special is not None and special.shape == chosen.shape:
            chosen &= ~special
        if self.most is not None:
            for i, row in enumerate(chosen):
                places = row.nonzero()[:, 0].numpy()
                drawn = np.random.default_rng(start + i).permutation(places)[: self.most]
                row.zero_()[torch.from_numpy(drawn)] = True
        return Mask(chosen)


_BESIDE = ("labels", "token_type_ids", "position_ids")  # describe the positions of input_ids


def parameters_of(model: Module) -> list[inspect.Parameter]:
    """Return what the ``forward`` of a model takes; nothing where it has no readable signature."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return []
