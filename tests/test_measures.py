# SPDX-License-Identifier: BSD-3-Clause
"""RV2, RSA and the effective dimension: against their definitions by n x n matrices, on every route."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from checks import widened
from implementations import CORE, as_input, each_implementation_and_kernel, related
from tolerances import TOLERANCE

import fastcka
from fastcka import _core, reference
from fastcka.kernels import core_kernel, resolve_kernel

MEASURES = ["rv2", "rsa_cosine", "rsa_pearson"]
each_measure = pytest.mark.parametrize("measure", MEASURES)


def centred_gram(X):
    """Linear, in extended precision and word for word."""
    Z = np.asarray(X).astype(np.longdouble)
    Z = Z - Z.mean(axis=0)
    return Z @ Z.T


def compared(K, measure):
    """The vector or matrix whose cosine the measure is."""
    n = len(K)
    K = K - K.mean(axis=0) - K.mean(axis=0)[:, None] + K.mean()
    if measure == "rv2":
        return K * (1 - np.eye(n))
    k = np.diag(K)
    D = (k[:, None] + k[None, :] - 2 * K)[np.triu_indices(n, 1)]
    return D - D.mean() if measure == "rsa_pearson" else D


def cosine(A, B):
    return float((A * B).sum() / np.sqrt((A * A).sum() * (B * B).sum()))


def core(a, b, kernel, measure, dtype, route):
    settings = _core.Settings(
        core_kernel(resolve_kernel(kernel)),
        estimator="biased",
        double_precision=dtype == "float64",
        n_threads=2,
        route=route,
        measure=measure,
    )
    return _core.pairwise(a, b, settings).cka


@each_measure
@each_implementation_and_kernel(CORE)
def test_every_kernel_route_and_precision(rng, measure, kernel, implementation):
    X, Y = related(rng, 90, 20, 11)
    layers = implementation.inputs(*(as_input(Z, kernel) for Z in (X, Y, X[:, :1], Y**2)))
    route = implementation.name.partition("-")[0]
    got = core(layers[:2], layers[2:], kernel, measure, implementation.dtype, route)
    wide = [widened(Z) for Z in layers]
    expected = reference.cka_matrix(wide[:2], wide[2:], measure=measure, kernel=kernel)
    np.testing.assert_allclose(got, expected, rtol=0, atol=implementation.tolerance("cka"))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [4, 70])
def test_wide_layers(rng, dtype, n):
    """All samples at nearly the same distance, where textbook formulas cancel; no kernel loses digits."""
    p = 20_000
    Z = rng.normal(size=(n, p)) * np.linspace(0.5, 1.5, n)[:, None]  # whose norms differ
    X, Y = Z.astype(dtype), (0.1 * Z + rng.normal(size=(n, p)) + 3).astype(dtype)
    K, L = (centred_gram(Z) for Z in (X, Y))
    for measure in MEASURES:
        expected = cosine(compared(K, measure), compared(L, measure))
        got = fastcka.cka_matrix([X], [Y], measure=measure).values.item()
        assert got == pytest.approx(expected, abs=TOLERANCE[dtype, "cka"])


@each_measure
@pytest.mark.parametrize("kernel", ["linear", fastcka.RBF(sigma=2.0), "polynomial", "distance"], ids=str)
def test_chance_is_the_mean_over_all_permutations(rng, measure, kernel):
    X, Y = rng.normal(size=(6, 3)), rng.normal(size=(6, 4)) ** 2
    values = [
        reference.cka_matrix([X], [Y[list(order)]], measure=measure, kernel=kernel).item()
        for order in itertools.permutations(range(6))
    ]
    chance = fastcka.cka_matrix([X], [Y], measure=measure, kernel=kernel).chance.item()
    assert chance == pytest.approx(np.mean(values), abs=1e-12)
    assert np.std(values) > 0.01  # so the mean says something


@pytest.mark.parametrize("kernel", ["linear", "rbf", "cosine", "distance"])
def test_effective_dimension(rng, kernel):
    layers = {"a": rng.normal(size=(200, 30)), "b": rng.normal(size=(200, 3)) @ rng.normal(size=(3, 50))}
    matrix = fastcka.cka_matrix(layers, {"c": layers["a"][:, :5]}, kernel=kernel)
    expected = [reference.effective_dimension(X, kernel=kernel) for X in layers.values()]
    np.testing.assert_allclose(matrix.effective_dimension("rows"), expected, rtol=1e-12)
    assert matrix.effective_dimension("columns") == pytest.approx(
        reference.effective_dimension(layers["a"][:, :5], kernel=kernel), rel=1e-12
    )
    if kernel == "linear":
        assert 1 <= expected[1] <= 3
    np.testing.assert_array_equal(matrix.T.effective_dimension("columns"), matrix.effective_dimension())
    assert matrix[["b"], :].effective_dimension() == matrix.effective_dimension()[1]
    with pytest.raises(ValueError, match="side: expected 'rows' or 'columns', got 'row'"):
        matrix.effective_dimension("row")


def test_effective_dimension_of_what_does_not_know_it():
    matrix = fastcka.CKAMatrix([[0.5]], ("a",), ("b",), "linear", "biased", 10)
    with pytest.raises(ValueError, match="does not know"):
        matrix.effective_dimension()


@each_measure
def test_values_of_known_cases(rng, measure):
    X = rng.normal(size=(50, 6))
    same = fastcka.cka_matrix(
        {"x": X, "turned": 3 * X @ np.linalg.qr(rng.normal(size=(6, 6)))[0]}, measure=measure
    )
    np.testing.assert_allclose(same.values, 1, atol=1e-12)


def test_correlations_of_dissimilarities_are_those_of_numpy(rng):
    """RSA as its users write it: vectors of dissimilarities, numpy.corrcoef."""
    X, Y = rng.normal(size=(25, 7)), rng.normal(size=(25, 4))
    upper = np.triu_indices(25, 1)
    D = [((Z[:, None] - Z[None]) ** 2).sum(axis=2)[upper] for Z in (X, Y)]
    got = fastcka.cka_matrix([X], [Y], measure="rsa_pearson").values.item()
    assert got == pytest.approx(np.corrcoef(*D)[0, 1], abs=1e-12)
    got = fastcka.cka_matrix([X], [Y], measure="rsa_cosine").values.item()
    assert got == pytest.approx(D[0] @ D[1] / np.linalg.norm(D[0]) / np.linalg.norm(D[1]), abs=1e-12)


def test_equidistant_samples_have_no_pearson_correlation(rng):
    simplex = np.eye(8)
    with pytest.warns(
        fastcka.DegenerateWarning, match=r"layer 'flat' of layers_a: its dissimilarities are all equal"
    ):
        matrix = fastcka.cka_matrix({"x": rng.normal(size=(8, 3)), "flat": simplex}, measure="rsa_pearson")
    assert np.isnan(matrix.values).tolist() == [[False, True], [True, True]]
    assert not np.isnan(fastcka.cka_matrix([simplex], [simplex], measure="rsa_cosine").values).any()


def test_what_a_measure_is_is_kept_and_shown(rng, tmp_path):
    layers = {"x": rng.normal(size=(20, 3)), "y": rng.normal(size=(20, 4))}
    matrix = fastcka.cka_matrix(layers, measure="rsa_pearson")
    assert (matrix.measure, matrix.estimator, matrix.title) == ("rsa_pearson", None, "RSA (Pearson), linear")
    assert "RSA (Pearson)" in repr(matrix)
    assert "RSA (Pearson), linear" in str(matrix)
    assert "rsa_pearson" in matrix.to_pandas(tidy=True).columns
    assert matrix.to_xarray().name == "rsa_pearson"
    for suffix in ("npz", "json"):
        matrix.save(tmp_path / f"m.{suffix}")
        loaded = fastcka.CKAMatrix.load(tmp_path / f"m.{suffix}")
        assert loaded.equals(matrix)
        np.testing.assert_array_equal(loaded.effective_dimension(), matrix.effective_dimension())
    assert "RSA (Pearson)" in str(fastcka.plan(layers, measure="rsa_pearson"))


def test_arguments(rng):
    X = rng.normal(size=(20, 3))
    with pytest.raises(ValueError, match=r"unknown measure 'rv': .*'rsa_cosine'"):
        fastcka.cka_matrix([X], measure="rv")
    for function in (fastcka.cka_matrix, fastcka.plan):
        with pytest.raises(ValueError, match=r"estimator='biased': measure='rv2' has no estimators"):
            function([X], measure="rv2", estimator="biased")
        with pytest.raises(ValueError, match=r"measure='rsa_cosine' needs at least 4 samples, .* has 3"):
            function([X[:3]], measure="rsa_cosine")
    with pytest.raises(ValueError, match="measure: expected one of cka, rv2"):
        fastcka.CKAMatrix([[0.5]], ("a",), ("b",), "linear", "biased", 10, measure="rv")
    with pytest.raises(ValueError, match="estimator: rv2 has none"):
        fastcka.CKAMatrix([[0.5]], ("a",), ("b",), "linear", "biased", 10, measure="rv2")


@pytest.mark.parametrize("two", [False, True], ids=["one network", "two networks"])
@pytest.mark.parametrize("measure", ["cka", *MEASURES])
def test_results_of_many_columns(rng, measure, two):
    """The result is finished some columns at a time, by all threads."""
    layers = [rng.normal(size=(30, 3)) for _ in range(200)]
    a, b = (layers[:70], layers[70:]) if two else (layers, None)
    got = fastcka.cka_matrix(a, b, measure=measure, n_threads=2)
    pairs = {(0, 0), (3, 60), (60, 3), (5, 64), (64, 5), (69, 127), (2, 129), (66, 128), (63, 65)}
    for i, j in pairs:
        one = fastcka.cka_matrix([a[i]], [(b or a)[j]], measure=measure, n_threads=1)
        np.testing.assert_allclose(got.values[i, j], one.values[0, 0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(got.chance[i, j], one.chance[0, 0], rtol=0, atol=1e-12)
    assert np.isfinite(got.values).all()
    if not two:
        np.testing.assert_array_equal(got.values, got.values.T)
    alone = fastcka.cka_matrix(a, b, measure=measure, n_threads=1)
    np.testing.assert_array_equal(got.values, alone.values)
    np.testing.assert_array_equal(got.chance, alone.chance)
