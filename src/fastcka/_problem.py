# SPDX-License-Identifier: BSD-3-Clause
"""What is compared with what and how: the plans for it, and what partials of it have in common."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from . import _core
from ._arrays import check_samples
from ._budget import within_memory
from ._groups import Wanted
from ._networks import Networks
from ._pairwise import check_values
from ._partial import Partial
from ._settings import Settings
from ._sources import Layer
from ._stages import Stage


class Problem:
    """Networks and settings."""

    def __init__(self, networks: Networks, settings: Settings) -> None:
        self.networks, self.settings = networks, settings
        check_samples(networks.all, networks.label_of, settings.estimator, settings.measure)
        self._plan_as_asked = self._plan(settings)

    def check_values(self, layers: range) -> None:
        """Check what settings ask of the values of some layers."""
        for layer in layers:
            check_values(self.networks.all[layer], self.networks.label_of(layer), self.settings)

    @property
    def operations_per_value(self) -> float:
        """How much work there is with each value, about."""
        values = self.networks.n_samples * sum(X.shape[1] for X in self.networks.all)
        operations: float = self._plan_as_asked.flops / values
        return operations

    def _identity(self, stage: Stage, blocks: int) -> dict[str, Any]:
        """Return what two partials must agree in to be parts of one whole."""
        plan = self._plan_as_asked
        return {
            "stage": stage,
            "n_samples": self.networks.n_samples,
            "names": [list(names) for names in self.networks.names],
            "widths": [X.shape[1] for X in self.networks.all],
            "kernel": str(self.settings.kernel),
            "dtype": "float64" if plan.double_precision else "float32",
            "groups": self._groups,
            "simd_level": plan.simd_level,
            "blocks": blocks,  # follows from all of these, which say better what differs
        }

    @cached_property
    def _groups(self) -> str | None:
        """A digest of the groups in whose order the samples lie."""
        wanted = self.settings.inference
        if wanted is None or wanted.groups is None:
            return None
        order = np.append(wanted.groups.order, wanted.bounds).astype("<i8")
        return hashlib.sha256(order.tobytes()).hexdigest()

    @property
    def _wanted(self) -> Wanted:
        return cast(Wanted, self.settings.inference)

    def _exact_as(self, products: Partial) -> Settings:
        wide = products.settings["double_precision"]
        return replace(self.settings, dtype="float64") if wide else self.settings

    def _plan(self, settings: Settings, route: str = "auto") -> _core.PlanInfo:
        networks = self.networks
        return _core.plan(networks.n_samples, *networks.widths, settings.core(networks.all, route=route))

    def _further(self, settings: Settings) -> tuple[str, int]:
        """Return what inference needs after the products: nothing, a sweep, or a pass of so many blocks."""
        wanted, networks = settings.inference, self.networks
        if wanted is None:
            return "nothing", 0
        return _core.further_work(
            networks.n_samples,
            *networks.widths,
            settings.core(networks.all),
            permutations=wanted.pvalue_method == "moments",
            groups=wanted.bounds,
        )

    def _further_blocks(self, settings: Settings) -> int:
        kind, blocks = self._further(settings)
        return self._plan(settings, route="gram").blocks if kind == "sweep" else blocks

    def _inputs(self, settings: Settings) -> tuple[list[Layer], list[Layer] | None, _core.Settings]:
        """Return what the core needs of all layers."""
        a, b = self.networks.a, self.networks.b
        return a, b, within_memory(a, b, settings)
