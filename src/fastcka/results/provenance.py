# SPDX-License-Identifier: BSD-3-Clause
"""The provenance of a `Comparison` as text, for print and page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import Comparison

_SIDES = ("rows", "columns")
_BY_LAYER = ("widths", "sigma")


def in_one_line(matrix: Comparison) -> str:
    """Return the version, what is one word or number, and the range of what layers have; "" for nothing."""
    known = dict(matrix.provenance)
    texts = [f"fastcka {known.pop('version')}"] if "version" in known else []
    # The digest and the SIMD level are for machines: they stay in the files.
    single = {key: value for key, value in known.items() if key not in ("samples", "simd_level", *_SIDES)}
    texts += [
        str(value) if key == "dtype" else f"{key} {value}"
        for key, value in single.items()
        if isinstance(value, str | int | float)
    ]
    for key in _BY_LAYER:
        if numbers := [*_numbers(matrix, 0, key), *_numbers(matrix, 1, key)]:
            texts.append(f"{key} {_range(numbers)}")
    poolings = dict.fromkeys(str(side["pooling"]) for side in _sides(matrix) if side.get("pooling"))
    if poolings:
        texts.append(f"pooling {', '.join(poolings)}")
    return ", ".join(texts)


def entries(matrix: Comparison) -> list[tuple[str, str]]:
    """Return everything, by term: of what layers have, the range."""
    listed = [(key, _text(value)) for key, value in matrix.provenance.items() if key not in _SIDES]
    for side, (model, known) in enumerate(zip(matrix.models, _sides(matrix), strict=True)):
        for key, value in known.items():
            numbers = _numbers(matrix, side, key)
            listed.append((f"{key} of {model}", _range(numbers) if numbers else _text(value)))
    return list(dict.fromkeys(listed))  # of one network compared with itself, once


def by_layer(matrix: Comparison) -> list[list[str]]:
    """Return a table of what each layer has, with a line of headings; empty where nothing is known."""
    sides = _sides(matrix)
    columns = [key for key in _BY_LAYER if any(key in side for side in sides)]
    lines = [
        [layer, model, *(_text(side.get(key, {}).get(layer, "")) for key in columns)]
        for model, names, side in zip(matrix.models, (matrix.rows, matrix.columns), sides, strict=True)
        for layer in names
    ]
    return [["layer", "network", *columns], *map(list, dict.fromkeys(map(tuple, lines)))] if columns else []


def _sides(matrix: Comparison) -> list[Mapping[str, Any]]:
    found = (matrix.provenance.get(side) for side in _SIDES)
    return [side if isinstance(side, Mapping) else {} for side in found]


def _numbers(matrix: Comparison, side: int, key: str) -> list[float]:
    known = _sides(matrix)[side].get(key)
    if key not in _BY_LAYER or not isinstance(known, Mapping):
        return []
    found = (known.get(layer) for layer in (matrix.rows, matrix.columns)[side])
    return [number for number in found if isinstance(number, int | float)]


def _range(numbers: Iterable[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, default=dict, ensure_ascii=False)
