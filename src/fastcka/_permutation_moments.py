# SPDX-License-Identifier: BSD-3-Clause
"""Mean, variance and skewness of CKA over all permutations of the samples of one side, without a permutation.

With Ku the U-centred Gram matrix, k = diag(Kc) and k~ = k - mean k, and the same of L, the inner products of
both estimators under a permutation P are, up to the factor that CKA does not see::

    unbiased   A = <Ku, P Lu P'>
    biased     A + n/(n-2) B + sum(k) sum(l) / (n-1),    B = k~' P l~

(src/cpp/measures/rsa.cpp has the decomposition.) Averages over all permutations are averages over a group:
each is the product of invariants of the two sides over the norm of that invariant. Hence, with
``pi(e)`` for the value of e for K times that for L::

    E A = E B = E A B = 0
    E A^2   = 2 pi(|Ku|^2) / (n (n-3))
    E B^2   = pi(sum k~^2) / (n-1)
    E A^3   = that of Kazi-Aoual et al. 1995, with sum Ku^3 and tr Ku^3
    E A^2 B = 4 (n-2) pi(sum_ij k~_i Ku_ij^2) / ((n-1) (n-3) (n-4))
    E A B^2 = 2 pi(k~' Ku k~) / (n (n-3))
    E B^3   = n pi(sum k~^3) / ((n-1) (n-2))

so that nothing cancels, however close biased CKA is to 1. All are exact for n >= 6 samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Invariants:
    """Of some layers, each divided by the power of |Ku| that makes it free of units: arrays of one length."""

    n: int
    cubes: Array  # sum_ij Ku_ij^3
    traces: Array  # tr(Ku^3)
    total: Array  # sum k
    spread: Array  # sum k~^2
    spread3: Array  # sum k~^3
    weighted: Array  # sum_ij k~_i Ku_ij^2
    form: Array  # k~' Ku k~

    @classmethod
    def of(
        cls, diagonals: Array, squares: Array, cubes: Array, quadratic_forms: Array, traces_of_cubes: Array
    ) -> Invariants:
        """Return them from sums over samples (rows of the first two) of layers (columns), in any units."""
        norm = np.sqrt(squares.sum(axis=0))
        with np.errstate(divide="ignore", invalid="ignore"):  # a layer without variation is nan
            k = diagonals / norm
            deviations = k - k.mean(axis=0)
            return cls(
                len(k),
                cubes / norm**3,
                traces_of_cubes / norm**3,
                k.sum(axis=0),
                (deviations**2).sum(axis=0),
                (deviations**3).sum(axis=0),
                (deviations * squares).sum(axis=0) / norm**2,
                quadratic_forms / norm**3,
            )

    def __getitem__(self, layers: slice) -> Invariants:
        return Invariants(self.n, *(getattr(self, field.name)[layers] for field in fields(self)[1:]))


class Moments(NamedTuple):
    """Of the statistic of all pairs of layers under permutation."""

    mean: Array
    std: Array
    skewness: Array


def unbiased(x: Invariants, y: Invariants) -> Moments:
    """Moments of unbiased CKA: mean 0 and variance 2 / (n (n - 3)), for any data and kernel."""
    std = math.sqrt(2 / (x.n * (x.n - 3)))
    third = _third_moment(x, y)
    return Moments(np.zeros_like(third), np.where(np.isnan(third), np.nan, std), third / std**3)


def biased(x: Invariants, y: Invariants) -> Moments:
    """Moments of biased CKA."""
    n = x.n

    def pi(e: Callable[[Invariants], Array]) -> Array:
        return np.multiply.outer(e(x), e(y))

    def squared_norm(z: Invariants) -> Array:  # |Kc|^2 over |Ku|^2
        return 1 + n / (n - 2) * z.spread + z.total**2 / (n - 1)

    beta = n / (n - 2)
    scale = pi(lambda z: 1 / np.sqrt(squared_norm(z)))
    variance = 2 / (n * (n - 3)) + beta**2 / (n - 1) * pi(lambda z: z.spread)
    third = (
        _third_moment(x, y)
        + 3 * beta * 4 * (n - 2) / ((n - 1) * (n - 3) * (n - 4)) * pi(lambda z: z.weighted)
        + 3 * beta**2 * 2 / (n * (n - 3)) * pi(lambda z: z.form)
        + beta**3 * n / ((n - 1) * (n - 2)) * pi(lambda z: z.spread3)
    )
    mean = pi(lambda z: z.total) / (n - 1) * scale
    return Moments(mean, np.sqrt(variance) * scale, third / variance**1.5)


def _third_moment(x: Invariants, y: Invariants) -> Array:
    """E A^3 for |Ku| = |Lu| = 1: Kazi-Aoual et al. 1995, without the terms of diagonals and row sums."""
    n2, n3, n4, n5, n6 = (math.perm(x.n, k) for k in range(2, 7))

    def pi(u: float, t: float) -> Array:
        return np.multiply.outer(u * x.cubes + t * x.traces, u * y.cubes + t * y.traces)

    return (
        4 * pi(1, 0) / n2
        + (24 * pi(1, 0) + 8 * pi(0, 1)) / n3
        + (56 * pi(1, 0) + 24 * pi(1, -1)) / n4
        + 12 * pi(-4, 2) / n5
        + pi(16, -8) / n6
    )
