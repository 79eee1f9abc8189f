# SPDX-License-Identifier: BSD-3-Clause
"""Which samples the rows of an input are: its index, where it has one, compared between all inputs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def check_same_samples(inputs: Iterable[tuple[str, object]]) -> Sequence[Any] | None:
    """Check that inputs that know their samples have the same ones, in the same order; return these.

    Parameters
    ----------
    inputs : iterable of (label, object)
        pandas and xarray objects have an index, stores their `ids`; all others know nothing. A default
        RangeIndex counts only beside an index of the same set of labels.

    Returns
    -------
    sequence or None
        The ids of the samples; None where no input knows them.

    Raises
    ------
    ValueError
        With the first difference, and how to align.
    """
    known: list[tuple[str, Any]] = []
    defaults: list[tuple[str, Any]] = []
    for label, given in inputs:
        index = _index(given)
        if index is not None:
            (defaults if _is_default(index) else known).append((label, index))
    if not known:
        return None
    first, reference = known[0]
    for label, index in known[1:]:
        _compare(first, reference, label, index)
    for label, index in defaults:
        if len(index) == len(reference) and set(index) == set(reference):
            _compare(first, reference, label, index)
    return reference  # type: ignore[no-any-return]


def _index(given: object) -> Any:
    """Return the index of the rows: of pandas, xarray or a store; None where there is none."""
    if type(given) is np.ndarray:
        return None
    pandas = sys.modules.get("pandas")  # whoever passes a frame has imported it
    if pandas is not None and isinstance(given, pandas.DataFrame | pandas.Series):
        return given.index
    xarray = sys.modules.get("xarray")
    if xarray is not None and isinstance(given, xarray.DataArray):
        return given.indexes.get(given.dims[0]) if given.dims else None
    ids = getattr(given, "ids", None)
    return ids if isinstance(ids, Sequence) else None  # else a layer of that name, say


def _is_default(index: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(index, pandas.RangeIndex) and (index.start, index.step) == (0, 1)


def _compare(first: str, a: Any, second: str, b: Any) -> None:
    if a is b or (hasattr(a, "equals") and a.equals(b)):
        return
    here, there = list(a), list(b)
    if here == there:
        return
    shared = min(len(here), len(there))
    row = next((i for i in range(shared) if here[i] != there[i]), shared)
    if row == shared:
        longer, shorter = (first, second) if len(here) > shared else (second, first)
        more = max(here, there, key=len)[shared]
        difference = f"{longer} has more than the {shared} samples of {shorter}, from {more!r} on"
    else:
        difference = f"sample {row} is {here[row]!r} in {first} and {there[row]!r} in {second}"
    common = len(set(here) & set(there))
    if len(here) == len(there) == common:
        advice = "these are the same samples in another order: sort them into one order"
    else:
        advice = (
            f"{common} ids are in both, of {len(here)} and {len(there)}: "
            f"all layers must hold the same samples, in the same order"
        )
    if hasattr(a, "intersection") and hasattr(b, "intersection"):
        advice += "; frames are aligned by b.loc[a.index] or b.reindex(a.index), xarray by xarray.align(a, b)"
    raise ValueError(f"{first} and {second} hold different samples: {difference}; {advice}")
