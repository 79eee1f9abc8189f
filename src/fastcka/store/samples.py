# SPDX-License-Identifier: BSD-3-Clause
"""Whether two collections of layers hold the same samples, by the ids of the samples."""

from __future__ import annotations

from collections.abc import Sequence


def check_same_samples(a: object, b: object) -> None:
    """Check that two collections of layers, where both have ids of their samples, have the same in order.

    Parameters
    ----------
    a, b : object
        Their attribute `ids` counts if it is a sequence; without one on both sides there is nothing to check.

    Raises
    ------
    ValueError
        With the first difference.
    """
    ids_a, ids_b = getattr(a, "ids", None), getattr(b, "ids", None)
    for ids in (ids_a, ids_b):
        if not isinstance(ids, Sequence):  # a layer of that name, say
            return
    first, second = tuple(ids_a), tuple(ids_b)  # type: ignore[arg-type]
    if first == second:
        return
    shared = min(len(first), len(second))
    row = next((i for i in range(shared) if first[i] != second[i]), shared)
    if row == shared:
        longer, shorter = ("layers_a", "layers_b") if len(first) > shared else ("layers_b", "layers_a")
        more = max(first, second, key=len)[shared]
        difference = f"{longer} goes on after the {shared} samples of {shorter}, with {more!r}"
    else:
        difference = f"sample {row} is {first[row]!r} in layers_a and {second[row]!r} in layers_b"
    common = len(set(first) & set(second))
    if len(first) == len(second) == common:
        advice = "these are the same samples in another order: bring them into one order"
    else:
        advice = (
            f"{common} ids are in both, of {len(first)} and {len(second)}: "
            f"all layers must hold the same samples, in the same order"
        )
    raise ValueError(f"layers_a and layers_b hold different samples: {difference}; {advice}")
