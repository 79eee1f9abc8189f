# SPDX-License-Identifier: BSD-3-Clause
"""The same samples for several models, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from .inputs import Ids, Inputs, Reader
from .loaders import SampleIds, batches, exact_length, unsure

Transform = Callable[[Any], Any] | None


class Calls:
    """Where the inputs of models come from: one loader for all of them, or of two models one each.

    `transforms` make the batch of a model from that of the loader; `arguments` are what they are called in
    errors. The inputs of the first model lead: the others must have as many samples.
    """

    def __init__(
        self,
        readers: Sequence[Reader],
        loader: Any,
        transforms: Sequence[Transform],
        n_samples: int | None,
        *,
        arguments: Sequence[str],
        loader_b: Any = None,
        ids: Ids = None,
        ids_b: Ids = None,
    ) -> None:
        self.readers, self.loader, self.loader_b = readers, loader, loader_b
        self.arguments = arguments
        self.transforms, self.n_samples = transforms, n_samples
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

    def __iter__(self) -> Iterator[tuple[int, int, list[Inputs]]]:
        """Give the calls of all models for each batch, the number of its first sample, and its last one."""
        others = None if self.loader_b is None else iter(self.loader_b)
        done = 0
        for batch, inputs, stop in batches(self.loader, self.readers[0], self.n_samples, self.transforms[0]):
            batch_b = batch if others is None else next(others, _END)
            if batch_b is _END:
                raise ValueError(f"loader_b ended after {done} samples, but loader has more")
            calls = self._calls(batch, batch_b, inputs, done)
            if inputs.n_samples == 0:
                continue
            yield done, stop, calls
            del calls  # their memory is for the next batch
            done = stop
        finished = self.n_samples is None or done < self.n_samples
        if others is not None and finished and next(others, _END) is not _END:
            raise ValueError(f"loader ended after {done} samples, but loader_b has more")

    def _calls(self, batch: Any, batch_b: Any, first: Inputs, start: int) -> list[Inputs]:
        """Return the calls of all models, after a check that they are of the same samples."""
        ids = self.ids[0].of(batch, start, first.n_samples)
        calls = [first]
        for argument, reader, transform in list(
            zip(self.arguments, self.readers, self.transforms, strict=True)
        )[1:]:
            whose = "loader_b" if self.loader_b is not None else argument
            try:
                call = reader.read(batch_b if transform is None else transform(batch_b))
            except (TypeError, ValueError) as error:
                error.add_note(f"the batch from sample {start} on, from {whose}")
                raise
            if call.n_samples != first.n_samples:
                advice = "" if self.loader_b is None else ": give both loaders the same batch_size"
                raise ValueError(
                    f"the batch from sample {start} on has {first.n_samples} samples from loader but "
                    f"{call.n_samples} from {whose}{advice}"
                )
            calls.append(call)
        ids_b = self.ids[1].of(batch_b, start, first.n_samples)
        if ids != ids_b and ids is not None and ids_b is not None:
            k = next(k for k, pair in enumerate(zip(ids, ids_b, strict=True)) if pair[0] != pair[1])
            raise ValueError(
                f"the loaders give different samples: sample {start + k} is {ids[k]!r} from loader and "
                f"{ids_b[k]!r} from loader_b"
            )
        if self.loader_b is None:  # one batch: its masks hold for all models that read it as it is
            same = [k for k, transform in enumerate(self.transforms) if transform is None]
            masks = {name: mask for k in reversed(same) for name, mask in calls[k].masks.items()}
            if masks:
                calls = [replace(c, masks=masks) if k in same else c for k, c in enumerate(calls)]
        return calls


_END = object()
