# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka bench``: this machine's times against NumPy, torch and the published packages installed here.

The short form of the suite in the folder ``benchmarks`` of the source, which uses the same cases.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import threads as thread_settings
from .._files import atomic_write
from ..similarity import cka_matrix
from . import cases, machine, peers
from .timing import Case, Measurement, ValuesDiffer, equal_threads, measure


def run(threads: int | None = None, quick: bool = False, json_path: Path | None = None) -> int:
    """Time the cases and print a line for each opponent; the values are compared first.

    Parameters
    ----------
    threads : int, optional
        For both sides. None: :func:`fastcka.get_num_threads`.
    quick : bool
        Small sizes and three repeats: a few seconds that say little about speed.
    json_path : Path, optional
        Where to write the same with machine, versions and commit.

    Returns
    -------
    int
        Exit status: 0, or 1 when an opponent's value differs from ours; that case is then not timed.

    Raises
    ------
    ImportError
        When threadpoolctl is not installed.
    """
    n = thread_settings.resolve(threads)
    rows: list[dict[str, Any]] = []
    differ: list[str] = []
    with equal_threads(n):
        found, missing = peers.load()
        here = machine.describe(n)
        print(heading(here), flush=True)
        for case in short_form(n, quick, found):
            try:
                measured = measure(case, repeats=3 if quick else 7)
            except ValuesDiffer as error:
                differ.append(str(error))
                print(error, flush=True)
            else:
                rows.append(measured.to_dict())
                print("\n".join(lines(measured)), flush=True)
    for name, reason in missing.items():
        print(f"{name}: not imported ({reason})")
    if json_path is not None:
        result = {"machine": here, "rows": rows, "differ": differ, "not_imported": missing}
        with atomic_write(json_path) as file:
            file.write(json.dumps(result, indent=1).encode() + b"\n")
    return 1 if differ else 0


def short_form(threads: int, quick: bool, found: list[peers.Peer]) -> Iterator[Case]:
    """Yield the cases one by one, so that the arrays of one are gone before the next."""
    small = 4 if quick else 1
    for n, p in ((1024, 4096), (4096, 512), (200, 50)):
        yield cases.linear_pair(n // small, p // small, "float32", threads)
    yield cases.linear_pair(2048 // small, 1024 // small, "float64", threads)
    yield cases.copied_formula(1024 // small, 1024 // small, threads)
    yield cases.rbf_pair(2048 // small, 512 // small, threads)
    yield cases.all_pairs(12, 1024 // small, 384 // small, "linear", threads)
    yield cases.all_pairs(12, 1024 // small, 384 // small, "rbf", threads)
    for peer in found:
        yield against_peer(peer, 4, 512 // small, 768 // small, threads)


def against_peer(peer: peers.Peer, count: int, n: int, p: int, threads: int) -> Case:
    """All pairs of layers in float32, by fastcka and by a published package."""
    layers = cases.layers(count, n, p)

    def ours() -> Any:
        return cka_matrix(layers, kernel=peer.kernel, estimator=peer.estimator, n_threads=threads).values

    kernel = "RBF" if peer.kernel == "rbf" else peer.kernel
    return Case(
        f"{peer.estimator} {kernel} pairs of {count} layers {n} × {p}",
        ours,
        {peer.name: lambda: peer.all_pairs(layers)},
        cases.AGREEMENT["float32"],
    )


def heading(here: dict[str, Any]) -> str:
    """Describe the machine, and name the columns of the table."""
    count = "1 thread" if here["threads"] == 1 else f"{here['threads']} threads"
    versions = here["versions"]
    return "\n".join(
        (
            f"fastcka {versions['fastcka']}, SIMD level {here['simd_level']}, {here['cpu']}, {count} a side",
            f"NumPy {versions['numpy']}; BLAS: {', '.join(here['blas']) or 'unknown'}",
            "ratio: the opponent's time over ours, median (lowest – highest) of the repeats; values agree",
            "",
            f"{'work':<46}{'fastcka':>12}  {'ratio':<24}{'opponent'}",
        )
    )


def lines(measured: Measurement) -> list[str]:
    """Return a line of the table for each opponent."""
    opponents = {**measured.opponents, **measured.beside}
    return [
        f"{measured.name:<46}{1e3 * measured.seconds:>9.2f} ms  "
        f"{f'{r.ratio:.2f} ({r.lowest:.2f} – {r.highest:.2f})':<24}{name}"
        for name, r in opponents.items()
    ]
