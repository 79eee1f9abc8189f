# SPDX-License-Identifier: BSD-3-Clause
"""How does time grow with samples, features and layers, beside the best NumPy form?"""

from __future__ import annotations

from dataclasses import replace

from suite import measured, standalone

from fastcka.bench import cases
from fastcka.bench.timing import Case

SAMPLES = (250, 500, 1000, 2000, 4000, 8000, 16000, 32000)  # of 256 features
SAMPLES_RBF = (250, 500, 1000, 2000, 4000, 8000)  # beyond, NumPy needs gigabytes
FEATURES = (32, 128, 512, 2048, 8192)  # of 2000 samples
LAYERS = (2, 4, 8, 16, 32)  # 1000 x 256


def run(threads: int) -> list[dict]:
    rows = []

    def add(case: Case, along: str, at: int) -> None:
        # Without torch: three libraries that take turns hold up one another's small calls too often.
        rows.extend(measured([replace(case, beside={})], 5, along=along, at=at))

    for n in SAMPLES:
        add(cases.linear_pair(n, 256, "float32", threads), "n", n)
    for n in SAMPLES_RBF:
        add(cases.rbf_pair(n, 256, threads), "n, RBF", n)
    for p in FEATURES:
        add(cases.linear_pair(2000, p, "float32", threads), "p", p)
    for count in LAYERS:
        add(cases.all_pairs(count, 1000, 256, "linear", threads), "layers", count)
    return rows


if __name__ == "__main__":
    standalone(run)
