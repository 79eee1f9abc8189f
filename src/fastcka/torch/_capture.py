# SPDX-License-Identifier: BSD-3-Clause
"""Run a model on a batch and keep what the chosen layers give, as rows of matrices.

Layers are settled by the first batch. Later ones cost what must be done for each of them: the hook, the
pooling and, where the memory of the model will not do, a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import torch

from ._axes import Axes, Tracker, speaks_of_axes
from ._common import Module, Tensor, Unfit
from ._inputs import Inputs
from ._masks import Mask, MaskChoice, MaskLike, TokenChoice
from ._pool import Pool, PoolLike, Pools, asks_for_mask
from ._rows import Rows, copied, empty
from ._select import (
    COMPILED,
    HIDDEN,
    INPUT,
    ROOT,
    LayersLike,
    Pattern,
    Selection,
    SplitLike,
    base,
    given,
    hidden_states,
    patterns,
    read_split,
    split,
    tensors,
)
from ._state import config_of, uncompiled

AxesLike: TypeAlias = Mapping[str, str] | None

_NEVER_RAN = "it did not run"
_SCRIPTED = "it is compiled by torch.jit, and cannot be watched"
_NO_TENSOR = "it returned no tensor"
_NAMED = 2**20  # what a layer asked for by name weighs, in others
_SAMPLE = 16  # rows of each layer of the first batch that are compared with a copy of them


@dataclass
class _Layer:
    """How the rows of one layer are made."""

    name: str
    how: Pool
    axes: Axes
    head: int = 0
    heads: int = 0  # 0: it is not split
    wants_mask: bool = False
    left_alone: bool = True  # nothing writes to its memory before the end of the batch


@dataclass
class _Record:
    """What one batch gave."""

    inputs: Inputs
    start: int = 0  # number of its first sample
    rows: dict[str, Tensor] = field(default_factory=dict)  # in the order of the calls
    calls: dict[str, int] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)  # of those, what does not depend on samples, as positions
    others: dict[str, str] = field(default_factory=dict)  # seen but not chosen: reason
    tracker: Tracker | None = None  # of axes, for the first batch
    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # hidden states of modules
    positions: Mask | None = None  # that became rows
    side: str = ""  # whose they are
    which: tuple[str, int, int | None] | None = None  # positions: whose, how many, by which mask
    votes: dict[tuple[str, int, int | None], int] = field(default_factory=dict)  # layers that have such ones
    borrowed: dict[str, tuple[Tensor, int]] = field(default_factory=dict)  # memory of the model, its version
    some: dict[str, Tensor] = field(default_factory=dict)  # a copy of some rows of that, in the first batch
    on_the_way: set[Any] = field(default_factory=set)  # devices from which copies have not arrived yet


class Capture:
    """The chosen layers of one model.

    `names` are known after the first batch, and the same from then on; `skipped` says why others that were
    chosen are not among them, and `unfit` are those of them whose tensors could not be used.

    `stay`: rows remain on the device where they are made, instead of being copied to CPU memory. `borrow`:
    rows that are memory of the model are not copied, if it leaves them alone; they are for use before the
    next batch.
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
        stay: bool = False,
        borrow: bool = False,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(
                f"{owner or f'model{side}'} must be a torch.nn.Module, got {type(model).__name__}"
            )
        self.model = unwrapped(model)
        self.owner = f" of {owner or f'model{side}'}" if owner or side else ""
        self.transform = f"transforms[{owner!r}]" if owner else f"transform{side}"  # the argument
        self.selection = Selection(self.model, layers, f"layers{side}")
        self.pools = Pools(pool, f"pool{side}")
        self.told = _read_axes(axes, f"axes{side}")
        self.heads = read_split(heads, f"split{side}")
        self.masks = MaskChoice(self.model, mask, f"mask{side}")
        if max_tokens is not None and not self.pools.tokens:
            raise ValueError("max_tokens is for pool='tokens', where positions are the samples")
        self.tokens = TokenChoice(max_tokens)
        self.dtype, self.stay, self.borrow = dtype, stay, borrow
        self.names: tuple[str, ...] | None = None
        self.widths: dict[str, int] = {}
        self.skipped: dict[str, str] = {}
        self.unfit: dict[str, str] = {}
        self.dropped: dict[str, str] = {}  # after the first batch
        self.notes: dict[str, str] = {}  # on layers that are there: why to doubt them
        self._layers: dict[str, _Layer] = {}
        self._plain: dict[str, list[_Layer]] = {}  # modules of which only the main output is wanted
        self._now: _Record | None = None  # while the model runs

    def left_out(self) -> list[str]:
        """Return the layers that gave tensors of no use, each with the reason."""
        return [f"layer {layer!r}{self.owner}: {reason}" for layer, reason in self.unfit.items()]

    def doubtful(self) -> list[str]:
        """Return the layers to be doubted, each with the reason."""
        return [f"layer {layer!r}{self.owner}: {reason}" for layer, reason in self.notes.items()]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have hooks in the model. They do nothing but while `run` runs it."""
        handles = []
        try:
            if self.selection.asks_for_hidden_states:
                for name, module in self.selection.all_modules.items():
                    if config_of(module) is not None:
                        handles.append(module.register_forward_hook(partial(self._see_part, name)))
            for name, module in self.selection.modules.items():
                if self.selection.asks_for_inputs:
                    hook = partial(self._see_input, name)
                    handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
                handles.append(module.register_forward_hook(partial(self._hook, name)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def run(self, inputs: Inputs, start: int = 0, which: tuple[str, int, int | None] | None = None) -> Rows:
        """Run the model on one batch, the first sample of which is number `start`.

        It runs once more where memory was borrowed that the model writes to, and where most layers of the
        first batch have other positions than the first of them.
        """
        record = _Record(inputs, start, which=which)
        if self.names is None:
            record.tracker = Tracker()
            record.tracker.note_inputs(inputs.named, inputs.n_samples)
        self._now = record
        try:
            with _noting(self.model, record.tracker), uncompiled(self.model):
                output = self.model(*inputs.args, **inputs.kwargs)
            self._see(record, ROOT, output)
            self._see_hidden_states(record, output)
        except Exception as error:
            if inputs.advice:
                error.add_note(inputs.advice)
            if self.owner:
                error.add_note(f"while running{self.owner.removeprefix(' of')}")
            raise
        finally:
            self._now = None
        for device in record.on_the_way:  # one wait for all copies of the batch
            torch.cuda.current_stream(device).synchronize()
        if overwritten := _overwritten(record):
            for name in overwritten:
                self._layers[name].left_alone = False
            return self.run(replace(inputs.again(), masks=inputs.masks), start, which)
        if record.votes and (most := max(record.votes, key=lambda key: record.votes[key])) != record.which:
            return self.run(replace(inputs.again(), masks=inputs.masks), start, most)
        self._check(record)
        if self.names is None:
            self._settle(record)
        rows, positions = self._agreeing(record), record.positions
        return Rows(
            rows,
            inputs.n_samples,
            None if positions is None else positions.values,
            record.side,
            frozenset(record.borrowed).intersection(rows),
        )

    # ------------------------------------------------------------------------------------- during a batch

    def _hook(self, name: str, module: Module, args: Any, output: Any) -> None:
        if (record := self._now) is None:
            return
        if (layers := self._plain.get(name)) is not None and isinstance(output, torch.Tensor):
            for layer in layers:
                self._take(record, layer, output)
        else:
            self._see(record, name, output)

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

    def _see_input(self, name: str, module: Module, args: Any, options: Any) -> None:
        if (record := self._now) is None:
            return
        call = record.calls.get(name, 0)
        for part, tensor in given(args, options).items():
            layer = f"{name}:{part}"
            for chosen in (layer, f"{layer}#{call}"):
                if any(INPUT in pattern.text for pattern in self.selection.choosers(chosen)):
                    self._record(record, chosen, tensor)

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

    def _see_part(self, name: str, module: Module, args: Any, output: Any) -> None:
        if self._now is not None and (states := hidden_states(output)):
            self._now.parts[name] = states

    def _record(self, record: _Record, name: str, tensor: Tensor) -> None:
        heads = self.heads(name)
        for head in range(heads or 1):
            full = f"{name}#h{head}" if heads else name
            layer = self._layers.get(full)
            if layer is None or record.tracker is not None:
                layer = self._layer(record, full, name, tensor, head, heads)
                layer.left_alone = full not in self._layers or self._layers[full].left_alone
                self._layers[full] = layer
            self._take(record, layer, tensor)

    def _layer(self, record: _Record, full: str, name: str, tensor: Tensor, head: int, heads: int) -> _Layer:
        how = self.pools.of(full)
        axes = self._axes_of(record, name, tensor)
        positions = "p" in axes.letters or axes.letters.count("?") > 1 or len(axes.letters) > 2
        wants_mask = asks_for_mask(how) or (not callable(how) and positions)
        return _Layer(full, how, axes, head, heads, wants_mask)

    def _axes_of(self, record: _Record, name: str, tensor: Tensor) -> Axes:
        """Return what the axes of a layer are: as told by the user, as followed, or samples first."""
        axes = (record.tracker and record.tracker.of(tensor)) or Axes("?" * tensor.ndim)
        for pattern, letters in self.told:
            if pattern.matches(name) or pattern.matches(split(name)[0]):
                axes = replace(axes, letters=letters, conflict="")
                break
        return replace(axes, letters=_with_samples(axes.letters, tensor, record.inputs.n_samples))

    def _take(self, record: _Record, layer: _Layer, x: Tensor) -> None:
        """Make rows of what a layer gave; the last call counts, and has its place among the others."""
        name = layer.name
        if self.names is not None and name not in self.widths:
            if self.skipped.get(name, _NEVER_RAN) == _NEVER_RAN:
                self.skipped[name] = "it did not run for the first batch"
            return
        record.rows.pop(name, None)
        record.borrowed.pop(name, None)
        record.unfit.pop(name, None)
        try:
            record.rows[name] = self._kept(record, layer, x, self._pooled(record, layer, x))
        except Unfit as error:
            record.unfit[name] = str(error)
            if x.ndim and len(x) == 1 != record.inputs.n_samples:
                record.constant.add(name)

    def _pooled(self, record: _Record, layer: _Layer, x: Tensor) -> Tensor:
        n, letters = record.inputs.n_samples, layer.axes.letters
        if not callable(layer.how):
            if layer.axes.conflict:
                raise Unfit(f"{layer.axes.conflict}: say with axes= what its axes are")
            _check_dense(x, letters, n)
        if len(letters) != x.ndim:
            raise Unfit(f"its shape is {tuple(x.shape)}, which does not fit its axes {letters!r}")
        if x.requires_grad:
            x = x.detach()
        if layer.heads:
            x = _head(x, letters, layer)
        mask = None
        if layer.wants_mask and (record.inputs.masks or self.masks.entries):
            mask = self.masks.of(layer.name, layer.axes, record.inputs.named, record.inputs.masks)
            if mask is not None and not callable(layer.how) and "?" in letters and not mask.whole:
                raise Unfit(
                    f"which of its axes are positions is not known: {tuple(x.shape)}; say so with axes="
                )
        if self.pools.tokens and letters.count("p") == 1 and "?" not in letters:
            mask = self._tokens(record, layer, x.shape[letters.index("p")], mask)
        rows = self.pools.apply(layer.how, layer.name, x, letters, mask, n)
        if record.tracker is not None and layer.how in ("mean", "gap"):
            self._doubt(layer, x, rows)
        return rows

    def _doubt(self, layer: _Layer, x: Tensor, rows: Tensor) -> None:
        """Note a layer whose means are nothing but rounding, as those of normalised features."""
        if rows.is_floating_point() and x.is_floating_point() and x.ndim > 2 and rows.numel():
            mean, value = rows.abs().max().item(), x.abs().max().item()
            if 0 < mean <= 8 * torch.finfo(x.dtype).eps * value:
                self.notes[layer.name] = (
                    f"its means are rounding, {mean:.1g} of values up to {value:.1g}: say with axes= over "
                    f"which of its axes to average ({layer.axes.letters!r} were taken)"
                )

    def _tokens(self, record: _Record, layer: _Layer, count: int, mask: Mask | None) -> Mask:
        """Return the positions that become rows, after a check that they are those of the other layers.

        In the first batch layers asked for by name decide which positions these are, or else most of them.
        """
        side = self.masks.side(layer.axes)
        if side == "either":
            raise Unfit("whether its positions are those of the encoder or of the decoder is not known")
        which = side, count, None if mask is None or mask.whole else id(mask)
        if record.tracker is not None:
            named = any(pattern.exact for pattern in self._choosers(layer.name))
            record.votes[which] = record.votes.get(which, 0) + (_NAMED if named else 1)
        if record.which is None:
            record.which = which
        if record.which[0] != side:
            raise Unfit(f"its positions are those of the {side}, in other layers of the {record.which[0]}")
        if record.which[1] != count:
            raise Unfit(f"it has {count} positions, other layers {record.which[1]}")
        if record.which[2] != which[2]:
            raise Unfit("its unmasked positions differ from those of other layers")
        if record.positions is None:
            record.side = side
            record.positions = self.tokens.of(mask, count, record.inputs, record.start)
        return record.positions

    def _kept(self, record: _Record, layer: _Layer, x: Tensor, rows: Tensor) -> Tensor:
        """Return rows where and in the type in which they are wanted, as a copy where one is needed."""
        dtype = self.dtype
        if dtype is None and rows.is_floating_point() and rows.element_size() < 2:
            dtype = torch.float32  # 8-bit formats
        if dtype is None:
            dtype = rows.dtype
        if rows.device.type != "cpu" and not self.stay:
            return self._fetched(record, rows, dtype)
        if dtype != rows.dtype:
            return copied(rows, dtype)
        if not callable(layer.how) and not _shares_memory(rows, x):
            return rows
        if not (self.borrow and layer.left_alone) or x.is_inference():
            return copied(rows)
        record.borrowed[layer.name] = x, x._version
        if record.tracker is not None:
            record.some[layer.name] = _some(rows).clone()
        return rows

    def _fetched(self, record: _Record, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """Copy rows to CPU memory; from CUDA without waiting for it."""
        if rows.device.type != "cuda":
            return empty(rows.shape, dtype).copy_(rows)
        record.on_the_way.add(rows.device)
        there = torch.empty(rows.shape, dtype=dtype, pin_memory=True)
        return there.copy_(rows.to(dtype), non_blocking=True)

    # ------------------------------------------------------------------------------------- after a batch

    def _check(self, record: _Record) -> None:
        """Reject layers that make the run impossible: selected by name without output, or changed since."""
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
        return [*self.selection.choosers(base(layer)), *self.selection.hidden_state(base(layer))]

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
            raise ValueError(f"{selection.argument}: no layer returns usable activations ({reasons})")
        self.names = tuple(record.rows)
        self.widths = {layer: rows.shape[1] for layer, rows in record.rows.items()}
        self.notes = {layer: why for layer, why in self.notes.items() if layer in self.widths}
        for name in selection.modules:
            layers = [self._layers[layer] for layer in record.rows if base(layer) == name]
            others = [layer for layer in record.rows if split(layer)[0] == name and base(layer) != name]
            if layers and not others:
                self._plain[name] = layers

    def complete(self, rows: Rows) -> Rows:
        """Return rows with zeros for layers that do not fit any more, so that all batches have the same."""
        if not self.dropped:
            return rows
        zeros = {layer: torch.zeros(len(rows), self.widths[layer]) for layer in self.dropped}
        return replace(rows, layers={layer: (rows.layers | zeros)[layer] for layer in self.widths})

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
        return {layer: record.rows[layer] for layer in self.names or ()}


@contextmanager
def _noting(model: Module, tracker: Tracker | None) -> Iterator[None]:
    """Follow the axes of tensors through a model; modules speak before the layers are recorded."""
    handles = []
    try:
        if tracker is not None:
            note = partial(_note, tracker)
            handles += [
                module.register_forward_hook(note, with_kwargs=True, prepend=True)
                for module in filter(speaks_of_axes, model.modules())
            ]
        with tracker or nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()


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


def _head(x: Tensor, letters: str, layer: _Layer) -> Tensor:
    """Return the features of one head: heads lie side by side."""
    axis = max(letters.rfind("f"), letters.rfind("c"), 1 if letters == "n?" else -1)
    if axis < 0:
        raise Unfit(f"which of its axes are features is not known, to split them: {tuple(x.shape)}")
    if x.shape[axis] % layer.heads:
        raise Unfit(f"its {x.shape[axis]} features cannot be split into {layer.heads}")
    return x.unflatten(axis, (layer.heads, -1)).select(axis, layer.head)


def _overwritten(record: _Record) -> list[str]:
    """Return the layers to whose memory the model wrote after it was borrowed.

    The first batch tells by the values, too: not all that writes to a tensor counts up its version.
    """
    found = [name for name, (x, version) in record.borrowed.items() if x._version != version]
    return found + [
        name
        for name, rows in record.some.items()
        if name in record.borrowed and not torch.equal(_some(record.rows[name]), rows)
    ]


def _some(rows: Tensor) -> Tensor:
    return rows[:: max(1, len(rows) // _SAMPLE)]


def _shares_memory(rows: Tensor, x: Tensor) -> bool:
    return bool(rows.untyped_storage().data_ptr() == x.untyped_storage().data_ptr())


def _check_dense(x: Tensor, letters: str, n: int) -> None:
    """Check that activations are numbers with one row for each of n samples."""
    if x.layout != torch.strided or x.is_nested:
        raise Unfit(f"its tensor is not dense but {'nested' if x.is_nested else x.layout}")
    if x.is_complex():
        raise Unfit("its values are complex")
    if x.ndim == 0:
        raise Unfit("it returns a single number, not one row per sample")
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


def unwrapped(model: Module) -> Module:
    """Return the model inside of DataParallel, DistributedDataParallel and torch.compile.

    The module itself runs, on one device: its hooks see whole batches, and no other process is waited for.
    """
    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while isinstance(model, wrappers) or hasattr(model, COMPILED):
        model = model.module if isinstance(model, wrappers) else model._orig_mod
    return model
