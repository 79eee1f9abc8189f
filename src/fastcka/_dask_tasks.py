# SPDX-License-Identifier: BSD-3-Clause
"""The tasks of one comparison on a Dask cluster: what the client submits, and what a worker does.

They are those of a :class:`~fastcka.Sweep`: the statistics of each layer, ranges of blocks of the later
stages, and merges of two partials at a time.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any, Self

from ._arrays import named_layers
from ._dask_layers import Chunked, Lost, Source, Stored, chunked, distributed, outlines, rows_apart
from ._machine import available_bytes
from ._networks import Networks
from ._pairwise import Pairs
from ._partial import Partial
from ._settings import Settings
from ._stages import MEDIANS, Stage
from .kernels import Precomputed
from .sweep import Sweep

# Tasks of a stage: what a slow or lost worker leaves is made by others. But each task fetches and packs all
# rows of its layers, so there are several only where that is little beside so many operations with a value.
TASKS_PER_WORKER = 4
OPERATIONS = 4000
OF_A_WORKER = 1 / 2  # of its memory limit may a task use; Dask moves chunks to disk beyond 0.6 or 0.7 of it

# Tasks of one worker take turns, each with all of its threads: together they would start threads squared,
# and hold the packed layers once each.
_TURN = threading.Lock()

Values = Mapping[str, Mapping[str, Chunked]]  # of arguments, by the names of layers


class Tasks:
    """The tasks of one comparison, as the client submits them."""

    def __init__(
        self,
        client: distributed.Client,
        settings: Settings,
        sources: Mapping[str, Source],
        names: Sequence[tuple[str, ...]],
    ) -> None:
        self._client, self._settings, self._sources = client, settings, sources
        self._layers = [(x, name) for x, own in zip(sources, names, strict=True) for name in own]
        self._values: dict[str, dict[str, Chunked]] = {argument: {} for argument in sources}
        self._chunks: list[Any] = []  # futures, which keep them
        self._token, self._numbers = uuid.uuid4().hex, count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._chunks.clear()  # whatever keeps the traceback of an error should not keep them

    def compute(self, layers: Mapping[str, Any]) -> None:
        """Have the chunks of all Dask arrays computed."""
        wanted = self._settings.inference
        groups = None if wanted is None else wanted.groups
        order = groups.order if groups is not None and groups.apart else None
        square = isinstance(self._settings.kernel, Precomputed)
        for argument, source in self._sources.items():
            if isinstance(source, Stored):
                continue
            arrays = named_layers(layers[argument], argument).values()
            for (name, outline), X in zip(source.items(), arrays, strict=True):
                apart = rows_apart(X, order, columns=square)
                self._values[argument][name], chunks = chunked(self._client, outline, apart)
                self._chunks += chunks
        for chunk in self._chunks:
            if chunk.exception() is not None:
                chunk.result()  # raises it

    def merged(self, tasks: Iterable[Any]) -> Any:
        """Merge neighbours, two at a time."""
        parts = list(tasks)
        while len(parts) > 1:
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [self._submit("merge", _merge, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return parts[0]

    def shares(self, sweep: Sweep, stage: Stage, given: Partial | None) -> list[range]:
        """Return the blocks of each task of a stage."""
        blocks, layers = len(sweep.blocks(stage, given=given)), len(self._layers)
        if stage == "statistics":
            return cut(blocks, blocks)
        workers = max(1, len(self._client.nthreads()))
        each = sweep._pieces.operations_per_value / (workers * OPERATIONS)
        tasks = workers * min(max(1, int(each)), TASKS_PER_WORKER)
        if stage not in MEDIANS:
            return cut(blocks, tasks)
        of_a_layer = blocks // layers
        if tasks < layers:  # of whole layers, each of which one task fetches
            runs = cut(layers, tasks)
            return [range(run.start * of_a_layer, run.stop * of_a_layer) for run in runs]
        parts = cut(of_a_layer, tasks // layers)
        firsts = range(0, blocks, of_a_layer)
        return [range(first + part.start, first + part.stop) for first in firsts for part in parts]

    def run(self, stage: Stage, blocks: range, layers: range, given: Any) -> Any:
        """Make some blocks of a stage, from these layers alone."""
        read = set(self._layers[layers.start : layers.stop])
        values = {
            argument: {name: X for name, X in own.items() if (argument, name) in read}
            for argument, own in self._values.items()
        }
        checked = layers if stage == "statistics" else range(0)
        return self._submit(stage, _run, stage, blocks, self._sources, values, self._settings, given, checked)

    def spread(self, merged: Any) -> None:
        """Give a partial to all workers: the one that has it would get all tasks that need it."""
        self._client.replicate(merged)

    def pairs(self, given: Any) -> Any:
        """Finish the last stage where the values are."""
        return self._submit("result", _pairs, self._sources, self._values, self._settings, given)

    def result(self, task: Any) -> Any:
        """Wait for a task; an error or an interrupt here ends it and what it waits for."""
        try:
            while True:
                try:
                    task.exception(timeout=1)
                except TimeoutError:
                    for chunk in self._chunks:  # those of a lost worker are computed again
                        if chunk.status == "error":
                            chunk.result()
                else:
                    return task.result()
        except BaseException:
            self._client.cancel(task)
            raise

    def _submit(self, what: str, function: Callable[..., object], *arguments: Any) -> Any:
        key = (f"fastcka-{what}-{self._token}", next(self._numbers))  # the dashboard shows it up to the token
        return self._client.submit(function, *arguments, key=key)


def cut(count: int, parts: int) -> list[range]:
    """Return ranges of nearly equal length, none of them empty.

    >>> cut(5, 2), cut(2, 4)
    ([range(0, 2), range(2, 5)], [range(0, 1), range(1, 2)])
    """
    parts = min(count, parts)
    return [range(part * count // parts, (part + 1) * count // parts) for part in range(parts)]


# ---------------------------------------------------------------------- on a worker


def _run(
    stage: Stage,
    blocks: range,
    sources: Mapping[str, Source],
    values: Values,
    settings: Settings,
    given: Partial | None,
    checked: range,
) -> Partial:
    with _turn():
        sweep = _sweep(sources, values, settings)
        sweep._pieces.check_values(checked)
        return sweep.run(blocks, stage, given=given, progress=False)


def _pairs(sources: Mapping[str, Source], values: Values, settings: Settings, given: Partial) -> Pairs:
    with _turn():
        return _sweep(sources, values, settings)._pieces.pairs(given)


def _merge(a: Partial, b: Partial) -> Partial:
    return a | b


@contextmanager
def _turn() -> Iterator[None]:
    """Compute while no other task of this worker does; where rows are lost, wait for them and start anew."""
    try:
        with _TURN:
            yield
    except ValueError as error:
        if not isinstance(error.__cause__, Lost):
            raise
        error.__cause__.wait()
        raise distributed.Reschedule from None


def _sweep(sources: Mapping[str, Source], values: Values, settings: Settings) -> Sweep:
    worker = distributed.get_worker()
    networks = Networks.called(
        {
            argument: source.open()
            if isinstance(source, Stored)
            else outlines(source) | dict(values[argument])
            for argument, source in sources.items()
        }
    )
    wanted = settings.inference
    if wanted is not None and wanted.groups is not None:  # Dask arrays are in their order
        arrays = [
            wanted.groups.sorted(own, settings.kernel) if isinstance(source, Stored) else own
            for own, source in zip(networks.arrays, sources.values(), strict=True)
        ]
        networks = replace(networks, arrays=tuple(arrays))
    n_threads = settings.n_threads or worker.state.nthreads
    max_bytes = settings.max_bytes or _share(worker)
    return Sweep._of(networks, replace(settings, n_threads=n_threads, max_bytes=max_bytes), checked=True)


def _share(worker: distributed.Worker) -> int:
    """Return the bytes that a task may use: 0 where Dask sets no limit, which is what the process may use."""
    limit = worker.memory_manager.memory_limit
    return 0 if limit is None else max(1, min(int(OF_A_WORKER * limit), available_bytes()))
