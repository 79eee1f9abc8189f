# SPDX-License-Identifier: BSD-3-Clause
"""How much faster are all pairs of many layers than the best NumPy form, which keeps all Gram matrices?"""

from __future__ import annotations

from suite import measured, standalone

from fastcka.bench import cases


def run(threads: int) -> list[dict]:
    return measured([cases.all_pairs(24, 2048, 768, "linear", threads, target=1.8)], 5)


if __name__ == "__main__":
    standalone(run)
