# SPDX-License-Identifier: BSD-3-Clause
"""Distance correlations of all pairs of variables: one call, against dcor (``pip install dcor``).

dcor 0.7 has two ways: `distance_covariance_sqr` pair by pair, and `rowwise` over lists of pairs. The best use
of either is here: covariances of all pairs, each once, and the division after them. Its algorithm for single
variables takes n log n operations a pair, ours n² with a far smaller constant; the second case shows what ten
times the samples change.

2000 variables are two million pairs, more than an hour for dcor: it is measured on 100 variables, and
the time that so many pairs would take follows.
"""

from __future__ import annotations

import time

import numpy as np
from suite import measured, quantity, standalone

import fastcka
from fastcka.bench.timing import Case

try:
    import dcor
    import numba
except ImportError:
    dcor = None


def variables(n: int, p: int) -> np.ndarray:
    """Return variables that depend on three common ones, half of them not linearly."""
    rng = np.random.default_rng([n, p])
    common = rng.standard_normal((n, 3)) @ rng.standard_normal((3, p))
    common[:, ::2] **= 2
    return 0.5 * common + rng.standard_normal((n, p))


def ours(X: np.ndarray, threads: int, dtype: str) -> np.ndarray:
    return fastcka.cka_matrix(fastcka.columns(X), kernel="distance", dtype=dtype, n_threads=threads).values


def pair_by_pair(X: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(X.shape[1])
    covariances = [dcor.distance_covariance_sqr(X[:, i], X[:, j]) for i, j in zip(rows, columns, strict=True)]
    return correlations(covariances, X.shape[1])


def rowwise(X: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(X.shape[1])
    return correlations(dcor.rowwise(dcor.distance_covariance_sqr, X.T[rows], X.T[columns]), X.shape[1])


def correlations(covariances: object, p: int) -> np.ndarray:
    square = np.zeros((p, p))
    square[np.triu_indices(p)] = covariances
    square = np.triu(square) + np.triu(square, 1).T
    scale = np.sqrt(np.diag(square))
    return square / np.outer(scale, scale)


def run(threads: int) -> list[dict]:
    rows = []
    pair_seconds = None
    if dcor is None:
        print("dcor: not installed", flush=True)
        rows.append({"name": "dcor", "peer": "dcor", "not_imported": "not installed"})
    else:
        numba.set_num_threads(threads)
        for n, p, repeats in ((1000, 100, 3), (10_000, 10, 3)):
            X = np.asfortranarray(variables(n, p))
            forms = {
                "dcor, pair by pair": lambda X=X: pair_by_pair(X),
                "dcor, rowwise": lambda X=X: rowwise(X),
            }
            for dtype, agreement in (("float64", 1e-9), ("float32", 1e-5)):
                case = Case(
                    f"distance correlations of {p} variables, {n} samples, {dtype}",
                    lambda X=X, dtype=dtype: ours(X, threads, dtype),
                    forms,
                    agreement,
                )
                rows += measured([case], repeats)
                if n == 1000:
                    best = min(other["seconds"] for other in rows[-1]["opponents"].values())
                    pair_seconds = best / (p * (p + 1) // 2)
    n, p = 1000, 2000
    X = variables(n, p)
    for dtype in ("float32", "float64"):
        start = time.perf_counter()
        values = ours(X, threads, dtype)
        seconds = time.perf_counter() - start
        some = ours(X[:, :20], threads, "float64")
        if not np.abs(values[:20, :20] - some).max() < 1e-5:
            raise ValueError(f"values of {p} variables in {dtype} differ from those of the first 20 of them")
        more = {} if pair_seconds is None else {"dcor_would_take_s": pair_seconds * p * (p + 1) / 2}
        name = f"distance correlations of {p} variables, {n} samples, {dtype}"
        rows.append(quantity(name, seconds, "s", **more))
    return rows


if __name__ == "__main__":
    standalone(run)
