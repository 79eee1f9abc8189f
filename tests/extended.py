# SPDX-License-Identifier: BSD-3-Clause
"""CKA and HSIC in extended precision: the judge of both the compiled core and `fastcka.reference`.

np.longdouble has a 64-bit mantissa on x86-64: its rounding, 5e-20, is far below every tolerance. So few
tricks of `fastcka.reference` are needed here: powers of inner products as they come, and exp, but for
bandwidths so wide that it is 1 even then. For linear kernels on many samples there is the feature space form,
which needs no Gram matrix.
"""

from __future__ import annotations

from math import comb

import numpy as np

from fastcka.kernels import resolve_kernel

LD = np.longdouble


def gram(X, kernel):
    """Gram matrix of X; the linear kernel after centring the features, which changes neither estimator."""
    kernel = resolve_kernel(kernel)
    X = np.asarray(X).astype(LD)
    match kernel.name:
        case "precomputed":
            return X - X.mean(axis=0) - X.mean(axis=0)[:, None] + X.mean()
        case "linear":
            X = X - X.mean(axis=0)
            return X @ X.T
        case "cosine":
            X = unit_rows(X)
            X = X - X.mean(axis=0)
            return X @ X.T
        case "correlation":
            X = X - X[:, :1]
            X = unit_rows(X - X.mean(axis=1, keepdims=True))
            X = X - X.mean(axis=0)
            return X @ X.T
        case "polynomial":
            gamma = LD(1) / X.shape[1] if kernel.gamma is None else LD(kernel.gamma)
            mean = X.mean(axis=0)
            V = X - mean
            # (base + t)^degree, less base^degree and degree base^(degree-1) (u_i + u_j): a mean of 1e4
            # spreads leaves too little even of extended precision.
            base, u, S = gamma * (mean @ mean) + LD(kernel.coef0), gamma * (V @ mean), gamma * (V @ V.T)
            t = u[:, None] + u + S
            d = kernel.degree
            return d * base ** (d - 1) * S + sum(comb(d, k) * base ** (d - k) * t**k for k in range(2, d + 1))
        case "rbf":
            D2 = squared_distances(X)
            return exponential(-D2 / (2 * scale(D2, kernel) ** 2), 1)
        case "laplacian":
            D2 = squared_distances(X)
            return exponential(-np.sqrt(D2) / scale(D2, kernel), 2)
        case "distance":
            return -(squared_distances(X) ** (LD(kernel.exponent) / 2)) / 2  # the norms go with the centring
    raise ValueError(kernel.name)


def exponential(A, power):
    """exp(A), less 1, which centring removes, where the mean squared distance has an exponent below log 2."""
    typical = np.mean(np.abs(A) ** power) ** (LD(1) / power)
    return np.expm1(A) if typical < np.log(2.0) else np.exp(A)


def unit_rows(X):
    norms = np.sqrt((X**2).sum(axis=1, keepdims=True))
    return X / np.where(norms > 0, norms, 1)


def squared_distances(X):
    X = np.asarray(X).astype(LD)
    return np.array([((X - x) ** 2).sum(axis=1) for x in X])


def scale(D2, kernel):
    if kernel.sigma is not None:
        return LD(kernel.sigma)
    keep = np.ones(D2.shape, dtype=bool) if kernel.median == "all" else ~np.eye(len(D2), dtype=bool)
    entries = np.sort(D2[keep])
    middle = len(entries) // 2
    median = entries[middle] if len(entries) % 2 else (entries[middle - 1] + entries[middle]) / 2
    return LD(kernel.bandwidth) * np.sqrt(median)


def hsic_of_grams(K, L, estimator):
    """HSIC_0 after taking off row, column and grand means; HSIC_1 likewise, all of it off the diagonal."""
    n = len(K)
    if estimator == "biased":
        means = [M.mean(axis=0) - M.mean() / 2 for M in (K, L)]
        return ((K - means[0] - means[0][:, None]) * (L - means[1] - means[1][:, None])).sum() / (n - 1) ** 2
    off = ~np.eye(n, dtype=bool)
    sums = [M.sum(axis=0, where=off) for M in (K, L)]
    means = [(r - r.sum() / (2 * (n - 1))) / (n - 2) for r in sums]
    products = (K - means[0] - means[0][:, None]) * (L - means[1] - means[1][:, None])
    return products.sum(where=off) / (n * (n - 3))


def terms_of_grams(K, L, estimator):
    """The three terms that HSIC is the sum of, before they cancel (docs/numerics.md), over its factor."""
    n = len(K)
    if estimator == "biased":
        rows, others = K.sum(axis=0), L.sum(axis=0)
        return (K * L).sum(), -LD(2) / n * (rows @ others), rows.sum() * others.sum() / LD(n) ** 2
    off = ~np.eye(n, dtype=bool)
    rows, others = K.sum(axis=0, where=off), L.sum(axis=0, where=off)
    totals = rows.sum() * others.sum() / LD((n - 1) * (n - 2))
    return (K * L).sum(where=off), -LD(2) / (n - 2) * (rows @ others), totals


def cka_and_condition(K, L, kernel, estimator):
    """CKA, and the larger condition of the two self-HSICs: the magnitudes that make it up, over it."""
    values, conditions = [], []
    if resolve_kernel(kernel).name not in ("rbf", "laplacian", "distance"):
        K, L = (M - M.mean(axis=0) - M.mean(axis=0)[:, None] + M.mean() for M in (K, L))
    for A, B in ((K, L), (K, K), (L, L)):
        values.append(hsic_of_grams(A, B, estimator))
        if A is B:
            magnitude = np.abs(np.array(terms_of_grams(A, A, estimator))).sum()
            factor = (len(A) - 1) ** 2 if estimator == "biased" else len(A) * (len(A) - 3)
            conditions.append(magnitude / factor / values[-1] if values[-1] > 0 else LD("inf"))
    return float(values[0] / np.sqrt(values[1] * values[2])), float(max(conditions))


def hsic_of_features(X, Y, estimator):
    """Linear HSIC without a Gram matrix , for many samples and few features."""
    n = len(X)
    X, Y = (np.asarray(Z).astype(LD) for Z in (X, Y))
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    cross = ((X.T @ Y) ** 2).sum()
    if estimator == "biased":
        return cross / (n - 1) ** 2
    x, y = (X**2).sum(axis=1), (Y**2).sum(axis=1)
    return (cross - LD(n) / (n - 2) * (x @ y) + x.sum() * y.sum() / LD((n - 1) * (n - 2))) / (n * (n - 3))


def cka(X, Y, kernel, estimator):
    K, L = gram(X, kernel), gram(Y, kernel)
    return ratio(lambda A, B: hsic_of_grams(A, B, estimator), K, L)


def cka_of_features(X, Y, estimator):
    return ratio(lambda A, B: hsic_of_features(A, B, estimator), X, Y)


def ratio(hsic, A, B):
    return float(hsic(A, B) / np.sqrt(hsic(A, A) * hsic(B, B)))
