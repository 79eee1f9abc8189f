# SPDX-License-Identifier: BSD-3-Clause
"""HDF5 and zarr: chunks, which are read when their rows are asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Array
from .stored import Bytes, Found, Rows, StoredLayer, imported, mapped, natural, reading, view


def open_hdf5(path: Path) -> Found:
    """Open the datasets of an HDF5 file."""
    h5py = imported("h5py", path)
    found: dict[str, Array | StoredLayer] = {}
    with reading(path), h5py.File(path, "r") as file:
        data, names = mapped(path), list[str]()
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in natural(names):
            with reading(path, name):
                found[name] = _dataset(path, name, file[name], data)
    return found


def _dataset(path: Path, name: str, dataset: Any, data: Bytes) -> Array | StoredLayer:
    shape, dtype = dataset.shape or (), dataset.dtype
    offset = dataset.id.get_offset()  # None unless the values lie in one piece in this file
    if offset is None or dtype.hasobject or dataset.file.userblock_size:
        return _Dataset(path, name, shape, dtype)
    return view(data, offset, shape, dtype)


class _Dataset(StoredLayer):
    """A dataset of an HDF5 file."""

    def _open(self) -> Rows:
        return _OpenDataset(imported("h5py", self.path).File(self.path, "r"), self.name)


class _OpenDataset:
    def __init__(self, file: Any, name: str) -> None:
        self._file, self._dataset = file, file[name]

    def __call__(self, first: int, last: int) -> Array:
        return np.asarray(self._dataset[first:last] if self._dataset.ndim else self._dataset[()])

    def close(self) -> None:
        self._file.close()


def open_zarr(path: Path) -> Found:
    """Open the arrays of a zarr group, or a single one."""
    zarr = imported("zarr", path)
    with reading(path):
        root = zarr.open(path, mode="r")
        if isinstance(root, zarr.Array):
            return {path.stem: _Chunks(path, path.stem, root, path)}
        arrays = {name: item for name, item in root.members(max_depth=None) if isinstance(item, zarr.Array)}
    return {name: _Chunks(path, name, arrays[name], path / name) for name in natural(arrays)}


class _Chunks(StoredLayer):
    """A zarr array. Its chunks are files of their own: only another shape or type is noticed."""

    def __init__(self, path: Path, name: str, array: Any, folder: Path) -> None:
        self._array, self._folder = array, folder
        super().__init__(path, name, tuple(array.shape), np.dtype(array.dtype))

    def _state(self) -> tuple[int, ...]:
        described = next(file for file in ("zarr.json", ".zarray") if (self._folder / file).exists())
        state = os.stat(self._folder / described)
        return state.st_ino, state.st_size, state.st_mtime_ns

    def _open(self) -> Rows:
        return _OpenChunks(self._array)


class _OpenChunks:
    def __init__(self, array: Any) -> None:
        self._array = array

    def __call__(self, first: int, last: int) -> Array:
        return np.asarray(self._array[first:last] if self._array.ndim else self._array[...])

    def close(self) -> None:
        pass
