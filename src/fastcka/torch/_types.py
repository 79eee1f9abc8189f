# SPDX-License-Identifier: BSD-3-Clause
"""Types of activations: which can be kept, and as what."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .._arrays import Array, as_representation, unknown
from ._pool import Tensor

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
    return as_representation(rows, f"layer {layer!r}")
