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

    def masked(self, layer: str, activations: Tensor) -> bool:
        """Return whether the mask of positions counts for the pooling of these activations."""
        how = self.of(layer)
        if callable(how):
            return _asks_for_mask(how)
        return how in _MASKED and activations.ndim == 3

    def apply(self, layer: str, activations: Tensor, mask: Tensor | None, n: int) -> Tensor:
        """Return (n, p), or (n_tokens, p), from the activations of a batch of n samples.

        `mask` is (n, positions) bool, true where a position counts.
        """
        how = self.of(layer)
        mask = None if mask is None else mask.to(activations.device)
        if activations.layout != torch.strided or activations.is_nested:
            raise Unfit(
                f"its tensor is not dense but {'nested' if activations.is_nested else activations.layout}"
            )
        if activations.is_complex():
            raise Unfit("its values are complex")
        if callable(how):
            return _by_function(how, layer, activations, mask, n, self.argument)
        if activations.ndim == 0:
            raise Unfit("it gives a single number, not one row for each sample")
        if activations.shape[0] != n:
            raise Unfit(
                f"its first dimension is not the batch: shape {tuple(activations.shape)} for {n} samples; "
                f"a function as {self.argument} can bring it into place"
            )
        if activations.numel() == 0 and n > 0:
            raise Unfit(f"it has no features: its shape is {tuple(activations.shape)}")
        return _NAMED[how](activations, mask)


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


def _flatten(x: Tensor, mask: Tensor | None) -> Tensor:
    return x.reshape(len(x), -1)


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    if x.ndim < 3:
        return _flatten(x, mask)
    mask = _position_mask(x, mask, "mean")
    x = _wide(x)
    if mask is None:
        return x.mean(1)
    return x.masked_fill(~mask[:, :, None], 0).sum(1) / _counts(mask)[:, None].to(x.dtype)


def _gap(x: Tensor, mask: Tensor | None) -> Tensor:
    return _flatten(x, mask) if x.ndim < 3 else _wide(x).flatten(2).mean(2)


def _cls(x: Tensor, mask: Tensor | None) -> Tensor:
    if x.ndim < 3:
        return _flatten(x, mask)
    _position_mask(x, None, "cls")
    return x[:, 0]


def _last(x: Tensor, mask: Tensor | None) -> Tensor:
    if x.ndim < 3:
        return _flatten(x, mask)
    mask = _position_mask(x, mask, "last")
    if mask is None:
        return x[:, -1]
    _counts(mask)
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)
    return x[torch.arange(len(x), device=x.device), last]


def _tokens(x: Tensor, mask: Tensor | None) -> Tensor:
    mask = _position_mask(x, mask, "tokens")
    if mask is None:
        return x.flatten(0, 1)
    _counts(mask)
    return x[mask]


def _position_mask(x: Tensor, mask: Tensor | None, how: str) -> Tensor | None:
    """Return the mask, after a check that `x` has positions, and those of the mask."""
    if x.ndim != 3:
        raise Unfit(
            f"{how!r} needs activations (batch, positions, features), it has {tuple(x.shape)}"
            + ("; for convolution maps there is 'gap'" if x.ndim > 3 else "")
        )
    if mask is not None and mask.shape[1] != x.shape[1]:
        raise Unfit(f"it has {x.shape[1]} positions, the mask of the batch {mask.shape[1]}")
    return mask


def _counts(mask: Tensor) -> Tensor:
    counts = mask.sum(1)
    for empty in (counts == 0).nonzero()[:1, 0].tolist():
        raise ValueError(f"the mask leaves no position of sample {empty} of the batch")
    return counts


def _wide(x: Tensor) -> Tensor:
    """Return float16, bfloat16 and integers as float32, for means."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


_NAMED: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "flatten": _flatten,
    "mean": _mean,
    "gap": _gap,
    "cls": _cls,
    "last": _last,
    "tokens": _tokens,
}
_MASKED = ("mean", "last", "tokens")
