# SPDX-License-Identifier: BSD-3-Clause
"""Progress of long calls: silent, a bar on standard error, or a function of the caller's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Report: TypeAlias = Callable[[int, int], object]


@contextmanager
def progress_report(progress: bool | Report, what: str, unit: str = "tile") -> Iterator[Report | None]:
    """Give the function of (done, total) that the core shall call, or None; close the display afterwards."""
    if progress is False:
        yield None
    elif progress is True:
        display = _display(what, unit)
        try:
            yield display.report
        finally:
            display.close()
    elif callable(progress):
        yield progress
    else:
        raise TypeError(f"progress must be False, True or a function of (done, total), got {progress!r}")


def _display(what: str, unit: str) -> _Bar | _Line:
    try:
        from tqdm import tqdm
    except ImportError:
        return _Line(what)
    return _Bar(lambda total: tqdm(desc=what, unit=unit, total=total))


class _Bar:
    """A tqdm bar, drawn with the first report; it wants steps where it gets totals."""

    def __init__(self, draw: Callable[[int], Any]) -> None:
        self.draw = draw
        self.bar: Any = None

    def report(self, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = self.draw(total)
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class _Line:
    """One line of text, rewritten whenever the percentage changes."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.shown = -1

    def report(self, done: int, total: int) -> None:
        percent = 100 * done // total
        if percent != self.shown:
            self.shown = percent
            print(f"\r{self.what}: {percent} %", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown >= 0:
            print(file=sys.stderr)
