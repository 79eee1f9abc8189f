# SPDX-License-Identifier: BSD-3-Clause
"""One batch of a stream: its layers read and checked, and held against those of the batches before.

What belongs to both networks is a tuple of two sides, batch_a and batch_b, or of one, when the layers of
batch_a are compared with one another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._arguments import Arithmetic
from .._arrays import (
    Array,
    ArrayLike,
    Layers,
    as_representations,
    labelled,
    layer_label,
    named_layers,
    needs_float64,
    same_samples,
)
from .._provenance import Side, provenance
from .._samples import check_same_samples
from .._values import check_integers

ARGUMENTS = ("batch_a", "batch_b")


@dataclass(frozen=True)
class Layout:
    """What all batches of a stream have in common."""

    names: tuple[tuple[str, ...], ...]  # of the layers of each side
    widths: tuple[tuple[int, ...], ...]  # likewise; 0 for a Gram matrix, which is as wide as its batch
    double_precision: bool
    labelled: bool = False  # whether batches say which group their samples belong to

    @property
    def two_sided(self) -> bool:
        """Whether there are two networks."""
        return len(self.names) == 2

    @property
    def arithmetic(self) -> Arithmetic:
        """The type of the arithmetic."""
        return "float64" if self.double_precision else "float32"

    @classmethod
    def of_saved(cls, saved: dict[str, Any]) -> Self:
        """Return the layout whose fields were saved as JSON, which has no tuples."""
        names, widths = (tuple(tuple(side) for side in saved[key]) for key in ("names", "widths"))
        return cls(names, widths, saved["double_precision"], saved["labelled"])

    def label(self, side: int, layer: int) -> str:
        """Return the words for one layer."""
        return layer_label(ARGUMENTS[side], self.names[side][layer])

    def provenance(self) -> dict[str, Any]:
        """Return where the values of such a stream come from, as far as it is known."""
        sides = [
            Side(None, names, widths, [math.nan] * len(names))
            for names, widths in zip(self.names, self.widths, strict=True)
        ]
        return provenance({"rows": sides[0], "columns": sides[-1]}, self.arithmetic, None)

    def differences(self, other: Layout) -> Iterator[tuple[str, object, object]]:
        """Yield (what, here, there) for all that differs in the layers of another stream."""
        if self.two_sided != other.two_sided:
            yield "number of networks", len(self.names), len(other.names)
            return
        if self.labelled != other.labelled:
            yield "use of groups", self.labelled, other.labelled
        for side, argument in enumerate(ARGUMENTS[: len(self.names)]):
            here, there = self.names[side], other.names[side]
            if here != there:
                yield f"list of layers of {argument}", list(here), list(there)
                continue
            for i, (p, q) in enumerate(zip(self.widths[side], other.widths[side], strict=True)):
                if p != q:
                    yield f"width of {self.label(side, i)}", p, q


@dataclass(frozen=True)
class Batch:
    """Representations of the same samples, in the order of the layout."""

    layout: Layout
    sides: tuple[list[Array], ...]
    groups: NDArray[np.integer[Any]] | None = None  # a label for each sample

    @property
    def n_samples(self) -> int:
        """Number of samples in the batch."""
        return len(self.sides[0][0])


def read_batch(
    batch_a: Layers | ArrayLike,
    batch_b: Layers | ArrayLike | None,
    dtype: object,
    fixed_widths: bool,
    groups: ArrayLike | int | None = None,
) -> Batch:
    """Read and check what `StreamingCKA.update` was given; `fixed_widths` is False for Gram matrices."""
    if batch_b is batch_a:
        batch_b = None
    given = (batch_a,) if batch_b is None else (batch_a, batch_b)
    named = [_layers(side, argument) for side, argument in zip(given, ARGUMENTS, strict=False)]
    names = tuple(tuple(side) for side in named)
    sides = tuple(
        as_representations(side, argument) for side, argument in zip(named, ARGUMENTS, strict=False)
    )
    check_same_samples(
        entry
        for argument, whole, side in zip(ARGUMENTS, given, named, strict=False)
        for entry in labelled(argument, whole, side)
    )
    arrays = [X for side in sides for X in side]
    layout = Layout(
        names,
        tuple(tuple(X.shape[1] if fixed_widths else 0 for X in side) for side in sides),
        needs_float64(arrays, dtype),
        groups is not None,
    )
    labels = [layout.label(side, i) for side in range(len(sides)) for i in range(len(names[side]))]
    same_samples(arrays, labels.__getitem__)
    for X, label in zip(arrays, labels, strict=True):
        check_integers(X, label)
    return Batch(layout, sides, None if groups is None else _labels(groups, len(arrays[0])))


def fitted(batch: Batch, layout: Layout) -> Batch:
    """Return a later batch in the layout that the first one laid down, or say what differs from it.

    Layers of a mapping are matched by name, in any order.
    """
    if batch.layout.two_sided != layout.two_sided:
        first, this = ("one", "none") if layout.two_sided else ("none", "one")
        raise ValueError(
            f"batch_b: the first batch of this stream had {first}, this batch has {this}. Give both sides "
            f"every time to compare two networks, or batch_a alone to compare its layers with one another"
        )
    if batch.layout.labelled != layout.labelled:
        first, this = ("had", "has none") if layout.labelled else ("had none", "has")
        raise ValueError(f"groups: the first batch of this stream {first}, this batch {this}")
    sides = []
    for side, (found, wanted) in enumerate(zip(batch.layout.names, layout.names, strict=True)):
        _check_names(found, wanted, ARGUMENTS[side])
        sides.append([batch.sides[side][found.index(name)] for name in wanted])
        for i, (X, width) in enumerate(zip(sides[side], layout.widths[side], strict=True)):
            if width and X.shape[1] != width:
                raise ValueError(
                    f"{layout.label(side, i)} has {X.shape[1]} features in this batch, but {width} in the "
                    f"first: a layer must keep its width. Pool over what varies (tokens, image size) first"
                )
            if not layout.double_precision and batch.layout.double_precision and needs_float64([X], None):
                raise ValueError(
                    f"{layout.label(side, i)} is {X.dtype} in this batch, but the first batch made this a "
                    f'float32 stream, which would drop digits: make it StreamingCKA(dtype="float64"), or '
                    f"narrow the batch with .astype(np.float32)"
                )
    return replace(batch, layout=layout, sides=tuple(sides))


def _labels(groups: ArrayLike | int, n: int) -> NDArray[np.integer[Any]]:
    """Return a label for each of n samples."""
    labels = np.asarray(groups)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"groups: expected integers, got dtype {labels.dtype}; give each group a number")
    if labels.shape not in ((), (n,)):
        raise ValueError(
            f"groups: expected one label, or one for each of the {n} samples of this batch, got shape "
            f"{labels.shape}"
        )
    return np.broadcast_to(labels, (n,))


def _layers(given: Layers | ArrayLike, argument: str) -> dict[str, ArrayLike]:
    """Return the layers of one side by name; an array is one layer."""
    is_array = hasattr(given, "__array__") or hasattr(given, "__dlpack__")
    return named_layers([given] if is_array and not isinstance(given, Mapping) else given, argument)


def _check_names(found: Sequence[str], wanted: Sequence[str], argument: str) -> None:
    lost = [name for name in wanted if name not in found]
    new = [name for name in found if name not in wanted]
    if not (lost or new):
        return
    differences = [f"lacks {_listed(lost)}"] if lost else []
    differences += [f"has {_listed(new)}, which the first batch did not"] if new else []
    raise ValueError(
        f"{argument} {' and '.join(differences)}: every batch must hold the layers of the first, "
        f"{_listed(wanted)}"
    )


def _listed(names: Sequence[str]) -> str:
    """Return the first few names, as messages list them."""
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
