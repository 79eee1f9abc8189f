# SPDX-License-Identifier: BSD-3-Clause
"""Time fastcka against the strongest NumPy forms: interleaved repeats, equal threads, values checked first.

python benchmarks/run.py --threads 2 --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy_forms as forms
from threadpoolctl import threadpool_info, threadpool_limits

import fastcka

# The two runs of a pair of timings may differ by this much in value: float32 Gram sums in NumPy lose digits.
AGREEMENT = {"float32": 5e-3, "float64": 1e-9}


def pair(n, p, dtype):
    rng = np.random.default_rng(n + p)
    X = rng.standard_normal((n, p), dtype=np.float32)
    return X.astype(dtype), (rng.standard_normal((n, p), dtype=np.float32) + X).astype(dtype)


def layers(count, n, p):
    rng = np.random.default_rng(count)
    return [rng.standard_normal((n, p), dtype=np.float32) for _ in range(count)]


def interleaved(functions: list[Callable], repeats: int) -> list[list[float]]:
    """Seconds per call of every function, taken in turn."""
    start = time.perf_counter()
    functions[0]()
    calls = max(1, int(2e-3 / (time.perf_counter() - start)))  # enough for the clock
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, seconds in zip(functions, times, strict=True):
            start = time.perf_counter()
            for _ in range(calls):
                function()
            seconds.append((time.perf_counter() - start) / calls)
    return times


class Run:
    def __init__(self, threads: int, repeats: int) -> None:
        self.threads, self.repeats, self.rows = threads, repeats, []

    def compare(self, name, dtype, ours, opponents, target=None):
        """The best opponent's time over ours, repeat by repeat; the values must agree."""
        value = np.asarray(ours())
        for opponent, function in opponents.items():
            gap = float(np.abs(np.asarray(function()) - value).max())
            if not gap < AGREEMENT[dtype]:
                raise AssertionError(f"{name}: {opponent} differs by {gap}")
        times = interleaved([ours, *opponents.values()], self.repeats)
        best = min(range(1, len(times)), key=lambda i: statistics.median(times[i]))
        ratios = sorted(b / a for a, b in zip(times[0], times[best], strict=True))
        row = {
            "name": name,
            "dtype": dtype,
            "opponent": list(opponents)[best - 1],
            "ours_ms": 1e3 * statistics.median(times[0]),
            "opponent_ms": 1e3 * statistics.median(times[best]),
            "ratio": statistics.median(ratios),
            "lowest": ratios[0],
            "highest": ratios[-1],
            "target": target,
        }
        self.rows.append(row)
        print(f"{name:44} {row['ours_ms']:9.2f} ms  {row['ratio']:6.2f} x {row['opponent']}", flush=True)

    def linear(self, dtype):
        for n, p in ((1024, 4096), (4096, 512), (4096, 4096), (10000, 1024), (2048, 16384), (200, 50)):
            X, Y = pair(n, p, dtype)
            opponents = {}
            if n < 3 * p:
                opponents["NumPy, Gram form"] = lambda X=X, Y=Y: forms.linear_gram(X, Y)
            if p < 3 * n:
                opponents["NumPy, feature form"] = lambda X=X, Y=Y: forms.linear_feature(X, Y)
            self.compare(
                f"linear pair {n} x {p}, {dtype}",
                dtype,
                lambda X=X, Y=Y: fastcka.cka(X, Y, n_threads=self.threads),
                opponents,
                1.0,
            )

    def others(self):
        t = self.threads
        X, Y = pair(4096, 1024, "float64")
        self.compare(
            "linear pair 4096 x 1024, float64",
            "float64",
            lambda: fastcka.cka(X, Y, n_threads=t),
            {"the formula as copied": lambda: forms.linear_copied(X, Y)},
            100,
        )
        A, B = pair(4096, 1024, "float32")
        self.compare(
            "RBF pair 4096 x 1024, median",
            "float32",
            lambda: fastcka.cka(A, B, kernel="rbf", n_threads=t),
            {"NumPy, in place": lambda: forms.rbf_pair(A, B)},
            4,
        )
        many = layers(24, 2048, 768)
        self.compare(
            "all pairs of 24 layers 2048 x 768",
            "float32",
            lambda: fastcka.cka_matrix(many, n_threads=t).values,
            {"NumPy, stacked": lambda: forms.linear_all_pairs(many)},
            1.8,
        )
        dozen = many[:12]
        self.compare(
            "all RBF pairs of 12 layers 2048 x 768",
            "float32",
            lambda: fastcka.cka_matrix(dozen, kernel="rbf", n_threads=t).values,
            {"NumPy, stacked": lambda: forms.rbf_all_pairs(dozen)},
            5,
        )
        halves = A.astype(np.float16), B.astype(np.float16)
        self.compare(
            "float32 time over float16 time, 4096 x 1024",
            "float32",
            lambda: fastcka.cka(*halves, n_threads=t),
            {"own float32": lambda: fastcka.cka(A, B, n_threads=t)},
            0.87,
        )

    def scaling(self):
        for name, n, p in (
            ("1 to 2 threads, linear 4096 x 4096", 4096, 4096),
            ("1 to 2 threads, linear 10000 x 1024", 10000, 1024),
        ):
            X, Y = pair(n, p, "float32")
            self.compare(
                name,
                "float32",
                lambda X=X, Y=Y: fastcka.cka(X, Y, n_threads=2),
                {"own single thread": lambda X=X, Y=Y: fastcka.cka(X, Y, n_threads=1)},
                1.85,
            )

    def sgemm_share(self):
        X, Y = pair(4096, 4096, "float32")
        ours, gemm = interleaved(
            [lambda: fastcka.cka(X, Y, n_threads=self.threads), lambda: X @ Y], self.repeats
        )
        # 2 n^2 p operations for both symmetric halves, against 2 n^3 of the full product
        rate = statistics.median(g / o for o, g in zip(ours, gemm, strict=True))
        self.rows.append(
            {
                "name": "both Gram matrices 4096 x 4096 as a share of the sgemm rate",
                "dtype": "float32",
                "opponent": "sgemm 4096^3",
                "ours_ms": 1e3 * statistics.median(ours),
                "opponent_ms": 1e3 * statistics.median(gemm),
                "ratio": rate,
                "lowest": None,
                "highest": None,
                "target": 0.93,
            }
        )
        print(f"share of the sgemm rate {rate:.2f}", flush=True)


def machine(threads):
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "threads": threads,
        "simd_level": fastcka.config.config()["simd_level"],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "fastcka": fastcka.__version__,
        "blas": [
            f"{i['internal_api']} {i.get('version')} {i.get('architecture')}"
            for i in threadpool_info()
            if i["user_api"] == "blas"
        ],
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    run = Run(options.threads, options.repeats)
    with threadpool_limits(options.threads, user_api="blas"):
        run.linear("float32")
        run.linear("float64")
        run.others()
        run.scaling()
        run.sgemm_share()
        result = {"machine": machine(options.threads), "rows": run.rows}
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
