# SPDX-License-Identifier: BSD-3-Clause
"""What does less memory cost, a half, a quarter, a sixteenth of what the packed copies take, with equal bits?

The inputs are a memory-mapped file in the cache of the disk. The opponent is fastcka itself without a limit.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from suite import measured, quantity, standalone

import fastcka
from fastcka.bench import cases
from fastcka.bench.timing import Case

# Layers, samples, features, kernel.
SHAPES = ((2, 8192, 4096, "linear"), (12, 4096, 2048, "linear"), (2, 8192, 4096, "rbf"))
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
        name = f"{kernel}, {count} layers {n} × {p}, 1/{part} of {whole.bytes / 1e6:.0f} MB"
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


def run(threads: int) -> list[dict]:
    rows = []
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            rows += less_memory(*shape, Path(folder), threads)
    return rows


if __name__ == "__main__":
    standalone(run)
