# SPDX-License-Identifier: BSD-3-Clause
"""Choose layers, by name, glob, regular expression or module type.

A layer is written ``name``, ``name:part`` or ``name#call``: the output of a module, a further tensor of an
output that has several, and one call of a module that is called several times for a batch. A pattern without
``:`` and ``#`` chooses the first tensor of the last call.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch

from ..._arguments import type_name
from .._common import Module

LayersLike: TypeAlias = str | type | Sequence[str | type]

ROOT = "output"  # the layer name of what the whole model returns
COMPILED = "_orig_mod"  # what is inside of the wrapper of torch.compile
INPUT = ":input"  # layers of this part are what a module is given
HIDDEN = "hidden_states"  # layers of this name are entries of that tuple in what the whole model returns


@dataclass(frozen=True)
class Pattern:
    """One way to say which layers: `text` for names, or a module type."""

    text: str
    kind: type | None = None

    @cached_property
    def exact(self) -> bool:
        """Whether it can name one layer only."""
        return self.kind is None and not self.text.startswith("re:") and not set("*?[") & set(self.text)

    def has(self, mark: str) -> bool:
        """Whether the pattern speaks of parts (":") or calls ("#")."""
        return mark in self.text.removeprefix("re:").replace("(?:", "") and self.kind is None

    def matches(self, layer: str) -> bool:
        """Whether it chooses this layer, written with or without part and call."""
        _, part, call = split(layer)
        if (bool(part) and not self.has(":")) or (bool(call) != self.has("#")):
            return False
        if self.exact:
            return self.text == layer
        if self.text.startswith("re:"):
            return re.fullmatch(self.text[3:], layer) is not None
        return fnmatch.fnmatchcase(layer, self.text)

    def may_match(self, name: str, module: Module) -> bool:
        """Whether it can choose an output of this module."""
        if self.kind is not None:
            return isinstance(module, self.kind)
        if self.text.startswith("re:") and (self.has(":") or self.has("#")):
            return True  # seen when the module runs
        if self.text.startswith("re:"):
            return self.matches(name)
        base = split(self.text)[0]
        return base == name if self.exact else Pattern(base).matches(name)


def split(layer: str) -> tuple[str, str, str]:
    """Return name, part and call of ``name:part#call``; "" for what is not there."""
    head, _, call = layer.partition("#")
    name, _, part = head.partition(":")
    return name, part, call


def patterns(layers: object, argument: str) -> tuple[Pattern, ...]:
    """Read what a user wrote to choose layers."""
    items: Iterable[object]
    items = [layers] if isinstance(layers, str | type) else layers if isinstance(layers, Iterable) else ()
    if isinstance(layers, Mapping | torch.nn.Module) or not (
        found := tuple(_pattern(i, argument) for i in items)
    ):
        given = layers if isinstance(layers, list | tuple) else type_name(layers)
        raise TypeError(
            f"{argument} must be a layer name, a glob such as 'encoder.*', 're:' and a regular expression, a "
            f"module type, or a list of these, got {given}"
        )
    return found


def _pattern(item: object, argument: str) -> Pattern:
    if isinstance(item, type) and issubclass(item, torch.nn.Module):
        return Pattern(item.__name__, item)
    if not isinstance(item, str):
        raise TypeError(f"{argument} has an entry that is neither a name nor a module type: {item!r}")
    if item.startswith("re:"):
        try:
            re.compile(item[3:])
        except re.error as error:
            raise ValueError(f"{argument}: {item!r} is not a regular expression: {error}") from None
    return Pattern(item)


def plain_name(name: str) -> str:
    """Return a name without what torch.compile puts into it: a module and its wrapper have the same."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


class Selection:
    """The modules to watch, and which of their outputs to record."""

    def __init__(self, model: Module, layers: LayersLike, argument: str) -> None:
        self.argument = argument
        self.patterns = patterns(layers, argument)
        self._choosers: dict[str, list[Pattern]] = {}
        self._hidden: dict[str, list[Pattern]] = {}
        # A module that is registered under several names runs as one; all names may be asked for.
        found = model.named_modules(remove_duplicate=False)
        self.all_modules: dict[str, Module] = {plain_name(name): module for name, module in found}
        del self.all_modules[""]
        self.alone = not self.all_modules  # a model without children is its own only layer
        self.modules: dict[str, Module] = {}
        self.aliases: dict[str, str] = {}
        self.scripted: list[str] = []
        named = {split(pattern.text)[0] for pattern in self.patterns if pattern.exact}
        self._by_name = {pattern.text: pattern for pattern in self.patterns if pattern.exact}
        self._broad = [pattern for pattern in self.patterns if not pattern.exact]
        names: dict[int, str] = {}
        for name, module in self.all_modules.items():
            if name in named or any(pattern.may_match(name, module) for pattern in self._broad):
                if isinstance(module, torch.jit.ScriptModule):  # it refuses hooks
                    self.scripted.append(name)
                elif id(module) in names:
                    self.aliases[name] = names[id(module)]
                else:
                    self.modules[name] = module
                    names[id(module)] = name
        self.of_type = [
            {
                name
                for name, module in self.modules.items()
                if pattern.kind and isinstance(module, pattern.kind)
            }
            for pattern in self._broad
        ]
        if self.alone:
            self.of_type = [
                {ROOT} if pattern.kind and isinstance(model, pattern.kind) else set()
                for pattern in self._broad
            ]

    def choosers(self, layer: str) -> list[Pattern]:
        """Return the patterns that choose this layer of a module or, for ROOT, of the whole model."""
        if layer not in self._choosers:  # asked for each layer of each batch
            self._choosers[layer] = self._choosing(layer)
        return self._choosers[layer]

    def _choosing(self, layer: str) -> list[Pattern]:
        if layer in self._by_name:
            return [self._by_name[layer], *self._broadly(layer)]
        return self._broadly(layer)

    def _broadly(self, layer: str) -> list[Pattern]:
        name = split(layer)[0]
        root = name == ROOT and ROOT not in self.all_modules and not self.alone
        return [
            pattern
            for pattern, of_type in zip(self._broad, self.of_type, strict=True)
            if layer in of_type
            or (pattern.kind is None and pattern.matches(layer) and (not root or _names_root(pattern)))
        ]

    def hidden_state(self, layer: str) -> list[Pattern]:
        """Return the patterns that choose an entry of the hidden states, by its short or its full name."""
        if layer not in self._hidden:
            full = f"{HIDDEN}.{layer}"
            named = (self._by_name.get(text) for text in (HIDDEN, layer, full))
            broad = (p for p in self._broad if p.kind is None and (p.matches(full) or p.matches(layer)))
            self._hidden[layer] = [*(p for p in named if p is not None), *broad]
        return self._hidden[layer]

    @property
    def asks_for_inputs(self) -> bool:
        """Whether a pattern speaks of what modules are given."""
        return any(pattern.kind is None and INPUT in pattern.text for pattern in self.patterns)

    @property
    def asks_for_hidden_states(self) -> bool:
        """Whether a pattern speaks of hidden states, which models return on request only."""
        return any(pattern.kind is None and HIDDEN in pattern.text for pattern in self.patterns)

    def unmatched(self, pattern: Pattern, others: Iterable[str]) -> ValueError:
        """Return the error for a pattern that chose nothing; `others`: layers known beside the modules."""
        if pattern.kind is not None:
            kinds = sorted({type(module).__name__ for module in self.all_modules.values()})
            return ValueError(
                f"{self.argument}: the model has no module of type {pattern.text}; it has {', '.join(kinds)}"
            )
        names = list(dict.fromkeys([*self.all_modules, *others]))
        near = difflib.get_close_matches(pattern.text.removeprefix("re:"), names, n=5)
        word = max(re.split(r"[^A-Za-z]+", pattern.text.removeprefix("re:")), key=len)
        near += [name for name in names if word and word in name and name not in near][: 5 - len(near)]
        listed = [name for name in names if name in near] or names[:10]  # in the order of the model
        more = "" if near or len(names) <= 10 else f", ... ({len(names)} in all)"
        return ValueError(
            f"{self.argument}: no layer fits {pattern.text!r}; "
            f"{'near matches' if near else 'the model has'}: {', '.join(map(repr, listed))}{more}"
        )


def _names_root(pattern: Pattern) -> bool:
    """Whether a pattern means the output of the whole model: only when it begins with that name."""
    return pattern.text.removeprefix("re:").startswith(ROOT)
