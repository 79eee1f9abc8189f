# SPDX-License-Identifier: BSD-3-Clause
"""The bound of docs/numerics.md on data that are hard on the digits.

It is 1e-12 or 1e-6, plus the condition times 2^-50: for every kernel, estimator, route and dtype on every
kind of data of fuzz_numbers.py, and for random cases beyond that.
"""

from __future__ import annotations

import fuzz_numbers
import numpy as np
import pytest
from fuzz_numbers import KINDS, Case, draw, gram_that_varies, judge
from implementations import CORE, each_estimator, each_implementation_and_kernel

import fastcka
from fastcka.kernels import resolve_kernel

# Bandwidths from one at which all exponents are about 350 to one at which they are 1e-36.
BANDWIDTHS = [0.04, 0.07, 0.13, 0.3, 1e2, 1e6, 1e12, 1e18]
EXTREME = [kind(bandwidth) for kind in (fastcka.RBF, fastcka.Laplacian) for bandwidth in BANDWIDTHS]


def fault_of(implementation, kernel, estimator, X, Y, kinds=("", "")):
    route, _, dtype = implementation.name.partition("-")
    if kernel == "precomputed":
        X, Y = (gram_that_varies(Z) for Z in (X, Y))
    case = Case(
        0,
        kinds,
        resolve_kernel(kernel),
        estimator,
        route,
        dtype,
        *implementation.inputs(X, Y),
    )
    return judge(case).fault


@each_estimator
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@each_implementation_and_kernel(CORE)
def test_hard_data(rng, implementation, kernel, estimator, kind):
    for n in (5, 90):
        X, Y = kind(rng, n, 12), rng.normal(size=(n, 7))
        Y[:, :3] += X[:, :3] / np.abs(X).max()
        assert not fault_of(implementation, kernel, estimator, X, Y)


@each_estimator
@each_implementation_and_kernel(CORE, kernels=EXTREME)
def test_bandwidths(rng, implementation, kernel, estimator):
    for n, p in ((6, 3), (90, 12), (90, 1000)):
        X = rng.normal(size=(n, p))
        assert not fault_of(implementation, kernel, estimator, X, X + rng.normal(size=(n, p)))


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_random_cases(first):
    cases = [draw(seed) for seed in range(first, first + 50)]
    faults = [f"{verdict.fault}: {case}" for case in cases if (verdict := judge(case)).fault]
    assert not faults


@pytest.mark.parametrize(
    ("seed", "kernel"),
    [
        # The value at the origin, which every sample has, was left in: 1.5 times the bound.
        (39346, "polynomial"),
        # Subtracting the origin, amid one cluster, took digits off the differences within another: 3 times.
        (171190, "laplacian"),
        # The sum of squares of X'X, less those of the diagonal of XX', at a condition of 690: 1.01 times.
        (230192, "linear"),
        # The bandwidth is a distance that had lost 5 bits: 1.5 times.
        (231980, "laplacian"),
        # The constant that the core leaves out followed the massive samples, not the distances: 4 times.
        (269929, "distance"),
    ],
)
def test_what_a_search_has_found(seed, kernel):
    case = draw(seed)
    assert case.kernel.name == kernel
    assert not judge(case).fault


def test_a_wrong_value_is_a_fault(monkeypatch):
    case = draw(7)
    assert not judge(case).fault
    value = fuzz_numbers.core_pairs

    def wrong(route, dtype):
        return lambda *arguments: value(route, dtype)(*arguments)._replace(cka=np.array([[0.123]]))

    monkeypatch.setattr(fuzz_numbers, "core_pairs", wrong)
    assert "instead of" in judge(case).fault
