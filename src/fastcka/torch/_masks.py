# SPDX-License-Identifier: BSD-3-Clause
"""Which positions count: the masks among the inputs, and which of them is for which layer.

A model with an encoder and a decoder has two sequences, each with a mask of its own or none. Where a layer
lies says whose positions it has; their number does not, for it may agree by chance.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch

from ._pool import Tensor, Unfit
from ._select import ROOT, Module, split

Masks: TypeAlias = dict[str, Tensor]  # by name in the batch: (n, positions) bool, true where one counts

_ENCODER = ("attention_mask", "src_key_padding_mask", "key_padding_mask", "memory_key_padding_mask")
_DECODER = ("decoder_attention_mask", "tgt_key_padding_mask")
_SINGLE = _ENCODER[:3]  # of a model with one sequence
_CROSS = ("encoder_attention_mask", "memory_key_padding_mask")  # of what such a model attends to, too
NAMES = tuple(dict.fromkeys((*_ENCODER, *_DECODER, *_CROSS)))

_CLASSES = {
    "encoder": (torch.nn.TransformerEncoder, torch.nn.TransformerEncoderLayer),
    "decoder": (torch.nn.TransformerDecoder, torch.nn.TransformerDecoderLayer),
}
_WORDS = re.compile(r"(?<![a-z])(encoder|decoder)s?(?![a-z])")
_ALL = "all"  # positions count
_CROSS_ATTENTION = re.compile(r"cross_?att|enc(oder)?_?(dec(oder)?)?_?att")


def masks_in(named: Mapping[Any, Any], n: int) -> Masks:
    """Return the masks of the form (n, positions) among named inputs."""
    found = {}
    for name in NAMES:
        if named.get(name) is not None:
            mask = torch.as_tensor(named[name]).detach().cpu()
            if mask.ndim == 2 and len(mask) == n:
                # Padding masks, as torch has them, are true at padding, or added to the scores: 0 elsewhere.
                found[name] = mask == 0 if name.endswith("padding_mask") else mask != 0
    return found


class Sides:
    """Whose positions the layers of a model have.

    "encoder", "decoder", or "either" where that is not known. In a model with one sequence it is "", but
    "either" inside of its cross-attention, where keys and values are of another sequence.
    """

    def __init__(self, model: Module, modules: Mapping[str, Module]) -> None:
        root = _by_class(model)
        found = {name: _side(name, modules, root) for name in modules}
        of_module: dict[int, set[str]] = {}
        for name, module in modules.items():
            of_module.setdefault(id(module), set()).add(found[name])
        for name, module in modules.items():
            if len(of_module[id(module)]) > 1:  # shared: embeddings, for example
                found[name] = "either"
        self.sides = found
        self.parameters = {parameter.name for parameter in parameters_of(model)}
        self.names_decoder_inputs = any(name.startswith(("decoder_", "tgt")) for name in self.parameters)
        self.two = self.names_decoder_inputs or _side_by_side(modules)

    def of(self, layer: str) -> str:
        """Return the side of a layer."""
        name, part, _ = split(layer)
        if not self.two:
            return "either" if _in_cross_attention(name) else ""
        if name == ROOT and name not in self.sides:
            return "encoder" if part.startswith("encoder") else "decoder"
        return self.sides.get(name) or _by_name(name)  # hidden states are no modules

    def mask_of(self, layer: str, masks: Masks) -> Tensor | None:
        """Return the mask of a layer; None where all positions count."""
        side = self.of(layer)
        names = self._candidates(side, masks)
        if len(names) > 1:
            advice = "give decoder_attention_mask, or " if side == "decoder" else ""
            raise Unfit(
                f"which of its positions count is not known ({' or '.join(names)}): "
                f"{advice}pool without a mask"
            )
        return masks.get(names[0])  # "all" is none

    def _candidates(self, side: str, masks: Masks) -> list[str]:
        """Return the names of the masks that may be that of a side; "all" for none."""
        encoder, decoder = self._first(_ENCODER, masks), self._first(_DECODER, masks)
        if not self.two:
            encoder, decoder = self._first(_SINGLE, masks), self._first(_CROSS, masks)
        elif side == "decoder" and decoder == _ALL and not self.names_decoder_inputs:
            side = "either"  # attention_mask may be for inputs of the decoder that have another name
        candidates = {"encoder": [encoder], "": [encoder], "decoder": [decoder], "either": [encoder, decoder]}
        return list(dict.fromkeys(candidates[side]))

    def _first(self, names: tuple[str, ...], masks: Masks) -> str:
        given = [name for name in names if name in masks]
        return next((name for name in given if name in self.parameters), given[0] if given else _ALL)


def _side(name: str, modules: Mapping[str, Module], root: str) -> str:
    """Return the side of a module by its name or, where that does not tell, by its class or one around it."""
    if _in_cross_attention(name):
        return "either"
    around = name.split(".")
    classes = [_by_class(modules[".".join(around[: k + 1])]) for k in range(len(around))]
    return next((side for side in (_by_name(name), root, *classes) if side != "either"), "either")


def _by_name(name: str) -> str:
    """Return the side that the outermost part of a name tells which tells one."""
    for part in name.lower().split("."):
        sides = set(_WORDS.findall(part))
        if len(sides) == 1:
            return str(sides.pop())
    return "either"


def _by_class(module: Module) -> str:
    return next((side for side, classes in _CLASSES.items() if isinstance(module, classes)), "either")


def _side_by_side(modules: Mapping[str, Module]) -> bool:
    """Return whether a module has an encoder and a decoder; of language models, heads are called so, too."""
    children: dict[str, set[str]] = {}
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        children.setdefault(parent, set()).update((_by_name(last), _by_class(module)))
    return any({"encoder", "decoder"} <= sides for sides in children.values())


def _in_cross_attention(name: str) -> bool:
    return any(_CROSS_ATTENTION.search(part) for part in name.lower().split(".")[:-1])


def parameters_of(model: Module) -> list[inspect.Parameter]:
    """Return what the ``forward`` of a model takes; nothing where it has no readable signature."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return []
