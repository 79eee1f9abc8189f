# SPDX-License-Identifier: BSD-3-Clause
"""The reference against definitions written another way, entry by entry and term by term."""

from __future__ import annotations

import ast
import inspect
import math
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import extended
import numpy as np
import pytest
from implementations import ESTIMATORS, KERNELS, as_input, each_estimator, kernel_id, related
from tolerances import TOLERANCE

import fastcka
from fastcka import reference
from fastcka.reference.digits import gram_for_centering

each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=kernel_id)
EXACT = TOLERANCE["float64", "gram"]
CKA = TOLERANCE["float64", "cka"]


def test_shares_no_code_with_the_package():
    files = list(Path(inspect.getfile(reference)).parent.glob("*.py"))
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    siblings = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1}
    others = {
        "." * node.level + str(node.module) if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in nodes
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.level != 1)
    }
    standard = {"__future__", "collections.abc", "dataclasses", "functools", "math", "typing"}
    assert siblings == {file.stem for file in files} - {"__init__"}
    assert others == standard | {"numpy", "numpy.typing"}


def norm(x):
    return math.sqrt(math.fsum(v * v for v in x))


def dot(x, y):
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize(
    ("kernel", "k"),
    [
        ("linear", dot),
        ("cosine", lambda x, y: dot(x, y) / norm(x) / norm(y)),
        ("polynomial", lambda x, y: (dot(x, y) / 3 + 1) ** 2),
        (fastcka.Polynomial(3, coef0=0.5, gamma=0.1), lambda x, y: (0.1 * dot(x, y) + 0.5) ** 3),
        (fastcka.RBF(sigma=1.5), lambda x, y: math.exp(-(norm(x - y) ** 2) / (2 * 1.5**2))),
        (fastcka.Laplacian(sigma=1.5), lambda x, y: math.exp(-norm(x - y) / 1.5)),
        ("distance", lambda x, y: (norm(x) + norm(y) - norm(x - y)) / 2),
        (fastcka.Distance(0.5), lambda x, y: (norm(x) ** 0.5 + norm(y) ** 0.5 - norm(x - y) ** 0.5) / 2),
    ],
    ids=lambda each: "" if callable(each) else str(each),
)
def test_gram_entry_by_entry(rng, kernel, k):
    X = rng.normal(size=(6, 3))
    expected = np.array([[k(x, y) for y in X] for x in X])
    np.testing.assert_allclose(reference.gram(X, kernel=kernel), expected, rtol=EXACT, atol=EXACT)


def test_a_zero_row_has_cosine_zero_with_every_row():
    np.testing.assert_array_equal(
        reference.gram([[0.0, 0.0], [0.0, 2.0], [3.0, 0.0]], kernel="cosine"), np.diag([0.0, 1.0, 1.0])
    )


@pytest.mark.parametrize("kind", [fastcka.RBF, fastcka.Laplacian])
def test_median_conventions(kind):
    X = np.array([[0.0], [1.0], [3.0]])  # squared distances: 0 three times; 1, 4, 9 twice each
    for median, squared in [("all", 1.0), ("offdiag", 4.0)]:  # of 0 0 0 1 [1] 4 4 9 9; of 1 1 [4 4] 9 9
        by_rule = reference.gram(X, kernel=kind(0.5, median=median))
        by_hand = reference.gram(X, kernel=kind(sigma=0.5 * math.sqrt(squared)))
        np.testing.assert_array_equal(by_rule, by_hand)


def test_median_of_an_even_count_is_the_mean_of_the_middle_two():
    X = np.array([[0.0], [1.0], [4.0], [9.0]])  # 0 0 0 0 1 1 9 [9 16] 25 25 64 64 81 81 (16 entries: [9, 16])
    squared = np.sort(((X - X.T) ** 2).ravel())
    assert squared[7] != squared[8]
    sigma = math.sqrt((squared[7] + squared[8]) / 2)
    np.testing.assert_array_equal(
        reference.gram(X, kernel="rbf"), reference.gram(X, kernel=fastcka.RBF(sigma=sigma))
    )


@each_kernel
def test_what_is_centred_differs_from_the_gram_matrix_by_what_centring_removes(rng, kernel):
    X = as_input(rng.normal(size=(9, 4)), kernel)
    expected = reference.center(reference.gram(X, kernel=kernel))
    actual = reference.center(gram_for_centering(X, kernel))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=EXACT * np.abs(expected).max())


def grams(rng, kernel="rbf"):
    X, Y = related(rng, 12, 5, 7)
    return reference.gram(X, kernel=kernel), reference.gram(Y, kernel=kernel), X, Y


def test_center_is_removing_row_and_column_means(rng):
    K = grams(rng)[0]
    Kc = reference.center(K)
    np.testing.assert_allclose(Kc, K - K.mean(axis=0) - K.mean(axis=1)[:, None] + K.mean(), atol=EXACT)
    np.testing.assert_allclose(Kc.sum(axis=0), 0, atol=EXACT * len(K))


@pytest.mark.parametrize("kernel", ["linear", "rbf", "distance"])
def test_biased_hsic_is_the_trace_formula(rng, kernel):
    K, L, X, Y = grams(rng, kernel)
    n = len(K)
    H = np.eye(n) - 1 / n
    expected = np.trace(K @ H @ L @ H) / (n - 1) ** 2
    assert reference.hsic(X, Y, kernel=kernel) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "distance"])
def test_unbiased_hsic_is_the_three_terms_of_song(rng, kernel):
    K, L, X, Y = grams(rng, kernel)
    n, one = len(K), np.ones(len(K))
    K0, L0 = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    expected = (
        np.trace(K0 @ L0)
        + (one @ K0 @ one) * (one @ L0 @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ K0 @ L0 @ one)
    ) / (n * (n - 3))
    assert reference.hsic(X, Y, kernel=kernel, estimator="unbiased") == pytest.approx(expected, rel=CKA)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "distance"])
def test_unbiased_hsic_from_double_centred_grams(rng, kernel):
    K, L, X, Y = grams(rng, kernel)
    n = len(K)
    Kc, Lc = reference.center(K), reference.center(L)
    kc, lc = np.diag(Kc), np.diag(Lc)
    total = np.sum(Kc * Lc) - n / (n - 2) * (kc @ lc) + kc.sum() * lc.sum() / ((n - 1) * (n - 2))
    expected = total / (n * (n - 3))
    assert reference.hsic(X, Y, kernel=kernel, estimator="unbiased") == pytest.approx(expected, rel=CKA)


def test_unbiased_hsic_is_an_average_over_quadruples():
    """What makes it unbiased: the mean of K_ij (L_ij + L_qr - 2 L_iq) over all i, j, q, r that differ."""
    x, y = [0, 1, 3, 4, 9], [2, 7, 1, 8, 2]
    K = [[Fraction(a * b) for b in x] for a in x]
    L = [[Fraction(a * b) for b in y] for a in y]
    terms = [K[i][j] * (L[i][j] + L[q][r] - 2 * L[i][q]) for i, j, q, r in permutations(range(5), 4)]
    expected = sum(terms) / len(terms)
    actual = reference.hsic(np.array([x]).T, np.array([y]).T, estimator="unbiased")
    assert actual == pytest.approx(float(expected), rel=CKA)


@each_estimator
def test_feature_space_form(rng, estimator):
    X, Y = related(rng, 20, 6, 3)
    expected = float(extended.hsic_of_features(X, Y, estimator))
    assert reference.hsic(X, Y, estimator=estimator) == pytest.approx(expected, rel=CKA)


def test_spectral_form(rng):
    """Kornblith et al. 2019, eq. 14."""
    X, Y = (Z - Z.mean(axis=0) for Z in related(rng, 15, 4, 6))
    (lx, ux), (ly, uy) = np.linalg.eigh(X @ X.T), np.linalg.eigh(Y @ Y.T)
    alignment = lx @ (ux.T @ uy) ** 2 @ ly
    assert reference.cka(X, Y) == pytest.approx(alignment / np.sqrt((lx @ lx) * (ly @ ly)), abs=CKA)


def test_linear_cka_of_single_features_is_the_squared_correlation(rng):
    x, y = rng.normal(size=(2, 30, 1))
    expected = np.corrcoef(x.T, y.T)[0, 1] ** 2
    assert reference.cka(x, y) == pytest.approx(expected, abs=CKA)


@each_estimator
@each_kernel
def test_cka_is_the_ratio_of_hsic(rng, kernel, estimator):
    X, Y = (as_input(Z, kernel) for Z in related(rng, 12, 5, 7))
    options = {"kernel": kernel, "estimator": estimator}
    xy, xx, yy = (reference.hsic(*pair, **options) for pair in ((X, Y), (X, X), (Y, Y)))
    assert reference.cka(X, Y, **options) == pytest.approx(xy / math.sqrt(xx * yy), abs=CKA)


@pytest.mark.parametrize("mean", [0.0, 1e4], ids=["centred", "offset"])
@each_estimator
@each_kernel
def test_against_extended_precision(rng, kernel, estimator, mean):
    X, Y = (as_input(Z, kernel) for Z in related(rng, 40, 30, 11, mean=mean))
    expected = extended.cka(X, Y, kernel, estimator)
    assert reference.cka(X, Y, kernel=kernel, estimator=estimator) == pytest.approx(expected, abs=CKA)


@each_estimator
@pytest.mark.parametrize("kernel", [fastcka.RBF(1000.0), fastcka.Laplacian(1000.0)], ids=kernel_id)
def test_wide_bandwidths_keep_their_digits(rng, kernel, estimator):
    X, Y = related(rng, 40, 30, 11)
    expected = extended.cka(X, Y, kernel, estimator)
    assert reference.cka(X, Y, kernel=kernel, estimator=estimator) == pytest.approx(expected, abs=CKA)


def test_cka_matrix_takes_mappings_and_sequences(rng):
    X, Y, Z = rng.normal(size=(3, 10, 4))
    expected = [[reference.cka(A, B) for B in (X, Y, Z)] for A in (X, Y)]
    np.testing.assert_array_equal(reference.cka_matrix([X, Y], [X, Y, Z]), expected)
    np.testing.assert_array_equal(reference.cka_matrix({"a": X, "b": Y}, {"c": X, "d": Y, "e": Z}), expected)
    np.testing.assert_array_equal(reference.cka_matrix((X, Y)), reference.cka_matrix([X, Y], [X, Y]))


def test_no_variation_is_nan(rng):
    X = rng.normal(size=(8, 3))
    constant, K, rays = np.full((8, 2), 0.1), X @ X.T, np.outer(rng.uniform(1, 2, size=8), [1, 2, 3])
    for estimator in ESTIMATORS:
        assert math.isnan(reference.cka(X, constant, estimator=estimator))
        assert math.isnan(reference.cka(X, constant, kernel="rbf", estimator=estimator))
        assert math.isnan(reference.cka(X, rays, kernel="cosine", estimator=estimator))
        assert math.isnan(reference.cka(K, np.ones((8, 8)) / 3, kernel="precomputed", estimator=estimator))
    assert math.isnan(reference.cka(K, np.eye(8), kernel="precomputed", estimator="unbiased"))
    assert not math.isnan(reference.cka(K, np.eye(8), kernel="precomputed"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: reference.cka(X, X[:4]), r"same number of samples, got \[4, 5\]"),
        (lambda X: reference.hsic(X, X[:4]), "same number of samples, got 5 and 4"),
        (lambda X: reference.cka(X[:3], X[:3], estimator="unbiased"), "at least 4 samples, got 3"),
        (lambda X: reference.cka(X[:1], X[:1]), "at least 2 samples, got 1"),
        (lambda X: reference.cka(X, X, estimator="debias"), "'debias'"),
        (lambda X: reference.gram(X, kernel="gaussian"), "unknown kernel 'gaussian'; known kernels: linear"),
        (lambda X: reference.gram(X, kernel="precomputed"), r"square, got shape \(5, 2\)"),
        (lambda X: reference.rbf(X, median="upper"), "'upper'"),
    ],
)
def test_messages(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.normal(size=(5, 2)))
