# SPDX-License-Identifier: BSD-3-Clause
"""`extract`: run a model over a loader, and keep the activations of its layers in memory or on disk."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, overload

from .._arguments import byte_limit, positive_integer
from .._machine import available_bytes
from .._progress import Report, progress_report
from ..store import Store
from ._common import Module, as_dtype, autocast_dtype, dtype_name, in_one_line, say, versions
from .collect.disk import Written
from .collect.memory import Extracted, Kept
from .data.inputs import Ids, Reader
from .data.loaders import Extent, SampleIds, batches, check_loader, described, refuse_shuffled
from .layers.capture import Capture
from .layers.masks import MaskLike
from .layers.pooling import PoolLike, SplitLike
from .layers.rows import NonFinite
from .layers.selection import LayersLike
from .layers.state import checkpoint, evaluating, observing
from .layers.tracker import AxesLike


@overload
def extract(
    model: Module,
    loader: Any,
    layers: LayersLike = ...,
    *,
    pool: PoolLike = ...,
    axes: AxesLike = ...,
    mask: MaskLike = ...,
    split: SplitLike = ...,
    max_tokens: int | None = ...,
    out: None = ...,
    max_samples: int | None = ...,
    dtype: object = ...,
    progress: bool | Report | None = ...,
    ids: Ids = ...,
    max_bytes: int | str | None = ...,
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
    split: SplitLike = ...,
    max_tokens: int | None = ...,
    out: str | os.PathLike[str],
    max_samples: int | None = ...,
    dtype: object = ...,
    progress: bool | Report | None = ...,
    ids: Ids = ...,
    max_bytes: int | str | None = ...,
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
    split: SplitLike = None,
    max_tokens: int | None = None,
    out: str | os.PathLike[str] | None = None,
    max_samples: int | None = None,
    dtype: object = None,
    progress: bool | Report | None = None,
    ids: Ids = None,
    max_bytes: int | str | None = None,
    device: object = None,
    provenance: Mapping[str, Any] | None = None,
) -> Extracted | Store:
    """Run a model over a loader and return the activations of its layers, (n_samples, n_features) each.

    The model runs in evaluation mode and without gradients. Its mode, the random states and the modules
    (hooks) are restored afterwards, even after an error or an interrupt. DataParallel,
    DistributedDataParallel and torch.compile are unwrapped: the module itself runs. An autocast around
    the call applies.

    Parameters
    ----------
    model : torch.nn.Module
    loader : iterable of batches
        A DataLoader, or a list. A batch is a tensor; a tuple that begins with as many inputs as ``forward``
        requires (labels after them are not used); or a dict, of which ``forward`` gets the entries that it
        takes. The samples lie along the first dimension. ``attention_mask`` and the like, of shape (n,
        positions), decide which positions count: each for the layers whose positions are those of its input.
        docs/torch.md has the rule.
    layers : str, module type, or list of them, default "*"
        Names as in ``model.named_modules()``; globs; ``"re:"`` and a regular expression for the whole name;
        types such as ``torch.nn.Conv2d``. If a module runs several times per batch, ``"name"`` is its last
        call, ``"name#0"`` its first. Of outputs with several tensors, ``"name"`` is the first (of dicts
        ``last_hidden_state`` or ``logits``, if there), ``"name:1"`` or ``"name:key"`` another.
        ``"name:input"`` is the input of a module, ``"name:input.1"`` or ``"name:input.key"`` a further
        tensor of it. ``"output"`` is what the model returns; the ``hidden_states`` in it are called
        ``embeddings``, ``layer.0``, ``layer.1``, ... (or ``encoder.layer.0``, ``decoder.layer.0``, ...), and
        ``"hidden_states"`` chooses all of them. ("hidden_states.embeddings" and so on, where a module of the
        same name was chosen too.)
    pool : str, function, or mapping of name patterns to them, default "flatten"
        How a layer's activations become rows. "flatten"; "mean" or "gap", over positions; "cls", the first
        position; "last" position; "tokens": each position becomes a row. Masked positions never
        count. Activations (n, p) stay as they are. A function takes the activations (and ``mask``, if it has
        that parameter) and returns (n, p). In a mapping, the first matching pattern applies.
    axes : mapping of name patterns to str, optional
        The axes of layers whose axes are not recognised: a letter for each, n (samples), c (channels), p
        (positions), f (features), such as "npf" or "ncpp".
    mask : mapping of name patterns to str or None, optional
        Which entry of the batch is the mask of a layer; None: all of its positions count.
    split : int, or mapping of name patterns to int, optional
        Number of heads into which the features of a layer are split: ``split=12`` splits "attn" into
        "attn#h0" to "attn#h11". Attention heads are parts of the input of the output projection:
        ``layers="*.out_proj:input"``.
    max_tokens : int, optional
        With ``pool="tokens"``: the maximum number of positions of each sample, chosen by the index of the
        sample. If batches have a ``special_tokens_mask``, "tokens" excludes those positions.
    out : path, optional
        Write batch by batch into a store at this path, and return it opened. Repeat the call to resume an
        interrupted run: samples on disk are read from the loader, but the model does not run on them.
    max_samples : int, optional
        Stop after so many samples.
    dtype : optional
        "float16", "bfloat16", "float32" or "float64" for the arrays. None: the dtype of each layer; bfloat16,
        which NumPy lacks, becomes float32 in memory and stays bfloat16 on disk.
    progress : bool or function, optional
        None: a bar on a terminal after two seconds. True: at once, below a line with the projected size. Or a
        function of (samples done, total samples).
    ids : str, function or sequence, optional
        What names the samples: an entry of batches that are dicts, a function of a batch, or all ids.
    max_bytes : int or str, optional
        Maximum number of bytes in memory, or on disk. None: the available memory, or no limit on disk.
    device : optional
        Where the inputs go. None: where the model's first parameter is.
    provenance : mapping, optional
        Further provenance of the store, in addition to what is recorded automatically. JSON values.

    Returns
    -------
    Extracted or Store
        Layers in the order in which they ran. ``Extracted.skipped`` lists selected layers that were skipped,
        with the reason: the layer did not run, returned no tensor, or does not fit.

    Raises
    ------
    ValueError
        If a name or pattern matches nothing (with close matches), a layer selected by name yields no usable
        tensor, a layer changes its width, ids do not match, the loader is shuffled and there are no `ids`, or
        the store at `out` belongs to another run.
    TypeError
        When model, loader or batches are not of the kinds above.
    MemoryError
        When more than `max_bytes` would be kept. Known after the first batch, if the loader has a length.

    Warns
    -----
    UserWarning
        If a layer has NaN or infinity, or is skipped because its first dimension is not the batch or the
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
    capture = Capture(
        model,
        layers,
        pool,
        axes=axes,
        mask=mask,
        heads=split,
        max_tokens=max_tokens,
        dtype=as_dtype(dtype),
        borrow=out is not None,
    )
    reader, names = Reader(capture.model, device, capture.maker.masks.keys), SampleIds(ids, "ids")
    settings = {
        "layers": layers,
        "pool": pool,
        "dtype": dtype_name(dtype),
        "autocast": autocast_dtype(reader.device),
        "split": split,
        "max_tokens": max_tokens,
    }
    origin = {
        "versions": versions(),
        "data": described(loader),
        "device": str(reader.device),
        "checkpoint": checkpoint(capture.model),
    }
    sink: Kept | Written
    if out is None:
        sink = Kept(byte_limit(max_bytes) or available_bytes(), settings, provenance, origin)
    else:
        sink = Written(out, byte_limit(max_bytes), capture, settings, provenance, loader, names, origin)
    non_finite, extent = NonFinite(), Extent(loader, most)
    with (
        sink,
        observing(loader),
        evaluating(capture.model, hidden_states=capture.selection.asks_for_hidden_states),
        capture.watching(),
        progress_report(progress, "extract", unit="sample") as report,
    ):
        done = 0
        for batch, inputs, stop in batches(loader, reader, most):
            sample_ids = names.of(batch, done, inputs.n_samples)
            sample_ids = sample_ids and sample_ids[: stop - done]
            kept = sink.start_of(done, stop, sample_ids)  # what is before that is on disk
            total = extent.total(inputs.n_samples)
            if kept < stop:
                first, dropped = capture.names is None, len(capture.dropped)
                rows = capture.run(inputs, done).samples(kept - done, stop - done)
                if first:
                    if lost := capture.left_out():
                        warnings.warn(f"skipped: {in_one_line(lost)}", UserWarning, stacklevel=2)
                    if doubtful := capture.doubtful():
                        warnings.warn(in_one_line(doubtful), UserWarning, stacklevel=2)
                    say(progress, f"extract: {sink.plan(capture, rows, total)}")
                if new := non_finite.look(rows, kept):
                    texts = [f"layer {layer!r}: {non_finite.found[layer]}" for layer in new]
                    warnings.warn(in_one_line(texts), UserWarning, stacklevel=2)
                sink.add(rows, rows.ids(sample_ids and sample_ids[kept - done :], kept))
                if gone := list(capture.dropped.items())[dropped:]:
                    texts = [f"layer {layer!r}: {reason}" for layer, reason in gone]
                    warnings.warn(f"skipped: {in_one_line(texts)}", UserWarning, stacklevel=2)
                if report:
                    report(stop, max(stop, total or stop))
            done = stop
        if done == 0:
            raise ValueError("loader gave no samples")
        return sink.result(capture, done)
