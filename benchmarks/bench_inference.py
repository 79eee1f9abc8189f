# SPDX-License-Identifier: BSD-3-Clause
"""What does it cost to know how sure a value is?

* the p-value of a pair by moments, against 999 permutations in NumPy that gather a Gram matrix each time, as
  public code does;
* permutations, against the same gathers; both give the same share of permutations, to within chance;
* the p-value by chi-squared, against hyppo's Hsic, which has the same statistic and formula, where hyppo is
  installed;
* ``inference=True`` and ``inference="moments"`` on 24 layers, against the same call without, as a multiple of
  its time.
"""

from __future__ import annotations

import importlib
import statistics

import numpy as np
from suite import measured, quantity, standalone

import fastcka
from fastcka.bench import cases, numpy_forms
from fastcka.bench.timing import Case, interleaved

PERMUTATIONS = 999


def run(threads: int) -> list[dict]:
    pairs = [
        test(kernel, method, 2000, 256, threads, target)
        for method, targets in (("moments", (200, 60)), ("permutation", (10, 10)))
        for kernel, target in zip(("linear", "rbf"), targets, strict=True)
    ]
    pairs += against_hyppo(2000, 256, threads)
    layers = [
        all_pairs(kernel, most, threads) for kernel, most in (("linear", 2.3), ("cosine", 2.3), ("rbf", 3))
    ]
    layers.append(all_pairs("rbf", None, threads, "moments"))
    return [*measured(pairs, 3), *layers]


def test(kernel: str, method: str, n: int, p: int, threads: int, target: float) -> Case:
    """A p-value of unrelated layers; that of 999 permutations is within 0.1 (6 standard deviations)."""
    rng = np.random.default_rng([n, p])
    X, Y = (rng.standard_normal((n, p), dtype=np.float32) for _ in range(2))
    return Case(
        f"p-value by {method}, {kernel}, pair {n} × {p}",
        lambda: (
            fastcka.cka_test(
                X, Y, kernel=kernel, method=method, n_resamples=PERMUTATIONS, rng=0, n_threads=threads
            ).pvalue
        ),
        {f"NumPy, {PERMUTATIONS} permutations": lambda: by_gathers(X, Y, kernel)},
        0.1,
        target,
    )


def against_hyppo(n: int, p: int, threads: int) -> list[Case]:
    """Statistic and p-value of a test with one bandwidth for both sides; hyppo takes that of X for Y, too."""
    try:
        hsic = importlib.import_module("hyppo.independence").Hsic
    except ImportError as error:
        print(f"hyppo: not imported ({error})", flush=True)
        return []
    rng = np.random.default_rng([n, p])
    X, Y = (rng.standard_normal((n, p), dtype=np.float32) for _ in range(2))
    sigma = float(np.sqrt(2 * p))  # about the median distance

    def ours() -> tuple[float, float]:
        kernel = fastcka.RBF(sigma=sigma)
        test = fastcka.cka_test(X, Y, kernel=kernel, method="chi2", n_threads=threads)
        return test.statistic, test.pvalue

    def theirs() -> tuple[float, float]:
        found = hsic(gamma=1 / (2 * sigma**2)).test(X, Y)
        return found.stat, found.pvalue

    # float32: 3e-7 apart where this was written
    return [Case(f"p-value by chi2, rbf, pair {n} × {p}", ours, {"hyppo": theirs}, 1e-5)]


def by_gathers(X: np.ndarray, Y: np.ndarray, kernel: str) -> float:
    """p-value from permutations of the second Gram matrix, each of them gathered."""
    gram_matrix = {"linear": numpy_forms.linear_gram_matrix, "rbf": numpy_forms.rbf_gram_matrix}[kernel]
    n, rng = len(X), np.random.default_rng(1)
    K, L = (u_centred(gram_matrix(Z, np.empty((n, n), np.float32))) for Z in (X, Y))
    observed = np.vdot(K, L)
    orders = [rng.permutation(n) for _ in range(PERMUTATIONS)]
    larger = sum(np.vdot(K, L[np.ix_(order, order)]) >= observed for order in orders)
    return float((1 + larger) / (1 + PERMUTATIONS))


def u_centred(K: np.ndarray) -> np.ndarray:
    n = len(K)
    np.fill_diagonal(K, 0)
    rows = K.sum(axis=0, dtype=np.float64)
    U = K - ((rows[:, None] + rows) / (n - 2) - rows.sum() / ((n - 1) * (n - 2))).astype(np.float32)
    np.fill_diagonal(U, 0)
    return U


def all_pairs(kernel: str, most: float | None, threads: int, inference: bool | str = True) -> dict:
    """How many times as long all pairs of layers take with `inference`."""
    layers = cases.layers(24, 2048, 768)

    def compare(inference: bool | str) -> fastcka.CKAMatrix:
        return fastcka.cka_matrix(layers, kernel=kernel, inference=inference, n_threads=threads)

    without, with_it = interleaved([lambda: compare(False), lambda: compare(inference)], 5)
    ratios = [b / a for a, b in zip(without, with_it, strict=True)]
    return quantity(
        f"inference={inference!r}, {kernel}, 24 layers 2048 × 768",
        statistics.median(ratios),
        "times the call without",
        most=most,
        seconds=statistics.median(with_it),
        lowest=min(ratios),
        highest=max(ratios),
    )


if __name__ == "__main__":
    standalone(run)
