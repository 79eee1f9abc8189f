# SPDX-License-Identifier: BSD-3-Clause
"""The names of the stages of a comparison in pieces, in their order."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ._arguments import unknown

Stage: TypeAlias = Literal[
    "statistics",
    "median-1",
    "median-2",
    "median-3",
    "median-4",
    "median-5",
    "median-6",
    "products",
    "inference",
]

# Each round finds 16 bits of the medians: all 64 of float64, after the 32 of float32 where a bandwidth then
# turns out to be too narrow for that.
MEDIANS: tuple[Stage, ...] = ("median-1", "median-2", "median-3", "median-4", "median-5", "median-6")
ORDER: tuple[Stage, ...] = ("statistics", *MEDIANS, "products", "inference")


def stages(*, rounds: int, inference: bool) -> tuple[Stage, ...]:
    """Return the stages of a comparison, `rounds` of them for medians."""
    return ("statistics", *MEDIANS[:rounds], "products", *(ORDER[-1:] if inference else ()))


def checked_stage(stage: object, known: tuple[Stage, ...]) -> Stage:
    """Return the name of a stage; None: the last one. There may be more rounds for medians than `known`."""
    if stage is None:
        return known[-1]
    allowed = [name for name in ORDER if name in known or (name in MEDIANS and MEDIANS[0] in known)]
    if stage not in allowed:
        raise unknown("stage", stage, known)
    return stage
