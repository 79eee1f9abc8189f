# SPDX-License-Identifier: BSD-3-Clause
"""Types of the compiled core (src/cpp/bindings). Private: the public functions are in similarity.py."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]
_Progress: TypeAlias = Callable[[int, int], object]

class NonFinite(ValueError):
    """NaN or infinity in the input; ``args`` is (side, layer, row, column)."""

class UnusableLayer(ValueError):
    """A layer that cannot be computed; ``args`` is (side, layer, reason)."""

class Kernel:
    def __init__(
        self,
        kind: str,
        *,
        bandwidth: float = 1.0,
        sigma: float = ...,
        offdiagonal: bool = False,
        degree: int = 2,
        coef0: float = 1.0,
        gamma: float = ...,
        exponent: float = 1.0,
    ) -> None: ...

class Settings:
    def __init__(
        self,
        kernel: Kernel,
        *,
        estimator: str,
        double_precision: bool,
        n_threads: int,
        max_bytes: int = 0,
        route: str = "auto",
    ) -> None: ...

class Statistics:
    """What is found out about layers before the first block."""

    def merge(self, other: Statistics) -> None: ...
    def copy(self) -> Statistics: ...
    def covered(self) -> list[tuple[int, int]]: ...
    @property
    def needs_float64(self) -> bool: ...
    def state(self) -> dict[str, Any]: ...
    @staticmethod
    def from_state(
        widths_a: Sequence[int], widths_b: Sequence[int] | None, state: dict[str, Any]
    ) -> Statistics: ...

class Partial:
    """The sums of some blocks."""

    def merge(self, other: Partial) -> None: ...
    def copy(self) -> Partial: ...
    def covered(self) -> list[tuple[int, int]]: ...
    def state(self) -> dict[str, Any]: ...
    @staticmethod
    def from_state(
        blocks: int,
        n: int,
        widths_a: Sequence[int],
        widths_b: Sequence[int] | None,
        state: dict[str, Any],
    ) -> Partial: ...

class Alignment:
    @property
    def cka(self) -> NDArray[np.float64]: ...
    @property
    def chance(self) -> NDArray[np.float64]: ...
    @property
    def hsic(self) -> NDArray[np.float64]: ...
    @property
    def self_a(self) -> NDArray[np.float64]: ...
    @property
    def self_b(self) -> NDArray[np.float64]: ...
    @property
    def status_a(self) -> list[str]: ...
    @property
    def status_b(self) -> list[str]: ...
    @property
    def sigma_a(self) -> list[float]: ...
    @property
    def sigma_b(self) -> list[float]: ...

class Pairwise(Alignment):
    @property
    def route(self) -> str: ...
    @property
    def double_precision(self) -> bool: ...

class PlanInfo:
    @property
    def route(self) -> str: ...
    @property
    def double_precision(self) -> bool: ...
    @property
    def flops(self) -> float: ...
    @property
    def bytes(self) -> int: ...
    @property
    def tile(self) -> int: ...
    @property
    def tiles(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def n_threads(self) -> int: ...
    @property
    def panel_width(self) -> int: ...
    @property
    def simd_level(self) -> str: ...

class Moments:
    """Linear HSIC of a stream: moments of all pairs of layers."""

    def __init__(
        self, widths_a: Sequence[int], widths_b: Sequence[int] | None, double_precision: bool
    ) -> None: ...
    def update(
        self, layers_a: Sequence[_Array], layers_b: Sequence[_Array] | None, n_threads: int
    ) -> None: ...
    def merge(self, other: Moments, n_threads: int) -> None: ...
    def result(self, unbiased: bool, n_threads: int) -> Alignment: ...
    @property
    def n_samples(self) -> int: ...
    def state(self, n_threads: int) -> dict[str, Any]: ...
    @staticmethod
    def from_state(
        widths_a: Sequence[int],
        widths_b: Sequence[int] | None,
        double_precision: bool,
        state: dict[str, Any],
    ) -> Moments: ...
    @staticmethod
    def state_bytes(
        widths_a: Sequence[int], widths_b: Sequence[int] | None, double_precision: bool
    ) -> int: ...

def pairwise(
    layers_a: Sequence[_Array],
    layers_b: Sequence[_Array] | None,
    settings: Settings,
    progress: _Progress | None = None,
) -> Pairwise: ...
def plan(n: int, widths_a: Sequence[int], widths_b: Sequence[int] | None, settings: Settings) -> PlanInfo: ...
def statistics(
    layers_a: Sequence[_Array],
    layers_b: Sequence[_Array] | None,
    settings: Settings,
    first: int,
    last: int,
    progress: _Progress | None = None,
) -> Statistics: ...
def partial(
    layers_a: Sequence[_Array],
    layers_b: Sequence[_Array] | None,
    settings: Settings,
    first: int,
    last: int,
    statistics: Statistics,
    progress: _Progress | None = None,
) -> Partial: ...
def finish(
    n: int,
    widths_a: Sequence[int],
    widths_b: Sequence[int] | None,
    settings: Settings,
    partial: Partial,
) -> Pairwise: ...
def gram(X: _Array, kernel: Kernel, *, double_precision: bool, n_threads: int) -> _Array: ...
def center(K: _Array, n_threads: int) -> _Array: ...
def config() -> dict[str, Any]: ...
def omp_max_threads() -> int: ...
def release_buffers() -> None: ...
def empty_bytes(n_bytes: int) -> NDArray[np.uint8]: ...
