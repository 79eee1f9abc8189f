# SPDX-License-Identifier: BSD-3-Clause
"""The writer of a store: data first, then the manifest that makes them count."""

from __future__ import annotations

import hashlib
import json
import operator
import os
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Array, Layers, as_layers, layer_label
from .layer_file import LayerFile, dtype_name, is_layer_file
from .lock import FolderLock
from .manifest import IDS, Manifest, SampleId, is_temporary, sync_folder


class StoreWriter:
    """Appends batches to a store; made by :func:`fastcka.create_store`, and closed by ``with``.

    The store can be read at any time with :func:`fastcka.open_store`, as of the last batch.

    **Threads.** All methods may be called from several threads; one writes at a time. The rows of a batch
    stay together, in all layers and in the ids; the batches of different threads come in any order.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastcka
    >>> path = os.path.join(tempfile.mkdtemp(), "activations")
    >>> writer = fastcka.create_store(path)
    >>> for batch in range(3):
    ...     writer.append({"fc": np.full((2, 4), float(batch))})
    >>> writer.n_samples, writer.layers
    (6, {'fc': (4, dtype('float64'))})
    >>> writer.close()
    """

    _manifest: Manifest  # what is committed
    _digest: hashlib._Hash  # of the committed ids
    _rows: dict[SampleId, int]  # where each committed id is

    def __init__(self, path: Path, lock: FolderLock) -> None:
        self._path = path
        self._lock = lock
        self._writing = threading.Lock()
        self._recover()

    @property
    def path(self) -> Path:
        """The folder of the store."""
        return self._path

    @property
    def n_samples(self) -> int:
        """Number of committed samples: the index at which to resume."""
        return self._manifest.n_samples

    @property
    def layers(self) -> dict[str, tuple[int, np.dtype[Any]]]:
        """Number of features and type of each layer; empty before the first batch."""
        return {layer.name: (layer.n_features, layer.dtype) for layer in self._manifest.layers}

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the data come from, as given to :func:`fastcka.create_store`."""
        return dict(self._manifest.provenance)

    def append(self, layers: Layers, ids: Iterable[SampleId] | None = None) -> None:
        """Append a batch of samples to all layers. It is on disk when this returns.

        NaN and infinity are stored unchanged; the comparison will report them.

        Parameters
        ----------
        layers : mapping of names to (n_batch, n_features) array_like, or sequence of them
            Of the types that :func:`fastcka.cka` reads; the layers of a sequence are called "0", "1", ...
            Every batch has the layers, numbers of features and types of the first; batches may differ in
            their number of samples.
        ids : iterable of str or int, optional
            One for each sample, unique within the store. Either all batches have ids, or none does.

        Raises
        ------
        TypeError, ValueError
            If the batch does not match; the message names the layer, and nothing is written.
        OSError
            If the batch cannot be written (disk full). It is discarded, and the writer can continue, unless
            the message says otherwise.

        Examples
        --------
        >>> import os, tempfile, numpy as np, fastcka
        >>> with fastcka.create_store(os.path.join(tempfile.mkdtemp(), "store")) as writer:
        ...     writer.append({"fc": np.ones((2, 3))}, ids=["cat", "dog"])
        ...     writer.n_samples
        2
        """
        self._check_open()  # first: in a fork, a thread that is not there may have been writing
        names, arrays = as_layers(layers, "layers")
        batch = dict(zip(names, arrays, strict=True))
        new_ids = None if ids is None else _sample_ids(ids)
        with self._writing:
            self._check_open()  # again: another thread may have closed it since
            n_batch = _check_batch(batch, self._manifest.layers)
            self._check_ids(new_ids, n_batch)
            try:
                self._write(batch, n_batch, new_ids)
            except BaseException as error:
                self._roll_back(error)
                raise

    def close(self) -> None:
        """Close the store and let others write to it, once an append in another thread has ended.

        Nothing is lost without it: every batch is already committed.
        """
        with self._writing if self._lock.held else nullcontext():
            self._lock.release()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "open" if self._lock.held else "closed"
        return f"<StoreWriter {str(self._path)!r}: {self.n_samples} samples, {state}>"

    # ------------------------------------------------------------------ writing

    def _write(self, batch: dict[str, Array], n_batch: int, ids: list[SampleId] | None) -> None:
        n, files = self.n_samples, self._manifest.layers
        if not files:
            files = tuple(LayerFile.new(i, name, array) for i, (name, array) in enumerate(batch.items()))
            for layer in files:
                layer.create(self._path)
        for layer in files:
            layer.write(self._path, n, batch[layer.name])
        ids_bytes, digest = None, self._digest.copy()
        if ids is not None:
            lines = b"".join(json.dumps(x).encode() + b"\n" for x in ids)
            digest.update(lines)
            ids_bytes = _write_tail(self._path / IDS, self._manifest.ids_bytes or 0, lines)
        if n == 0:
            sync_folder(self._path)  # the names of new files, before the manifest that counts on them
        committed = Manifest(
            n + n_batch,
            files,
            self._manifest.provenance,
            ids_bytes,
            None if ids is None else digest.hexdigest(),
        )
        committed.write(self._path)
        self._rows.update((x, n + i) for i, x in enumerate(ids or ()))
        self._manifest, self._digest = committed, digest

    def _recover(self) -> None:
        """Take up the state that the manifest describes, and cut off what was written after it."""
        manifest = Manifest.read(self._path)
        manifest.check_files(self._path)
        ids, text = manifest.read_ids(self._path), manifest.ids_text(self._path)
        for remnant in _leftovers(self._path, manifest):
            remnant.unlink()
        for layer in manifest.layers:
            layer.cut(self._path, manifest.n_samples)
        if manifest.ids_bytes is not None:
            _write_tail(self._path / IDS, manifest.ids_bytes, b"")
        self._manifest = manifest
        self._digest = hashlib.sha256(text)
        self._rows = {x: row for row, x in enumerate(ids or ())}

    def _roll_back(self, error: BaseException) -> None:
        """After a failure, go back to the last commit, as the disk has it; close when even that fails."""
        before = self.n_samples
        try:
            self._recover()
            kept = "kept" if self.n_samples > before else "not kept"
            state = f"the batch was {kept}, {self.n_samples} samples are committed; the writer can continue"
        except Exception as second:
            self._lock.release()
            state = (
                f"{before} samples were committed before; the writer is closed ({second}), "
                f'create_store with if_exists="append" resumes'
            )
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, f"{error.strerror}: {state}", str(self._path)) from error

    # ------------------------------------------------------------------ checks

    def _check_open(self) -> None:
        if not self._lock.held:
            raise ValueError(
                f"the writer of {self._path} is closed, or belongs to the parent of this process"
            )

    def _check_ids(self, ids: list[SampleId] | None, n_batch: int) -> None:
        n = self.n_samples
        if n and (ids is None) != (self._manifest.ids_bytes is None):
            had, has = ("no ids", "ids") if ids is not None else ("ids", "none")
            raise ValueError(f"ids: the {n} samples so far have {had}, this batch has {has}: all or none")
        if ids is None:
            return
        if len(ids) != n_batch:
            raise ValueError(f"ids: got {len(ids)} for a batch of {n_batch} samples")
        seen: dict[SampleId, int] = {}
        for row, x in enumerate(ids, start=n):
            if (first := self._rows.get(x, seen.get(x))) is not None:
                raise ValueError(f"ids: {x!r} is the id of sample {first}, and again of sample {row}")
            seen[x] = row


def _check_batch(batch: dict[str, Array], files: tuple[LayerFile, ...]) -> int:
    """Check that the arrays fit to one another and to the layers so far; return their number of samples."""
    first = next(iter(batch))
    n = len(batch[first])
    for name, array in batch.items():
        if len(array) != n:
            raise ValueError(
                f"{layer_label('layers', first)} has {n} samples but {layer_label('layers', name)} has "
                f"{len(array)}: a batch has the same samples in all layers"
            )
    if not files:
        return n
    known = {layer.name: layer for layer in files}
    if missing := [name for name in known if name not in batch]:
        raise ValueError(f"layers lacks {missing[0]!r}, which earlier batches had; it has {list(batch)}")
    for name, array in batch.items():
        if name not in known:
            raise ValueError(f"{layer_label('layers', name)} is new: earlier batches had {list(known)}")
        layer, width = known[name], array.shape[1]
        if width != layer.n_features:
            raise ValueError(
                f"{layer_label('layers', name)} has {width} features, "
                f"but earlier batches had {layer.n_features}"
            )
        found, before = dtype_name(array.dtype), dtype_name(layer.dtype)
        if found != before:
            raise TypeError(
                f"{layer_label('layers', name)} has dtype {found}, but earlier batches were {before}; "
                f"convert it first"
            )
    return n


def _sample_ids(values: object) -> list[SampleId]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"ids must be a sequence of strings or integers, got {values!r}")
    return [_sample_id(value) for value in values]


def _sample_id(value: object) -> SampleId:
    if isinstance(value, str):
        return str(value)
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise TypeError(f"ids must be strings or integers, got {value!r}")


# ---------------------------------------------------------------------- files


def _leftovers(path: Path, manifest: Manifest) -> list[Path]:
    """Return the files that a killed process left, and that no manifest will name."""
    files = list(path.iterdir())
    left = [file for file in files if is_temporary(file.name)]
    if not manifest.layers:  # of a first batch that was not finished, or of a store that was being replaced
        left += [file for file in files if file.name == IDS or is_layer_file(file.name)]
    return left


def _write_tail(path: Path, start: int, data: bytes) -> int:
    """Let the file be its first `start` bytes and then `data`, durably; return its length."""
    with open(path, "ab") as file:
        file.truncate(start)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return start + len(data)
