# SPDX-License-Identifier: BSD-3-Clause
"""Open a store: its layers as memory-mapped arrays, as of the last committed batch."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._arrays import Array

if TYPE_CHECKING:
    from .manifest import SampleId


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store for reading, as of its last committed batch.

    The files are checked, not read: opening takes the same time for any number of samples. A writer may
    continue in the meantime; what was opened stays as it is.

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

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastcka
    >>> path = os.path.join(tempfile.mkdtemp(), "activations")
    >>> with fastcka.create_store(path, provenance={"seed": 0}) as writer:
    ...     writer.append({"conv": np.ones((3, 8)), "fc": np.eye(3)})
    >>> store = fastcka.open_store(path)
    >>> list(store), store["fc"].shape, store.n_samples, store.provenance
    (['conv', 'fc'], (3, 3), 3, {'seed': 0})
    """

    def __init__(self, path: Path) -> None:
        from .manifest import MANIFEST, Manifest

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
        """Where the data come from, as given to :func:`fastcka.create_store`."""
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
    from .manifest import is_manifest

    return is_manifest(Path(path))
