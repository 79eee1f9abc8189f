# SPDX-License-Identifier: BSD-3-Clause
"""Open layers that other programs saved: one mapping of name to array, whatever the file format.

Uncompressed data are memory-mapped: opening a file of any size costs nothing, its pages are read when they
are needed. Compressed and chunked data can only be read as a whole, one layer when it is asked for.
"""

from __future__ import annotations

import errno
import math
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from ._arrays import Array
from .store import is_store, open_store

# By name: arrays, or functions that read one.
Found: TypeAlias = Mapping[str, Array | Callable[[], Array]]
Bytes: TypeAlias = np.memmap[Any, np.dtype[np.uint8]]


def open_layers(path: str | os.PathLike[str]) -> Mapping[str, Array]:
    """Open a file or a directory of layers as a read-only mapping of layer name to array.

    =======================  ======================================  ===========  ==============
    what                     layer names                             order        read
    =======================  ======================================  ===========  ==============
    ``.npy``                 name of the file without its suffix                  mapped
    store [2]_               as they were appended                   as appended  mapped
    directory of ``.npy``    names of the files without suffix       natural      mapped
    directory of shards      names of the folders in it [3]_         natural      when asked for
    ``.npz``                 keywords given to ``numpy.savez``       as saved     mapped [1]_
    ``.safetensors``         names of the tensors                    natural      mapped
    ``.h5``, ``.hdf5``       paths of the datasets, ``group/name``   natural      mapped [1]_
    ``.zarr``                paths of the arrays, ``group/name``     natural      when asked for
    =======================  ======================================  ===========  ==============

    In natural order, numbers go by their size: ``layer2`` comes before ``layer10``. HDF5 and zarr need
    ``pip install "fastcka[io]"``.

    .. [1] Compressed members of an ``.npz``, and chunked or compressed HDF5 datasets, are read when they are
       asked for, and read again the next time. An ``.npz`` may start its arrays at odd addresses, from where
       the functions that compare must copy them; ``.npy`` files never do.
    .. [2] A folder that :func:`fastcka.create_store` made, as :func:`fastcka.open_store` opens it.
    .. [3] ``layer/batch_000.npy``, ``layer/batch_001.npy``, ... are joined in the order of their numbers as
       the samples of one layer; so are ``shard``, ``part`` and ``chunk``. They may lie beside ``.npy`` files
       of whole layers.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    mapping of str to ndarray
        Of whatever shapes and dtypes the file holds; bfloat16 as dtype ``V2``, which `fastcka.cka` reads.
        What cannot be compared is refused by the function that compares.

    Raises
    ------
    FileNotFoundError, OSError
        If there is nothing at `path`, or it may not be read.
    ValueError
        If the format is not known, the file is damaged, or it holds no array.
    ImportError
        If the format needs a package that is not installed.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastcka
    >>> path = os.path.join(tempfile.mkdtemp(), "network.npz")
    >>> np.savez(path, layer1=np.zeros((8, 3)), layer2=np.zeros((8, 5)))
    >>> {name: X.shape for name, X in fastcka.open_layers(path).items()}
    {'layer1': (8, 3), 'layer2': (8, 5)}
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no such file or directory", str(path))
    if is_store(path):
        return open_store(path)
    found = _opener(path)(path)
    if not found:
        raise ValueError(f"{path} holds no array")
    return _Layers(found, path)


class _Layers(Mapping[str, Array]):
    """Layers by name, read when they are asked for."""

    def __init__(self, found: Found, path: Path) -> None:
        self._found = found
        self.path = path

    def __getitem__(self, name: str) -> Array:
        array = self._found[name]
        return array() if callable(array) else array

    def __contains__(self, name: object) -> bool:  # the inherited one would read the layer
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<layers {', '.join(self)}>"


class Selected(Mapping[str, Array]):
    """Some layers of others, with what those know of themselves; read when they are asked for."""

    def __init__(self, layers: Mapping[str, Array], names: Iterable[str]) -> None:
        self._layers = layers
        self._names = dict.fromkeys(names)
        self.ids, self.path, self.provenance = (
            getattr(layers, known, None) for known in ("ids", "path", "provenance")
        )

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _opener(path: Path) -> Callable[[Path], Found]:
    """Choose how to open `path`: a directory by the file in it that describes it, a file by its suffix."""
    if path.is_dir():
        if (path / "zarr.json").exists() or (path / ".zgroup").exists() or (path / ".zarray").exists():
            return _open_zarr
        return _open_directory
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth"):
        raise ValueError(
            f"{path} holds pickled Python objects, which can run code when they are read. Convert it once: "
            f"safetensors.torch.save_file(torch.load({path.name!r}), {path.stem + '.safetensors'!r})"
        )
    if suffix not in _OPENERS:
        raise ValueError(
            f"{path} is of no known format: layers are read from {', '.join(_OPENERS)} files, "
            f"from stores, and from directories of .npy files or zarr arrays"
        )
    return _OPENERS[suffix]


# ----------------------------------------------------------------------------------- NumPy's own formats


def _open_npy(path: Path) -> Found:
    with _reading(path), open(path, "rb") as file:
        array = _mapped_npy(file, _mapped(path))
    return {path.stem: array}


def _open_directory(path: Path) -> Found:
    opened: dict[str, Array | Callable[[], Array]] = {}
    for file in path.glob("*.npy"):
        opened.update(_open_npy(file))
    for folder in path.iterdir():
        if folder.is_dir() and (files := _shards(folder)):
            if folder.name in opened:
                raise ValueError(
                    f"{path} has layer {folder.name!r} twice: as a file and as a folder of shards"
                )
            opened[folder.name] = partial(_read_shards, files)
    if not opened:
        raise ValueError(f"{path} is a directory without .npy files or folders of shards, and no zarr group")
    return {name: opened[name] for name in _natural(opened)}


# Other numbered files, layer1.npy, layer2.npy, are layers: joining those would be silently wrong.
_SHARD = re.compile(r"(.*(?:batch|shard|part|chunk)[-_]?)(\d+)\.npy")


def _shards(folder: Path) -> list[Path]:
    """Return the files of one layer in order: none may be missing, since all later samples would shift."""
    names = _natural(file.name for file in folder.glob("*.npy"))
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


def _read_shards(files: list[Path]) -> Array:
    parts: list[Array] = []
    for file in files:
        with _reading(file), open(file, "rb") as opened:
            parts.append(_mapped_npy(opened, _mapped(file)))
        first, last = parts[0], parts[-1]
        if not last.ndim or last.shape[1:] != first.shape[1:] or last.dtype != first.dtype:
            raise ValueError(
                f"{file} cannot be joined with {files[0].name}: its shape is {last.shape} of {last.dtype}, "
                f"that of the first {first.shape} of {first.dtype}"
            )
    return np.concatenate(parts)


def _open_npz(path: Path) -> Found:
    import zipfile  # here, as json below: most who import fastcka do without

    opened: dict[str, Array | Callable[[], Array]] = {}
    with _reading(path), zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        data = _mapped(path)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                continue  # no array: some programs add a text file
            if member.compress_type == zipfile.ZIP_STORED:
                with _reading(path, name):
                    # Before the array lies a local header: 30 bytes, the member's name, an extra field.
                    file.seek(member.header_offset + 26)
                    file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
                    opened[name] = _mapped_npy(file, data)
            else:
                opened[name] = partial(_read_npz, path, name)
    return opened


def _read_npz(path: Path, name: str) -> Array:
    with _reading(path, name), np.load(path, allow_pickle=False) as archive:
        array: Array = archive[name]
        return array


def _mapped_npy(file: BinaryIO, data: Bytes) -> Array:
    """Return the array in NPY format that begins where `file` stands, as a view of the same file mapped."""
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError("records with field names, not an array of numbers")  # what NPY version 3 is for
    shape, fortran_order, dtype = read_header(file)
    return _view(data, file.tell(), shape, dtype, "F" if fortran_order else "C")


# -------------------------------------------------------------------------------------------- safetensors

_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "V2",  # NumPy has no bfloat16: two opaque bytes, as the core reads it
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


def _open_safetensors(path: Path) -> Found:
    """Read the format itself: 8 bytes for the length of a JSON header, the header, the data.

    The package safetensors would copy every tensor, and has no bfloat16 for NumPy.
    """
    import json

    opened: dict[str, Array | Callable[[], Array]] = {}
    with _reading(path):
        data = _mapped(path)
        start = 8 + int.from_bytes(data[:8].tobytes(), "little")
        if start > data.size:
            raise ValueError(f"its header would end at byte {start}, but the file has {data.size}")
        header = json.loads(data[8:start].tobytes())
        for name in _natural(header.keys() - {"__metadata__"}):
            with _reading(path, name):
                dtype, shape = header[name]["dtype"], tuple(header[name]["shape"])
                if dtype not in _SAFETENSORS:
                    raise ValueError(f"values of type {dtype} are not read, only {', '.join(_SAFETENSORS)}")
                first, last = header[name]["data_offsets"]
                array = _view(data, start + first, shape, np.dtype(_SAFETENSORS[dtype]))
                if first < 0 or last - first != array.nbytes:
                    raise ValueError(f"bytes {first} to {last} cannot be an array {shape} of {dtype}")
                opened[name] = array
    return opened


# ------------------------------------------------------------------------------------------ HDF5 and zarr


def _open_hdf5(path: Path) -> Found:
    h5py = _import("h5py", path)
    names: list[str] = []
    with _reading(path), h5py.File(path, "r") as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return {name: partial(_read_hdf5, h5py, path, name) for name in _natural(names)}


def _read_hdf5(h5py: ModuleType, path: Path, name: str) -> Array:
    with _reading(path, name), h5py.File(path, "r") as file:
        dataset = file[name]
        offset = dataset.id.get_offset()  # None unless the values lie in one piece in this file
        if offset is None or dataset.dtype.hasobject or file.userblock_size:
            return np.asarray(dataset[()])
        return _view(_mapped(path), offset, dataset.shape, dataset.dtype)


def _open_zarr(path: Path) -> Found:
    zarr = _import("zarr", path)
    with _reading(path):
        root = zarr.open(path, mode="r")
        if isinstance(root, zarr.Array):
            return {path.stem: partial(_read_zarr, path, path.stem, root)}
        arrays = {name: item for name, item in root.members(max_depth=None) if isinstance(item, zarr.Array)}
    return {name: partial(_read_zarr, path, name, arrays[name]) for name in _natural(arrays)}


def _read_zarr(path: Path, name: str, array: Any) -> Array:
    with _reading(path, name):
        return np.asarray(array[...])


_OPENERS: dict[str, Callable[[Path], Found]] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".safetensors": _open_safetensors,
    ".h5": _open_hdf5,
    ".hdf5": _open_hdf5,
}


# -------------------------------------------------------------------------------------------------- tools


def _mapped(path: Path) -> Bytes:
    return np.memmap(path, dtype=np.uint8, mode="r")


def _view(data: Bytes, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], order: Any = "C") -> Array:
    """Return part of a mapped file as an array, after checking that all of it is there."""
    if dtype.hasobject:
        raise ValueError("Python objects (pickled), which are not read")
    end = offset + math.prod(shape) * dtype.itemsize
    if end > data.size or offset < 0:
        raise ValueError(f"cut short: an array of shape {shape} ends at byte {end}, the file at {data.size}")
    return np.ndarray(shape, dtype, buffer=data, offset=offset, order=order)


@contextmanager
def _reading(path: Path, name: str | None = None) -> Iterator[None]:
    """Say of which file and layer an error speaks; whatever damaged files raise becomes a ValueError."""
    try:
        yield
    except (_Unreadable, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # no permission, a failing disk: not the content
        place = f"layer {name!r} of {path}" if name is not None else str(path)
        raise _Unreadable(f"{place} cannot be read: {error}") from error


class _Unreadable(ValueError):
    """Already names its file."""


def _natural(names: Iterable[str]) -> list[str]:
    """Sort names with the numbers in them by size."""

    def parts(name: str) -> list[tuple[int, str]]:
        return [(int(part) if i % 2 else 0, part) for i, part in enumerate(re.split(r"(\d+)", name))]

    return sorted(names, key=parts)


def _import(module: str, path: Path) -> Any:
    try:
        return __import__(module)
    except ImportError as error:
        raise ImportError(f'reading {path} needs {module}: pip install "fastcka[io]"') from error
