# SPDX-License-Identifier: BSD-3-Clause
"""The same forms in torch, on the CPU. Arrays become tensors without a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .._arrays import Array

Tensor = Any


def linear_gram(X: Array, Y: Array) -> float:
    """Linear CKA by Gram matrices."""
    return _alignment(_linear_gram_matrix(X), _linear_gram_matrix(Y))


def linear_feature(X: Array, Y: Array) -> float:
    """Linear CKA by products of features."""
    x, y = _centred(X), _centred(Y)
    cross, self_x, self_y = ((a.T @ b).flatten() for a, b in ((x, y), (x, x), (y, y)))
    return float(
        torch.dot(cross, cross) / torch.dot(self_x, self_x).sqrt() / torch.dot(self_y, self_y).sqrt()
    )


def rbf_pair(X: Array, Y: Array) -> float:
    """RBF CKA with the median bandwidth: ``torch.median``, the lower of the two middle values."""
    return _alignment(_rbf_gram_matrix(X), _rbf_gram_matrix(Y))


def linear_all_pairs(layers: Sequence[Array]) -> Array:
    """Linear CKA of all pairs, by stacked Gram matrices and one product."""
    return _all_pairs(layers, _linear_gram_matrix)


def rbf_all_pairs(layers: Sequence[Array]) -> Array:
    """RBF CKA of all pairs, by stacked Gram matrices and one product."""
    return _all_pairs(layers, _rbf_gram_matrix)


def _centred(X: Array) -> Tensor:
    x = torch.from_numpy(X)
    return x - x.mean(0)


def _linear_gram_matrix(X: Array) -> Tensor:
    x = _centred(X)
    return x @ x.T


def _rbf_gram_matrix(X: Array) -> Tensor:
    K = _linear_gram_matrix(X).mul_(-2)
    norms = K.diagonal() / -2
    K.add_(norms).add_(norms[:, None]).fill_diagonal_(0)
    K.mul_(-0.5 / K.median()).exp_()
    means = K.mean(0)
    means -= means.mean() / 2
    return K.sub_(means).sub_(means[:, None])


def _alignment(K: Tensor, L: Tensor) -> float:
    # not torch.linalg.norm, whose float32 sum over an n x n matrix loses the third digit at n = 4000
    k, m = K.flatten(), L.flatten()
    return float(torch.dot(k, m) / torch.dot(k, k).sqrt() / torch.dot(m, m).sqrt())


def _all_pairs(layers: Sequence[Array], gram_matrix: Callable[[Array], Tensor]) -> Array:
    n = len(layers[0])
    flat = torch.empty((len(layers), n * n), dtype=torch.from_numpy(layers[0]).dtype)
    for X, row in zip(layers, flat, strict=True):
        row.copy_(gram_matrix(X).flatten())
    products = flat @ flat.T
    root = products.diagonal().sqrt()
    result: Array = (products / root / root[:, None]).numpy()
    return result
