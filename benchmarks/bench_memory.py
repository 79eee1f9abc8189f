# SPDX-License-Identifier: BSD-3-Clause
"""How much memory does a call use beside its inputs: against the plan, against NumPy, and as n grows?

Each measurement is a process of its own, which makes its inputs, does the same with a few samples (this loads
libraries and starts threads), and then compares the peak of its resident memory with what it held before. The
peak is the system's own count ("VmHWM" of /proc/self/status), so this file needs Linux.
"""

from __future__ import annotations

from suite import in_fresh_process, quantity, standalone

MEASURE = """
import numpy as np
import fastcka
from fastcka.bench import cases, numpy_forms
from suite import peak_bytes
from threadpoolctl import threadpool_limits

layers = cases.layers({count}, {n}, {p})
with threadpool_limits({threads}):
    call = lambda layers: {call}
    call([X[:64] for X in layers])
    print(peak_bytes(lambda: call(layers)))
"""
PLAN = """
import numpy as np
import fastcka
layers = [np.broadcast_to(np.float32(0), ({n}, {p}))] * {count}  # no values are read
print(fastcka.plan(layers, kernel={kernel}, n_threads={threads}).bytes)
"""
# Near the median distance of these layers. What matters: no search for the median keeps distances.
FIXED_SIGMA = "fastcka.RBF(sigma=20.0)"
MB = 1e6


def ours(kernel: str, threads: int) -> str:
    return f"fastcka.cka_matrix(layers, kernel={kernel}, n_threads={threads})"


def used(call: str, count: int, n: int, p: int, threads: int) -> float:
    code = MEASURE.format(call=call, count=count, n=n, p=p, threads=threads)
    return int(in_fresh_process(code)) / MB


def planned(kernel: str, count: int, n: int, p: int, threads: int) -> float:
    return int(in_fresh_process(PLAN.format(kernel=kernel, count=count, n=n, p=p, threads=threads))) / MB


def compared(name: str, kernel: str, form: str, count: int, n: int, p: int, threads: int, **target) -> dict:
    """Peak of fastcka, beside that of its plan and of a NumPy form; the value is the share of the latter."""
    peak = used(ours(kernel, threads), count, n, p, threads)
    numpy = used(f"numpy_forms.{form}(layers)", count, n, p, threads)
    plan = planned(kernel, count, n, p, threads)
    return quantity(name, 100 * peak / numpy, "%", peak_mb=peak, plan_mb=plan, numpy_mb=numpy, **target)


def run(threads: int) -> list[dict]:
    rows = [
        compared(
            "16 layers 4096 × 200, RBF with given sigma, share of NumPy's memory",
            FIXED_SIGMA, "rbf_all_pairs", 16, 4096, 200, threads, most=10,
        ),
        compared(
            "16 layers 4096 × 200, RBF with the median, share of NumPy's memory",
            "'rbf'", "rbf_all_pairs", 16, 4096, 200, threads,
        ),
        compared(
            "16 layers 4096 × 200, linear, share of the NumPy feature form",
            "'linear'", "linear_all_pairs_by_features", 16, 4096, 200, threads,
        ),
        compared(
            "2 layers 4096 × 4096, linear, share of the NumPy Gram form",
            "'linear'", "linear_all_pairs", 2, 4096, 4096, threads,
        ),
    ]  # fmt: skip
    # Flat in n: beyond the packed copies, at most 64 MB whatever n.
    for n in (1000, 2000, 4000, 8000, 16000, 32000):
        count, p = 2, 64
        peak = used(ours(FIXED_SIGMA, threads), count, n, p, threads)
        inputs = count * n * p * 4 / MB
        numpy = used("numpy_forms.rbf_all_pairs(layers)", count, n, p, threads) if n <= 8000 else None
        name = f"2 layers {n} × {p}, RBF with given sigma, beyond packed copies"
        rows.append(quantity(name, peak - inputs, "MB", most=64, at=n, peak_mb=peak, numpy_mb=numpy))
    return rows


if __name__ == "__main__":
    standalone(run)
