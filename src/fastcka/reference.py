# SPDX-License-Identifier: BSD-3-Clause
"""HSIC and CKA as the papers define them: plain NumPy, float64, slow on purpose.

Read this file to learn what the numbers mean; the compiled core is tested against it. The names and meanings
are those of the package, the code is its own.

X is n × p and Y is n × q: the same n samples, row by row. 1 is the all-ones vector, H = I - 11'/n the
centring matrix, and <A, B> = sum_ij A_ij B_ij. L, Lc, Lu belong to Y as K, Kc, Ku do to X.

==== ========================================================== ==========================================
(1)  K_ij = k(x_i, x_j)                                         Gram matrix of X under the kernel k
(2)  Kc = H K H                                                 centred Gram matrix
(3)  HSIC_0 = tr(K H L H) / (n-1)^2 = <Kc, Lc> / (n-1)^2        "biased": Gretton et al. 2005;
                                                                Kornblith et al. 2019, eq. 3
(4)  Ku_ij = K_ij - r_i/(n-2) - r_j/(n-2) + s/((n-1)(n-2)),     U-centred Gram matrix: Székely and
     Ku_ii = 0, with r_i = sum_{j≠i} K_ij and s = sum_i r_i     Rizzo 2014, definition 2
(5)  HSIC_1 = <Ku, Lu> / (n(n-3))                               "unbiased": Song et al. 2007, 2012
(6)  CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))             Kornblith et al. 2019, eq. 4
(7)  sigma = bandwidth * sqrt(median_ij (x_i - x_j)^2)          Kornblith et al. 2019, their notebook
(8)  kappa = (a + b + c) / (a - b + c), where                   condition of HSIC(X, X); of a layer with
     a = <K, K>, b = 2/n (K 1)'(K 1), c = (1'K 1)^2 / n^2       kappa > 2^40 is pure rounding error:
     (unbiased: K0, n - 2 for n, (n-1)(n-2) for n^2);           it has no CKA
     K is Kc, or for kernels of distances K as it is
(11) RV2 = <Kc, Lc> / sqrt(<Kc, Kc> <Lc, Lc>), diagonals zero   Smilde et al. 2009
(12) D_ij = K_ii + K_jj - 2 K_ij; RSA: cosine or Pearson        Kriegeskorte et al. 2008
     correlation of D and its like over all i < j
(13) (tr Kc)^2 / <Kc, Kc>                                       participation ratio, effective dimension
==== ========================================================== ==========================================

Song et al. write (5) in three terms. With K0 and L0 for K and L with the diagonal set to zero it is, number
for number, [tr(K0 L0) + (1'K0 1)(1'L0 1)/((n-1)(n-2)) - 2 (1'K0 L0 1)/(n-2)] / (n(n-3)).

Both centrings remove every term of the form u_i + u_j, a constant among them. So K may be replaced by a
matrix that differs from it by such terms only. `_gram_for_centering` picks one that float64 holds well: data
whose mean is 10 000 times their spread, or a very wide bandwidth, then keep their digits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["center", "cka", "cka_matrix", "effective_dimension", "gram", "hsic"]

Array = npt.NDArray[np.float64]


def gram(X: npt.ArrayLike, *, kernel: object = "linear") -> Array:
    """Evaluate the kernel on every pair of samples (1).

    Parameters
    ----------
    X : (n, p) array_like
        One sample per row; for ``kernel="precomputed"`` the symmetric (n, n) Gram matrix itself.
    kernel : str or object
        ``"linear"``, ``"cosine"``, ``"correlation"``, ``"polynomial"``, ``"rbf"``, ``"laplacian"``,
        ``"distance"`` or ``"precomputed"``, or an object such as ``fastcka.RBF(0.5)``: a dataclass named like
        its kernel.

    Returns
    -------
    (n, n) ndarray
        nan throughout if the bandwidth is to follow from a median distance that is zero.

    Examples
    --------
    >>> gram([[1.0, 2.0], [3.0, 4.0]])
    array([[ 5., 11.],
           [11., 25.]])
    """
    kernel_function, settings = _resolve(kernel)
    return kernel_function(np.asarray(X, dtype=np.float64), **settings)


def center(K: npt.ArrayLike) -> Array:
    """Centre a Gram matrix: H K H (2), whose rows and columns sum to zero.

    Examples
    --------
    >>> center([[1.0, 0.0], [0.0, 1.0]])
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    K = np.asarray(K, dtype=np.float64)
    n = len(K)
    H = np.eye(n) - np.ones((n, n)) / n
    Kc: Array = H @ K @ H
    return Kc


def hsic(
    X: npt.ArrayLike, Y: npt.ArrayLike, *, kernel: object = "linear", estimator: str = "biased"
) -> float:
    """Hilbert-Schmidt independence criterion: (3) if biased, (5) if unbiased.

    Parameters
    ----------
    X, Y : (n, p) and (n, q) array_like
        The same n samples, n >= 2 for the biased and n >= 4 for the unbiased estimator.
    kernel : str or object
        As in `gram`; its bandwidth follows from each representation separately.
    estimator : {"biased", "unbiased", "debiased"}
        "debiased" is another word for "unbiased". The unbiased one may be negative.

    Examples
    --------
    >>> x = [[0.0], [1.0], [2.0]]
    >>> hsic(x, x)  # one column: the square of its sample variance
    1.0
    """
    K, L = _centered_gram(X, kernel, estimator), _centered_gram(Y, kernel, estimator)
    if len(K) != len(L):
        raise ValueError(f"X and Y must have the same number of samples, got {len(K)} and {len(L)}")
    n = len(K)
    factor = (n - 1) ** 2 if estimator == "biased" else n * (n - 3)
    return float(np.sum(K * L) / factor)  # (3): tr(K H L H) = <HKH, HLH> because H H = H; (5)


def cka(X: npt.ArrayLike, Y: npt.ArrayLike, *, kernel: object = "linear", estimator: str = "biased") -> float:
    """Centered kernel alignment (6), the same estimator in all three places.

    Parameters are those of `hsic`. The result is nan if X or Y has no variation under the kernel.

    Examples
    --------
    >>> round(cka([[0.0], [1.0], [2.0]], [[0.0], [1.0], [4.0]]), 4)  # one column each: squared correlation
    0.9231
    """
    return float(cka_matrix([X], [Y], kernel=kernel, estimator=estimator)[0, 0])


def cka_matrix(
    layers_a: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    layers_b: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike] | None = None,
    *,
    measure: str = "cka",
    kernel: object = "linear",
    estimator: str | None = None,
) -> Array:
    """CKA of every layer of ``layers_a`` (rows) with every layer of ``layers_b`` (columns).

    Without ``layers_b``, of ``layers_a`` with itself. Takes mappings or sequences, returns a plain array.
    ``measure`` "rv2" is (11), "rsa_cosine" and "rsa_pearson" are (12); they have no estimator.
    """
    if measure != "cka" and estimator is not None:
        raise ValueError(f"measure {measure!r} has no estimator, got {estimator!r}")

    def compared(X: npt.ArrayLike) -> Array:
        if measure == "cka":
            return _centered_gram(X, kernel, estimator or "biased")
        return _MEASURES[measure](_gram_for_centering(X, kernel))

    rows = [compared(X) for X in _arrays(layers_a)]
    columns = rows if layers_b is None else [compared(Y) for Y in _arrays(layers_b)]
    sizes = sorted({len(K) for K in rows + columns})
    if len(sizes) > 1:
        raise ValueError(f"all layers must have the same number of samples, got {sizes}")
    return np.array([[_alignment(K, L) for L in columns] for K in rows])


def effective_dimension(X: npt.ArrayLike, *, kernel: object = "linear") -> float:
    """Participation ratio of the eigenvalues of the centred Gram matrix (13)."""
    Kc = _centered_gram(X, kernel, "biased")
    return float(np.trace(Kc) ** 2 / np.sum(Kc * Kc))


def _off_diagonal(K: Array) -> Array:
    """Kc with zeros on its diagonal (11)."""
    Kc = center(K)
    return Kc - np.diag(np.diag(Kc))


def _dissimilarities(K: Array) -> Array:
    """D_ij of all pairs i < j (12); terms u_i + u_j in K, which centring removes, must not be in it."""
    Kc = center(K)
    k = np.diag(Kc)
    D: Array = (k[:, None] + k[None, :] - 2 * Kc)[np.triu_indices(len(K), 1)]
    return D


def _deviations(K: Array) -> Array:
    D = _dissimilarities(K)
    deviations: Array = D - D.mean()
    return deviations if np.linalg.norm(deviations) > 1e-12 * np.linalg.norm(D) else 0 * deviations


_MEASURES: dict[str, Callable[[Array], Array]] = {
    "rv2": _off_diagonal,
    "rsa_cosine": _dissimilarities,
    "rsa_pearson": _deviations,
}


def _alignment(K: Array, L: Array) -> float:
    norms = np.linalg.norm(K) * np.linalg.norm(L)
    # (6): the factors of (3) and (5) cancel. No variation: 0/0, and nan says so.
    return float(np.sum(K * L) / norms) if norms > 0 else float("nan")


def _arrays(layers: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike]) -> list[npt.ArrayLike]:
    return list(layers.values() if isinstance(layers, Mapping) else layers)


def _centered_gram(X: npt.ArrayLike, kernel: object, estimator: str) -> Array:
    """Kc (2) for the biased, Ku (4) for the unbiased estimator."""
    K = _gram_for_centering(X, kernel)
    n = len(K)
    given = K
    if _resolve(kernel)[0] not in (rbf, laplacian, distance):  # (8)
        K = K - K.mean(axis=0) - K.mean(axis=0)[:, None] + K.mean()
    if estimator == "debiased":  # another word
        estimator = "unbiased"
    smallest = {"biased": 2, "unbiased": 4}.get(estimator)
    if smallest is None:
        raise ValueError(f'estimator must be "biased" or "unbiased", got {estimator!r}')
    if n < smallest:
        raise ValueError(f"the {estimator} estimator needs at least {smallest} samples, got {n}")
    if estimator == "unbiased":
        K, given = K - np.diag(np.diag(K)), given - np.diag(np.diag(given))  # K0
    centered = center(K) if estimator == "biased" else _u_center(K)
    # What centring leaves of a matrix without variation is rounding error; it stands for exactly zero.
    undefined, rounding = (
        _magnitude(K, estimator) * 2.0**-40,
        n * np.finfo(np.float64).eps * np.linalg.norm(given),
    )
    return np.zeros_like(K) if np.sum(centered**2) <= max(undefined, rounding**2) else centered


def _magnitude(K: Array, estimator: str) -> float:
    """Sum a + b + c of (8), from K0 if unbiased."""
    n, rows = len(K), K.sum(axis=1)
    b, c = (n, n**2) if estimator == "biased" else (n - 2, (n - 1) * (n - 2))
    return float(np.sum(K * K) + 2 / b * (rows @ rows) + rows.sum() ** 2 / c)


def _u_center(K0: Array) -> Array:
    """Ku (4), from K with a zero diagonal."""
    n = len(K0)
    r = K0.sum(axis=1)
    s = r.sum()
    Ku: Array = K0 - r[:, None] / (n - 2) - r[None, :] / (n - 2) + s / ((n - 1) * (n - 2))
    np.fill_diagonal(Ku, 0.0)
    return Ku


def _gram_for_centering(X: npt.ArrayLike, kernel: object) -> Array:
    """Evaluate the kernel up to terms u_i + u_j, which centring removes, losing few digits on the way."""
    kernel_function, settings = _resolve(kernel)
    X = np.asarray(X, dtype=np.float64)
    if kernel_function is linear:
        # Moving the origin to the mean m changes <x, y> by -<x, m> - <m, y> + <m, m>.
        return linear(_center_features(X))
    if kernel_function is distance:  # without the norms, each of one sample alone
        return _minus_half_of_distances(X, **settings)
    if kernel_function in (cosine, correlation):
        V = _center_features(_unit_rows(X if kernel_function is cosine else _center_rows(X)))
        V[np.abs(V) <= 4 * np.finfo(np.float64).eps] = 0.0  # the rounding of rows of one direction
        return linear(V)
    if kernel_function in (rbf, laplacian):
        power = 1 if kernel_function is rbf else 2
        return kernel_function(X, exp=partial(_exp_up_to_a_constant, power=power), **settings)
    if kernel_function is polynomial:
        return _polynomial_about_the_mean(X, **settings)
    return kernel_function(X, **settings)


def _center_features(X: Array) -> Array:
    V: Array = X - X[0]  # exactly zero wherever a column is constant
    V -= V.mean(axis=0)
    return V


def _center_rows(X: Array) -> Array:
    return _center_features(X.T).T


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
    V = _center_features(X)
    m = (X - V).mean(axis=0)  # the mean that V was freed of
    b, u, S = gamma * (m @ m) + coef0, gamma * (V @ m), gamma * linear(V)
    t = u[:, None] + u[None, :] + S
    K: Array = degree * b ** (degree - 1) * S
    for k in range(2, degree + 1):
        K += comb(degree, k) * b ** (degree - k) * t**k
    return K


def linear(X: Array) -> Array:
    """k(x, y) = <x, y>."""
    return X @ X.T


def cosine(X: Array) -> Array:
    """k(x, y) = <x, y> / (|x| |y|), and 0 where x or y is 0. Nothing is centred before the division."""
    return linear(_unit_rows(X))


def correlation(X: Array) -> Array:
    """Pearson's correlation of x and y across features: their cosine once each is less its own mean.

    0 where the values of x or of y are all equal.
    """
    return cosine(_center_rows(X))


def polynomial(X: Array, *, degree: int = 2, coef0: float = 1.0, gamma: float | None = None) -> Array:
    """k(x, y) = (gamma <x, y> + coef0)^degree, with gamma = 1/p unless given."""
    return ((1.0 / X.shape[1] if gamma is None else gamma) * linear(X) + coef0) ** degree


def rbf(
    X: Array,
    *,
    bandwidth: float = 1.0,
    sigma: float | None = None,
    median: str = "all",
    exp: Callable[[Array], Array] = np.exp,
) -> Array:
    """k(x, y) = exp(-|x - y|^2 / (2 sigma^2)), with sigma from (7) unless given."""
    D2 = _squared_distances(X)
    sigma = _median_scale(D2, bandwidth, median) if sigma is None else sigma
    return exp(-D2 / (2.0 * sigma**2)) if sigma > 0 else np.full_like(D2, np.nan)


def laplacian(
    X: Array,
    *,
    bandwidth: float = 1.0,
    sigma: float | None = None,
    median: str = "all",
    exp: Callable[[Array], Array] = np.exp,
) -> Array:
    """k(x, y) = exp(-|x - y| / sigma), with sigma from (7) unless given."""
    D2 = _squared_distances(X)
    sigma = _median_scale(D2, bandwidth, median) if sigma is None else sigma
    return exp(-np.sqrt(D2) / sigma) if sigma > 0 else np.full_like(D2, np.nan)


def distance(X: Array, *, exponent: float = 1.0) -> Array:
    """k(x, y) = (|x|^e + |y|^e - |x - y|^e) / 2, whose CKA is the squared distance correlation."""
    norms = np.linalg.norm(X, axis=1) ** exponent
    K: Array = 0.5 * (norms[:, None] + norms[None, :]) + _minus_half_of_distances(X, exponent=exponent)
    return K


def _minus_half_of_distances(X: Array, *, exponent: float = 1.0) -> Array:
    return -0.5 * _squared_distances(X) ** (exponent / 2.0)


def precomputed(K: Array) -> Array:
    """K itself."""
    if K.ndim != 2 or K.shape[0] != K.shape[1]:
        raise ValueError(f"a precomputed Gram matrix must be square, got shape {K.shape}")
    return K


def _squared_distances(X: Array) -> Array:
    """|x_i - x_j|^2 from the differences themselves: what the rows have in common never enters."""
    return np.array([np.sum((X - x) ** 2, axis=1) for x in X])


def _median_scale(D2: Array, bandwidth: float, median: str) -> float:
    """Sigma (7). "all" counts all n^2 entries, the zero diagonal included; "offdiag" leaves that out."""
    if median not in ("all", "offdiag"):
        raise ValueError(f'median must be "all" or "offdiag", got {median!r}')
    entries = D2 if median == "all" else D2[~np.eye(len(D2), dtype=bool)]
    return bandwidth * float(np.sqrt(np.median(entries)))  # an even count: the mean of the two middle ones


def _unit_rows(X: Array) -> Array:
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    unit = np.zeros_like(X)
    np.divide(X, norms, out=unit, where=norms > 0)
    return unit


_KERNELS: dict[str, Callable[..., Array]] = {
    "linear": linear,
    "cosine": cosine,
    "correlation": correlation,
    "polynomial": polynomial,
    "rbf": rbf,
    "laplacian": laplacian,
    "distance": distance,
    "precomputed": precomputed,
}


def _resolve(kernel: Any) -> tuple[Callable[..., Array], dict[str, Any]]:
    """Find the function of a kernel, and its settings: the fields of the dataclass, by name."""
    name = kernel if isinstance(kernel, str) else type(kernel).__name__.lower()
    if name not in _KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; known kernels: {', '.join(_KERNELS)}")
    return _KERNELS[name], {} if isinstance(kernel, str) else dataclasses.asdict(kernel)
