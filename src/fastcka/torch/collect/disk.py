# SPDX-License-Identifier: BSD-3-Clause
"""Activations written into a store batch by batch, with resume after an interrupted run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ..._machine import size_in_words
from ...store import Store, is_store, open_store
from ...store.creating import create_store
from ...store.writing import StoreWriter
from .._common import as_array
from ..data.inputs import SampleId
from ..data.loaders import SampleIds, unsure
from ..layers.capture import Capture
from ..layers.rows import Rows
from ..layers.state import noted

_KEY = "extract"  # in the provenance of a store: what this module notes
_LEFT_OUT = "left_out"


class Written:
    """Appends rows to the store at `out`."""

    def __init__(
        self,
        out: str | os.PathLike[str],
        limit: int,
        capture: Capture,
        settings: Mapping[str, object],
        provenance: Mapping[str, Any] | None,
        loader: Any,
        names: SampleIds,
        origin: Mapping[str, Any],
    ) -> None:
        self.path, self.limit, self.capture, self.origin = Path(out), limit, capture, origin
        if _KEY in (provenance or {}):
            raise ValueError(
                f"provenance: the entry {_KEY!r} is reserved for the settings that extract records"
            )
        self.noted = noted(capture.model, settings)
        self.provenance = dict(provenance or {})
        self.writer: StoreWriter | None = None
        self.samples: list[str] | None = None  # their ids on disk
        self.n_samples = 0  # on disk
        if is_store(self.path):
            self._resume(open_store(self.path), capture, loader, names)

    def _resume(self, store: Store, capture: Capture, loader: Any, names: SampleIds) -> None:
        """Take stock of what is on disk, and refuse to add what does not belong there."""
        stored = store.provenance
        then_noted = stored.pop(_KEY, None)
        if then_noted is None:
            raise ValueError(f"out: the store {self.path} was not written by extract; choose another place")
        then_noted = {k: value for k, value in then_noted.items() if k not in (_LEFT_OUT, *self.origin)}
        for then, now in ((then_noted, self.noted), (stored, self.provenance)):
            for key in [*now, *then]:
                if then.get(key) != now.get(key):
                    raise ValueError(
                        f"out: the store {self.path} is of another run: {key} was {then.get(key)!r} there, "
                        f"and is {now.get(key)!r} here; choose another place, or remove that store"
                    )
        if store.n_samples and "<lambda>" in str(self.noted["pool"]):
            raise ValueError(
                f"out: cannot resume {self.path}: it was pooled by a lambda, which cannot be compared with "
                f"another; use a named function, and choose another place"
            )
        self.n_samples = store.n_samples
        if capture.maker.pools.tokens:
            rows = [str(i).rpartition(":")[0] for i in store.ids or ()]
            self.samples = [s for k, s in enumerate(rows) if k == 0 or s != rows[k - 1]]
            self.n_samples = len(self.samples)
        elif store.ids is not None:
            self.samples = list(map(str, store.ids))
        if self.n_samples and names.source is None and (reason := unsure(loader)):
            raise ValueError(
                f"out: cannot resume {self.path}: the loader {reason}, and without ids= its samples "
                f"cannot be compared with those on disk"
            )
        if (
            self.n_samples
            and not capture.maker.pools.tokens
            and (self.samples is None) != (names.source is None)
        ):
            has, here = ("no ids", "has") if self.samples is None else ("ids", "has none")
            raise ValueError(f"out: the samples in the store {self.path} have {has}, and this run {here}")

    def __enter__(self) -> Written:
        if is_store(self.path):
            self.writer = create_store(self.path, if_exists="append")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def start_of(self, start: int, stop: int, ids: list[SampleId] | None) -> int:
        """Return the first sample of a batch that is not on disk; check the ids of those that are."""
        kept = min(max(self.n_samples, start), stop)
        if self.samples is not None and ids is not None:
            there = self.samples[start:kept]
            for k, (then, now) in enumerate(zip(there, map(str, ids), strict=False)):
                if then != now:
                    raise ValueError(
                        f"out: the store {self.path} has other samples than the loader: sample {start + k} "
                        f"is {then!r} there and {now!r} here"
                    )
        return kept

    def plan(self, capture: Capture, rows: Rows, total: int | None) -> str:
        """Refuse what is too much or does not fit; say how much will be written. A new store is made last."""
        said = self._size_in_words(rows, total)
        if self.writer is None:
            notes = {**self.noted, **self.origin, _LEFT_OUT: capture.skipped}
            self.writer = create_store(self.path, provenance={**self.provenance, _KEY: notes})
        elif (
            self.writer.layers
            and (there := {k: v[0] for k, v in self.writer.layers.items()}) != capture.widths
        ):
            raise ValueError(
                f"out: the store {self.path} has the layers {there}, this run has {capture.widths}"
            )
        return said

    def _size_in_words(self, rows: Rows, total: int | None) -> str:
        per_batch = sum(X.element_size() * X.numel() for X in rows.layers.values())
        if total is None:
            return f"{len(rows.layers)} layers, {size_in_words(per_batch / rows.n_samples)} a sample on disk"
        size = per_batch * total // rows.n_samples
        if self.limit and size > self.limit:
            raise MemoryError(
                f"{len(rows.layers)} layers of {total} samples take {size_in_words(size)} "
                f"({size} bytes) on disk, "
                f"more than max_bytes={self.limit}"
            )
        done = f", {self.n_samples} samples are there" if self.n_samples else ""
        return f"{len(rows.layers)} layers of {total} samples, {size_in_words(size)} in {self.path}{done}"

    def add(self, rows: Rows, ids: list[SampleId] | None) -> None:
        """Append the rows of a batch."""
        assert self.writer is not None  # plan() came before
        for layer in self.writer.layers:
            if layer not in rows.layers:
                raise ValueError(f"layer {layer!r}, which is in {self.path}: {self.capture.dropped[layer]}")
        self.writer.append({layer: as_array(X, layer) for layer, X in rows.layers.items()}, ids)

    def result(self, capture: Capture, n_samples: int) -> Store:
        """Return the store, opened."""
        if n_samples < self.n_samples:
            raise ValueError(
                f"out: the store {self.path} has {self.n_samples} samples, this run gives only {n_samples}"
            )
        assert self.writer is not None
        self.writer.close()
        return open_store(self.path)
