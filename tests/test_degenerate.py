# SPDX-License-Identifier: BSD-3-Clause
"""Representations without variation, the fewest samples, and numbers at the ends of the range."""

from __future__ import annotations

import math
import warnings

import extended
import numpy as np
import pytest
from implementations import (
    CORE,
    KERNELS,
    ROUTES,
    as_input,
    each_estimator,
    each_implementation,
    each_implementation_and_kernel,
    kernel_id,
    related,
)
from tolerances import TOLERANCE

import fastcka
from fastcka import _core, reference
from fastcka.kernels import resolve_kernel

each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=kernel_id)
RELATIVE = [
    "linear",
    "cosine",
    "correlation",
    "rbf",
    fastcka.RBF(0.4),
    "laplacian",
    "distance",
]  # in any units the same


def constant(n, kernel):
    """Samples that the kernel cannot tell apart, with values that no mean of them hits exactly."""
    if kernel == "precomputed":
        return np.full((n, n), 0.1)
    return np.tile(np.array([0.1, 1 / 3, -1e4 / 7]), (n, 1))


# ---- no variation


@each_estimator
@each_implementation_and_kernel(ROUTES)
def test_a_constant_representation_is_nan_and_harms_no_other(rng, implementation, kernel, estimator):
    X, Y = (as_input(Z, kernel) for Z in related(rng, 30, 6, 4))
    healthy = implementation.inputs(X, Y)
    layers = [healthy[0], *implementation.inputs(constant(30, kernel)), healthy[1]]
    matrix = implementation.cka_matrix(layers, None, kernel, estimator)
    assert np.isnan(matrix[1]).all()
    assert np.isnan(matrix[:, 1]).all()
    np.testing.assert_array_equal(
        matrix[np.ix_([0, 2], [0, 2])], implementation.cka_matrix(healthy, None, kernel, estimator)
    )


@each_estimator
@each_kernel
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_warning_names_the_layer_and_the_reason(rng, kernel, estimator, dtype):
    X = as_input(rng.normal(size=(12, 3)), kernel)
    layers = {"conv1": X.astype(dtype), "dead": constant(12, kernel).astype(dtype)}
    options = {"kernel": kernel, "estimator": estimator}
    relative = getattr(resolve_kernel(kernel), "sigma", 1.0) is None
    reason = "no variation|median distance is zero" if relative else "no variation"
    with pytest.warns(fastcka.DegenerateWarning, match=f"'dead'.*({reason})") as caught:
        result = fastcka.cka_matrix(layers, **options)
    assert len(caught) == 1
    assert "conv1" not in str(caught[0].message)
    assert len(result.warnings) == 1
    assert "dead" in result.warnings[0]
    with pytest.warns(fastcka.DegenerateWarning, match="^not defined, nan instead: Y: "):
        assert math.isnan(fastcka.cka(layers["conv1"], layers["dead"], **options))
    with pytest.warns(fastcka.DegenerateWarning, match="X: .*; Y: "):
        assert math.isnan(fastcka.cka(layers["dead"], layers["dead"], **options))


@each_implementation(CORE)
@each_estimator
def test_a_layer_without_variation_has_hsic_zero(rng, implementation, estimator):
    X, C = implementation.inputs(rng.normal(size=(12, 3)), constant(12, "linear"))
    assert implementation.hsic(X, C, "linear", estimator) == 0
    assert implementation.hsic(C, C, "linear", estimator) == 0


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=["linear", "rbf", "laplacian", "distance"])
def test_constant_features_change_nothing(rng, implementation, kernel, estimator):
    X, Y = related(rng, 30, 6, 4)
    padded = np.insert(X, [0, 3, 6], [0.1, -1e6 / 3, 0.0], axis=1)
    X, padded, Y = implementation.inputs(X, padded, Y)
    plain, with_constants = implementation.cka_matrix([X, padded], [Y], kernel, estimator)[:, 0]
    assert with_constants == pytest.approx(plain, abs=implementation.tolerance("identity"))


@each_implementation(ROUTES, of="precomputed")
def test_identity_gram(rng, implementation):
    """No sample resembles another: full variation for the biased estimator, none off the diagonal."""
    identity, K = implementation.inputs(3.7 * np.eye(10), reference.gram(rng.normal(size=(10, 3))))
    biased = implementation.cka_matrix([identity, K], None, "precomputed")
    assert biased[0, 0] == pytest.approx(1, abs=implementation.tolerance("identity"))
    assert not np.isnan(biased).any()
    unbiased = implementation.cka_matrix([identity, K], None, "precomputed", "unbiased")
    assert np.isnan(unbiased[0]).all()
    assert unbiased[1, 1] == pytest.approx(1, abs=implementation.tolerance("identity"))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_samples_on_orthogonal_axes_have_no_unbiased_hsic(rng, dtype):
    X = rng.normal(size=(10, 3)).astype(dtype)
    with pytest.warns(fastcka.DegenerateWarning, match="Y: its unbiased HSIC with itself is not above zero"):
        assert math.isnan(fastcka.cka(X, np.eye(10, dtype=dtype), estimator="unbiased"))
    assert 0 < fastcka.cka(X, np.eye(10, dtype=dtype)) < 1


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_features", [3, 9, 13])
def test_parallel_samples_have_no_cosine_variation(rng, n_features, order):
    X = rng.normal(size=(50, 3))
    rays = np.outer(rng.uniform(1, 2, size=50), 1 + np.arange(n_features)).copy(order)
    with pytest.warns(fastcka.DegenerateWarning, match="all samples have the same direction"):
        assert math.isnan(fastcka.cka(X, rays, kernel="cosine"))
    assert fastcka.cka(X, rays) > 0


@each_implementation_and_kernel(ROUTES, kernels=["cosine"])
def test_samples_of_zero_have_cosine_zero(rng, implementation, kernel):
    X, Y = related(rng, 20, 5, 4)
    X[3] = X[11] = 0
    X, Y = implementation.inputs(X, Y)
    expected = reference.cka(X.astype(float), Y.astype(float), kernel=kernel)
    assert implementation.cka(X, Y, kernel) == pytest.approx(expected, abs=implementation.tolerance("cka"))


@each_implementation_and_kernel(ROUTES, kernels=["correlation"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_samples_of_equal_values_have_correlation_zero(rng, implementation, kernel, value):
    """As zero samples have cosine zero: no rounding of their mean becomes a direction."""
    X, Y = related(rng, 20, 7, 5)
    X[3] = X[11] = value
    X, Y = implementation.inputs(X, Y)
    for reading in (reference.gram, fastcka.gram):
        assert (reading(X, kernel=kernel)[[3, 11]] == 0).all()
    expected = reference.cka(X.astype(float), Y.astype(float), kernel=kernel)
    assert expected == pytest.approx(extended.cka(X, Y, kernel, "biased"), abs=1e-12)
    assert implementation.cka(X, Y, kernel) == pytest.approx(expected, abs=implementation.tolerance("cka"))


# ---- zero bandwidth


@each_estimator
@pytest.mark.parametrize("kind", [fastcka.RBF, fastcka.Laplacian])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_zero_median_distance(rng, kind, dtype, estimator):
    """Eight of ten samples coincide: more than half of all squared distances are zero."""
    X, Y = (Z.astype(dtype) for Z in related(rng, 10, 5, 4))
    Y[2:] = Y[2]
    with pytest.warns(fastcka.DegenerateWarning, match="Y: its median distance is zero"):
        assert math.isnan(fastcka.cka(X, Y, kernel=kind(), estimator=estimator))
    with pytest.warns(fastcka.DegenerateWarning, match="Y: its median distance is zero"):
        assert math.isnan(fastcka.hsic(X, Y, kernel=kind(), estimator=estimator))
    with pytest.warns(fastcka.DegenerateWarning, match="X: its median distance is zero"):
        assert np.isnan(fastcka.gram(Y, kernel=kind())).all()
    kernel = kind(sigma=2.0)
    expected = reference.cka(X.astype(float), Y.astype(float), kernel=kernel, estimator=estimator)
    value = fastcka.cka(X, Y, kernel=kernel, estimator=estimator)
    assert value == pytest.approx(expected, abs=TOLERANCE[dtype, "cka"])


def test_the_zero_diagonal_counts_in_the_median_or_not():
    """Two pairs of equal samples: 8 of 16 distances are zero, 4 of the 12 off the diagonal."""
    X = np.array([[0.0], [0.0], [1.0], [1.0]])
    kernels = [fastcka.RBF(), fastcka.RBF(median="offdiag")]
    halfway, off = (fastcka.gram(X, kernel=kernel)[0, 2] for kernel in kernels)
    assert halfway == pytest.approx(math.exp(-1 / (2 * 0.5)), rel=1e-14)  # the mean of 0 and 1
    assert off == pytest.approx(math.exp(-1 / 2), rel=1e-14)


# ---- the fewest samples and features


@each_implementation_and_kernel(ROUTES)
def test_two_samples_are_always_aligned(rng, implementation, kernel):
    X, Y = implementation.inputs(*(as_input(Z, kernel) for Z in related(rng, 2, 5, 3)))
    assert implementation.cka(X, Y, kernel) == pytest.approx(1, abs=implementation.tolerance("identity"))


@each_implementation_and_kernel(ROUTES)
def test_four_samples_are_enough_for_the_unbiased_estimator(rng, implementation, kernel):
    X, Y = implementation.inputs(*(as_input(Z, kernel) for Z in related(rng, 4, 5, 3)))
    expected = extended.cka(X, Y, kernel, "unbiased")
    value = implementation.cka(X, Y, kernel, "unbiased")
    few = 20  # of four samples, nothing averages out
    assert value == pytest.approx(expected, abs=few * implementation.tolerance("cka"))


@pytest.mark.parametrize(("estimator", "n"), [("biased", 1), *(("unbiased", n) for n in (1, 2, 3))])
def test_fewer_samples_are_refused(rng, n, estimator):
    X = rng.normal(size=(n, 3))
    for compare in (fastcka.cka, fastcka.hsic, reference.cka, reference.hsic):
        with pytest.raises(ValueError, match=f"{estimator} estimator needs at least [24] samples"):
            compare(X, X, estimator=estimator)


@each_estimator
@each_implementation(ROUTES)
def test_one_feature(rng, implementation, estimator):
    X, Y = implementation.inputs(*related(rng, 300, 1, 1))
    expected = extended.cka_of_features(X, Y, estimator)
    value = implementation.cka(X, Y, "linear", estimator)
    assert value == pytest.approx(expected, abs=implementation.tolerance("cka"))


# ---- the ends of the range


def powers(dtype):
    """Scales near 1e-30 and 1e30: the fourth powers that CKA is made of are out of the range of float32."""
    return [2.0**-100, 2.0**100] if dtype == "float32" else [2.0**-200, 2.0**200]


@each_estimator
@each_implementation_and_kernel(ROUTES, kernels=RELATIVE)
def test_a_power_of_two_changes_no_bit(rng, implementation, kernel, estimator):
    X, Y = implementation.inputs(*related(rng, 40, 6, 4))
    expected = implementation.cka(X, Y, kernel, estimator)
    for scale in powers(implementation.dtype):
        scaled = (X * X.dtype.type(scale), Y * Y.dtype.type(1 / scale))
        assert implementation.cka(*scaled, kernel, estimator) == expected


@each_implementation_and_kernel(ROUTES, kernels=[fastcka.Distance(0.5), fastcka.Distance(1.7)])
def test_scales_with_a_fractional_exponent(rng, implementation, kernel):
    X, Y = implementation.inputs(*related(rng, 40, 6, 4))
    expected = implementation.cka(X, Y, kernel)
    for scale in powers(implementation.dtype):
        value = implementation.cka(X * X.dtype.type(scale), Y * Y.dtype.type(1 / scale), kernel)
        assert value == pytest.approx(expected, abs=implementation.tolerance("identity"))


@each_implementation_and_kernel(ROUTES, kernels=[fastcka.RBF(sigma=2.0), fastcka.Laplacian(sigma=2.0)])
def test_a_bandwidth_in_the_units_of_the_data(rng, implementation, kernel):
    X, Y = implementation.inputs(*related(rng, 40, 6, 4))
    expected = implementation.cka(X, Y, kernel)
    for scale in powers(implementation.dtype):
        in_units = type(kernel)(sigma=2.0 * scale)
        value = implementation.cka(X * X.dtype.type(scale), Y * Y.dtype.type(scale), in_units)
        assert value == pytest.approx(expected, abs=implementation.tolerance("identity"))


@each_estimator
@each_implementation(ROUTES)
def test_hsic_scales_with_the_squares_of_both(rng, implementation, estimator):
    X, Y = implementation.inputs(*related(rng, 40, 6, 4))
    expected = implementation.hsic(X, Y, "linear", estimator)
    value = implementation.hsic(X * X.dtype.type(2.0**40), Y * Y.dtype.type(2.0**-60), "linear", estimator)
    assert value == math.ldexp(expected, 80 - 120)


@pytest.mark.parametrize("kernel", RELATIVE, ids=kernel_id)
@pytest.mark.parametrize(("dtype", "smallest", "largest"), [("float64", -960, 1005), ("float32", -149, 117)])
def test_the_largest_and_smallest_numbers(rng, dtype, smallest, largest, kernel):
    """From subnormals with a few bits (float32) up to where a sum of samples overflows (float64)."""
    X, Y = (np.rint(1000 * Z / np.abs(Z).max()) for Z in related(rng, 40, 6, 4))
    expected = reference.cka(X, Y, kernel=kernel)
    for exponent in (smallest, largest):
        scaled = (np.ldexp(Z, exponent).astype(dtype) for Z in (X, Y))
        assert fastcka.cka(*scaled, kernel=kernel) == pytest.approx(expected, abs=TOLERANCE[dtype, "cka"])


@each_implementation(CORE)
def test_layers_of_very_different_scale_in_one_call(rng, implementation):
    X, Y = implementation.inputs(*related(rng, 40, 6, 4))
    one, many = X.dtype.type(2.0**-60), X.dtype.type(2.0**60)
    matrix = implementation.cka_matrix([X, X * one, X * many], [Y, Y * many, Y * one])
    np.testing.assert_array_equal(matrix, np.full((3, 3), matrix[0, 0]))


@each_kernel
@each_estimator
def test_no_floating_point_warning_escapes(rng, kernel, estimator):
    X, Y = (as_input(Z, kernel) for Z in related(rng, 12, 5, 3))
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert math.isfinite(fastcka.cka(X, Y, kernel=kernel, estimator=estimator))


def test_status_of_the_core(rng):
    """The words that the Python layer translates."""
    X = rng.normal(size=(10, 10))
    options = {"double_precision": True, "n_threads": 1}
    linear, rbf = _core.Kernel("linear"), _core.Kernel("rbf")
    layers = [X, np.ones((10, 2)), np.eye(10)]
    for estimator, last in [("biased", ""), ("unbiased", "nonpositive")]:
        result = _core.pairwise(layers, None, _core.Settings(linear, estimator=estimator, **options))
        assert result.status_a == result.status_b == ["", "constant", last]
    mostly_equal = np.repeat(X[:2], [9, 1], axis=0)
    result = _core.pairwise([X], [mostly_equal], _core.Settings(rbf, estimator="biased", **options))
    assert (result.status_a, result.status_b) == ([""], ["zero_bandwidth"])


@pytest.mark.parametrize("median", ["all", "offdiag"])
@pytest.mark.parametrize("kernel", [fastcka.RBF, fastcka.Laplacian])
def test_gram_of_one_sample_has_no_bandwidth(kernel, median):
    with pytest.warns(fastcka.DegenerateWarning, match="median distance is zero"):
        assert np.isnan(fastcka.gram([[1.0, 2.0]], kernel=kernel(median=median))).all()


def test_vanishing_sigma_in_float32_is_not_nan_arithmetic(rng):
    X = rng.normal(size=(50, 4)).astype(np.float32)
    K = fastcka.gram(X, kernel=fastcka.RBF(sigma=1e-30))
    assert (np.diag(K) == 1).all()
    assert (K[~np.eye(50, dtype=bool)] < 1e-37).all()
    assert fastcka.cka(X, X.copy(), kernel=fastcka.RBF(sigma=1e-30)) == pytest.approx(1, abs=1e-6)


def test_gram_matrix_of_terms_of_one_sample_alone_has_no_variation(rng):
    u, X = rng.normal(size=60), rng.normal(size=(60, 5))
    with pytest.warns(fastcka.DegenerateWarning, match="X"):
        assert np.isnan(fastcka.cka(u[:, None] + u, X @ X.T, kernel="precomputed"))
