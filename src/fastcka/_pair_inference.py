# SPDX-License-Identifier: BSD-3-Clause
"""Standard errors and p-values of all pairs of layers: ``cka_matrix(inference=True)``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core
from . import _permutation_moments as moments_of
from ._budget import check_memory
from ._groups import Wanted
from ._settings import Settings
from ._sources import Layer, row_bytes
from ._tails import SMALLEST, chi2_sf, pearson3_sf
from .kernels import Correlation, Cosine, Linear

Float = NDArray[np.float64]


class Work(NamedTuple):
    """What inference costs beside the values."""

    flops: float  # a multiply-add counted as two
    bytes: int  # at the peak after the sweep for the values, beside the inputs
    second_pass: bool  # Gram matrices are formed again, after those for the values


def work(a: Sequence[Layer], b: Sequence[Layer] | None, settings: Settings, wanted: Wanted) -> Work:
    """Return what inference costs: products of the rows of Gram matrices, and tr(Ku^3)."""
    arrays = [*a, *(b or ())]
    n, widths = len(arrays[0]), [X.shape[1] for X in arrays]
    of_networks = [X.shape[1] for X in a], None if b is None else [X.shape[1] for X in b]
    pairs = len(a) * (len(a) + 1) / 2 if b is None else len(a) * len(b)
    by_moments = wanted.pvalue_method == "moments"
    chosen = replace(settings, inference=wanted)
    multiply_adds = n * n * pairs
    core = chosen.core(arrays, max_bytes=settings.max_bytes)
    second_pass = not _core.plan(n, *of_networks, core, row_bytes(arrays)).row_products
    if second_pass:  # of tiles on and above the diagonal, or of whole rows
        tiles = _core.plan(n, *of_networks, chosen.core(arrays, route="gram")).row_products
        multiply_adds += n * n * (sum(widths) + pairs) / 2 if tiles else n * n * sum(widths)
    if by_moments:
        linear = isinstance(settings.kernel, Linear | Cosine | Correlation)
        multiply_adds += sum((n + p) * p * p / 2 if linear and p < n else n**3 / 2 for p in widths)
    n_bytes = _core.inference_bytes(
        n,
        *of_networks,
        core,
        unbiased=True,
        permutations=by_moments,
        groups=wanted.bounds,
        row_bytes=row_bytes(arrays),
    )
    return Work(2 * multiply_adds, n_bytes, second_pass)


def check_room(needed: int, settings: Settings, wanted: Wanted) -> None:
    """Raise MemoryError where inference needs more than `max_bytes`, or without it than there is."""
    limit = settings.max_bytes
    if not limit:
        return check_memory(needed)
    if needed > limit:
        less = "; inference='chi2' needs least" if wanted.pvalue_method == "moments" else ""
        raise MemoryError(
            f"inference needs {needed} bytes besides its inputs, but max_bytes is {limit}{less}"
        )


class PairInference(NamedTuple):
    """Of unbiased CKA, rows x columns."""

    unbiased: Float
    stderr: Float
    pvalues: Float | None
    zscores: Float | None  # exact: unbiased CKA has mean 0 and variance 2 / (n (n - 3)) under permutation

    def without_diagonal(self, *, two: bool) -> PairInference:
        """Return the same without p-value and z-score of a layer of one network with itself."""
        for part in () if two else (self.pvalues, self.zscores):
            if part is not None:
                np.fill_diagonal(part, np.nan)
        return self

    def at(self, kept: Sequence[Sequence[int]], shape: tuple[int, ...]) -> PairInference:
        """Return them at these rows and columns of a larger matrix, nan elsewhere."""

        def placed(part: Float) -> Float:
            whole = np.full(shape, np.nan)
            whole[np.ix_(kept[0], kept[-1])] = part
            return whole

        return PairInference(*(None if part is None else placed(part) for part in self))  # type: ignore[arg-type]


def undefined(shape: tuple[int, ...], wanted: Wanted | None) -> PairInference | None:
    """Return the inference of pairs none of which could be computed."""
    if wanted is None:
        return None
    known = 4 if wanted.pvalue_method else 2  # with groups there are no p-values and z-scores
    parts: list[Float | None] = [np.full(shape, np.nan) for _ in range(known)]
    return PairInference(*parts, *[None] * (4 - known))  # type: ignore[arg-type]


def pair_inference(result: _core.Pairwise, settings: Settings, *, two: bool) -> PairInference | None:
    """Return what is known of all pairs of one network or two, from the result of the core."""
    wanted = settings.inference
    if wanted is None or not isinstance(result, _core.Inference):
        return None
    values, n = result.asked.cka, result.n_samples
    pvalues = zscores = None
    if wanted.pvalue_method == "moments":
        known, rows = invariants(result), len(values)
        null = moments_of.unbiased(known[:rows], known[rows:] if two else known)
        pvalues = pvalues_by_moments(values, null, n)
    elif wanted.pvalue_method == "chi2":
        pvalues = pvalues_by_chi2(n * values)
    if pvalues is not None:
        zscores = values * math.sqrt(n * (n - 3) / 2)
    return PairInference(values, result.standard_errors, pvalues, zscores).without_diagonal(two=two)


def invariants(found: _core.Inference) -> moments_of.Invariants:
    """Return what the moments under permutation are made of, for all layers of a result of the core."""
    return moments_of.Invariants.of(
        found.diagonals, found.squares, found.cubes, found.quadratic_forms, found.traces_of_cubes
    )


def pvalues_by_chi2(excess: Float) -> Float:
    """Return P(chi-squared_1 > excess + 1), at least the smallest float64; nan where it is not known."""
    return np.where(np.isnan(excess), np.nan, np.maximum(chi2_sf(excess + 1), SMALLEST))


def pvalues_by_moments(values: Float, null: moments_of.Moments, n: int) -> Float:
    """Return the Pearson III tails of statistics: at least 1/n!, the share of one permutation."""
    floor = max(math.exp(-math.lgamma(n + 1)), SMALLEST)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = pearson3_sf((values - null.mean) / null.std, null.skewness)
    return np.where(np.isnan(p), np.nan, np.clip(p, floor, 1.0))
