# SPDX-License-Identifier: BSD-3-Clause
"""Run a model on a batch and keep what the chosen layers give, as rows of matrices.

Layers are settled by the first batch. Later ones cost what must be done for each of them: the hook, the
pooling and, where the memory of the model will not do, a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from .._common import Module, Tensor
from ..data.inputs import Inputs
from .hooks import Seen, Watch
from .maker import Batch, Maker, Which
from .masks import MaskLike
from .pooling import PoolLike, SplitLike, base
from .rows import Rows
from .selection import COMPILED, ROOT, LayersLike, Pattern, Selection, split
from .tracker import AxesLike, Tracker

_NEVER_RAN = "it did not run"
_SCRIPTED = "it is compiled by torch.jit, and cannot be watched"


class Capture:
    """The chosen layers of one model.

    `names` are known after the first batch, and the same from then on; `skipped` says why others that were
    chosen are not among them, and `unfit` are those of them whose tensors could not be used.
    """

    def __init__(
        self,
        model: Module,
        layers: LayersLike,
        pool: PoolLike,
        *,
        axes: AxesLike = None,
        mask: MaskLike = None,
        heads: SplitLike = None,
        max_tokens: int | None = None,
        side: str = "",
        owner: str = "",
        dtype: Any = None,
        borrow: bool = False,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(
                f"{owner or f'model{side}'} must be a torch.nn.Module, got {type(model).__name__}"
            )
        self.model = unwrapped(model)
        self.owner = f" of {owner or f'model{side}'}" if owner or side else ""
        self.selection = Selection(self.model, layers, f"layers{side}")
        self.maker = Maker(
            self.model,
            pool,
            self._is_named,
            axes=axes,
            mask=mask,
            heads=heads,
            max_tokens=max_tokens,
            side=side,
            dtype=dtype,
            borrow=borrow,
        )
        self.names: tuple[str, ...] | None = None
        self.widths: dict[str, int] = {}
        self.skipped: dict[str, str] = {}
        self.unfit: dict[str, str] = {}
        self.dropped: dict[str, str] = {}  # after the first batch
        self._watch = Watch(self.model, self.selection, self.maker)

    def left_out(self) -> list[str]:
        """Return the layers that gave tensors of no use, each with the reason."""
        return [f"layer {layer!r}{self.owner}: {reason}" for layer, reason in self.unfit.items()]

    def doubtful(self) -> list[str]:
        """Return the layers to be doubted, each with the reason."""
        return [f"layer {layer!r}{self.owner}: {reason}" for layer, reason in self.maker.notes.items()]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have hooks in the model. They do nothing but while `run` runs it."""
        with self._watch.installed():
            yield

    def run(self, inputs: Inputs, start: int = 0, which: Which | None = None) -> Rows:
        """Run the model on one batch, the first sample of which is number `start`.

        It runs once more where memory was borrowed that the model writes to, and where most layers of the
        first batch have other positions than the first of them.
        """
        batch = Batch(inputs, start, which=which)
        if self.names is None:
            batch.tracker = Tracker()
            batch.tracker.note_inputs(inputs.named, inputs.n_samples)
        try:
            seen = self._watch.run(batch)
        except Exception as error:
            if inputs.advice:
                error.add_note(inputs.advice)
            if self.owner:
                error.add_note(f"while running{self.owner.removeprefix(' of')}")
            raise
        overwritten, preferred = batch.overwritten(), batch.preferred()
        for name in overwritten:
            self._watch.copy(name)
        if overwritten or preferred is not None:
            return self.run(replace(inputs.again(), masks=inputs.masks), start, preferred or which)
        self._check(batch)
        for layer in self._watch.late:
            if self.skipped.get(layer, _NEVER_RAN) == _NEVER_RAN:
                self.skipped[layer] = "it did not run for the first batch"
        if self.names is None:
            self._settle(seen)
        return Rows(
            self._agreeing(batch),
            inputs.n_samples,
            None if batch.positions is None else batch.positions.values,
            batch.side,
            frozenset(batch.borrowed),
        )

    # ------------------------------------------------------------------------------------- after a batch

    def _check(self, batch: Batch) -> None:
        """Reject layers that make the run impossible: selected by name without output, or changed since."""
        for layer, reason in batch.unfit.items():
            if self.names is None:
                if self._is_named(layer):
                    raise ValueError(f"layer {layer!r}{self.owner}: {reason}")
            elif layer in self.names:
                reason = f"it fitted in earlier batches, but now {reason}"
                if self._is_named(layer) or len(self.names) == 1:
                    raise ValueError(f"layer {layer!r}{self.owner}: {reason}")
                self.names = tuple(name for name in self.names if name != layer)
                self.dropped[layer] = self.skipped[layer] = reason

    def _choosers(self, layer: str) -> list[Pattern]:
        return [*self.selection.choosers(base(layer)), *self.selection.hidden_state(base(layer))]

    def _is_named(self, layer: str) -> bool:
        """Return whether a layer is asked for by its own name."""
        return any(pattern.exact for pattern in self._choosers(layer))

    def _settle(self, seen: Seen) -> None:
        """Fix the layers after the first batch, and say of the others why they are not among them."""
        selection, batch = self.selection, seen.batch
        fitting = {p for layer in [*batch.rows, *batch.unfit] for p in self._choosers(layer)}
        for pattern in selection.patterns:
            if pattern not in fitting:
                self._explain(pattern, seen)
        self.skipped |= {name: _NEVER_RAN for name in selection.modules if name not in seen.calls}
        self.skipped |= dict.fromkeys(selection.scripted, _SCRIPTED)
        self.skipped |= {alias: f"the same module as {name!r}" for alias, name in selection.aliases.items()}
        self.skipped |= {
            layer: reason
            for layer, reason in seen.others.items()
            if layer not in batch.rows and (selection.alone or split(layer)[0] != ROOT)
        }
        self.skipped |= batch.unfit
        self.unfit = {k: reason for k, reason in batch.unfit.items() if k not in batch.constant}
        if not batch.rows:
            why = {**batch.unfit, **self.skipped}  # what could not be used tells more than what did not run
            reasons = "; ".join(f"{layer!r}: {reason}" for layer, reason in list(why.items())[:5])
            raise ValueError(f"{selection.argument}: no layer returns usable activations ({reasons})")
        self.names = tuple(batch.rows)
        self.widths = {layer: rows.shape[1] for layer, rows in batch.rows.items()}
        notes = self.maker.notes
        self.maker.notes = {layer: why for layer, why in notes.items() if layer in self.widths}
        self._watch.settle(batch)

    def complete(self, rows: Rows) -> Rows:
        """Return rows with zeros for layers that do not fit any more, so that all batches have the same."""
        if not self.dropped:
            return rows
        zeros = {layer: torch.zeros(len(rows), self.widths[layer]) for layer in self.dropped}
        return replace(rows, layers={layer: (rows.layers | zeros)[layer] for layer in self.widths})

    def _explain(self, pattern: Pattern, seen: Seen) -> None:
        """Refuse a pattern that gave no layer, unless it is a broad one whose modules merely gave nothing."""
        selection = self.selection
        if pattern.exact and pattern.text in [*selection.modules, *selection.scripted]:
            known = dict.fromkeys(selection.scripted, _SCRIPTED) | seen.others
            reason = known.get(pattern.text, _NEVER_RAN)
            raise ValueError(f"{selection.argument}: layer {pattern.text!r}: {reason}")
        modules = any(pattern.may_match(name, module) for name, module in selection.all_modules.items())
        if pattern.has(":") or pattern.has("#") or not (modules or (selection.alone and seen.others)):
            known_layers = [*seen.batch.rows, *seen.batch.unfit, *seen.others]
            raise selection.unmatched(pattern, known_layers)

    def _agreeing(self, batch: Batch) -> dict[str, Tensor]:
        """Return the rows of the layers of the first batch, after a check that all are there and as wide."""
        found = {}
        for layer in self.names or ():
            if layer not in batch.rows:
                raise ValueError(f"layer {layer!r}{self.owner} ran for earlier batches, but not for this one")
            rows = found[layer] = batch.rows[layer]
            if rows.shape[1] != self.widths[layer]:
                raise ValueError(
                    f"layer {layer!r}{self.owner} has {rows.shape[1]} features in this batch, "
                    f"{self.widths[layer]} in the first one: bring all inputs to one size, or pool over "
                    f"positions ('mean', 'gap', 'last', ...)"
                )
        return found


def unwrapped(model: Module) -> Module:
    """Return the model inside of DataParallel, DistributedDataParallel and torch.compile.

    The module itself runs, on one device: its hooks see whole batches, and no other process is waited for.
    """
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while isinstance(model, wrappers) or hasattr(model, COMPILED):
        model = model.module if isinstance(model, wrappers) else model._orig_mod
    return model
