# SPDX-License-Identifier: BSD-3-Clause
"""Measure the error of CKA against extended precision, and write the tables of docs/numerics.md.

python benchmarks/accuracy.py [--check]        (a few minutes on one core; --check writes nothing)

Each number is the largest error over both estimators, every route that the kernel has, several numbers of
samples and several draws of fixed seeds. The last column is the largest share of the bound that tests hold. A
row above the bound makes the script fail.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from report import replaced

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import extended
from fuzz_numbers import BAND, FIRST, NO_VALUE, PER_CONDITION
from implementations import ESTIMATORS, FEATURE_KERNELS, core_pairs

import fastcka
from fastcka import reference
from fastcka.config import config
from fastcka.kernels import resolve_kernel

PAGE = Path(__file__).parents[1] / "docs" / "numerics.md"
SAMPLES = (5, 40, 150)
DRAWS = 3
Array = Any
Cell = tuple[float, float] | None
Row = tuple[list[str], list[Cell]]  # dtype and kernel; the cells

KERNELS: dict[str, list[Any]] = {
    "linear": [fastcka.Linear()],
    "rbf": [fastcka.RBF(), fastcka.RBF(0.2), fastcka.RBF(5.0)],
    "laplacian": [fastcka.Laplacian(), fastcka.Laplacian(0.2)],
    "distance": [fastcka.Distance(), fastcka.Distance(0.5)],
    "cosine": [fastcka.Cosine()],
    "correlation": [fastcka.Correlation()],
    "polynomial": [fastcka.Polynomial(), fastcka.Polynomial(3, gamma=0.01)],
    "precomputed": [resolve_kernel("precomputed")],
}
SCALE_FREE = [name for name in KERNELS if name not in ("polynomial", "precomputed")]


# --- data: two layers that have something in common ------------------------------------------------


def gaussian(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    X = rng.normal(size=(n, 48))
    return X, X[:, :32] + rng.normal(size=(n, 32))


def low_rank(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    shared = rng.normal(size=(n, 3))
    X, Y = (shared @ rng.normal(size=(3, p)) + 1e-3 * rng.normal(size=(n, p)) for p in (48, 32))
    return X, Y


def sparse(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    X, Y = gaussian(rng, n)
    return np.maximum(X - 1.5, 0), np.maximum(Y - 1.5, 0)


def massive(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    X, Y = gaussian(rng, n)
    X[0] *= 1000
    Y[-1, 0] = 3000
    return X, Y


def duplicates(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    X, Y = gaussian(rng, n)
    X[rng.random(n) < 0.4] = X[0]
    half = n // 2
    Y[half : 2 * half] = Y[:half] + 1e-6 * rng.normal(size=(half, 32))
    return X, Y


DATA = {
    "Gaussian": gaussian,
    "low rank": low_rank,
    "ReLU-sparse": sparse,
    "massive samples": massive,
    "duplicates": duplicates,
}


# --- one cell --------------------------------------------------------------------------------------


def errors(dtype: str, kernel: Any, layers: tuple[Array, Array]) -> Iterable[tuple[float, float]]:
    """Yield (error, share of the bound) of each estimator and route that has a value."""
    arithmetic = "float64" if dtype == "float64" else "float32"
    if kernel.name == "precomputed":
        layers = tuple(reference.gram(Z, kernel="rbf") for Z in layers)  # type: ignore[assignment]
    X, Y = (Z.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype) for Z in layers)
    with np.errstate(all="ignore"):
        K, L = (extended.gram(Z, kernel) for Z in (X, Y))
    inputs = [Z.view(np.dtype("V2")) if dtype == "bfloat16" else Z for Z in (X, Y)]
    for estimator in ESTIMATORS:
        with np.errstate(all="ignore"):
            expected, condition = extended.cka_and_condition(K, L, kernel, estimator)
        if not condition < NO_VALUE / BAND:
            continue
        for route in ("gram", "feature") if kernel.name in FEATURE_KERNELS else ("gram",):
            value = core_pairs(route, arithmetic)([inputs[0]], [inputs[1]], kernel, estimator).cka[0, 0]
            if np.isnan(value):
                # Extended precision keeps digits that the rounding of a float32 Gram matrix does not.
                continue
            error = abs(value - expected)
            yield error, error / (FIRST[arithmetic] + condition * PER_CONDITION)


def cell(dtype: str, names: Iterable[str], make: Callable) -> Cell:
    """Return the largest error and the largest share of the bound over kernels, samples and draws.

    None: these values overflow the kernel, which is an error that names the layer.
    """
    cases = [
        (n, draw, kernel)
        for n in SAMPLES
        for draw in range(DRAWS)
        for name in names
        for kernel in KERNELS[name]
    ]
    try:
        found = [
            each
            for n, draw, kernel in cases
            for each in errors(dtype, kernel, make(np.random.default_rng([n, draw]), n))
        ]
    except ValueError as error:
        if "overflow" in str(error):
            return None
        raise
    return max(error for error, _ in found), max(share for _, share in found)


# --- the tables ------------------------------------------------------------------------------------


def table(head: list[str], rows: Iterable[Row]) -> str:
    lines = ["| " + " | ".join([*head, "of the bound"]) + " |", "|---" * 2 + "|---:" * (len(head) - 1) + "|"]
    for names, cells in rows:
        share = max(each[1] for each in cells if each)
        if share > 1:
            raise SystemExit(f"{names}: an error is {share:.3g} times the bound")
        numbers = [scientific(each[0]) if each else "refused" for each in cells]
        percent = f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"
        lines.append("| " + " | ".join([*names, *numbers, percent]) + " |")
    return "\n".join(lines)


def scientific(number: float) -> str:
    if number == 0:
        return "0"
    exponent = int(np.floor(np.log10(number)))
    digits = f"{number / 10.0**exponent:.0f}"
    if digits == "10":
        digits, exponent = "1", exponent + 1
    return f"{digits}·{power(10.0**exponent)}"


def power(number: float) -> str:
    """Write a power of ten, or 0."""
    if number == 0:
        return "0"
    return f"10{str(round(np.log10(number))).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def by_data() -> str:
    rows = [(dtype, [name]) for dtype in ("float64", "float32") for name in KERNELS]
    rows += [
        (dtype, [name for name in KERNELS if name != "precomputed"]) for dtype in ("float16", "bfloat16")
    ]
    return table(
        ["input", "kernel", *DATA],
        (
            (
                [dtype, names[0] if len(names) == 1 else "all"],
                [cell(dtype, names, make) for make in DATA.values()],
            )
            for dtype, names in rows
        ),
    )


def by_offset() -> str:
    offsets = (0.0, 1e2, 1e4, 1e6)

    def shifted(offset: float) -> Callable:
        def make(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
            X, Y = gaussian(rng, n)
            return X + offset * np.sign(X[:1]), Y + offset * np.sign(Y[:1])

        return make

    return table(
        ["input", "kernel", *(f"{power(offset)} spreads" for offset in offsets)],
        (
            ([dtype, name], [cell(dtype, [name], shifted(offset)) for offset in offsets])
            for dtype in ("float64", "float32")
            for name in KERNELS
            if name != "precomputed"
        ),
    )


def by_scale() -> str:
    def scaled(factor: float) -> Callable:
        def make(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
            X, Y = gaussian(rng, n)
            return X * factor, Y * factor

        return make

    def row(dtype: str, name: str, factors: tuple[float, ...]) -> Row:
        return [dtype, name], [cell(dtype, [name], scaled(factor)) for factor in factors]

    sizes = {"float64": (1e-150, 1e-75, 1e75, 1e150), "float32": (1e-18, 1e-9, 1e9, 1e18)}
    return "\n\n".join(
        table(
            ["input", "kernel", *(f"× {power(factor)}" for factor in factors)],
            (row(dtype, name, factors) for name in SCALE_FREE),
        )
        for dtype, factors in sizes.items()
    )


def main() -> None:
    warnings.simplefilter("ignore")
    text = PAGE.read_text()
    level = f"SIMD level {config()['simd_level']}."
    parts = {"level": level, "data": by_data(), "offset": by_offset(), "scale": by_scale()}
    for name, part in parts.items():
        print(part, flush=True)
        text = replaced(text, f"accuracy-{name}", part)
    if "--check" not in sys.argv:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
