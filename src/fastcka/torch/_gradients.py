# SPDX-License-Identifier: BSD-3-Clause
"""CKA of two tensors and its gradients, in closed form.

With Kc, Lc the centred (biased) or U-centred (unbiased) Gram matrices, ``h(K, L) = <Kc, Lc>`` and
``CKA = h(K, L) / sqrt(h(K, K) h(L, L))``. Both centrings are orthogonal projections, so dh/dK = Lc and ::

    M = dCKA/dK = Lc / sqrt(h(K, K) h(L, L)) - CKA Kc / h(K, K)

is all that a kernel needs to know (`gram_form`). For the linear kernel ``dCKA/dX = 2 M X``, which with fewer
features than samples is made of features x features products alone (`feature_form`).

CKA does not change when X is shifted, or scaled (a fixed sigma along with it). So everything is computed for
U, which is X without its mean and of norm 1: no offset costs digits, no fourth power leaves the range.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..kernels import RBF
from ._common import Tensor

_PIECE = 2048  # terms of a sum that a matrix product makes in its own type


class Alignment(NamedTuple):
    """A value with its gradients (None where not wanted) and, for X and Y, why it may be undefined."""

    value: Tensor
    gradients: list[Tensor | None]
    statuses: list[str]  # "" or "constant", "nonpositive", "zero_bandwidth"


def align(x: Tensor, y: Tensor, kernel: RBF | None, unbiased: bool, wanted: tuple[bool, bool]) -> Alignment:
    """Return CKA of two float32 or float64 matrices of one dtype; `kernel` None is the linear one."""
    sides = [_Unit(x), _Unit(y)]
    if kernel is None and max(x.shape[1], y.shape[1]) < len(x):
        return _feature_form(sides, unbiased, wanted)
    return _gram_form(sides, kernel, unbiased, wanted)


class _Unit:
    """A representation as `values`, without its mean and of norm 1."""

    def __init__(self, x: Tensor) -> None:
        x = x - x[0]  # exact for neighbours far from zero, and exactly zero where a column is constant
        x -= x.mean(dim=0)
        self._largest = x.abs().amax()
        x /= self._largest
        self._norm = torch.linalg.vector_norm(x)
        self.values = x / self._norm
        self.constant = self._largest == 0

    def in_units(self, length: float) -> Tensor:
        """Return a length in the units of `x` in those of `values`."""
        return length / self._largest / self._norm

    def gradient(self, of_values: Tensor) -> Tensor:
        """Return the gradient by `x` for that by `values`."""
        return of_values / self._largest / self._norm


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b``, with long sums in pieces: a device may add up all terms one after another."""
    pieces = zip(a.split(_PIECE, dim=1), b.split(_PIECE), strict=True)
    total = torch.matmul(*next(pieces))
    dtype = total.dtype
    for piece in pieces:
        total = total.double().add_(torch.matmul(*piece))
    return total.to(dtype)


def _conclude(
    products: list[Tensor], zeros: list[Tensor], undefined: list[tuple[Tensor, Tensor]], unbiased: bool
) -> tuple[Tensor, Tensor, list[str]]:
    """Return CKA, its denominator, and what is wrong with each side.

    `products` are h(K, L), h(K, K), h(L, L); a self product not above its entry of `zeros` is zero.
    `undefined` tells for each side whether it is constant and whether it has no bandwidth. This is the one
    transfer from the device.
    """
    cross, *selves = products
    root = selves[0].sqrt() * selves[1].sqrt()
    flags = [torch.stack([*undefined[i], selves[i] <= zeros[i]]) for i in (0, 1)]
    statuses = []
    for constant, no_bandwidth, vanishes in torch.stack(flags).tolist():
        vanishing = ("nonpositive" if unbiased else "constant") if vanishes else ""
        statuses.append("constant" if constant else "zero_bandwidth" if no_bandwidth else vanishing)
    return cross / root, root, statuses


# ---------------------------------------------------------------------- linear, by features


def _feature_form(sides: list[_Unit], unbiased: bool, wanted: tuple[bool, bool]) -> Alignment:
    """Linear CKA from U'V, U'U and V'V.

    U is centred, so the rows of K sum to zero, and to -K_ii without the diagonal. The estimator of Song et
    al. then is, up to the factor that cancels, with d and e the diagonals of K and L::

        h(K, L) = |V'U|^2 - n/(n-2) d'e + (1'd)(1'e) / ((n-1)(n-2))

    The biased one is its first term.
    """
    n = len(sides[0].values)
    a, b = (n / (n - 2), 1 / ((n - 1) * (n - 2))) if unbiased else (0.0, 0.0)
    u = [side.values for side in sides]
    diagonals = [(values * values).sum(dim=1) for values in u]
    cross = _product(u[1].mT, u[0])
    gram = [_product(values.mT, values) for values in u]  # of the features

    def h(matrix: Tensor, i: int, j: int) -> tuple[Tensor, Tensor]:
        """Return h, and the sum of the magnitudes of its terms."""
        square = (matrix * matrix).sum()
        rows = a * (diagonals[i] @ diagonals[j])
        total = b * diagonals[i].sum() * diagonals[j].sum()
        return square - rows + total, square + rows + total

    def half_gradient(times_u: Tensor, i: int, j: int) -> Tensor:
        """Return dh/dU_i / 2, of which `times_u` = L U_i is the part of the first term."""
        if not unbiased:
            return times_u
        weights = b * diagonals[j].sum() - a * diagonals[j]
        gradient = times_u + weights[:, None] * u[i]
        return gradient - gradient.mean(dim=0)

    (product, _), *selves = h(cross, 0, 1), h(gram[0], 0, 0), h(gram[1], 1, 1)
    products = [product, *(value for value, _ in selves)]
    rounding = 8 * torch.finfo(u[0].dtype).eps
    zeros = [rounding * magnitude for _, magnitude in selves]
    undefined = [(side.constant, torch.zeros_like(side.constant)) for side in sides]
    value, root, statuses = _conclude(products, zeros, undefined, unbiased)

    gradients: list[Tensor | None] = [None, None]
    for i, j in ((0, 1), (1, 0)):
        if wanted[i]:
            towards = half_gradient(u[j] @ (cross if i == 0 else cross.mT), i, j) / root
            away = half_gradient(u[i] @ gram[i], i, i) * (value / products[1 + i])
            gradients[i] = sides[i].gradient(2 * (towards - away))
    return Alignment(value, gradients, statuses)


# ---------------------------------------------------------------------- any kernel, by Gram matrices


def _gram_form(
    sides: list[_Unit], kernel: RBF | None, unbiased: bool, wanted: tuple[bool, bool]
) -> Alignment:
    grams = [_LinearGram(side) if kernel is None else _RBFGram(side, kernel) for side in sides]
    centred = [_centred(gram.values, unbiased) for gram in grams]
    products = [(centred[i] * centred[j]).sum() for i, j in ((0, 1), (0, 0), (1, 1))]
    # What centring leaves of a matrix without variation is a few roundings of each entry.
    rounding = 16 * torch.finfo(products[0].dtype).eps
    zeros = [(rounding * torch.linalg.matrix_norm(gram.values)) ** 2 for gram in grams]
    undefined = [(side.constant, gram.no_bandwidth) for side, gram in zip(sides, grams, strict=True)]
    value, root, statuses = _conclude(products, zeros, undefined, unbiased)

    gradients: list[Tensor | None] = [None, None]
    for i, j in ((0, 1), (1, 0)):
        if wanted[i]:
            by_gram = centred[j] / root - centred[i] * (value / products[1 + i])
            gradients[i] = sides[i].gradient(grams[i].gradient(by_gram))
    return Alignment(value, gradients, statuses)


def _centred(K: Tensor, unbiased: bool) -> Tensor:
    """Return H K H, or the U-centred matrix (Székely and Rizzo 2014, definition 2)."""
    if not unbiased:
        means = K.mean(dim=0)
        return K - means - means[:, None] + means.mean()
    n = len(K)
    K = K.clone().fill_diagonal_(0)
    rows = K.sum(dim=0) / (n - 2)
    K += rows.sum() / (n - 1) - rows - rows[:, None]
    return K.fill_diagonal_(0)


class _LinearGram:
    """K = U U'."""

    def __init__(self, side: _Unit) -> None:
        self._u = side.values
        self.values = _product(self._u, self._u.mT)
        self.no_bandwidth = torch.zeros_like(side.constant)

    def gradient(self, by_gram: Tensor) -> Tensor:
        return 2 * by_gram @ self._u


class _RBFGram:
    """K = exp(-|u_i - u_j|^2 / (2 sigma^2)), less a constant and in units of its typical value.

    Centring removes the constant, normalising the unit. Wide bandwidths, all of whose values are close to 1,
    and narrow ones, all of whose values are close to 0, then keep their digits.
    """

    def __init__(self, side: _Unit, kernel: RBF) -> None:
        self._u = u = side.values
        self._kernel = kernel
        products = _product(u, u.mT)
        norms = products.diagonal()
        sums = norms + norms[:, None]
        self._distances = sums - 2 * products
        # Within the rounding of the terms, samples are equal; so are negative distances, and the diagonal.
        self._distances[self._distances <= 4 * torch.finfo(u.dtype).eps * sums] = 0
        if kernel.sigma is None:
            self._middle, median = _median(self._distances, kernel.median)
            self._sigma = kernel.bandwidth * median.sqrt()
        else:
            self._sigma = side.in_units(kernel.sigma).clamp(min=torch.finfo(u.dtype).tiny)
        self.no_bandwidth = self._sigma == 0 if kernel.sigma is None else torch.zeros_like(side.constant)
        self._exponents = self._distances / self._sigma / self._sigma / -2  # its square may underflow
        # The square of exp(30) times any number of samples is in the range of float32.
        self._typical = self._exponents.mean().clamp(min=-30)
        self.values = torch.expm1(self._exponents - self._typical)

    def gradient(self, by_gram: Tensor) -> Tensor:
        by_exponent = (by_gram * (self.values + 1)).fill_diagonal_(0)
        by_distance = by_exponent / self._sigma / self._sigma / -2
        if self._kernel.sigma is None:
            # sigma^2 = bandwidth^2 median, and d exponent / d sigma^2 = -exponent / sigma^2
            pairs = by_exponent != 0  # an exponent may be -inf where the kernel is zero
            by_variance = -torch.where(pairs, by_exponent * self._exponents, 0).sum() / self._sigma**2
            assert self._kernel.bandwidth is not None  # it is None only beside a sigma
            by_median = by_variance * self._kernel.bandwidth**2
            for place in self._middle:
                i, j = place // len(by_distance), place % len(by_distance)
                by_distance[i, j] += by_median / 4  # of two middle distances, at (i, j) and (j, i)
                by_distance[j, i] += by_median / 4
        # |u_i - u_j|^2 changes by 2 <u_i - u_j, du_i - du_j>
        return 4 * (by_distance.sum(dim=1, keepdim=True) * self._u - by_distance @ self._u)


def _median(distances: Tensor, over: str) -> tuple[list[Tensor], Tensor]:
    """Return the places (in the flattened matrix) of the two middle distances, and their mean.

    They are the same place for an odd count. "offdiag": the n zeros of the diagonal come first in order.
    """
    n = len(distances)
    first = n if over == "offdiag" else 0
    count = n * n - first
    middle = [distances.flatten().kthvalue(first + k) for k in ((count + 1) // 2, count // 2 + 1)]
    return [place for _, place in middle], (middle[0].values + middle[1].values) / 2
