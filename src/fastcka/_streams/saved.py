# SPDX-License-Identifier: BSD-3-Clause
"""The file of a saved stream: an archive of the arrays of its state, with its settings as the header.

The checksum of the header covers the arrays. A file whose checksum is right may still have been made by
somebody else: what `StreamingCKA.save` never writes is refused, so that loading cannot fail later on, nor
broadcast an array of another shape.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from .. import _archive
from .._arguments import ESTIMATORS
from .._arrays import Array
from .._files import checked_suffix
from .._headers import Refused, checked_settings, digest, is_count, new_header, refusing
from .settings import StreamSettings

FORMAT_VERSION = 3  # 1 and 2 had other arrays
_BLOCK = 4096  # samples that an exact stream gathers before it adds them to its moments
_MOST_MASSIVE = 64  # samples that it keeps apart


def write(path: str | os.PathLike[str], settings: dict[str, Any], state: Mapping[str, Array]) -> None:
    """Write settings and state to `path`, atomically."""
    checked_suffix(path, ".npz")
    header = new_header("StreamingCKA", FORMAT_VERSION, settings)
    header["sha256"] = digest(header, _contents(state))
    _archive.write(path, header, state)


def read(
    path: str | os.PathLike[str], accept: Callable[[dict[str, Any]], object]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the settings and the state that `write` stored.

    ``accept(settings)`` is called before the state, which may be large, is read, and may raise MemoryError.

    Raises
    ------
    ValueError
        If the file is damaged, is not a saved StreamingCKA, or was written by a newer fastcka.
    """
    checked_suffix(path, ".npz")

    def check(header: dict[str, Any]) -> None:
        _check_settings(header)
        accept(header)

    with open(path, "rb") as file, refusing(path, "a StreamingCKA saved as .npz"):
        header, state = _archive.read(file, "StreamingCKA", FORMAT_VERSION, check, oldest=3)
        settings = checked_settings(header, digest(header, _contents(state)))
        _check_state(settings, state)
        return settings, state


def _contents(state: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    for name in sorted(state):
        array = np.ascontiguousarray(state[name])
        yield f"{name} {array.dtype.str} {array.shape}".encode()
        yield array.data.cast("B") if array.size else b""


# What can be in a file --------------------------------------------------------------------------------------


def _check_settings(settings: dict[str, Any]) -> None:
    """Refuse settings that no stream has."""
    kernel, layout = settings["kernel"], settings["layout"]
    if settings["estimator"] not in ESTIMATORS:  # None would be the default
        raise Refused(f"damaged: its estimator is {settings['estimator']!r}")
    StreamSettings.of_saved(settings)
    for count in ("n_samples", "n_batches"):
        if not is_count(settings[count]):
            raise Refused(f"damaged: its {count} is {settings[count]!r}")
    if layout is None:
        return
    names, widths = layout["names"], layout["widths"]
    flags = {type(layout[flag]) for flag in ("double_precision", "labelled")}
    if flags != {bool} or len(names) not in (1, 2) or len(names) != len(widths):
        raise Refused("damaged: its layers make no sense")
    if layout["labelled"] and settings["n_groups"] is None:
        raise Refused("damaged: its samples have groups, but it has none")
    for layers, features in zip(names, widths, strict=True):
        named = all(isinstance(name, str) for name in layers) and len(set(layers)) == len(layers) > 0
        sized = all(is_count(p) and (p > 0 or kernel["name"] == "precomputed") for p in features)
        if not named or not sized or len(layers) != len(features):
            raise Refused(f"damaged: its layers {layers!r} of {features!r} features make no sense")


def _check_state(settings: dict[str, Any], state: dict[str, Array]) -> None:
    """Refuse arrays of other names, types, shapes or values than a stream of these settings has."""
    layout, groups = settings["layout"], settings["n_groups"]
    expected: dict[str, tuple[type, tuple[int, ...]]] = {}
    n = 0
    for prefix in () if layout is None else [""] if groups is None else [f"{g}." for g in range(groups)]:
        of_state = _minibatch_state if settings["method"] == "minibatch" else _exact_state
        arrays, samples = of_state(
            layout,
            {name: state[prefix + name] for name in ("n_samples", "samples") if prefix + name in state},
        )
        expected |= {prefix + name: kind for name, kind in arrays.items()}
        n = n + samples if min(n, samples) >= 0 else -1
    found = {name: (array.dtype.type, array.shape) for name, array in state.items()}
    for name in expected | found:
        if expected.get(name) != found.get(name):
            raise Refused(f"damaged: its array {name!r} is not what its settings ask for")
    if n != settings["n_samples"]:
        raise Refused(f"damaged: its arrays are of {n} samples, its settings of {settings['n_samples']}")
    if settings["method"] == "exact":
        for name, array in state.items():
            least = 0 if name.rpartition(".")[2] in ("scale", "shares") else -np.inf
            if array.size and not least < array.min() <= array.max() < np.inf:  # nan is in no order
                raise Refused(f"damaged: its array {name!r} has values that no stream has")


Arrays = dict[str, tuple[type, tuple[int, ...]]]  # type and shape by name


def _minibatch_state(layout: dict[str, Any], counts: dict[str, Array]) -> tuple[Arrays, int]:
    """Return type and shape of the arrays of Minibatch, and the number of samples."""
    a, b = (len(layout["names"][side]) for side in (0, -1))
    expected: Arrays = dict.fromkeys(("hsic", "null_variance"), (np.float64, (a, b)))
    expected["n_samples"] = np.int64, ()
    for side, layers in (("a", a), ("b", b)):
        expected[f"self_{side}"] = np.float64, (layers,)
        expected[f"varies_{side}"] = expected[f"sound_{side}"] = np.bool_, (layers,)
    return expected, counts["n_samples"].tolist()


def _exact_state(layout: dict[str, Any], counts: dict[str, Array]) -> tuple[Arrays, int]:
    """Return type and shape of the arrays of Stream::visit_arrays, and the number of samples."""
    names, widths = layout["names"], layout["widths"]
    folded, massive, pending = map(int, counts["samples"].tolist())
    bounded = 0 <= massive <= _MOST_MASSIVE and 0 <= pending < _BLOCK
    n = folded + massive + pending if folded >= 0 and bounded else -1
    sides = [side for side, layers in enumerate(widths) for _ in layers]
    p = [width for side in widths for width in side]
    sizes = {"scale": len(p), "ss": (len(p) + 1) ** 2, "shares": massive}
    for i, width in enumerate(p):
        sizes |= {f"origin_{i}": width, f"zs_{i}": width * (len(p) + 1)}
    pairs = combinations_with_replacement(range(len(p)), 2)
    wanted = [(i, j) for i, j in pairs if i == j or len(names) == 1 or sides[i] != sides[j]]
    sizes |= {f"zz_{k}": p[i] * p[j] * (folded > 0) for k, (i, j) in enumerate(wanted)}
    expected: Arrays = {name: (np.float64, (size,)) for name, size in sizes.items()}
    expected["samples"] = np.int64, (3,)
    dtype = np.float64 if layout["double_precision"] else np.float32
    for i, width in enumerate(p):
        expected |= {f"massive_{i}": (dtype, (massive * width,)), f"pending_{i}": (dtype, (pending * width,))}
    return expected, n
