# SPDX-License-Identifier: BSD-3-Clause
"""All pairs of layers through the core, with its notes about layers formatted as messages."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import both, check_samples
from ._budget import within_memory
from ._groups import Wanted
from ._pair_inference import PairInference, check_room, pair_inference, undefined, work
from ._progress import Report
from ._settings import Settings
from ._sources import Layer
from ._values import check_gram, check_integers, first_non_finite, non_finite
from .kernels import Kernel, Precomputed
from .results import DegenerateWarning

Label = Callable[[int, int], str]  # (side, layer) -> the words for that representation
Reasons = dict[tuple[int, str], str]  # why layers have no CKA: by network (0 or 1) and name


class Pairs(NamedTuple):
    """A measure of all pairs, its chance level, and for each side what was found of its layers."""

    cka: NDArray[np.float64]
    chance: NDArray[np.float64]
    dimensions: list[NDArray[np.float64]]  # effective dimension; nan for a layer without CKA
    reasons: list[list[str]]  # why a layer has no CKA; "" where all is well
    sigma: list[list[float]]  # nan for a kernel without a bandwidth, and for a layer that was not computed
    dtype: str | None  # of the arithmetic; None where nothing was computed
    inference: PairInference | None


def pairwise(
    a: Sequence[Layer],
    b: Sequence[Layer] | None,
    label: Label,
    settings: Settings,
    progress: Report | None = None,
) -> _core.Pairwise:
    """Check what concerns several representations, then run the core on all pairs."""
    call = _checked(a, b, label, settings, progress)
    with naming(a, b, label):
        return call(a, b)


def all_pairs(
    a: Sequence[Layer],
    b: Sequence[Layer] | None,
    label: Label,
    settings: Settings,
    progress: Report | None = None,
) -> Pairs:
    """Do the same, with the reasons as messages."""
    result = pairwise(a, b, label, settings, progress)
    return pairs_of(result, settings, two=b is not None)


def pairs_of(result: _core.Pairwise, settings: Settings, *, two: bool) -> Pairs:
    """Return the core's result for all pairs of layers, with the reasons as messages."""
    networks = 2 if two else 1
    kernel = settings.kernel
    reasons = [[reason(status, kernel) for status in side] for side in (result.status_a, result.status_b)]
    sigma = [result.sigma_a, result.sigma_b]
    dimensions = [result.dimensions_a, result.dimensions_b]
    return Pairs(
        result.cka,
        result.chance,
        dimensions[:networks],
        reasons[:networks],
        sigma[:networks],
        _dtype(result),
        pair_inference(result, settings, two=two),
    )


def propagating(
    a: Sequence[Layer],
    b: Sequence[Layer] | None,
    label: Label,
    settings: Settings,
    progress: Report | None = None,
) -> Pairs:
    """Run the core as `pairwise` does, on the layers that can be compared: nan for the others.

    Values are searched for NaN and infinity only after the core has found one.
    """
    call = _checked(a, b, label, settings, progress)
    sides = [a] if b is None else [a, b]
    reasons = [[""] * len(side) for side in sides]
    sigma = [[float("nan")] * len(side) for side in sides]
    while True:
        kept = [[i for i, why in enumerate(side) if not why] for side in reasons]
        values = np.full((len(a), len(sides[-1])), np.nan)
        chance = values.copy()
        dimensions = [np.full(len(side), np.nan) for side in sides]
        if not all(kept):
            nothing = undefined(values.shape, settings.inference)
            return Pairs(values, chance, dimensions, reasons, sigma, None, nothing)
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
            found = (
                (result.status_a, result.sigma_a, result.dimensions_a),
                (result.status_b, result.sigma_b, result.dimensions_b),
            )
            for k, rows in enumerate(kept):
                for i, status, bandwidth, dimension in zip(rows, *found[k], strict=True):
                    reasons[k][i], sigma[k][i] = reason(status, settings.kernel), bandwidth
                    dimensions[k][i] = dimension
            of_kept = pair_inference(result, settings, two=b is not None)
            inference = None if of_kept is None else of_kept.at(kept, values.shape)
            return Pairs(values, chance, dimensions, reasons, sigma, _dtype(result), inference)


def _dtype(result: _core.Pairwise) -> str:
    return "float64" if result.double_precision else "float32"


def _checked(
    a: Sequence[Layer],
    b: Sequence[Layer] | None,
    label: Label,
    settings: Settings,
    progress: Report | None,
) -> Callable[[Sequence[Layer], Sequence[Layer] | None], _core.Pairwise]:
    """Check what concerns several representations; return the call of the core for them, or some of them."""
    check_inputs(a, b, label, settings)
    chosen = within_memory(a, b, settings)
    if settings.inference is None:
        return lambda a, b: _core.pairwise(a, b, chosen, progress)
    return inferring(a, b, settings, chosen, None, progress=progress)


def inferring(
    a: Sequence[Layer],
    b: Sequence[Layer] | None,
    settings: Settings,
    chosen: _core.Settings,
    sums: _core.Partial | None,
    further: object = None,
    progress: Report | None = None,
) -> Callable[[Sequence[Layer], Sequence[Layer] | None], _core.Inference]:
    """Return the call of the core for all pairs and how sure they are.

    `sums`: of all blocks, if known; `further`: of the stage after them, if it has been made.
    """
    wanted = cast(Wanted, settings.inference)
    if not isinstance(further, _core.SecondPass) or wanted.pvalue_method == "moments":
        check_room(work(a, b, settings, wanted).bytes, settings, wanted)

    def call(a: Sequence[Layer], b: Sequence[Layer] | None) -> _core.Inference:
        return _core.infer(
            a,
            b,
            chosen,
            unbiased=True,
            standard_errors=True,
            permutations=wanted.pvalue_method == "moments",
            groups=wanted.bounds,
            partial=sums,
            rows=further if isinstance(further, _core.Partial) else None,
            second_pass=further if isinstance(further, _core.SecondPass) else None,
            progress=progress,
        )

    return call


def check_inputs(a: Sequence[Layer], b: Sequence[Layer] | None, label: Label, settings: Settings) -> None:
    """Check what concerns several representations, and what settings ask of each."""
    arrays = [*a, *(b or ())]

    def named(i: int) -> str:
        return label(0, i) if i < len(a) else label(1, i - len(a))

    check_samples(arrays, named, settings.estimator, settings.measure)
    for i, X in enumerate(arrays):
        check_values(X, named(i), settings)


def check_values(X: Layer, label: str, settings: Settings) -> None:
    """Check what settings ask of the values of a representation."""
    check_integers(X, label)
    if isinstance(settings.kernel, Precomputed):
        check_gram(X, label)


class naming:  # a class: as a generator, a context takes a microsecond more
    """Turn what the core says of a layer by number into an error that names it."""

    def __init__(self, a: Sequence[Layer], b: Sequence[Layer] | None, label: Label) -> None:
        self._a, self._b, self._label = a, b, label

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _core.NonFinite):
            raise in_words(error, [self._a] if self._b is None else [self._a, self._b], self._label) from None
        if isinstance(error, _core.UnusableLayer):
            side, layer, why = error.args
            raise ValueError(f"{self._label(side, layer)}: {why}") from None


def in_words(error: _core.NonFinite, sides: Sequence[Sequence[Layer]], label: Label) -> ValueError:
    """Return the error for a value that is no finite number."""
    side, layer, row, column = error.args
    return non_finite(sides[side][layer], row, column, label(side, layer))


# ---------------------------------------------------------------------- degenerate representations

REASONS = {
    "nonpositive": "its unbiased HSIC with itself is not above zero, within rounding",
    "equidistant": "its dissimilarities are all equal, within rounding",
    "too_coarse": "nearly all of its HSIC with itself cancels, and these sums are too coarse for the rest; "
    'compare it in one call with dtype="float64"',
    "zero_bandwidth": "its median distance is zero (samples coincide), and so is its bandwidth; set sigma",
}


def reason(status: str, kernel: Kernel) -> str:
    """Return why a layer with this status has no CKA; "" where it has one."""
    if not status:
        return ""
    return kernel._constant if status == "constant" else REASONS[status]


def status_of(X: Layer, settings: _core.Settings) -> str:
    """Return the status of a layer that has no CKA, for `reason`."""
    return _core.pairwise([X], None, settings, None).status_a[0] or "nonpositive"


def warn(degenerate: Sequence[str], stacklevel: int = 3) -> None:
    """Give one warning for a call, at the line that called the public function."""
    named, more = degenerate[:5], len(degenerate) - 5
    rest = f"; and {more} more" if more > 0 else ""
    warnings.warn(
        f"not defined, nan instead: {'; '.join(named)}{rest}", DegenerateWarning, stacklevel=stacklevel
    )
