# SPDX-License-Identifier: BSD-3-Clause
"""What the files bench_*.py have in common: rows, and running one of them alone.

A file has ``run(threads) -> list of rows``. A row is what goes into the result file: a measurement of
``fastcka.bench.timing``, or a quantity.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from fastcka import bench, get_num_threads
from fastcka.bench.timing import Case, ValuesDiffer, equal_threads, measure


def measured(cases: Iterable[Case], repeats: int, **more: object) -> list[dict]:
    """Measure cases one after the other; `more` goes into each row.

    A case whose values differ has no times, but a row that says so.
    """
    rows = []
    for case in cases:
        try:
            measurement = measure(case, repeats)
        except ValuesDiffer as error:
            print(error, flush=True)
            rows.append({"name": case.name, "refused": str(error), **more})
        else:
            print("\n".join(bench.lines(measurement)), flush=True)
            rows.append({**measurement.to_dict(), **more})
    return rows


def quantity(
    name: str,
    value: float,
    unit: str,
    *,
    least: float | None = None,
    most: float | None = None,
    **more: object,
) -> dict:
    """A row that is not a ratio of times; `least` or `most` is its target."""
    beside = ", ".join(f"{key} {text(item)}" for key, item in more.items())
    print(f"{name:<60}{text(value):>10} {unit}  {beside}", flush=True)
    return {"name": name, "value": value, "unit": unit, "least": least, "most": most, **more}


def text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def in_fresh_process(code: str) -> str:
    """Run Python code in a process of its own that may import from this folder; return what it prints."""
    code = f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a process of the benchmark failed:\n{done.stderr}")
    return done.stdout


def peak_bytes(call: Callable[[], object]) -> int:
    """Return how far the resident memory of this process rises during a call (Linux)."""

    def kilobytes(line: str) -> int:
        status = Path("/proc/self/status").read_text()
        return next(int(text.split()[1]) for text in status.splitlines() if text.startswith(line))

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = kilobytes("VmRSS")
    call()
    return 1024 * (kilobytes("VmHWM") - before)


def standalone(run: Callable[[int], list[dict]]) -> None:
    """Run one file: ``python benchmarks/bench_linear.py --threads 2 --json F``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=get_num_threads())
    parser.add_argument("--json", type=argparse.FileType("w"))
    options = parser.parse_args()
    with equal_threads(options.threads):
        rows = run(options.threads)
    if options.json:
        json.dump(rows, options.json, indent=1)
