# SPDX-License-Identifier: BSD-3-Clause
"""Which share of the multiply-add peak of this machine is reached, and how does that compare with sgemm?

The peak is that of a small C program (peak.c), compiled with the flags of the SIMD level that runs. The whole
call counts: reading, means, packing and sums included. Operations are those that the plan counts, with the
symmetric products by their half.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from suite import quantity, standalone

import fastcka
from fastcka.bench import cases
from fastcka.bench.timing import REST, interleaved

# As in CMakeLists.txt, and the bytes of a vector register.
FLAGS = {
    "v2": (["-march=x86-64-v2", "-mtune=haswell"], 16),
    "v3": (["-march=x86-64-v3", "-mtune=haswell"], 32),
    "v4": (["-march=x86-64-v4", "-mtune=skylake-avx512", "-mprefer-vector-width=512"], 64),
    "baseline": ([], 16),
}
REAL = {"float32": "float", "float64": "double"}
REPEATS = 5


def compiled_peak(folder: str, dtype: str) -> Path:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise FileNotFoundError("the multiply-add peak needs gcc, or clang with OpenMP, to compile peak.c")
    flags, width = FLAGS[fastcka.config.config()["simd_level"]]
    program = Path(folder) / f"peak_{dtype}"
    source = Path(__file__).with_name("peak.c")
    definitions = [f"-DREAL={REAL[dtype]}", f"-DBYTES={width}"]
    options = ["-O3", "-ffp-contract=fast", "-fopenmp", *flags, *definitions]
    subprocess.run([compiler, *options, str(source), "-o", str(program)], check=True)
    return program


def peak(program: Path, threads: int) -> float:
    time.sleep(REST)
    done = subprocess.run([program, str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def shares(n: int, p: int, dtype: str, program: Path, threads: int) -> list[dict]:
    """What a pair reaches of the peak; for the Gram route also of the rate of BLAS, both in every repeat."""
    X, Y = cases.pair(n, p, dtype)
    plan = fastcka.plan([X], [Y], n_threads=threads)
    side = 4096
    A, B = cases.pair(side, side, dtype)
    rates, gemm_rates, peaks = [], [], []
    for _ in range(REPEATS):
        calls = [lambda: fastcka.cka(X, Y, n_threads=threads), lambda: np.matmul(A, B)]
        (ours,), (gemm,) = interleaved(calls, 1)
        rates.append(plan.flops / ours)
        gemm_rates.append(2 * side**3 / gemm)
        peaks.append(peak(program, threads))

    name = f"linear pair {n} × {p}, {dtype}, {plan.route} route"
    blas = {"float32": "sgemm", "float64": "dgemm"}[dtype]
    target = 93 if (n, p, dtype) == (4096, 4096, "float32") else None
    return [
        quantity(
            f"{name}, share of peak",
            percentage(rates, peaks),
            "%",
            gflops=statistics.median(rates) / 1e9,
            peak_gflops=statistics.median(peaks) / 1e9,
            blas_share=percentage(gemm_rates, peaks),
        ),
        quantity(
            f"{name}, share of the {blas} rate",
            percentage(rates, gemm_rates),
            "%",
            least=target,
            gflops=statistics.median(rates) / 1e9,
            gemm_gflops=statistics.median(gemm_rates) / 1e9,
        ),
    ]


def percentage(rates: list[float], most: list[float]) -> float:
    """The median over the repeats, each against its own, since the clock of a processor changes."""
    return 100 * statistics.median(rate / limit for rate, limit in zip(rates, most, strict=True))


def run(threads: int) -> list[dict]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in REAL:
            program = compiled_peak(folder, dtype)
            for n, p in ((4096, 4096), (2048, 16384), (10000, 1024)):
                rows += shares(n, p, dtype, program, threads)
    return rows


if __name__ == "__main__":
    standalone(run)
