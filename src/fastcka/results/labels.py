# SPDX-License-Identifier: BSD-3-Clause
"""Names of layers for axes and tables: short, and told apart wherever the names are."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

LONGEST_NAME = 30  # characters of a label, where distinct labels of that length can be found


def short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Return labels that fit on an axis, and the prefix that was taken from all of them ("" for none).

    Parts of a path that all names share go into the prefix. If that is not enough, parts within are left out,
    for all names that have them at once, and letters of what is longer still. No digit is ever left out, and
    different names always get different labels: where they would not, a label stays longer.

    >>> short_names(["bert.encoder.layer.0.attention.query", "bert.encoder.layer.11.attention.query"])
    (['0.attention.query', '11.attention.query'], 'bert.encoder.layer.')
    >>> short_names(["bert.pooler", "bert.encoder.layer.7.attention.query", "bert.encoder.layer.7.output"])
    (['pooler', 'layer.7.attention.query', 'layer.7.output'], 'bert.')
    """
    names = _printable(names)
    if max(map(len, names), default=0) <= LONGEST_NAME:
        return list(names), ""
    paths = [re.findall(r"[^./]*[./]|[^./]+$", name) or [""] for name in names]
    levels = zip(*(path[:-1] for path in paths), strict=False)
    shared = [level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, levels)]
    labels = _with_fewer_parts([path[len(shared) :] for path in paths])
    return _with_fewer_letters(labels), "".join(shared)


def count_layers(n: int) -> str:
    """Return "1 layer", "2 layers", and so on."""
    return f"{n} layer" if n == 1 else f"{n} layers"


def axis_title(model: str, prefix: str) -> str:
    """Return the name of a network, with the prefix that `short_names` took from its layers."""
    (model,) = _printable([model])
    return f"{model} ({prefix}*)" if prefix else model


def _printable(names: Sequence[str]) -> list[str]:
    """Escape what no terminal or font can show, such as a line break or half of a surrogate pair."""
    if all(map(str.isprintable, names)):
        return list(names)
    return [
        "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in name)
        for name in names
    ]


def _with_fewer_parts(paths: list[list[str]]) -> list[str]:
    """Drop parts of the paths, the most common ones first, until all labels are short.

    Parts are those of the tree of all paths, layer numbers apart: ``layer.#.attention.`` is one part of all
    layers. Parts with digits stay, as does the last of each path, and so do parts that tell branches of one
    shape apart, such as ``encoder`` and ``decoder``.
    """
    branches: dict[str, dict[str, list[tuple[int, int]]]] = {}  # parent -> part -> (name, depth) that have it
    for i, path in enumerate(paths):
        parent = ""
        for depth, part in enumerate(path[:-1]):
            if not re.search(r"\d", part):
                branches.setdefault(parent, {}).setdefault(part, []).append((i, depth))
            parent += re.sub(r"\d+", "#", part)
    kept = [dict(enumerate(path)) for path in paths]
    labels = ["".join(path) for path in paths]
    used = Counter(labels)

    def without(places: list[tuple[int, int]]) -> list[str] | None:
        """Return the labels of these names without this part; None where some would be equal then."""
        old = Counter(labels[i] for i, _ in places)
        new = ["".join(part for d, part in kept[i].items() if d != depth) for i, depth in places]
        same = len(set(new)) < len(old) or any(used[label] > old[label] for label in new)
        return None if same else new

    for parts in sorted(branches.values(), key=lambda parts: -sum(map(len, parts.values()))):
        if without([place for places in parts.values() for place in places]) is None:
            continue
        for places in parts.values():
            long = any(len(labels[i]) > LONGEST_NAME for i, _ in places)
            if long and (shorter := without(places)) is not None:
                used.subtract(labels[i] for i, _ in places)
                used.update(shorter)
                for (i, depth), label in zip(places, shorter, strict=True):
                    del kept[i][depth]
                    labels[i] = label
    return labels


def _with_fewer_letters(labels: list[str]) -> list[str]:
    """Cut the longest stretch without digits out of labels that are still long, unless it told them apart."""
    used = Counter(labels)
    cuts = {label: _cut(label) for label in used if len(label) > LONGEST_NAME}
    seen = Counter(cuts.values())
    return [
        cuts[label] if label in cuts and seen[cuts[label]] == 1 and cuts[label] not in used else label
        for label in labels
    ]


def _cut(label: str) -> str:
    longest = max(re.finditer(r"\D+", label), key=lambda found: len(found[0]), default=None)
    if longest is None:
        return label
    room = max(3, LONGEST_NAME - len(label) + len(longest[0]))  # for this stretch, its ellipsis included
    if room >= len(longest[0]):
        return label
    head = longest.start() + (room - 1) // 2
    tail = longest.end() - (room - 1 - (room - 1) // 2)
    return f"{label[:head]}…{label[tail:]}"
