# SPDX-License-Identifier: BSD-3-Clause
"""A `Comparison` in other containers: pandas, xarray and CSV, each with the settings."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files import atomic_write

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import xarray
    from numpy.typing import NDArray

    from .comparison import Comparison


def to_pandas(matrix: Comparison, tidy: bool) -> pandas.DataFrame:
    """Return the DataFrame of `CKAMatrix.to_pandas`."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError('to_pandas() needs pandas: pip install "fastcka[io]"') from error
    if tidy:
        pairs = list(itertools.product(matrix.rows, matrix.columns))
        frame = pandas.DataFrame(
            {
                "model_a": matrix.models[0],
                "layer_a": [row for row, _ in pairs],
                "model_b": matrix.models[1],
                "layer_b": [column for _, column in pairs],
                matrix.measure: matrix.values.ravel(),
            }
        )
        for name, array in _beside(matrix).items():
            frame[{"pvalues": "pvalue", "zscores": "zscore"}.get(name, name)] = array.ravel()
    else:
        frame = pandas.DataFrame(
            matrix.values.copy(),
            index=pandas.Index(matrix.rows, name=matrix.models[0]),
            columns=pandas.Index(matrix.columns, name=matrix.models[1]),
        )
    frame.attrs.update(_without_names(matrix))
    return frame


def to_xarray(matrix: Comparison) -> xarray.DataArray:
    """Return the DataArray of `CKAMatrix.to_xarray`."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError('to_xarray() needs xarray: pip install "fastcka[io]"') from error
    dims = ("layer_a", "layer_b")
    coords: dict[str, Any] = dict(zip(dims, (list(matrix.rows), list(matrix.columns)), strict=True))
    coords.update(model_a=matrix.models[0], model_b=matrix.models[1])
    coords.update({name: (dims, array.copy()) for name, array in _beside(matrix).items()})
    attributes = {
        "kernel": matrix.kernel,
        "measure": matrix.measure,
        "estimator": matrix.estimator or "",
        "n_samples": matrix.n_samples,
        "method": matrix.method,
        "warnings": "\n".join(matrix.warnings),
        "provenance": json.dumps(matrix.settings()["provenance"]),
    }
    return xarray.DataArray(
        matrix.values.copy(), dims=dims, coords=coords, name=matrix.measure, attrs=attributes
    )


def models_to_pandas(
    matrix: Comparison, models: list[str], layers: list[str], tidy: bool
) -> pandas.DataFrame:
    """Return the DataFrame of `CKAModels.to_pandas`; the names are those of each row of the matrix."""
    frame = to_pandas(matrix, tidy)
    import pandas

    if tidy:
        size = len(layers)
        for side, spread in (("a", np.repeat), ("b", np.tile)):
            frame[f"model_{side}"], frame[f"layer_{side}"] = spread(models, size), spread(layers, size)
    else:
        names = pandas.MultiIndex.from_arrays([models, layers], names=["model", "layer"])
        frame = frame.set_axis(names, axis=0).set_axis(names, axis=1)
    del frame.attrs["models"]
    return frame


def models_to_xarray(matrix: Comparison, models: list[str], layers: list[str]) -> xarray.DataArray:
    """Return the DataArray of `CKAModels.to_xarray`."""
    array = to_xarray(matrix).drop_vars(["model_a", "model_b"])
    for side in "ab":
        own = {f"layer_{side}": layers, f"model_{side}": (f"layer_{side}", models)}
        array = array.assign_coords(own).set_xindex(f"model_{side}")
    return array


def to_csv(matrix: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the file of `CKAMatrix.to_csv`."""
    comments = _without_names(matrix)
    for name, array in _beside(matrix).items():
        comments[name] = [[None if v != v else v for v in row] for row in array.tolist()]
    text = io.StringIO()
    for name, value in comments.items():
        print(f"# {name}: {json.dumps(value)}", file=text)
    table = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    table.writerow(["", *matrix.columns])
    table.writerows([name, *line] for name, line in zip(matrix.rows, matrix.values.tolist(), strict=True))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))


def _beside(matrix: Comparison) -> dict[str, NDArray[np.float64]]:
    """Return what is known of each pair beside its value."""
    return {name: array for name, array in matrix._arrays().items() if array.ndim == 2 and name != "values"}


def _without_names(matrix: Comparison) -> dict[str, Any]:
    return {name: value for name, value in matrix.settings().items() if name not in ("rows", "columns")}
