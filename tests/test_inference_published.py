# SPDX-License-Identifier: BSD-3-Clause
"""Tests of independence against other packages and published formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from implementations import related
from scipy import stats
from sklearn.datasets import load_iris

import fastcka

angle = np.arange(12.0)
X = np.column_stack([np.sin(angle), np.cos(2 * angle), angle / 12])
Y = np.column_stack([np.sin(angle + 0.5) + 0.1 * angle, np.cos(3 * angle)])


@pytest.mark.parametrize(
    ("exponent", "biased", "unbiased"),
    [(1.0, 0.45223146889765004, 0.10121216828290347), (0.5, 0.6869686211953199, 0.050014851356190666)],
)
def test_distance_correlation_of_dcor(exponent, biased, unbiased):
    """dcor 0.7: distance_correlation_sqr and u_distance_correlation_sqr(X, Y, exponent=exponent)."""
    kernel = fastcka.Distance(exponent)
    for estimator, value in (("biased", biased), ("unbiased", unbiased)):
        test = fastcka.cka_test(X, Y, kernel=kernel, estimator=estimator)
        assert test.statistic == pytest.approx(value, rel=1e-12)


def test_the_t_test_of_dcor_stands_beside_the_moments():
    """dcor 0.7: distance_correlation_t_test(X, Y) has statistic 0.7406389894039858 and p 0.23109055372040122.

    Its t is a function of the unbiased value. Its null distribution is an approximation for many features,
    ours for these samples: p-values agree to 0.05, the statistic to all digits.
    """
    test = fastcka.cka_test(X, Y, kernel="distance")
    degrees = len(X) * (len(X) - 3) / 2 - 1
    t = math.sqrt(degrees) * test.statistic / math.sqrt(1 - test.statistic**2)
    assert t == pytest.approx(0.7406389894039858, rel=1e-11)
    assert stats.t.sf(t, degrees) == pytest.approx(0.23109055372040122, rel=1e-10)
    assert test.pvalue == pytest.approx(0.23109055372040122, abs=0.05)


# R 4.2.2 with FactoMineR 2.7 (Debian 12: r-base-core, r-cran-factominer):
#
#   i <- 0:39
#   A <- sapply(1:6, function(k) sin(k * i^1.3))
#   B <- sapply(1:4, function(k) cos(k * i^1.3 + k) + 0.3 * sin(i^2))
#   C <- sapply(1:5, function(k) sin(k + i^2 / k))
#   angle <- 0:11
#   X <- cbind(sin(angle), cos(2 * angle), angle / 12)
#   Y <- cbind(sin(angle + 0.5) + 0.1 * angle, cos(3 * angle))
#   for (r in FactoMineR::coeffRV(X, Y)) print(r, digits = 17)          # then of (A, B), (A, C), and
#   FactoMineR::coeffRV(as.matrix(iris[, 1:2]), as.matrix(iris[, 3:4]))  # sepals, petals
i = np.arange(40.0)
A = np.column_stack([np.sin(k * i**1.3) for k in range(1, 7)])
COEFF_RV = [  # data; rv, rvstd, mean, variance; skewness, p.value
    (
        (X, Y),
        (0.29275065512994419, 0.97541213610238064, 0.19216084244806692, 0.010634857847938425),
        (0.6675586720669332, 0.15991059786330403),
    ),
    (
        (A, np.column_stack([np.cos(k * i**1.3 + k) + 0.3 * np.sin(i**2) for k in range(1, 5)])),
        (0.46149858284139755, 10.976346440311284, 0.10726758297464808, 0.0010414957882698369),
        (0.64493098765881018, 1.19329488708379e-10),
    ),
    (
        (A, np.column_stack([np.sin(k + i**2 / k) for k in range(1, 6)])),
        (0.12024290616109568, -0.057430702439530211, 0.12206817856577654, 0.0010101063924744583),
        (0.5357654498224993, 0.48730405472179222),
    ),
    (
        "iris",
        (0.77029355397241039, 81.11959962047429, 0.0083111311860641912, 8.8234475740568165e-05),
        (2.5249571743228452, 9.7598086213174137e-30),
    ),
]


@pytest.mark.parametrize(("data", "rv", "tail"), COEFF_RV, ids=["X Y", "A B", "A C", "iris"])
def test_the_rv_test_of_factominer(data, rv, tail):
    """coeffRV is the test of biased linear CKA by moments: all six of its numbers, to 1e-11."""
    if data == "iris":
        flowers = load_iris().data
        data = flowers[:, :2], flowers[:, 2:]
    for matrices in (data, data[::-1]):
        test = fastcka.cka_test(*matrices, estimator="biased", method="moments")
        found = (test.statistic, test.zscore, test.null_mean, test.null_std**2)
        np.testing.assert_allclose(found, rv, rtol=1e-11)
        np.testing.assert_allclose((test.null_skewness, test.pvalue), tail, rtol=1e-11)


def rv_test(X, Y):
    """RV, its mean, standard deviation and skewness under permutation, and the p-value, as coeffRV has them.

    From the formulas of Kazi-Aoual et al. 1995 and Josse et al. 2008, so that any data can be compared.
    """
    n = len(X)
    W, V = (Z @ Z.T for Z in (X - X.mean(0), Y - Y.mean(0)))
    tr = np.trace
    beta, tau, spread = (
        [f(M) for M in (W, V)]
        for f in (
            lambda M: tr(M) ** 2 / tr(M @ M),
            lambda M: (
                (n - 1)
                / ((n - 3) * (n - 1 - tr(M) ** 2 / tr(M @ M)))
                * (n * (n + 1) * np.sum(np.diag(M) ** 2) / tr(M @ M) - (n - 1) * (tr(M) ** 2 / tr(M @ M) + 2))
            ),
            lambda M: n - 1 - tr(M) ** 2 / tr(M @ M),
        )
    )
    mean = math.sqrt(beta[0] * beta[1]) / (n - 1)
    variance = (
        2
        * spread[0]
        * spread[1]
        / ((n + 1) * (n - 1) ** 2 * (n - 2))
        * (1 + (n - 3) / (2 * n * (n - 1)) * tau[0] * tau[1])
    )
    third = third_moment(n, W, V) / (tr(W @ W) * tr(V @ V)) ** 1.5
    skewness = (third - 3 * variance * mean - mean**3) / variance**1.5
    rv = np.vdot(W, V) / math.sqrt(tr(W @ W) * tr(V @ V))
    pvalue = stats.pearson3.sf((rv - mean) / math.sqrt(variance), skewness)
    return rv, mean, math.sqrt(variance), skewness, pvalue


def third_moment(n, W, V):
    """E <W, P V P'>^3 of Kazi-Aoual et al. 1995."""
    names = ["T", "T2", "S2", "T3", "S3", "U", "R", "B"]

    def terms(M):
        m = np.diag(M)
        square = M @ M
        return dict(
            zip(
                names,
                (
                    m.sum(),
                    (M**2).sum(),
                    (m**2).sum(),
                    np.trace(square @ M),
                    (m**3).sum(),
                    (M**3).sum(),
                    m @ np.diag(square),
                    m @ M @ m,
                ),
                strict=True,
            )
        )

    sides = [terms(M) for M in (W, V)]

    def pi(expression):
        return math.prod(eval(expression, {}, side) for side in sides)

    n2, n3, n4, n5, n6 = (math.perm(n, k) for k in range(2, 7))
    return (
        pi("S3") / n
        + (4 * pi("U-S3") + 3 * pi("T*S2-S3") + 6 * pi("-S3") + 12 * pi("R-S3") + 6 * pi("B-S3")) / n2
        + (
            3 * pi("2*S3-T*S2")
            + pi("T**3-3*T*S2+2*S3")
            + 12 * pi("2*S3-T*S2-B")
            + 12 * pi("2*S3-R")
            + 24 * pi("2*S3-R-B")
            + 6 * pi("T*(T2-S2)+2*S3-2*R")
            + 24 * pi("2*S3-U-R")
            + 8 * pi("T3+2*S3-3*R")
        )
        / n3
        + (
            12 * pi("T*S2-6*S3+2*R+2*B")
            + 6 * pi("T*(S2-T2)-6*S3+2*U+4*R")
            + 3 * pi("-T**3+5*T*S2-6*S3+2*B")
            + 12 * pi("T*(2*S2-T2)-6*S3+3*R+2*B")
            + 8 * pi("2*U-6*S3+3*R")
            + 24 * pi("U-T3-6*S3+5*R+B")
        )
        / n4
        + (3 * pi("T**3+2*T*(T2-5*S2)+24*S3-8*R-8*B") + 12 * pi("T*(T2-2*S2)+2*T3+24*S3-4*U-16*R-4*B")) / n5
        + pi("-T**3-6*T*(T2-3*S2)-8*T3-120*S3+16*U+72*R+24*B") / n6
    )


@pytest.mark.parametrize("n", [8, 25, 80])
def test_rv_test_by_the_formulas_of_coeffrv(rng, n):
    """FactoMineR's coeffRV is the test of biased linear CKA by moments."""
    for Z in (related(rng, n, 4, 3)[1], rng.normal(size=(n, 3))):
        A = related(rng, n, 4, 3)[0]
        test = fastcka.cka_test(A, Z, estimator="biased")
        found = (test.statistic, test.null_mean, test.null_std, test.null_skewness, test.pvalue)
        np.testing.assert_allclose(found, rv_test(A, Z), rtol=1e-7)
