# SPDX-License-Identifier: BSD-3-Clause
"""What must hold whatever the data: invariances, symmetry, bounds, limits, identities; by every route."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from implementations import (
    REFERENCE,
    ROUTES,
    as_input,
    each_estimator,
    each_implementation,
    each_implementation_and_kernel,
    related,
)
from tolerances import TOLERANCE

import fastcka
from fastcka import reference
from fastcka.kernels import _KERNELS

RADIAL = [fastcka.RBF(), fastcka.RBF(0.5, median="offdiag"), fastcka.Laplacian(), fastcka.Distance(0.7)]
POSITIVE_DEFINITE = list(_KERNELS)
FROM_SAMPLES = [name for name in POSITIVE_DEFINITE if name != "precomputed"]


@st.composite
def pairs(draw, least=8):
    """Two related representations, from a seed: shapes shrink, and no element is drawn one by one."""
    n, p, q = draw(st.integers(least, 40)), draw(st.integers(3, 30)), draw(st.integers(3, 30))
    return related(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), n, p, q)


def same(implementation, one, other):
    assert one == pytest.approx(other, abs=implementation.tolerance("identity"))


def rotation(rng, p):
    return np.linalg.qr(rng.normal(size=(p, p)))[0]


# ---- invariances


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=["linear", "polynomial", "cosine", *RADIAL])
@given(pair=pairs(), seed=st.integers(0, 2**32 - 1))
def test_rotation_of_the_features_changes_nothing(implementation, kernel, estimator, pair, seed):
    X, Y = pair
    turned = X @ rotation(np.random.default_rng(seed), X.shape[1])
    X, turned, Y = implementation.inputs(X, turned, Y)
    same(implementation, *implementation.cka_matrix([X, turned], [Y], kernel, estimator)[:, 0])


@each_implementation_and_kernel(ROUTES, kernels=["linear", "rbf", "cosine"])
def test_a_general_linear_map_does_change_cka(rng, implementation, kernel):
    X, Y = related(rng, 40, 6, 5)
    stretched = X * np.array([10.0, 1, 1, 1, 1, 1]) @ rotation(rng, 6)
    X, stretched, Y = implementation.inputs(X, stretched, Y)
    before, after = implementation.cka_matrix([X, stretched], [Y], kernel)[:, 0]
    assert abs(before - after) > 0.01


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=["linear", "cosine", "correlation", *RADIAL])
@given(pair=pairs(), scale=st.floats(1e-3, 1e3))
def test_isotropic_scale_changes_nothing(implementation, kernel, estimator, pair, scale):
    X, Y = pair
    X, scaled, Y = implementation.inputs(X, scale * X, Y)
    same(implementation, *implementation.cka_matrix([X, scaled], [Y], kernel, estimator)[:, 0])


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=["linear", *RADIAL])
@given(pair=pairs(), seed=st.integers(0, 2**32 - 1))
def test_shift_of_the_features_changes_nothing(implementation, kernel, estimator, pair, seed):
    """Integers, so that the shifted data are exact in float32 as well."""
    X, Y = (np.rint(50 * Z) for Z in pair)
    shifted = X + np.random.default_rng(seed).integers(-(10**6), 10**6, size=X.shape[1])
    X, shifted, Y = implementation.inputs(X, shifted, Y)
    same(implementation, *implementation.cka_matrix([X, shifted], [Y], kernel, estimator)[:, 0])


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=[*POSITIVE_DEFINITE])
@given(pair=pairs(), seed=st.integers(0, 2**32 - 1))
def test_order_of_the_samples_does_not_matter(implementation, kernel, estimator, pair, seed):
    order = np.random.default_rng(seed).permutation(len(pair[0]))
    X, Y = implementation.inputs(*(as_input(Z, kernel) for Z in pair))
    reordered = [Z[np.ix_(order, order)] if kernel == "precomputed" else Z[order] for Z in (X, Y)]
    same(
        implementation,
        implementation.cka(X, Y, kernel, estimator),
        implementation.cka(*reordered, kernel, estimator),
    )


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=["linear", *RADIAL, "cosine", "correlation", "polynomial"])
@given(pair=pairs(), seed=st.integers(0, 2**32 - 1))
def test_order_of_the_features_does_not_matter(implementation, kernel, estimator, pair, seed):
    X, Y = pair
    reordered = np.random.default_rng(seed).permutation(X, axis=1)
    X, reordered, Y = implementation.inputs(X, reordered, Y)
    same(implementation, *implementation.cka_matrix([X, reordered], [Y], kernel, estimator)[:, 0])


# ---- symmetry, bounds, identity


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=POSITIVE_DEFINITE)
@given(pair=pairs())
def test_symmetry_and_bounds(implementation, kernel, estimator, pair):
    X, Y = implementation.inputs(*(as_input(Z, kernel) for Z in pair))
    value = implementation.cka(X, Y, kernel, estimator)
    same(implementation, value, implementation.cka(Y, X, kernel, estimator))
    slack = implementation.tolerance("identity")
    assert (0 if estimator == "biased" else -1) - slack <= value <= 1 + slack


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=[*POSITIVE_DEFINITE, *RADIAL])
@given(pair=pairs())
def test_cka_with_itself_and_with_a_copy_is_one(implementation, kernel, estimator, pair):
    X, Y = implementation.inputs(*(as_input(Z, kernel) for Z in pair))
    for matrix in (
        implementation.cka_matrix([X, Y], None, kernel, estimator),
        implementation.cka_matrix([X, Y], [X.copy(), Y.copy()], kernel, estimator),
    ):
        for value in np.diag(matrix):
            same(implementation, value, 1)
        same(implementation, matrix[0, 1], matrix[1, 0])


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=POSITIVE_DEFINITE)
def test_a_cross_block_is_the_block_of_the_joint_matrix(rng, implementation, kernel, estimator):
    layers = implementation.inputs(
        *(as_input(Z, kernel) for p in (3, 8, 130) for Z in related(rng, 30, p, p + 1))
    )
    joint = implementation.cka_matrix(layers, None, kernel, estimator)
    cross = implementation.cka_matrix(layers[:2], layers[2:], kernel, estimator)
    tolerance = implementation.tolerance("identity")
    np.testing.assert_allclose(cross, joint[:2, 2:], rtol=0, atol=tolerance)


@each_estimator
@each_implementation(ROUTES)
def test_all_pairs_of_one_network_are_exactly_symmetric(rng, implementation, estimator):
    layers = implementation.inputs(*(Z for p in (3, 8, 130) for Z in related(rng, 30, p, p + 1)))
    joint = implementation.cka_matrix(layers, None, "linear", estimator)
    np.testing.assert_array_equal(joint, joint.T)


# ---- limits and other measures


@each_estimator
@each_implementation(ROUTES, of="rbf")
def test_rbf_tends_to_linear_as_the_square_of_the_bandwidth(rng, implementation, estimator):
    X, Y = implementation.inputs(*related(rng, 60, 8, 5))
    linear = REFERENCE.cka(X, Y, "linear", estimator)
    gaps = [implementation.cka(X, Y, fastcka.RBF(t), estimator) - linear for t in (8.0, 16.0, 32.0)]
    # Four times smaller at twice the bandwidth, up to terms of order t^-4 (and 1e-6 of 1e-4 in float32).
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.02)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.02 if implementation.dtype == "float64" else 0.1)


def distance_correlation(X, Y, exponent):
    """Szekely, Rizzo and Bakirov 2007, straight from the definition: the square of dCor."""

    def centred(X):
        A = np.array([[np.linalg.norm(x - y) ** exponent for y in X] for x in X])
        return A - A.mean(axis=0) - A.mean(axis=1)[:, None] + A.mean()

    A, B = centred(X), centred(Y)
    return (A * B).mean() / np.sqrt((A * A).mean() * (B * B).mean())


def bias_corrected_distance_correlation(X, Y, exponent):
    """Szekely and Rizzo 2013: modified distance covariance, with its own weights of the diagonal."""
    n = len(X)

    def modified(X):
        A = np.array([[np.linalg.norm(x - y) ** exponent for y in X] for x in X])
        means = A.mean(axis=0)
        M = n / (n - 1) * (A - means - means[:, None] + A.mean() - A / n)
        np.fill_diagonal(M, n / (n - 1) * (means - A.mean()))
        return M

    def product(A, B):
        off_diagonal = (A * B).sum() - (np.diag(A) * np.diag(B)).sum()
        return off_diagonal - 2 / (n - 2) * (np.diag(A) * np.diag(B)).sum()

    A, B = modified(X), modified(Y)
    return product(A, B) / np.sqrt(product(A, A) * product(B, B))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
@each_implementation(ROUTES, of="distance")
def test_distance_kernel_is_distance_correlation(rng, implementation, exponent):
    X, Y = implementation.inputs(*related(rng, 25, 4, 3))
    kernel = fastcka.Distance(exponent)
    same(implementation, implementation.cka(X, Y, kernel), distance_correlation(X, Y, exponent))
    same(
        implementation,
        implementation.cka(X, Y, kernel, "unbiased"),
        bias_corrected_distance_correlation(X, Y, exponent),
    )


@each_implementation(ROUTES, of="precomputed")
@pytest.mark.parametrize("kernel", FROM_SAMPLES)
@each_estimator
def test_precomputed_is_the_kernel_it_was_computed_with(rng, implementation, kernel, estimator):
    X, Y = related(rng, 25, 6, 3)
    K, L = implementation.inputs(*(reference.gram(Z, kernel=kernel) for Z in (X, Y)))
    same(
        implementation,
        implementation.cka(K, L, "precomputed", estimator),
        reference.cka(X, Y, kernel=kernel, estimator=estimator),
    )


@each_implementation(ROUTES)
def test_cosine_of_unit_rows_is_linear(rng, implementation):
    X, Y = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in related(rng, 25, 6, 3))
    X, Y = implementation.inputs(X, Y)
    same(implementation, implementation.cka(X, Y, "cosine"), implementation.cka(X, Y, "linear"))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_correlation_is_that_of_numpy(rng, dtype):
    X = (rng.normal(size=(9, 40)) + 100 * rng.normal(size=(9, 1))).astype(dtype)
    expected = np.corrcoef(X.astype(float))
    np.testing.assert_allclose(
        fastcka.gram(X, kernel="correlation"), expected, rtol=0, atol=TOLERANCE[dtype, "gram"]
    )
    np.testing.assert_allclose(reference.gram(X, kernel="correlation"), expected, rtol=0, atol=1e-13)


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=["correlation"])
def test_an_offset_and_a_factor_of_each_sample_change_no_correlation(rng, implementation, kernel, estimator):
    X, Y = related(rng, 25, 8, 6)
    X = np.rint(50 * X)  # exact in float32 as well, shifted or not
    moved = X * 2.0 ** rng.integers(-9, 9, size=(25, 1))
    moved += np.ldexp(1.0, np.frexp(np.abs(moved).max(axis=1, keepdims=True))[1])
    X, moved, Y = implementation.inputs(X, moved, Y)
    same(implementation, *implementation.cka_matrix([X, moved], [Y], kernel, estimator)[:, 0])


@each_implementation(ROUTES)
def test_correlation_is_the_cosine_of_centred_rows(rng, implementation):
    X, Y = (Z - Z.mean(axis=1, keepdims=True) for Z in related(rng, 25, 8, 6))
    X, Y = implementation.inputs(X, Y)
    same(implementation, implementation.cka(X, Y, "cosine"), implementation.cka(X, Y, "correlation"))


# ---- the unbiased estimator


@each_implementation_and_kernel(ROUTES, kernels=["linear", "rbf", "distance"])
def test_unbiased_hsic_ignores_offsets(rng, implementation, kernel):
    X, Y = (np.rint(50 * Z) for Z in related(rng, 20, 6, 3))
    X, shifted, Y = implementation.inputs(X, X + 1000, Y)
    kernel = fastcka.RBF(sigma=100.0) if kernel == "rbf" else kernel
    before, after = implementation.pairs([X, shifted], [Y], kernel, "unbiased").hsic[:, 0]
    assert after == pytest.approx(before, rel=10 * implementation.tolerance("identity"))


@each_implementation(ROUTES, of="precomputed")
def test_unbiased_hsic_ignores_double_centring(rng, implementation):
    X, Y = related(rng, 20, 6, 3)
    K, L = (reference.gram(Z, kernel="rbf") for Z in (X, Y))
    before = implementation.hsic(*implementation.inputs(K, L), "precomputed", "unbiased")
    after = implementation.hsic(*implementation.inputs(reference.center(K), L), "precomputed", "unbiased")
    assert after == pytest.approx(before, rel=20 * implementation.tolerance("identity"))


def all_permutations(X):
    return [X[list(order)] for order in permutations(range(len(X)))]


@each_implementation_and_kernel(ROUTES, kernels=FROM_SAMPLES)
def test_unbiased_cka_over_all_permutations(rng, implementation, kernel):
    """Mean exactly 0 and variance exactly 2 / (n(n-3)), for any data and kernel."""
    n = 6
    X, Y = implementation.inputs(*related(rng, n, 5, 3))
    values = implementation.cka_matrix([X], all_permutations(Y), kernel, "unbiased")[0]
    tolerance = 20 * implementation.tolerance("identity")  # six samples: little averages out
    assert values.mean() == pytest.approx(0, abs=tolerance)
    assert values.var() == pytest.approx(2 / (n * (n - 3)), abs=tolerance)


@each_implementation_and_kernel(ROUTES, kernels=FROM_SAMPLES)
def test_biased_cka_over_all_permutations(rng, implementation, kernel):
    """Its mean is not 0 but tr(Kc) tr(Lc) / ((n-1) |Kc| |Lc|)."""
    n = 5
    X, Y = implementation.inputs(*related(rng, n, 5, 3))
    values = implementation.cka_matrix([X], all_permutations(Y), kernel)[0]
    Kc, Lc = (reference.center(reference.gram(Z, kernel=kernel)) for Z in (X, Y))
    expected = np.trace(Kc) * np.trace(Lc) / ((n - 1) * np.linalg.norm(Kc) * np.linalg.norm(Lc))
    same(implementation, values.mean(), expected)


@each_implementation(ROUTES)
def test_independent_wide_data(rng, implementation):
    """More features than samples: biased CKA of unrelated data is near d/(n+d), the unbiased one around 0."""
    n, d, layers = 60, 240, 8
    A = implementation.inputs(*rng.normal(size=(layers, n, d)))
    B = implementation.inputs(*rng.normal(size=(layers, n, d)))
    biased = implementation.cka_matrix(A, B)
    np.testing.assert_allclose(biased, d / (n + d), atol=0.02)
    unbiased = implementation.cka_matrix(A, B, "linear", "unbiased")
    spread = np.sqrt(2 / (n * (n - 3)))
    assert abs(unbiased.mean()) < 4 * spread / layers
    assert unbiased.std() == pytest.approx(spread, rel=0.35)  # 64 values: 9 % is one standard error
    assert (unbiased < 0).mean() == pytest.approx(0.5, abs=0.25)
