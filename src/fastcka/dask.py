# SPDX-License-Identifier: BSD-3-Clause
"""One comparison on the workers of a Dask cluster, with the bits of one call; needs ``fastcka[dask]``.

The tasks are those of a :class:`~fastcka.Sweep`: the statistics of each layer, ranges of blocks of the
products, and merges of two partials at a time.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from ._arrays import Array, Estimator, layer_label, named_layers
from ._networks import Networks, warned
from ._pairwise import Pairs, all_pairs
from ._partial import Partial, Stage
from ._settings import Settings
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
    given = {"layers_a": _opened(layers_a)}
    if layers_b is not None and layers_b is not layers_a:
        given["layers_b"] = _opened(layers_b)
    sources = {argument: _source(layers, argument) for argument, layers in given.items()}
    networks = Networks.called(
        {
            argument: given[argument] if isinstance(source, _Stored) else _arrays(source, {})
            for argument, source in sources.items()
        }
    )
    here = Sweep._of(networks, replace(settings, n_threads=1))

    work = _Work(client, settings, sources)
    for argument, source in sources.items():
        if not isinstance(source, _Stored):
            work.gather(
                argument, dict(zip(source, named_layers(given[argument], argument).values(), strict=True))
            )
    known = work.merged(work.statistics(networks.names))
    statistics: Partial = known.result()
    blocks = here.blocks(given=statistics)
    tasks = min(len(blocks), TASKS_PER_WORKER * max(1, len(client.scheduler_info()["workers"])))
    shares = [here.share(task, tasks, given=statistics) for task in range(tasks)]
    products: Partial = work.merged(work.products(shares, known)).result()
    return warned(*networks.matrix(here._pairs(products, work.one_call), settings))


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

    def statistics(self, names: Sequence[Sequence[str]]) -> list[Any]:
        """Return the statistics of each layer, made from that layer alone."""
        layers = [
            (argument, name) for argument, own in zip(self._sources, names, strict=True) for name in own
        ]
        return [self._run("statistics", range(i, i + 1), None, layer) for i, layer in enumerate(layers)]

    def products(self, shares: Sequence[range], given: Any) -> list[Any]:
        """Return the products of ranges of blocks."""
        return [self._run("products", blocks, given) for blocks in shares]

    def one_call(self) -> Pairs:
        """Return what one worker makes of all layers in one call."""
        task = self._submit("pairs", _compare, self._sources, self._values, self._settings)
        return cast(Pairs, task.result())

    def merged(self, parts: list[Any]) -> Any:
        """Merge neighbours, two at a time."""
        while len(parts) > 1:
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [self._submit("merge", _merge, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return parts[0]

    def _run(self, stage: Stage, blocks: range, given: Any, only: tuple[str, str] | None = None) -> Any:
        values = {
            argument: {name: X for name, X in own.items() if only in (None, (argument, name))}
            for argument, own in self._values.items()
        }
        return self._submit(stage, _run, stage, blocks, self._sources, values, self._settings, given)

    def _submit(self, what: str, function: Callable[..., Partial | Pairs], *arguments: Any) -> Any:
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
        return Sweep._of(*_opened_here(sources, values, settings)).run(
            blocks, stage, given=given, progress=False
        )


def _compare(
    sources: Mapping[str, _Source], values: Mapping[str, Mapping[str, Array]], settings: Settings
) -> Pairs:
    with _TURN:
        networks, here = _opened_here(sources, values, settings)
        return all_pairs(networks.a, networks.b, networks.label, here)


def _opened_here(
    sources: Mapping[str, _Source], values: Mapping[str, Mapping[str, Array]], settings: Settings
) -> tuple[Networks, Settings]:
    layers = {argument: _arrays(source, values[argument]) for argument, source in sources.items()}
    n_threads = settings.n_threads or distributed.get_worker().state.nthreads
    return Networks.called(layers), replace(settings, n_threads=n_threads)


def _merge(a: Partial, b: Partial) -> Partial:
    return a | b
