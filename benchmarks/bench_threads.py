# SPDX-License-Identifier: BSD-3-Clause
"""How much faster are more threads, and are the bits the same?"""

from __future__ import annotations

from collections.abc import Iterator

from suite import measured, standalone

import fastcka
from fastcka.bench import cases
from fastcka.bench.timing import Case

TARGET = {2: 1.85}
# The same bits for any number of threads is a promise: any difference is refused before it is timed.
SAME_BITS = 5e-324


def numbers(most: int) -> list[int]:
    """2, 4, 8, ... and the largest."""
    return sorted({2**k for k in range(1, 10) if 2**k < most} | {most} - {1})


def scaled(name: str, call, threads: int) -> Iterator[Case]:
    for n in numbers(threads):
        yield Case(
            f"{name}, {n} threads",
            lambda n=n: call(n),
            {"one thread": lambda: call(1)},
            SAME_BITS,
            TARGET.get(n),
        )


def works(threads: int) -> Iterator[Case]:
    for n, p, dtype in (
        (4096, 4096, "float32"),
        (10000, 1024, "float32"),
        (2048, 16384, "float32"),
        (4096, 4096, "float64"),
    ):
        X, Y = cases.pair(n, p, dtype)
        name = f"linear pair {n} × {p}, {dtype}"
        yield from scaled(name, lambda t, X=X, Y=Y: fastcka.cka(X, Y, n_threads=t), threads)
    X, Y = cases.pair(4096, 1024)
    yield from scaled(
        "RBF pair 4096 × 1024, median", lambda t: fastcka.cka(X, Y, kernel="rbf", n_threads=t), threads
    )
    many = cases.layers(24, 2048, 768)
    yield from scaled(
        "all linear pairs of 24 layers 2048 × 768",
        lambda t: fastcka.cka_matrix(many, n_threads=t).values,
        threads,
    )


def run(threads: int) -> list[dict]:
    return measured(works(threads), 3)


if __name__ == "__main__":
    standalone(run)
