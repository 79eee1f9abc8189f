# SPDX-License-Identifier: BSD-3-Clause
"""From what a module gives to the rows of a layer: by its axes, its mask and its pooling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch

from .._common import Module, Tensor, Unfit, copied, empty
from ..data.inputs import Inputs, Mask
from .axes import Axes
from .masks import MaskChoice, MaskLike, TokenChoice
from .pooling import Pool, PoolLike, Pools, SplitLike, asks_for_mask, head_of, read_split
from .selection import split
from .tracker import AxesLike, Tracker, read_axes, with_samples

Which: TypeAlias = tuple[str, int, int | None]  # positions: whose, how many, by which mask

_NAMED = 2**20  # what a layer asked for by name weighs, in others
_SAMPLE = 16  # rows of each layer of the first batch that are compared with a copy of them


@dataclass
class Layer:
    """How the rows of one layer are made."""

    name: str
    how: Pool
    axes: Axes
    head: int = 0
    heads: int = 0  # 0: it is not split
    wants_mask: bool = False
    left_alone: bool = True  # nothing writes to its memory before the end of the batch


@dataclass
class Batch:
    """What one batch gave so far."""

    inputs: Inputs
    start: int = 0  # number of its first sample
    tracker: Tracker | None = None  # of axes, for the first batch
    rows: dict[str, Tensor] = field(default_factory=dict)  # in the order of the calls
    unfit: dict[str, str] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)  # of those, what does not depend on samples, as positions
    which: Which | None = None  # positions that became rows
    votes: dict[Which, int] = field(default_factory=dict)  # layers that have such ones
    positions: Mask | None = None
    side: str = ""  # whose they are
    borrowed: dict[str, tuple[Tensor, int]] = field(default_factory=dict)  # memory of the model, its version
    some: dict[str, Tensor] = field(default_factory=dict)  # a copy of some rows of that, in the first batch
    on_the_way: set[Any] = field(default_factory=set)  # devices from which copies have not arrived yet

    def arrived(self) -> None:
        """Wait for all copies of the batch, once."""
        for device in self.on_the_way:
            torch.cuda.current_stream(device).synchronize()

    def overwritten(self) -> list[str]:
        """Return the layers to whose memory the model wrote after it was borrowed.

        The first batch tells by the values, too: not all that writes to a tensor counts up its version.
        """
        found = [name for name, (x, version) in self.borrowed.items() if x._version != version]
        return found + [
            name
            for name, rows in self.some.items()
            if name in self.borrowed and not torch.equal(_some(self.rows[name]), rows)
        ]

    def preferred(self) -> Which | None:
        """Return the positions that most layers have, if they are not those that became rows."""
        most = max(self.votes, key=lambda key: self.votes[key], default=self.which)
        return None if most == self.which else most


class Maker:
    """Makes the rows of the layers of one model.

    `stay`: rows remain on the device where they are made, instead of being copied to CPU memory. `borrow`:
    rows that are memory of the model are not copied, if it leaves them alone; they are for use before the
    next batch.
    """

    def __init__(
        self,
        model: Module,
        pool: PoolLike,
        named: Callable[[str], bool],
        *,
        axes: AxesLike,
        mask: MaskLike,
        heads: SplitLike,
        max_tokens: int | None,
        side: str,
        dtype: Any,
        borrow: bool,
    ) -> None:
        self.pools = Pools(pool, f"pool{side}")
        self.masks = MaskChoice(model, mask, f"mask{side}")
        if max_tokens is not None and not self.pools.tokens:
            raise ValueError("max_tokens is for pool='tokens', where positions are the samples")
        self.layers: dict[str, Layer] = {}
        self.notes: dict[str, str] = {}  # on layers that are there: why to doubt them
        self.stay, self.borrow = False, borrow
        self._told = read_axes(axes, f"axes{side}")
        self._heads = read_split(heads, f"split{side}")
        self._tokens = TokenChoice(max_tokens)
        self._named = named  # whether a layer is asked for by its own name
        self._dtype = dtype

    def layers_of(self, batch: Batch, name: str, tensor: Tensor) -> list[Layer]:
        """Return the layer of this name, or its heads; what they are is found in the first batch."""
        heads = self._heads(name)
        found = []
        for head in range(heads or 1):
            full = f"{name}#h{head}" if heads else name
            if full not in self.layers or batch.tracker is not None:
                layer = self._layer(batch, full, name, tensor, head, heads)
                layer.left_alone = full not in self.layers or self.layers[full].left_alone
                self.layers[full] = layer
            found.append(self.layers[full])
        return found

    def _layer(self, batch: Batch, full: str, name: str, tensor: Tensor, head: int, heads: int) -> Layer:
        how = self.pools.of(full)
        axes = self._axes_of(batch, name, tensor)
        positions = "p" in axes.letters or axes.letters.count("?") > 1 or len(axes.letters) > 2
        wants_mask = asks_for_mask(how) or (not callable(how) and positions)
        return Layer(full, how, axes, head, heads, wants_mask)

    def _axes_of(self, batch: Batch, name: str, tensor: Tensor) -> Axes:
        """Return what the axes of a layer are: as told by the user, as followed, or samples first."""
        axes = (batch.tracker and batch.tracker.of(tensor)) or Axes("?" * tensor.ndim)
        for pattern, letters in self._told:
            if pattern.matches(name) or pattern.matches(split(name)[0]):
                axes = replace(axes, letters=letters, conflict="")
                break
        letters = with_samples(axes.letters, tensor, batch.inputs.n_samples)
        return axes if letters == axes.letters else replace(axes, letters=letters)

    def make(self, batch: Batch, layer: Layer, x: Tensor) -> None:
        """Make rows of what a layer gave; the last call counts, and has its place among the others."""
        name = layer.name
        batch.rows.pop(name, None)
        batch.borrowed.pop(name, None)
        batch.unfit.pop(name, None)
        try:
            batch.rows[name] = self._kept(batch, layer, x, self._pooled(batch, layer, x))
        except Unfit as error:
            batch.unfit[name] = str(error)
            if x.ndim and len(x) == 1 != batch.inputs.n_samples:
                batch.constant.add(name)

    def is_whole(self, layer: str, x: Tensor, rows: Tensor) -> bool:
        """Return whether the rows of a layer are a view of all of a contiguous tensor, in its order."""
        of = self.layers[layer]
        as_it_is = not callable(of.how) and not self.pools.tokens and of.axes.letters.startswith("n")
        return as_it_is and x.is_contiguous() and rows.numel() == x.numel()

    def has_masks(self, inputs: Inputs) -> bool:
        """Return whether a batch has masks that may be for layers, or the user says which are."""
        return bool(inputs.masks or self.masks.entries)

    def _pooled(self, batch: Batch, layer: Layer, x: Tensor) -> Tensor:
        n, letters = batch.inputs.n_samples, layer.axes.letters
        if not callable(layer.how):
            if layer.axes.conflict:
                raise Unfit(f"{layer.axes.conflict}: set its axes with axes=")
            _check_dense(x, letters, n)
        if len(letters) != x.ndim:
            raise Unfit(f"its shape is {tuple(x.shape)}, which does not fit its axes {letters!r}")
        if x.requires_grad:
            x = x.detach()
        if layer.heads:
            x = head_of(x, letters, layer.head, layer.heads)
        mask = None
        if layer.wants_mask and self.has_masks(batch.inputs):
            mask = self.masks.of(layer.name, layer.axes, batch.inputs.named, batch.inputs.masks)
            if mask is not None and not callable(layer.how) and "?" in letters and not mask.whole:
                raise Unfit(f"which of its axes are positions is not known: {tuple(x.shape)}; set axes=")
        if self.pools.tokens and letters.count("p") == 1 and "?" not in letters:
            mask = self._positions(batch, layer, x.shape[letters.index("p")], mask)
        rows = self.pools.apply(layer.how, layer.name, x, letters, mask, n)
        if batch.tracker is not None and layer.how in ("mean", "gap"):
            self._doubt(layer, x, rows)
        return rows

    def _doubt(self, layer: Layer, x: Tensor, rows: Tensor) -> None:
        """Note a layer whose means are nothing but rounding, as those of normalised features."""
        if rows.is_floating_point() and x.is_floating_point() and x.ndim > 2 and rows.numel():
            mean, value = rows.abs().max().item(), x.abs().max().item()
            if 0 < mean <= 8 * torch.finfo(x.dtype).eps * value:
                self.notes[layer.name] = (
                    f"its means are rounding error, {mean:.1g} for values up to {value:.1g}: set axes= to "
                    f"say which axes to average over ({layer.axes.letters!r} was assumed)"
                )

    def _positions(self, batch: Batch, layer: Layer, count: int, mask: Mask | None) -> Mask:
        """Return the positions that become rows, after a check that they are those of the other layers.

        In the first batch layers asked for by name decide which positions these are, or else most of them.
        """
        side = self.masks.side(layer.axes)
        if side == "either":
            raise Unfit("whether its positions are those of the encoder or of the decoder is not known")
        which = side, count, None if mask is None or mask.whole else id(mask)
        if batch.tracker is not None:
            batch.votes[which] = batch.votes.get(which, 0) + (_NAMED if self._named(layer.name) else 1)
        if batch.which is None:
            batch.which = which
        if batch.which[0] != side:
            raise Unfit(f"its positions are those of the {side}, in other layers of the {batch.which[0]}")
        if batch.which[1] != count:
            raise Unfit(f"it has {count} positions, other layers {batch.which[1]}")
        if batch.which[2] != which[2]:
            raise Unfit("its unmasked positions differ from those of other layers")
        if batch.positions is None:
            batch.side = side
            batch.positions = self._tokens.of(mask, count, batch.inputs, batch.start)
        return batch.positions

    def _kept(self, batch: Batch, layer: Layer, x: Tensor, rows: Tensor) -> Tensor:
        """Return rows where and in the type in which they are wanted, as a copy where one is needed."""
        dtype = self._dtype
        if dtype is None and rows.is_floating_point() and rows.element_size() < 2:
            dtype = torch.float32  # 8-bit formats
        if dtype is None:
            dtype = rows.dtype
        if rows.device.type != "cpu" and not self.stay:
            return _fetched(batch, rows, dtype)
        if dtype != rows.dtype:
            return copied(rows, dtype)
        if not callable(layer.how) and not _shares_memory(rows, x):
            return rows
        if not (self.borrow and layer.left_alone) or x.is_inference():
            return copied(rows)
        batch.borrowed[layer.name] = x, x._version
        if batch.tracker is not None:
            batch.some[layer.name] = _some(rows).clone()
        return rows


def _fetched(batch: Batch, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy rows to CPU memory; from CUDA without waiting for it."""
    if rows.device.type != "cuda":
        return empty(rows.shape, dtype).copy_(rows)
    batch.on_the_way.add(rows.device)
    there = torch.empty(rows.shape, dtype=dtype, pin_memory=True)
    return there.copy_(rows.to(dtype), non_blocking=True)


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
            f"which of its axes are the samples is not known: shape {shape} for {n} samples; set axes="
        )
    if "n" not in letters or shape[letters.index("n")] != n:
        raise Unfit(
            f"its first dimension is not the batch: shape {shape} for {n} samples; axes= or a function as "
            f"pool can bring it into place"
        )
    if x.numel() == 0 and n > 0:
        raise Unfit(f"it has no features: its shape is {shape}")
