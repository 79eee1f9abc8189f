# SPDX-License-Identifier: BSD-3-Clause
"""How fast are two models compared over a loader, against packages that do this, and with how much memory?

In each repeat the models also run alone, and that time is subtracted. A ratio compares the rest.
The memory is the peak beyond that of the models alone, each measured in a process of its own (Linux).

Stubs are models whose layers cost nothing: as wide as the convolutions of a ResNet-18, and as the layers of a
Transformer whose tokens are pooled already.

Two packages multiply n x n matrices for each pair of layers, which takes minutes for 17 x 17 layers; they are
timed with three layers of each model.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
from suite import in_fresh_process, peak_bytes, standalone
from two_models import LAYERS, PACKAGES, SAMPLES, Compare, Models, by_fastcka, forward, loader, models, stubs

from fastcka.bench import cases
from fastcka.bench.timing import REST, equal_threads, ratio

OURS: dict[str, tuple[str, Compare]] = {
    "fastcka": ("exact, unbiased", by_fastcka("exact")),
    "fastcka, mini-batch": ("mini-batch", by_fastcka("minibatch")),
}
EVERYBODY = {"forward": ("the models alone", forward), **OURS, **PACKAGES}
MB = 1e6


@dataclass(frozen=True)
class Setting:
    """What everybody does; `ours` and `packages` compute the same, `beside` another number."""

    batch_size: int
    every: int  # layer, the first one on
    ours: str
    packages: tuple[str, ...]
    repeats: int
    beside: tuple[str, ...] = ()
    target: float | None = None  # against the fastest package
    widths: tuple[int, ...] = ()  # of the layers of stubs

    def models(self) -> Models:
        return stubs(self.widths, self.batch_size) if self.widths else models()

    @property
    def layers(self) -> tuple[list[str], list[str]]:
        if self.widths:
            names = [f"layers.{i}" for i in range(len(self.widths))]
            return names, names
        a, b = LAYERS
        return a[:: self.every], b[:: self.every]

    @property
    def name(self) -> str:
        a, b = self.layers
        count = SAMPLES // self.batch_size
        batches = f"{count} batches" if count > 1 else "one batch"
        stub = f"stubs, {min(self.widths)} to {max(self.widths)} wide, " if self.widths else ""
        return f"{stub}{len(a)} × {len(b)} layers, {batches} of {self.batch_size}"


SETTINGS = (
    Setting(2048, 1, "fastcka", ("pytorch-cka",), repeats=5, target=3.0),
    Setting(256, 1, "fastcka, mini-batch", ("pytorch-cka",), repeats=5, beside=("fastcka",), target=3.0),
    Setting(
        128,
        1,
        "fastcka, mini-batch",
        ("pytorch-cka",),
        repeats=9,
        target=2.0,
        widths=(4096,) * 5 + (2048,) * 5 + (1024,) * 5 + (512,) * 5,
    ),
    Setting(128, 1, "fastcka, mini-batch", ("pytorch-cka",), repeats=9, target=2.0, widths=(192,) * 13),
    Setting(2048, 8, "fastcka", tuple(PACKAGES), repeats=3),
    Setting(256, 8, "fastcka, mini-batch", tuple(PACKAGES), repeats=3, beside=("fastcka",)),
)


def run(threads: int) -> list[dict]:
    rows = []
    for setting in SETTINGS:
        rows += measured(setting, threads)
    return rows


def measured(setting: Setting, threads: int) -> list[dict]:
    """Compare the values of a setting, then time it, then measure the memory."""
    both, batches = setting.models(), loader(setting.batch_size)
    values, reasons = {}, {}
    for name in (setting.ours, *setting.beside, *setting.packages):
        try:
            values[name] = EVERYBODY[name][1](both, setting.layers, batches)
        except ImportError as error:
            reasons[name] = f"not imported: {error}"
            continue
        gap = float(np.abs(values[name] - values[setting.ours]).max())
        if name in setting.packages and not gap < cases.AGREEMENT["float32"]:  # nan, too
            reasons[name] = f"not timed: its values differ by {gap:.2g}"
    timed = [name for name in values if name not in reasons]
    alone, *times = interleaved(["forward", *timed], both, setting, batches)
    beyond = {
        name: [t - f for t, f in zip(seconds, alone, strict=True)]
        for name, seconds in zip(timed, times, strict=True)
    }
    packages = [name for name in timed if name in setting.packages]
    fastest = min(packages, key=lambda name: statistics.median(beyond[name]), default=None)
    memory_alone = memory("forward", setting, threads)
    rows = [row(setting, "forward", seconds=statistics.median(alone))]
    for name, seconds in zip(timed, times, strict=True):
        compared = {} if name == setting.ours else vars(ratio(beyond[name], beyond[setting.ours]))
        rows.append(
            row(
                setting,
                name,
                **{
                    **compared,
                    "seconds": statistics.median(seconds),
                    "beyond": statistics.median(beyond[name]),
                    "memory_mb": memory(name, setting, threads) - memory_alone,
                    "target": setting.target if name == fastest else None,
                },
            )
        )
    return rows + [row(setting, name, reason=reason) for name, reason in reasons.items()]


def row(setting: Setting, who: str, **found: object) -> dict:
    print(
        setting.name,
        who,
        {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in found.items()},
        flush=True,
    )
    return {"name": setting.name, "who": who, "computes": EVERYBODY[who][0], **found}


def interleaved(names: list[str], both: tuple, setting: Setting, batches: object) -> list[list[float]]:
    """Return the seconds of each, who take turns; every second round goes backwards.

    Without the warm-up of ``fastcka.bench.timing``: a call takes seconds, beside which it is nothing.
    """
    times: list[list[float]] = [[] for _ in names]
    turns = list(zip(names, times, strict=True))
    for _ in range(setting.repeats):
        for name, seconds in turns:
            time.sleep(REST)
            start = time.perf_counter()
            EVERYBODY[name][1](both, setting.layers, batches)
            seconds.append(time.perf_counter() - start)
        turns.reverse()
    return times


def memory(name: str, setting: Setting, threads: int) -> float:
    """Return the peak of a call in MB, in a process of its own."""
    k = SETTINGS.index(setting)
    return (
        int(in_fresh_process(f"import bench_models; bench_models.print_peak({name!r}, {k}, {threads})")) / MB
    )


def print_peak(name: str, k: int, threads: int) -> None:
    setting, call = SETTINGS[k], EVERYBODY[name][1]
    both = setting.models()
    with equal_threads(threads):
        call(both, setting.layers, loader(64, n_samples=64))  # loads libraries and starts threads
        batches = loader(setting.batch_size)
        print(peak_bytes(lambda: call(both, setting.layers, batches)))


if __name__ == "__main__":
    standalone(run)
