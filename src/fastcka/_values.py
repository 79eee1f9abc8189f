# SPDX-License-Identifier: BSD-3-Clause
"""Checks that have to look at the values of an array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._sources import Layer, Source, pieces

Array: TypeAlias = NDArray[Any]

MOST_EXACT = 2**53  # beyond it, float64 leaves out whole numbers


def check_integers(layer: Layer, label: str) -> None:
    """Check that 64-bit integers are exact in float64, the type of the arithmetic."""
    if layer.dtype.kind not in "iu" or layer.dtype.itemsize < 8:
        return
    ends = [(part.min(initial=0), part.max(initial=0)) for _, part in pieces(layer)]
    for worst in (int(end) for pair in ends for end in pair):
        if abs(worst) > MOST_EXACT:
            raise ValueError(
                f"{label} has the {layer.dtype} value {worst}: arithmetic is float64, which is exact only up "
                f"to 2**53 = {MOST_EXACT}. Subtract an offset first, such as the first row, which changes no "
                f"CKA with a kernel of differences (linear, rbf, laplacian, distance)"
            )


def check_gram(K: Layer, label: str) -> None:
    """Check that a matrix passed as a Gram matrix is square and, within rounding, symmetric."""
    check_square(K, label)
    if isinstance(K, Source):
        return _check_symmetric_source(K, label)
    n, block = len(K), 512
    worst, where, largest = 0.0, (0, 0), 0.0
    for i in range(0, n, block):
        for j in range(i, n, block):
            upper = widened(K[i : i + block, j : j + block])
            with np.errstate(invalid="ignore"):  # infinities; the core will name them
                gap = np.abs(upper - widened(K[j : j + block, i : i + block]).T)
            largest = max(largest, float(np.abs(upper).max()))
            if gap.max() > worst:
                row, column = np.unravel_index(gap.argmax(), gap.shape)
                worst, where = float(gap.max()), (i + int(row), j + int(column))
    if worst > _digits(K) * largest:
        i, j = where
        raise ValueError(
            f"{label} must be a Gram matrix, but it is not symmetric: the largest difference is {worst:.3g}, "
            f"between [{i}, {j}] and [{j}, {i}]. If that is rounding, pass (K + K.T) / 2"
        )


def _check_symmetric_source(K: Source, label: str) -> None:
    """Check in one pass over the rows that K v = K'v for some v of signs: nothing cancels in all of them."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(len(K), 4))
    products, transposed, largest = np.empty_like(signs), np.zeros_like(signs), 0.0
    with np.errstate(invalid="ignore"):  # infinities; the core will name them
        for first, part in pieces(K, 1 << 22):
            values, own = widened(part), slice(first, first + len(part))
            products[own] = values @ signs
            transposed += values.T @ signs[own]
            largest = max(largest, float(np.abs(values).max()))
        gaps = np.abs(products - transposed).max(axis=1)
    # Roundings of a row add up as a random walk.
    if gaps.max() > _digits(K) * largest * max(1.0, np.sqrt(len(K)) / 30):
        i = int(gaps.argmax())
        raise ValueError(
            f"{label} must be a Gram matrix, but it is not symmetric: row {i} is not column {i}. If that is "
            f"rounding, store (K + K.T) / 2"
        )


def _digits(K: Layer) -> float:
    """Far above the rounding of any product that made a matrix, far below what another one would show."""
    return {2: 1e-1 if K.dtype.kind == "V" else 3e-2, 4: 3e-4}.get(K.dtype.itemsize, 1e-8)


def check_square(K: Layer, label: str) -> None:
    """Check that a kernel matrix is square."""
    if K.shape[0] != K.shape[1]:
        raise ValueError(f"{label} must be a square Gram matrix (n_samples, n_samples), got shape {K.shape}")


def non_finite(array: Layer, row: int, column: int, label: str) -> ValueError:
    """Return the error for the first element that is no finite number, as found by the core."""
    values = widened(array[row])
    bad = np.count_nonzero(~np.isfinite(values))
    advice = "drop such samples from every representation, or fix the values"
    if array.dtype == np.float16 and np.isinf(values[column]):
        advice = (
            "float16 ends at 65504, beyond which values become infinite: extract the layer as float32 or "
            "bfloat16"
        )
    return ValueError(
        f"{label} contains {_place(values, row, column)} ({bad} of the {len(values)} values of that sample "
        f"are not finite); {advice}"
    )


def first_non_finite(array: Layer) -> str:
    """Describe the position of the first NaN or infinity of an array; "" if it has none."""
    for start, values in _blocks(array):
        for row, column in np.argwhere(~np.isfinite(values))[:1]:
            return f"contains {_place(values[row], start + row, column)}"
    return ""


def _place(values: Array, row: int, column: int) -> str:
    kind = "NaN" if np.isnan(values[column]) else "infinity"
    return f"{kind}, first at sample {row}, feature {column}"


def _blocks(array: Layer, most: int = 2**20) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the first row and the values of parts of some 8 MB."""
    step = max(1, most // array.shape[1])
    for first, part in pieces(array):
        for start in range(0, len(part), step):
            yield first + start, widened(part[start : start + step])


def widened(part: Array) -> NDArray[np.float64]:
    """Return a copy of (a small part of) a representation in float64, bfloat16 included."""
    if part.dtype.kind == "V":  # bfloat16 is the upper half of a float32
        part = (part.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return part.astype(np.float64)
