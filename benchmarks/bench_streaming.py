# SPDX-License-Identifier: BSD-3-Clause
"""What does it cost to see the samples in batches, against having whole arrays?

The exact stream keeps products of features, whatever n; whole arrays let fastcka choose Gram matrices, which
are cheaper while there are fewer samples than features of all layers.
"""

from __future__ import annotations

from collections.abc import Iterator

from suite import measured, standalone

import fastcka
from fastcka.bench import cases
from fastcka.bench.timing import Case

BATCH = 256
# float32 products with float64 sums on both sides.
AGREEMENT = 1e-5


def streamed(count: int, n: int, p: int, threads: int) -> Case:
    layers = cases.layers(count, n, p)

    def stream() -> object:
        accumulator = fastcka.StreamingCKA(method="exact", estimator="unbiased", n_threads=threads)
        for start in range(0, n, BATCH):
            accumulator.update([X[start : start + BATCH] for X in layers])
        return accumulator.result().values

    def whole() -> object:
        return fastcka.cka_matrix(layers, estimator="unbiased", n_threads=threads).values

    return Case(f"exact stream of {count} layers {n} × {p}", stream, {"whole arrays": whole}, AGREEMENT)


def works(threads: int) -> Iterator[Case]:
    yield streamed(24, 2048, 768, threads)
    yield streamed(4, 16384, 256, threads)


def run(threads: int) -> list[dict]:
    return measured(works(threads), 3)


if __name__ == "__main__":
    standalone(run)
