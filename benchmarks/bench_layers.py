# SPDX-License-Identifier: BSD-3-Clause
"""All linear pairs of many layers: first and later calls of a process, the peak, and the best NumPy form.

Every repeat of a case is a process of its own, because a first call happens once: it touches fresh memory.
Later calls alternate with NumPy, which keeps all Gram matrices. The plain loop that a first call is measured
against writes one byte to each fresh page of as many bytes as the plan holds.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from bench_roofline import compiled_peak, peak
from suite import in_fresh_process, measured, quantity, standalone

from fastcka.bench import cases

# Layers, samples, features; of the memory of a small machine the inputs take at most 2 GB.
MANY = (
    (64, 2000, 4096),
    (100, 1024, 768),
    (128, 1000, 4096),
    (500, 512, 768),
    (1000, 512, 384),
    (2000, 256, 256),
)
PROCESSES = 2
LATER_CALLS = 2
LEAST_SHARE = 70  # percent of the multiply-add peak, in later calls

IN_A_PROCESS = """
import json, mmap, time
import numpy as np
import fastcka
from fastcka.bench import cases
from fastcka.bench.timing import check_values, equal_threads, interleaved
with equal_threads({threads}):
    case = cases.all_pairs({count}, {n}, {p}, "linear", {threads})
    plan = fastcka.plan([np.broadcast_to(np.float32(0), ({n}, {p}))] * {count}, n_threads={threads})
    start = time.perf_counter()
    case.ours()
    first = time.perf_counter() - start
    theirs = case.opponents["NumPy, stacked Gram matrices"]
    start = time.perf_counter()
    theirs()
    numpy_first = time.perf_counter() - start
    later, numpy_later = interleaved([case.ours, theirs], {calls})
    start = time.perf_counter()
    fresh = mmap.mmap(-1, plan.bytes)
    for page in range(0, plan.bytes, mmap.PAGESIZE):
        fresh[page] = 1
    touch = time.perf_counter() - start
    check_values(case)
print(json.dumps(dict(first=first, numpy_first=numpy_first, later=later, numpy_later=numpy_later, touch=touch,
                      flops=plan.flops, bytes=plan.bytes)))
"""


def many_layers(count: int, n: int, p: int, program: Path, threads: int) -> dict:
    """A row: share of the peak in later calls; beside it the first call, and the ratios to NumPy."""
    code = IN_A_PROCESS.format(count=count, n=n, p=p, threads=threads, calls=LATER_CALLS)
    runs, peaks = [], []
    for _ in range(PROCESSES):
        peaks.append(peak(program, threads))
        runs.append(json.loads(in_fresh_process(code)))
        peaks.append(peak(program, threads))
    later = statistics.median(seconds for run in runs for seconds in run["later"])
    return quantity(
        f"{count} layers {n} × {p}, float32",
        100 * runs[0]["flops"] / later / statistics.median(peaks),
        "%",
        least=LEAST_SHARE,
        later=later,
        first=statistics.median(run["first"] for run in runs),
        touch=statistics.median(run["touch"] for run in runs),
        ratio=statistics.median(
            theirs / ours
            for run in runs
            for ours, theirs in zip(run["later"], run["numpy_later"], strict=True)
        ),
        first_ratio=statistics.median(run["numpy_first"] / run["first"] for run in runs),
        megabytes=runs[0]["bytes"] / 1e6,
    )


def run(threads: int) -> list[dict]:
    rows = measured([cases.all_pairs(24, 2048, 768, "linear", threads, target=2.2)], 5)
    with tempfile.TemporaryDirectory() as folder:
        program = compiled_peak(folder, "float32")
        rows += [many_layers(count, n, p, program, threads) for count, n, p in MANY]
    return rows


if __name__ == "__main__":
    standalone(run)
