# SPDX-License-Identifier: BSD-3-Clause
"""Run two models on the same samples, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ._capture import Capture
from ._inputs import Ids, Inputs, Reader, SampleIds
from ._loaders import batches, exact_length
from ._order import unsure
from ._rows import Rows


class Pairs:
    """The two models, and where their inputs come from: one loader for both, or one each."""

    def __init__(
        self,
        captures: tuple[Capture, Capture],
        loader: Any,
        loader_b: Any,
        transform_b: Callable[[Any], Any] | None,
        ids: Ids,
        ids_b: Ids,
        n_samples: int | None,
        device: object = None,
    ) -> None:
        self.captures, self.loader, self.loader_b = captures, loader, loader_b
        self.transform_b, self.n_samples = transform_b, n_samples
        self.readers = [Reader(c.model, device, c.masks.keys) for c in captures]
        if loader_b is None and (ids is not None or ids_b is not None):
            raise ValueError("ids are compared between loader and loader_b, and there is no loader_b")
        if ids_b is None and (isinstance(ids, str) or callable(ids)):
            ids_b = ids
        if (ids is None) != (ids_b is None):
            raise ValueError("ids and ids_b belong together: give the ids of both loaders, or of none")
        self.ids = [SampleIds(ids, "ids"), SampleIds(ids_b, "ids_b")]
        if loader_b is not None:
            self._check_loaders(named=ids is not None)

    def _check_loaders(self, named: bool) -> None:
        """Refuse two loaders of which it is known that they do not give the same samples."""
        advice = (
            "leave loader_b out (one loader is read once for both models), use shuffle=False, or give ids"
        )
        if not named:
            for argument, loader in (("loader", self.loader), ("loader_b", self.loader_b)):
                if reason := unsure(loader):
                    raise ValueError(f"{argument} {reason}, and cannot be paired with another one: {advice}")
        n, n_b = exact_length(self.loader), exact_length(self.loader_b)
        if n is None or n_b is None or n == n_b:
            return
        if self.n_samples is None or self.n_samples > min(n, n_b):
            raise ValueError(
                f"loader has {n} samples and loader_b {n_b}: both must give the same ones in the same order"
            )

    def __iter__(self) -> Iterator[tuple[int, Rows, Rows]]:
        """Give the rows of both models for each batch, with the number of its first sample."""
        others = None if self.loader_b is None else iter(self.loader_b)
        done = 0
        for batch, inputs, stop in batches(self.loader, self.readers[0], self.n_samples):
            batch_b = batch if others is None else next(others, _END)
            if batch_b is _END:
                raise ValueError(f"loader_b ended after {done} samples, loader goes on")
            inputs, inputs_b = self._call_b(batch, batch_b, inputs, done)
            if inputs.n_samples == 0:
                continue
            a, b = (
                c.run(i).samples(0, stop - done)
                for c, i in zip(self.captures, (inputs, inputs_b), strict=True)
            )
            _check_positions(a, b)
            yield done, a, b
            del a, b  # their memory is for the next batch
            done = stop
        finished = self.n_samples is None or done < self.n_samples
        if others is not None and finished and next(others, _END) is not _END:
            raise ValueError(f"loader ended after {done} samples, loader_b goes on")

    def _call_b(self, batch: Any, batch_b: Any, inputs: Inputs, start: int) -> tuple[Inputs, Inputs]:
        """Return the calls of both models, after a check that they are of the same samples."""
        ids = self.ids[0].of(batch, start, inputs.n_samples)
        if self.transform_b is not None:
            transformed = self.transform_b(batch_b)
            inputs_b = self.readers[1].read(transformed)
        else:
            inputs_b = self.readers[1].read(batch_b)
        if inputs.n_samples != inputs_b.n_samples:
            whose = "transform_b" if self.loader_b is None else "loader_b"
            advice = "" if self.loader_b is None else ": give both loaders the same batch_size"
            raise ValueError(
                f"the batch from sample {start} on has {inputs.n_samples} samples from loader but "
                f"{inputs_b.n_samples} from {whose}{advice}"
            )
        ids_b = self.ids[1].of(batch_b, start, inputs.n_samples)
        if ids != ids_b and ids is not None and ids_b is not None:
            k = next(k for k, pair in enumerate(zip(ids, ids_b, strict=True)) if pair[0] != pair[1])
            raise ValueError(
                f"the loaders give different samples: sample {start + k} is {ids[k]!r} from loader and "
                f"{ids_b[k]!r} from loader_b"
            )
        if self.loader_b is None and self.transform_b is None:  # one batch: its masks hold for both models
            masks = {**inputs_b.masks, **inputs.masks}
            return replace(inputs, masks=masks), replace(inputs_b, masks=masks)
        return inputs, inputs_b


_END = object()


def _check_positions(a: Rows, b: Rows) -> None:
    """Check, where positions are the samples, that they are the same in both models."""
    if a.positions is None or b.positions is None:
        return
    if {a.side, b.side} == {"encoder", "decoder"}:
        raise ValueError(
            f"pool 'tokens' compares the same positions in both models, but those of model_a are of the "
            f"{a.side} and those of model_b of the {b.side}: pool over positions ('mean', 'last', 'cls')"
        )
    if a.positions.shape != b.positions.shape or not bool((a.positions == b.positions).all()):
        raise ValueError(
            f"pool 'tokens' compares the same positions in both models, but there are {len(a)} of "
            f"{tuple(a.positions.shape)} in model_a and {len(b)} of {tuple(b.positions.shape)} in model_b: "
            f"pool over positions instead ('mean', 'last', 'cls')"
        )
