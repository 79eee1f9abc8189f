# SPDX-License-Identifier: BSD-3-Clause
"""What inference is asked for: p-values by which method, and groups of samples that depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import unknown
from ._sources import Layer
from .kernels import Correlation, Cosine, Kernel, Linear, Precomputed

Permute: TypeAlias = Literal["within", "groups"]
PvalueMethod: TypeAlias = Literal["moments", "chi2"]
Inference: TypeAlias = bool | PvalueMethod  # the argument of public functions
L = TypeVar("L", bound=Layer)
PERMUTE: tuple[Permute, ...] = ("within", "groups")
PVALUE_METHODS: tuple[PvalueMethod, ...] = ("moments", "chi2")


@dataclass(frozen=True)
class Groups:
    """Which samples belong together.

    `order` puts the samples of each group side by side, in the order in which they came; `bounds` are the
    places where groups begin then, and the number of samples.
    """

    order: NDArray[np.intp]
    bounds: list[int]

    @classmethod
    def of(cls, labels: ArrayLike, n: int) -> Groups:
        """Return the groups of labels, one for each of n samples."""
        array = np.asarray(labels)
        if array.shape != (n,):
            raise ValueError(f"groups: expected a label for each of the {n} samples, got shape {array.shape}")
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ValueError("groups: a label is nan")
        try:
            _, numbers, sizes = np.unique(array, return_inverse=True, return_counts=True)
        except TypeError as error:  # of objects that have no order
            raise TypeError(f"groups: labels must be all numbers or all strings ({error})") from None
        if len(sizes) < 2:
            raise ValueError(
                "groups: all samples have the same label, so there is nothing to compare groups with"
            )
        bounds = [0, *np.cumsum(sizes).tolist()]
        return cls(np.argsort(numbers.reshape(-1), kind="stable"), bounds)

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Samples in each group."""
        return np.diff(self.bounds)

    @property
    def apart(self) -> bool:
        """Whether samples of one group lie apart as they came."""
        return not np.array_equal(self.order, np.arange(len(self.order)))

    def sorted(self, arrays: list[L], kernel: Kernel) -> list[L]:
        """Return copies with the samples of each group side by side, or the arrays where they are."""
        if not self.apart:
            return arrays
        # Rows that are one row in memory have no order.
        copies: list[Any] = [
            array[self.order] if getattr(array, "strides", (1,))[0] else array for array in arrays
        ]
        if isinstance(kernel, Precomputed):
            copies = [copy[:, self.order] for copy in copies]
        return cast("list[L]", copies)


FEWEST = 6  # samples for standard errors and p-values: the third moment under permutation needs them


@dataclass(frozen=True)
class Wanted:
    """What `inference` asks of all pairs; `groups`, where samples depend on each other."""

    groups: Groups | None
    pvalue_method: PvalueMethod | None = None  # None: no p-values

    @classmethod
    def of(cls, inference: object, groups: ArrayLike | None, kernel: Kernel, n: int) -> Wanted | None:
        """Check the arguments of a public function for n samples; None: values alone."""
        method = _pvalue_method(inference, kernel)
        if method is None:
            if groups is not None:
                raise ValueError("groups need inference=True")
            return None
        if n < FEWEST:
            raise ValueError(f"inference={inference!r} needs at least {FEWEST} samples, got {n}")
        if groups is None:
            return cls(None, method)
        if isinstance(inference, str):
            raise ValueError(
                f"inference={inference!r}: with groups there are no p-values by moments or chi2, which "
                "exchange all samples; inference=True gives standard errors, and "
                "cka_test(method='permutation') p-values"
            )
        grouped = Groups.of(groups, n)
        if n - grouped.sizes.max() < 4:
            raise ValueError(
                f"groups: only {n - grouped.sizes.max()} samples are outside the largest group; 4 are needed"
            )
        return cls(grouped)

    @property
    def bounds(self) -> list[int]:
        """Where groups begin, once samples lie in their order."""
        return [] if self.groups is None else self.groups.bounds


def _pvalue_method(inference: object, kernel: Kernel) -> PvalueMethod | None:
    """Return where p-values come from: for True, the exact moments where they are cheap."""
    if isinstance(inference, bool | np.bool_):
        if not inference:
            return None
        return "moments" if isinstance(kernel, Linear | Cosine | Correlation) else "chi2"
    for known in PVALUE_METHODS:
        if inference == known:
            return known
    error = ValueError if isinstance(inference, str) else TypeError
    raise error(f"inference must be True, False, 'moments' or 'chi2', got {inference!r}")


def check_permute(permute: object, groups: object) -> None:
    """Check what a permutation exchanges, and that there are groups to exchange."""
    if permute not in PERMUTE:
        raise unknown("permute", permute, PERMUTE)
    if permute == "groups" and groups is None:
        raise ValueError("permute='groups' exchanges whole groups, and there are no groups")


def orders_of(
    n: int,
    count: int,
    groups: Groups | None,
    permute: object,
    rng: np.random.Generator,
    at_a_time: int,
) -> Iterator[NDArray[np.int32]]:
    """Return that of the data, then `count` random orders of the samples, some rows at a time.

    With groups, they are orders of samples that lie in the order of the groups.
    """
    check_permute(permute, groups)
    draw = _plain(n, rng) if groups is None else _allowed(groups, permute, rng)
    step = max(8, at_a_time // n)

    def batches() -> Iterator[NDArray[np.int32]]:
        for first in range(0, count + 1, step):
            rows = range(first, min(first + step, count + 1))
            yield np.array([draw() if row else np.arange(n) for row in rows], dtype=np.int32)

    return batches()


def _plain(n: int, rng: np.random.Generator) -> Callable[[], NDArray[np.intp]]:
    return lambda: rng.permutation(n)


def _allowed(groups: Groups, permute: object, rng: np.random.Generator) -> Callable[[], NDArray[np.intp]]:
    parts = [np.arange(a, b) for a, b in zip(groups.bounds, groups.bounds[1:], strict=False)]
    if permute == "within":
        if groups.sizes.max() == 1:
            raise ValueError(
                "groups: permute='within' exchanges samples of one group, but each has one sample"
            )
        return lambda: np.concatenate([rng.permutation(part) for part in parts])
    by_size: dict[int, list[int]] = {}
    for number, size in enumerate(groups.sizes.tolist()):
        by_size.setdefault(size, []).append(number)
    if max(map(len, by_size.values())) == 1:
        raise ValueError(
            "groups: permute='groups' exchanges whole groups of equal size, but no two have the same size: "
            f"{sorted(by_size)}"
        )

    def draw() -> NDArray[np.intp]:
        chosen = list(range(len(parts)))
        for numbers in by_size.values():
            for number, other in zip(numbers, rng.permutation(numbers), strict=True):
                chosen[number] = int(other)
        return np.concatenate([parts[number] for number in chosen])

    return draw
