# SPDX-License-Identifier: BSD-3-Clause
"""A ``.npz`` with a header: one JSON string, ``header``, beside the arrays. No pickle, no compression.

The arrays of an uncompressed archive are no larger than the file, so a small file cannot fill the memory.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from ._arrays import Array
from ._files import atomic_write
from ._headers import Refused, check_format, parsed


def write(path: str | os.PathLike[str], header: dict[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a header and arrays to `path`, atomically."""
    with atomic_write(path) as file:
        np.savez(file, header=np.array(json.dumps(header)), **dict[str, Any](arrays))


def read(
    file: BinaryIO,
    kind: str,
    version: int,
    accept: Callable[[dict[str, Any]], object] = lambda header: None,
    *,
    oldest: int = 1,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the header and the arrays of a file that holds a `kind`; to be called within `refusing`.

    ``accept(header)`` is called before the arrays are read, and may raise.
    """
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise Refused("damaged: it holds two arrays of one name")
        stored = all(info.compress_type == zipfile.ZIP_STORED for info in members.values())
        if not stored or sum(x.file_size for x in members.values()) > os.fstat(file.fileno()).st_size:
            raise Refused(f"not a {kind} saved by fastcka, which does not compress")
        if "header" not in members:
            raise Refused(f"not a {kind} saved by fastcka; it holds the arrays {list(members)}")
        header = parsed(str(_array(archive, members.pop("header"))))
        check_format(header, kind, version, oldest)
        accept(header)
        return header, {name: _array(archive, info) for name, info in members.items()}


def header_of(file: BinaryIO) -> dict[str, Any]:
    """Return the header of a file of any kind; call it within `refusing`."""
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo("header.npy")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > os.fstat(file.fileno()).st_size:
            raise Refused("not saved by fastcka, which does not compress")
        return parsed(str(_array(archive, info)))


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """Return an array, whose length is believed only when it is that of the file."""
    with archive.open(info) as file:
        if (version := npy.read_magic(file)) != (1, 0):
            raise Refused(f"damaged: {info.filename} has version {version} of the .npy format")
        shape, _, dtype = npy.read_array_header_1_0(file)
        if not dtype.hasobject and file.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise Refused(f"damaged: {info.filename} is not as long as its shape {shape} says")
    with archive.open(info) as file:
        array: Array = npy.read_array(file, allow_pickle=False)
    return array
