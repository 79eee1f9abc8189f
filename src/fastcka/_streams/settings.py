# SPDX-License-Identifier: BSD-3-Clause
"""What a stream computes: the arguments of `StreamingCKA`, checked together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from .._arguments import (
    Arithmetic,
    Canonical,
    check_arithmetic,
    check_estimator,
    positive_integer,
    unknown,
)
from ..kernels import Kernel, Linear, resolve_kernel

Method: TypeAlias = Literal["exact", "minibatch"]
Weights: TypeAlias = Literal["equal", "by_size"]

METHODS: tuple[Method, ...] = ("exact", "minibatch")
WEIGHTS: tuple[Weights, ...] = ("equal", "by_size")
DEFAULT_GROUPS = 32


@dataclasses.dataclass(frozen=True)
class StreamSettings:
    """Streams of the same settings can be merged; what belongs to the machine is in `Limits`."""

    method: Method
    kernel: Kernel
    estimator: Canonical
    weights: Weights
    dtype: Arithmetic | None  # None: the first batch decides
    n_groups: int | None  # of the jackknife; None: no inference

    @classmethod
    def checked(
        cls,
        method: Method,
        kernel: object,
        estimator: object,
        weights: Weights,
        dtype: object,
        inference: object,
        n_groups: int | None,
    ) -> Self:
        """Return the settings of the arguments of `StreamingCKA`, or raise what it promises."""
        groups = checked_groups(inference, n_groups)
        chosen = resolve_kernel(kernel)
        known = _checked_estimator(method, chosen, estimator, weights)
        return cls(method, chosen, known, weights, check_arithmetic(dtype), groups)

    @classmethod
    def of_saved(cls, saved: dict[str, Any]) -> Self:
        """Return the settings that `saved` gave, checked again."""
        kernel = saved["kernel"]
        return cls.checked(
            saved["method"],
            dataclasses.replace(resolve_kernel(kernel["name"]), **kernel["options"]),  # type: ignore[type-var]
            saved["estimator"],
            saved["weights"],
            saved["dtype"],
            saved["n_groups"] is not None,
            saved["n_groups"],
        )

    def saved(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        options = dataclasses.asdict(self.kernel)  # type: ignore[call-overload]
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "kernel": {"name": self.kernel.name, "options": options}}

    def described_method(self) -> str:
        """Return the method, with its weights where they are not the default, as kernels are written."""
        return self.method if self.weights == "equal" else f"{self.method}(weights={self.weights!r})"

    def differences(self, other: StreamSettings) -> Iterator[tuple[str, object, object]]:
        """Yield (what, here, there) for all that differs, but `dtype`, which batches may decide."""
        for name in ("method", "kernel", "estimator", "weights", "n_groups"):
            if (here := getattr(self, name)) != (there := getattr(other, name)):
                yield name, here, there


def checked_groups(inference: object, n_groups: object) -> int | None:
    """Return the number of groups; None: no inference."""
    if not isinstance(inference, bool | np.bool_):
        raise TypeError(
            f"inference must be True or False, got {inference!r}: p-values of a stream are those of the "
            f"chi-squared bound"
        )
    if not inference:
        if n_groups is not None:
            raise ValueError("n_groups: only inference=True knows what to do with them")
        return None
    if n_groups is None:
        return DEFAULT_GROUPS
    if (count := positive_integer(n_groups, "n_groups", 2**16)) < 2:
        raise ValueError("n_groups: one group cannot be left out, got 1")
    return count


def _checked_estimator(method: object, kernel: Kernel, estimator: object, weights: object) -> Canonical:
    """Check what depends on one another, and return the estimator."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if weights not in WEIGHTS:
        raise unknown("weights", weights, WEIGHTS)
    if method == "minibatch":
        if estimator is not None and check_estimator(estimator) == "biased":
            raise ValueError(
                'method="minibatch" is defined for estimator="unbiased" only: biased HSIC has a bias that '
                "depends on the batch size, and no number of batches averages it away"
            )
        return "unbiased"
    if not isinstance(kernel, Linear):
        raise ValueError(
            f'method="exact" needs the linear kernel, whose HSIC follows from sums over samples; for '
            f'{kernel} use method="minibatch", or keep the layers (create_store) and call cka_matrix'
        )
    if weights != "equal":
        raise ValueError(
            f'weights={weights!r} belongs to method="minibatch": the exact value is not made of batches'
        )
    return "biased" if estimator is None else check_estimator(estimator)
