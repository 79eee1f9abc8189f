# SPDX-License-Identifier: BSD-3-Clause
"""How does time grow with samples, features and layers, beside the best NumPy form?"""

from __future__ import annotations

from suite import measured, standalone

from fastcka.bench import cases

SAMPLES = (250, 500, 1000, 2000, 4000, 8000, 16000, 32000)  # of 256 features
SAMPLES_RBF = (250, 500, 1000, 2000, 4000, 8000)  # beyond, NumPy needs gigabytes
FEATURES = (32, 128, 512, 2048, 8192)  # of 2000 samples
LAYERS = (2, 4, 8, 16, 32)  # 1000 x 256


def run(threads: int) -> list[dict]:
    rows = []
    for n in SAMPLES:
        rows += measured([cases.linear_pair(n, 256, "float32", threads)], 3, along="n", at=n)
    for n in SAMPLES_RBF:
        rows += measured([cases.rbf_pair(n, 256, threads)], 3, along="n, RBF", at=n)
    for p in FEATURES:
        rows += measured([cases.linear_pair(2000, p, "float32", threads)], 3, along="p", at=p)
    for count in LAYERS:
        rows += measured([cases.all_pairs(count, 1000, 256, "linear", threads)], 3, along="layers", at=count)
    return rows


if __name__ == "__main__":
    standalone(run)
