# SPDX-License-Identifier: BSD-3-Clause
"""Make a matrix (n, p) from the activations of a layer for a batch: what is done is part of the measure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch

from ..._arguments import unknown
from .._common import Tensor, Unfit
from ..data.inputs import Mask
from .selection import Pattern, patterns, split

Pool: TypeAlias = str | Callable[..., Any]
PoolLike: TypeAlias = Pool | Mapping[str, Pool]
SplitLike: TypeAlias = int | Mapping[str, int] | None


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

    def apply(self, how: Pool, layer: str, x: Tensor, letters: str, mask: Mask | None, n: int) -> Tensor:
        """Return (n, p), or (n_tokens, p), from the activations of a batch of n samples.

        `how` is the pooling of the layer, `letters` say what the axes of `x` are.
        """
        if callable(how):
            return _by_function(how, layer, x, mask, n, self.argument)
        if letters[0] != "n":
            x = x.movedim(letters.index("n"), 0)
            letters = "n" + letters.replace("n", "")
        if how == "flatten":
            if mask is not None and "p" in letters and not mask.whole:
                raise ValueError(
                    f"layer {layer!r}: {self.argument}='flatten' would count padding, which a mask in the "
                    f"batch leaves out: choose 'mean', 'last', 'cls', 'tokens' or a function of (x, mask)"
                )
            return x if x.ndim == 2 else x.reshape(n, -1)
        if x.ndim < 3 and "p" not in letters and how != "tokens":
            return x.reshape(n, -1)
        if "?" in letters:
            raise Unfit(
                f"which of its axes are positions is not known, its shape is {tuple(x.shape)}: set "
                f"axes={{{split(layer)[0]!r}: ...}}, as in 'npf' (samples, positions, features) or 'ncpp'"
            )
        n_axes = letters.count("p")
        if n_axes == 0:
            if how == "tokens":
                raise Unfit(f"'tokens' needs positions, it has {tuple(x.shape)}")
            return x.reshape(n, -1)
        if n_axes > 1 and how not in ("mean", "gap"):
            raise Unfit(f"{how!r} needs one axis of positions, it has {n_axes}: {tuple(x.shape)}")
        if not letters.startswith("n" + n_axes * "p"):
            positions = tuple(k for k, letter in enumerate(letters) if letter == "p")
            x = x.movedim(positions, tuple(range(1, 1 + n_axes)))
        x = x.flatten(1, n_axes).flatten(2) if x.ndim > 2 else x[:, :, None]  # (n, positions, features)
        if mask is not None and mask.positions != x.shape[1]:
            raise Unfit(f"it has {x.shape[1]} positions, the mask of the batch {mask.positions}")
        return _BY_POSITION[how](x, mask)


def asks_for_mask(how: Pool) -> bool:
    """Return whether a pooling is a function that takes a mask."""
    return callable(how) and "mask" in inspect.signature(how).parameters


def _by_function(
    function: Callable[..., Any], layer: str, activations: Tensor, mask: Mask | None, n: int, argument: str
) -> Tensor:
    if asks_for_mask(function):
        result = function(activations, mask=None if mask is None else mask.on(activations.device))
    else:
        result = function(activations)
    if not isinstance(result, torch.Tensor):
        result = torch.as_tensor(result)
    if result.ndim != 2 or len(result) != n:
        raise ValueError(
            f"{argument}: the function returned shape {tuple(result.shape)} for layer {layer!r}, from "
            f"{tuple(activations.shape)}; it must return one row for each of the {n} samples, ({n}, p)"
        )
    return result


def _mean(x: Tensor, mask: Mask | None) -> Tensor:
    if x.dtype not in (torch.float32, torch.float64):
        x = x.float()
    if mask is None or mask.whole:
        return x.mean(1)
    counted = x.masked_fill(~mask.on(x.device)[:, :, None], 0)
    return counted.sum(1) / mask.on(x.device, "counts")[:, None].to(x.dtype)


def _cls(x: Tensor, mask: Mask | None) -> Tensor:
    if mask is None or mask.whole:
        return x[:, 0]
    return x[torch.arange(len(x), device=x.device), mask.on(x.device, "first")]


def _last(x: Tensor, mask: Mask | None) -> Tensor:
    if mask is None or mask.whole:
        return x[:, -1]
    return x[torch.arange(len(x), device=x.device), mask.on(x.device, "last")]


def _tokens(x: Tensor, mask: Mask | None) -> Tensor:
    rows = x.flatten(0, 1)
    return rows if mask is None or mask.whole else rows.index_select(0, mask.on(x.device, "rows"))


_BY_POSITION: dict[str, Callable[[Tensor, Mask | None], Tensor]] = {  # of (n, positions, features)
    "mean": _mean,
    "gap": _mean,
    "cls": _cls,
    "last": _last,
    "tokens": _tokens,
}
_NAMED = ("flatten", *_BY_POSITION)


# ------------------------------------------------------------------------------------------------- heads


def read_split(heads: SplitLike, argument: str) -> Callable[[str], int]:
    """Return the function that says into how many heads a layer is split; 0: it is not."""
    if isinstance(heads, int) and not isinstance(heads, bool):
        heads = {"*": heads}
    if not isinstance(heads, Mapping | None):
        raise TypeError(
            f"{argument} must be a number of heads, or a mapping of patterns to them, got {heads!r}"
        )
    given: Mapping[str, object] = heads or {}
    for text, count in given.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{argument}: {count!r} for {text!r} is not a number of heads")
    entries = [(p, count) for text, count in (heads or {}).items() for p in patterns(text, argument)]

    def of(layer: str) -> int:
        named = (count for p, count in entries if p.matches(layer) or p.matches(split(layer)[0]))
        return next(named, 0)

    return of


def base(layer: str) -> str:
    """Return the layer of which this one may be a head, as "attn" of "attn#h3"."""
    return re.sub(r"#h\d+$", "", layer)


def head_of(x: Tensor, letters: str, head: int, heads: int) -> Tensor:
    """Return the features of one head: heads lie side by side."""
    axis = max(letters.rfind("f"), letters.rfind("c"), 1 if letters == "n?" else -1)
    if axis < 0:
        raise Unfit(f"which of its axes are features is not known, to split them: {tuple(x.shape)}")
    if x.shape[axis] % heads:
        raise Unfit(f"its {x.shape[axis]} features cannot be split into {heads}")
    return x.unflatten(axis, (heads, -1)).select(axis, head)
