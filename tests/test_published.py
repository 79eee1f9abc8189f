# SPDX-License-Identifier: BSD-3-Clause
"""Numbers that other people printed, from every implementation."""

from __future__ import annotations

import numpy as np
import pytest
from implementations import each_implementation

import fastcka


def last_digit(printed: str) -> float:
    """Half a unit of the last printed digit, and a float32 rounding."""
    return 0.5 * 10.0 ** -len(printed.partition(".")[2]) + 1e-7


def notebook():
    """google-research, representation_similarity/Demo.ipynb: the data of Kornblith et al. 2019."""
    legacy = np.random.RandomState(1337)
    X = legacy.randn(100, 10)
    return X, legacy.randn(100, 10) + X


@each_implementation()
@pytest.mark.parametrize(("estimator", "printed"), [("biased", "0.55761"), ("unbiased", "0.51346")])
def test_linear_cka_of_the_notebook(implementation, estimator, printed):
    value = implementation.cka(*implementation.inputs(*notebook()), "linear", estimator)
    assert value == pytest.approx(float(printed), abs=last_digit(printed))


@each_implementation(of="rbf")
def test_rbf_cka_of_the_notebook(implementation):
    value = implementation.cka(*implementation.inputs(*notebook()), fastcka.RBF(0.5))
    assert value == pytest.approx(0.65483, abs=last_digit("0.65483"))


@each_implementation(of="rbf")
def test_docstring_of_pytorch_ignite(implementation):
    """pytorch-ignite, ignite/metrics/hsic.py: sigma^2 is the median of all squared distances."""
    X = np.arange(50.0).reshape(10, 5)
    Y = np.sin(2 * np.pi * X / 50)
    value = implementation.hsic(*implementation.inputs(X, Y), "rbf", "unbiased")
    assert value == pytest.approx(0.0922664, abs=last_digit("0.0922664"))


A = np.arange(1.0, 17.0).reshape(4, 4)
B = np.array([[1.0], [0.0], [0.0], [1.0]])


@each_implementation(of="distance")
@pytest.mark.parametrize(
    ("exponent", "estimator", "covariance_aa", "covariance_ab", "covariance_bb", "correlation"),
    [
        (1.0, "biased", 52.0, 1.0, 0.25, 0.27735009),
        (1.0, "unbiased", 42.66666666, -2.66666666, 0.66666666, -0.5),
        (0.5, "biased", None, 0.37059045, None, 0.44933081),
        (0.5, "unbiased", None, -0.29965988, None, -0.40504793),
    ],
)
def test_doctests_of_dcor(
    implementation, exponent, estimator, covariance_aa, covariance_ab, covariance_bb, correlation
):
    """vnmabus/dcor, dcor/_dcor.py: squared distance covariance and correlation, both estimators.

    HSIC of the distance kernel is a quarter of the squared distance covariance, with the factor 1/(n-1)^2 in
    place of 1/n^2 if biased; CKA is the squared distance correlation.
    """
    kernel = fastcka.Distance(exponent)
    n = len(A)
    factor = 4 * (n - 1) ** 2 / n**2 if estimator == "biased" else 4.0
    a, b = implementation.inputs(A, B)
    result = implementation.pairs([a], [b], kernel, estimator)
    close = {"rel": 1e-6, "abs": 1e-7}  # eight printed digits, or float32
    assert result.cka[0, 0] == pytest.approx(correlation, **close)
    assert factor * result.hsic[0, 0] == pytest.approx(covariance_ab, **close)
    if covariance_aa is not None:
        assert factor * result.self_a[0] == pytest.approx(covariance_aa, **close)
        assert factor * result.self_b[0] == pytest.approx(covariance_bb, **close)
