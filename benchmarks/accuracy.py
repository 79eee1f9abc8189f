# SPDX-License-Identifier: BSD-3-Clause
"""Measure the error of CKA against extended precision, for docs/numerics.md and the diary.

python benchmarks/accuracy.py [--check]        (a minute or two on an idle machine; --check writes no page)

A number in a table is the largest error over several numbers of samples, several draws of fixed seeds, the
bandwidths below, and what the table does not tell apart. The script fails where an error is above the bound
that tests hold, and where the core has a value and extended precision has none, or the other way round.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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

PAGES = [Path(__file__).parents[1] / "docs" / "numerics.md", Path(__file__).parent / "diary" / "accuracy.md"]
DTYPES = ("float64", "float32", "float16", "bfloat16")
SAMPLES = (5, 40, 150)
DRAWS = 3
Array = Any
Make = Callable[[np.random.Generator, int], tuple[Array, Array]]

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


OFFSETS = (1e2, 1e4, 1e6)
SCALES = {
    "float64": (1e-150, 1e-75, 1e75, 1e150),
    "float32": (1e-18, 1e-9, 1e9, 1e18),
    "float16": (1e-4, 1e-2, 1e2, 1e4),
    "bfloat16": (1e-18, 1e-9, 1e9, 1e18),
}


def with_offset(offset: float) -> Make:
    def make(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        X, Y = gaussian(rng, n)
        return X + offset * np.sign(X[:1]), Y + offset * np.sign(Y[:1])

    return make


def scaled(factor: float) -> Make:
    def make(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        X, Y = gaussian(rng, n)
        return X * factor, Y * factor

    return make


def inputs(dtype: str, kernel: str) -> dict[str, Make]:
    """Return all data for a kernel by the heads of their columns."""
    found: dict[str, Make] = dict(DATA)
    if kernel != "precomputed":  # its matrix is that of an RBF kernel, whatever the offset and the units
        found |= {offset_head(offset): with_offset(offset) for offset in OFFSETS}
    if kernel not in ("precomputed", "polynomial"):  # the value of a polynomial kernel depends on the units
        found |= {scale_head(factor): scaled(factor) for factor in SCALES[dtype]}
    return found


# --- one cell --------------------------------------------------------------------------------------


class Key(NamedTuple):
    dtype: str
    kernel: str
    route: str
    estimator: str
    data: str


@dataclass
class Cell:
    """What a cell of a table is about: the worst error, and how often there is no value."""

    error: float = 0.0
    share: float = 0.0  # of the bound
    values: int = 0
    undefined: int = 0  # nan, where extended precision has no value either
    rounded: int = 0  # nan: nothing but rounding is left of a Gram matrix that was given
    refused: int = 0  # values, or those of the kernel, are beyond the range
    faults: list[str] = field(default_factory=list)


def together(cells: Iterable[Cell]) -> Cell:
    found = list(cells)
    return Cell(
        max((cell.error for cell in found), default=0.0),
        max((cell.share for cell in found), default=0.0),
        *(
            sum(getattr(cell, name) for cell in found)
            for name in ("values", "undefined", "rounded", "refused")
        ),
        [fault for cell in found for fault in cell.faults],
    )


def one_value(key: Key, kernel: Any, layers: tuple[Array, Array], truth: tuple[float, float, bool]) -> Cell:
    """Compare one value with extended precision: the value there, its condition, whether rounding is all."""
    expected, condition, all_rounding = truth
    arithmetic = "float64" if key.dtype == "float64" else "float32"
    try:
        pairs = core_pairs(key.route, arithmetic)([layers[0]], [layers[1]], kernel, key.estimator)
    except ValueError as error:
        if "overflow" in str(error):
            return Cell(refused=1)
        raise
    value = pairs.cka[0, 0]
    defined = condition < NO_VALUE / BAND
    if np.isnan(value):
        if not defined:
            return Cell(undefined=1)
        return Cell(rounded=1) if all_rounding else Cell(faults=[f"{key}: nan instead of {expected}"])
    if defined:
        error = abs(value - expected)
        share = error / (FIRST[arithmetic] + condition * PER_CONDITION)
        faults = [f"{key}: {value} instead of {expected}, {share:.3g} times the bound"] if share > 1 else []
        return Cell(error, share, values=1, faults=faults)
    if condition < NO_VALUE * BAND:  # around the edge either answer will do, and there is no bound
        return Cell(undefined=1)
    return Cell(faults=[f"{key}: {value} where there is no value"])


def measured(dtype: str, name: str, kernel: Any, data: str, layers: tuple[Array, Array]) -> Iterator:
    """Yield a cell for each estimator and route."""
    if name == "precomputed":
        layers = tuple(reference.gram(Z, kernel="rbf") for Z in layers)  # type: ignore[assignment]
        if not all(np.isfinite(Z).all() for Z in layers):  # samples are all alike: a bandwidth of zero
            return
    X, Y = (Z.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype) for Z in layers)
    beyond = any(np.isinf(Z.astype(np.float64)).any() for Z in (X, Y))  # the range of the type
    K, L = (extended.gram(Z, kernel) for Z in (X, Y))
    given = tuple(Z.view(np.dtype("V2")) if dtype == "bfloat16" else Z for Z in (X, Y))
    for estimator in ESTIMATORS:
        truth = extended.cka_and_condition(K, L, kernel, estimator)
        all_rounding = name == "precomputed" and any(is_rounding(Z, estimator) for Z in (X, Y))
        for route in ("gram", "feature") if name in FEATURE_KERNELS else ("gram",):
            key = Key(dtype, name, route, estimator, data)
            yield key, Cell(refused=1) if beyond else one_value(key, kernel, given, (*truth, all_rounding))


def is_rounding(gram: Array, estimator: str) -> bool:
    """Whether the HSIC of a given Gram matrix with itself may be that of its rounding (docs/numerics.md).

    The core has a factor of 8 for safety, and knows the largest value to a factor of 2.
    """
    rounding = float(ml_dtypes.finfo(gram.dtype).eps) / 2 * float(np.abs(gram.astype(float)).max())
    K = extended.gram(gram, "precomputed")
    return bool(extended.hsic_of_grams(K, K, estimator) < (2 * 8 * rounding) ** 2)


def measure() -> dict[Key, Cell]:
    found: dict[Key, list[Cell]] = {}
    for dtype in DTYPES:
        for name, kernels in KERNELS.items():
            for data, make in inputs(dtype, name).items():
                for n in SAMPLES:
                    for draw in range(DRAWS):
                        layers = make(np.random.default_rng([n, draw]), n)
                        for kernel in kernels:
                            for key, cell in measured(dtype, name, kernel, data, layers):
                                found.setdefault(key, []).append(cell)
    return {key: together(cells) for key, cells in found.items()}


# --- the tables ------------------------------------------------------------------------------------


class Tables:
    """Parts of the pages from the measured cells."""

    def __init__(self, cells: dict[Key, Cell]) -> None:
        self.cells = cells

    def of(self, **wanted: str | Iterable[str]) -> Cell:
        """Return what the cells have together whose keys have the wanted values."""
        sets = {name: {value} if isinstance(value, str) else set(value) for name, value in wanted.items()}
        return together(
            cell
            for key, cell in self.cells.items()
            if all(getattr(key, name) in values for name, values in sets.items())
        )

    def by_data(self, dtypes: Iterable[str], columns: Iterable[str]) -> str:
        """A row for each type and kernel, over routes and estimators."""
        columns = list(columns)
        rows = []
        for dtype in dtypes:
            for name in KERNELS:
                cells = [self.of(dtype=dtype, kernel=name, data=data) for data in columns]
                if any(cell != Cell() for cell in cells):
                    rows.append([dtype, name, *map(text, cells), percent(together(cells))])
        return table(["input", "kernel"], [*columns, "of the bound"], rows)

    def by_route(self) -> str:
        """A row for each kernel and route, over all data."""
        columns = [(dtype, estimator) for dtype in DTYPES for estimator in ESTIMATORS]
        rows = [
            [
                *at,
                *(
                    text(self.of(dtype=dtype, estimator=estimator, kernel=at[0], route=at[1]), mixed=True)
                    for dtype, estimator in columns
                ),
            ]
            for at in self.kernels_and_routes()
        ]
        return table(["kernel", "route"], [", ".join(column) for column in columns], rows)

    def in_full(self, dtype: str) -> str:
        """A row for each kernel, route and estimator, a column for each kind of data, offset and scale."""
        columns = list(inputs(dtype, "linear"))
        rows = []
        for name, route in self.kernels_and_routes():
            for estimator in ESTIMATORS:
                at = {"dtype": dtype, "kernel": name, "route": route, "estimator": estimator}
                cells = [self.of(**at, data=data) for data in columns]
                rows.append([name, route, estimator, *map(text, cells), percent(together(cells))])
        return table(["kernel", "route", "estimator"], [*columns, "of the bound"], rows)

    def kernels_and_routes(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys((key.kernel, key.route) for key in self.cells))

    def count(self) -> str:
        everything = together(self.cells.values())
        return (
            f"Compared: {everything.values} values. In {everything.undefined} more cases extended precision "
            f"has no value either, or is at the edge of the rule; in {everything.rounded} the "
            f"result is `nan` "
            f"because nothing but the rounding to its type is left of a given Gram matrix; "
            f"{everything.refused} "
            f"are refused."
        )


def table(left: list[str], right: list[str], rows: list[list[str]]) -> str:
    lines = [[*left, *right], ["---"] * len(left) + ["---:"] * len(right)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *rows])


def text(cell: Cell, *, mixed: bool = False) -> str:
    """Write the error; `mixed`: over data of which some are refused."""
    if cell.refused and not (mixed and cell.values):
        return "refused"
    if cell.values:
        return scientific(cell.error)
    return "nan" if cell.undefined or cell.rounded else ""


def percent(cell: Cell) -> str:
    return f"{100 * cell.share:.0f} %" if cell.share >= 0.01 else "< 1 %"


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


def offset_head(offset: float) -> str:
    return f"{power(offset)} spreads"


def scale_head(factor: float) -> str:
    return f"× {power(factor)}"


def main() -> None:
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"):
        cells = measure()
    tables = Tables(cells)
    offsets = ["Gaussian", *map(offset_head, OFFSETS)]
    parts = {
        "level": f"SIMD level {config()['simd_level']}.",
        "count": tables.count(),
        "data": tables.by_data(DTYPES, DATA),
        "route": tables.by_route(),
        "offset": tables.by_data(("float64", "float32"), offsets),
        "scale": "\n\n".join(
            tables.by_data([dtype], map(scale_head, SCALES[dtype])) for dtype in ("float64", "float32")
        ),
        **{dtype: tables.in_full(dtype) for dtype in DTYPES},
    }
    for name, part in parts.items():
        print(f"{name}\n{part}\n", flush=True)
    if faults := together(cells.values()).faults:
        raise SystemExit("\n".join(["beyond the bound, or the wrong side of the rule for nan:", *faults]))
    for page in PAGES if "--check" not in sys.argv else []:
        written = page.read_text()
        for name, part in parts.items():
            if f"<!-- accuracy-{name}: begin -->" in written:
                written = replaced(written, f"accuracy-{name}", part)
        page.write_text(written)


if __name__ == "__main__":
    main()
