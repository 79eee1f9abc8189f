# SPDX-License-Identifier: BSD-3-Clause
"""Which positions count: the padding masks among the inputs, and the mask of each layer.

A mask belongs to an input of the model: ``decoder_attention_mask`` to those called ``decoder_...``,
``attention_mask`` to the others that have as many positions. A layer has the mask of the input from which its
positions come. ``mask=`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch

from ..._arguments import positive_integer
from .._common import Module, Unfit
from ..data.inputs import CROSS, DECODER, ENCODER, MASKS, Inputs, Mask, Masks, parameters_of
from .axes import Axes
from .selection import Pattern, patterns, split

MaskLike: TypeAlias = Mapping[str, str | None] | None

_TARGETS = ("decoder_", "tgt")  # inputs of a decoder begin so


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
            relevant = [key for key in masks if not masks[key].whole and key not in CROSS]
            if relevant:
                raise Unfit(
                    f"it is not known from which input its positions come, nor whether "
                    f"{' or '.join(relevant)} applies to them: set {self.argument}="
                )
            return None
        names = DECODER if self._in_decoder(source) else ENCODER
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
            and name not in (*MASKS, *_BESIDE, *self.keys)
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
