# SPDX-License-Identifier: BSD-3-Clause
"""Comparison of an implementation with both judges: the reference, and extended precision."""

from __future__ import annotations

import extended
import numpy as np
import pytest

from fastcka import reference


def widened(X):
    return np.asarray(X).astype(np.float64)


def check(implementation, layers_a, layers_b, kernel, estimator):
    """Compare CKA and HSIC of all pairs with the reference, and CKA of one pair with extended precision."""
    result = implementation.pairs(layers_a, layers_b, kernel, estimator)
    a, b = [widened(X) for X in layers_a], [widened(Y) for Y in layers_b]
    options = {"kernel": kernel, "estimator": estimator}
    tolerance = implementation.tolerance("cka")
    np.testing.assert_allclose(result.cka, reference.cka_matrix(a, b, **options), rtol=0, atol=tolerance)
    assert result.cka[0, -1] == pytest.approx(extended.cka(a[0], b[-1], kernel, estimator), abs=tolerance)

    hsic = np.array([[reference.hsic(X, Y, **options) for Y in b] for X in a])
    self_a = np.array([reference.hsic(X, X, **options) for X in a])
    self_b = np.array([reference.hsic(Y, Y, **options) for Y in b])
    tolerance = implementation.tolerance("hsic")
    np.testing.assert_allclose(result.self_a, self_a, rtol=tolerance)
    np.testing.assert_allclose(result.self_b, self_b, rtol=tolerance)
    scale = np.sqrt(np.outer(self_a, self_b))
    np.testing.assert_allclose(result.hsic / scale, hsic / scale, rtol=0, atol=tolerance)
