# SPDX-License-Identifier: BSD-3-Clause
"""Watch the chosen modules of a model while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from .._common import Module, Tensor
from .maker import Batch, Layer, Maker
from .outputs import given, hidden_states, tensors
from .pooling import base
from .selection import HIDDEN, INPUT, ROOT, Selection, split
from .state import asking_for_hidden_states, config_of, uncompiled
from .tracker import Tracker, following

NO_TENSOR = "it returned no tensor"


@dataclass
class Seen:
    """What hooks saw of one batch."""

    batch: Batch
    calls: dict[str, int] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)  # seen but not chosen: reason
    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # hidden states of modules
    whole: dict[str, tuple[Tensor, int]] | None = None  # by module: rows as they are, and their version


class Watch:
    """The hooks of one model.

    Memory of the model that becomes rows as it is, is only noted by a hook; rows are made of it when the
    model has run.
    """

    def __init__(self, model: Module, selection: Selection, maker: Maker) -> None:
        self.model, self.selection, self.maker = model, selection, maker
        self.late: set[str] = set()  # layers that ran, but not for the first batch
        self._settled: set[str] | None = None  # the layers, after the first batch
        self._plain: dict[str, list[Layer]] = {}  # modules of which only the main output is wanted
        self._whole: dict[str, tuple[Layer, Any, torch.dtype]] = {}  # those whose memory becomes rows
        self._now: Seen | None = None  # while the model runs
        self._asking = asking_for_hidden_states(model) if selection.asks_for_hidden_states else {}

    @contextmanager
    def installed(self) -> Iterator[None]:
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

    def run(self, batch: Batch) -> Seen:
        """Run the model on a batch, and make rows of what its layers give."""
        inputs = batch.inputs
        self._now = seen = Seen(batch)
        if self._whole and not self.maker.has_masks(inputs):
            seen.whole = {}
        try:
            with following(self.model, batch.tracker), uncompiled(self.model):
                output = self.model(*inputs.args, **{**inputs.kwargs, **self._asking})
            self._see(seen, ROOT, output)
            self._see_hidden_states(seen, output)
        finally:
            self._now = None
        self._take_whole(seen)
        batch.arrived()
        return seen

    def copy(self, layer: str) -> None:
        """Copy the rows of a layer from now on: the model writes to its memory."""
        self.maker.layers[layer].left_alone = False
        self._whole = {module: whole for module, whole in self._whole.items() if whole[0].left_alone}

    def settle(self, batch: Batch) -> None:
        """Fix the layers after the first batch, and find the modules of which later ones need less."""
        self._settled = set(batch.rows)
        of_module: dict[str, list[str]] = {}
        for layer in batch.rows:
            of_module.setdefault(split(layer)[0], []).append(layer)
        for name in self.selection.modules:
            layers = of_module.get(name, [])
            if not layers or any(base(layer) != name for layer in layers):
                continue
            self._plain[name] = [self.maker.layers[layer] for layer in layers]
            if layers == [name] and name in batch.borrowed and batch.rows[name].is_cpu:
                x = batch.borrowed[name][0]
                if self.maker.is_whole(name, x, batch.rows[name]):
                    self._whole[name] = self.maker.layers[name], x.shape[1:], x.dtype

    def _hook(self, name: str, module: Module, args: Any, output: Any) -> None:
        if (seen := self._now) is None:
            return
        if seen.whole is not None and name in self._whole and _has_version(output):
            seen.whole[name] = output, output._version
            return
        if (layers := self._plain.get(name)) is not None and isinstance(output, torch.Tensor):
            for layer in layers:
                self._take(seen.batch, layer, output)
        else:
            with _unfollowed(seen.batch.tracker):
                self._see(seen, name, output)

    def _see(self, seen: Seen, name: str, output: Any) -> None:
        call = seen.calls.get(name, 0)
        seen.calls[name] = call + 1
        if call:
            seen.others[f"{name}#{call - 1}"] = "an earlier call for the same batch"
        found = tensors(output)
        if not found:
            seen.others[name] = f"{NO_TENSOR} but {type(output).__name__}"
        for part, tensor in found.items():
            layer = f"{name}:{part}" if part else name
            for chosen in (layer, f"{layer}#{call}"):
                if self.selection.choosers(chosen):
                    self._record(seen.batch, chosen, tensor)
                elif part and chosen == layer and tensor is not found[""]:
                    seen.others[layer] = f"a further tensor of the output of {name!r}"

    def _see_input(self, name: str, module: Module, args: Any, options: Any) -> None:
        if (seen := self._now) is None:
            return
        call = seen.calls.get(name, 0)
        with _unfollowed(seen.batch.tracker):
            for part, tensor in given(args, options).items():
                layer = f"{name}:{part}"
                for chosen in (layer, f"{layer}#{call}"):
                    if any(INPUT in pattern.text for pattern in self.selection.choosers(chosen)):
                        self._record(seen.batch, chosen, tensor)

    def _see_hidden_states(self, seen: Seen, output: Any) -> None:
        found = hidden_states(output)
        if not found:  # the model does not hand on those of its parts
            outer = [p for p in seen.parts if not any(p.startswith(f"{q}.") for q in seen.parts)]
            for part in outer:
                prefix = f"{part}." if len(outer) > 1 else ""
                found |= {f"{prefix}{short}": tensor for short, tensor in seen.parts[part].items()}
        for short, tensor in found.items():
            if self.selection.hidden_state(short):
                taken = short in seen.batch.rows
                self._record(seen.batch, f"{HIDDEN}.{short}" if taken else short, tensor)

    def _see_part(self, name: str, module: Module, args: Any, output: Any) -> None:
        if self._now is not None and (states := hidden_states(output)):
            self._now.parts[name] = states

    def _record(self, batch: Batch, name: str, tensor: Tensor) -> None:
        for layer in self.maker.layers_of(batch, name, tensor):
            self._take(batch, layer, tensor)

    def _take(self, batch: Batch, layer: Layer, x: Tensor) -> None:
        if self._settled is None or layer.name in self._settled:
            self.maker.make(batch, layer, x)
        else:
            self.late.add(layer.name)

    def _take_whole(self, seen: Seen) -> None:
        """Make rows of what hooks have only noted: nothing but a view of the memory of the model."""
        batch, n = seen.batch, seen.batch.inputs.n_samples
        for name, (x, version) in (seen.whole or {}).items():
            layer, shape, dtype = self._whole[name]
            if (
                x.dtype is dtype
                and x.shape[0] == n
                and x.shape[1:] == shape
                and x.is_contiguous()
                and not x.requires_grad
                and x.is_cpu
            ):
                batch.rows[layer.name] = x if x.ndim == 2 else x.view(n, -1)
            else:
                self._take(batch, layer, x)
            batch.borrowed[layer.name] = x, version


def _has_version(output: Any) -> bool:
    """Return whether it is a plain tensor, and tells whether it was written to."""
    return type(output) is torch.Tensor and not output.is_inference()


def _unfollowed(tracker: Tracker | None) -> Any:
    """Do not follow what hooks do with activations."""
    return nullcontext() if tracker is None else torch._C.DisableTorchFunction()
