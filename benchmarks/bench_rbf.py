# SPDX-License-Identifier: BSD-3-Clause
"""How much faster is RBF CKA with the median bandwidth than the best NumPy form, and where does its time go?

The share of a step is the difference between two calls that differ by this step only, taken in turn:

* products and sums: linear CKA by Gram matrices, which forms the same tiles;
* the kernel map (distances and exp): RBF with a given sigma, less that;
* the median: RBF with the median bandwidth, less the one with a given sigma.
"""

from __future__ import annotations

import statistics

from suite import measured, quantity, standalone

import fastcka
from fastcka import _core
from fastcka.bench import cases
from fastcka.bench.timing import interleaved
from fastcka.kernels import core_kernel


def run(threads: int) -> list[dict]:
    rows = measured([cases.rbf_pair(4096, 1024, threads, target=4)], 5)
    rows += measured([cases.all_pairs(12, 2048, 768, "rbf", threads, target=5)], 5)
    return [*rows, *shares(4096, 1024, threads)]


def shares(n: int, p: int, threads: int) -> list[dict]:
    X, Y = cases.pair(n, p)

    def by_gram(kernel: fastcka.kernels.Kernel) -> _core.Pairwise:
        return _core.pairwise(
            [X],
            [Y],
            _core.Settings(
                core_kernel(kernel),
                estimator="biased",
                double_precision=False,
                n_threads=threads,
                route="gram",
            ),
        )

    fixed = fastcka.RBF(sigma=float(by_gram(fastcka.RBF()).sigma_a[0]))
    products, with_map, whole = interleaved(
        [lambda: by_gram(fastcka.Linear()), lambda: by_gram(fixed), lambda: by_gram(fastcka.RBF())], 7
    )

    def share(part: list[float]) -> float:
        return 100 * statistics.median(a / b for a, b in zip(part, whole, strict=True))

    map_only = [a - b for a, b in zip(with_map, products, strict=True)]
    median = [a - b for a, b in zip(whole, with_map, strict=True)]
    name = f"RBF pair {n} × {p}, share of"
    return [
        quantity(f"{name} products and sums", share(products), "%"),
        quantity(f"{name} the kernel map", share(map_only), "%"),
        quantity(f"{name} the median", share(median), "%"),
    ]


if __name__ == "__main__":
    standalone(run)
