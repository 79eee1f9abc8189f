# SPDX-License-Identifier: BSD-3-Clause
"""`compare_models`: CKA of all layers of any number of models, in one pass over the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import numpy as np

from .._arguments import Estimator, positive_integer
from .._arrays import model_label, model_names
from .._pairwise import warn
from .._progress import Report
from ..kernels import KernelLike
from ..results import CKAModels
from ._common import Module
from ._compare import origin, readers, said_of
from .collect.methods import Call, collect, joint_label
from .data.calls import Calls
from .data.loaders import check_loader
from .layers.capture import Capture
from .layers.masks import MaskLike
from .layers.pooling import PoolLike, SplitLike
from .layers.selection import LayersLike
from .layers.tracker import AxesLike

T = TypeVar("T")


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
    max_bytes: int | str | None = None,
    max_samples: int | None = None,
    device: object = None,
    progress: bool | Report | None = None,
) -> CKAModels:
    """Compare all layers of several models with one another, in one pass over the data.

    Each batch goes through every model once. All pairs of layers are compared, those within a model too.

    Parameters
    ----------
    models : mapping of str to torch.nn.Module
        At least two.
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

    Notes
    -----
    The values are ``CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))``.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, arXiv:1905.00414.
    Mini-batches: Nguyen, Raghu and Kornblith 2020, Do Wide and Deep Networks Learn the Same Things?,
    arXiv:2010.15327.

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
    names = model_names(models, "modules", "compare takes two models, or one twice")
    per_model = _by_name(layers) if isinstance(layers, Mapping) else dict.fromkeys(names, layers)
    transform = _by_name(transforms or {})
    for argument, given in (("layers", per_model), ("transforms", transform)):
        if unknown := [name for name in given if name not in names]:
            raise ValueError(f"{argument}: {unknown[0]!r} is none of the models {', '.join(names)}")
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
            owner=model_label(name),
        )
        for name, model in zip(names, models.values(), strict=True)
    ]
    most = None if max_samples is None else positive_integer(max_samples, "max_samples")
    calls = Calls(
        readers(captures, device),
        loader,
        [transform.get(name) for name in names],
        most,
        arguments=[f"transforms[{name!r}]" for name in names],
    )
    joint, reasons = collect(captures, calls, call, names)
    dead = np.array([(0, layer) in reasons for layer in joint.rows])
    values = joint.values.copy()
    values[dead], values[:, dead] = np.nan, np.nan
    degenerate = [f"{layer}: {reason}" for (_, layer), reason in reasons.items()]
    if degenerate:
        warn(degenerate)
    known = dict(joint.provenance)
    side = known.pop("rows", {})
    known.pop("columns", None)
    known["models"] = {name: _of_model(side, name, c) for name, c in zip(names, captures, strict=True)}
    joint = dataclasses.replace(
        joint,
        values=values,
        warnings=(*degenerate, *said_of(captures)),
        provenance={**known, "torch": origin(captures, calls, [pool])},
    )
    return CKAModels(joint, {name: tuple(c.widths) for name, c in zip(names, captures, strict=True)})


def _by_name(given: Mapping[Any, T]) -> dict[str, T]:
    return {str(name): value for name, value in given.items()}


def _of_model(side: Mapping[str, Any], name: str, capture: Capture) -> dict[str, Any]:
    """Return what is known of the layers of one model, from what is known of all layers by their labels."""
    found: dict[str, Any] = {"widths": dict(capture.widths)}
    if sigma := side.get("sigma"):
        found["sigma"] = {layer: sigma[joint_label(name, layer)] for layer in capture.widths}
    return found
