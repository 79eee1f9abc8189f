# SPDX-License-Identifier: BSD-3-Clause
"""Types of the compiled core (src/cpp/bindings). Private: the public functions are in similarity.py."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]

class _Rows(Protocol):
    """A layer that is not in memory: fastcka._sources.Source."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    def rows(self, first: int, last: int) -> _Array: ...
    def close(self) -> None: ...

_Layer: TypeAlias = _Array | _Rows
_Progress: TypeAlias = Callable[[int, int], object]

class NonFinite(ValueError):
    """NaN or infinity in the input; ``args`` is (side, layer, row, column)."""

class OverBudget(MemoryError):
    """The plan does not fit into `max_bytes`."""

    least: int  # bytes that would do; 0: none would

class UnusableLayer(ValueError):
    """A layer that cannot be computed; ``args`` is (side, layer, reason)."""

class Kernel:
    def __init__(self, name: str, /, **options: float) -> None: ...
    @property
    def is_linear(self) -> bool: ...

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
        measure: str = "cka",
        row_products: bool = False,  # sums of single samples, for inference, where one sweep can make them
    ) -> None: ...

class Statistics:
    """What is found out about layers before the first block."""

    def merge(self, other: Statistics) -> None: ...
    def copy(self) -> Statistics: ...
    def covered(self) -> list[tuple[int, int]]: ...
    @property
    def needs_float64(self) -> bool: ...
    def rounds(self, kernel: Kernel, double_precision: bool) -> int: ...  # that find the open medians
    def state(self) -> dict[str, Any]: ...
    @staticmethod
    def from_state(
        widths_a: Sequence[int], widths_b: Sequence[int] | None, state: dict[str, Any]
    ) -> Statistics: ...

class MedianRound:
    """Counts of the next bits of distances, in some blocks of the grid of each layer."""

    def merge(self, other: MedianRound) -> None: ...
    def copy(self) -> MedianRound: ...
    def covered(self) -> list[tuple[int, int]]: ...
    def narrowed(self, kernel: Kernel) -> Statistics: ...
    def state(self) -> dict[str, Any]: ...
    @staticmethod
    def from_state(
        n: int, widths_a: Sequence[int], widths_b: Sequence[int] | None, state: dict[str, Any]
    ) -> MedianRound: ...

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

class SecondPass:
    """The sums of some blocks of the pass over Gram matrices that inference needs."""

    def merge(self, other: SecondPass) -> None: ...
    def copy(self) -> SecondPass: ...
    def covered(self) -> list[tuple[int, int]]: ...
    def state(self) -> dict[str, Any]: ...
    @staticmethod
    def from_state(
        blocks: int,
        n: int,
        widths_a: Sequence[int],
        widths_b: Sequence[int] | None,
        state: dict[str, Any],
    ) -> SecondPass: ...

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
    def dimensions_a(self) -> NDArray[np.float64]: ...
    @property
    def dimensions_b(self) -> NDArray[np.float64]: ...
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
    def too_coarse(self) -> bool: ...
    @property
    def route(self) -> str: ...
    @property
    def double_precision(self) -> bool: ...

class PlanInfo:
    @property
    def route(self) -> str: ...
    @property
    def row_products(self) -> bool: ...
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
    def reads(self) -> float: ...
    @property
    def simd_level(self) -> str: ...

class Moments:
    """Linear HSIC of a stream: moments of all pairs of layers."""

    def __init__(
        self,
        widths_a: Sequence[int],
        widths_b: Sequence[int] | None,
        double_precision: bool,
        state: dict[str, Any] | None = None,
    ) -> None: ...
    def check(
        self, layers_a: Sequence[_Array], layers_b: Sequence[_Array] | None, n_threads: int
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
    def state_bytes(
        widths_a: Sequence[int], widths_b: Sequence[int] | None, double_precision: bool
    ) -> int: ...

def pairwise(
    layers_a: Sequence[_Layer],
    layers_b: Sequence[_Layer] | None,
    settings: Settings,
    progress: _Progress | None = None,
) -> Pairwise: ...

class Inference(Pairwise):
    @property
    def asked(self) -> Alignment: ...
    @property
    def n_samples(self) -> int: ...
    @property
    def standard_errors(self) -> NDArray[np.float64]: ...
    @property
    def diagonals(self) -> NDArray[np.float64]: ...
    @property
    def squares(self) -> NDArray[np.float64]: ...
    @property
    def cubes(self) -> NDArray[np.float64]: ...
    @property
    def quadratic_forms(self) -> NDArray[np.float64]: ...
    @property
    def traces_of_cubes(self) -> NDArray[np.float64]: ...

def infer(
    layers_a: Sequence[_Layer],
    layers_b: Sequence[_Layer] | None,
    settings: Settings,
    *,
    unbiased: bool,
    standard_errors: bool,
    permutations: bool,
    groups: Sequence[int] = ...,
    partial: Partial | None = None,  # the sums of all blocks
    rows: Partial | None = None,  # those of a sweep that makes sums of single samples
    second_pass: SecondPass | None = None,  # those of the second pass
    progress: _Progress | None = None,
) -> Inference: ...
def inference_bytes(
    n: int,
    widths_a: Sequence[int],
    widths_b: Sequence[int] | None,
    settings: Settings,
    *,
    unbiased: bool,
    permutations: bool,
    groups: Sequence[int] = ...,
    row_bytes: Sequence[int] = ...,
) -> int: ...
def u_centred(X: _Array, settings: Settings) -> tuple[_Array, NDArray[np.float64]]: ...
def permuted_products(
    left: Sequence[_Array], right: Sequence[_Array], orders: NDArray[np.int32], n_threads: int
) -> NDArray[np.float64]: ...
def permuted_feature_products(
    left: Sequence[_Array], right: Sequence[_Array], settings: Settings, orders: NDArray[np.int32]
) -> NDArray[np.float64]: ...
def trace_of_cube(matrix: _Array, n_threads: int) -> float: ...
def plan(
    n: int,
    widths_a: Sequence[int],
    widths_b: Sequence[int] | None,
    settings: Settings,
    row_bytes: Sequence[int] = ...,  # of layers that are read, 0 for others; or none
) -> PlanInfo: ...
def statistics(
    layers_a: Sequence[_Layer],
    layers_b: Sequence[_Layer] | None,
    settings: Settings,
    first: int,
    last: int,
    medians: bool,  # False: left to rounds
    progress: _Progress | None = None,
) -> Statistics: ...
def median_round(
    layers_a: Sequence[_Layer],
    layers_b: Sequence[_Layer] | None,
    settings: Settings,
    statistics: Statistics,
    first: int,
    last: int,
    progress: _Progress | None = None,
) -> MedianRound: ...
def with_medians(
    layers_a: Sequence[_Layer],
    layers_b: Sequence[_Layer] | None,
    settings: Settings,
    statistics: Statistics,
    progress: _Progress | None = None,
) -> Statistics: ...
def partial(
    layers_a: Sequence[_Layer],
    layers_b: Sequence[_Layer] | None,
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
def further_work(
    n: int,
    widths_a: Sequence[int],
    widths_b: Sequence[int] | None,
    settings: Settings,
    *,
    permutations: bool,
    groups: Sequence[int],
) -> tuple[str, int]: ...  # after the products: "nothing", a "sweep", or a "pass" and its blocks
def second_pass(
    layers_a: Sequence[_Layer],
    layers_b: Sequence[_Layer] | None,
    settings: Settings,
    partial: Partial,
    *,
    permutations: bool,
    groups: Sequence[int],
    first: int,
    last: int,
    progress: _Progress | None = None,
) -> SecondPass: ...
def kernel_names() -> list[str]: ...
def gram(X: _Array, kernel: Kernel, *, double_precision: bool, n_threads: int) -> _Array: ...
def center(K: _Array, n_threads: int) -> _Array: ...
def config() -> dict[str, Any]: ...
def omp_max_threads() -> int: ...
def release_buffers() -> None: ...
def empty_bytes(n_bytes: int) -> NDArray[np.uint8]: ...
