# SPDX-License-Identifier: BSD-3-Clause
"""Where the values of a comparison come from: `CKAMatrix.provenance` as `cka_matrix` fills it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from . import _core


class Side(NamedTuple):
    """One network of a comparison, as it came in and as the core saw it."""

    given: object
    names: Sequence[str]
    widths: Sequence[int]  # 0 where it is not one number: Gram matrices of batches
    sigma: Sequence[float]  # nan for a kernel without one, and for a layer that was not computed


def provenance(
    sides: Mapping[str, Side], dtype: str | None, samples: Iterable[object] | None
) -> dict[str, Any]:
    """Return what is known of a comparison, as JSON can hold it.

    ``version``, ``simd_level``, ``dtype`` of the arithmetic, and ``samples``, a digest of their ids. The
    sides, ``rows`` and ``columns``, have ``widths`` and, for a kernel with a bandwidth, ``sigma`` by layer.
    Of a store or file they have the ``source``, its path; the ``pooling`` that made its rows; and ``origin``,
    and any other metadata it carries.
    """
    config = _core.config()
    known: dict[str, Any] = {"version": config["version"], "simd_level": config["simd_level"]}
    if dtype is not None:
        known["dtype"] = dtype
    if samples is not None:
        known["samples"] = digest(samples)
    return {**known, **{name: of_side(side) for name, side in sides.items()}}


def digest(ids: Iterable[object]) -> str:
    """Return a SHA-256 of sample ids in their order."""
    import hashlib

    return "sha256:" + hashlib.sha256(json.dumps([str(i) for i in ids]).encode()).hexdigest()


def of_side(side: Side) -> dict[str, Any]:
    """Return what is known of one network."""
    widths = {name: width or None for name, width in zip(side.names, side.widths, strict=True)}
    known: dict[str, Any] = {"widths": widths}
    sigma = [None if math.isnan(s) else s for s in side.sigma]
    if any(sigma):
        known["sigma"] = dict(zip(side.names, sigma, strict=True))
    path, origin = getattr(side.given, "path", None), getattr(side.given, "provenance", None)
    if isinstance(path, str | os.PathLike):  # else a layer of that name, say
        known["source"] = str(path)
    if isinstance(origin, Mapping) and origin:
        extracted = origin.get("extract")
        if isinstance(extracted, Mapping):
            known["pooling"] = extracted.get("pool")
            extracted = {key: value for key, value in extracted.items() if key != "left_out"}
            origin = {**origin, "extract": extracted}
        known["origin"] = dict(origin)
    return known
