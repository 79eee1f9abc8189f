# SPDX-License-Identifier: BSD-3-Clause
"""Layers that are not in memory: some rows of them are read when the core asks for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np

from ._arrays import (
    Array,
    ArrayLike,
    as_representation,
    check_dtype,
    check_two_dimensional,
    in_place,
    readable,
)


class Unreadable(ValueError):
    """A layer that cannot be read; the message names it."""


class Source:
    """A layer as something that gives rows: a chunked or compressed file, or an array that has to be copied.

    Whatever has a shape, a NumPy dtype and slices of rows can be one: datasets of h5py, arrays of zarr,
    :class:`fastcka.layers.StoredLayer`. It lives for one call, in one thread.
    """

    ndim: Final = 2

    def __init__(self, layer: Any, label: str) -> None:
        check_dtype(layer.dtype, label)
        check_two_dimensional(layer, label)
        self._layer, self._label = layer, label
        self.shape = (int(layer.shape[0]), int(layer.shape[1]))
        self.dtype: np.dtype[Any] = layer.dtype.newbyteorder("=")
        self._rows: Callable[[int, int], Array] | None = None
        self._state = _file_state(layer)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """The bytes of a sample."""
        return self.shape[1] * self.dtype.itemsize

    def rows(self, first: int, last: int) -> Array:
        """Read rows [first, last) as the core reads them."""
        try:
            if tuple(self._layer.shape) != self.shape:
                raise ValueError(f"its shape was {self.shape} and is now {tuple(self._layer.shape)}")
            if self._rows is None:
                self._rows = self._open()
            part = np.asarray(self._rows(first, last))
            if _file_state(self._layer) != self._state:  # HDF5 reads zeros beyond the end of a file
                raise ValueError("its file has changed since the call began")
        except (Unreadable, MemoryError):
            raise
        except Exception as error:
            message = f"{self._label} cannot be read: {error}"
            if isinstance(error, OSError) and error.errno is not None:  # a failing disk: not the content
                raise OSError(error.errno, message) from error
            raise Unreadable(message) from error
        part = readable(part, self._label)
        if part.shape != (last - first, self.shape[1]) or part.dtype != self.dtype:
            raise Unreadable(
                f"{self._label} cannot be read: rows {first} to {last - 1} are {part.shape} of {part.dtype}, "
                f"not {(last - first, self.shape[1])} of {self.dtype}"
            )
        return part

    def _open(self) -> Callable[[int, int], Array]:
        opened = getattr(self._layer, "open_rows", None)
        if opened is not None:
            rows: Callable[[int, int], Array] = opened()
            return rows
        return lambda first, last: self._layer[first:last]

    def close(self) -> None:
        """Close what reading opened."""
        close = getattr(self._rows, "close", None)
        self._rows = None
        if close is not None:
            close()

    def __getitem__(self, key: Any) -> Array:
        """Index as NumPy does: a row, a slice of rows, or anything else of all of them."""
        try:
            if isinstance(key, int):
                return self.rows(key, key + 1)[0]  # type: ignore[no-any-return]
            if isinstance(key, slice) and key.step is None:
                first, last, _ = key.indices(len(self))
                return self.rows(first, max(first, last))
            return self.rows(0, len(self))[key]  # type: ignore[no-any-return]
        finally:
            self.close()


def _file_state(layer: Any) -> tuple[int, int] | None:
    """Return what changes with the file of a dataset of h5py that nobody here writes to."""
    file = getattr(layer, "file", None)
    if getattr(file, "mode", None) != "r":
        return None
    try:
        state = os.stat(file.filename)  # type: ignore[union-attr]
    except (AttributeError, OSError, TypeError, ValueError):  # in memory, or of another kind
        return None
    return state.st_size, state.st_mtime_ns


# What the core reads: an array in place, or the rows of a source.
Layer: TypeAlias = Array | Source

# An array in memory has one of these: a table has `iloc`, a labelled array `isel`, a sparse one `toarray`.
_IN_MEMORY = ("__array_interface__", "__array_struct__", "__dlpack__", "iloc", "isel", "toarray")


def as_layer(X: ArrayLike, label: str) -> Layer:
    """Return `X` as an array that the core reads in place, or as a source of rows.

    Raises as `as_representation` does.
    """
    if type(X) in (np.ndarray, np.memmap):
        if X.size and not in_place(X):
            return Source(X, label)
    elif (
        not isinstance(X, np.ndarray)
        and isinstance(getattr(X, "dtype", None), np.dtype)
        and isinstance(getattr(X, "shape", None), tuple)
        and hasattr(X, "__getitem__")
        and not any(hasattr(X, known) for known in _IN_MEMORY)
    ):
        source = Source(X, label)
        if 0 not in source.shape:
            return source
    return as_representation(X, label)


def row_bytes(layers: Iterable[Layer]) -> list[int]:
    """Return the bytes of a sample of each layer that is read; 0 for those in memory."""
    return [X.row_bytes if isinstance(X, Source) else 0 for X in layers]


def pieces(layer: Layer, most_bytes: int = 1 << 24) -> Iterator[tuple[int, Array]]:
    """Yield the first row and the values of parts of a layer: some MB of a source, all of an array."""
    if not isinstance(layer, Source):
        yield 0, layer
        return
    step = max(1, most_bytes // layer.row_bytes)
    try:
        for first in range(0, len(layer), step):
            yield first, layer.rows(first, min(first + step, len(layer)))
    finally:
        layer.close()
