# SPDX-License-Identifier: BSD-3-Clause
"""Layers whose HSIC with itself nearly cancels: one rule for nan, and float64 where float32 is too coarse.

The condition and the rule are those of docs/numerics.md.
"""

from __future__ import annotations

import extended
import fuzz_numbers
import numpy as np
import pytest
from fuzz_numbers import Case, judge
from implementations import CORE, each_estimator, each_implementation, each_implementation_and_kernel

import fastcka
from fastcka import StreamingCKA
from fastcka.kernels import resolve_kernel

POLYNOMIALS = [
    fastcka.Polynomial(4, gamma=0.1),
    fastcka.Polynomial(3, gamma=0.1),
    fastcka.Polynomial(2, gamma=1e-3),
]
DISTANCES = ["rbf", "laplacian", "distance", fastcka.Distance(0.5), fastcka.RBF(0.3)]


def orthogonal(rng, n, length, p=3):
    """Samples that are as far from each other as they can be; only `p` columns set them apart."""
    X = np.concatenate([length * np.eye(n), rng.normal(size=(n, p))], axis=1)
    return X.astype(np.float32), (X[:, -2:] + rng.normal(size=(n, 2))).astype(np.float32)


def check(value, X, Y, kernel="linear"):
    """Hold an unbiased value of float32 data against extended precision; return the condition."""
    K, L = extended.gram(X, kernel), extended.gram(Y, kernel)
    expected, condition = extended.cka_and_condition(K, L, kernel, "unbiased")
    assert value == pytest.approx(expected, abs=1e-6 + condition * 2.0**-50)
    return condition


# ---- one rule in the core and in the reference


@each_estimator
@each_implementation_and_kernel(CORE, kernels=[*POLYNOMIALS, "linear", "cosine", *DISTANCES, "precomputed"])
def test_the_core_has_a_value_where_the_condition_is_small_enough(rng, implementation, kernel, estimator):
    """One sample is 10 to 1e10 times as long as the others: the condition passes 2^40 on the way."""
    route, _, dtype = implementation.name.partition("-")
    for n, p in ((5, 9), (7, 5), (90, 6)):
        for exponent in range(1, 9 if kernel in POLYNOMIALS else 11):
            X, Y = rng.normal(size=(n, p)), rng.normal(size=(n, 3))
            X[1] *= 10.0**exponent
            if kernel == "precomputed":
                X, Y = X @ X.T, Y @ Y.T
            inputs = implementation.inputs(X, Y)
            case = Case(0, ("long row", "normal"), resolve_kernel(kernel), estimator, route, dtype, *inputs)
            assert not judge(case).fault, case


@each_implementation_and_kernel(CORE, kernels=[*DISTANCES, "linear", "cosine"])
def test_samples_at_equal_distances_but_for_rounding(rng, implementation, kernel):
    for n in (5, 80):
        simplex = 3 * np.linalg.qr(rng.normal(size=(n, n)))[0]
        X, Y = implementation.inputs(simplex, rng.normal(size=(n, 3)))
        if implementation.dtype == "float32" and n > 5:
            X = (3 * np.eye(n)).astype(np.float32)  # rounded to float32, the others have distances that vary
        assert np.isnan(implementation.cka(X, Y, kernel, "unbiased"))


@each_implementation(CORE, of="correlation")
def test_rows_of_one_direction_have_no_variation(rng, implementation):
    """With two features, all rows that differ by a constant are alike, whatever their mean."""
    for mean in (0.0, 7.0, 1e6):
        Y = mean + rng.normal(size=(80, 1)) + np.array([[0.0, 3.0]])
        X, Y = implementation.inputs(rng.normal(size=(80, 5)), Y)
        for estimator in ("biased", "unbiased"):
            assert np.isnan(implementation.cka(X, Y, "correlation", estimator))


def test_a_value_beyond_the_rule_is_a_fault(rng, monkeypatch):
    """The tests above can fail."""
    X = np.zeros((8, 1))
    X[3] = 1
    case = Case(0, ("", ""), fastcka.Linear(), "unbiased", "gram", "float64", X, rng.normal(size=(8, 2)))
    assert not judge(case).fault

    class Wrong:
        cka = np.array([[0.5]])

    monkeypatch.setattr(fuzz_numbers, "core_pairs", lambda route, dtype: lambda *arguments: Wrong)
    assert "where there is no value" in judge(case).fault


# ---- float32 input: the exact way where it counts


@pytest.mark.parametrize("length", [3.0, 30.0, 100.0, 1000.0])
@each_implementation_and_kernel(CORE, kernels=["linear", "cosine", *DISTANCES])
def test_float32_samples_that_are_nearly_orthogonal(rng, implementation, kernel, length):
    X, Y = orthogonal(rng, 150, length)
    X, Y = implementation.inputs(X, Y)
    value = implementation.cka(X, Y, kernel, "unbiased")
    if not np.isnan(value):
        check(value, X, Y, kernel)
    else:
        assert np.isnan(fastcka.reference.cka(X, Y, kernel=kernel, estimator="unbiased"))


def test_the_result_says_that_float64_was_needed(rng):
    X, Y = orthogonal(rng, 150, 30.0)
    matrix = fastcka.cka_matrix([X], [Y], estimator="unbiased")
    assert matrix.provenance["dtype"] == "float64"
    assert check(matrix.values.item(), X, Y) > 16
    plain = fastcka.cka_matrix([Y], [X[:, -3:].copy()], estimator="unbiased")
    assert plain.provenance["dtype"] == "float32"
    assert fastcka.cka_matrix([X], [Y]).provenance["dtype"] == "float64"  # biased: the roundings are alike
    assert fastcka.cka_matrix([Y], [X[:, -3:].copy()]).provenance["dtype"] == "float32"
    assert fastcka.cka_matrix([X], [Y], inference=True).provenance["dtype"] == "float64"


def test_a_test_of_nearly_orthogonal_samples(rng):
    X, Y = orthogonal(rng, 150, 30.0)
    check(fastcka.cka_test(X, Y).statistic, X, Y)


@pytest.mark.parametrize("n", [40, 66, 300])
def test_a_stream_whose_samples_all_wait_computes_them_in_float64(rng, n):
    X, Y = orthogonal(rng, n, 30.0)
    stream = StreamingCKA(estimator="unbiased")
    for first in range(0, n, 50):
        stream.update([X[first : first + 50]], [Y[first : first + 50]])
    assert check(stream.result().values.item(), X, Y) > 10


def test_a_stream_that_no_longer_has_its_samples_says_so(rng):
    """Its first 4096 are sums by then."""
    n = 4200
    hard, Y = orthogonal(rng, n, 1000.0)
    easy = (rng.normal(size=(n, 1)) + rng.normal(size=(n, 30))).astype(np.float32)
    stream = StreamingCKA(estimator="unbiased")
    stream.update({"hard": hard, "easy": easy}, {"y": Y})
    with pytest.warns(fastcka.DegenerateWarning, match="'hard'.*these sums are too coarse.*float64"):
        values = stream.result().values
    assert np.isnan(values[0, 0])
    assert values[1, 0] == pytest.approx(extended.cka_of_features(easy, Y, "unbiased"), abs=1e-6)


@each_estimator
@pytest.mark.parametrize("inference", [False, True])
def test_pieces_whose_sums_are_too_coarse_start_over(rng, tmp_path, inference, estimator):
    X, Y = orthogonal(rng, 150, 30.0)
    layers, options = ({"x": X}, {"y": Y}), {"estimator": estimator, "inference": inference}
    plain = fastcka.cka_matrix(*layers, **options)
    assert plain.provenance["dtype"] == "float64"
    sweep = fastcka.Sweep(*layers, **options)
    assert sweep.result(sweep.run(sweep.blocks())).equals(plain)
    for _ in range(2):  # the second one finds all sums
        assert fastcka.cka_matrix(*layers, **options, checkpoint=tmp_path / "sums.npz").equals(plain)


@pytest.mark.parametrize("massive", [1e4, 1e6, 1e7])
@pytest.mark.parametrize("n", [300, 2000])
def test_a_massive_sample_among_many_in_float64(rng, n, massive, tmp_path):
    """|X'X|^2 and the fourth powers of that sample leave few digits of what the others add."""
    X = rng.normal(size=(n, 10))
    Y = X[:, :4] + rng.normal(size=(n, 4))
    X[7, 2] = massive
    K, L = extended.gram(X, "linear"), extended.gram(Y, "linear")
    expected, condition = extended.cka_and_condition(K, L, "linear", "unbiased")
    bound = 1e-12 + condition * 2.0**-50
    assert fastcka.cka(X, Y, estimator="unbiased") == pytest.approx(expected, abs=bound)
    assert fastcka.cka_test(X, Y).statistic == pytest.approx(expected, abs=bound)
    layers = ({"x": X}, {"y": Y})
    unbiased = fastcka.cka_matrix(*layers, estimator="unbiased", inference=True)
    biased = fastcka.cka_matrix(*layers, inference=True)  # its p-values are those of the unbiased value
    np.testing.assert_allclose(biased.pvalues, unbiased.pvalues, rtol=1e-6)
    saved = fastcka.cka_matrix(*layers, estimator="unbiased", checkpoint=tmp_path / "sums.npz")
    assert saved.equals(fastcka.cka_matrix(*layers, estimator="unbiased"))
