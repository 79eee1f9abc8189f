# SPDX-License-Identifier: BSD-3-Clause
"""Layers of files: mapped where their values lie in one piece, else read some rows at a time."""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from .._arrays import Array
from .._sources import Unreadable

Bytes: TypeAlias = np.memmap[Any, np.dtype[np.uint8]]


class Rows(Protocol):
    """Open files, from which consecutive rows are read."""

    def __call__(self, first: int, last: int) -> Array:
        """Return rows [first, last) as an array."""

    def close(self) -> None:
        """Close the files."""


class StoredLayer(ABC):
    """A layer of a file that cannot be mapped: rows are read on demand.

    :func:`fastcka.open_layers` returns it for chunked and compressed data. It has a shape, a dtype and rows,
    ``layer[100:200]``; :func:`numpy.asarray` reads all of it. Comparisons read some rows at a time
    if memory is short. Errors, such as for a file that has changed since it was opened, name the file and the
    layer.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    ndim : int
    name : str
        Of the layer in the file.
    path : Path
        The file.
    """

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.name, self.shape, self.dtype, self.ndim = path, name, shape, dtype, len(shape)
        self._before = self._state()

    @abstractmethod
    def _open(self) -> Rows:
        """Open the file."""

    def open_rows(self) -> Rows:
        """Open the file for reading some rows after others; whoever calls this closes what it returns."""
        with self._reading():
            check_numbers(self.dtype)
            return _Checked(self._open(), self._reading)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with reading(self.path, self.name):
            self._check()
            yield
            self._check()

    def _check(self) -> None:
        if self._state() != self._before:
            raise ValueError("the file has changed since it was opened")

    def _state(self) -> tuple[int, ...]:
        """Return what changes with the file."""
        state = os.stat(self.path)
        return state.st_ino, state.st_size, state.st_mtime_ns

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        """Index as NumPy does; a slice of the samples reads no others."""
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if isinstance(first, slice) and first.step in (None, 1):
            start, stop, _ = first.indices(len(self))
            with closing(self.open_rows()) as rows:
                part = rows(start, max(start, stop))
            return part[(slice(None), *rest)] if rest else part
        return np.asarray(self)[key]  # type: ignore[no-any-return]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"layer {self.name!r} of {self.path} is not in memory: reading it makes a copy")
        with closing(self.open_rows()) as rows:
            return np.asarray(rows(0, len(self)), dtype)

    def __repr__(self) -> str:
        return f"<layer {self.name!r} of {str(self.path)!r}: {self.shape} of {self.dtype}>"


class _Checked:
    """Rows whose errors name file and layer."""

    def __init__(self, rows: Rows, checks: Callable[[], Any]) -> None:
        self._rows, self._checks = rows, checks

    def __call__(self, first: int, last: int) -> Array:
        with self._checks():
            return self._rows(first, last)

    def close(self) -> None:
        self._rows.close()


# By name: arrays that are mapped, and layers that are read.
Found: TypeAlias = Mapping[str, Array | StoredLayer]


# -------------------------------------------------------------------------------------------------- tools


def mapped(path: Path) -> Bytes:
    """Map a file."""
    return np.memmap(path, dtype=np.uint8, mode="r")


def view(data: Bytes, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], order: Any = "C") -> Array:
    """Return part of a mapped file as an array, after checking that all of it is there."""
    check_numbers(dtype)
    end = offset + math.prod(shape) * dtype.itemsize
    if end > data.size or offset < 0:
        raise ValueError(f"cut short: an array of shape {shape} ends at byte {end}, the file at {data.size}")
    return np.ndarray(shape, dtype, buffer=data, offset=offset, order=order)


def check_numbers(dtype: np.dtype[Any]) -> None:
    """Refuse what only pickle could read."""
    if dtype.hasobject:
        raise ValueError("Python objects (pickled), which are not read")


@contextmanager
def reading(path: Path, name: str | None = None) -> Iterator[None]:
    """Say of which file and layer an error speaks; whatever damaged files raise becomes a ValueError."""
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # no permission, a failing disk: not the content
        place = f"layer {name!r} of {path}" if name is not None else str(path)
        raise Unreadable(f"{place} cannot be read: {error}") from error


def natural(names: Iterable[str]) -> list[str]:
    """Sort names with the numbers in them by size."""

    def parts(name: str) -> list[tuple[int, str]]:
        return [(int(part) if i % 2 else 0, part) for i, part in enumerate(re.split(r"(\d+)", name))]

    return sorted(names, key=parts)


def imported(module: str, path: Path) -> Any:
    """Return an optional package, or say what to install."""
    try:
        return __import__(module)
    except ImportError as error:
        raise ImportError(f'reading {path} needs {module}: pip install "fastcka[io]"') from error
