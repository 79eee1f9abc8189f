# SPDX-License-Identifier: BSD-3-Clause
"""Is linear CKA of a pair at least as fast as the best NumPy form of it, at every size and in both types?

And how much does it win over the formula that people copy?
"""

from __future__ import annotations

from suite import measured, standalone

from fastcka.bench import cases

SHAPES = ((1024, 4096), (4096, 512), (4096, 4096), (10000, 1024), (2048, 16384), (200, 50))


def run(threads: int) -> list[dict]:
    rows = []
    for dtype, repeats in (("float32", 5), ("float64", 3)):
        pairs = (cases.linear_pair(n, p, dtype, threads, target=1.0) for n, p in SHAPES)
        rows += measured(pairs, repeats, dtype=dtype)
    return [*rows, *measured([cases.copied_formula(4096, 1024, threads, target=100)], 3)]


if __name__ == "__main__":
    standalone(run)
