# SPDX-License-Identifier: BSD-3-Clause
"""A comparison that survives a kill: its sums so far are in a file, and it resumes with the same bits.

The file holds the partials of the statistics, of the stage of a `Sweep` that is under way, and of the one
before. It is written atomically, after each block or every 30 seconds, whichever takes longer. Before a run
resumes, the means and scales of all layers are made again and compared with those in the file: one pass over
the data, where the work takes many.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from . import _archive
from ._arrays import Array
from ._files import checked_suffix
from ._headers import Refused, checked_settings, digest, new_header, refusing
from ._networks import Networks
from ._pairwise import Pairs
from ._partial import Partial, contents, restored
from ._progress import Report
from ._provenance import digest as digest_of_ids
from ._settings import Settings
from ._stages import ORDER, Stage
from .sweep import Sweep

FORMAT_VERSION = 4  # as partials have
SECONDS = 30.0  # between two writes, where blocks are short

Stages = dict[Stage, Partial]


def pairs_with_checkpoint(
    networks: Networks, settings: Settings, path: str | os.PathLike[str], report: Report | None
) -> Pairs:
    """Compare all pairs of layers, resuming from `path` where there is a file, and writing to it."""
    checked_suffix(path, ".npz", argument="checkpoint")
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"checkpoint: no such folder: {Path(path).parent}")
    sweep = Sweep._of(networks, settings)
    samples = None if networks.samples is None else digest_of_ids(networks.samples)
    done: Stages = {}
    if Path(path).exists():
        done = _read(path, samples)
        with _resuming(path):
            _check_data(networks, settings, done)
    *before, last = sorted(done, key=ORDER.index) or sweep.stages[:1]
    given = before[-1] if before else None
    while True:
        done = {stage: part for stage, part in done.items() if stage in ("statistics", given, last)}
        _finish(sweep, last, None if given is None else done[given], done, path, samples, report)
        more = sweep.next_stage(done[last])
        if more is None:
            break
        given, last = last, more
    return sweep._pieces.pairs(done[last])


def _finish(
    sweep: Sweep,
    stage: Stage,
    given: Partial | None,
    done: Stages,
    path: str | os.PathLike[str],
    samples: str | None,
    report: Report | None,
) -> None:
    """Make the blocks of a stage that are not done, a share of about SECONDS at a time."""
    part, count = done.get(stage), 1
    missing = part.missing if part else (sweep.blocks(stage, given=given),)
    for gap in missing:
        first = gap.start
        while first < gap.stop:
            blocks = range(first, min(first + count, gap.stop))
            start = time.monotonic()
            more = sweep.run(blocks, stage, given=given, progress=False)
            part = more if part is None else part | more
            done[stage] = part
            _write(path, done, samples)
            seconds = max(time.monotonic() - start, 1e-6)
            count = max(1, min(4 * count, int(SECONDS / seconds * len(blocks))))
            first = blocks.stop
            if report is not None and stage in ORDER[-2:]:
                report(part.n_blocks - sum(map(len, part.missing)), part.n_blocks)


def _check_data(networks: Networks, settings: Settings, done: Stages) -> None:
    """Refuse a checkpoint of other layers, settings or values."""
    sweep = Sweep._of(networks, settings)
    for stage, part in done.items():
        sweep._pieces.check(part, stage)
    known = done["statistics"]._state()
    for i, layer in enumerate(known["layers"]):
        found = sweep.run(int(layer), "statistics", progress=False)._state()
        width, before = known["widths"][i], int(known["widths"][:i].sum())
        same = np.array_equal(found["means"], known["means"][before : before + width])
        if not (same and found["scales"][0] == known["scales"][i]):
            raise ValueError(f"{networks.label_of(int(layer))} has other values")


@contextmanager
def _resuming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say of an error that it is about resuming, and how to start anew."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"checkpoint: {os.fspath(path)} belongs to another comparison: {error}; remove it to start over"
        ) from None


# ---------------------------------------------------------------------- the file


def _write(path: str | os.PathLike[str], done: Stages, samples: str | None) -> None:
    arrays = {f"{stage}.{name}": x for stage, part in done.items() for name, x in part._state().items()}
    stages = {stage: part.settings for stage, part in done.items()}
    header = new_header("Checkpoint", FORMAT_VERSION, {"samples": samples, "stages": stages})
    header["sha256"] = digest(header, contents(arrays))
    _archive.write(path, header, arrays)


def _read(path: str | os.PathLike[str], samples: str | None) -> Stages:
    with open(path, "rb") as file, refusing(path, "a checkpoint of fastcka"):
        header, arrays = _archive.read(file, "Checkpoint", FORMAT_VERSION, oldest=FORMAT_VERSION)
        settings = checked_settings(header, digest(header, contents(arrays)))
        if settings["samples"] != samples:
            raise Refused("made from other samples, or the same ones in another order")
        return {
            stage: restored(saved, _of_stage(arrays, stage)) for stage, saved in settings["stages"].items()
        }


def _of_stage(arrays: Mapping[str, Array], stage: str) -> dict[str, Array]:
    prefix = f"{stage}."
    return {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}
