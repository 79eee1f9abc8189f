# SPDX-License-Identifier: BSD-3-Clause
"""One comparison on the workers of a Dask cluster, with the bits of one call; needs ``fastcka[dask]``.

The tasks are those of a :class:`~fastcka.Sweep`: the statistics of each layer, ranges of blocks of the later
stages, and merges of two partials at a time.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ._arguments import Estimator
from ._arrays import Array, ArrayLike, layer_label, named_layers
from ._groups import Inference
from ._networks import Networks, asking, side_by_side, warned
from ._pairwise import Pairs
from ._partial import Partial
from ._settings import Settings
from ._stages import Stage
from .kernels import KernelLike
from .layers import StoredLayer, open_layers
from .results import CKAMatrix
from .sweep import Sweep

try:
    import dask.array
    import distributed
except ImportError as error:
    raise ImportError('fastcka.dask needs Dask: pip install "fastcka[dask]"') from error

__all__ = ["cka_matrix"]

TASKS_PER_WORKER = 4  # of the products: a worker that is slow, or lost, leaves no more than that to others

# Tasks of one worker take turns, each with all of its threads: together they would start threads squared,
# and hold the packed layers once each.
_TURN = threading.Lock()


class _Outline(NamedTuple):
    """What a layer that is a Dask array looks like, for tasks that do not need its values."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def array(self) -> Array:
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)  # takes no memory


class _Stored(NamedTuple):
    """Layers that every worker opens by their path."""

    path: str
    names: tuple[str, ...]

    def open(self) -> dict[str, Array | StoredLayer]:
        found = open_layers(self.path)
        lost = [name for name in self.names if name not in found]
        if lost:
            raise ValueError(
                f"{self.path} has no layer {lost[0]!r} on this worker: it has {', '.join(found)}"
            )
        return {name: found[name] for name in self.names}


_Source: TypeAlias = _Stored | dict[str, _Outline]


def cka_matrix(
    layers_a: Any,
    layers_b: Any = None,
    *,
    kernel: KernelLike = "linear",
    estimator: Estimator = "biased",
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | str | None = None,
    inference: Inference = False,
    groups: ArrayLike | None = None,
    client: distributed.Client | None = None,
) -> CKAMatrix:
    """Compare all pairs of layers on the workers of a Dask cluster.

    Parameters
    ----------
    layers_a : path, opened store, or mapping of names to (n, p) Dask arrays, or sequence of them
        The layers of the rows. A path, or what :func:`fastcka.open_store` or :func:`fastcka.open_layers`
        returned, is opened by every worker: the path must lead to the same files on all of them and here.
    layers_b : the same, optional
        The layers of the columns. None, or the very same object: those of `layers_a`.
    kernel, estimator, dtype
        As for :func:`fastcka.cka_matrix`.
    n_threads : int, optional
        Threads of a task. None: those of its worker, whatever `OMP_NUM_THREADS` says there. One task of a
        worker computes at a time.
    max_bytes : int or str, optional
        Most memory that a task may use beside its inputs, as for :func:`fastcka.cka_matrix`. None: what the
        process of the worker may use; Dask's own limit for a worker is not looked at.
    inference, groups
        As for :func:`fastcka.cka_matrix`. Groups whose samples do not lie side by side cost a sorted copy of
        all layers on each worker.
    client : distributed.Client, optional
        None: the default client.

    Returns
    -------
    CKAMatrix
        With the bits of :func:`fastcka.cka_matrix` on one machine, whatever the number of workers.

    Raises
    ------
    ImportError
        If Dask is not installed: ``pip install "fastcka[dask]"``.
    TypeError
        For layers that are neither Dask arrays nor opened by a path.
    ValueError
        As for :func:`fastcka.cka_matrix`, naming the layer; if there is no client; if workers have other SIMD
        levels.
    FileNotFoundError
        If a worker does not have the files.
    MemoryError
        If a task needs more than `max_bytes`.

    Notes
    -----
    No n × n array is made. **Whole layers are**: a task of the products packs all layers, in the memory that
    :func:`fastcka.plan` tells, and Dask arrays are also held as they are, each whole on each worker. A store
    is mapped and holds nothing beside the packed copy. The statistics of a layer need that layer alone.

    With ``inference=True``, a kernel that is not linear takes a pass of its own over the Gram matrices, as
    tasks like those of the products, whose sums all tasks are sent.

    A worker that is lost is replaced by the others: its tasks are run again.

    Examples
    --------
    >>> import dask.array as da, fastcka.dask
    >>> from distributed import Client
    >>> client = Client(processes=False, dashboard_address=":0")
    >>> X = da.random.default_rng(0).normal(size=(600, 50), chunks=(100, 50))
    >>> matrix = fastcka.dask.cka_matrix({"x": X, "squared": X**2}, kernel="rbf")
    >>> matrix.shape
    (2, 2)
    >>> client.close()
    """
    settings = Settings.checked(kernel, estimator, dtype, n_threads, max_bytes)
    if n_threads is None:
        settings = replace(settings, n_threads=0)  # each worker knows its own
    client = distributed.default_client() if client is None else client
    opened = {"layers_a": _opened(layers_a)}
    if layers_b is not None and layers_b is not layers_a:
        opened["layers_b"] = _opened(layers_b)
    sources = {argument: _source(layers, argument) for argument, layers in opened.items()}
    networks = Networks.called(
        {
            argument: opened[argument] if isinstance(source, _Stored) else _arrays(source, {})
            for argument, source in sources.items()
        }
    )
    settings = asking(networks, settings, inference, groups)
    here = Sweep._of(networks, replace(settings, n_threads=1))  # knows shapes, but no values of Dask arrays

    work = _Work(client, settings, sources)
    for argument, source in sources.items():
        if not isinstance(source, _Stored):
            work.gather(
                argument, dict(zip(source, named_layers(opened[argument], argument).values(), strict=True))
            )
    most = TASKS_PER_WORKER * max(1, len(client.scheduler_info()["workers"]))
    stage: Stage | None = here.stages[0]
    merged: Any = None
    given: Partial | None = None
    while stage is not None:
        count = len(here.blocks(stage, given=given))
        tasks = count if stage == here.stages[0] else min(count, most)
        shares = [here.share(task, tasks, stage, given=given) for task in range(tasks)]
        read = [here._pieces.layers_read(stage, blocks) for blocks in shares]
        merged = work.merged([work.run(stage, *each, merged) for each in zip(shares, read, strict=True)])
        given = merged.result()
        stage = here.next_stage(given)
    # Moments under permutation, and sums that are too coarse, need the values once more.
    return warned(*networks.matrix(work.pairs(merged).result(), settings))


def _opened(layers: Any) -> Any:
    return open_layers(layers) if isinstance(layers, str | os.PathLike) else layers


def _source(layers: Any, argument: str) -> _Source:
    """Return where the tasks find the layers of a network."""
    path = getattr(layers, "path", None)
    if isinstance(layers, Mapping) and isinstance(path, str | os.PathLike):
        return _Stored(str(Path(path).absolute()), tuple(layers))
    return {
        name: _outline(X, layer_label(argument, name)) for name, X in named_layers(layers, argument).items()
    }


def _outline(X: Any, label: str) -> _Outline:
    if not isinstance(X, dask.array.Array):
        raise TypeError(
            f"{label} is no Dask array, but {type(X).__name__}: fastcka.cka_matrix takes arrays in memory; "
            f"name layers on disk by their path"
        )
    if any(np.isnan(length) for length in X.shape):
        raise ValueError(f"{label} has the shape {X.shape}: call its compute_chunk_sizes() first")
    return _Outline(X.shape, X.dtype)


def _names(source: _Source) -> tuple[str, ...]:
    return source.names if isinstance(source, _Stored) else tuple(source)


def _arrays(source: _Source, values: Mapping[str, Array]) -> Mapping[str, Array | StoredLayer]:
    """Return the layers of a network; those without values as outlines."""
    if isinstance(source, _Stored):
        return source.open()
    return {name: values[name] if name in values else outline.array() for name, outline in source.items()}


class _Work:
    """The tasks of one comparison."""

    def __init__(
        self, client: distributed.Client, settings: Settings, sources: Mapping[str, _Source]
    ) -> None:
        self._client, self._settings, self._sources = client, settings, sources
        self._values: dict[str, dict[str, Any]] = {argument: {} for argument in sources}  # futures
        self._token, self._numbers = uuid.uuid4().hex, count()

    def gather(self, argument: str, layers: Mapping[str, Any]) -> None:
        """Have the chunks of each Dask array put together, on a worker."""
        self._values[argument] = {name: self._client.compute(X) for name, X in layers.items()}

    def merged(self, parts: list[Any]) -> Any:
        """Merge neighbours, two at a time."""
        while len(parts) > 1:
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [self._submit("merge", _merge, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return parts[0]

    def run(self, stage: Stage, blocks: range, layers: range, given: Any) -> Any:
        """Make some blocks of a stage, from these layers alone."""
        names = [(argument, name) for argument, source in self._sources.items() for name in _names(source)]
        read = set(names[layers.start : layers.stop])
        values = {
            argument: {name: X for name, X in own.items() if (argument, name) in read}
            for argument, own in self._values.items()
        }
        return self._submit(stage, _run, stage, blocks, self._sources, values, self._settings, given)

    def pairs(self, given: Any) -> Any:
        """Finish the last stage where the values are."""
        return self._submit("result", _pairs, self._sources, self._values, self._settings, given)

    def _submit(self, what: str, function: Callable[..., object], *arguments: Any) -> Any:
        key = (f"fastcka-{what}-{self._token}", next(self._numbers))  # the dashboard shows it up to the token
        return self._client.submit(function, *arguments, key=key)


# ---------------------------------------------------------------------- on a worker


def _run(
    stage: Stage,
    blocks: range,
    sources: Mapping[str, _Source],
    values: Mapping[str, Mapping[str, Array]],
    settings: Settings,
    given: Partial | None,
) -> Partial:
    with _TURN:
        return _sweep(sources, values, settings).run(blocks, stage, given=given, progress=False)


def _pairs(
    sources: Mapping[str, _Source],
    values: Mapping[str, Mapping[str, Array]],
    settings: Settings,
    given: Partial,
) -> Pairs:
    with _TURN:
        return _sweep(sources, values, settings)._pieces.pairs(given)


def _sweep(
    sources: Mapping[str, _Source], values: Mapping[str, Mapping[str, Array]], settings: Settings
) -> Sweep:
    layers = {argument: _arrays(source, values[argument]) for argument, source in sources.items()}
    n_threads = settings.n_threads or distributed.get_worker().state.nthreads
    networks = side_by_side(Networks.called(layers), settings)
    return Sweep._of(networks, replace(settings, n_threads=n_threads))


def _merge(a: Partial, b: Partial) -> Partial:
    return a | b
