# SPDX-License-Identifier: BSD-3-Clause
"""The strongest NumPy forms of each measure, and the form that people copy: the opponents of a benchmark."""

from __future__ import annotations

import numpy as np


def centred(X):
    return X - X.mean(0)


def linear_gram(X, Y):
    """Linear CKA by Gram matrices; BLAS makes ``X @ X.T`` as a symmetric product."""
    X, Y = centred(X), centred(Y)
    K, L = X @ X.T, Y @ Y.T
    return float(np.vdot(K, L)) / np.sqrt(float(np.vdot(K, K)) * float(np.vdot(L, L)))


def linear_feature(X, Y):
    """Linear CKA by products of features."""
    X, Y = centred(X), centred(Y)
    C, A, B = X.T @ Y, X.T @ X, Y.T @ Y
    return float(np.vdot(C, C)) / np.sqrt(float(np.vdot(A, A)) * float(np.vdot(B, B)))


def linear_copied(X, Y):
    """Linear CKA as it is usually copied, with an explicit centring matrix."""
    n = len(X)
    H = np.eye(n) - np.ones((n, n)) / n

    def hsic(K, L):
        return np.trace(K @ H @ L @ H)

    K, L = X @ X.T, Y @ Y.T
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def rbf_centred_gram(X):
    """A centred RBF Gram matrix with the median bandwidth, every pass in place."""
    X = centred(X)
    K = X @ X.T
    norms = np.diag(K).copy()
    K *= -2
    K += norms[:, None]
    K += norms
    np.maximum(K, 0, out=K)
    K *= -0.5 / np.median(K)
    np.exp(K, out=K)
    K -= K.mean(0)
    K -= K.mean(1)[:, None]
    return K


def rbf_pair(X, Y):
    K, L = rbf_centred_gram(X), rbf_centred_gram(Y)
    return float(np.vdot(K, L)) / np.sqrt(float(np.vdot(K, K))) / np.sqrt(float(np.vdot(L, L)))


def _all_pairs(layers, gram):
    n = len(layers[0])
    stacked = np.empty((len(layers), n * n), layers[0].dtype)
    for row, X in zip(stacked, layers, strict=True):
        row[:] = gram(X).ravel()
    products = stacked @ stacked.T
    root = np.sqrt(np.diag(products))
    return products / root / root[:, None]


def linear_all_pairs(layers):
    """All pairs by stacked Gram matrices and one product."""
    return _all_pairs(layers, lambda X: (c := centred(X)) @ c.T)


def rbf_all_pairs(layers):
    return _all_pairs(layers, rbf_centred_gram)
