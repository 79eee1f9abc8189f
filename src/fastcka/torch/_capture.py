# SPDX-License-Identifier: BSD-3-Clause
"""Run a model on a batch and keep what the chosen layers give, as rows of matrices in CPU memory.

Hooks exist only while a batch runs. They pool and copy at once, so that nothing which happens to the
activations later (in-place ReLUs, residual sums) reaches the record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import torch

from .. import _core
from ._axes import Axes, Tracker, speaks_of_axes
from ._inputs import Inputs
from ._masks import MaskChoice, MaskLike
from ._outputs import hidden_states, tensors
from ._pool import PoolLike, Pools, Tensor, Unfit
from ._rows import Rows
from ._select import COMPILED, HIDDEN, ROOT, LayersLike, Module, Pattern, Selection, patterns, split
from ._state import config_of, uncompiled

AxesLike: TypeAlias = Mapping[str, str] | None

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
    constant: set[str] = field(default_factory=set)  # of those, what does not depend on samples, as positions
    others: dict[str, str] = field(default_factory=dict)  # seen but not chosen: reason
    tracker: Tracker | None = None  # of axes, for the first batch
    axes: dict[str, Axes] = field(default_factory=dict)  # that it found
    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # hidden states of modules
    positions: Tensor | None = None  # that became rows, (n_samples, positions) bool
    side: str = ""  # whose they are


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
        side: str = "",
        dtype: Any = None,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model{side} must be a torch.nn.Module, got {type(model).__name__}")
        self.model = unwrapped(model)
        self.owner = f" of model{side}" if side else ""
        self.selection = Selection(self.model, layers, f"layers{side}")
        self.pools = Pools(pool, f"pool{side}")
        self.told = _read_axes(axes, f"axes{side}")
        self.axes: dict[str, Axes] = {}  # of the layers of the first batch
        self.masks = MaskChoice(self.model, mask, f"mask{side}")
        self.dtype = dtype
        self.names: tuple[str, ...] | None = None
        self.widths: dict[str, int] = {}
        self.skipped: dict[str, str] = {}
        self.unfit: dict[str, str] = {}
        self.dropped: dict[str, str] = {}  # after the first batch

    def run(self, inputs: Inputs) -> Rows:
        """Run the model on one batch."""
        record = _Record(inputs)
        if self.names is None:
            record.tracker = Tracker()
            record.tracker.note_inputs(inputs.named, inputs.n_samples)
        try:
            with self._hooks(record), uncompiled(self.model), record.tracker or nullcontext():
                output = self.model(*inputs.args, **inputs.kwargs)
        except Exception as error:
            if inputs.advice:
                error.add_note(inputs.advice)
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
            if record.tracker is not None:  # first, so that a layer is noted before it is recorded
                note = partial(_note, record.tracker)
                speaking = filter(speaks_of_axes, self.model.modules())
                handles += [module.register_forward_hook(note, with_kwargs=True) for module in speaking]
            if self.selection.asks_for_hidden_states:
                for name, module in self.selection.all_modules.items():
                    if config_of(module) is not None:
                        handles.append(module.register_forward_hook(partial(self._see_part, record, name)))
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
        found = hidden_states(output)
        if not found:  # the model does not hand on those of its parts
            outer = [p for p in record.parts if not any(p.startswith(f"{q}.") for q in record.parts)]
            for part in outer:
                prefix = f"{part}." if len(outer) > 1 else ""
                found |= {f"{prefix}{short}": tensor for short, tensor in record.parts[part].items()}
        for short, tensor in found.items():
            if self.selection.hidden_state(short):
                self._record(record, f"{HIDDEN}.{short}" if short in record.rows else short, tensor)

    def _see_part(self, record: _Record, name: str, module: Module, args: Any, output: Any) -> None:
        if states := hidden_states(output):
            record.parts[name] = states

    def _record(self, record: _Record, layer: str, tensor: Tensor) -> None:
        for found in (record.rows, record.unfit):  # the last call counts, and has its place among the others
            found.pop(layer, None)
        try:
            rows = self._pooled(record, layer, tensor.detach(), self._axes_of(record, layer, tensor))
            record.rows[layer] = self._converted(rows)
        except Unfit as error:
            record.unfit[layer] = str(error)
            if tensor.ndim and len(tensor) == 1 != record.inputs.n_samples:
                record.constant.add(layer)

    def _pooled(self, record: _Record, layer: str, x: Tensor, axes: Axes) -> Tensor:
        n, inputs, pools = record.inputs.n_samples, record.inputs, self.pools
        by_function = callable(pools.of(layer))
        if not by_function:
            _check_dense(x, axes.letters, n)
        mask = None
        if pools.asks_for_mask(layer) or (not by_function and _may_have_positions(axes.letters)):
            mask = self.masks.of(layer, axes, inputs.named, inputs.masks)
        if not by_function and mask is not None and "?" in axes.letters and not mask.all():
            raise Unfit(f"which of its axes are positions is not known: {tuple(x.shape)}; say so with axes=")
        rows = pools.apply(layer, x, axes.letters, mask, n)
        if pools.tokens:
            shape = (n, x.shape[axes.letters.index("p")])
            self._count_positions(record, axes, torch.ones(shape, dtype=torch.bool) if mask is None else mask)
        return rows

    def _axes_of(self, record: _Record, layer: str, tensor: Tensor) -> Axes:
        """Return what the axes of a layer are: as told by the user, as followed, or samples first."""
        known = self.axes.get(layer)
        if known is None:
            known = (record.tracker and record.tracker.of(tensor)) or Axes("?" * tensor.ndim)
            for pattern, letters in self.told:
                if pattern.matches(layer) or pattern.matches(split(layer)[0]):
                    known = replace(known, letters=letters, conflict="")
                    break
            known = replace(known, letters=_with_samples(known.letters, tensor, record.inputs.n_samples))
            record.axes[layer] = known
        if known.conflict and not callable(self.pools.of(layer)):
            raise Unfit(f"{known.conflict}: say with axes= what its axes are")
        if len(known.letters) != tensor.ndim:
            raise Unfit(f"its shape is {tuple(tensor.shape)}, which does not fit its axes {known.letters!r}")
        return known

    def _count_positions(self, record: _Record, axes: Axes, positions: Tensor) -> None:
        """Check that the positions of a layer are those of earlier ones: they are the samples."""
        side = self.masks.side(axes)
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
                reason = f"it fitted in earlier batches, but now {reason}"
                if any(pattern.exact for pattern in self._choosers(layer)) or len(self.names) == 1:
                    raise ValueError(f"layer {layer!r}{self.owner}: {reason}")
                self.names = tuple(name for name in self.names if name != layer)
                self.dropped[layer] = self.skipped[layer] = reason

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
        self.unfit = {k: reason for k, reason in record.unfit.items() if k not in record.constant}
        if not record.rows:
            reasons = "; ".join(f"{layer!r}: {reason}" for layer, reason in list(self.skipped.items())[:5])
            raise ValueError(f"{selection.argument}: no layer gives activations that can be used ({reasons})")
        self.names = tuple(record.rows)
        self.axes = record.axes
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
            if layer not in self.widths and self.skipped.get(layer, _NEVER_RAN) == _NEVER_RAN:
                self.skipped[layer] = "it did not run for the first batch"
        return {layer: record.rows[layer] for layer in self.names or ()}


def _note(tracker: Tracker, module: Module, args: Any, kwargs: Any, output: Any) -> None:
    tracker.see(module, args, kwargs, output)


def _read_axes(axes: AxesLike, argument: str) -> list[tuple[Pattern, str]]:
    if not isinstance(axes, Mapping | None):
        raise TypeError(f"{argument} must be a mapping of patterns of layers to axes such as 'npf', or None")
    found = []
    for text, letters in (axes or {}).items():
        word = str(letters)
        if set(word) - set("ncpf") or word.count("n") != 1:
            raise ValueError(
                f"{argument}: {letters!r} for {text!r}: write a letter for each axis, n (samples, once), "
                f"c (channels), p (positions), f (features), as in 'npf' or 'ncpp'"
            )
        found += [(pattern, letters) for pattern in patterns(text, argument)]
    return found


def _with_samples(letters: str, tensor: Tensor, n: int) -> str:
    """Return letters of which one is "n": the first axis, unless another may be it, too."""
    if "n" in letters or tensor.ndim == 0 or letters[0] not in "?":
        return letters
    others = [k for k in range(1, tensor.ndim - 1) if letters[k] == "?" and tensor.shape[k] == n]
    if tensor.shape[0] != n or (others and n > 1):
        return letters
    rest = letters[1:]
    return "n" + (rest.replace("?", "p") if rest.endswith("f") else rest)


def _may_have_positions(letters: str) -> bool:
    return "p" in letters or letters.count("?") > 1 or len(letters) > 2


def _check_dense(x: Tensor, letters: str, n: int) -> None:
    """Check that activations are numbers with one row for each of n samples."""
    if x.layout != torch.strided or x.is_nested:
        raise Unfit(f"its tensor is not dense but {'nested' if x.is_nested else x.layout}")
    if x.is_complex():
        raise Unfit("its values are complex")
    if x.ndim == 0:
        raise Unfit("it gives a single number, not one row for each sample")
    shape = tuple(x.shape)
    if "n" not in letters and shape[0] == n:
        raise Unfit(
            f"which of its axes are the samples is not known: shape {shape} for {n} samples; "
            f"say so with axes="
        )
    if "n" not in letters or shape[letters.index("n")] != n:
        raise Unfit(
            f"its first dimension is not the batch: shape {shape} for {n} samples; axes= or a function as "
            f"pool can bring it into place"
        )
    if x.numel() == 0 and n > 0:
        raise Unfit(f"it has no features: its shape is {shape}")


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
