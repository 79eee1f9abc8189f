# SPDX-License-Identifier: BSD-3-Clause
"""The kernels by their formulas (1), and the bandwidth (7): functions of all samples, which return K."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def linear(X: Array) -> Array:
    """k(x, y) = <x, y>."""
    return X @ X.T


def cosine(X: Array) -> Array:
    """k(x, y) = <x, y> / (|x| |y|), and 0 where x or y is 0. Nothing is centred before the division."""
    return linear(unit_rows(X))


def correlation(X: Array) -> Array:
    """Pearson's correlation of x and y across features: their cosine once each is less its own mean.

    0 where the values of x or of y are all equal.
    """
    return cosine(center_rows(X))


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
    D2 = squared_distances(X)
    sigma = median_scale(D2, bandwidth, median) if sigma is None else sigma
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
    D2 = squared_distances(X)
    sigma = median_scale(D2, bandwidth, median) if sigma is None else sigma
    return exp(-np.sqrt(D2) / sigma) if sigma > 0 else np.full_like(D2, np.nan)


def distance(X: Array, *, exponent: float = 1.0) -> Array:
    """k(x, y) = (|x|^e + |y|^e - |x - y|^e) / 2, whose CKA is the squared distance correlation."""
    norms = np.linalg.norm(X, axis=1) ** exponent
    K: Array = 0.5 * (norms[:, None] + norms[None, :]) + minus_half_of_distances(X, exponent=exponent)
    return K


def precomputed(K: Array) -> Array:
    """K itself."""
    if K.ndim != 2 or K.shape[0] != K.shape[1]:
        raise ValueError(f"a precomputed Gram matrix must be square, got shape {K.shape}")
    return K


KERNELS: dict[str, Callable[..., Array]] = {
    "linear": linear,
    "cosine": cosine,
    "correlation": correlation,
    "polynomial": polynomial,
    "rbf": rbf,
    "laplacian": laplacian,
    "distance": distance,
    "precomputed": precomputed,
}


def resolve(kernel: Any) -> tuple[Callable[..., Array], dict[str, Any]]:
    """Find the function of a kernel, and its settings: the fields of the dataclass, by name."""
    name = kernel if isinstance(kernel, str) else type(kernel).__name__.lower()
    if name not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; known kernels: {', '.join(KERNELS)}")
    return KERNELS[name], {} if isinstance(kernel, str) else dataclasses.asdict(kernel)


def squared_distances(X: Array) -> Array:
    """|x_i - x_j|^2 from the differences themselves: what the rows have in common never enters."""
    return np.array([np.sum((X - x) ** 2, axis=1) for x in X])


def median_scale(D2: Array, bandwidth: float, median: str) -> float:
    """Sigma (7). "all" counts all n^2 entries, the zero diagonal included; "offdiag" leaves that out."""
    if median not in ("all", "offdiag"):
        raise ValueError(f'median must be "all" or "offdiag", got {median!r}')
    entries = D2 if median == "all" else D2[~np.eye(len(D2), dtype=bool)]
    return bandwidth * float(np.sqrt(np.median(entries)))  # an even count: the mean of the two middle ones


def minus_half_of_distances(X: Array, *, exponent: float = 1.0) -> Array:
    """Return the distance kernel without its terms of one sample alone: -|x - y|^e / 2."""
    return -0.5 * squared_distances(X) ** (exponent / 2.0)


def unit_rows(X: Array) -> Array:
    """Divide each sample by its norm; zero samples stay zero."""
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    unit = np.zeros_like(X)
    np.divide(X, norms, out=unit, where=norms > 0)
    return unit


def center_features(X: Array) -> Array:
    """Take the mean sample off every sample."""
    V: Array = X - X[0]  # exactly zero wherever a column is constant
    V -= V.mean(axis=0)
    return V


def center_rows(X: Array) -> Array:
    """Take off every sample the mean of its own features."""
    return center_features(X.T).T
