# SPDX-License-Identifier: BSD-3-Clause
"""The values and settings of a comparison, and what can be read from them."""

from __future__ import annotations

import dataclasses
import operator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, overload

import numpy as np

from .._arguments import MEASURES
from .._tails import interval_reach
from .frozen import frozen, plain
from .labels import count_layers
from .selection import BY_POSITION, positions
from .significance import LEVEL, adjusted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray


# Fields that hold numbers: a number for each entry of these.
ARRAYS = {
    "values": ("rows", "columns"),
    "chance": ("rows", "columns"),
    "row_dimensions": ("rows",),
    "column_dimensions": ("columns",),
    "unbiased": ("rows", "columns"),
    "stderr": ("rows", "columns"),
    "pvalues": ("rows", "columns"),
    "zscores": ("rows", "columns"),
}


class DegenerateWarning(UserWarning):
    """A representation for which CKA is not defined, and why; only its values are nan.

    Examples
    --------
    >>> import warnings, numpy as np, fastcka
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     fastcka.cka(np.ones((9, 2)), np.eye(9))
    nan
    >>> print(caught[0].category.__name__, caught[0].message, sep=": ")
    DegenerateWarning: not defined, nan instead: X: no variation: all samples are equal
    """


class BestMatch(NamedTuple):
    """The most similar column layer of one row layer.

    Parameters
    ----------
    row : str
        The row layer.
    column : str or None
        The column layer with the highest value; None where the whole row is nan.
    value : float
        That value; nan where the whole row is nan.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> best = fastcka.cka_matrix({"fc": X}, {"same": 2 * X, "other": X[:, :1]}).best_matches()[0]
    >>> best.row, best.column, round(best.value, 6)
    ('fc', 'same', 1.0)
    """

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
    estimator: str | None
    n_samples: int
    models: tuple[str, str] = ("A", "B")
    warnings: tuple[str, ...] = ()
    method: str = "exact"
    chance: NDArray[np.float64] | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    measure: str = "cka"
    row_dimensions: NDArray[np.float64] | None = None
    column_dimensions: NDArray[np.float64] | None = None
    unbiased: NDArray[np.float64] | None = None
    stderr: NDArray[np.float64] | None = None
    pvalues: NDArray[np.float64] | None = None
    pvalue_method: str | None = None
    n_groups: int | None = None
    zscores: NDArray[np.float64] | None = None

    if TYPE_CHECKING:  # what it takes, where that is more than what it keeps

        def __init__(
            self,
            values: ArrayLike,
            rows: Sequence[str],
            columns: Sequence[str],
            kernel: str,
            estimator: str | None,
            n_samples: int,
            models: tuple[str, str] = ("A", "B"),
            warnings: Sequence[str] = (),
            method: str = "exact",
            chance: ArrayLike | None = None,
            provenance: Mapping[str, Any] = ...,
            measure: str = "cka",
            row_dimensions: ArrayLike | None = None,
            column_dimensions: ArrayLike | None = None,
            unbiased: ArrayLike | None = None,
            stderr: ArrayLike | None = None,
            pvalues: ArrayLike | None = None,
            pvalue_method: str | None = None,
            n_groups: int | None = None,
            zscores: ArrayLike | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        change = partial(object.__setattr__, self)
        for field in ("rows", "columns", "models", "warnings"):
            given = getattr(self, field)
            texts = (given,) if isinstance(given, str) else tuple(given)
            if isinstance(given, str) or not all(isinstance(text, str) for text in texts):
                raise TypeError(f"{field}: expected a sequence of strings, got {given!r}")
            change(field, texts)
        for field in ("kernel", "method", "measure", *(["estimator"] if self.measure == "cka" else [])):
            if not isinstance(getattr(self, field), str):
                raise TypeError(f"{field}: expected a string, got {getattr(self, field)!r}")
        if self.measure not in MEASURES:
            raise ValueError(f"measure: expected one of {', '.join(MEASURES)}, got {self.measure!r}")
        if self.measure != "cka" and self.estimator is not None:
            raise ValueError(f"estimator: {self.measure} has none, got {self.estimator!r}")
        if len(self.models) != 2:
            raise ValueError(f"models: expected two names (of rows, of columns), got {self.models!r}")
        change("n_samples", operator.index(self.n_samples))
        if self.n_samples < 0:
            raise ValueError(f"n_samples: expected a number of samples, got {self.n_samples}")
        for field in ARRAYS:
            if field == "values" or getattr(self, field) is not None:
                change(field, self._checked(field, getattr(self, field)))
        try:
            provenance = frozen(plain(self.provenance))
        except (TypeError, ValueError) as error:
            raise TypeError(f"provenance: expected what JSON can hold ({error})") from error
        change("provenance", provenance)

    @property
    def beside(self) -> NDArray[np.float64] | None:
        """What print and figures write beside the values: the chance level, unless it is zero everywhere."""
        known = self.chance is not None and bool(np.any(np.nan_to_num(self.chance)))
        return self.chance if known else None

    def _checked(self, what: str, numbers: ArrayLike) -> NDArray[np.float64]:
        """Return a read-only copy of the numbers in the field `what`."""
        array = np.asarray(numbers)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{what}: expected real numbers, got dtype {array.dtype}")
        shape = tuple(len(getattr(self, side)) for side in ARRAYS[what])
        if array.shape != shape:
            raise ValueError(
                f"{what}: expected shape {shape}, from the numbers of row and column names, got {array.shape}"
            )
        copied = np.array(array, dtype=np.float64, order="C")
        copied.flags.writeable = False
        return copied

    def __reduce__(self) -> tuple[Any, ...]:  # a copy in another process is as immutable
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return partial(type(self), **{**fields, "provenance": plain(self.provenance)}), ()

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of row and column layers."""
        return len(self.rows), len(self.columns)

    def with_models(self, row_model: str, column_model: str) -> Self:
        """Return a copy whose axes carry these names of the two networks.

        Parameters
        ----------
        row_model, column_model : str
            The network of the rows, and that of the columns.
        """
        return dataclasses.replace(self, models=(row_model, column_model))

    @property
    def T(self) -> Self:
        """The same comparison with rows and columns exchanged."""
        exchanged: dict[str, Any] = {
            name: array.T for name, array in self._arrays().items() if array.ndim == 2
        }
        exchanged |= {"row_dimensions": self.column_dimensions, "column_dimensions": self.row_dimensions}
        return dataclasses.replace(
            self,
            rows=self.columns,
            columns=self.rows,
            models=self.models[::-1],
            provenance={_EXCHANGED.get(key, key): value for key, value in self.provenance.items()},
            **exchanged,
        )

    @overload
    def __getitem__(self, names: tuple[str, str]) -> float: ...
    @overload
    def __getitem__(self, names: tuple[str | list[str] | slice, list[str] | slice]) -> Self: ...
    @overload
    def __getitem__(self, names: tuple[list[str] | slice, str]) -> Self: ...
    def __getitem__(self, names: Any) -> float | Self:
        """Return the value of two layers, by name, or the part of the matrix for lists of names and ``:``."""
        if not isinstance(names, tuple) or len(names) != 2:
            raise TypeError(f"expected two names, as in m['conv1', 'fc'], got {names!r}; {BY_POSITION}")
        rows = positions(names[0], self.rows, self.models[0])
        columns = positions(names[1], self.columns, self.models[1])
        if all(isinstance(name, str) for name in names):
            return float(self.values[rows[0], columns[0]])
        return self._part(rows, columns)

    def _part(self, rows: Sequence[int], columns: Sequence[int]) -> Self:
        """Return the part of the matrix for these positions of rows and columns."""
        places = {"rows": rows, "columns": columns}
        part: dict[str, Any] = {
            name: array[np.ix_(*(places[side] for side in ARRAYS[name]))]
            for name, array in self._arrays().items()
        }
        part |= {side: tuple(getattr(self, side)[i] for i in chosen) for side, chosen in places.items()}
        return dataclasses.replace(self, **part)

    def _arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the known fields that hold numbers of pairs or layers, by name."""
        return {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}

    def effective_dimension(self, side: Literal["rows", "columns"] = "rows") -> NDArray[np.float64]:
        """Return how many dimensions each layer fills: its participation ratio, ``tr(Kc)² / ‖Kc‖²``.

        Kc is the centred Gram matrix. It is 1 for a layer on a line and p for p uncorrelated features of
        equal variance and many samples; at most n - 1.

        Parameters
        ----------
        side : {"rows", "columns"}
            Whose layers.

        Returns
        -------
        (La,) or (Lb,) ndarray
            nan for a layer that is not defined.

        Raises
        ------
        ValueError
            If `side` is neither, or the dimensions are not known (mini-batches, older files).

        References
        ----------
        Gao et al. 2017, A Theory of Multineuronal Dimensionality, Dynamics and Measurement.
        """
        if side not in ("rows", "columns"):
            raise ValueError(f"side: expected 'rows' or 'columns', got {side!r}")
        known = self.row_dimensions if side == "rows" else self.column_dimensions
        if known is None:
            raise ValueError("this comparison does not know the effective dimension of its layers")
        return known

    def confidence_interval(self, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lower and upper ends of the intervals of unbiased CKA, `unbiased`, for all pairs.

        ``unbiased -+ t * stderr``, as `CKATest.confidence_interval`, never cut to [0, 1].

        Parameters
        ----------
        level : float
            The fraction of all cases in which an interval should contain the true value.

        Returns
        -------
        two (La, Lb) ndarrays
            The lower ends, and the upper ends.

        Raises
        ------
        ValueError
            If the comparison was made without ``inference=True``, or `level` is not between 0 and 1.
        """
        if self.stderr is None or self.unbiased is None:
            raise ValueError(_NO_INFERENCE)
        reach = interval_reach(level, (self.n_groups or self.n_samples) - 1) * self.stderr
        return self.unbiased - reach, self.unbiased + reach

    def adjusted_pvalues(self, method: Literal["holm", "bh"] = "holm") -> NDArray[np.float64]:
        """Return p-values adjusted for the number of pairs, each of which counts once.

        Parameters
        ----------
        method : {"holm", "bh"}
            "holm" (Holm 1979): the chance that one or more of the pairs below a level are wrong is at most
            that level, however the pairs depend on each other. "bh" (Benjamini and Hochberg 1995): of the
            pairs below a level, at most that share is wrong on average, if the pairs are independent or
            positively dependent.

        Returns
        -------
        (La, Lb) ndarray

        Raises
        ------
        ValueError
            If there are no p-values, or `method` is neither.
        """
        if self.pvalues is None:
            raise ValueError(
                _NO_INFERENCE if self.stderr is None else "with groups there are no p-values: see cka_test"
            )
        return adjusted(self.pvalues, method, mirrored=self.rows == self.columns)

    @property
    def not_above_chance(self) -> NDArray[np.bool_] | None:
        """Which pairs print and figures mark: adjusted p-value ("bh") of 0.05 or more; None: not known."""
        if self.pvalues is None:
            return None
        marked: NDArray[np.bool_] = self.adjusted_pvalues("bh") >= LEVEL
        return marked

    def equals(self, other: object) -> bool:
        """Return whether `other` has the same values (nan equals nan), names and settings.

        Where they come from, `provenance`, may differ.

        Parameters
        ----------
        other : object
            Any object; False if it is not a comparison.
        """
        return (
            isinstance(other, Comparison)
            and {**self.settings(), "provenance": None} == {**other.settings(), "provenance": None}
            and self._arrays().keys() == other._arrays().keys()
            and all(np.array_equal(x, other._arrays()[name], True) for name, x in self._arrays().items())
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:  # as NumPy 1 always, which does not know the argument
            return np.asarray(self.values, dtype=dtype)
        return np.array(self.values, dtype=dtype, copy=copy)

    # What the matrix says -----------------------------------------------------------------------------------

    def best_matches(self) -> tuple[BestMatch, ...]:
        """Return, for each row layer, the column layer with the highest value.

        nan values are ignored; of equal values the first column wins. A row that is nan throughout
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

    def counterparts(self, by: Literal["name", "position"] = "name") -> tuple[str, ...]:
        """Return, for each row layer, the name of the column layer that is its counterpart.

        Parameters
        ----------
        by : {"name", "position"}
            A layer's counterpart is its namesake, wherever that stands, or the layer at the same position.

        Raises
        ------
        ValueError
            If a row layer has no namesake or, by position, the two sides have different numbers of layers.
        """
        if by == "position":
            if len(self.rows) == len(self.columns):
                return self.columns
            raise ValueError(
                f"by: layers have counterparts by position only when both networks have the same number of "
                f"them: {self.models[0]} has {len(self.rows)}, {self.models[1]} has {len(self.columns)}"
            )
        if by != "name":
            raise ValueError(f"by: expected 'name' or 'position', got {by!r}")
        columns = set(self.columns)
        if alone := [name for name in self.rows if name not in columns]:
            raise ValueError(
                f"{self.models[1]} has no layer {alone[0]!r}: of {count_layers(len(self.rows))} of "
                f"{self.models[0]}, {len(alone)} have no namesake; by='position' pairs layers in their order"
            )
        return self.rows

    def identification_accuracy(self, by: Literal["name", "position"] = "name") -> float:
        """Return the share of row layers whose best match is their own counterpart.

        The sanity check of Kornblith et al. (2019), section 6.1: of two networks of one architecture,
        trained from different seeds, each layer should be most similar to the same layer of the other.
        Matches are those of `best_matches`, counterparts those of `counterparts`; a row that is nan
        throughout counts as not identified. This looks from the rows to the columns. The paper averages
        over ordered pairs of networks, so over ``m`` and ``m.T``.

        Parameters
        ----------
        by : {"name", "position"}
            Which layers are counterparts.

        Raises
        ------
        ValueError
            As `counterparts` does.
        """
        pairs = zip(self.best_matches(), self.counterparts(by), strict=True)
        return float(np.mean([match.column == own for match, own in pairs]))

    @property
    def title(self) -> str:
        """What the numbers are, such as ``"CKA, linear"`` or ``"unbiased CKA, RBF(bandwidth=0.5)"``."""
        unbiased = "unbiased " if self.estimator == "unbiased" else ""
        return f"{unbiased}{self.measure_name}, {self.kernel}{self._unless_exact}"

    @property
    def measure_name(self) -> str:
        """The measure as figures and tables call it, such as ``"CKA"`` or ``"RSA (cosine)"``."""
        return MEASURES[self.measure]

    @property
    def _unless_exact(self) -> str:
        return "" if self.method == "exact" else f", {self.method}"

    def settings(self) -> dict[str, Any]:
        """Return everything but `arrays`, as what JSON can hold."""
        inference = {"pvalue_method": self.pvalue_method, "n_groups": self.n_groups}
        return {
            "rows": list(self.rows),
            "columns": list(self.columns),
            "kernel": self.kernel,
            "estimator": self.estimator,
            "n_samples": int(self.n_samples),
            "models": list(self.models),
            "warnings": list(self.warnings),
            "method": self.method,
            "measure": self.measure,
            **({} if self.stderr is None else inference),
            "provenance": plain(self.provenance),
        }


_EXCHANGED = {"rows": "columns", "columns": "rows"}
_NO_INFERENCE = "compare with inference=True to get standard errors and p-values"
