# SPDX-License-Identifier: BSD-3-Clause
"""Progress of long calls: a bar on standard error, or a function of the caller's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Report: TypeAlias = Callable[[int, int], object]
PATIENCE = 2.0  # seconds before a bar that nobody asked for


@contextmanager
def progress_report(progress: bool | Report | None, what: str, unit: str = "tile") -> Iterator[Report | None]:
    """Give the function of (done, total) that the core shall call, or None; close the display afterwards.

    None: a bar after two seconds where standard error is a terminal. True: at once, wherever it goes.
    """
    check_progress(progress)
    if progress is False or (progress is None and not _on_terminal()):
        yield None
    elif progress is True or progress is None:
        display = _Later(what, unit) if progress is None else _display(what, unit)
        try:
            yield display.report
        finally:
            display.close()
    else:
        yield progress


def check_progress(progress: object) -> None:
    """Check the argument `progress`."""
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(
            f"progress must be None, True, False or a function of (done, total), got {progress!r}"
        )


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _display(what: str, unit: str) -> _Bar | _Line:
    try:
        from tqdm import tqdm
    except ImportError:
        return _Line(what)
    return _Bar(lambda total: tqdm(desc=what, unit=unit, total=total))


class _Later:
    """A display that appears only if the work takes long."""

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit = what, unit
        self.start = time.monotonic()
        self.display: _Bar | _Line | None = None

    def report(self, done: int, total: int) -> None:
        if self.display is None and time.monotonic() - self.start >= PATIENCE:
            self.display = _display(self.what, self.unit)
        if self.display is not None:
            self.display.report(done, total)

    def close(self) -> None:
        if self.display is not None:
            self.display.close()


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
