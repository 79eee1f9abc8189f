# SPDX-License-Identifier: BSD-3-Clause
"""`compare`: CKA of all layers of two models, in one pass over the data."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch

from .._arrays import byte_limit, check_estimator, needs_float64, positive_integer, unknown
from .._machine import available_bytes
from .._pairwise import warn
from .._progress import Report, progress_report
from ..kernels import KernelLike, Precomputed, resolve_kernel
from ..results import CKAMatrix
from ._capture import AxesLike, Capture
from ._collect import Collector, collector
from ._inputs import Ids
from ._loaders import check_loader, samples_left, total_samples
from ._masks import MaskLike
from ._pairs import Pairs
from ._pool import PoolLike
from ._report import NonFinite, in_one_line, left_out
from ._rows import Rows
from ._select import LayersLike, Module
from ._state import evaluating, observing


def compare(
    model_a: Module,
    model_b: Module,
    loader: Any,
    loader_b: Any = None,
    *,
    layers_a: LayersLike = "*",
    layers_b: LayersLike = "*",
    pool: PoolLike = "flatten",
    pool_a: PoolLike | None = None,
    pool_b: PoolLike | None = None,
    transform_b: Callable[[Any], Any] | None = None,
    ids: Ids = None,
    ids_b: Ids = None,
    axes_a: AxesLike = None,
    axes_b: AxesLike = None,
    mask_a: MaskLike = None,
    mask_b: MaskLike = None,
    names: tuple[str, str] | None = None,
    method: str = "auto",
    kernel: KernelLike = "linear",
    estimator: str | None = None,
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | None = None,
    max_samples: int | None = None,
    device: object = None,
    progress: bool | Report = True,
) -> CKAMatrix:
    """Compare all layers of one model with all layers of another, in one pass over the data.

    Each batch goes through both models, so a shuffled loader is no harm. Models and random states are left as
    they were found (see :func:`extract`).

    Parameters
    ----------
    model_a, model_b : torch.nn.Module
        The models of the rows and of the columns; they may be the same, or share modules.
    loader : iterable of batches
        As for :func:`extract`; read once.
    loader_b : iterable of batches, optional
        For `model_b`, where its inputs are others: the same samples, in the same order and batches of the
        same size. Refused if one of the two is shuffled, unless `ids` are given.
    layers_a, layers_b : str, module type, or list of them, default "*"
        As `layers` of :func:`extract`.
    pool, pool_a, pool_b : str, function, or mapping of name patterns to them, default "flatten"
        As for :func:`extract`; `pool_a` and `pool_b` for one model. With "tokens", which goes for both models
        or none, the same positions are compared: the mask of the batch decides for both.
    transform_b : function, optional
        Makes the batch for `model_b` from the batch of the loader: other image sizes, another tokeniser.
    ids, ids_b : str, function or sequence, optional
        As for :func:`extract`: what names the samples in `loader` and in `loader_b`, to be compared. A name
        or a function goes for both loaders unless `ids_b` is given.
    axes_a, axes_b, mask_a, mask_b : mapping, optional
        As `axes` and `mask` of :func:`extract`, for one model each.
    names : (str, str), optional
        Names of the models. None: ``config.name_or_path``, as Hugging Face has it, or their classes.
    method : {"auto", "exact", "minibatch"}, default "auto"
        "exact": the value of :func:`fastcka.cka_matrix` for all samples. It takes the way that needs less
        memory: sums over samples (linear kernel; memory grows with the square of the features) or the
        activations themselves (if the loader says how many samples there are, or `max_samples` does).
        "minibatch": the estimator of Nguyen et al., see :class:`fastcka.StreamingCKA`; a relative bandwidth
        is then found in each batch. "auto": exact; mini-batch, with a warning, when that takes more than
        `max_bytes`.
    kernel, dtype, n_threads
        As for :func:`fastcka.cka_matrix`. Not "precomputed".
    estimator : {"biased", "unbiased"}, optional
        None: biased when exact, unbiased in mini-batches, whose estimator exists only unbiased.
    max_bytes : int, optional
        Most bytes for what is collected over the batches. None: half of the memory that is available.
    max_samples : int, optional
        Stop after so many samples.
    device : optional
        Where the inputs go. None: for each model, where its first parameter is.
    progress : bool or function, default True
        A bar, with the way that was chosen before it; or a function of (samples done, samples in all).

    Returns
    -------
    CKAMatrix
        ``.method`` says "exact" or "minibatch". Layers with NaN or infinity are nan and named in
        ``.warnings``, as are layers that were left out because their tensors do not fit (see
        :func:`extract`).

    Raises
    ------
    ValueError, TypeError
        As for :func:`extract` and :func:`fastcka.cka_matrix`; and when the loaders do not give the same
        samples.
    MemoryError
        When exact CKA takes more than `max_bytes`, and was asked for, or the estimator is "biased".

    Warns
    -----
    DegenerateWarning
        For layers without CKA: without variation, or not finite.
    UserWarning
        When "auto" turned to mini-batches, or layers were left out.

    Examples
    --------
    >>> import torch, fastcka
    >>> _ = torch.manual_seed(0)
    >>> wide = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    >>> deep = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
    >>> batches = torch.randn(300, 4).split(64)
    >>> matrix = fastcka.torch.compare(wide, deep, batches, layers_b=torch.nn.ReLU, progress=False)
    >>> matrix.rows, matrix.columns, matrix.method
    (('0', '1', '2'), ('1',), 'exact')
    """
    check_loader(loader, "loader")
    if loader_b is loader:
        loader_b = None
    if loader_b is not None:
        check_loader(loader_b, "loader_b")
    chosen = resolve_kernel(kernel)
    if estimator is not None:
        estimator = check_estimator(estimator)
    if method not in ("auto", "exact", "minibatch"):
        raise unknown("method", method, ("auto", "exact", "minibatch"))
    if isinstance(chosen, Precomputed):
        raise ValueError("kernel 'precomputed' is for Gram matrices, and layers of models give activations")
    needs_float64((), dtype)  # checks it
    settings = {"estimator": estimator, "dtype": dtype, "n_threads": n_threads}
    limit = byte_limit(max_bytes) or available_bytes() // 2
    most = None if max_samples is None else positive_integer(max_samples, "max_samples")
    a = Capture(model_a, layers_a, pool if pool_a is None else pool_a, axes=axes_a, mask=mask_a, side="_a")
    b = Capture(model_b, layers_b, pool if pool_b is None else pool_b, axes=axes_b, mask=mask_b, side="_b")
    if a.pools.tokens != b.pools.tokens:
        raise ValueError("pool 'tokens' makes positions the samples: use it for both models, or for none")
    networks = _names(names, a.model, b.model)
    pairs = Pairs((a, b), loader, loader_b, transform_b, ids, ids_b, most, device)
    non_finite = NonFinite(), NonFinite()
    collected: Collector | None = None
    with (
        observing(loader, loader_b),
        evaluating(a.model, hidden_states=a.selection.asks_for_hidden_states),
        evaluating(b.model, hidden_states=b.selection.asks_for_hidden_states),
        progress_report(progress, "compare", unit="sample") as report,
    ):
        for start, rows_a, rows_b in pairs:
            total = total_samples(loader, rows_a.n_samples, most)
            sides = _finite(a, rows_a, non_finite[0], start), _finite(b, rows_b, non_finite[1], start)
            if collected is None:
                if lost := left_out([a, b]):
                    warnings.warn(f"left out: {in_one_line(lost)}", UserWarning, stacklevel=2)
                collected = collector(method, chosen, settings, limit, *sides, total)
                if progress is True:
                    print(
                        f"compare: {len(a.widths)} x {len(b.widths)} layers, {collected.words}",
                        file=sys.stderr,
                    )
            done = start + rows_a.n_samples
            collected.add(*sides, samples_left(loader, done, most))
            if report:
                report(done, max(done, total or done))
            del rows_a, rows_b, sides  # their memory is for the next batch
    if collected is None:
        raise ValueError("loader gave no sample")
    return _result(collected, (a, b), non_finite, networks)


def _finite(capture: Capture, rows: Rows, non_finite: NonFinite, start: int) -> Rows:
    """Put zeros for what is not finite or does not fit any more: such layers will be nan, the others not."""
    non_finite.look(rows, start)
    non_finite.found |= capture.dropped
    layers = {
        layer: torch.zeros(len(rows), width)
        if layer not in rows.layers
        else torch.nan_to_num(rows.layers[layer], 0, 0, 0)
        if layer in non_finite.found
        else rows.layers[layer]
        for layer, width in capture.widths.items()
    }
    return dataclasses.replace(rows, layers=layers)


def _result(
    collected: Collector,
    captures: tuple[Capture, Capture],
    non_finite: tuple[NonFinite, NonFinite],
    networks: tuple[str, str],
) -> CKAMatrix:
    matrix, reasons = collected.result()
    values = matrix.values.copy()
    dead = dict(reasons)
    for side, layers in enumerate((matrix.rows, matrix.columns)):
        found = non_finite[side].found
        values[(slice(None),) * side + ([layer in found for layer in layers],)] = float("nan")
        dead |= {(side, layer): found[layer] for layer in layers if layer in found}
    degenerate = [f"layer {layer!r} of {networks[side]}: {reason}" for (side, layer), reason in dead.items()]
    if degenerate:
        warn(degenerate)
    lost = [f"left out: {text}" for text in left_out(list(captures))]
    return dataclasses.replace(matrix, values=values, models=networks, warnings=(*degenerate, *lost))


def _names(names: object, model_a: Module, model_b: Module) -> tuple[str, str]:
    """Return the names of the two networks: the given ones, those of Hugging Face, or of the classes."""
    if names is not None:
        if not isinstance(names, tuple | list) or [type(name) for name in names] != [str, str]:
            raise TypeError(f"names must be two strings, one for each model, got {names!r}")
        return names[0], names[1]
    a, b = (
        getattr(getattr(model, "config", None), "name_or_path", "") or type(model).__name__
        for model in (model_a, model_b)
    )
    return (a, b) if a != b else (f"{a} A", f"{b} B")
