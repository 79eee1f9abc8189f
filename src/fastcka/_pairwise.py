# SPDX-License-Identifier: BSD-3-Clause
"""All pairs of layers through the core, and what it says about a layer put in words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from . import _core
from ._arrays import (
    Array,
    byte_limit,
    check_estimator,
    check_gram,
    check_samples,
    needs_float64,
    non_finite,
)
from ._progress import Report
from .kernels import Kernel, Precomputed
from .results import DegenerateWarning
from .threads import resolve

Label = Callable[[int, int], str]  # (side, layer) -> the words for that representation


def pairwise(
    a: list[Array],
    b: list[Array] | None,
    label: Label,
    kernel: Kernel,
    estimator: str,
    dtype: object,
    n_threads: int | None,
    max_bytes: int | None,
    progress: Report | None = None,
) -> _core.Pairwise:
    """Check what concerns several representations, then run the core on all pairs."""
    check_estimator(estimator)
    arrays = a if b is None else a + b

    def named(i: int) -> str:
        return label(0, i) if i < len(a) else label(1, i - len(a))

    check_samples(arrays, named, estimator)
    if isinstance(kernel, Precomputed):
        for i, K in enumerate(arrays):
            check_gram(K, named(i))
    try:
        return _core.pairwise(
            a,
            b,
            kernel.core(),
            unbiased=estimator == "unbiased",
            double_precision=needs_float64(arrays, dtype),
            n_threads=resolve(n_threads),
            max_bytes=byte_limit(max_bytes),
            route="auto",
            progress=progress,
        )
    except _core.NonFinite as error:
        raise in_words(error, [a] if b is None else [a, b], label) from None
    except _core.UnusableLayer as error:
        side, layer, why = error.args
        raise ValueError(f"{label(side, layer)}: {why}") from None


def in_words(error: _core.NonFinite, sides: Sequence[Sequence[Array]], label: Label) -> ValueError:
    """Return the error for a value that is no finite number."""
    side, layer, row, column = error.args
    return non_finite(sides[side][layer], row, column, label(side, layer))


# ---------------------------------------------------------------------- degenerate representations

REASONS = {
    "nonpositive": "its unbiased HSIC with itself is not above zero, within rounding",
    "zero_bandwidth": "its median distance is zero (samples coincide), and so its bandwidth; choose a sigma",
}


def reason(status: str, kernel: Kernel) -> str:
    """Return why a layer with this status has no CKA."""
    return kernel.constant if status == "constant" else REASONS[status]


def degenerate_layers(sides: Sequence[Sequence[str]], label: Label, kernel: Kernel) -> list[str]:
    """Return each layer that has no CKA, with the reason, from the statuses of the one side or both."""
    return [
        f"{label(side, layer)}: {reason(status, kernel)}"
        for side, statuses in enumerate(sides)
        for layer, status in enumerate(statuses)
        if status
    ]


def warn(degenerate: Sequence[str]) -> None:
    """Give one warning for a call, at the line that called the public function."""
    named, more = degenerate[:5], len(degenerate) - 5
    rest = f"; and {more} more" if more > 0 else ""
    warnings.warn(f"not defined, nan instead: {'; '.join(named)}{rest}", DegenerateWarning, stacklevel=3)
