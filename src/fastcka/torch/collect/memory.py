# SPDX-License-Identifier: BSD-3-Clause
"""Activations kept in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import torch

from ... import _core
from ..._arrays import Array
from ..._machine import size_in_words
from ...store import Store, open_store
from ...store.creating import create_store
from .._common import as_array, copied
from ..data.inputs import SampleId
from ..layers.capture import Capture
from ..layers.rows import Rows
from ..layers.state import noted


class Extracted(Mapping[str, Array]):
    """Activations by layer, as :func:`extract` keeps them in memory: a mapping of name to (n, p) array.

    Attributes
    ----------
    ids : tuple of str or int, or None
        An id for each row, where `ids` was given; with ``pool="tokens"`` always, ``"sample:position"``.
    skipped : dict of str to str
        Layers that were chosen but are not here, each with the reason.
    n_samples : int
        Rows of each array.
    provenance : dict
        Where the arrays come from: model, settings, versions, data, device, as a store has it.

    Examples
    --------
    >>> import os, tempfile, torch, fastcka
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    >>> found = fastcka.torch.extract(model, torch.randn(20, 4).split(8), progress=False)
    >>> list(found), found["0"].shape, found.n_samples, found.skipped
    (['0', '1'], (20, 8), 20, {})
    >>> store = found.save(os.path.join(tempfile.mkdtemp(), "activations"))
    >>> store.n_samples
    20
    """

    def __init__(
        self,
        layers: dict[str, Array],
        ids: tuple[SampleId, ...] | None,
        skipped: dict[str, str],
        provenance: dict[str, Any],
    ) -> None:
        self._layers = layers
        self.ids = ids
        self.skipped = skipped
        self.provenance = provenance
        self.n_samples = len(next(iter(layers.values())))

    def __getitem__(self, name: str) -> Array:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def save(self, path: str | os.PathLike[str]) -> Store:
        """Write the layers into a new store, with ids and provenance, and return it opened.

        Parameters
        ----------
        path : str or path-like
            Of a folder that does not exist yet.

        Returns
        -------
        Store

        Raises
        ------
        FileExistsError
            When there is already a store, or anything else, at `path`.
        """
        with create_store(path, provenance=self.provenance) as writer:
            writer.append(self._layers, ids=self.ids)
        return open_store(path)

    def __repr__(self) -> str:
        left = f"; {len(self.skipped)} skipped, see .skipped" if self.skipped else ""
        return f"<{self.n_samples} samples; layers {', '.join(self)}{left}>"


class Kept:
    """Collects the rows of batches, and joins them layer by layer: no two copies of all are ever there."""

    def __init__(
        self,
        limit: int,
        settings: Mapping[str, object] | None = None,
        provenance: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.limit, self.settings, self.origin = limit, settings or {}, origin or {}
        self.provenance = dict(provenance or {})
        self.parts: dict[str, list[Array]] = {}
        self.n_rows = 0
        self.n_bytes = 0
        self.ids: list[SampleId] | None = None

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def start_of(self, start: int, stop: int, ids: list[SampleId] | None) -> int:
        """Return the first sample from `start` to `stop` that is not kept yet."""
        return start

    def plan(self, capture: Capture, rows: Rows, total: int | None) -> str:
        """Say how much will be kept, judged by the first batch; refuse what is too much."""
        per_batch = sum(_widened(X).dtype.itemsize * X.numel() for X in rows.layers.values())
        if total is None:
            return (
                f"{len(rows.layers)} layers, {size_in_words(per_batch / rows.n_samples)} a sample in memory"
            )
        size = per_batch * total // rows.n_samples
        self._check(size, f"{len(rows.layers)} layers of {total} samples")
        return f"{len(rows.layers)} layers of {total} samples, {size_in_words(size)} in memory"

    def add(self, rows: Rows, ids: list[SampleId] | None) -> None:
        """Keep the rows of a batch."""
        # Pinned memory is for the way from the device; there is not much of it.
        layers = {k: copied(X) if X.is_pinned() else X for k, X in rows.owned().layers.items()}
        arrays = {layer: as_array(_widened(X), layer) for layer, X in layers.items()}
        n_rows = self.n_rows + len(rows)
        n_bytes = self.n_bytes + sum(X.nbytes for X in arrays.values())
        self._check(n_bytes, f"{n_rows} samples so far")
        for layer in set(self.parts) - set(arrays):
            del self.parts[layer]  # it does not fit any more
        for layer, X in arrays.items():
            self.parts.setdefault(layer, []).append(X)
        if ids is not None:
            self.ids = (self.ids or []) + ids
        self.n_rows, self.n_bytes = n_rows, n_bytes

    def result(self, capture: Capture, n_samples: int) -> Extracted:
        """Return what was kept."""
        ids = None if self.ids is None else tuple(self.ids)
        notes = {**noted(capture.model, self.settings), **self.origin, "left_out": dict(capture.skipped)}
        return Extracted(self.joined(), ids, dict(capture.skipped), {**self.provenance, "extract": notes})

    def joined(self) -> dict[str, Array]:
        """Return the arrays, and keep nothing."""
        arrays = {}
        for layer in list(self.parts):
            arrays[layer] = _joined(self.parts.pop(layer))
            _core.release_buffers()  # where its parts were
        return arrays

    def _check(self, size: int, what: str) -> None:
        if size > self.limit:
            raise MemoryError(
                f"{what} take {size_in_words(size)} ({size} bytes) in memory, "
                f"more than {size_in_words(self.limit)}: "
                f"write them to disk (out=), pool, choose fewer layers or samples, or raise max_bytes"
            )


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _widened(X: torch.Tensor) -> torch.Tensor:
    """Return bfloat16, which NumPy lacks, as float32."""
    return X.float() if X.dtype == torch.bfloat16 else X
