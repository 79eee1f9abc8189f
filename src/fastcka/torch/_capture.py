# SPDX-License-Identifier: BSD-3-Clause
"""Run a model on a batch and keep what the chosen layers give, as rows of matrices in CPU memory.

Hooks exist only while a batch runs. They pool and copy at once, so that nothing which happens to the
activations later (in-place ReLUs, residual sums) reaches the record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from .. import _core
from ._inputs import Inputs
from ._masks import Sides
from ._outputs import hidden_states, tensors
from ._pool import PoolLike, Pools, Tensor, Unfit
from ._rows import Rows
from ._select import COMPILED, HIDDEN, ROOT, LayersLike, Module, Pattern, Selection, split
from ._state import uncompiled

_NEVER_RAN = "it did not run"
_SCRIPTED = "it is compiled by torch.jit, and cannot be watched"
_NO_TENSOR = "it returned no tensor"


@dataclass
class _Record:
    """What one batch gave."""

    inputs: Inputs
    rows: dict[str, Tensor] = field(default_factory=dict)  # in the order of the calls
    calls: dict[str, int] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)  # seen but not chosen: reason
    positions: Tensor | None = None  # that became rows, (n_samples, positions) bool
    side: str = ""  # whose they are


class Capture:
    """The chosen layers of one model.

    `names` are known after the first batch, and the same from then on; `skipped` says why others that were
    chosen are not among them, and `unfit` are those of them whose tensors could not be used.
    """

    def __init__(
        self, model: Module, layers: LayersLike, pool: PoolLike, *, side: str = "", dtype: Any = None
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model{side} must be a torch.nn.Module, got {type(model).__name__}")
        self.model = unwrapped(model)
        self.owner = f" of model{side}" if side else ""
        self.selection = Selection(self.model, layers, f"layers{side}")
        self.pools = Pools(pool, f"pool{side}")
        self.sides = Sides(self.model, self.selection.all_modules)
        self.dtype = dtype
        self.names: tuple[str, ...] | None = None
        self.widths: dict[str, int] = {}
        self.skipped: dict[str, str] = {}
        self.unfit: dict[str, str] = {}

    def run(self, inputs: Inputs) -> Rows:
        """Run the model on one batch."""
        record = _Record(inputs)
        try:
            with self._hooks(record), uncompiled(self.model):
                output = self.model(*inputs.args, **inputs.kwargs)
        except Exception as error:
            if self.owner:
                error.add_note(f"while running{self.owner.removeprefix(' of')}")
            raise
        self._see(record, ROOT, output)
        self._see_hidden_states(record, output)
        self._check(record)
        if self.names is None:
            self._settle(record)
        return Rows(self._agreeing(record), inputs.n_samples, record.positions, record.side)

    @contextmanager
    def _hooks(self, record: _Record) -> Iterator[None]:
        handles = []
        try:
            for name, module in self.selection.modules.items():
                hook = partial(self._hook, record, name)
                handles.append(module.register_forward_hook(hook))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, record: _Record, name: str, module: Module, args: Any, output: Any) -> None:
        self._see(record, name, output)

    # ------------------------------------------------------------------------------------- during a batch

    def _see(self, record: _Record, name: str, output: Any) -> None:
        call = record.calls.get(name, 0)
        record.calls[name] = call + 1
        if call:
            record.others[f"{name}#{call - 1}"] = "an earlier call for the same batch"
        found = tensors(output)
        if not found:
            record.others[name] = f"{_NO_TENSOR} but {type(output).__name__}"
        for part, tensor in found.items():
            layer = f"{name}:{part}" if part else name
            for chosen in (layer, f"{layer}#{call}"):
                if self.selection.choosers(chosen):
                    self._record(record, chosen, tensor)
                elif part and chosen == layer and tensor is not found[""]:
                    record.others[layer] = f"a further tensor of the output of {name!r}"

    def _see_hidden_states(self, record: _Record, output: Any) -> None:
        for short, tensor in hidden_states(output).items():
            if self.selection.hidden_state(short):
                self._record(record, f"{HIDDEN}.{short}" if short in record.rows else short, tensor)

    def _record(self, record: _Record, layer: str, tensor: Tensor) -> None:
        for found in (record.rows, record.unfit):  # the last call counts, and has its place among the others
            found.pop(layer, None)
        mask = None
        try:
            if self.pools.masked(layer, tensor):
                mask = self.sides.mask_of(layer, record.inputs.masks)
            rows = self.pools.apply(layer, tensor.detach(), mask, record.inputs.n_samples)
            if self.pools.tokens:
                self._count_positions(record, layer, tensor, mask)
            record.rows[layer] = self._converted(rows)
        except Unfit as error:
            record.unfit[layer] = str(error)

    def _count_positions(self, record: _Record, layer: str, tensor: Tensor, mask: Tensor | None) -> None:
        """Check that the positions of a layer are those of earlier ones: they are the samples."""
        side = self.sides.of(layer)
        positions = torch.ones(tensor.shape[:2], dtype=torch.bool) if mask is None else mask
        if side == "either":
            raise Unfit("whether its positions are those of the encoder or of the decoder is not known")
        if record.positions is None:
            record.positions, record.side = positions, side
        if positions.shape[1] != record.positions.shape[1]:
            raise Unfit(f"it has {positions.shape[1]} positions, earlier layers {record.positions.shape[1]}")
        if side != record.side:
            raise Unfit(f"its positions are those of the {side}, in earlier layers of the {record.side}")

    def _converted(self, rows: Tensor) -> Tensor:
        """Copy rows to CPU memory, in a type that can be compared."""
        wanted = self.dtype
        if wanted is None and rows.is_floating_point() and rows.element_size() < 2:
            wanted = torch.float32  # 8-bit formats
        return _empty(rows.shape, wanted or rows.dtype).copy_(rows)

    # ------------------------------------------------------------------------------------- after a batch

    def _check(self, record: _Record) -> None:
        """Refuse what cannot go on: a layer asked for by name that gives nothing, or one that changed."""
        for layer, reason in record.unfit.items():
            if self.names is None:
                if any(pattern.exact for pattern in self._choosers(layer)):
                    raise ValueError(f"layer {layer!r}{self.owner}: {reason}")
            elif layer in self.names:
                raise ValueError(f"layer {layer!r}{self.owner}, which fitted in earlier batches: {reason}")

    def _choosers(self, layer: str) -> list[Pattern]:
        return [*self.selection.choosers(layer), *self.selection.hidden_state(layer)]

    def _settle(self, record: _Record) -> None:
        """Fix the layers after the first batch, and say of the others why they are not among them."""
        selection = self.selection
        fitting = {p for layer in [*record.rows, *record.unfit] for p in self._choosers(layer)}
        for k, pattern in enumerate(selection.patterns):
            if pattern not in fitting:
                self._explain(k, record)
        self.skipped |= {name: _NEVER_RAN for name in selection.modules if name not in record.calls}
        self.skipped |= dict.fromkeys(selection.scripted, _SCRIPTED)
        self.skipped |= {alias: f"the same module as {name!r}" for alias, name in selection.aliases.items()}
        self.skipped |= {
            layer: reason
            for layer, reason in record.others.items()
            if layer not in record.rows and (selection.alone or split(layer)[0] != ROOT)
        }
        self.skipped |= record.unfit
        self.unfit = record.unfit
        if not record.rows:
            reasons = "; ".join(f"{layer!r}: {reason}" for layer, reason in list(self.skipped.items())[:5])
            raise ValueError(f"{selection.argument}: no layer gives activations that can be used ({reasons})")
        self.names = tuple(record.rows)
        self.widths = {layer: rows.shape[1] for layer, rows in record.rows.items()}

    def _explain(self, k: int, record: _Record) -> None:
        """Refuse a pattern that gave no layer, unless it is a broad one whose modules merely gave nothing."""
        selection, pattern = self.selection, self.selection.patterns[k]
        if pattern.exact and pattern.text in [*selection.modules, *selection.scripted]:
            known = dict.fromkeys(selection.scripted, _SCRIPTED) | record.others
            reason = known.get(pattern.text, _NEVER_RAN)
            raise ValueError(f"{selection.argument}: layer {pattern.text!r}: {reason}")
        modules = any(pattern.may_match(name, module) for name, module in selection.all_modules.items())
        if pattern.has(":") or pattern.has("#") or not (modules or (selection.alone and record.others)):
            raise selection.unmatched(pattern, [*record.rows, *record.unfit, *record.others])

    def _agreeing(self, record: _Record) -> dict[str, Tensor]:
        """Return the rows of the layers of the first batch, after a check that all are there and as wide."""
        for layer in self.names or ():
            if layer not in record.rows:
                raise ValueError(f"layer {layer!r}{self.owner} ran for earlier batches, but not for this one")
            if (width := record.rows[layer].shape[1]) != self.widths[layer]:
                raise ValueError(
                    f"layer {layer!r}{self.owner} has {width} features in this batch, "
                    f"{self.widths[layer]} in the first one: bring all inputs to one size, or pool over "
                    f"positions ('mean', 'gap', 'last', ...)"
                )
        for layer in record.rows:
            if layer not in self.widths:
                self.skipped[layer] = "it did not run for the first batch"
        return {layer: record.rows[layer] for layer in self.names or ()}


def _empty(shape: tuple[int, ...], dtype: Any) -> Tensor:
    """Return memory from the core, which keeps it for the next batch: fresh pages cost more than a copy."""
    return torch.from_numpy(_core.empty_bytes(math.prod(shape) * dtype.itemsize)).view(dtype).view(shape)


def unwrapped(model: Module) -> Module:
    """Return the model inside of DataParallel, DistributedDataParallel and torch.compile.

    The module itself runs, on one device: its hooks see whole batches, and no other process is waited for.
    """
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while isinstance(model, wrappers) or hasattr(model, COMPILED):
        model = model.module if isinstance(model, wrappers) else model._orig_mod
    return model
