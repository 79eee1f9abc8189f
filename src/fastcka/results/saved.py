# SPDX-License-Identifier: BSD-3-Clause
"""The two file formats of a saved result: a header of plain settings and one float64 matrix.

``.npz`` holds the matrix as ``values`` and the header as one JSON string, ``header``: no pickle.
``.json`` holds the header with the matrix as ``values``, a list of rows, nan written as null; Python writes
the shortest decimal that reads back as the same float64, so both formats return the same bits.
The header carries a SHA-256 of everything else, so a file that was cut, altered or mistaken is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import atomic_write
from .._headers import Refused, check_format, checked_settings, new_header, refusing

FORMAT_VERSION = 1


def write(path: str | os.PathLike[str], settings: dict[str, Any], values: NDArray[np.float64]) -> None:
    """Write `settings` and `values` (La, Lb) to `path`, atomically, in the format of its suffix."""
    suffix = _suffix(path)
    header = new_header("CKAMatrix", FORMAT_VERSION, settings)
    header["sha256"] = _digest(header, values)
    with atomic_write(path) as file:
        if suffix == ".npz":
            np.savez(file, header=np.array(json.dumps(header)), values=values)
        else:
            rows = [[None if math.isnan(v) else v for v in row] for row in values.tolist()]
            file.write(json.dumps({**header, "values": rows}, allow_nan=False).encode())


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Return the settings and values that `write` stored.

    Raises
    ------
    ValueError
        If the file is damaged, is not a saved CKAMatrix, or was written by a newer fastcka.
    """
    suffix = _suffix(path)
    content = Path(path).read_bytes()
    with refusing(path, f"a CKAMatrix saved as {suffix}"):
        header, values = _read_npz(content) if suffix == ".npz" else _read_json(content)
        check_format(header, "CKAMatrix", FORMAT_VERSION)
        return checked_settings(header, _digest(header, values)), values


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".npz", ".json"):
        raise ValueError(f"path: expected a file name that ends in .npz or .json, got {os.fspath(path)!r}")
    return suffix


def _read_npz(content: bytes) -> tuple[dict[str, Any], NDArray[np.float64]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if (member := archive.testzip()) is not None:
            raise Refused(f"damaged: the check sum of {member} does not match")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if not {"header", "values"} <= set(arrays.files):
            raise Refused(f"not a CKAMatrix saved by fastcka; it holds the arrays {arrays.files}")
        return json.loads(str(arrays["header"])), arrays["values"]


def _read_json(content: bytes) -> tuple[dict[str, Any], NDArray[np.float64]]:
    header = json.loads(content)
    if not isinstance(header, dict) or "values" not in header:
        raise Refused("not a CKAMatrix saved by fastcka; it is some other JSON document")
    rows = header.pop("values")
    return header, np.array([[math.nan if v is None else v for v in row] for row in rows], dtype=np.float64)


def _digest(header: dict[str, Any], values: NDArray[np.float64]) -> str:
    numbers = np.where(np.isnan(values), np.nan, values).astype("<f8")  # one nan: JSON keeps no nan bits
    text = json.dumps({k: v for k, v in header.items() if k != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode() + numbers.tobytes()).hexdigest()
