# SPDX-License-Identifier: BSD-3-Clause
"""Make a matrix (n, p) from the activations of a layer for a batch: what is done is part of the measure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch

from .._arrays import unknown
from ._select import Pattern, patterns, split

Tensor: TypeAlias = Any  # torch.Tensor
Pool: TypeAlias = str | Callable[..., Any]
PoolLike: TypeAlias = Pool | Mapping[str, Pool]


class Unfit(Exception):
    """These activations cannot be pooled in this way; the text says why."""


class Pools:
    """The pooling of each layer."""

    def __init__(self, pool: PoolLike, argument: str) -> None:
        self.argument = argument
        self.entries: list[tuple[Pattern, Pool]] = []
        for key, how in (pool if isinstance(pool, Mapping) else {"*": pool}).items():
            if not callable(how) and how not in _NAMED:
                raise unknown(argument, how, _NAMED)
            self.entries += [(pattern, how) for pattern in patterns(key, argument)]
        tokens = [how == "tokens" for _, how in self.entries]
        if not tokens:
            raise ValueError(f"{argument} is an empty mapping: a pooling for '*' is needed")
        if any(tokens) and not all(tokens):
            raise ValueError(
                f"{argument} mixes 'tokens', where positions are the samples, with others: all layers must "
                f"have the same samples"
            )
        self.tokens = all(tokens)

    def of(self, layer: str) -> Pool:
        """Return the pooling of a layer: of the first pattern that fits it."""
        name = split(layer)[0]
        for pattern, how in self.entries:
            if pattern.matches(layer) or pattern.matches(name):
                return how
        raise ValueError(f"{self.argument} has no entry for layer {layer!r}: add one, or '*' as the last")

    def asks_for_mask(self, layer: str) -> bool:
        """Return whether the pooling of a layer is a function that takes a mask."""
        how = self.of(layer)
        return callable(how) and _asks_for_mask(how)

    def apply(self, layer: str, x: Tensor, letters: str, mask: Tensor | None, n: int) -> Tensor:
        """Return (n, p), or (n_tokens, p), from the activations of a batch of n samples.

        `letters` says what the axes of `x` are; `mask` is (n, positions) bool, true where a position counts.
        """
        how = self.of(layer)
        mask = None if mask is None else mask.to(x.device)
        if callable(how):
            return _by_function(how, layer, x, mask, n, self.argument)
        x = x.movedim(letters.index("n"), 0)
        letters = "n" + letters.replace("n", "")
        if how == "flatten":
            if mask is not None and "p" in letters and not mask.all():
                raise ValueError(
                    f"layer {layer!r}: {self.argument}='flatten' would count padding, which a mask in the "
                    f"batch leaves out: choose 'mean', 'last', 'cls', 'tokens' or a function of (x, mask)"
                )
            return x.reshape(len(x), -1)
        if x.ndim < 3 and "p" not in letters and how != "tokens":
            return x.reshape(len(x), -1)
        if "?" in letters:
            raise Unfit(
                f"which of its axes are positions is not known, its shape is {tuple(x.shape)}: say so with "
                f"axes={{{split(layer)[0]!r}: ...}}, as in 'npf' (samples, positions, features) or 'ncpp'"
            )
        n_axes = letters.count("p")
        if n_axes == 0:
            if how == "tokens":
                raise Unfit(f"'tokens' needs positions, it has {tuple(x.shape)}")
            return x.reshape(len(x), -1)
        if n_axes > 1 and how not in ("mean", "gap"):
            raise Unfit(f"{how!r} needs one axis of positions, it has {n_axes}: {tuple(x.shape)}")
        positions = tuple(k for k, letter in enumerate(letters) if letter == "p")
        x = x.movedim(positions, tuple(range(1, 1 + n_axes))).flatten(1, n_axes)  # (n, positions, ...)
        x = x.reshape(len(x), x.shape[1], -1)
        if mask is not None and mask.shape[1] != x.shape[1]:
            raise Unfit(f"it has {x.shape[1]} positions, the mask of the batch {mask.shape[1]}")
        return _BY_POSITION[how](x, mask)


def _by_function(
    function: Callable[..., Any], layer: str, activations: Tensor, mask: Tensor | None, n: int, argument: str
) -> Tensor:
    result = function(activations, mask=mask) if _asks_for_mask(function) else function(activations)
    if not isinstance(result, torch.Tensor):
        result = torch.as_tensor(result)
    if result.ndim != 2 or len(result) != n:
        raise ValueError(
            f"{argument}: the function returned shape {tuple(result.shape)} for layer {layer!r}, from "
            f"{tuple(activations.shape)}; it must return one row for each of the {n} samples, ({n}, p)"
        )
    return result


def _asks_for_mask(function: Callable[..., Any]) -> bool:
    return "mask" in inspect.signature(function).parameters


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    x = _wide(x)
    if mask is None:
        return x.mean(1)
    return x.masked_fill(~mask[:, :, None], 0).sum(1) / _counts(mask)[:, None].to(x.dtype)


def _cls(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return x[:, 0]
    _counts(mask)
    return x[torch.arange(len(x), device=x.device), mask.int().argmax(1)]


def _last(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return x[:, -1]
    _counts(mask)
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)
    return x[torch.arange(len(x), device=x.device), last]


def _tokens(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return x.flatten(0, 1)
    _counts(mask)
    return x[mask]


def _counts(mask: Tensor) -> Tensor:
    counts = mask.sum(1)
    for empty in (counts == 0).nonzero()[:1, 0].tolist():
        raise ValueError(f"the mask leaves no position of sample {empty} of the batch")
    return counts


def _wide(x: Tensor) -> Tensor:
    """Return float16, bfloat16 and integers as float32, for means."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


_BY_POSITION: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {  # of (n, positions, features)
    "mean": _mean,
    "gap": _mean,
    "cls": _cls,
    "last": _last,
    "tokens": _tokens,
}
_NAMED = ("flatten", *_BY_POSITION)
