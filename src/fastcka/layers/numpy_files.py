# SPDX-License-Identifier: BSD-3-Clause
"""NumPy's own formats: .npy files, directories of them, shards, .npz."""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._arrays import Array
from .stored import Bytes, Found, Rows, StoredLayer, check_numbers, mapped, natural, reading, view


def open_npy(path: Path) -> Found:
    """Open the one array of an .npy file."""
    with reading(path), open(path, "rb") as file:
        array = _npy(file, mapped(path))
    return {path.stem: array}


def open_directory(path: Path) -> Found:
    """Open the .npy files and the folders of shards of a directory."""
    opened: dict[str, Array | StoredLayer] = {}
    for file in path.glob("*.npy"):
        opened.update(open_npy(file))
    for folder in path.iterdir():
        if folder.is_dir() and (files := _shards(folder)):
            if folder.name in opened:
                raise ValueError(
                    f"{path} has layer {folder.name!r} twice: as a file and as a folder of shards"
                )
            opened[folder.name] = _joined(folder, files)
    if not opened:
        raise ValueError(f"{path} is a directory without .npy files or folders of shards, and no zarr group")
    return {name: opened[name] for name in natural(opened)}


# Other numbered files, layer1.npy, layer2.npy, are layers: joining those would be silently wrong.
_SHARD = re.compile(r"(.*(?:batch|shard|part|chunk)[-_]?)(\d+)\.npy")


def _shards(folder: Path) -> list[Path]:
    """Return the files of one layer in order: none may be missing, since all later samples would shift."""
    names = natural(file.name for file in folder.glob("*.npy"))
    numbers = [_SHARD.fullmatch(name) for name in names]
    if not any(numbers):
        return []
    for i, (name, number) in enumerate(zip(names, numbers, strict=True)):
        before = numbers[i - 1] if i else None
        if number is None or (before and number[1] != before[1]):
            raise ValueError(f"{folder} holds other .npy files than one series of shards, such as {name}")
        if before and int(number[2]) != int(before[2]) + 1:
            raise ValueError(f"{folder} lacks shards between {names[i - 1]} and {name}, or has one twice")
    return [folder / name for name in names]


def _joined(folder: Path, files: list[Path]) -> Array | StoredLayer:
    parts: list[Array] = []
    for file in files:
        with reading(file), open(file, "rb") as opened:
            parts.append(_npy(opened, mapped(file)))
        first, last = parts[0], parts[-1]
        if not last.ndim or last.shape[1:] != first.shape[1:] or last.dtype != first.dtype:
            raise ValueError(
                f"{file} cannot be joined with {files[0].name}: its shape is {last.shape} of {last.dtype}, "
                f"that of the first {first.shape} of {first.dtype}"
            )
    return parts[0] if len(parts) == 1 else _Shards(folder, files, parts)


class _Shards(StoredLayer):
    """Mapped arrays, one after the other."""

    def __init__(self, folder: Path, files: list[Path], parts: list[Array]) -> None:
        self._files, self._parts = files, parts
        self._ends = np.cumsum([len(part) for part in parts])
        super().__init__(folder, folder.name, (int(self._ends[-1]), *parts[0].shape[1:]), parts[0].dtype)

    def _state(self) -> tuple[int, ...]:
        return tuple(file.stat().st_size for file in self._files)

    def _open(self) -> Rows:
        return _RowsOf(self._rows)

    def _rows(self, first: int, last: int) -> Array:
        begins = [0, *self._ends.tolist()]
        parts = [
            part[max(first - begin, 0) : last - begin]
            for part, begin in zip(self._parts, begins, strict=False)
            if begin < last and begin + len(part) > first
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [self._parts[0][:0]])


class _RowsOf:
    """A function as `Rows` that need no file to be open."""

    def __init__(self, rows: Callable[[int, int], Array]) -> None:
        self._rows = rows

    def __call__(self, first: int, last: int) -> Array:
        return self._rows(first, last)

    def close(self) -> None:
        pass


def open_npz(path: Path) -> Found:
    """Open the members of an .npz file."""
    import zipfile  # here, as json below: most who import fastcka do without

    opened: dict[str, Array | StoredLayer] = {}
    with reading(path), zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        data = mapped(path)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                continue  # no array: some programs add a text file
            if member.compress_type == zipfile.ZIP_STORED:
                with reading(path, name):
                    # Before the array lies a local header: 30 bytes, the member's name, an extra field.
                    file.seek(member.header_offset + 26)
                    file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
                    opened[name] = _npy(file, data)
            else:
                with reading(path, name), archive.open(member) as compressed:
                    shape, fortran_order, dtype = _header(compressed)
                    check_numbers(dtype)
                opened[name] = _Compressed(path, name, shape, dtype, fortran_order)
    return opened


class _Compressed(StoredLayer):
    """A compressed member of an .npz file."""

    def __init__(
        self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], fortran_order: bool
    ) -> None:
        super().__init__(path, name, shape, dtype)
        self._transposed = fortran_order and len(shape) > 1

    def _open(self) -> Rows:
        if self._transposed:
            return _RowsOf(self._columns)
        return _Stream(self.path, self.name, self.shape, self.dtype)

    def _columns(self, first: int, last: int) -> Array:
        """Read rows of an array that is stored column by column, for which all of it is read."""
        with np.load(self.path, allow_pickle=False) as archive:
            array: Array = archive[self.name]
        return array[first:last]


class _Stream:
    """Rows of a compressed member: reading forwards continues the stream, reading backwards restarts it."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        import zipfile

        self._archive = zipfile.ZipFile(path)
        self._name, self._shape, self._dtype = f"{name}.npy", shape, dtype
        self._row_bytes = dtype.itemsize * math.prod(shape[1:])
        self._member: Any = None
        self._at = 0  # row

    def __call__(self, first: int, last: int) -> Array:
        if self._member is None or first < self._at:
            self._leave()
            self._member = self._archive.open(self._name)
            _header(self._member)
        rows = np.empty((last - first, *self._shape[1:]), self._dtype)
        self._skip((first - self._at) * self._row_bytes)
        self._fill(rows.reshape(-1).view(np.uint8).data)
        self._at = last
        if last == self._shape[0] and self._member.read(1):  # reads the checksum, too
            raise ValueError("there is more than the array")
        return rows

    def _skip(self, n_bytes: int) -> None:
        while n_bytes > 0:
            passed = len(self._member.read(min(n_bytes, 1 << 20)))
            if not passed:
                raise ValueError("cut short")
            n_bytes -= passed

    def _fill(self, out: memoryview) -> None:
        while out:
            read = self._member.readinto(out[: 1 << 20])
            if not read:
                raise ValueError("cut short")
            out = out[read:]

    def _leave(self) -> None:
        if self._member is not None:
            self._member.close()
        self._member, self._at = None, 0

    def close(self) -> None:
        self._leave()
        self._archive.close()


def _npy(file: BinaryIO, data: Bytes) -> Array:
    """Return the array in NPY format that begins where `file` stands, as a view of the same file mapped."""
    shape, fortran_order, dtype = _header(file)
    return view(data, file.tell(), shape, dtype, "F" if fortran_order else "C")


_LONGEST_HEADER = 10_000  # bytes, as for NumPy, which looks only after it has read them


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an array in NPY format: its shape, whether it is in Fortran order, its dtype."""
    size, read_header = {
        (1, 0): (2, np.lib.format.read_array_header_1_0),
        (2, 0): (4, np.lib.format.read_array_header_2_0),
    }.get(np.lib.format.read_magic(file), (0, None))
    if read_header is None:
        raise ValueError("records with field names, not an array of numbers")  # what NPY version 3 is for
    if (length := int.from_bytes(file.read(size), "little")) > _LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes, more than the {_LONGEST_HEADER} that an array has")
    file.seek(-size, os.SEEK_CUR)
    shape, fortran_order, dtype = read_header(file)
    return shape, fortran_order, dtype
