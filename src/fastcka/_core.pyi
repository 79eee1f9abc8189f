# SPDX-License-Identifier: BSD-3-Clause
"""Types of the compiled core (src/cpp/bindings). Private: the public functions are in similarity.py."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]

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
    kernel: Kernel,
    *,
    unbiased: bool,
    double_precision: bool,
    n_threads: int,
    max_bytes: int,
    route: str,
    measure: str = ...,
    progress: Callable[[int, int], object] | None,
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
    layers_a: Sequence[_Array],
    layers_b: Sequence[_Array] | None,
    kernel: Kernel,
    *,
    unbiased: bool,
    asked_unbiased: bool,
    standard_errors: bool,
    permutations: bool,
    groups: Sequence[int] = ...,
    double_precision: bool,
    n_threads: int,
    max_bytes: int,
    route: str,
    measure: str = ...,
    progress: Callable[[int, int], object] | None = ...,
) -> Inference: ...
def inference_bytes(
    n: int,
    widths_a: Sequence[int],
    widths_b: Sequence[int] | None,
    kernel: Kernel,
    *,
    permutations: bool,
    double_precision: bool,
) -> int: ...
def u_centred(
    X: _Array, kernel: Kernel, *, double_precision: bool, n_threads: int
) -> tuple[_Array, NDArray[np.float64]]: ...
def permuted_products(
    left: Sequence[_Array], right: Sequence[_Array], orders: NDArray[np.int32], n_threads: int
) -> NDArray[np.float64]: ...
def permuted_feature_products(
    left: Sequence[_Array],
    right: Sequence[_Array],
    kernel: Kernel,
    orders: NDArray[np.int32],
    *,
    double_precision: bool,
    n_threads: int,
) -> NDArray[np.float64]: ...
def trace_of_cube(matrix: _Array, n_threads: int) -> float: ...
def plan(
    n: int,
    widths_a: Sequence[int],
    widths_b: Sequence[int] | None,
    kernel: Kernel,
    *,
    double_precision: bool,
    n_threads: int,
    max_bytes: int,
    route: str = "auto",
) -> PlanInfo: ...
def gram(X: _Array, kernel: Kernel, *, double_precision: bool, n_threads: int) -> _Array: ...
def center(K: _Array, n_threads: int) -> _Array: ...
def config() -> dict[str, Any]: ...
def omp_max_threads() -> int: ...
def release_buffers() -> None: ...
def empty_bytes(n_bytes: int) -> NDArray[np.uint8]: ...
