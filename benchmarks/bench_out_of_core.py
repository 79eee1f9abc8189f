# SPDX-License-Identifier: BSD-3-Clause
"""What does less memory cost, a half, a quarter, a sixteenth of what the packed copies take, with equal bits?

The inputs are a memory-mapped file in the cache of the disk. The opponent is fastcka itself without a limit.
Then the pieces: two processes that share out the blocks, and merge them, against one with as many threads.
"""

from __future__ import annotations

import functools
import multiprocessing
import operator
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from suite import measured, quantity, standalone

import fastcka
from fastcka.bench import cases
from fastcka.bench.timing import Case

# Layers, samples, features, kernel. The first two go by the feature route, in strips of features.
SHAPES = (
    (2, 8192, 4096, "linear"),
    (3, 65536, 512, "linear"),
    (12, 4096, 2048, "linear"),
    (2, 8192, 4096, "rbf"),
)
PIECES = ((3, 65536, 512, "linear"), (12, 4096, 2048, "rbf"))
PARTS = (2, 4, 16)
TARGETS = {4: 0.8}


def mapped(count: int, n: int, p: int, folder: Path) -> list[np.memmap]:
    files = []
    for number, X in enumerate(cases.layers(count, n, p)):
        np.save(folder / f"{count}-{number}.npy", X)
        files.append(np.load(folder / f"{count}-{number}.npy", mmap_mode="r"))
    return files


def less_memory(count: int, n: int, p: int, kernel: str, folder: Path, threads: int) -> list[dict]:
    layers = mapped(count, n, p, folder)
    whole = fastcka.plan(layers, kernel=kernel, n_threads=threads)
    rows = []
    for part in PARTS:
        name = (
            f"{kernel}, {whole.route} route, {count} layers {n} × {p}, 1/{part} of {whole.bytes / 1e6:.0f} MB"
        )
        limit = whole.bytes // part
        try:
            plan = fastcka.plan(layers, kernel=kernel, n_threads=threads, max_bytes=limit)
        except MemoryError as error:
            rows.append({"name": name, "refused": str(error)})
            print(name, error, flush=True)
            continue

        def call(limit: int | None = limit) -> np.ndarray:
            return fastcka.cka_matrix(layers, kernel=kernel, n_threads=threads, max_bytes=limit).values

        # The same bits: the least difference is too much.
        case = Case(name, call, {"in memory": lambda call=call: call(None)}, 1e-300, TARGETS.get(part))
        rows += measured([case], 3)
        rows.append(quantity(f"{name}: reads of each value", plan.reads, "times", in_memory=whole.reads))
    return rows


def part_of(
    files: list[Path],
    kernel: str,
    threads: int,
    stage: str,
    task: int,
    of: int,
    given: fastcka.Partial | None,
) -> fastcka.Partial:
    """What one process does: its share of the blocks of a stage."""
    layers = [np.load(file, mmap_mode="r") for file in files]
    sweep = fastcka.Sweep(layers, kernel=kernel, n_threads=threads)
    return sweep.run(sweep.share(task, of, stage, given=given), stage, given=given, progress=False)


def two_processes(count: int, n: int, p: int, kernel: str, folder: Path, threads: int) -> list[dict]:
    """Both stages, shared out to processes that have started already, against one call in one process."""
    layers = mapped(count, n, p, folder)
    files = [folder / f"{count}-{number}.npy" for number in range(count)]
    sweep, each = fastcka.Sweep(layers, kernel=kernel), max(threads // 2, 1)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:

        def stage(name: str, given: fastcka.Partial | None = None) -> fastcka.Partial:
            parts = [pool.submit(part_of, files, kernel, each, name, task, 2, given) for task in range(2)]
            return functools.reduce(operator.or_, (part.result() for part in parts))

        case = Case(
            f"{kernel}, {count} layers {n} × {p}: 2 processes of {each} thread{'s' * (each > 1)}",
            lambda: sweep.result(stage("products", stage("statistics"))).values,
            {
                f"1 process, {2 * each} threads": lambda: (
                    fastcka.cka_matrix(layers, kernel=kernel, n_threads=2 * each).values
                )
            },
            1e-300,  # the same bits
        )
        return measured([case], 3)


def run(threads: int) -> list[dict]:
    rows = []
    for measurement, shapes in ((less_memory, SHAPES), (two_processes, PIECES)):
        for shape in shapes:
            with tempfile.TemporaryDirectory() as folder:
                rows += measurement(*shape, Path(folder), threads)
    return rows


if __name__ == "__main__":
    standalone(run)
