# SPDX-License-Identifier: BSD-3-Clause
"""Data that are hard on the digits: large means, long sums, wide and narrow bandwidths, repeated samples."""

from __future__ import annotations

import extended
import numpy as np
import pytest
from checks import check, widened
from implementations import (
    CORE,
    KERNELS,
    each_estimator,
    each_implementation,
    each_implementation_and_kernel,
    related,
)

import fastcka
from fastcka import reference

CUBIC = fastcka.Polynomial(3, coef0=0.5, gamma=0.1)


@each_estimator
@each_implementation_and_kernel(
    # Not "precomputed": whoever made that matrix has lost the digits already. (10^8)^3 overflows float32.
    kernels=[kernel for kernel in KERNELS if kernel not in ("precomputed", CUBIC)]
    + [fastcka.Polynomial(3, coef0=0.5, gamma=1e-6)]
)
def test_mean_of_ten_thousand_spreads(rng, implementation, kernel, estimator):
    X, Y = implementation.inputs(*related(rng, 50, 24, 9, mean=1e4))
    check(implementation, [X], [Y], kernel, estimator)


@each_estimator
@each_implementation_and_kernel(kernels=["linear", "rbf", "laplacian", "distance"])
def test_one_coordinate_far_away(rng, implementation, kernel, estimator):
    """Activations of language models have single coordinates at some thousand spreads."""
    X, Y = related(rng, 50, 24, 9)
    X[:, 3] += 3000
    Y[:, 0] += 3000
    check(implementation, *([Z] for Z in implementation.inputs(X, Y)), kernel, estimator)


@each_estimator
@pytest.mark.parametrize("coordinates", [2047, 2048, 2049, 4097])
@each_implementation(CORE)
def test_long_sums(rng, implementation, coordinates, estimator):
    """Many features (Gram route) or many samples (feature route), with a mean that could eat the digits."""
    n, p, q = (19, coordinates, 50) if implementation.name.startswith("gram") else (coordinates, 19, 7)
    X, Y = implementation.inputs(*related(rng, n, p, q, mean=100.0))
    expected = extended.cka_of_features(X, Y, estimator) if p < n else extended.cka(X, Y, "linear", estimator)
    value = implementation.cka(X, Y, "linear", estimator)
    assert value == pytest.approx(expected, abs=implementation.tolerance("cka"))


@each_implementation_and_kernel(kernels=[*map(fastcka.RBF, (0.2, 0.13, 0.1)), fastcka.Laplacian(0.02)])
def test_narrow_bandwidths_in_many_dimensions(rng, implementation, kernel):
    """All distances are alike there: no two samples are near, every kernel value off the diagonal is tiny."""
    X, noise = rng.normal(size=(2, 100, 1000))
    X, Y = implementation.inputs(X, X + noise)
    expected = reference.cka(widened(X), widened(Y), kernel=kernel, estimator="unbiased")
    value = implementation.cka(X, Y, kernel, "unbiased")
    assert value == pytest.approx(expected, abs=implementation.tolerance("narrow"))


RADIAL = ["rbf", fastcka.RBF(0.2), "laplacian", "distance", fastcka.Distance(0.5)]


@each_estimator
@each_implementation_and_kernel(kernels=[fastcka.RBF(40.0), fastcka.Laplacian(40.0), fastcka.RBF(1000.0)])
def test_wide_bandwidths(rng, implementation, kernel, estimator):
    """exp(-d) of nearly 1 everywhere: what tells samples apart is in the last digits unless 1 is left out."""
    X, Y = implementation.inputs(*related(rng, 60, 24, 9))
    check(implementation, [X], [Y], kernel, estimator)


@each_estimator
@each_implementation_and_kernel(kernels=[fastcka.RBF(0.2), fastcka.RBF(0.1), fastcka.Laplacian(0.05)])
def test_narrow_bandwidths(rng, implementation, kernel, estimator):
    """exp(-d) of nearly 0 off the diagonal. The unbiased estimator lives from what is there."""
    X, Y = implementation.inputs(*related(rng, 60, 24, 9))
    expected = reference.cka(widened(X), widened(Y), kernel=kernel, estimator=estimator)
    value = implementation.cka(X, Y, kernel, estimator)
    assert value == pytest.approx(expected, abs=implementation.tolerance("cka"))


@each_estimator
@each_implementation_and_kernel(kernels=RADIAL)
def test_repeated_samples(rng, implementation, kernel, estimator):
    """A distance of zero must not come out as the square root of a rounding error."""
    X, Y = (Z[rng.integers(0, 20, size=60)] for Z in related(rng, 20, 24, 9))
    check(implementation, *([Z] for Z in implementation.inputs(X, Y)), kernel, estimator)


@each_estimator
@each_implementation_and_kernel(kernels=RADIAL)
def test_nearly_repeated_samples(rng, implementation, kernel, estimator):
    X, Y = (np.repeat(Z, 4, axis=0) for Z in related(rng, 15, 24, 9))
    X += 1e-3 * rng.normal(size=X.shape)
    X, Y = implementation.inputs(X, Y)
    expected = reference.cka(widened(X), widened(Y), kernel=kernel, estimator=estimator)
    value = implementation.cka(X, Y, kernel, estimator)
    assert value == pytest.approx(expected, abs=implementation.tolerance("near samples"))
