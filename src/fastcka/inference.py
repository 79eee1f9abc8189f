# SPDX-License-Identifier: BSD-3-Clause
"""Is a value of CKA above chance, and how precise is it: :func:`cka_test` of two representations.

The core computes sums over samples (src/cpp/inference), _permutation_moments.py the moments under permutation
from them, and _tails.py the tails of distributions. For all pairs of layers, see
``cka_matrix(..., inference=True)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ._arguments import Canonical, Estimator, check_estimator, positive_integer, unknown
from ._arrays import ArrayLike, as_representation, check_samples
from ._groups import Groups, Permute, check_permute, orders_of
from ._pair_test import Method, PairTest
from ._pairwise import check_values
from ._samples import check_same_samples
from ._settings import Settings
from ._tails import interval_reach
from .kernels import KernelLike

METHODS: tuple[Method, ...] = ("moments", "chi2", "permutation")
Float = NDArray[np.float64]

_ORDERS_AT_A_TIME = 4_000_000  # samples in the permutations that are made and used together


@dataclass(frozen=True, eq=False, repr=False)
class CKATest:
    """The result of :func:`cka_test`; print it.

    Attributes
    ----------
    statistic : float
        CKA, or partial CKA if a confounder was given.
    pvalue : float
        Probability of a value at least as large if the samples of X and Y are unrelated. Never 0; the
        smallest value depends on the method, see :func:`cka_test`.
    stderr : float
        Standard error of the statistic by the jackknife; nan with too few samples.
    null_mean, null_std, null_skewness : float
        Of the statistic under permutation: exact for ``method="moments"``, those of `null_distribution` for
        "permutation". For "chi2" the skewness is nan.
    null_distribution : (n_resamples,) ndarray, optional
        The statistic of each permutation, for ``method="permutation"``.
    method, estimator, kernel : str
    n_samples : int
    n_groups : int, optional
        Groups that the standard error and the permutations respect; None: each sample is a group of its own.
    partial : bool
        Whether there was a confounder.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> X = np.random.default_rng(0).normal(size=(60, 8))
    >>> test = fastcka.cka_test(X, X[:, :4] ** 3)
    >>> print(test)
    unbiased CKA, linear: 0.3719 (60 samples)
      95 % interval  0.2366 to 0.5071 (standard error 0.068, jackknife)
      by chance      0.0000 +- 0.024 (z = 15.4)
      p-value        4.73e-17 (Pearson III with the exact moments under permutation)
    >>> low, high = test.confidence_interval(0.99)
    >>> round(low, 2), round(high, 2)
    (0.19, 0.55)
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
        """Return ``statistic -+ t * stderr``, which contains the true value in a fraction `level` of cases.

        t is the quantile of Student's t with one degree of freedom fewer than there are samples (groups). It
        says how precise the value is, not whether it is above chance: that is `pvalue`. Near 0 and near 1
        the distribution of CKA is skewed, and the interval may extend beyond [0, 1]; it is never clipped.

        Parameters
        ----------
        level : float
            Between 0 and 1, both excluded.

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

    The statistic is ``CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))``. The null hypothesis is that
    every order of the samples of Y is equally likely. The alternative is one-sided: CKA is larger.

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
        2017). Needs 6 samples. The p-value is at least 1/n! and at least 2.2e-308.
        "chi2": ``P(chi-squared_1 > n CKA + 1)`` (Shen, Panda and Vogelstein 2022) of unbiased CKA: costs
        nothing, and is conservative at levels up to 0.05, for 20 samples or more. Never below 2.2e-308.
        "permutation": ``(1 + #) / (n_resamples + 1)``, where # random permutations reach the value of the
        data: never too small, whatever the data. Never below 1 / (n_resamples + 1).
    n_resamples : int, default 9999
        Permutations of ``method="permutation"``.
    groups : (n,) array_like, optional
        A label for each sample; samples of one group depend on each other (tokens of a text, frames of a
        video). Needs ``method="permutation"``: the other methods assume that every order of the samples is
        equally likely. The standard error leaves out a whole group at a time.
    permute : {"within", "groups"}, default "within"
        What is permuted, with `groups`. "within": the samples within each group, so what all samples of a
        group have in common is no evidence. "groups": whole groups, which must have equal size, so what a
        position has in common in all groups is no evidence.
    confounder : (n, r) array_like, optional
        A third representation of the samples, such as the input: the statistic is then partial CKA,
        ``(c_xy - c_xg c_yg) / sqrt((1 - c_xg^2)(1 - c_yg^2))`` with unbiased CKA c (Szekely and Rizzo 2014;
        Cui et al. 2022), and the test is about what the confounder does not explain.
    rng : int or numpy.random.Generator, optional
        Seed or generator of the permutations.
    dtype, n_threads, max_bytes
        As for :func:`cka`.

    Returns
    -------
    CKATest
        All nan, with a :class:`DegenerateWarning`, where CKA is not defined.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`cka`; with fewer than 6 samples for "moments"; and for options that cannot be combined.

    Notes
    -----
    Linear, cosine and correlation kernels take O(n^2 (p + q)) time, and memory that does not grow with n^2 if
    there are fewer features than samples. For other kernels, "moments" multiplies two n x n matrices per side
    (n^3 / 2 multiply-adds) and holds three at a time; permutations hold one n x n matrix per side. The
    standard error is the closed-form jackknife over samples, with sigma fixed at its value for all samples.

    A bootstrap over samples would be wrong: a sample drawn twice is identical to its copy, so CKA of the
    resamples is too high (docs/inference.md shows it).

    References
    ----------
    CKA: Kornblith et al. 2019, arXiv:1905.00414. Moments: Kazi-Aoual et al. 1995, Refined Approximations to
    Permutation Tests for Multivariate Inference; Bilodeau and Guetsop Nangue 2017. Chi-squared: Shen, Panda
    and Vogelstein 2022, The Chi-Square Test of Distance Correlation. Confounder: Székely and Rizzo 2014,
    Partial Distance Correlation with Methods for Dissimilarities.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 20))
    >>> noise = rng.normal(size=(100, 30))
    >>> fastcka.cka_test(X, noise).pvalue > 0.05
    True
    >>> print(fastcka.cka_test(X, noise + X @ rng.normal(size=(20, 30)) / 4))
    unbiased CKA, linear: 0.6026 (100 samples)
      95 % interval  0.5601 to 0.6452 (standard error 0.021, jackknife)
      by chance      0.0000 +- 0.014 (z = 42.0)
      p-value        1.92e-121 (Pearson III with the exact moments under permutation)
    """
    known = check_estimator(estimator)
    settings = Settings.checked(kernel, known, dtype, n_threads, max_bytes)
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
        check_values(array, label, settings)
    _check_options(method, known, n, groups, confounder)
    check_permute(permute, groups)
    positive_integer(n_resamples, "n_resamples")
    grouped = None if groups is None else Groups.of(groups, n)
    if method == "permutation":
        orders = orders_of(n, n_resamples, grouped, permute, np.random.default_rng(rng), _ORDERS_AT_A_TIME)
    else:
        orders = iter(())
    test = PairTest(labels, arrays, settings, grouped)
    found = test.plain(method, orders) if confounder is None else test.partial(method, orders)
    return CKATest(
        statistic=found.statistic,
        pvalue=found.pvalue,
        stderr=found.stderr,
        null_mean=found.null[0],
        null_std=found.null[1],
        null_skewness=found.null[2],
        method=method,
        estimator=known,
        kernel=str(settings.kernel),
        n_samples=n,
        n_groups=None if grouped is None else len(grouped.bounds) - 1,
        null_distribution=found.distribution,
        partial=confounder is not None,
    )


def _check_options(method: Method, estimator: Canonical, n: int, groups: object, confounder: object) -> None:
    if method == "moments" and n < 6:
        raise ValueError(f"method='moments' needs at least 6 samples, got {n}: use method='permutation'")
    if method == "chi2" and estimator == "biased":
        raise ValueError("method='chi2' is a test of unbiased CKA, got estimator='biased'")
    if method != "permutation" and groups is not None:
        raise ValueError(
            f"groups: method={method!r} assumes that all orders of the samples are equally likely, which "
            "groups contradict; use method='permutation'"
        )
    if confounder is not None and (method == "chi2" or estimator == "biased"):
        what = "method='chi2'" if method == "chi2" else "estimator='biased'"
        raise ValueError(
            f"confounder: partial CKA is unbiased and tested by moments or permutations, got {what}"
        )


__all__ = ["CKATest", "cka_test"]
