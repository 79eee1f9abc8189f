# SPDX-License-Identifier: BSD-3-Clause
"""Does half-precision input cost time, compared with the same values in float32?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from suite import measured, standalone

import fastcka
from fastcka.bench import cases
from fastcka.bench.timing import Case

# Both sides compute with the same float32 values, on the same route.
AGREEMENT = 1e-6


def halves(n: int, p: int, threads: int) -> Iterator[Case]:
    X, Y = cases.pair(n, p)
    for name, (narrow, widen) in CONVERSIONS.items():
        x, y = narrow(X), narrow(Y)
        wide_x, wide_y = widen(x), widen(y)
        yield Case(
            f"linear pair {n} × {p}, {name}",
            lambda x=x, y=y: fastcka.cka(x, y, n_threads=threads),
            {"the same values in float32": lambda x=wide_x, y=wide_y: fastcka.cka(x, y, n_threads=threads)},
            AGREEMENT,
            1 / 1.15,
        )


def to_float16(X: np.ndarray) -> np.ndarray:
    return X.astype(np.float16)


def from_float16(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)


def to_bfloat16(X: np.ndarray) -> np.ndarray:
    """The upper two bytes, as two opaque bytes: how .npy files keep bfloat16."""
    return (X.view(np.uint32) >> 16).astype(np.uint16).view("V2")


def from_bfloat16(x: np.ndarray) -> np.ndarray:
    return (x.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


CONVERSIONS = {"float16": (to_float16, from_float16), "bfloat16": (to_bfloat16, from_bfloat16)}


def run(threads: int) -> list[dict]:
    return [row for n, p in ((4096, 1024), (4096, 4096)) for row in measured(halves(n, p, threads), 5)]


if __name__ == "__main__":
    standalone(run)
