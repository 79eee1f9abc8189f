# SPDX-License-Identifier: BSD-3-Clause
"""Tails of the distributions that p-values and intervals come from, in NumPy alone.

Pearson III (a gamma distribution with any skewness, the normal one included), chi-squared with one degree of
freedom, and quantiles of Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import finite_number

Array = NDArray[np.float64]

SMALLEST = float(np.finfo(np.float64).tiny)  # of a p-value, 2.2e-308

# Shapes of the gamma distribution from which on its expansion about the normal one is exact to 1e-10.
_LARGE = 1e6

_log_gamma: Callable[[Array], Array] = np.vectorize(math.lgamma, otypes=[np.float64])
_erfc: Callable[[Array], Array] = np.vectorize(math.erfc, otypes=[np.float64])


def normal_sf(z: ArrayLike) -> Array:
    """P(Z > z) of the standard normal distribution."""
    return _erfc(np.asarray(z) / math.sqrt(2)) / 2


def chi2_sf(x: ArrayLike) -> Array:
    """P(chi-squared > x) with one degree of freedom; 1 for negative x."""
    return _erfc(np.sqrt(np.maximum(np.asarray(x, dtype=np.float64), 0.0) / 2))


def pearson3_sf(z: ArrayLike, skewness: ArrayLike) -> Array:
    """P(Z > z) for the Pearson III distribution of mean 0, variance 1 and this skewness.

    With a = 4 / skewness^2, it is that of (G - a) / sqrt(a), G gamma of shape a, or of minus that.
    """
    z, skewness = np.broadcast_arrays(np.asarray(z, np.float64), np.asarray(skewness, np.float64))
    p = np.full(z.shape, np.nan)
    known = ~(np.isnan(z) | np.isnan(skewness))
    normal = known & (np.abs(skewness) < 1e-9)  # a beyond 4e18: the difference is below rounding
    p[normal] = normal_sf(z[normal])
    for rest, sign in ((known & ~normal & (skewness > 0), 1.0), (known & ~normal & (skewness < 0), -1.0)):
        a = 4 / skewness[rest] ** 2
        below, above = gamma_tails(a, sign * z[rest] / np.sqrt(a))
        p[rest] = above if sign > 0 else below
    return p


def gamma_tails(a: Array, mu: Array) -> tuple[Array, Array]:
    """P(G < x) and P(G > x) for G gamma of shape a, at x = a (1 + mu).

    By the series for x < a + 1, by the continued fraction beyond (Abramowitz and Stegun 6.5.29, 6.5.31), and
    for large a by Temme's expansion (1979), whose next term is below 1e-9 of the tail.
    """
    below, above = np.zeros_like(a), np.ones_like(a)  # where x <= 0
    x = a * (1 + mu)
    large = (a >= _LARGE) & (x > 0)
    series = (a < _LARGE) & (x > 0) & (x < a + 1)
    fraction = (a < _LARGE) & (x >= a + 1)
    if large.any():
        below[large], above[large] = _temme(a[large], mu[large])
    if series.any():
        below[series] = _density(a[series], mu[series]) * _series(a[series], x[series])
        above[series] = 1 - below[series]
    if fraction.any():
        above[fraction] = _density(a[fraction], mu[fraction]) * _fraction(a[fraction], x[fraction])
        below[fraction] = 1 - above[fraction]
    return below, above


def _density(a: Array, mu: Array) -> Array:
    """x^a exp(-x) / Gamma(a), without the difference of large logarithms."""
    # Gamma(a) = sqrt(2 pi / a) (a / e)^a exp(1/(12 a) - ...) for large a
    small = np.minimum(a, 100.0)
    correction = np.where(
        a < 100,
        _log_gamma(small) - ((small - 0.5) * np.log(small) - small + 0.5 * math.log(2 * math.pi)),
        1 / (12 * a) - 1 / (360 * a**3) + 1 / (1260 * a**5),
    )
    return np.exp(-a * (mu - np.log1p(mu)) - correction) * np.sqrt(a / (2 * math.pi))


def _series(a: Array, x: Array) -> Array:
    term = 1 / a
    total = term.copy()
    k = a.copy()
    while np.any(term > total * 1e-17):
        k += 1
        term *= x / k
        total += term
    return total


def _fraction(a: Array, x: Array) -> Array:
    """Lentz's algorithm, modified, for 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...)))."""
    b = x + 1 - a
    c = np.full_like(x, 1e300)
    d = 1 / b
    value = d.copy()
    for i in range(1, 100_000):
        factor = -i * (i - a)
        b += 2
        d = factor * d + b
        d = 1 / np.where(np.abs(d) < 1e-300, 1e-300, d)
        c = b + factor / c
        c = np.where(np.abs(c) < 1e-300, 1e-300, c)
        step = c * d
        value *= step
        if np.all(np.abs(step - 1) < 1e-15):
            break
    return value


def _temme(a: Array, mu: Array) -> tuple[Array, Array]:
    """P and Q = erfc(-+ eta sqrt(a/2)) / 2 -+ R with R = exp(-a eta^2/2) / sqrt(2 pi a) (1/mu - 1/eta)."""
    half_square = mu - np.log1p(mu)
    tiny = np.abs(mu) < 1e-3
    m = np.where(tiny, mu, 0.0)
    # mu - log(1 + mu) = mu^2/2 - mu^3/3 + ...
    half_square = np.where(
        tiny, m**2 * (1 / 2 - m * (1 / 3 - m * (1 / 4 - m * (1 / 5 - m / 6)))), half_square
    )
    eta = np.sign(mu) * np.sqrt(2 * half_square)
    safe_mu, safe_eta = np.where(tiny, 1.0, mu), np.where(tiny, 1.0, eta)
    c0 = np.where(
        tiny, -1 / 3 + eta * (1 / 12 - eta * (2 / 135 - eta * (1 / 864))), 1 / safe_mu - 1 / safe_eta
    )
    rest = np.exp(-a * half_square) / np.sqrt(2 * math.pi * a) * c0
    at = eta * np.sqrt(a / 2)
    return _erfc(-at) / 2 - rest, _erfc(at) / 2 + rest


def interval_reach(level: float, degrees: int) -> float:
    """Return how many standard errors an interval reaches to either side."""
    share = finite_number(level, "level", above=0, below=1)
    return t_quantile(share, degrees) if degrees > 0 else math.nan


def t_quantile(level: float, degrees: float) -> float:
    """T with P(|T| < t) = level, for Student's t with that many degrees of freedom, by bisection."""
    tail, low, high = 1 - level, 0.0, 1.0
    while t_two_sided(high, degrees) > tail:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_two_sided(middle, degrees) > tail else (low, middle)
    return (low + high) / 2


def t_two_sided(t: float, degrees: float) -> float:
    """P(|T| > t) = I_x(degrees/2, 1/2) at x = degrees / (degrees + t^2)."""
    a, b = degrees / 2, 0.5
    x, y = degrees / (degrees + t * t), t * t / (degrees + t * t)
    if y == 0:
        return 1.0
    front = math.exp(
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        - a * math.log1p(t * t / degrees)
        + b * math.log(y)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, y) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8)."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + factor * d)
            c = 1 + factor / c
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
