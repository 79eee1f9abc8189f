# SPDX-License-Identifier: BSD-3-Clause
"""Where tasks on a Dask cluster find the layers: in files that every worker opens, or in chunks on workers.

A Dask array is cut into chunks of some MB of whole rows. Each is computed once and stays with the worker that
computed it. Dask moves it to disk where memory is short, and computes it again if the worker is lost. A task
fetches the rows that it packs, chunk by chunk, and forgets them.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ._arrays import Array, layer_label, named_layers
from .layers import StoredLayer, open_layers

try:
    import dask.array
    import distributed as distributed  # dask and _dask_tasks have it from here, with this error
    from distributed.utils import sync
    from distributed.utils_comm import gather_from_workers
except ImportError as error:
    raise ImportError('fastcka.dask needs Dask: pip install "fastcka[dask]"') from error

CHUNK_BYTES = 8 << 20  # of a chunk; a row may be larger


class Stored(NamedTuple):
    """Layers that every worker opens by their path."""

    path: str
    names: tuple[str, ...]

    def open(self) -> dict[str, Array | StoredLayer]:
        """Open them here."""
        found = open_layers(self.path)
        lost = [name for name in self.names if name not in found]
        if lost:
            raise ValueError(
                f"{self.path} has no layer {lost[0]!r} on this worker: it has {', '.join(found)}"
            )
        return {name: found[name] for name in self.names}


class Outline(NamedTuple):
    """What a Dask array looks like, where its values are not needed."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, X: Any, label: str) -> Outline:
        """Check a layer."""
        if not isinstance(X, dask.array.Array):
            raise TypeError(
                f"{label} is {type(X).__name__}, not a Dask array: fastcka.cka_matrix takes arrays in "
                f"memory; name layers on disk by their path"
            )
        if any(np.isnan(length) for length in X.shape):
            raise ValueError(f"{label} has the shape {X.shape}: call its compute_chunk_sizes() first")
        return cls(X.shape, X.dtype)

    def array(self) -> Array:
        """Return zeros, which take no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


# The layers of a network.
Source: TypeAlias = Stored | dict[str, Outline]


def source_of(layers: Any, argument: str) -> Source:
    """Return where the tasks find the layers of a network."""
    path = getattr(layers, "path", None)
    if isinstance(layers, Mapping) and isinstance(path, str | os.PathLike):
        return Stored(str(Path(path).absolute()), tuple(layers))
    return {
        name: Outline.of(X, layer_label(argument, name)) for name, X in named_layers(layers, argument).items()
    }


def outlines(source: dict[str, Outline]) -> dict[str, Array]:
    """Return the layers of a network without their values."""
    return {name: outline.array() for name, outline in source.items()}


class Lost(Exception):
    """Rows that no worker has: the one that had them is lost, and their chunks are computed again."""

    def __init__(self, keys: list[Any]) -> None:
        super().__init__("its worker is lost")
        self.keys = keys

    def wait(self, seconds: float = 10.0) -> None:
        """Wait until the chunks are there, or for some time, without a place among the tasks of the worker.

        Whatever computes them may need the place.
        """
        worker = distributed.get_worker()
        distributed.secede()

        async def there() -> bool:
            who_has = await worker.scheduler.who_has(keys=self.keys)
            return all(who_has.get(key) for key in self.keys)

        end = time.monotonic() + seconds
        while time.monotonic() < end and not sync(worker.loop, there):
            time.sleep(0.1)


class Chunked:
    """A Dask array on the workers: rows are fetched when the core asks for them, in a task."""

    def __init__(self, outline: Outline, lengths: Sequence[int], keys: Sequence[Any]) -> None:
        self.shape, self.dtype = outline
        self.keys = tuple(keys)  # of the chunks
        self.bounds = (0, *accumulate(lengths))  # the rows at which chunks begin, and the number of rows

    def open_rows(self) -> _Rows:
        """Return what reads rows [first, last)."""
        return _Rows(self)

    def __getitem__(self, rows: slice) -> Array:
        first, last, _ = rows.indices(self.shape[0])
        return _Rows(self)(first, last)


class _Rows:
    """Reads rows in order. The last chunk is kept, since the next rows may begin in it."""

    def __init__(self, layer: Chunked) -> None:
        self._layer = layer
        self._kept: dict[int, Array] = {}
        self._who_has: dict[Any, list[str]] = {}  # addresses of workers, by key

    def __call__(self, first: int, last: int) -> Array:
        bounds = self._layer.bounds
        numbers = range(bisect_right(bounds, first) - 1, bisect_left(bounds, last))
        chunks = self._chunks(numbers)
        self._kept = {numbers[-1]: chunks[-1]}
        if len(chunks) == 1:
            return chunks[0][first - bounds[numbers[0]] : last - bounds[numbers[0]]]
        rows = np.empty((last - first, self._layer.shape[1]), self._layer.dtype)
        for number, chunk in zip(numbers, chunks, strict=True):
            start, stop = max(first, bounds[number]), min(last, bounds[number + 1])
            rows[start - first : stop - first] = chunk[start - bounds[number] : stop - bounds[number]]
        return rows

    def close(self) -> None:
        """Forget the last chunk."""
        self._kept = {}

    def _chunks(self, numbers: range) -> list[Array]:
        layer = self._layer
        missing = {number: layer.keys[number] for number in numbers if number not in self._kept}
        found = self._fetched(list(missing.values()))
        chunks = [found[missing[i]] if i in missing else self._kept[i] for i in numbers]
        for number, chunk in zip(numbers, chunks, strict=True):
            expected = layer.bounds[number + 1] - layer.bounds[number], layer.shape[1]
            if chunk.shape != expected or chunk.dtype != layer.dtype:
                raise ValueError(
                    f"a chunk is {chunk.shape} of {chunk.dtype}, and not {expected} of {layer.dtype}, "
                    f"as the Dask array says"
                )
        return chunks

    def _fetched(self, keys: list[Any]) -> dict[Any, Array]:
        """Return chunks, of this worker or from others, or raise Lost."""
        worker = distributed.get_worker()

        async def fetch() -> dict[Any, Array]:
            found: dict[Any, Array] = {key: worker.data[key] for key in keys if key in worker.data}
            for ask in (not self._who_has, True):  # again, where chunks are elsewhere now
                missing = [key for key in keys if key not in found]
                if missing and ask:
                    self._who_has = await worker.scheduler.who_has(keys=list(self._layer.keys))
                there = {key: self._who_has[key] for key in missing if self._who_has.get(key)}
                if there:
                    found |= (await gather_from_workers(there, rpc=worker.rpc))[0]
            return found

        found: dict[Any, Array] = sync(worker.loop, fetch)
        if len(found) < len(keys):
            raise Lost([key for key in keys if key not in found])
        return found


# ---------------------------------------------------------------------- at the client


def rows_apart(X: Any, order: Array | None, columns: bool) -> Any:
    """Return a Dask array in chunks of some MB of whole rows, in this order, and of `columns`, too."""
    if order is not None:
        X = X[order]
        X = X[:, order] if columns else X
    cut = X.rechunk({0: "auto", 1: -1}, block_size_limit=CHUNK_BYTES, method="tasks")
    if cut is X:
        return X
    return cut.map_blocks(np.array, dtype=X.dtype, order="C", meta=np.empty((0, 0), X.dtype))


def chunked(client: distributed.Client, outline: Outline, X: Any) -> tuple[Chunked, list[Any]]:
    """Have the chunks of a Dask array computed; return it for tasks, and the futures that keep the chunks."""
    futures = client.compute(X.to_delayed().ravel().tolist())
    return Chunked(outline, X.chunks[0], [future.key for future in futures]), futures
