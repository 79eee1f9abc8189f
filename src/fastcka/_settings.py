# SPDX-License-Identifier: BSD-3-Clause
"""The options of a call, checked on input and passed on as one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from . import _core
from ._arguments import Arithmetic, Canonical, Measure, byte_limit, check_arithmetic, check_measure
from ._arrays import needs_float64
from ._groups import Wanted
from ._sources import Layer
from .kernels import Kernel, core_kernel, resolve_kernel
from .threads import resolve


@dataclass(frozen=True)
class Settings:
    """Kernel, measure, arithmetic, threads and memory of a comparison."""

    kernel: Kernel
    estimator: Canonical | None  # of CKA; the other measures have none
    dtype: Arithmetic | None  # None: as the inputs say
    n_threads: int
    max_bytes: int  # 0: what this process may still use
    measure: Measure = "cka"
    inference: Wanted | None = None  # None: values alone

    @classmethod
    def checked(
        cls,
        kernel: object,
        estimator: object,
        dtype: object,
        n_threads: int | None,
        max_bytes: object,
        measure: object = "cka",
        inference: Wanted | None = None,
    ) -> Settings:
        """Return settings from the arguments of a public function, or raise what it promises."""
        chosen = resolve_kernel(kernel)
        known_measure, known = check_measure(measure, estimator)
        return cls(
            chosen,
            known,
            check_arithmetic(dtype),
            resolve(n_threads),
            byte_limit(max_bytes),
            known_measure,
            inference,
        )

    def core(
        self,
        arrays: Iterable[Layer],
        *,
        n_threads: int | None = None,
        max_bytes: int = 0,
        route: str = "auto",
    ) -> _core.Settings:
        """Return the settings of the core for these inputs."""
        return _core_settings(
            self.kernel,
            self.estimator or "biased",
            needs_float64(arrays, self.dtype),
            n_threads or self.n_threads,
            max_bytes,
            route,
            self.measure,
            self.inference is not None and self.inference.groups is None,
        )


@lru_cache(maxsize=64)  # they are immutable, and making them takes a tenth of a small call
def _core_settings(
    kernel: Kernel,
    estimator: str,
    double_precision: bool,
    n_threads: int,
    max_bytes: int,
    route: str,
    measure: str,
    row_products: bool,
) -> _core.Settings:
    return _core.Settings(
        core_kernel(kernel),
        estimator=estimator,
        double_precision=double_precision,
        n_threads=n_threads,
        max_bytes=max_bytes,
        route=route,
        measure=measure,
        row_products=row_products,
    )
