# SPDX-License-Identifier: BSD-3-Clause
"""`compare`: CKA of all layers of two models, in one pass over the data; `compare_loaders`: over several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from .._arguments import Estimator, positive_integer
from .._pairwise import warn
from .._progress import Report
from ..kernels import KernelLike
from ..results import CKAMatrix
from ._common import Module, autocast_dtype, versions
from .collect.methods import Call, collect
from .data.calls import Calls
from .data.inputs import Ids, Reader
from .data.loaders import check_loader, described
from .layers.capture import Capture
from .layers.masks import MaskLike
from .layers.pooling import PoolLike, SplitLike
from .layers.selection import LayersLike
from .layers.state import checkpoint
from .layers.tracker import AxesLike


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
    split_a: SplitLike = None,
    split_b: SplitLike = None,
    max_tokens: int | None = None,
    names: tuple[str, str] | None = None,
    method: Literal["auto", "exact", "minibatch"] = "auto",
    kernel: KernelLike = "linear",
    estimator: Estimator | None = None,
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | str | None = None,
    max_samples: int | None = None,
    device: object = None,
    progress: bool | Report | None = None,
) -> CKAMatrix:
    """Compare all layers of one model with all layers of another, in one pass over the data.

    Each batch goes through both models, so the loader may be shuffled. The state of models and random number
    generators is restored (see :func:`extract`).

    Parameters
    ----------
    model_a, model_b : torch.nn.Module
        The models of the rows and of the columns; they may be the same, or share modules.
    loader : iterable of batches
        As for :func:`extract`; read once.
    loader_b : iterable of batches, optional
        For `model_b`, if it needs other inputs: the same samples, in the same order and batches of the same
        size. Rejected if one of the two is shuffled, unless `ids` are given.
    layers_a, layers_b : str, module type, or list of them, default "*"
        As `layers` of :func:`extract`.
    pool, pool_a, pool_b : str, function, or mapping of name patterns to them, default "flatten"
        As for :func:`extract`; `pool_a` and `pool_b` for one model. "tokens" applies to both models or none;
        the same positions are compared, and the mask of the batch decides which.
    transform_b : function, optional
        Makes the batch for `model_b` from the batch of the loader: other image sizes, another tokeniser.
    ids, ids_b : str, function or sequence, optional
        As for :func:`extract`: what names the samples in `loader` and in `loader_b`, for comparison. A name
        or a function applies to both loaders unless `ids_b` is given.
    axes_a, axes_b, mask_a, mask_b, split_a, split_b : optional
        As `axes`, `mask` and `split` of :func:`extract`, for one model each.
    max_tokens : int, optional
        As for :func:`extract`.
    names : (str, str), optional
        Names of the models. None: ``config.name_or_path``, as Hugging Face has it, or their classes.
    method : {"auto", "exact", "minibatch"}, default "auto"
        "exact": the value of :func:`fastcka.cka_matrix` for all samples. It keeps what needs less
        memory: sums over samples (linear kernel; memory grows with the square of the features) or the
        activations themselves (if the loader says how many samples there are, or `max_samples` does).
        "minibatch": the estimator of Nguyen et al., see :class:`fastcka.StreamingCKA`; a relative bandwidth
        is then found in each batch. "auto": exact; mini-batch, with a warning, when that takes more than
        `max_bytes`. With the linear kernel, activations on a CUDA or XPU device are compared there, and only
        sums leave it; all else is computed by the core, in CPU memory.
    kernel, dtype, n_threads
        As for :func:`fastcka.cka_matrix`. Not "precomputed".
    estimator : {"biased", "unbiased"}, optional
        None: biased when exact, unbiased in mini-batches, whose estimator is always unbiased.
    max_bytes : int or str, optional
        Maximum number of bytes for what is kept over all batches. None: half of the available memory.
    max_samples : int, optional
        Stop after so many samples.
    device : optional
        Where the inputs go. None: for each model, where its first parameter is.
    progress : bool or function, optional
        None: a bar on a terminal after two seconds. True: at once, below a line that says which method was
        chosen. Or a function of (samples done, total samples).

    Returns
    -------
    CKAMatrix
        ``.method`` says "exact" or "minibatch". Layers with NaN or infinity are nan and named in
        ``.warnings``, as are layers that were skipped because their tensors do not fit (see
        :func:`extract`).

    Raises
    ------
    ValueError, TypeError
        As for :func:`extract` and :func:`fastcka.cka_matrix`; and when the loaders do not give the same
        samples.
    MemoryError
        When exact CKA takes more than `max_bytes`, and `method` is "exact" or the estimator is "biased".

    Warns
    -----
    DegenerateWarning
        For layers without CKA: without variation, or not finite.
    UserWarning
        When "auto" fell back to mini-batches, or layers were skipped.

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
    call = Call.checked("compare", method, kernel, estimator, dtype, n_threads, max_bytes, progress)
    most = None if max_samples is None else positive_integer(max_samples, "max_samples")
    pools = pool if pool_a is None else pool_a, pool if pool_b is None else pool_b
    a = Capture(
        model_a, layers_a, pools[0], axes=axes_a, mask=mask_a, heads=split_a, max_tokens=max_tokens, side="_a"
    )
    b = Capture(
        model_b, layers_b, pools[1], axes=axes_b, mask=mask_b, heads=split_b, max_tokens=max_tokens, side="_b"
    )
    if a.maker.pools.tokens != b.maker.pools.tokens:
        raise ValueError("pool 'tokens' makes positions the samples: use it for both models, or for none")
    networks = _names(names, a.model, b.model)
    calls = Calls(
        readers((a, b), device),
        loader,
        (None, transform_b),
        most,
        arguments=("", "transform_b"),
        loader_b=loader_b,
        ids=ids,
        ids_b=ids_b,
    )
    matrix, reasons = collect((a, b), calls, call)
    values = matrix.values.copy()
    for side, layers in enumerate((matrix.rows, matrix.columns)):
        values[(slice(None),) * side + ([(side, layer) in reasons for layer in layers],)] = float("nan")
    degenerate = [
        f"layer {layer!r} of {networks[side]}: {reason}" for (side, layer), reason in reasons.items()
    ]
    if degenerate:
        warn(degenerate)
    return dataclasses.replace(
        matrix,
        values=values,
        models=networks,
        warnings=(*degenerate, *said_of((a, b))),
        provenance={**matrix.provenance, "torch": origin((a, b), calls, pools)},
    )


def compare_loaders(
    model_a: Module,
    model_b: Module,
    loaders: Mapping[str, Any],
    loaders_b: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, CKAMatrix]:
    """Compare two models on the samples of several loaders, such as a training set and a test set.

    Parameters
    ----------
    model_a, model_b : torch.nn.Module
        As for :func:`compare`.
    loaders : mapping of str to loader
        Each as for :func:`compare`; read one after the other.
    loaders_b : mapping of the same names, optional
        For `model_b`, as `loader_b` of :func:`compare`.
    **options
        Of :func:`compare`, for all loaders.

    Returns
    -------
    dict of str to CKAMatrix
        In the order of `loaders`; :func:`fastcka.plot_grid` draws it.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`compare`, with a note that names the loader.

    Examples
    --------
    >>> import torch, fastcka
    >>> _ = torch.manual_seed(0)
    >>> a, b = torch.nn.Linear(4, 8), torch.nn.Linear(4, 8)
    >>> loaders = {"clean": torch.randn(100, 4).split(32), "noisy": torch.randn(60, 4).split(32)}
    >>> matrices = fastcka.torch.compare_loaders(a, b, loaders)
    >>> {name: matrix.n_samples for name, matrix in matrices.items()}
    {'clean': 100, 'noisy': 60}
    """
    for argument, given in (("loaders", loaders), ("loaders_b", {} if loaders_b is None else loaders_b)):
        if not isinstance(given, Mapping):
            raise TypeError(f"{argument} must be a mapping of names to loaders, got {type(given).__name__}")
    if not loaders:
        raise ValueError("loaders is empty")
    if loaders_b is not None and set(loaders_b) != set(loaders):
        raise ValueError(
            f"loaders_b must have the names of loaders, {', '.join(loaders)}; it has {', '.join(loaders_b)}"
        )
    matrices = {}
    for name, loader in loaders.items():
        try:
            matrices[name] = compare(
                model_a, model_b, loader, None if loaders_b is None else loaders_b[name], **options
            )
        except Exception as error:
            error.add_note(f"loader {name!r}")
            raise
    return matrices


def readers(captures: Sequence[Capture], device: object) -> list[Reader]:
    """Return what reads the batches of each model."""
    return [Reader(capture.model, device, capture.maker.masks.keys) for capture in captures]


def said_of(captures: Sequence[Capture]) -> list[str]:
    """Return what a result says of layers that are not there, or to be doubted."""
    lost = [f"skipped: {text}" for capture in captures for text in capture.left_out()]
    return lost + [text for capture in captures for text in capture.doubtful()]


def origin(captures: Sequence[Capture], calls: Calls, pools: Sequence[PoolLike]) -> dict[str, Any]:
    """Return where the values come from, as JSON can hold it."""
    device = calls.readers[0].device
    loaders = [calls.loader] if calls.loader_b is None else [calls.loader, calls.loader_b]
    return {
        "versions": versions(),
        "checkpoints": [checkpoint(capture.model) for capture in captures],
        "data": [described(loader) for loader in loaders],
        "device": str(device),
        "autocast": autocast_dtype(device),
        "pool": [str(pool) for pool in pools],
    }


def _names(names: object, model_a: Module, model_b: Module) -> tuple[str, str]:
    """Return the names of the two networks: the given ones, those of Hugging Face, or of the classes."""
    if names is not None:
        if not isinstance(names, tuple | list) or [type(name) for name in names] != [str, str]:
            raise TypeError(f"names must be two strings, one for each model, got {names!r}")
        return names[0], names[1]
    a, b = (checkpoint(model) or type(model).__name__ for model in (model_a, model_b))
    return (a, b) if a != b else (f"{a} A", f"{b} B")
