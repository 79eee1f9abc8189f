# SPDX-License-Identifier: BSD-3-Clause
"""Activations on disk: a folder with one .npy file a layer, written batch by batch, read without copying.

A process that is killed while it writes loses the batch it was at, nothing before. docs/stores.md describes
the format.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ._arrays import Array

if TYPE_CHECKING:
    from ._manifest import SampleId
    from ._store_writer import StoreWriter


def create_store(
    path: str | os.PathLike[str],
    *,
    provenance: Mapping[str, Any] | None = None,
    if_exists: Literal["error", "append", "replace"] = "error",
) -> StoreWriter:
    """Start a store of activations, or go on with one; return what appends to it.

    Parameters
    ----------
    path : str or path-like
        A folder. It is made where there is none, but not the folders above it.
    provenance : mapping of str to what JSON can hold, optional
        Where the data come from: network, data set, pooling, versions. It is kept with the data. When a store
        is gone on with, it must be what is kept there.
    if_exists : {"error", "append", "replace"}, default "error"
        What to do with a store that is there already. "append" cuts off a batch that was not finished, and
        goes on after the last that was: from sample ``writer.n_samples``. "replace" empties it first.

    Returns
    -------
    StoreWriter
        Its :meth:`~StoreWriter.append` takes a batch. Use it in a ``with`` block.

    Raises
    ------
    FileExistsError
        When `path` is a file, a folder with anything else in it, or a store and `if_exists` is "error".
    BlockingIOError
        When another writer has the store open; the message says which process.
    OSError
        When the folder cannot be written.
    TypeError, ValueError
        When an argument is not as described, or the store is damaged.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastcka
    >>> path = os.path.join(tempfile.mkdtemp(), "activations")
    >>> rng = np.random.default_rng(0)
    >>> with fastcka.create_store(path, provenance={"network": "resnet18"}) as writer:
    ...     for batch in range(3):
    ...         writer.append({"conv": rng.normal(size=(10, 8)), "fc": rng.normal(size=(10, 4))})
    >>> store = fastcka.open_store(path)
    >>> {name: X.shape for name, X in store.items()}
    {'conv': (30, 8), 'fc': (30, 4)}
    >>> store.provenance
    {'network': 'resnet18'}
    """
    from ._create_store import create  # here, as below: most who import fastcka do without

    return create(Path(path), provenance, if_exists)


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store for reading, as of its last committed batch.

    The files are checked, not read: opening takes the same time for any number of samples. A writer may go on
    in the meantime; what was opened stays as it is.

    Parameters
    ----------
    path : str or path-like
        The folder that :func:`create_store` made, wherever it has been moved to.

    Returns
    -------
    Store

    Raises
    ------
    FileNotFoundError
        When there is no store at `path`.
    ValueError
        When the manifest or a file of a layer is damaged, missing or not what was written: the message says
        which, and what is wrong. Or when a newer fastcka wrote it.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastcka
    >>> path = os.path.join(tempfile.mkdtemp(), "activations")
    >>> with fastcka.create_store(path) as writer:
    ...     writer.append({"fc": np.eye(3, dtype=np.float32)}, ids=["cat", "dog", "fox"])
    >>> store = fastcka.open_store(path)
    >>> store["fc"].dtype, store.ids
    (dtype('float32'), ('cat', 'dog', 'fox'))
    """
    return Store(Path(path))


class Store(Mapping[str, Array]):
    """Layers on disk by name, as (n_samples, n_features) arrays, memory-mapped; made by :func:`open_store`.

    bfloat16 comes as dtype "V2", two opaque bytes an element, which :func:`fastcka.cka` reads.
    """

    def __init__(self, path: Path) -> None:
        from ._manifest import MANIFEST, Manifest

        if not (path / MANIFEST).exists():
            reason = f"no store: there is no {MANIFEST}" if path.exists() else "no such folder"
            raise FileNotFoundError(errno.ENOENT, reason, str(path))
        self._path = path
        self._manifest = Manifest.read(path)
        self._manifest.check_files(path)
        self._layers = {layer.name: layer for layer in self._manifest.layers}

    @property
    def path(self) -> Path:
        """The folder of the store."""
        return self._path

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self._manifest.n_samples

    @cached_property
    def ids(self) -> tuple[SampleId, ...] | None:
        """The ids of the samples, in order, or None; read when they are first asked for."""
        return self._manifest.read_ids(self._path)

    @property
    def provenance(self) -> dict[str, Any]:
        """What was said about the origin of the data."""
        return dict(self._manifest.provenance)

    def __getitem__(self, name: str) -> Array:
        return self._layers[name].mapped(self._path, self.n_samples)

    def __contains__(self, name: object) -> bool:  # the inherited one would map the layer
        return name in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        return f"<store {str(self._path)!r}: {self.n_samples} samples; layers {', '.join(self) or 'none'}>"


def is_store(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is a store, be it a damaged one: a folder with a manifest that is not foreign."""
    from ._manifest import is_manifest

    return is_manifest(Path(path))
