# SPDX-License-Identifier: BSD-3-Clause
"""One layer of a store: an ordinary .npy file that grows in place.

The header has a fixed size and a fixed place for the number of rows, so rows are appended without moving
those before them. How many rows count is not decided here, but by the manifest: what follows them is the tail
of a batch that was not finished.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Array
from .._files import check_regular

# By the names that the manifest uses; NumPy has no bfloat16.
DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "bool": "?", "int8": "i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "uint8": "u1",
        "uint16": "<u2", "uint32": "<u4", "uint64": "<u8", "float16": "<f2", "float32": "<f4",
        "float64": "<f8", "bfloat16": "V2",
    }.items()
}  # fmt: skip

_HEADER = 128  # bytes before the data: enough for the longest header, and a multiple of 64 as NPY asks
_COUNT = 20  # characters that the number of rows has, spaces included: enough for any that fits into 64 bits


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a type, as in the manifest and in messages."""
    return "bfloat16" if dtype.kind == "V" else dtype.name


@dataclass(frozen=True)
class LayerFile:
    """A layer: its name, its file in the folder of the store, and what is in each row."""

    name: str
    file: str
    n_features: int
    dtype: np.dtype[Any]

    @classmethod
    def new(cls, index: int, name: str, array: Array) -> LayerFile:
        """Describe the layer that `array` is the first batch of.

        The number makes the file name unique, also where upper and lower case are not told apart; what
        follows it is for people.
        """
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80]
        dtype = DTYPES[dtype_name(array.dtype)]
        return cls(name, f"{index:04d}-{readable}.npy", array.shape[1], dtype)

    def create(self, folder: Path) -> None:
        """Make the file, with no rows."""
        with open(folder / self.file, "xb") as file:  # never emptied in place: a reader may have it mapped
            file.write(self._header(0))

    def write(self, folder: Path, n_rows: int, batch: Array) -> None:
        """Write `batch` after the first `n_rows` rows, overwriting what follows, and flush it to disk."""
        data = np.ascontiguousarray(batch)  # little-endian, as is every machine that the core is built for
        with open(folder / self.file, "r+b") as file:
            file.seek(self._size(n_rows))
            file.write(data.view(np.uint8).data)
            self._finish(file, n_rows + len(batch))

    def cut(self, folder: Path, n_rows: int) -> None:
        """Remove what follows the first `n_rows` rows."""
        with open(folder / self.file, "r+b") as file:
            self._finish(file, n_rows)

    def check(self, folder: Path, n_rows: int) -> None:
        """Check that the file is the one described here and has `n_rows` rows; more are no error.

        Raises
        ------
        ValueError
            That names the file and what is wrong.
        """
        path = folder / self.file
        try:
            check_regular(path)
            with open(path, "rb") as file:
                header, size = file.read(_HEADER), os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            raise ValueError(f"{path} is missing: the manifest has it as {self._words()}") from None
        if _without_count(header) != _without_count(self._header(0)):
            raise ValueError(f"{path} is {_what_is(path)}, not the file of {self._words()} that was written")
        if size < self._size(n_rows):
            raise ValueError(
                f"{path} is cut short: {n_rows} samples of {self._words()} end at byte {self._size(n_rows)}, "
                f"the file at {size}"
            )

    def mapped(self, folder: Path, n_rows: int) -> Array:
        """Return the first `n_rows` rows, memory-mapped and read-only."""
        self.check(folder, n_rows)
        shape = (n_rows, self.n_features)
        rows: np.memmap[Any, Any] = np.memmap(folder / self.file, self.dtype, "r", _HEADER, shape)
        return rows.view(np.ndarray)

    def _size(self, n_rows: int) -> int:
        return _HEADER + n_rows * self.n_features * self.dtype.itemsize

    def _finish(self, file: Any, n_rows: int) -> None:
        """Let the file end after `n_rows` rows, say so in its header, and bring it to the disk."""
        file.truncate(self._size(n_rows))
        file.seek(0)
        file.write(self._header(n_rows))
        file.flush()
        os.fsync(file.fileno())

    def _header(self, n_rows: int) -> bytes:
        text = (
            f"{{'descr': '{self.dtype.str}', 'fortran_order': False, "
            f"'shape': ({n_rows:{_COUNT}d}, {self.n_features}), }}"
        )
        prefix = b"\x93NUMPY\x01\x00" + struct.pack("<H", _HEADER - 10)
        return prefix + text.ljust(_HEADER - 11).encode() + b"\n"

    def _words(self) -> str:
        return f"layer {self.name!r} ({dtype_name(self.dtype)}, {self.n_features} features)"


def is_layer_file(name: str) -> bool:
    """Return whether a file is named as `LayerFile.new` names them."""
    return re.fullmatch(r"[0-9]{4,}-[A-Za-z0-9._-]*\.npy", name) is not None


def _without_count(header: bytes) -> tuple[bytes, bytes]:
    """Return the parts of a header that never change; a writer may be changing the rest at this moment."""
    before, found, after = header.partition(b"'shape': (")
    return before + found, after[_COUNT:]


def _what_is(path: Path) -> str:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return f"another array, {array.dtype} of shape {array.shape}"
    except Exception:  # any error of NumPy for a file that it cannot read
        return "no .npy file, or a damaged one"
