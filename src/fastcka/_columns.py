# SPDX-License-Identifier: BSD-3-Clause
"""The columns of a table as layers of one feature each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ._arrays import ArrayLike


def columns(table: ArrayLike) -> dict[str, ArrayLike]:
    """Return the columns of a table as layers of one feature each, for all pairs of variables in one call.

    ``fastcka.cka_matrix(fastcka.columns(frame), kernel="distance")`` is the squared distance correlation of
    every variable with every other (Székely, Rizzo and Bakirov 2007); ``estimator="unbiased"`` gives the
    bias-corrected one. With the linear kernel, the value is the squared Pearson correlation.

    Parameters
    ----------
    table : (n_samples, n_variables) DataFrame or array_like
        pandas, polars, xarray, NumPy, torch and any type that supports ``table[:, 1:2]``. Nothing is copied,
        and each column keeps its dtype and the index of the samples.

    Returns
    -------
    dict of str to (n_samples, 1) array_like
        By the names of the columns, or "0", "1", ... if they have none.

    Raises
    ------
    ValueError
        When the table does not have two dimensions, has no columns, or has two columns of the same name.

    See Also
    --------
    cka_matrix : Compares them; non-numeric columns and missing values raise an error that names the column.

    Notes
    -----
    The work grows with the square of the number of samples for any number of columns. For few variables and
    many samples, the n log n algorithms for single variables in the package dcor are faster.

    Examples
    --------
    >>> import numpy as np, fastcka
    >>> x = np.linspace(-1, 1, 200)
    >>> table = np.column_stack([x, x**2, np.sin(40 * x)])
    >>> matrix = fastcka.cka_matrix(fastcka.columns(table), kernel="distance")
    >>> round(matrix["0", "1"], 3), round(fastcka.cka_matrix(fastcka.columns(table))["0", "1"], 3)
    (0.242, 0.0)
    """
    names, column = _reader(table)
    found: dict[str, ArrayLike] = {}
    for j, name in enumerate(names):
        if str(name) in found:
            raise ValueError(f"table has two columns of the same name: {str(name)!r}; name them apart")
        found[str(name)] = column(j)
    if not found:
        raise ValueError("table has no columns")
    return found


def _reader(table: Any) -> tuple[Iterable[Any], Callable[[int], ArrayLike]]:
    """Return the names of the columns, and a function that returns column j as a table."""
    if not hasattr(table, "shape"):
        table = np.asarray(table)
    if len(table.shape) != 2:
        raise ValueError(
            f"table must be two-dimensional, (n_samples, n_variables), got shape {tuple(table.shape)}"
        )
    xarray = sys.modules.get("xarray")  # whoever passes one has imported it
    if xarray is not None and isinstance(table, xarray.DataArray):
        names = table.indexes.get(table.dims[1], range(table.shape[1]))
    else:
        names = getattr(table, "columns", range(table.shape[1]))
    by_position = getattr(table, "iloc", table)
    return names, lambda j: by_position[:, j : j + 1]
