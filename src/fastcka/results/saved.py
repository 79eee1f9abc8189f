# SPDX-License-Identifier: BSD-3-Clause
"""The two file formats of a saved result: a header of plain settings, and numbers of pairs and layers.

``.npz`` holds the arrays by their names (``values``, ``chance``, ...) and the header as one JSON string,
``header``: no pickle, no compression, so that no file asks for more memory than it is long.
``.json`` holds the header with the arrays as lists (of rows), nan written as null; Python writes the shortest
decimal that reads back as the same float64, so both formats return the same bits.
The header carries a SHA-256 of everything else, so a file that was cut, altered or mistaken is refused.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _archive
from .._files import atomic_write, checked_suffix
from .._headers import Refused, check_format, checked_settings, digest, new_header, parsed, refusing
from .comparison import ARRAYS

FORMAT_VERSION = 1
SUFFIXES = (".npz", ".json")

_Matrices = dict[str, NDArray[np.float64]]
_Result = TypeVar("_Result")


def write(path: str | os.PathLike[str], kind: str, settings: dict[str, Any], matrices: _Matrices) -> None:
    """Write a result to `path`, atomically, in the format of its suffix.

    `kind` is its class, `matrices` are fields of `ARRAYS`, and `settings` has the names of their layers.
    """
    suffix = checked_suffix(path, *SUFFIXES)
    header = new_header(kind, FORMAT_VERSION, settings)
    header["sha256"] = _digest(header, matrices)
    if suffix == ".npz":
        _archive.write(path, header, matrices)
        return
    lists = {name: _nullable(matrix) for name, matrix in matrices.items()}
    with atomic_write(path) as file:
        file.write(json.dumps({**header, **lists}, allow_nan=False).encode())


def read(path: str | os.PathLike[str], kind: str, make: Callable[..., _Result]) -> _Result:
    """Return ``make(**settings, **matrices)`` from what `write` stored.

    Raises
    ------
    ValueError
        If the file is damaged, is not a saved `kind`, or was written by a newer fastcka.
    """
    suffix = checked_suffix(path, *SUFFIXES)
    with open(path, "rb") as file, refusing(path, f"a {kind} saved as {suffix}"):
        header, matrices = _read_npz(file, kind) if suffix == ".npz" else _read_json(file, kind)
        return make(**checked_settings(header, _digest(header, matrices)), **matrices)


def kind_of(path: str | os.PathLike[str]) -> str:
    """Return the class of the result that `write` stored, as its header says.

    Raises
    ------
    ValueError
        If the file is damaged, or no result.
    """
    suffix = checked_suffix(path, *SUFFIXES)
    with open(path, "rb") as file, refusing(path, f"a result saved as {suffix}"):
        header = _archive.header_of(file) if suffix == ".npz" else parsed(file.read())
        return str(header["format"]).removeprefix("fastcka.")


def _read_npz(file: BinaryIO, kind: str) -> tuple[dict[str, Any], _Matrices]:
    header, matrices = _archive.read(file, kind, FORMAT_VERSION)
    for name, matrix in matrices.items():
        if name not in ARRAYS or matrix.dtype != np.float64:
            raise Refused(f"not a {kind} saved by fastcka; it holds {name} of dtype {matrix.dtype}")
        if matrix.shape != (shape := _shape(name, header)):
            raise Refused(f"damaged: its {name} has shape {matrix.shape}, not {shape}")
    return header, matrices


def _read_json(file: BinaryIO, kind: str) -> tuple[dict[str, Any], _Matrices]:
    header = parsed(file.read())
    if "values" not in header:
        raise Refused(f"not a {kind} saved by fastcka; it is some other JSON document")
    check_format(header, kind, FORMAT_VERSION)
    lists = {name: header.pop(name) for name in ARRAYS if name in header}
    return header, {
        name: np.array(rows, dtype=np.float64).reshape(_shape(name, header)) for name, rows in lists.items()
    }


def _shape(name: str, header: dict[str, Any]) -> tuple[int, ...]:
    return tuple(len(header[side]) for side in ARRAYS[name])


def _nullable(array: NDArray[np.float64]) -> list[Any]:
    def plain(value: Any) -> Any:
        return [plain(v) for v in value] if isinstance(value, list) else None if math.isnan(value) else value

    lists: list[Any] = plain(array.tolist())
    return lists


def _digest(header: dict[str, Any], matrices: _Matrices) -> str:
    one_nan = (np.where(np.isnan(matrix), np.nan, matrix) for matrix in matrices.values())  # as JSON keeps it
    return digest(header, (matrix.astype("<f8").tobytes() for matrix in one_nan))
