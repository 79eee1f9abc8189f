# SPDX-License-Identifier: BSD-3-Clause
"""Is a value of CKA more than chance, and how sure is it: :func:`cka_test` of two representations.

The sums over samples are made by the core (src/cpp/inference), moments under permutation follow from them in
_permutation_moments.py, tails of distributions are in _tails.py. For all pairs of layers, see
``cka_matrix(..., inference=True)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _core
from . import _permutation_moments as moments_of
from ._arrays import (
    Array,
    ArrayLike,
    Canonical,
    Estimator,
    as_representation,
    byte_limit,
    check_estimator,
    check_samples,
    needs_float64,
    positive_integer,
    unknown,
)
from ._budget import check_memory, within_memory
from ._groups import Groups, Permute, orders_of
from ._pair_inference import invariants, pvalues_by_moments
from ._pairwise import in_words, reason, warn
from ._samples import check_same_samples
from ._tails import SMALLEST, chi2_sf, t_quantile
from ._values import check_gram, check_integers
from .kernels import Cosine, Kernel, KernelLike, Linear, Precomputed, resolve_kernel
from .threads import resolve

Method: TypeAlias = Literal["moments", "chi2", "permutation"]
METHODS: tuple[Method, ...] = ("moments", "chi2", "permutation")
Float = NDArray[np.float64]

_ORDERS_AT_A_TIME = 4_000_000  # samples in the permutations that are made and used together


@dataclass(frozen=True, eq=False, repr=False)
class CKATest:
    """The result of :func:`cka_test`; print it.

    Attributes
    ----------
    statistic : float
        CKA, or partial CKA where there was a confounder.
    pvalue : float
        Probability of a value at least as large where the samples of X and Y have nothing to do with each
        other. Never 0; its floor is the method's, see :func:`cka_test`.
    stderr : float
        Standard error of the statistic by the jackknife; nan with too few samples.
    null_mean, null_std, null_skewness : float
        Of the statistic under permutation: exact for ``method="moments"``, those of `null_distribution` for
        "permutation". "chi2" knows mean and standard deviation, its skewness is nan.
    null_distribution : (n_resamples,) ndarray, optional
        The statistic of each permutation, for ``method="permutation"``.
    method, estimator, kernel : str
    n_samples : int
    n_groups : int, optional
        Groups that the standard error and the permutations respect; None: each sample is its own.
    """

    statistic: float
    pvalue: float
    stderr: float
    null_mean: float
    null_std: float
    null_skewness: float
    method: Method
    estimator: Canonical
    kernel: str
    n_samples: int
    n_groups: int | None = None
    null_distribution: Float | None = field(default=None)
    partial: bool = False

    @property
    def zscore(self) -> float:
        """How many standard deviations the statistic lies above its mean under permutation."""
        return (self.statistic - self.null_mean) / self.null_std if self.null_std > 0 else math.nan

    def confidence_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return ``statistic -+ t * stderr``, which contains the true value in a share `level` of all cases.

        t is the quantile of Student's t with one degree of freedom fewer than there are samples (groups). It
        says how precise the value is, not whether it is above chance: that is `pvalue`. Near 0 and near 1
        the distribution of CKA is skewed, and the interval may leave [0, 1]; it is never cut.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        reach = interval_reach(level, (self.n_groups or self.n_samples) - 1) * self.stderr
        return self.statistic - reach, self.statistic + reach

    def __repr__(self) -> str:
        return f"CKATest(statistic={self.statistic:.6g}, pvalue={self.pvalue:.3g}, method={self.method!r})"

    def __str__(self) -> str:
        low, high = self.confidence_interval()
        groups = "" if self.n_groups is None else f", {self.n_groups} groups"
        what = f"{'partial ' if self.partial else ''}{self.estimator} CKA, {self.kernel}"
        resamples = 0 if self.null_distribution is None else len(self.null_distribution)
        how = {
            "moments": "Pearson III with the exact moments under permutation",
            "chi2": "chi-squared bound",
            "permutation": f"{resamples} permutations",
        }[self.method]
        return "\n".join(
            (
                f"{what}: {self.statistic:.4f} ({self.n_samples} samples{groups})",
                f"  95 % interval  {low:.4f} to {high:.4f} (standard error {self.stderr:.2g}, jackknife)",
                f"  by chance      {self.null_mean:.4f} +- {self.null_std:.2g} (z = {self.zscore:.1f})",
                f"  p-value        {self.pvalue:.3g} ({how})",
            )
        )


def interval_reach(level: float, degrees: int) -> float:
    """Return how many standard errors an interval reaches to either side."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level!r}")
    return t_quantile(float(level), degrees) if degrees > 0 else math.nan


def cka_test(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    kernel: KernelLike = "linear",
    estimator: Estimator = "unbiased",
    method: Method = "moments",
    n_resamples: int = 9999,
    groups: ArrayLike | None = None,
    permute: Permute = "within",
    confounder: ArrayLike | None = None,
    rng: int | np.random.Generator | None = None,
    dtype: object = None,
    n_threads: int | None = None,
    max_bytes: int | str | None = None,
) -> CKATest:
    """Test whether two representations are more similar than by chance, and say how precise their CKA is.

    The null hypothesis is that the samples of Y could have come in any order. The alternative is one-sided:
    CKA is larger than that.

    Parameters
    ----------
    X, Y : (n, p) and (n, q) array_like
        As for :func:`cka`.
    kernel : str or kernel object, default "linear"
        As for :func:`cka`. A relative bandwidth is resolved once, from all samples.
    estimator : {"unbiased", "biased", "debiased"}, default "unbiased"
        Of the statistic. Both give a valid test.
    method : {"moments", "chi2", "permutation"}, default "moments"
        Where the p-value comes from.

        "moments": the Pearson III distribution with mean, variance and skewness of all n! permutations, which
        are computed exactly and without permuting (Kazi-Aoual et al. 1995; Bilodeau and Guetsop Nangue
        2017). Needs 6 samples. Its floor is 1/n!, or 2.2e-308.
        "chi2": ``P(chi-squared_1 > n CKA + 1)`` (Shen, Panda and Vogelstein 2022) of unbiased CKA: needs
        nothing else, and is conservative; for 20 samples or more. Its floor is 2.2e-308.
        "permutation": ``(1 + #) / (n_resamples + 1)``, # the number of random permutations with at least
        the value of the data: never too small, whatever the data. Its floor is 1 / (n_resamples + 1).
    n_resamples : int, default 9999
        Permutations of ``method="permutation"``.
    groups : (n,) array_like, optional
        A label for each sample; samples of one group depend on each other (tokens of a text, frames of a
        video). Needs ``method="permutation"``: the other methods take it that every order of the samples is
        as likely. The standard error leaves out a whole group at a time.
    permute : {"within", "groups"}, default "within"
        What the null hypothesis exchanges, with `groups`. "within": the samples of each group among
        themselves; then what all samples of a group have in common is no evidence. "groups": whole groups, of
        equal size, in their order; then what positions have in common is none.
    confounder : (n, r) array_like, optional
        A third representation of the samples, such as the input: the statistic is then partial CKA,
        ``(c_xy - c_xg c_yg) / sqrt((1 - c_xg^2)(1 - c_yg^2))`` with unbiased CKA c (Szekely and Rizzo 2014;
        Cui et al. 2022), and the test that of what the confounder leaves of X and Y.
    rng : int or numpy.random.Generator, optional
        Of the permutations.
    dtype, n_threads, max_bytes
        As for :func:`cka`.

    Returns
    -------
    CKATest
        All nan, with a :class:`DegenerateWarning`, where CKA is not defined.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka`; with fewer than 6 samples for "moments"; and where options do not go together.

    Notes
    -----
    Linear and cosine kernels take O(n^2 (p + q)) time and memory that does not grow with n^2 where there are
    fewer features than samples. For other kernels "moments" multiplies two n x n matrices per side (n^3 / 2
    multiply-adds), and holds three at a time; so do permutations, which hold one per side. The standard error
    is the closed-form jackknife over samples, with sigma kept as it is for all samples.

    A bootstrap over samples would be wrong: a sample drawn twice is similar to itself, and CKA of all
    resamples is too high (docs/inference.md shows it).

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 20))
    >>> noise = rng.normal(size=(100, 30))
    >>> fastcka.cka_test(X, noise).pvalue > 0.05
    True
    >>> print(fastcka.cka_test(X, noise + X @ rng.normal(size=(20, 30)) / 4))
    unbiased CKA, linear: 0.4150 (100 samples)
      95 % interval  0.3425 to 0.4875 (standard error 0.037, jackknife)
      by chance      0.0000 +- 0.014 (z = 28.9)
      p-value        1.25e-66 (Pearson III with the exact moments under permutation)
    """
    chosen = resolve_kernel(kernel)
    known = check_estimator(estimator)
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    named = {"X": as_representation(X, "X"), "Y": as_representation(Y, "Y")}
    given: list[tuple[str, object]] = [("X", X), ("Y", Y)]
    if confounder is not None:
        named["confounder"] = as_representation(confounder, "confounder")
        given.append(("confounder", confounder))
    check_same_samples(given)
    labels, arrays = list(named), list(named.values())
    n = check_samples(arrays, labels.__getitem__, "unbiased")
    for label, array in named.items():
        check_integers(array, label)
        if isinstance(chosen, Precomputed):
            check_gram(array, label)
    _check_options(method, known, n, groups, confounder)
    grouped = None if groups is None else Groups.of(groups, n)
    if method == "permutation":
        positive_integer(n_resamples, "n_resamples")
        orders = orders_of(n, n_resamples, grouped, permute, np.random.default_rng(rng), _ORDERS_AT_A_TIME)
    else:
        orders = iter(())
    test = _Test(
        labels, arrays, chosen, known, grouped, needs_float64(arrays, dtype), resolve(n_threads), max_bytes
    )
    return test.partial(method, orders) if confounder is not None else test.plain(method, orders)


def _check_options(method: Method, estimator: Canonical, n: int, groups: object, confounder: object) -> None:
    if method == "moments" and n < 6:
        raise ValueError(f"method='moments' needs at least 6 samples, got {n}: use method='permutation'")
    if method == "chi2" and estimator == "biased":
        raise ValueError("method='chi2' is a test of unbiased CKA, got estimator='biased'")
    if method != "permutation" and groups is not None:
        raise ValueError(
            f"groups: method={method!r} takes it that every order of the samples is as likely, which groups "
            "deny; use method='permutation'"
        )
    if confounder is not None and (method == "chi2" or estimator == "biased"):
        what = "method='chi2'" if method == "chi2" else "estimator='biased'"
        raise ValueError(
            f"confounder: partial CKA is unbiased and tested by moments or permutations, got {what}"
        )


class _Test:
    """The inputs of one test, checked, and the two ways to its result."""

    def __init__(
        self,
        labels: list[str],
        arrays: list[Array],
        kernel: Kernel,
        estimator: Canonical,
        groups: Groups | None,
        double_precision: bool,
        n_threads: int,
        max_bytes: int | str | None,
    ) -> None:
        self.labels, self.kernel, self.estimator, self.groups = labels, kernel, estimator, groups
        self.arrays = arrays if groups is None else groups.sorted(arrays, kernel)
        self.n = len(arrays[0])
        self.double_precision, self.n_threads, self.max_bytes = double_precision, n_threads, max_bytes

    def plain(self, method: Method, orders: Iterator[NDArray[np.int32]]) -> CKATest:
        found = self._infer(self.arrays[:1], self.arrays[1:], permutations=method != "chi2")
        statistic = float(found.asked.cka[0, 0])
        for status, label in zip(found.asked.status_a + found.asked.status_b, self.labels, strict=True):
            if status:
                warn([f"{label}: {reason(status, self.kernel)}"])
        stderr = float(found.standard_errors[0, 0]) if found.standard_errors.size else math.nan
        if method == "chi2":
            std = math.sqrt(2 / (self.n * (self.n - 3)))
            pvalue = float(np.maximum(chi2_sf(self.n * statistic + 1), SMALLEST))
            return self._result(statistic, pvalue, stderr, method, (0.0, std, math.nan))
        if math.isnan(statistic):
            return self._result(statistic, math.nan, stderr, method, (math.nan,) * 3)
        if method == "moments":
            known = invariants(found)
            null = (moments_of.unbiased if self.estimator == "unbiased" else moments_of.biased)(
                known[:1], known[1:]
            )
            mean, std, skewness = (float(part[0, 0]) for part in null)
            pvalue = float(pvalues_by_moments(np.array(statistic), null, self.n)[0, 0])
            return self._result(statistic, pvalue, stderr, method, (mean, std, skewness))
        values = self._permuted(found, orders)
        return self._by_permutations(statistic, values, stderr)

    def partial(self, method: Method, orders: Iterator[NDArray[np.int32]]) -> CKATest:
        self._room_for_matrices(len(self.arrays) + 3)
        K, L, G = (self._u_centred(array)[0].astype(np.float64) for array in self.arrays)
        for matrix, label in zip((K, L, G), self.labels, strict=True):
            if not np.linalg.norm(matrix) > 0:
                warn([f"{label}: {reason('nonpositive', self.kernel)}"])
                return self._result(math.nan, math.nan, math.nan, method, (math.nan,) * 3, partial=True)
        K, L, G = (matrix / np.linalg.norm(matrix) for matrix in (K, L, G))
        stderr = _partial_stderr((K, L, G), None if self.groups is None else self.groups.bounds)
        K -= np.vdot(K, G) * G
        L -= np.vdot(L, G) * G
        for matrix, label in ((K, "X"), (L, "Y")):
            if np.linalg.norm(matrix) < 1e-7:  # of 1: X is the confounder but for rounding
                warn([f"{label}: the confounder leaves nothing of it"])
                return self._result(math.nan, math.nan, math.nan, method, (math.nan,) * 3, partial=True)
            matrix /= np.linalg.norm(matrix)
        statistic = float(np.vdot(K, L))
        if method == "moments":
            known = [_invariants_of_matrix(matrix, self.n_threads) for matrix in (K, L)]
            null = moments_of.unbiased(*known)
            mean, std, skewness = (float(part[0, 0]) for part in null)
            pvalue = float(pvalues_by_moments(np.array(statistic), null, self.n)[0, 0])
            return self._result(statistic, pvalue, stderr, method, (mean, std, skewness), partial=True)
        values = [_core.permuted_products([K], [L], some, self.n_threads)[:, 0, 0] for some in orders]
        return self._by_permutations(statistic, np.concatenate(values), stderr, partial=True)

    # Steps --------------------------------------------------------------------------------------------------

    def _infer(self, a: list[Array], b: list[Array], *, permutations: bool) -> _core.Inference:
        groups = [] if self.groups is None else self.groups.bounds
        left = self.n - (max(np.diff(groups), default=1) if groups else 1)
        widths = [a[0].shape[1]], [b[0].shape[1]]
        limit, route = within_memory(
            self.n,
            *widths,
            self.kernel,
            double_precision=self.double_precision,
            n_threads=self.n_threads,
            max_bytes=self.max_bytes,
        )
        needed = _core.inference_bytes(
            self.n,
            *widths,
            self.kernel.core(),
            permutations=permutations,
            double_precision=self.double_precision,
        )
        self._check_room(needed)
        try:
            return _core.infer(
                a,
                b,
                self.kernel.core(),
                unbiased=self.estimator == "unbiased",
                asked_unbiased=self.estimator == "unbiased",
                standard_errors=bool(left >= (4 if self.estimator == "unbiased" else 2)),
                permutations=permutations,
                groups=groups,
                double_precision=self.double_precision,
                n_threads=self.n_threads,
                max_bytes=limit,
                route=route,
            )
        except _core.NonFinite as error:
            raise in_words(error, [a, b], lambda side, layer: self.labels[side]) from None
        except _core.UnusableLayer as error:
            side, _, why = error.args
            raise ValueError(f"{self.labels[side]}: {why}") from None

    def _permuted(self, found: _core.Inference, orders: Iterator[NDArray[np.int32]]) -> Float:
        """Return the statistic of every order: unbiased CKA, or what is in _permutation_moments.py."""
        n = self.n
        if (
            isinstance(self.kernel, Linear | Cosine)
            and math.prod(array.shape[1] for array in self.arrays) < 8 * n
        ):
            diagonals, norms = found.diagonals.T, np.sqrt(found.squares.sum(axis=0))

            def inner_products(some: NDArray[np.int32]) -> Float:
                full = _core.permuted_feature_products(
                    [self.arrays[0]],
                    [self.arrays[1]],
                    self.kernel.core(),
                    some,
                    double_precision=self.double_precision,
                    n_threads=self.n_threads,
                )[:, 0, 0]
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
            return _core.u_centred(
                array, self.kernel.core(), double_precision=self.double_precision, n_threads=self.n_threads
            )
        except _core.NonFinite as error:
            raise in_words(error, [[array]], lambda side, layer: label) from None
        except _core.UnusableLayer as error:
            raise ValueError(f"{label}: {error.args[2]}") from None

    def _room_for_matrices(self, count: int) -> None:
        self._check_room(count * self.n**2 * (8 if self.double_precision else 4))

    def _check_room(self, needed: int) -> None:
        limit = byte_limit(self.max_bytes)
        if not limit:
            return check_memory(needed)
        if needed > limit:
            raise MemoryError(
                f"this test needs {needed} bytes beside its inputs, but max_bytes is {limit}; "
                "method='chi2' needs least"
            )

    def _by_permutations(
        self, statistic: float, values: Float, stderr: float, partial: bool = False
    ) -> CKATest:
        # The first order is that of the data, so that ties are ties in spite of rounding.
        observed, null = values[0], values[1:]
        rounding = 1e-12 if self.double_precision else 1e-6
        larger = int(np.count_nonzero(null >= observed - rounding))
        mean, std = float(null.mean()), float(null.std())
        skewness = float(((null - mean) ** 3).mean() / std**3) if std > 0 else math.nan
        pvalue = (1 + larger) / (len(null) + 1)
        return self._result(statistic, pvalue, stderr, "permutation", (mean, std, skewness), null, partial)

    def _result(
        self,
        statistic: float,
        pvalue: float,
        stderr: float,
        method: Method,
        null: Sequence[float],
        distribution: Float | None = None,
        partial: bool = False,
    ) -> CKATest:
        return CKATest(
            statistic=statistic,
            pvalue=pvalue,
            stderr=stderr,
            null_mean=null[0],
            null_std=null[1],
            null_skewness=null[2],
            method=method,
            estimator=self.estimator,
            kernel=str(self.kernel),
            n_samples=self.n,
            n_groups=None if self.groups is None else len(self.groups.bounds) - 1,
            null_distribution=distribution,
            partial=partial,
        )


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


__all__ = ["CKATest", "cka_test"]
