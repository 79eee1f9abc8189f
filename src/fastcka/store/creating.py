# SPDX-License-Identifier: BSD-3-Clause
"""Start a store, or resume one: what is checked before there is a writer."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from .._arguments import unknown
from .lock import LOCK, FolderLock
from .manifest import Manifest, is_manifest, is_temporary
from .writing import StoreWriter


def create_store(
    path: str | os.PathLike[str],
    *,
    provenance: Mapping[str, Any] | None = None,
    if_exists: Literal["error", "append", "replace"] = "error",
) -> StoreWriter:
    """Create a store of activations, or resume one, and return its writer.

    Parameters
    ----------
    path : str or path-like
        A folder. It is created if missing; its parent must exist.
    provenance : mapping of str to what JSON can hold, optional
        Where the data come from: network, data set, pooling, versions. It is stored with the data. When
        resuming a store, it must equal the stored provenance.
    if_exists : {"error", "append", "replace"}, default "error"
        What to do with an existing store. "append" discards an unfinished batch and resumes at sample
        ``writer.n_samples``. "replace" empties the store first.

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
    choices = ("error", "append", "replace")
    if if_exists not in choices:
        raise unknown("if_exists", if_exists, choices)
    path = Path(path)
    origin = _plain(provenance)
    _check_place(path, if_exists)
    path.mkdir(exist_ok=True)
    lock = FolderLock(path)
    try:
        _check_place(path, if_exists)  # again: another process may have made one since
        exists = is_manifest(path)
        stored = Manifest.read(path).provenance if exists else {}  # damaged files are left unchanged
        if not exists or if_exists == "replace":
            Manifest(0, (), origin or {}).write(path)  # the writer removes the files that this does not name
        elif origin is not None:
            _check_provenance(path, stored, origin)
        return StoreWriter(path, lock)
    except BaseException:
        lock.release()
        raise


def _plain(provenance: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return `provenance` as it will come back from the manifest."""
    if provenance is None:
        return None
    if not isinstance(provenance, Mapping):
        raise TypeError(f"provenance must be a mapping, got {provenance!r}")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(provenance), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise type(error)(f"provenance must hold what JSON can hold, got {provenance!r}: {error}") from None
    return plain


def _check_place(path: Path, if_exists: str) -> None:
    """Refuse a place where a store must not be made, before anything is written there."""
    if is_manifest(path):
        if if_exists == "error":
            raise FileExistsError(
                errno.EEXIST,
                'is already a store: use if_exists="append" to resume it, or "replace" to start over',
                str(path),
            )
    elif path.exists() and not path.is_dir():
        raise FileExistsError(errno.EEXIST, "is a file; a store needs a folder", str(path))
    elif path.is_dir() and (foreign := _foreign(path)):
        raise FileExistsError(
            errno.EEXIST,
            f"is a folder with other files, such as {min(foreign)!r}, and not a store",
            str(path),
        )


def _foreign(path: Path) -> list[str]:
    """Return the files of a folder, except those of a writer that was killed before its first manifest."""
    return [x.name for x in path.iterdir() if x.name != LOCK and not is_temporary(x.name)]


def _check_provenance(path: Path, stored: dict[str, Any], given: dict[str, Any]) -> None:
    for key in [*stored, *given]:
        if (key in stored, stored.get(key)) != (key in given, given.get(key)):
            raise ValueError(
                f"provenance differs from that of {path}: {key!r} is {stored.get(key)!r} there and "
                f"{given.get(key)!r} here; omit provenance to resume anyway"
            )
