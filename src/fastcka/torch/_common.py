# SPDX-License-Identifier: BSD-3-Clause
"""What several modules share: types of activations, and lists in messages."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from .. import __version__, _core
from .._arguments import unknown
from .._arrays import Array, as_representation

Tensor: TypeAlias = Any  # torch is not seen by the type checker, so that its verdict is the same without it
Module: TypeAlias = Any  # torch.nn.Module


class Unfit(Exception):
    """These activations cannot be made into rows in this way; the text says why."""


_LOG = logging.getLogger("fastcka.torch")
_PLAIN = (torch.float16, torch.float32, torch.float64)
_NAMES = ("float16", "bfloat16", "float32", "float64")


def dtype_name(dtype: object) -> str | None:
    """Return the name of the type that `dtype` (a name, a NumPy or a torch type) means, or None for None."""
    if dtype is None:
        return None
    if isinstance(dtype, torch.dtype):
        name = str(dtype).removeprefix("torch.")
    elif dtype == "bfloat16":
        name = "bfloat16"
    else:
        try:
            name = np.dtype(dtype).name  # type: ignore[call-overload]
        except (TypeError, ValueError):
            name = str(dtype)
    if name not in _NAMES:
        raise unknown("dtype", name, _NAMES)
    return name


def as_dtype(dtype: object) -> Any:
    """Return the torch type of that name, or None for None."""
    name = dtype_name(dtype)
    return None if name is None else getattr(torch, name)


def as_array(rows: Tensor, layer: str) -> Array:
    """Return rows as a NumPy array that shares their memory; bfloat16 as dtype "V2"."""
    if rows.dtype in _PLAIN:
        array: Array = rows.numpy()  # a tenth of the time of what follows
        return array
    return as_representation(rows, f"layer {layer!r}")


def copied(rows: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy on the same device, in another type if one is given."""
    dtype = dtype or rows.dtype
    if rows.device.type != "cpu":
        return rows.to(dtype, copy=True)
    return empty(rows.shape, dtype).copy_(rows)


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return memory from the core, which keeps it for the next batch: fresh pages cost more than a copy."""
    return torch.from_numpy(_core.empty_bytes(math.prod(shape) * dtype.itemsize)).view(dtype).view(shape)


def say(progress: object, text: str) -> None:
    """Log what is done and, where a display was asked for, print it above that."""
    _LOG.info(text)
    if progress is True:
        print(text, file=sys.stderr)


def versions() -> dict[str, str]:
    """Return the versions of the packages on which activations depend, as far as they are loaded."""
    found = {"fastcka": __version__, "torch": str(torch.__version__)}
    loaded = ((name, sys.modules.get(name)) for name in ("torchvision", "timm", "transformers"))
    return found | {name: str(getattr(m, "__version__", "?")) for name, m in loaded if m is not None}


def autocast_dtype(device: torch.device) -> str | None:
    """Return the type in which an autocast around the call computes, if there is one."""
    if not torch.is_autocast_enabled(device.type):
        return None
    return str(torch.get_autocast_dtype(device.type)).removeprefix("torch.")


def in_one_line(texts: Sequence[str]) -> str:
    """Join texts, the first five of them."""
    more = len(texts) - 5
    return "; ".join(texts[:5]) + (f"; and {more} more" if more > 0 else "")
