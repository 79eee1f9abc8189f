# SPDX-License-Identifier: BSD-3-Clause
"""The file of a saved stream: one ``.npz`` with the arrays of its state and a header, without pickle.

The header is one JSON string, ``header``: the settings of the stream, and a SHA-256 of them and all arrays.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._arrays import Array
from ._files import atomic_write
from ._headers import Refused, check_format, checked_settings, new_header, refusing

FORMAT_VERSION = 1


def write(path: str | os.PathLike[str], settings: dict[str, Any], state: Mapping[str, Array]) -> None:
    """Write settings and state to `path`, atomically."""
    _check_suffix(path)
    header = new_header("StreamingCKA", FORMAT_VERSION, settings)
    header["sha256"] = _digest(header, state)
    with atomic_write(path) as file:
        np.savez(file, header=np.array(json.dumps(header)), **dict[str, Any](state))


def read(
    path: str | os.PathLike[str], accept: Callable[[dict[str, Any]], object]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the settings and the state that `write` stored.

    ``accept(settings)`` is called before the state, which may be large, is read, and may raise MemoryError.

    Raises
    ------
    ValueError
        If the file is damaged, is not a saved StreamingCKA, or was written by a newer fastcka.
    """
    _check_suffix(path)
    with open(path, "rb") as file, refusing(path, "a StreamingCKA saved as .npz"):
        with zipfile.ZipFile(file) as archive:
            # Its check sums first, so that no damaged length is believed.
            if (member := archive.testzip()) is not None:
                raise Refused(f"damaged: the check sum of {member} does not match")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            if "header" not in arrays.files:
                raise Refused(f"not a StreamingCKA saved by fastcka; it holds the arrays {arrays.files}")
            header = json.loads(str(arrays["header"]))
            check_format(header, "StreamingCKA", FORMAT_VERSION)
            accept(header)
            state = {name: arrays[name] for name in arrays.files if name != "header"}
        return checked_settings(header, _digest(header, state)), state


def _check_suffix(path: str | os.PathLike[str]) -> None:
    if Path(path).suffix.lower() != ".npz":
        raise ValueError(f"path: expected a file name that ends in .npz, got {os.fspath(path)!r}")


def _digest(header: Mapping[str, Any], state: Mapping[str, Array]) -> str:
    text = json.dumps({key: value for key, value in header.items() if key != "sha256"}, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for name in sorted(state):
        array = np.ascontiguousarray(state[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()
