# SPDX-License-Identifier: BSD-3-Clause
"""Which positions count: the masks among the inputs, and which of them is for which layer.

A mask belongs to an input of the model: ``decoder_attention_mask`` to those called ``decoder_...``,
``attention_mask`` to the others that have as many positions. A layer has the mask of the input from which its
positions come. ``mask=`` says otherwise.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch

from ._axes import Axes
from ._pool import Tensor, Unfit
from ._select import Module, Pattern, patterns, split

Masks: TypeAlias = dict[str, Tensor]  # by name in the batch: (n, positions) bool, true where one counts
MaskLike: TypeAlias = Mapping[str, str | None] | None

_ENCODER = ("attention_mask", "src_key_padding_mask", "key_padding_mask", "memory_key_padding_mask")
_DECODER = ("decoder_attention_mask", "tgt_key_padding_mask")
_CROSS = ("encoder_attention_mask",)  # of what a model attends to beside its own input
NAMES = (*_ENCODER, *_DECODER, *_CROSS)
_TARGETS = ("decoder_", "tgt")  # inputs of a decoder begin so


def masks_in(named: Mapping[Any, Any], n: int, more: tuple[str, ...] = ()) -> Masks:
    """Return the masks of the form (n, positions) among named inputs; `more`: names that the user gave."""
    found = {}
    for name in dict.fromkeys((*NAMES, *more)):
        if named.get(name) is not None:
            mask = torch.as_tensor(named[name]).detach().cpu()
            if mask.ndim == 2 and len(mask) == n:
                # Padding masks, as torch has them, are true at padding, or added to the scores: 0 elsewhere.
                found[name] = mask == 0 if name.endswith("padding_mask") else mask != 0
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

    def of(self, layer: str, axes: Axes, inputs: Mapping[str, Any], masks: Masks) -> Tensor | None:
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

    def _by_source(self, axes: Axes, inputs: Mapping[str, Any], masks: Masks) -> Tensor | None:
        source = axes.source or self._only(inputs)
        if not source:
            relevant = [key for key in masks if not masks[key].all() and key not in _CROSS]
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
        if isinstance(value, torch.Tensor) and mask.shape[1] not in value.shape[1:]:
            return None  # the mask of another input
        if axes.moved and not mask.all():
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


_BESIDE = ("labels", "token_type_ids", "position_ids")  # describe the positions of input_ids


def parameters_of(model: Module) -> list[inspect.Parameter]:
    """Return what the ``forward`` of a model takes; nothing where it has no readable signature."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return []
