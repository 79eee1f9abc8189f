# SPDX-License-Identifier: BSD-3-Clause
"""Open layers by path, whatever the format."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from .._arrays import Array
from ..store import is_store, open_store
from .chunked import open_hdf5, open_zarr
from .numpy_files import open_directory, open_npy, open_npz
from .safetensors import open_safetensors
from .stored import Found, StoredLayer


def open_layers(path: str | os.PathLike[str]) -> Mapping[str, Array | StoredLayer]:
    """Open a file or a directory of layers as a read-only mapping of layer name to array.

    =======================  ======================================  ===========  ==============
    what                     layer names                             order        read
    =======================  ======================================  ===========  ==============
    ``.npy``                 name of the file without its suffix                  mapped
    store [2]_               as they were appended                   as appended  mapped
    directory of ``.npy``    names of the files without suffix       natural      mapped
    directory of shards      names of the folders in it [3]_         natural      by rows
    ``.npz``                 keywords given to ``numpy.savez``       as saved     mapped [1]_
    ``.safetensors``         names of the tensors                    natural      mapped
    ``.h5``, ``.hdf5``       paths of the datasets, ``group/name``   natural      mapped [1]_
    ``.zarr``                paths of the arrays, ``group/name``     natural      by rows
    =======================  ======================================  ===========  ==============

    In natural order, numbers are sorted by value: ``layer2`` comes before ``layer10``. HDF5 and zarr need
    ``pip install "fastcka[io]"``.

    .. [1] Compressed members of an ``.npz``, and chunked or compressed HDF5 datasets, are read by rows. The
       arrays of an ``.npz`` may be unaligned, so that comparisons must copy their rows; those of ``.npy``
       files never are.
    .. [2] A folder that :func:`fastcka.create_store` made, as :func:`fastcka.open_store` opens it.
    .. [3] ``layer/batch_000.npy``, ``layer/batch_001.npy``, ... are joined in the order of their numbers as
       the samples of one layer; so are ``shard``, ``part`` and ``chunk``. They may lie beside ``.npy`` files
       of whole layers.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    mapping of str to ndarray or StoredLayer
        Arrays where the file is mapped. Where rows are read on demand, objects with a shape, a dtype and
        slices, ``layer[100:200]``; ``numpy.asarray(layer)`` makes an array of one. They have the shapes and
        dtypes of the file; bfloat16 has dtype ``V2``, which `fastcka.cka` reads. Layers that cannot be
        compared raise an error when they are compared.

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


class _Layers(Mapping[str, Array | StoredLayer]):
    """Layers by name."""

    def __init__(self, found: Found, path: Path) -> None:
        self._found = found
        self.path = path

    def __getitem__(self, name: str) -> Array | StoredLayer:
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<layers {', '.join(self)}>"


class Selected(Mapping[str, Array | StoredLayer]):
    """Some layers of others, with what those know of themselves."""

    def __init__(self, layers: Mapping[str, Array | StoredLayer], names: Iterable[str]) -> None:
        self._layers = layers
        self._names = dict.fromkeys(names)
        self.ids, self.path, self.provenance = (
            getattr(layers, known, None) for known in ("ids", "path", "provenance")
        )

    def __getitem__(self, name: str) -> Array | StoredLayer:
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
            return open_zarr
        return open_directory
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


_OPENERS: dict[str, Callable[[Path], Found]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".safetensors": open_safetensors,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
}
