# SPDX-License-Identifier: BSD-3-Clause
"""Gram matrices that keep their digits in float64 when they are centred.

Both centrings remove every term of the form u_i + u_j, a constant among them. So K may be replaced by a
matrix that differs from it by such terms only. `gram_for_centering` picks one that float64 holds well: data
whose mean is 10 000 times their spread, or a very wide bandwidth, then keep their digits.
"""

from __future__ import annotations

from functools import partial
from math import comb

import numpy as np
import numpy.typing as npt

from .kernels import (
    Array,
    center_features,
    center_rows,
    correlation,
    cosine,
    distance,
    laplacian,
    linear,
    minus_half_of_distances,
    polynomial,
    rbf,
    resolve,
    unit_rows,
)


def gram_for_centering(X: npt.ArrayLike, kernel: object) -> Array:
    """Evaluate the kernel up to terms u_i + u_j, which centring removes, losing few digits on the way."""
    kernel_function, settings = resolve(kernel)
    X = np.asarray(X, dtype=np.float64)
    if kernel_function is linear:
        # Moving the origin to the mean m changes <x, y> by -<x, m> - <m, y> + <m, m>.
        return linear(center_features(X))
    if kernel_function is distance:  # without the norms, each of one sample alone
        return minus_half_of_distances(X, **settings)
    if kernel_function in (cosine, correlation):
        V = center_features(unit_rows(X if kernel_function is cosine else center_rows(X)))
        V[np.abs(V) <= 4 * np.finfo(np.float64).eps] = 0.0  # the rounding of rows of one direction
        return linear(V)
    if kernel_function in (rbf, laplacian):
        power = 1 if kernel_function is rbf else 2
        return kernel_function(X, exp=partial(_exp_up_to_a_constant, power=power), **settings)
    if kernel_function is polynomial:
        return _polynomial_about_the_mean(X, **settings)
    return kernel_function(X, **settings)


def _exp_up_to_a_constant(A: Array, *, power: int) -> Array:
    """exp(A), or exp(A) - 1 where most entries would be close to 1 and lose what sets them apart.

    |A|^power is proportional to the squared distance, and so its mean to the mean squared distance.
    """
    typical = np.mean(np.abs(A) ** power) ** (1 / power)
    return np.expm1(A) if typical < np.log(2.0) else np.exp(A)


def _polynomial_about_the_mean(
    X: Array, *, degree: int = 2, coef0: float = 1.0, gamma: float | None = None
) -> Array:
    # With x = m + v, gamma <x, y> + coef0 = b + t, where b = gamma |m|^2 + coef0 and t = u_i + u_j + S_ij.
    # Of the binomial series of (b + t)^degree, b^degree and degree b^(degree-1) (u_i + u_j) are left out.
    gamma = 1.0 / X.shape[1] if gamma is None else gamma
    V = center_features(X)
    m = (X - V).mean(axis=0)  # the mean that V was freed of
    b, u, S = gamma * (m @ m) + coef0, gamma * (V @ m), gamma * linear(V)
    t = u[:, None] + u[None, :] + S
    K: Array = degree * b ** (degree - 1) * S
    for k in range(2, degree + 1):
        K += comb(degree, k) * b ** (degree - k) * t**k
    return K
