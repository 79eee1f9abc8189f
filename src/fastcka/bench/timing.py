# SPDX-License-Identifier: BSD-3-Clause
"""Time a case: values first, then both sides in turn, with equal threads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

Call = Callable[[], Any]  # returns a number or an array of them

SHORTEST = 2e-3  # seconds; a call that takes less is repeated, for the clock
# Before each timing, seconds of rest, and then of the same calls untimed. After its work, a thread of
# OpenBLAS spins for a tenth of a second before it sleeps, and holds a processor that the next call needs.
REST = 0.15
WARM_UP = 0.05


class ValuesDiffer(ValueError):
    """An opponent computes something else, so that its time means nothing."""


@dataclass(frozen=True)
class Case:
    """A piece of work, as fastcka does it and as others do.

    Attributes
    ----------
    name : str
    ours : callable
        Without arguments; returns the value.
    opponents : mapping of str to callable
        The same, by others. The fastest of them is the one that counts.
    agreement : float
        Values may differ by less than this, absolutely.
    target : float, optional
        The ratio to reach.
    beside : mapping of str to callable
        More opponents, timed in the same run, which the target does not concern.
    """

    name: str
    ours: Call
    opponents: Mapping[str, Call]
    agreement: float
    target: float | None = None
    beside: Mapping[str, Call] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """The time of an opponent, and how many times ours that is: median, lowest and highest of the repeats."""

    seconds: float
    ratio: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Measurement:
    """Times of a case: ours (the median), and each opponent's against it."""

    name: str
    seconds: float
    opponents: dict[str, Ratio]
    beside: dict[str, Ratio]
    target: float | None

    @property
    def best(self) -> str:
        """The name of the fastest opponent, without those beside."""
        return min(self.opponents, key=lambda name: self.opponents[name].seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return what a JSON file keeps."""
        return {**asdict(self), "best": self.best}


def measure(case: Case, repeats: int = 7) -> Measurement:
    """Check the values of a case, then time it.

    Raises
    ------
    ValuesDiffer
        When an opponent's value is not ours. Nothing has been timed then.
    """
    everyone = {**case.opponents, **case.beside}
    check_values(case)
    ours, *theirs = interleaved([case.ours, *everyone.values()], repeats)
    ratios = {name: ratio(seconds, ours) for name, seconds in zip(everyone, theirs, strict=True)}
    return Measurement(
        case.name,
        statistics.median(ours),
        {name: ratios[name] for name in case.opponents},
        {name: ratios[name] for name in case.beside},
        case.target,
    )


def check_values(case: Case) -> None:
    """Run everybody once and compare the values."""
    value = np.asarray(case.ours(), np.float64)
    for name, call in {**case.opponents, **case.beside}.items():
        gap = float(np.abs(np.asarray(call(), np.float64) - value).max())
        if not gap < case.agreement:  # nan, too
            raise ValuesDiffer(
                f"{case.name}: the value of {name} differs by {gap:.2g}, more than {case.agreement:g}"
            )


def interleaved(calls: Sequence[Call], repeats: int) -> list[list[float]]:
    """Return the seconds per call of each of `calls`, which take turns; every second round goes backwards."""
    times: list[list[float]] = [[] for _ in calls]
    turns = list(zip(calls, times, strict=True))
    for _ in range(repeats):
        for call, seconds in turns:
            seconds.append(_seconds(call))
        turns.reverse()
    return times


def _seconds(call: Call) -> float:
    time.sleep(REST)
    end = time.perf_counter() + WARM_UP
    call()
    while time.perf_counter() < end:
        call()
    once = _mean_seconds(call, 1)
    return once if once > SHORTEST / 2 else _mean_seconds(call, int(SHORTEST / once))


def _mean_seconds(call: Call, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Compare times repeat by repeat: what disturbs one repeat disturbs both sides of its ratio."""
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return Ratio(statistics.median(theirs), statistics.median(ratios), min(ratios), max(ratios))


@contextmanager
def equal_threads(n: int) -> Iterator[None]:
    """Limit BLAS, OpenMP and torch to `n` threads."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ImportError('a benchmark needs threadpoolctl: pip install "fastcka[bench]"') from error
    if find_spec("torch") is None:
        with threadpool_limits(n):
            yield
        return
    import torch  # before the limits, which reach the libraries that are loaded

    before = torch.get_num_threads()
    with threadpool_limits(n):
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)
