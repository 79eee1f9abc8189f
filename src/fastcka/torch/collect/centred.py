# SPDX-License-Identifier: BSD-3-Clause
"""Sums of products of centred Gram matrices, by torch operations on the device where the activations are.

With Kc the centred Gram matrix of a layer, H K H (biased) or the U-centred one of Székely and Rizzo (2014,
definition 2; unbiased), HSIC of two layers is the sum of Kc * Lc over (n - 1)^2, or over n (n - 3). For the
linear kernel both centrings follow from the features::

    x <- x - mean,  K_ij = x_i'x_j,  r_i = sum of row i of K (unbiased: without K_ii),  t = sum of r
    biased:    Kc_ij = K_ij - (r_i + r_j) / n + t / n^2
    unbiased:  Kc_ij = K_ij - (r_i + r_j) / (n - 2) + t / ((n - 1)(n - 2)),  Kc_ii = 0

so tiles of samples are centred as they are formed (`centred_products`). Centred matrices cancel nothing that
matters, so products may be float32 (TF32 off); they are carried into float64 every 2048 terms. A layer with
massive samples is computed in float64: float32 products with these samples would drown the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._common import Tensor

TILES = 2**28  # most bytes of the tiles of all layers
_PIECE = 2048  # terms that a product in float32 adds up


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Products of float32 have all its digits: no autocast, no TF32."""
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        with torch.autocast(device.type, enabled=False), torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass
class Unit:
    """A layer in units in which a typical sample has norm 1, about its mean."""

    values: Tensor  # (n, p)
    norms: Tensor  # squared, (n,) float64, on the device as all of this
    rows: Tensor  # sums of the rows of K, with the diagonal
    unit: Tensor  # squared length, in these units, of 1


def centred(X: Tensor, double: bool) -> Unit:
    """Return a layer in its units, in float32 or `double`."""
    X = X.to(torch.float64 if double else torch.float32)
    X = X - X.mean(0, dtype=torch.float64).to(X.dtype)
    largest = X.abs().amax().double()  # nan or infinity, if there is one
    X.div_(torch.where(largest > 0, largest, 1.0).to(X.dtype))  # no square leaves the range
    typical = squared(X).mean().clamp(min=torch.finfo(torch.float32).tiny).sqrt()
    X.div_(typical.to(X.dtype))
    rows = X.double() @ X.sum(0, dtype=torch.float64)
    return Unit(X, squared(X), rows, (largest * typical) ** 2)


def squared(X: Tensor) -> Tensor:
    """Return the squared norm of each row, in float64."""
    return torch.linalg.vector_norm(X, dim=1, dtype=torch.float64).square()


def products(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` in float64, float32 products in pieces."""
    if a.dtype == torch.float64 or b.dtype == torch.float64:
        return a.double() @ b.double()
    total = torch.zeros(a.shape[0], b.shape[1], dtype=torch.float64, device=a.device)
    for x, y in zip(a.split(_PIECE, 1), b.split(_PIECE), strict=True):
        total += x @ y
    return total


@dataclass
class Sums:
    """Of centred Gram matrices: what CKA is made of, in CPU memory; the last four by side and layer."""

    pairs: NDArray[np.float64]  # sum of Kc * Lc, rows x columns
    selves: list[NDArray[np.float64]]  # sum of Kc * Kc
    magnitudes: list[NDArray[np.float64]]  # of the terms of which that is the difference
    traces: list[NDArray[np.float64]]  # tr H K H
    norms: list[NDArray[np.float64]]  # |H K H|

    def plus(self, other: Sums) -> Sums:
        """Return the sums over two batches; of the magnitudes the smaller ones."""

        def both(name: str, operation: Any) -> Any:
            return list(map(operation, getattr(self, name), getattr(other, name)))

        added = [both(name, np.add) for name in ("selves", "traces", "norms")]
        magnitudes = both("magnitudes", np.minimum)
        return Sums(self.pairs + other.pairs, added[0], magnitudes, *added[1:])


def _edge(n: int, layers: int) -> int:
    """Return how many samples wide tiles are."""
    return max(1, min(n, math.isqrt(TILES // (16 * layers))))


def tile_bytes(n: int, layers: int) -> int:
    """Return what the tiles of all layers take, and the copies of them that float64 needs."""
    return 16 * layers * _edge(n, layers) ** 2


def centred_products(sides: Sequence[Sequence[Unit]], unbiased: bool) -> Sums:
    """Return the sums of all pairs of layers of the two sides, or of those of one."""
    layers = [layer for side in sides for layer in side]
    n, device = len(layers[0].values), layers[0].values.device
    double = any(layer.values.dtype == torch.float64 for layer in layers)
    dtype = torch.float64 if double else torch.float32
    count, first = len(layers), len(sides[0])
    r = torch.stack([layer.rows for layer in layers])  # (layers, n)
    d = torch.stack([layer.norms for layer in layers])
    inner, outer = (n - 2, (n - 1) * (n - 2)) if unbiased else (n, n * n)
    if unbiased:
        r = r - d
    t = r.sum(1)
    margin = r / inner - t[:, None] / (2 * outer)  # Kc_ij = K_ij - margin_i - margin_j
    edge = _edge(n, count)
    pairs = torch.zeros(count, count, dtype=torch.float64, device=device)
    for i in range(0, n, edge):
        for j in range(i, n, edge):
            a, b = slice(i, i + edge), slice(j, j + edge)
            tile = torch.empty(count, min(edge, n - i), min(edge, n - j), dtype=dtype, device=device)
            for k, layer in enumerate(layers):
                K = products(layer.values[a], layer.values[b].mT)
                tile[k] = K - margin[k, a, None] - margin[k, None, b]
            if unbiased and i == j:
                tile.diagonal(dim1=1, dim2=2).zero_()
            flat = tile.flatten(1)
            pairs += (1 if i == j else 2) * products(flat, flat.mT)
    # |H K H|^2 of each layer from the U-centred matrix, and the magnitudes as the core has them
    selves = pairs.diagonal()
    if unbiased:
        part = (r * r).sum(1) * 2 / (n - 2) + t * t / ((n - 1) * (n - 2))
        off = selves + (r * r).sum(1) * 2 / (n - 2) - t * t / ((n - 1) * (n - 2))
        full = off + (d * d).sum(1)
        magnitudes = off.abs() + part
    else:
        full, magnitudes = selves, selves

    def split(values: Tensor) -> list[Any]:
        array = values.cpu().numpy()
        return [array[:first], array[first:]][: len(sides)]

    of_pairs = pairs[:first, first:] if len(sides) == 2 else pairs
    norms = full.clamp(min=0).sqrt()
    return Sums(of_pairs.cpu().numpy(), *map(split, (selves, magnitudes, d.sum(1), norms)))


def block_sums(matrix: Tensor, heights: Sequence[int], widths: Sequence[int]) -> Tensor:
    """Return the sums of the blocks of a matrix."""
    rows = torch.stack([part.sum(0) for part in matrix.split(list(heights))])
    return torch.stack([part.sum(1) for part in rows.split(list(widths), 1)], 1)
