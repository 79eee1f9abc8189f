# SPDX-License-Identifier: BSD-3-Clause
"""The values and settings of a comparison, and what can be read from them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class DegenerateWarning(UserWarning):
    """A representation for which CKA is not defined, and why; its values are nan, all others are unharmed."""


class BestMatch(NamedTuple):
    """The most similar column layer of one row layer; `column` is None where the whole row is nan."""

    row: str
    column: str | None
    value: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """CKA of every row layer with every column layer; `CKAMatrix` describes the attributes."""

    values: NDArray[np.float64]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    kernel: str
    estimator: str
    n_samples: int
    models: tuple[str, str] = ("A", "B")
    warnings: tuple[str, ...] = ()
    method: str = "exact"

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float64))
        for field in ("rows", "columns", "models", "warnings"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.values.shape != (len(self.rows), len(self.columns)):
            raise ValueError(
                f"values: expected shape {(len(self.rows), len(self.columns))}, from the numbers of row "
                f"and column names, got {self.values.shape}"
            )
        if len(self.models) != 2:
            raise ValueError(f"models: expected two names (of rows, of columns), got {self.models!r}")

    def with_models(self, row_model: str, column_model: str) -> Self:
        """Return a copy whose axes carry these names of the two networks."""
        return dataclasses.replace(self, models=(row_model, column_model))

    @property
    def T(self) -> Self:
        """The same comparison with rows and columns exchanged."""
        return dataclasses.replace(
            self, values=self.values.T, rows=self.columns, columns=self.rows, models=self.models[::-1]
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:  # as NumPy 1 always, which does not know the argument
            return np.asarray(self.values, dtype=dtype)
        return np.array(self.values, dtype=dtype, copy=copy)

    # What the matrix says -----------------------------------------------------------------------------------

    def best_matches(self) -> tuple[BestMatch, ...]:
        """Return, for each row layer, the column layer with the highest value.

        nan values are passed over; of equal values the first column wins. A row that is nan throughout
        has no match: its `column` is None and its `value` nan.
        """
        matches = []
        for name, values in zip(self.rows, self.values, strict=True):
            if np.isnan(values).all():
                matches.append(BestMatch(name, None, float("nan")))
            else:
                best = int(np.nanargmax(values))
                matches.append(BestMatch(name, self.columns[best], float(values[best])))
        return tuple(matches)

    def counterparts(self) -> tuple[str, ...]:
        """Return, for each row layer, the name of the column layer that is its counterpart.

        When both sides have the same names, in whatever order, a layer's counterpart is its namesake.
        Otherwise, when both sides have equally many layers, it is the layer at the same position.

        Raises
        ------
        ValueError
            If the two sides have different numbers of layers.
        """
        if set(self.rows) == set(self.columns):
            return self.rows
        if len(self.rows) == len(self.columns):
            return self.columns
        raise ValueError(
            f"layers have counterparts only when both networks have the same number of them: "
            f"{self.models[0]} has {len(self.rows)}, {self.models[1]} has {len(self.columns)}"
        )

    def identification_accuracy(self) -> float:
        """Return the share of row layers whose best match is their own counterpart.

        The sanity check of Kornblith et al. (2019), section 6.1: of two networks of one architecture,
        trained from different seeds, each layer should be most similar to the same layer of the other.
        Matches are those of `best_matches`, counterparts those of `counterparts`; a row that is nan
        throughout counts as not identified. This looks from the rows to the columns. The paper averages
        over ordered pairs of networks, so over ``m`` and ``m.T``.

        Raises
        ------
        ValueError
            If the two sides have different numbers of layers.
        """
        pairs = zip(self.best_matches(), self.counterparts(), strict=True)
        return float(np.mean([match.column == own for match, own in pairs]))

    @property
    def title(self) -> str:
        """What the numbers are, such as ``"CKA, linear"`` or ``"unbiased CKA, RBF(bandwidth=0.5)"``."""
        unbiased = "unbiased " if self.estimator == "unbiased" else ""
        return f"{unbiased}CKA, {self.kernel}{self._unless_exact}"

    @property
    def _unless_exact(self) -> str:
        return "" if self.method == "exact" else f", {self.method}"

    def settings(self) -> dict[str, Any]:
        """Return everything but the values, as strings, numbers and lists."""
        return {
            "rows": list(self.rows),
            "columns": list(self.columns),
            "kernel": self.kernel,
            "estimator": self.estimator,
            "n_samples": int(self.n_samples),
            "models": list(self.models),
            "warnings": list(self.warnings),
            "method": self.method,
        }
