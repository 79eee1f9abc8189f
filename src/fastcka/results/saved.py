# SPDX-License-Identifier: BSD-3-Clause
"""The two file formats of a saved result: a header of plain settings, and numbers of pairs and layers.

``.npz`` holds the arrays by their names (``values``, ``chance``, ...) and the header as one JSON string,
``header``: no pickle, no compression, so that no file asks for more memory than it is long.
``.json`` holds the header with the arrays as lists (of rows), nan written as null; Python writes the shortest
decimal that reads back as the same float64, so both formats return the same bits.
The header carries a SHA-256 of everything else, so a file that was cut, altered or mistaken is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._files import atomic_write
from .._headers import Refused, check_format, checked_settings, new_header, refusing
from .comparison import ARRAYS

FORMAT_VERSION = 1

_Matrices = dict[str, NDArray[np.float64]]
_Result = TypeVar("_Result")


def write(path: str | os.PathLike[str], settings: dict[str, Any], matrices: _Matrices) -> None:
    """Write `settings` and `matrices` (fields of `ARRAYS`) to `path`, atomically, as its suffix says."""
    suffix = _suffix(path)
    header = new_header("CKAMatrix", FORMAT_VERSION, settings)
    header["sha256"] = _digest(header, matrices)
    with atomic_write(path) as file:
        if suffix == ".npz":
            np.savez(file, allow_pickle=False, header=np.array(json.dumps(header)), **matrices)
        else:
            lists = {name: _nullable(matrix) for name, matrix in matrices.items()}
            file.write(json.dumps({**header, **lists}, allow_nan=False).encode())


def read(path: str | os.PathLike[str], make: Callable[..., _Result]) -> _Result:
    """Return ``make(**settings, **matrices)`` from what `write` stored.

    Raises
    ------
    ValueError
        If the file is damaged, is not a saved CKAMatrix, or was written by a newer fastcka.
    """
    suffix = _suffix(path)
    with open(path, "rb") as file, refusing(path, f"a CKAMatrix saved as {suffix}"):
        header, matrices = _read_npz(file) if suffix == ".npz" else _read_json(file)
        return make(**checked_settings(header, _digest(header, matrices)), **matrices)


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".npz", ".json"):
        raise ValueError(f"path: expected a file name that ends in .npz or .json, got {os.fspath(path)!r}")
    return suffix


def _read_npz(file: BinaryIO) -> tuple[dict[str, Any], _Matrices]:
    with zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if not {"header", "values"} <= set(names):
            raise Refused(f"not a CKAMatrix saved by fastcka; it holds the arrays {names}")
        header = json.loads(str(_array(archive, "header", "U", ())))
        check_format(header, "CKAMatrix", FORMAT_VERSION)
        return header, {
            name: _array(archive, name, "f", _shape(name, header)) for name in ARRAYS if name in names
        }


def _array(archive: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read an array of this kind and shape, having checked that it takes no more memory than the file."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise Refused(f"not a CKAMatrix saved by fastcka; its {name} is compressed")
    file = io.BytesIO(archive.read(member))
    if np.lib.format.read_magic(file) != (1, 0):
        raise Refused(f"damaged: its {name} is no array that fastcka writes")
    found, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind != kind:
        raise Refused(f"not a CKAMatrix saved by fastcka; its {name} has dtype {dtype}")
    if found != shape or dtype.itemsize * math.prod(shape) != len(file.getbuffer()) - file.tell():
        raise Refused(f"damaged: its {name} has shape {found}, not {shape}, or another length than that")
    file.seek(0)
    return np.load(file, allow_pickle=False)  # type: ignore[no-any-return]


def _read_json(file: BinaryIO) -> tuple[dict[str, Any], _Matrices]:
    header = json.loads(file.read())
    if not isinstance(header, dict) or "values" not in header:
        raise Refused("not a CKAMatrix saved by fastcka; it is some other JSON document")
    check_format(header, "CKAMatrix", FORMAT_VERSION)
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
    digest = hashlib.sha256(
        json.dumps({k: v for k, v in header.items() if k != "sha256"}, sort_keys=True).encode()
    )
    for matrix in matrices.values():
        one_nan = np.where(np.isnan(matrix), np.nan, matrix)  # JSON keeps no nan bits
        digest.update(one_nan.astype("<f8").tobytes())
    return digest.hexdigest()
