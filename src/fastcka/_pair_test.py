# SPDX-License-Identifier: BSD-3-Clause
"""How `cka_test` finds its numbers, once its arguments are checked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _core
from . import _permutation_moments as moments_of
from ._arrays import Array, needs_float64
from ._budget import check_memory, within_memory
from ._groups import Groups, Wanted
from ._pair_inference import invariants, pvalues_by_chi2, pvalues_by_moments
from ._pairwise import in_words, reason, status_of, warn
from ._settings import Settings
from .kernels import Correlation, Cosine, Linear

Float = NDArray[np.float64]
Method: TypeAlias = Literal["moments", "chi2", "permutation"]

UNKNOWN = (math.nan, math.nan, math.nan)


class Found(NamedTuple):
    """The numbers of a test; `null` is mean, standard deviation and skewness under permutation."""

    statistic: float
    pvalue: float
    stderr: float
    null: tuple[float, float, float]
    distribution: Float | None = None


class PairTest:
    """The inputs of one test, checked, and the two ways to its result."""

    def __init__(
        self, labels: list[str], arrays: list[Array], settings: Settings, groups: Groups | None
    ) -> None:
        self.labels, self.settings, self.groups = labels, settings, groups
        self.kernel, self.estimator = settings.kernel, settings.estimator
        self.arrays = arrays if groups is None else groups.sorted(arrays, settings.kernel)
        self.n = len(arrays[0])
        self.core = settings.core(arrays)
        self.double_precision = needs_float64(arrays, settings.dtype)
        self.n_threads = settings.n_threads

    def plain(self, method: Method, orders: Iterator[NDArray[np.int32]]) -> Found:
        sums = method == "moments" or (method == "permutation" and self._by_features)
        found = self._infer(self.arrays[:1], self.arrays[1:], permutations=sums)
        statistic = float(found.asked.cka[0, 0])
        statuses = zip(found.asked.status_a + found.asked.status_b, self.labels, strict=True)
        if degenerate := [f"{label}: {reason(status, self.kernel)}" for status, label in statuses if status]:
            warn(degenerate, stacklevel=4)
        stderr = float(found.standard_errors[0, 0]) if found.standard_errors.size else math.nan
        if method == "chi2":
            std = math.sqrt(2 / (self.n * (self.n - 3)))
            pvalue = float(pvalues_by_chi2(np.array(self.n * statistic)))
            return Found(statistic, pvalue, stderr, (0.0, std, math.nan))
        if math.isnan(statistic):
            return Found(statistic, math.nan, stderr, UNKNOWN)
        if method == "moments":
            known = invariants(found)
            null = (moments_of.unbiased if self.estimator == "unbiased" else moments_of.biased)(
                known[:1], known[1:]
            )
            mean, std, skewness = (float(part[0, 0]) for part in null)
            pvalue = float(pvalues_by_moments(np.array(statistic), null, self.n)[0, 0])
            return Found(statistic, pvalue, stderr, (mean, std, skewness))
        values = self._permuted(found, orders)
        return self._by_permutations(statistic, values, stderr)

    def partial(self, method: Method, orders: Iterator[NDArray[np.int32]]) -> Found:
        self._check_room(6 * self.n**2 * 8)  # K, L, G and what is made of them: float64 for any input
        K, L, G = (self._u_centred(array)[0].astype(np.float64, copy=False) for array in self.arrays)
        degenerate = []
        for matrix, array, label in zip((K, L, G), self.arrays, self.labels, strict=True):
            norm = np.linalg.norm(matrix)
            if norm > 0:
                matrix /= norm
            else:
                degenerate.append(f"{label}: {reason(status_of(array, self.core), self.kernel)}")
        if degenerate:
            warn(degenerate, stacklevel=4)
            return Found(math.nan, math.nan, math.nan, UNKNOWN)
        stderr = _partial_stderr((K, L, G), None if self.groups is None else self.groups.bounds)
        K -= np.vdot(K, G) * G
        L -= np.vdot(L, G) * G
        for matrix, label in ((K, "X"), (L, "Y")):
            if np.linalg.norm(matrix) < 1e-7:  # of 1: X is the confounder but for rounding
                warn([f"{label}: the confounder leaves nothing of it"], stacklevel=4)
                return Found(math.nan, math.nan, math.nan, UNKNOWN)
            matrix /= np.linalg.norm(matrix)
        statistic = float(np.vdot(K, L))
        if method == "moments":
            known = [_invariants_of_matrix(matrix, self.n_threads) for matrix in (K, L)]
            null = moments_of.unbiased(*known)
            mean, std, skewness = (float(part[0, 0]) for part in null)
            pvalue = float(pvalues_by_moments(np.array(statistic), null, self.n)[0, 0])
            return Found(statistic, pvalue, stderr, (mean, std, skewness))
        values = [_core.permuted_products([K], [L], some, self.n_threads)[:, 0, 0] for some in orders]
        return self._by_permutations(statistic, np.concatenate(values), stderr)

    @property
    def _by_features(self) -> bool:
        """Whether products of features are cheaper for permutations than those of n x n matrices."""
        linear = isinstance(self.kernel, Linear | Cosine | Correlation)
        return linear and math.prod(array.shape[1] for array in self.arrays) < 8 * self.n

    # Steps --------------------------------------------------------------------------------------------------

    def _infer(self, a: list[Array], b: list[Array], *, permutations: bool) -> _core.Inference:
        groups = [] if self.groups is None else self.groups.bounds
        left = self.n - (max(np.diff(groups), default=1) if groups else 1)
        core = within_memory(a, b, replace(self.settings, inference=Wanted(self.groups)))
        widths = [a[0].shape[1]], [b[0].shape[1]]
        unbiased = self.estimator == "unbiased"
        needed = _core.inference_bytes(
            self.n, *widths, core, unbiased=unbiased, permutations=permutations, groups=groups
        )
        self._check_room(needed)
        try:
            return _core.infer(
                a,
                b,
                core,
                unbiased=unbiased,
                standard_errors=bool(left >= (4 if unbiased else 2)),
                permutations=permutations,
                groups=groups,
            )
        except _core.NonFinite as error:
            raise in_words(error, [a, b], lambda side, layer: self.labels[side]) from None
        except _core.UnusableLayer as error:
            side, _, why = error.args
            raise ValueError(f"{self.labels[side]}: {why}") from None

    def _permuted(self, found: _core.Inference, orders: Iterator[NDArray[np.int32]]) -> Float:
        """Return the statistic of every order: unbiased CKA, or what is in _permutation_moments.py."""
        n = self.n
        if self._by_features:
            diagonals, norms = found.diagonals.T, np.sqrt(found.squares.sum(axis=0))

            def inner_products(some: NDArray[np.int32]) -> Float:
                full = _core.permuted_feature_products([self.arrays[0]], [self.arrays[1]], self.core, some)[
                    :, 0, 0
                ]
                # |X'PY|^2 = <Kc, P Lc P'>
                hollow: Float = full - n / (n - 2) * spreads(some) - diagonals.sum(axis=1).prod() / (n - 1)
                return hollow
        else:
            self._room_for_matrices(4)
            (K, k), (L, of_l) = (self._u_centred(array) for array in self.arrays)
            dtype = np.result_type(K, L)
            K, L = K.astype(dtype, copy=False), L.astype(dtype, copy=False)
            diagonals = np.array([k, of_l])
            norms = np.sqrt([np.einsum("ij,ij->", W, W, dtype=np.float64) for W in (K, L)])

            def inner_products(some: NDArray[np.int32]) -> Float:
                return _core.permuted_products([K], [L], some, self.n_threads)[:, 0, 0]

        deviations = diagonals - diagonals.mean(axis=1, keepdims=True)

        def spreads(some: NDArray[np.int32]) -> Float:
            products: Float = deviations[1][some] @ deviations[0]
            return products

        values = []
        for some in orders:
            value = inner_products(some)
            if self.estimator == "biased":
                value += n / (n - 2) * spreads(some) + diagonals.sum(axis=1).prod() / (n - 1)
            values.append(value)
        squared_norms = norms**2
        if self.estimator == "biased":
            squared_norms += n / (n - 2) * (deviations**2).sum(axis=1) + diagonals.sum(axis=1) ** 2 / (n - 1)
        scaled: Float = np.concatenate(values) / np.sqrt(squared_norms.prod())
        return scaled

    def _u_centred(self, array: Array) -> tuple[Array, Float]:
        label = self.labels[next(i for i, own in enumerate(self.arrays) if own is array)]
        try:
            return _core.u_centred(array, self.core)
        except _core.NonFinite as error:
            raise in_words(error, [[array]], lambda side, layer: label) from None
        except _core.UnusableLayer as error:
            raise ValueError(f"{label}: {error.args[2]}") from None

    def _room_for_matrices(self, count: int) -> None:
        self._check_room(count * self.n**2 * (8 if self.double_precision else 4))

    def _check_room(self, needed: int) -> None:
        limit = self.settings.max_bytes
        if not limit:
            return check_memory(needed)
        if needed > limit:
            raise MemoryError(
                f"this test needs {needed} bytes besides its inputs, but max_bytes is {limit}; "
                "method='chi2' needs least"
            )

    def _by_permutations(self, statistic: float, values: Float, stderr: float) -> Found:
        # The first order is that of the data, so that ties are ties in spite of rounding.
        observed, null = values[0], values[1:]
        rounding = 1e-12 if self.double_precision else 1e-6
        larger = int(np.count_nonzero(null >= observed - rounding))
        mean, std = float(null.mean()), float(null.std())
        skewness = float(((null - mean) ** 3).mean() / std**3) if std > 0 else math.nan
        pvalue = (1 + larger) / (len(null) + 1)
        return Found(statistic, pvalue, stderr, (mean, std, skewness), null)


def _invariants_of_matrix(W: Float, n_threads: int) -> moments_of.Invariants:
    """Of a U-centred matrix of norm 1; its third moment knows only two of them."""
    zero = np.zeros(1)
    return moments_of.Invariants(
        len(W),
        np.array([np.einsum("ij,ij,ij->", W, W, W)]),
        np.array([_core.trace_of_cube(np.ascontiguousarray(W), n_threads)]),
        *(zero,) * 5,
    )


def _partial_stderr(matrices: tuple[Float, Float, Float], bounds: list[int] | None) -> float:
    """Jackknife of partial CKA, from the U-centred matrices of X, Y and the confounder."""
    n = len(matrices[0])
    names = "xyg"
    pairs = {
        (names[i], names[j]): _leave_out(matrices[i], matrices[j], bounds)
        for i in range(3)
        for j in range(i, 3)
    }
    sizes = np.ones(n) if bounds is None else np.diff(bounds)
    if n - sizes.max() < 4:
        return math.nan

    def cka(i: str, j: str) -> Float:
        return pairs[i, j] / np.sqrt(pairs[i, i] * pairs[j, j])

    xy, xg, yg = cka("x", "y"), cka("x", "g"), cka("y", "g")
    with np.errstate(divide="ignore", invalid="ignore"):  # no remainder: nan
        values = (xy - xg * yg) / np.sqrt((1 - xg**2) * (1 - yg**2))
    h = n / sizes
    deviations = values[1:] - values[0]
    correction = np.sum((1 - 1 / h) * deviations)
    pseudo = (h - 1) * deviations - correction
    return float(np.sqrt(np.mean(pseudo**2 / (h - 1))))


def _leave_out(W: Float, V: Float, bounds: list[int] | None) -> Float:
    """HSIC_1, up to a factor, of all samples, then without each sample (group)."""
    n = len(W)
    rows = np.einsum("ij,ij->i", W, V)
    total = rows.sum()
    if bounds is None:
        m = n - 1
        left = (total - 2 * (n - 2) / (n - 3) * rows) / (m * (m - 3))
        return np.concatenate([[total / (n * (n - 3))], left])
    values = [total / (n * (n - 3))]
    for first, last in itertools.pairwise(bounds):
        m = n - (last - first)
        keep = np.r_[0:first, last:n]
        r, s = W[keep, first:last].sum(axis=1), V[keep, first:last].sum(axis=1)
        inner = (
            total - 2 * rows[first:last].sum() + np.vdot(W[first:last, first:last], V[first:last, first:last])
        )
        inner += r.sum() * s.sum() / ((m - 1) * (m - 2)) - 2 / (m - 2) * (r @ s)
        values.append(inner / (m * (m - 3)))
    return np.array(values)
