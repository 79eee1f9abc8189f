# SPDX-License-Identifier: BSD-3-Clause
"""The sums of some blocks of a comparison, as a value that is merged, saved and sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise as neighbours
from typing import Any, TypeAlias, cast

import numpy as np

from . import _archive, _core
from ._arrays import Array
from ._files import checked_suffix
from ._headers import Refused, checked_settings, digest, new_header, refusing
from ._stages import MEDIANS, Stage

Sums: TypeAlias = _core.Statistics | _core.MedianRound | _core.Partial | _core.SecondPass

FORMAT_VERSION = 4  # 1 to 3: other arrays


class Partial:
    """The sums of some blocks of a :class:`Sweep`: what ``sweep.run`` returns.

    Attributes
    ----------
    stage : str
        One of :attr:`Sweep.stages`.
    covered : tuple of range
        The blocks whose sums it holds, as ranges in order.
    given : Partial or None
        For the stage ``"inference"``: the complete partial of the products, which the result needs, too.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastcka
    >>> X = np.random.default_rng(0).normal(size=(900, 1200))
    >>> sweep = fastcka.Sweep([X, X[:, :8]])
    >>> first, rest = (sweep.run(sweep.share(task, 2)) for task in (0, 1))
    >>> first.stage, first.complete, first.missing == rest.covered
    ('products', False, True)
    >>> path = os.path.join(tempfile.mkdtemp(), "rest.partial")
    >>> rest.save(path)
    >>> (first | fastcka.Partial.load(path)).complete
    True

    Notes
    -----
    Immutable. ``a | b`` has the blocks of both; the order and the grouping of a merge do not change a bit.
    Merging two partials that share a block, differ in layers, settings or data, or were made at different
    SIMD levels raises a ValueError that says what differs. Pickled or saved, a partial of the products takes
    8 bytes for each sample of each layer, and for each run of consecutive blocks 8 bytes for each pair of
    layers and, unless the kernel is linear, for each sample of each layer. Other stages take about 16 bytes
    for each feature, and rounds of the medians up to 1.5 MB for each layer that is not complete. A partial of
    the inference holds all products and 24 bytes for each pair of layers and run of blocks; or 8 bytes for
    each sample of each pair, where it is a sweep of its own.
    """

    stage: Stage
    covered: tuple[range, ...]
    given: Partial | None

    def __init__(self, settings: Mapping[str, Any], sums: Sums, given: Partial | None = None) -> None:
        self._settings = dict(settings)
        self._sums = sums
        self.given = given
        self.stage = settings["stage"]
        self.covered = tuple(range(first, last) for first, last in sums.covered())

    @property
    def n_blocks(self) -> int:
        """The number of blocks of the whole stage."""
        return int(self._settings["blocks"])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the sums: equal where all bits are."""
        return hashlib.sha256(b"".join(contents(self._state()))).hexdigest()

    @property
    def complete(self) -> bool:
        """Whether it holds the sums of all blocks."""
        return self.covered == (range(self.n_blocks),)

    @property
    def missing(self) -> tuple[range, ...]:
        """The missing blocks, as ranges in order."""
        edges = [range(0), *self.covered, range(self.n_blocks, self.n_blocks)]
        gaps = (range(a.stop, b.start) for a, b in neighbours(edges))
        return tuple(gap for gap in gaps if gap)

    def __or__(self, other: object) -> Partial:
        """Return the partial with the blocks of both."""
        if not isinstance(other, Partial):
            return NotImplemented
        check_same(self._settings, other._settings)
        for mine in self.covered:
            for theirs in other.covered:
                if both := range(max(mine.start, theirs.start), min(mine.stop, theirs.stop)):
                    raise ValueError(
                        f"both partials hold the sums of {blocks_in_words((both,))}, which would then "
                        "count twice"
                    )
        sums = self._sums.copy()
        sums.merge(cast(Any, other._sums))  # of the same stage, as checked
        return Partial(self._settings, sums, self.given)

    @property
    def settings(self) -> dict[str, Any]:
        """What the partial is a part of, as JSON can hold it."""
        return dict(self._settings)

    def _state(self) -> dict[str, Array]:
        """Return the sums as plain arrays."""
        of_given = {} if self.given is None else self.given._state()
        return self._sums.state() | {f"{_GIVEN}{name}": x for name, x in of_given.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (self._settings, self._state())

    def __repr__(self) -> str:
        return f"Partial({self.stage}, {blocks_in_words(self.covered) or 'no blocks'} of {self.n_blocks})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the partial to a file in ``.npz`` format, atomically and without pickle.

        Parameters
        ----------
        path : path
            Ends in ``.npz`` or ``.partial``.

        Raises
        ------
        ValueError
            If the file name does not end in .npz or .partial.
        OSError
            If the file cannot be written; an old one is left as it was.
        """
        checked_suffix(path, ".npz", ".partial")
        state = self._state()
        header = new_header("Partial", FORMAT_VERSION, self._settings)
        header["sha256"] = digest(header, contents(state))
        _archive.write(path, header, state)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Partial:
        """Return the partial that `save` wrote.

        Parameters
        ----------
        path : path
            Ends in ``.npz`` or ``.partial``.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If the file is damaged, is not a saved partial, or was written by a newer fastcka.
        """
        checked_suffix(path, ".npz", ".partial")
        with open(path, "rb") as file, refusing(path, "a Partial saved as .npz"):
            header, state = _archive.read(file, "Partial", FORMAT_VERSION, oldest=FORMAT_VERSION)
            settings = checked_settings(header, digest(header, contents(state)))
            return restored(settings, state)


# ---------------------------------------------------------------------- partials of one sweep


_DIFFERENCES = {
    "stage": "another stage",
    "blocks": "another number of blocks",
    "n_samples": "another number of samples",
    "names": "other layers",
    "widths": "layers with other numbers of features",
    "kernel": "another kernel",
    "dtype": "another dtype",
    "double_precision": "another dtype",
    "groups": "other groups",
    "statistics": "statistics of other data",
    "products": "products of other data",
    "pvalues": "other p-values",
}


def check_partial(given: object, argument: str) -> None:
    """Refuse what is no partial."""
    if not isinstance(given, Partial):
        raise TypeError(f"{argument}: expected a Partial, got {given!r}")


def check_same(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuse partials that are not parts of one whole, by their settings."""
    for name, value in mine.items():
        other = theirs.get(name)
        if other == value:
            continue
        if name == "simd_level":
            raise ValueError(
                f"partials made at SIMD levels {value} and {other} do not merge to the same bits: set the "
                f"environment variable FASTCKA_SIMD_LEVEL to the lower level of the two on every machine"
            )
        raise ValueError(
            f"a partial of another sweep: {_DIFFERENCES[name]} ({name}: {value!r} and {other!r})"
        )


def restored(settings: Mapping[str, Any], state: Mapping[str, Array]) -> Partial:
    """Return the partial with these `settings` and this `state`."""
    widths, names = settings["widths"], settings["names"]
    if sum(map(len, names)) != len(widths):
        raise Refused("damaged: another number of layers than of widths")
    sides = widths[: len(names[0])], None if len(names) == 1 else widths[len(names[0]) :]
    if settings["stage"] == "statistics":
        return Partial(settings, _core.Statistics.from_state(*sides, dict(state)))
    n, blocks = settings["n_samples"], settings["blocks"]
    if settings["stage"] in MEDIANS:
        return Partial(settings, _core.MedianRound.from_state(n, *sides, dict(state)))
    if "diagonals" in state and state["diagonals"].shape != (n, len(widths)):
        raise Refused(f"damaged: diagonals of shape {state['diagonals'].shape}")
    own = {name: x for name, x in state.items() if not name.startswith(_GIVEN)}
    kind = _core.SecondPass if "nodes" in own else _core.Partial
    sums = kind.from_state(blocks, n, *sides, own)
    if settings["stage"] == "products":
        return Partial(settings, sums)
    of_products = {name: x for name, x in settings.items() if name not in _OF_INFERENCE}
    of_products |= {"stage": "products", "blocks": settings["product_blocks"]}
    products = restored(
        of_products, {name.removeprefix(_GIVEN): x for name, x in state.items() if name.startswith(_GIVEN)}
    )
    if products.digest != settings["products"] or products.missing:
        raise Refused("damaged: other products than it was made from")
    return Partial(settings, sums, products)


def contents(state: Mapping[str, Array]) -> list[bytes]:
    """Return the bytes of a state, for a checksum."""
    return [name.encode() + np.ascontiguousarray(state[name]).tobytes() for name in sorted(state)]


_GIVEN = "given."  # before the names of what it was made from
_OF_INFERENCE = ("pvalues", "products", "product_blocks")  # settings that the products do not have


def blocks_in_words(ranges: Sequence[range]) -> str:
    """Return numbers of blocks as people write them: "blocks 0, 4 to 7"."""
    spans = [f"{r.start}" if len(r) == 1 else f"{r.start} to {r.stop - 1}" for r in ranges]
    if not spans:
        return ""
    one = len(ranges) == 1 and len(ranges[0]) == 1
    return f"block{'' if one else 's'} {', '.join(spans[:5])}{', ...' if len(spans) > 5 else ''}"
