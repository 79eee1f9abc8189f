# SPDX-License-Identifier: BSD-3-Clause
"""`compare_models`: CKA of all layers of any number of models, in one pass over the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from .._arguments import Estimator, positive_integer
from .._pairwise import warn
from .._progress import Report
from ..kernels import KernelLike
from ..results import CKAModels
from ._common import Module
from ._compare import origin, readers, said_of
from .collect.methods import Call, collect, joint_name
from .data.calls import Calls
from .data.loaders import check_loader
from .layers.capture import Capture
from .layers.masks import MaskLike
from .layers.pooling import PoolLike, SplitLike
from .layers.selection import LayersLike
from .layers.tracker import AxesLike


def compare_models(
    models: Mapping[str, Module],
    loader: Any,
    *,
    layers: LayersLike | Mapping[str, LayersLike] = "*",
    pool: PoolLike = "flatten",
    transforms: Mapping[str, Callable[[Any], Any]] | None = None,
    axes: AxesLike = None,
    mask: MaskLike = None,
    split: SplitLike = None,
    max_tokens: int | None = None,
    method: Literal["auto", "exact", "minibatch"] = "auto",
    kernel: KernelLike = "linear",
    estimator: Estimator | None = None,
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | None = None,
    max_samples: int | None = None,
    device: object = None,
    progress: bool | Report | None = None,
) -> CKAModels:
    """Compare all layers of several models with one another, in one pass over the data.

    Each batch goes through every model once. All pairs of layers are compared, those within a model too.

    Parameters
    ----------
    models : mapping of str to torch.nn.Module
    loader : iterable of batches
        As for :func:`compare`; read once.
    layers : str, module type, or list of them, or mapping of model names to these, default "*"
        As for :func:`extract`, for all models or for each.
    pool, axes, mask, split, max_tokens
        As for :func:`extract`, for all models.
    transforms : mapping of model names to functions, optional
        Make the batch of a model from the batch of the loader.
    method, kernel, estimator, dtype, n_threads, max_bytes, max_samples, device, progress
        As for :func:`compare`.

    Returns
    -------
    CKAModels

    Raises
    ------
    ValueError, TypeError, MemoryError
        As for :func:`compare`.

    Warns
    -----
    DegenerateWarning, UserWarning
        As for :func:`compare`.

    Examples
    --------
    >>> import torch, fastcka
    >>> _ = torch.manual_seed(0)
    >>> nets = {name: torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU()) for name in ("a", "b", "c")}
    >>> batches = torch.randn(100, 4).split(32)
    >>> fastcka.torch.compare_models(nets, batches).pair("a", "c").shape
    (2, 2)
    """
    check_loader(loader, "loader")
    _check_models(models)
    per_model = layers if isinstance(layers, Mapping) else dict.fromkeys(models, layers)
    for argument, given in (("layers", per_model), ("transforms", transforms or {})):
        if unknown := [name for name in given if name not in models]:
            raise ValueError(f"{argument}: {unknown[0]!r} is none of the models {', '.join(models)}")
    call = Call.checked("compare_models", method, kernel, estimator, dtype, n_threads, max_bytes, progress)
    captures = [
        Capture(
            model,
            per_model.get(name, "*"),
            pool,
            axes=axes,
            mask=mask,
            heads=split,
            max_tokens=max_tokens,
            owner=name,
        )
        for name, model in models.items()
    ]
    most = None if max_samples is None else positive_integer(max_samples, "max_samples")
    calls = Calls(
        readers(captures, device),
        loader,
        [(transforms or {}).get(name) for name in models],
        most,
        arguments=[f"transforms[{name!r}]" for name in models],
    )
    joint, reasons = collect(captures, calls, call, joint=True)
    dead = np.array([(0, layer) in reasons for layer in joint.rows])
    values = joint.values.copy()
    values[dead], values[:, dead] = np.nan, np.nan
    whose = {
        joint_name(c, layer): (layer, name)
        for c, name in zip(captures, models, strict=True)
        for layer in c.widths
    }
    degenerate = [
        "layer {!r} of {}: {}".format(*whose[layer], reason) for (_, layer), reason in reasons.items()
    ]
    if degenerate:
        warn(degenerate)
    joint = dataclasses.replace(
        joint,
        values=values,
        warnings=(*degenerate, *said_of(captures)),
        provenance={**joint.provenance, "torch": origin(captures, calls, [pool])},
    )
    return CKAModels(joint, {name: tuple(c.widths) for name, c in zip(models, captures, strict=True)})


def _check_models(models: object) -> None:
    if not isinstance(models, Mapping) or not models:
        raise TypeError(f"models must be a mapping of names to models, got {type(models).__name__}")
