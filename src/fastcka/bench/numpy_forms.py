# SPDX-License-Identifier: BSD-3-Clause
"""The strongest NumPy forms of each measure, and the form that people copy: the opponents of a benchmark.

Layers of one comparison all have the same number of features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .._arrays import Array


def centred(X: Array) -> Array:
    """Subtract the mean of each feature."""
    result: Array = X - X.mean(0)
    return result


def alignment(K: Array, L: Array) -> float:
    """Return the cosine of the angle between two centred Gram matrices."""
    cross, self_K, self_L = np.vdot(K, L), np.vdot(K, K), np.vdot(L, L)
    return float(cross / self_K**0.5 / self_L**0.5)


def linear_gram(X: Array, Y: Array) -> float:
    """Linear CKA by Gram matrices; BLAS makes ``X @ X.T`` as a symmetric product."""
    X, Y = centred(X), centred(Y)
    return alignment(X @ X.T, Y @ Y.T)


def linear_feature(X: Array, Y: Array) -> float:
    """Linear CKA by products of features."""
    X, Y = centred(X), centred(Y)
    C, A, B = X.T @ Y, X.T @ X, Y.T @ Y
    return float(np.vdot(C, C) / np.vdot(A, A) ** 0.5 / np.vdot(B, B) ** 0.5)


def linear_copied(X: Array, Y: Array) -> float:
    """Linear CKA as it is usually copied, with an explicit centring matrix."""
    n = len(X)
    H = np.eye(n) - np.ones((n, n)) / n

    def hsic(K: Array, L: Array) -> float:
        return float(np.trace(K @ H @ L @ H))

    K, L = X @ X.T, Y @ Y.T
    return float(hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L)))


def linear_gram_matrix(X: Array, out: Array) -> Array:
    """Write the centred linear Gram matrix into `out`."""
    X = centred(X)
    return np.matmul(X, X.T, out=out)


def rbf_gram_matrix(X: Array, out: Array) -> Array:
    """Write the centred RBF Gram matrix, with the median bandwidth, into `out`: in few passes, in place."""
    X = centred(X)
    X *= 2**0.5
    K = np.matmul(X, X.T, out=out)  # twice the inner products
    norms = np.diag(K) / 2
    np.subtract(norms, K, out=K)
    K += norms[:, None]
    np.fill_diagonal(K, 0)
    K *= -0.5 / np.median(K)
    np.exp(K, out=K)
    means = K.mean(0)
    means -= means.mean() / 2
    K -= means
    K -= means[:, None]
    return K


def rbf_pair(X: Array, Y: Array) -> float:
    """RBF CKA with the median bandwidth."""
    n = len(X)
    return alignment(*(rbf_gram_matrix(Z, np.empty((n, n), Z.dtype)) for Z in (X, Y)))


def linear_all_pairs(layers: Sequence[Array]) -> Array:
    """Linear CKA of all pairs, by stacked Gram matrices and one product."""
    return _all_pairs(layers, linear_gram_matrix)


def rbf_all_pairs(layers: Sequence[Array]) -> Array:
    """RBF CKA of all pairs, by stacked Gram matrices and one product."""
    return _all_pairs(layers, rbf_gram_matrix)


def _all_pairs(layers: Sequence[Array], gram_matrix: Callable[[Array, Array], Array]) -> Array:
    n = len(layers[0])
    stacked = np.empty((len(layers), n, n), layers[0].dtype)
    for X, K in zip(layers, stacked, strict=True):
        gram_matrix(X, K)
    flat = stacked.reshape(len(layers), -1)
    return _normalised(flat @ flat.T)


def linear_all_pairs_by_features(layers: Sequence[Array]) -> Array:
    """Linear CKA of all pairs, by one product of all features with one another."""
    stacked = np.concatenate([centred(X) for X in layers], axis=1)
    C = stacked.T @ stacked
    np.square(C, out=C)
    L, p = len(layers), layers[0].shape[1]
    return _normalised(C.reshape(L, p, L, p).sum((1, 3)))


def _normalised(products: Array) -> Array:
    root = np.sqrt(np.diag(products))
    result: Array = products / root / root[:, None]
    return result
