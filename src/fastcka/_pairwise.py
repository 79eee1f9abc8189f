# SPDX-License-Identifier: BSD-3-Clause
"""All pairs of layers through the core, and what it says about a layer put in words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import (
    Array,
    Canonical,
    Measure,
    byte_limit,
    check_samples,
    needs_float64,
)
from ._batches import both
from ._budget import within_memory
from ._pair_inference import PairInference, Wanted, pair_inference, undefined
from ._progress import Report
from ._values import check_gram, check_integers, first_non_finite, non_finite
from .kernels import Kernel, Precomputed
from .results import DegenerateWarning
from .threads import resolve

Label = Callable[[int, int], str]  # (side, layer) -> the words for that representation


class Pairs(NamedTuple):
    """A measure of all pairs, its chance level, and for each side why a layer has none ("": it has)."""

    cka: NDArray[np.float64]
    chance: NDArray[np.float64]
    dimensions: list[NDArray[np.float64]]  # effective dimension of each layer, for each side
    reasons: list[list[str]]
    inference: PairInference | None = None


def pairwise(
    a: list[Array],
    b: list[Array] | None,
    label: Label,
    kernel: Kernel,
    estimator: Canonical | None,
    dtype: object,
    n_threads: int | None,
    max_bytes: int | str | None,
    progress: Report | None = None,
    measure: Measure = "cka",
    inference: Wanted | None = None,
) -> _core.Pairwise:
    """Check what concerns several representations, then run the core on all pairs."""
    call = _checked(a, b, label, kernel, estimator, dtype, n_threads, max_bytes, progress, measure, inference)
    try:
        return call(a, b)
    except _core.NonFinite as error:
        raise in_words(error, [a] if b is None else [a, b], label) from None
    except _core.UnusableLayer as error:
        side, layer, why = error.args
        raise ValueError(f"{label(side, layer)}: {why}") from None


def all_pairs(
    a: list[Array],
    b: list[Array] | None,
    label: Label,
    kernel: Kernel,
    estimator: Canonical | None,
    dtype: object,
    n_threads: int | None,
    max_bytes: int | str | None,
    progress: Report | None = None,
    measure: Measure = "cka",
    inference: Wanted | None = None,
) -> Pairs:
    """Do the same, with the reasons in words."""
    result = pairwise(
        a, b, label, kernel, estimator, dtype, n_threads, max_bytes, progress, measure, inference
    )
    sides = [result.status_a] if b is None else [result.status_a, result.status_b]
    dimensions = [result.dimensions_a, result.dimensions_b][: len(sides)]
    reasons = [[reason(status, kernel) for status in side] for side in sides]
    return Pairs(result.cka, result.chance, dimensions, reasons, pair_inference(result, b is None, inference))


def propagating(
    a: list[Array],
    b: list[Array] | None,
    label: Label,
    kernel: Kernel,
    estimator: Canonical | None,
    dtype: object,
    n_threads: int | None,
    max_bytes: int | str | None,
    progress: Report | None = None,
    measure: Measure = "cka",
    inference: Wanted | None = None,
) -> Pairs:
    """Run the core as `pairwise` does, on the layers that can be compared: nan for the others.

    Values are looked through for NaN and infinity only after the core has found the first.
    """
    call = _checked(a, b, label, kernel, estimator, dtype, n_threads, max_bytes, progress, measure, inference)
    sides = [a] if b is None else [a, b]
    reasons = [[""] * len(side) for side in sides]
    while True:
        kept = [[i for i, why in enumerate(side) if not why] for side in reasons]
        values = np.full((len(a), len(sides[-1])), np.nan)
        chance = values.copy()
        dimensions = [np.full(len(side), np.nan) for side in sides]
        if not all(kept):
            return Pairs(values, chance, dimensions, reasons, undefined(values.shape, inference))
        parts = [[side[i] for i in rows] for side, rows in zip(sides, kept, strict=True)]
        try:
            result = call(*both(parts))
        except _core.NonFinite:
            for side, rows, whys in zip(sides, kept, reasons, strict=True):
                for i in rows:
                    whys[i] = first_non_finite(side[i])
        except _core.UnusableLayer as error:
            at, layer, why = error.args
            reasons[at][kept[at][layer]] = why
        else:
            values[np.ix_(kept[0], kept[-1])] = result.cka
            chance[np.ix_(kept[0], kept[-1])] = result.chance
            for whys, rows, statuses in zip(reasons, kept, (result.status_a, result.status_b), strict=False):
                for i, status in zip(rows, statuses, strict=True):
                    whys[i] = reason(status, kernel)
            found = (result.dimensions_a, result.dimensions_b)
            for whole, rows, part in zip(dimensions, kept, found, strict=False):
                whole[rows] = part
            of_kept = pair_inference(result, b is None, inference)
            spread_out = None if of_kept is None else of_kept.at(kept, values.shape)
            return Pairs(values, chance, dimensions, reasons, spread_out)


def _checked(
    a: list[Array],
    b: list[Array] | None,
    label: Label,
    kernel: Kernel,
    estimator: Canonical | None,
    dtype: object,
    n_threads: int | None,
    max_bytes: int | str | None,
    progress: Report | None,
    measure: Measure,
    inference: Wanted | None,
) -> Callable[[list[Array], list[Array] | None], _core.Pairwise]:
    """Check what concerns several representations; return the call of the core for them, or some of them."""
    arrays = a if b is None else a + b

    def named(i: int) -> str:
        return label(0, i) if i < len(a) else label(1, i - len(a))

    n = check_samples(arrays, named, estimator, measure)
    for i, X in enumerate(arrays):
        check_integers(X, named(i))
        if isinstance(kernel, Precomputed):
            check_gram(X, named(i))
    double_precision, threads = needs_float64(arrays, dtype), resolve(n_threads)
    limit, route = within_memory(
        n,
        [X.shape[1] for X in a],
        None if b is None else [Y.shape[1] for Y in b],
        kernel,
        double_precision=double_precision,
        n_threads=threads,
        max_bytes=max_bytes,
    )

    if inference is not None:
        work = inference.work(
            n,
            [X.shape[1] for X in a],
            [Y.shape[1] for Y in b or []],
            double_precision=double_precision,
        )
        inference.check_room(work.bytes, byte_limit(max_bytes))

    def call(a: list[Array], b: list[Array] | None) -> _core.Pairwise:
        if inference is not None:
            return _core.infer(
                a,
                b,
                kernel.core(),
                unbiased=estimator == "unbiased",
                asked_unbiased=True,
                standard_errors=True,
                permutations=inference.moments,
                groups=inference.bounds,
                double_precision=double_precision,
                n_threads=threads,
                max_bytes=limit,
                route=route,
                measure=measure,
                progress=progress,
            )
        return _core.pairwise(
            a,
            b,
            kernel.core(),
            unbiased=estimator == "unbiased",
            double_precision=double_precision,
            n_threads=threads,
            max_bytes=limit,
            route=route,
            measure=measure,
            progress=progress,
        )

    return call


def in_words(error: _core.NonFinite, sides: Sequence[Sequence[Array]], label: Label) -> ValueError:
    """Return the error for a value that is no finite number."""
    side, layer, row, column = error.args
    return non_finite(sides[side][layer], row, column, label(side, layer))


# ---------------------------------------------------------------------- degenerate representations

REASONS = {
    "nonpositive": "its unbiased HSIC with itself is not above zero, within rounding",
    "equidistant": "its dissimilarities are all equal, within rounding",
    "zero_bandwidth": "its median distance is zero (samples coincide), and so its bandwidth; choose a sigma",
}


def reason(status: str, kernel: Kernel) -> str:
    """Return why a layer with this status has no CKA; "" where it has one."""
    if not status:
        return ""
    return kernel.constant if status == "constant" else REASONS[status]


def named_reasons(reasons: Sequence[Sequence[str]], label: Label) -> list[str]:
    """Return each layer that has no CKA, with the reason, from the reasons of the one side or both."""
    return [
        f"{label(side, layer)}: {why}"
        for side, whys in enumerate(reasons)
        for layer, why in enumerate(whys)
        if why
    ]


def degenerate_layers(sides: Sequence[Sequence[str]], label: Label, kernel: Kernel) -> list[str]:
    """Return each layer that has no CKA, with the reason, from the statuses of the one side or both."""
    return named_reasons([[reason(status, kernel) for status in statuses] for statuses in sides], label)


def warn(degenerate: Sequence[str]) -> None:
    """Give one warning for a call, at the line that called the public function."""
    named, more = degenerate[:5], len(degenerate) - 5
    rest = f"; and {more} more" if more > 0 else ""
    warnings.warn(f"not defined, nan instead: {'; '.join(named)}{rest}", DegenerateWarning, stacklevel=3)
