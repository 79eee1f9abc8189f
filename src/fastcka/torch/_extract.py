# SPDX-License-Identifier: BSD-3-Clause
"""`extract`: run a model over a loader, and keep the activations of its layers in memory or on disk."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any, overload

from .._arrays import byte_limit, positive_integer
from .._machine import available_bytes
from .._progress import Report, progress_report
from ..store import Store
from ._capture import AxesLike, Capture
from ._inputs import Ids, Reader, SampleIds
from ._kept import Extracted, Kept
from ._loaders import batches, check_loader, total_samples
from ._masks import MaskLike
from ._order import refuse_shuffled
from ._pool import PoolLike
from ._report import NonFinite, in_one_line, left_out
from ._select import LayersLike, Module
from ._state import evaluating, observing
from ._types import as_dtype, dtype_name
from ._written import Written


@overload
def extract(
    model: Module,
    loader: Any,
    layers: LayersLike = ...,
    *,
    pool: PoolLike = ...,
    axes: AxesLike = ...,
    mask: MaskLike = ...,
    out: None = ...,
    max_samples: int | None = ...,
    dtype: object = ...,
    progress: bool | Report = ...,
    ids: Ids = ...,
    max_bytes: int | None = ...,
    device: object = ...,
    provenance: Mapping[str, Any] | None = ...,
) -> Extracted: ...
@overload
def extract(
    model: Module,
    loader: Any,
    layers: LayersLike = ...,
    *,
    pool: PoolLike = ...,
    axes: AxesLike = ...,
    mask: MaskLike = ...,
    out: str | os.PathLike[str],
    max_samples: int | None = ...,
    dtype: object = ...,
    progress: bool | Report = ...,
    ids: Ids = ...,
    max_bytes: int | None = ...,
    device: object = ...,
    provenance: Mapping[str, Any] | None = ...,
) -> Store: ...
def extract(
    model: Module,
    loader: Any,
    layers: LayersLike = "*",
    *,
    pool: PoolLike = "flatten",
    axes: AxesLike = None,
    mask: MaskLike = None,
    out: str | os.PathLike[str] | None = None,
    max_samples: int | None = None,
    dtype: object = None,
    progress: bool | Report = True,
    ids: Ids = None,
    max_bytes: int | None = None,
    device: object = None,
    provenance: Mapping[str, Any] | None = None,
) -> Extracted | Store:
    """Run a model over a loader and return the activations of its layers, (n_samples, n_features) each.

    The model runs in evaluation mode and without gradients. Its mode, the random states and the modules
    (hooks) are as before afterwards, also after an error or an interrupt. DataParallel,
    DistributedDataParallel and torch.compile are looked through: the module itself runs. An autocast around
    the call applies.

    Parameters
    ----------
    model : torch.nn.Module
    loader : iterable of batches
        A DataLoader, or a list. A batch is a tensor; a tuple that begins with as many inputs as ``forward``
        requires (labels after them are not used); or a dict, of which ``forward`` gets the entries that it
        takes. The samples lie along the first dimension. ``attention_mask`` and the like, of the form (n,
        positions), decide which positions count: each for the layers whose positions are those of its input.
        docs/torch.md has the rule.
    layers : str, module type, or list of them, default "*"
        Names as in ``model.named_modules()``; globs; ``"re:"`` and a regular expression for the whole name;
        types such as ``torch.nn.Conv2d``. A module that runs several times for a batch gives its last call,
        ``"name#0"`` its first. Of outputs with several tensors, ``"name"`` is the first (of dicts
        ``last_hidden_state`` or ``logits``, if there), ``"name:1"`` or ``"name:key"`` another. ``"output"``
        is what the model returns; the ``hidden_states`` in it are called ``embeddings``, ``layer.0``,
        ``layer.1``, ... (or ``encoder.layer.0``, ``decoder.layer.0``, ...), and ``"hidden_states"`` chooses
        all of them. ("hidden_states.embeddings" and so on, where a module of the same name was chosen too.)
    pool : str, function, or mapping of name patterns to them, default "flatten"
        How a layer's activations become rows. "flatten"; "mean" or "gap", over positions; "cls", the first
        position; "last" position; "tokens": each position becomes a row. Positions that a mask leaves out
        never count. Activations (n, p) stay as they are. A function takes the activations (and ``mask``, if
        it has that parameter) and returns (n, p). Of a mapping, the first pattern that fits counts.
    axes : mapping of name patterns to str, optional
        What the axes of layers are of which it is not known: a letter for each, n (samples), c (channels), p
        (positions), f (features), such as "npf" or "ncpp".
    mask : mapping of name patterns to str or None, optional
        Which entry of the batch is the mask of a layer; None: all of its positions count.
    out : path, optional
        Write batch by batch into a store there, and return it opened. A run that was cut short continues
        where it stopped when it is started again: samples on disk are read from the loader but do not run.
    max_samples : int, optional
        Stop after so many samples.
    dtype : optional
        "float16", "bfloat16", "float32" or "float64" for the arrays. None: as the layers give; bfloat16,
        which NumPy lacks, as float32 in memory and as itself on disk.
    progress : bool or function, default True
        A bar, with the projected size before it; or a function of (samples done, samples in all).
    ids : str, function or sequence, optional
        What names the samples: an entry of batches that are dicts, a function of a batch, or all ids.
    max_bytes : int, optional
        Most bytes to keep in memory, or on disk. None: what is available, or no limit on disk.
    device : optional
        Where the inputs go. None: where the model's first parameter is.
    provenance : mapping, optional
        What the store shall say of its origin, beside what is noted anyway. Values of JSON.

    Returns
    -------
    Extracted or Store
        Layers in the order in which they ran. ``Extracted.skipped`` names what was chosen but left out, with
        the reason: it did not run, returned no tensor, or did not fit.

    Raises
    ------
    ValueError
        When a name or pattern chooses nothing (with near matches), a layer chosen by its name gives nothing
        usable, a layer changes its width, ids do not fit, the loader is shuffled and there are no `ids`, or
        the store at `out` is of another run.
    TypeError
        When model, loader or batches are not of the kinds above.
    MemoryError
        When more than `max_bytes` would be kept. Known after the first batch, if the loader has a length.

    Warns
    -----
    UserWarning
        When a layer has NaN or infinity, or is left out because its first dimension is not the batch or the
        pooling does not fit it.

    Examples
    --------
    >>> import torch, fastcka
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> batches = torch.randn(100, 4).split(32)
    >>> found = fastcka.torch.extract(model, batches, layers=["0", torch.nn.ReLU], progress=False)
    >>> {name: X.shape for name, X in found.items()}
    {'0': (100, 8), '1': (100, 8)}
    """
    check_loader(loader, "loader")
    if ids is None:
        refuse_shuffled(loader)
    most = None if max_samples is None else positive_integer(max_samples, "max_samples")
    capture = Capture(model, layers, pool, axes=axes, mask=mask, dtype=as_dtype(dtype))
    reader, names = Reader(capture.model, device, capture.masks.keys), SampleIds(ids, "ids")
    sink: Kept | Written
    if out is None:
        sink = Kept(byte_limit(max_bytes) or available_bytes())
    else:
        settings = {"layers": layers, "pool": pool, "dtype": dtype_name(dtype)}
        sink = Written(out, byte_limit(max_bytes), capture, settings, provenance, loader, names)
    non_finite = NonFinite()
    with (
        sink,
        observing(loader),
        evaluating(capture.model, hidden_states=capture.selection.asks_for_hidden_states),
        progress_report(progress, "extract", unit="sample") as report,
    ):
        done = 0
        for batch, inputs, stop in batches(loader, reader, most):
            sample_ids = names.of(batch, done, inputs.n_samples)
            sample_ids = sample_ids and sample_ids[: stop - done]
            kept = sink.start_of(done, stop, sample_ids)  # what is before that is on disk
            total = total_samples(loader, inputs.n_samples, most)
            if kept < stop:
                first, dropped = capture.names is None, len(capture.dropped)
                rows = capture.run(inputs).samples(kept - done, stop - done)
                if first:
                    if lost := left_out([capture]):
                        warnings.warn(f"left out: {in_one_line(lost)}", UserWarning, stacklevel=2)
                    plan = sink.plan(capture, rows, total)
                    if progress is True:
                        print(f"extract: {plan}", file=sys.stderr)
                if new := non_finite.look(rows, kept):
                    words = [f"layer {layer!r}: {non_finite.found[layer]}" for layer in new]
                    warnings.warn(in_one_line(words), UserWarning, stacklevel=2)
                sink.add(rows, rows.ids(sample_ids and sample_ids[kept - done :], kept))
                if gone := list(capture.dropped.items())[dropped:]:
                    texts = [f"layer {layer!r}: {reason}" for layer, reason in gone]
                    warnings.warn(f"left out: {in_one_line(texts)}", UserWarning, stacklevel=2)
                if report:
                    report(stop, max(stop, total or stop))
            done = stop
        if done == 0:
            raise ValueError("loader gave no sample")
        return sink.result(capture, done)
