# SPDX-License-Identifier: BSD-3-Clause
"""Layers chosen by name: the keys of ``matrix[rows, columns]``."""

from __future__ import annotations

BY_POSITION = "layers are chosen by name, list of names or ':', and by position in .values"


def positions(chosen: object, names: tuple[str, ...], model: str) -> list[int]:
    """Return where the layers chosen by name, list of names or ``:`` stand."""
    if isinstance(chosen, str):
        chosen = [chosen]
    if isinstance(chosen, slice) and chosen == slice(None):
        return list(range(len(names)))
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise TypeError(f"{chosen!r} is not the name of a layer: {BY_POSITION}")
    if not chosen:
        raise ValueError("expected at least one layer, got an empty list of names")
    return [_position(name, names, model) for name in chosen]


def _position(name: str, names: tuple[str, ...], model: str) -> int:
    """Return where the layer `name` of `model` stands; unknown, it is a KeyError with similar names."""
    if name in names:
        return names.index(name)
    import difflib  # here: it is needed by nobody who spells well

    near = difflib.get_close_matches(name, names) or [*names[:5], "..."]
    raise KeyError(f"{model} has no layer {name!r}; did you mean one of {', '.join(near)}?")
