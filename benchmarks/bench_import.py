# SPDX-License-Identifier: BSD-3-Clause
"""How much longer does ``import fastcka`` take than ``import numpy``, in processes that are new?"""

from __future__ import annotations

import compileall
import statistics
from pathlib import Path

from suite import in_fresh_process, quantity, standalone

import fastcka

REPEATS = 15
CODE = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def milliseconds(module: str) -> float:
    return 1e3 * float(in_fresh_process(CODE.format(module=module)))


def run(threads: int) -> list[dict]:
    compileall.compile_dir(Path(fastcka.__file__).parent, quiet=2)  # as pip does
    for module in ("numpy", "fastcka"):
        milliseconds(module)  # files into the system's cache
    times = [(milliseconds("numpy"), milliseconds("fastcka")) for _ in range(REPEATS)]
    numpy, ours = zip(*times, strict=True)
    return [
        quantity(
            "import fastcka, more than import numpy",
            statistics.median(b - a for a, b in times),
            "ms",
            most=30,
            numpy_ms=statistics.median(numpy),
            fastcka_ms=statistics.median(ours),
        )
    ]


if __name__ == "__main__":
    standalone(run)
