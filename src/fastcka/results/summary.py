# SPDX-License-Identifier: BSD-3-Clause
"""One number for each pair of models: `ModelSummary`, and how it comes from the `CKAMatrix` of the pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .matrix import CKAMatrix

ROUNDING = 1e-6  # the error bound of float32: what is this far beyond 1 is still a cosine

How: TypeAlias = Literal["best_match", "namesakes", "max"] | Callable[[CKAMatrix], float]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ModelSummary(CKAMatrix):
    """One number for each pair of models, made by `CKAModels.summary`.

    It is read, printed, drawn, converted and saved as a `CKAMatrix` whose rows and columns are models.

    Attributes
    ----------
    values : (M, M) float64 ndarray
        ``values[i, j]`` compares model ``rows[i]`` with model ``columns[j]``.
    how : str
        "best_match", "namesakes", "max", or the name of the function that made the numbers.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> summary = fastcka.cka_models({"cnn": {"fc": X}, "vit": {"head": X[:, :2]}}).summary("max")
    >>> summary.rows, summary.how, summary.settings()["how"], round(summary["cnn", "vit"], 3)
    (('cnn', 'vit'), 'max', 'max', 0.611)
    """

    how: str = "best_match"

    @property
    def title(self) -> str:
        """What the numbers are, such as ``"mean best match, CKA, linear"``."""
        return f"{_WORDS.get(self.how, self.how)}, {super().title}"

    def settings(self) -> dict[str, Any]:
        """Return everything but `values` and `chance`, as what JSON can hold."""
        return {**super().settings(), "how": self.how}

    def __repr__(self) -> str:
        return f"ModelSummary({self.how}, {super().__repr__().partition('(')[2]}"


def best_match(matrix: CKAMatrix) -> float:
    """Return the mean best match of the rows and that of the columns, averaged; nan layers are left out.

    >>> best_match(CKAMatrix([[1.0, 0.25, 0.25]], ("a",), ("x", "y", "z"), "linear", "biased", 9))
    0.75
    """
    return float(np.mean([_mean(_highest(values)) for values in (matrix.values, matrix.values.T)]))


def namesakes(matrix: CKAMatrix) -> float:
    """Return the mean of the layers whose name both models have; layers that are nan are left out."""
    return _mean(_of_namesakes(matrix, matrix.values))


def highest(matrix: CKAMatrix) -> float:
    """Return the highest value; nan where there is none."""
    return float(_highest(matrix.values.reshape(1, -1))[0])


def chance_of(how: How, matrix: CKAMatrix) -> float | None:
    """Return the mean of a summary when samples are permuted, as far as that of the pairs says it.

    It does for a mean of given pairs, but not for a maximum: None.
    """
    if how != "namesakes" or matrix.chance is None:
        return None
    return _mean(_of_namesakes(matrix, np.where(np.isnan(matrix.values), np.nan, matrix.chance)))


def function_of(how: object) -> tuple[str, Callable[[CKAMatrix], float], bool]:
    """Return the name of a summary, its function, and whether the order of the two models is all the same."""
    if isinstance(how, str) and how in _FUNCTIONS:
        return how, _FUNCTIONS[how], True
    if callable(how):
        return getattr(how, "__name__", repr(how)), how, False
    known = ", ".join(map(repr, _FUNCTIONS))
    error = ValueError if isinstance(how, str) else TypeError
    raise error(f"how: expected {known} or a function of a CKAMatrix, got {how!r}")


def angles_of(summary: ModelSummary, *, condensed: bool) -> NDArray[np.float64]:
    """Return the angles whose cosines are a summary, or raise a ValueError where it is none.

    `condensed`: only those above the diagonal, row by row.
    """
    cosines, how = summary.values, summary.how
    known = ~np.isnan(cosines)
    diagonal = np.diag(cosines)[np.diag(known)]
    if np.abs(cosines - cosines.T)[known & known.T].max(initial=0) > ROUNDING:
        raise ValueError(f"how: a distance must be symmetric, but {how} of two models depends on their order")
    if np.abs(cosines[known]).max(initial=0) > 1 + ROUNDING:
        raise ValueError(f"how: a distance needs values from -1 to 1, but {how} gives others")
    if np.abs(diagonal - 1).max(initial=0) > ROUNDING:
        raise ValueError(f"how: a distance needs 1 for a model and itself, but {how} gives another value")
    angles = np.arccos(np.clip((cosines + cosines.T) / 2, -1, 1))
    np.fill_diagonal(angles, 0.0)
    return angles[np.triu_indices(len(angles), 1)] if condensed else angles


_FUNCTIONS: dict[str, Callable[[CKAMatrix], float]] = {
    "best_match": best_match,
    "namesakes": namesakes,
    "max": highest,
}
_WORDS = {"best_match": "mean best match", "namesakes": "mean of namesakes", "max": "highest pair"}


def _highest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the highest value of each row; nan where a row has none."""
    top = np.max(values, axis=1, initial=-np.inf, where=~np.isnan(values))
    return np.where(top == -np.inf, np.nan, top)


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _of_namesakes(matrix: CKAMatrix, values: NDArray[np.float64]) -> NDArray[np.float64]:
    places = {name: j for j, name in enumerate(matrix.columns)}
    pairs = [(i, places[name]) for i, name in enumerate(matrix.rows) if name in places]
    if not pairs:
        row, column = matrix.models
        raise ValueError(
            f"how: {row} and {column} have no layer of the same name, so there is no mean of namesakes; "
            f"how='best_match' needs none"
        )
    rows, columns = zip(*pairs, strict=True)
    return values[list(rows), list(columns)]
