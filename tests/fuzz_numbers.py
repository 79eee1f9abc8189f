# SPDX-License-Identifier: BSD-3-Clause
"""Random cases that are hard on the digits, judged in extended precision by the bound of docs/numerics.md.

``python tests/fuzz_numbers.py 20000`` draws so many cases and prints faults and the worst; test_numbers.py
draws a few. A case is a seed: data of some kind, a kernel, an estimator, a route, a dtype.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import extended
import numpy as np
from checks import widened
from implementations import ESTIMATORS, core_pairs

import fastcka
from fastcka.kernels import core_kernel, resolve_kernel

FIRST = {"float64": 1e-12, "float32": 1e-6}  # the error that any data may have ...
PER_CONDITION = 2.0**-50  # ... and that for each unit of the condition
NO_VALUE = 2.0**40  # a condition above which there is no value
BAND = 2.0**10  # around that edge either answer will do


def normal(rng, n, p):
    return rng.normal(size=(n, p))


def shifted(rng, n, p):
    return rng.normal(size=(n, p)) + 1e4 * rng.choice([-1.0, 1.0], size=p)


def massive(rng, n, p):
    X = rng.normal(size=(n, p))
    X[rng.integers(n), rng.integers(p)] = 10.0 ** rng.uniform(1, 5)
    return X


def long_row(rng, n, p):
    X = rng.normal(size=(n, p))
    X[rng.integers(n)] *= 10.0 ** rng.uniform(0, 4)
    return X


def near(rng, n, p):
    """Pairs of samples at 1e-1 to 1e-9 of their norms."""
    X = rng.normal(size=(n, p))
    half = n // 2
    X[half : 2 * half] = X[:half] + 10.0 ** rng.uniform(-9, -1) * rng.normal(size=(half, p))
    return rng.permutation(X)


def clusters(rng, n, p):
    centres = 10.0 ** rng.uniform(-1, 2) * rng.normal(size=(rng.integers(2, 6), p))
    return centres[rng.integers(len(centres), size=n)] + 10.0 ** rng.uniform(-6, 0) * rng.normal(size=(n, p))


def repeated(rng, n, p):
    X = rng.normal(size=(n, p))
    X[rng.random(n) < rng.uniform(0.1, 0.9)] = X[0]
    return X


def binary(rng, n, p):
    return (rng.random((n, p)) < rng.uniform(0.02, 0.5)).astype(float)


def rectified(rng, n, p):
    return np.maximum(rng.normal(size=(n, p)) - rng.uniform(0, 2), 0)


def of_any_size(rng, n, p):
    return rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-4, 4, size=p)


def one_active(rng, n, p):
    """One unit that is active in one sample, alone or beside others that hardly vary."""
    X = 10.0 ** rng.uniform(-8, 0) * rng.normal(size=(n, p)) * rng.integers(2)
    X[rng.integers(n), rng.integers(p)] += 10.0 ** rng.uniform(-1, 4)
    return X


def orthogonal(rng, n, p):
    """Samples at equal distances in some basis, and what sets them apart."""
    X = np.zeros((n, n + p))
    X[:, :n] = 10.0 ** rng.uniform(0, 4) * np.eye(n)
    X[:, n:] = rng.normal(size=(n, p)) * (rng.random() < 0.8)
    return X @ np.linalg.qr(rng.normal(size=(n + p, n + p)))[0] if rng.integers(2) else X


KINDS = [
    normal,
    shifted,
    massive,
    long_row,
    near,
    clusters,
    repeated,
    binary,
    rectified,
    of_any_size,
    one_active,
    orthogonal,
]


def any_kernel(rng) -> Any:
    """Draw a kernel, with bandwidths from 0.04 (exponents of 300 are typical) to 1e18."""
    wide = 10.0 ** (rng.uniform(-1.4, 1) if rng.random() < 0.7 else rng.uniform(1, 18))
    median = str(rng.choice(["all", "offdiag"]))
    return [
        fastcka.Linear(),
        fastcka.Cosine(),
        fastcka.Correlation(),
        fastcka.RBF(wide, median=median),  # type: ignore[arg-type]
        fastcka.RBF(),
        fastcka.Laplacian(wide, median=median),  # type: ignore[arg-type]
        fastcka.Laplacian(),
        fastcka.Distance(float(rng.choice([0.5, 1.0, 1.5]))),
        fastcka.Polynomial(int(rng.integers(2, 5)), gamma=float(rng.choice([1e-3, 0.1]))),
        resolve_kernel("precomputed"),
    ][rng.integers(10)]


@dataclass
class Case:
    seed: int
    kinds: tuple[str, str]
    kernel: Any
    estimator: str
    route: str
    dtype: str
    X: Any
    Y: Any

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {' and '.join(self.kinds)}, {self.X.shape} and {self.Y.shape}, "
            f"{self.kernel!r}, {self.estimator}, {self.route}, {self.dtype}"
        )


def gram_that_varies(X):
    """Make a Gram matrix to be given, of a bandwidth at which more than its rounding to float32 varies."""
    sigma = float(np.linalg.norm(X - X.mean(axis=0))) / np.sqrt(len(X)) + 1e-3
    return fastcka.reference.gram(X, kernel=fastcka.RBF(sigma=sigma))


def draw(seed: int) -> Case:
    """Make the case of a seed."""
    rng = np.random.default_rng(seed)
    kernel = any_kernel(rng)
    estimator = str(rng.choice(ESTIMATORS))
    route = str(rng.choice(["gram", "feature"])) if core_kernel(kernel).is_linear else "gram"
    dtype = str(rng.choice(["float64", "float32"]))
    n = int(rng.integers(4, 200) if rng.random() < 0.7 else rng.integers(4, 12))
    kinds = [KINDS[i] for i in rng.integers(len(KINDS), size=2)]
    layers = [kind(rng, n, int(np.exp(rng.uniform(0, np.log(100))))) for kind in kinds]
    if kernel.name == "precomputed":
        layers = [gram_that_varies(Z) for Z in layers]
    X, Y = (Z.astype(dtype) for Z in layers)
    return Case(seed, (kinds[0].__name__, kinds[1].__name__), kernel, estimator, route, dtype, X, Y)


@dataclass
class Verdict:
    fault: str  # empty: none
    ratio: float  # of the error to the bound; 0 where there is no value


def judge(case: Case) -> Verdict:
    """Compare the core with extended precision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with np.errstate(all="ignore"):
            K, L = extended.gram(case.X, case.kernel), extended.gram(case.Y, case.kernel)
            expected, condition = extended.cka_and_condition(K, L, case.kernel, case.estimator)
    try:
        value = core_pairs(case.route, case.dtype)([case.X], [case.Y], case.kernel, case.estimator).cka[0, 0]
    except ValueError as error:
        return Verdict("" if "overflow" in str(error) else str(error), 0.0)
    if np.isnan(value):
        # The reference knows of roundings that extended precision has not: of unit rows, for example.
        options = {"kernel": case.kernel, "estimator": case.estimator}
        undefined = np.isnan(fastcka.reference.cka(widened(case.X), widened(case.Y), **options))
        # A Gram matrix that is given in float32 was rounded then: that may be all that is left.
        rounded = case.kernel.name == "precomputed" and case.dtype == "float32"
        undefined |= not np.isfinite(condition) or condition > (2.0**20 if rounded else NO_VALUE / BAND)
        return Verdict("" if undefined else f"nan instead of {expected}, condition {condition:.1e}", 0.0)
    if not np.isfinite(condition) or condition > NO_VALUE * BAND:
        return Verdict(f"{value} where there is no value, condition {condition:.1e}", 0.0)
    if condition > NO_VALUE / BAND:
        return Verdict("", 0.0)
    ratio = abs(value - expected) / (FIRST[case.dtype] + condition * PER_CONDITION)
    return Verdict("" if ratio <= 1 else f"{value} instead of {expected}, condition {condition:.1e}", ratio)


def main(first: int, last: int) -> None:
    """Judge cases and print faults as they come, then the worst ratio of each dtype."""
    worst: dict[str, float] = {}
    faults: Counter[str] = Counter()
    for seed in range(first, last):
        case = draw(seed)
        verdict = judge(case)
        worst[case.dtype] = max(worst.get(case.dtype, 0.0), verdict.ratio if verdict.ratio <= 1 else 0.0)
        if verdict.fault:
            faults[f"{case.kernel.name} {case.dtype} {case.estimator}"] += 1
            print(f"{verdict.ratio:.3g} {verdict.fault}\n    {case}", flush=True)
    print(f"{last - first} cases, {sum(faults.values())} faults; worst ratio without them {worst}")
    for what, count in faults.most_common():
        print(f"    {count} {what}")


if __name__ == "__main__":
    main(int(sys.argv[2]) if len(sys.argv) > 2 else 0, int(sys.argv[1]))
