# SPDX-License-Identifier: BSD-3-Clause
"""The values and settings of a comparison, and what can be read from them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import operator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, Self, overload

import numpy as np

from .labels import count_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray


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
    chance: NDArray[np.float64] | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    if TYPE_CHECKING:  # what it takes, where that is more than what it keeps

        def __init__(
            self,
            values: ArrayLike,
            rows: Sequence[str],
            columns: Sequence[str],
            kernel: str,
            estimator: str,
            n_samples: int,
            models: tuple[str, str] = ("A", "B"),
            warnings: Sequence[str] = (),
            method: str = "exact",
            chance: ArrayLike | None = None,
            provenance: Mapping[str, Any] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        change = partial(object.__setattr__, self)
        for field in ("rows", "columns", "models", "warnings"):
            texts = tuple(getattr(self, field))
            if not all(isinstance(text, str) for text in texts):
                raise TypeError(f"{field}: expected strings, got {texts!r}")
            change(field, texts)
        for field in ("kernel", "estimator", "method"):
            if not isinstance(getattr(self, field), str):
                raise TypeError(f"{field}: expected a string, got {getattr(self, field)!r}")
        if len(self.models) != 2:
            raise ValueError(f"models: expected two names (of rows, of columns), got {self.models!r}")
        change("n_samples", operator.index(self.n_samples))
        if self.n_samples < 0:
            raise ValueError(f"n_samples: expected a number of samples, got {self.n_samples}")
        change("values", self._checked("values", self.values))
        if self.chance is not None:
            change("chance", self._checked("chance", self.chance))
        try:
            plain = _plain(self.provenance)
        except (TypeError, ValueError) as error:
            raise TypeError(f"provenance: expected what JSON can hold ({error})") from error
        change("provenance", _frozen(plain))

    @property
    def beside(self) -> NDArray[np.float64] | None:
        """What print and figures write beside the values: the chance level, unless it is zero everywhere."""
        known = self.chance is not None and bool(np.any(np.nan_to_num(self.chance)))
        return self.chance if known else None

    def _checked(self, what: str, numbers: ArrayLike) -> NDArray[np.float64]:
        """Return a read-only copy of (La, Lb) numbers."""
        array = np.asarray(numbers)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{what}: expected real numbers, got dtype {array.dtype}")
        if array.shape != self.shape:
            raise ValueError(
                f"{what}: expected shape {self.shape}, from the numbers of row and column names, "
                f"got {array.shape}"
            )
        copied = np.array(array, dtype=np.float64, order="C")
        copied.flags.writeable = False
        return copied

    def __reduce__(self) -> tuple[Any, ...]:  # a copy in another process is as immutable
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return partial(type(self), **{**fields, "provenance": _plain(self.provenance)}), ()

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of row and column layers."""
        return len(self.rows), len(self.columns)

    def with_models(self, row_model: str, column_model: str) -> Self:
        """Return a copy whose axes carry these names of the two networks."""
        return dataclasses.replace(self, models=(row_model, column_model))

    @property
    def T(self) -> Self:
        """The same comparison with rows and columns exchanged."""
        return dataclasses.replace(
            self,
            values=self.values.T,
            chance=None if self.chance is None else self.chance.T,
            rows=self.columns,
            columns=self.rows,
            models=self.models[::-1],
            provenance={_EXCHANGED.get(key, key): value for key, value in self.provenance.items()},
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
            raise TypeError(f"expected two names, as in m['conv1', 'fc'], got {names!r}; {_BY_POSITION}")
        rows = _positions(names[0], self.rows, self.models[0])
        columns = _positions(names[1], self.columns, self.models[1])
        if all(isinstance(name, str) for name in names):
            return float(self.values[rows[0], columns[0]])
        return self.part(rows, columns)

    def part(self, rows: Sequence[int], columns: Sequence[int]) -> Self:
        """Return the part of the matrix for these positions of rows and columns."""
        part = np.ix_(rows, columns)
        return dataclasses.replace(
            self,
            values=self.values[part],
            chance=None if self.chance is None else self.chance[part],
            rows=tuple(self.rows[i] for i in rows),
            columns=tuple(self.columns[j] for j in columns),
        )

    def equals(self, other: object) -> bool:
        """Return whether `other` has the same values (nan equals nan), names and settings.

        Where they come from, `provenance`, may differ.
        """
        return (
            isinstance(other, Comparison)
            and {**self.settings(), "provenance": None} == {**other.settings(), "provenance": None}
            and np.array_equal(self.values, other.values, equal_nan=True)
            and (self.chance is None) == (other.chance is None)
            and (
                self.chance is None
                or other.chance is None
                or np.array_equal(self.chance, other.chance, equal_nan=True)
            )
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
        return f"{unbiased}CKA, {self.kernel}{self._unless_exact}"

    @property
    def _unless_exact(self) -> str:
        return "" if self.method == "exact" else f", {self.method}"

    def matrices(self) -> dict[str, NDArray[np.float64]]:
        """Return `values`, and `chance` where it is known, by name."""
        return (
            {"values": self.values} if self.chance is None else {"values": self.values, "chance": self.chance}
        )

    def settings(self) -> dict[str, Any]:
        """Return everything but `values` and `chance`, as what JSON can hold."""
        return {
            "rows": list(self.rows),
            "columns": list(self.columns),
            "kernel": self.kernel,
            "estimator": self.estimator,
            "n_samples": int(self.n_samples),
            "models": list(self.models),
            "warnings": list(self.warnings),
            "method": self.method,
            "provenance": _plain(self.provenance),
        }


_EXCHANGED = {"rows": "columns", "columns": "rows"}


def _plain(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in the types of JSON."""
    copied: dict[str, Any] = json.loads(json.dumps(dict(provenance), allow_nan=False))
    return copied


class _Frozen(dict[str, Any]):
    """A dict that cannot be changed; unlike a MappingProxyType, it prints and dumps as JSON like any."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("provenance cannot be changed; dict(m.provenance) is a copy")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


def _frozen(value: Any) -> Any:
    """Return what JSON gave in types that cannot be changed."""
    if isinstance(value, dict):
        return _Frozen({key: _frozen(item) for key, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


_BY_POSITION = "layers are chosen by name, list of names or ':', and by position in .values"


def _positions(chosen: object, names: tuple[str, ...], model: str) -> list[int]:
    if isinstance(chosen, str):
        chosen = [chosen]
    if isinstance(chosen, slice) and chosen == slice(None):
        return list(range(len(names)))
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise TypeError(f"{chosen!r} is no name of a layer: {_BY_POSITION}")
    if not chosen:
        raise ValueError("expected at least one layer, got an empty list of names")
    return [position(name, names, model) for name in chosen]


def position(name: str, names: tuple[str, ...], model: str) -> int:
    """Return where the layer `name` of `model` stands; unknown, it is a KeyError with similar names."""
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names) or [*names[:5], "..."]
    raise KeyError(f"{model} has no layer {name!r}; did you mean one of {', '.join(near)}?")
