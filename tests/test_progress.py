# SPDX-License-Identifier: BSD-3-Clause
"""Progress of a long call: silent, a bar, or the caller's function."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import fastcka
from fastcka import _progress


@pytest.fixture
def layers(rng):
    return [rng.normal(size=(700, 40)) for _ in range(3)]


def test_silent_by_default(layers, capsys):
    fastcka.cka_matrix(layers)
    fastcka.cka_matrix(layers, progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_function_sees_the_work_grow_to_its_total(layers, kernel):
    seen = []
    matrix = fastcka.cka_matrix(layers, kernel=kernel, progress=lambda *done: seen.append(done))
    (total,) = {total for _, total in seen}
    done = [done for done, _ in seen]
    assert done == sorted(done)
    assert done[-1] == total > 0
    np.testing.assert_array_equal(matrix, fastcka.cka_matrix(layers, kernel=kernel))


def test_function_sees_layers_of_few_samples_pass(rng):
    X = rng.normal(size=(100, 20_000))
    seen = []
    fastcka.cka_matrix([X] * 150, progress=lambda done, total: seen.append(done / total))
    # Most of the time goes into the layers, one after the other.
    assert sum(0.1 < part < 0.9 for part in seen) >= 3


def test_function_may_stop_the_call(layers):
    class Enough(Exception):
        pass

    def stop(done, total):
        raise Enough(done)

    with pytest.raises(Enough):
        fastcka.cka_matrix(layers, progress=stop)
    fastcka.cka_matrix(layers)  # and the next one works


def test_bar(layers, capsys):
    pytest.importorskip("tqdm")
    fastcka.cka_matrix(layers, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "cka_matrix: 100%" in err


@pytest.mark.parametrize("tqdm", [True, False])
@pytest.mark.parametrize(
    ("patience", "terminal", "shown"), [(0, True, True), (0, False, False), (60, True, False)]
)
def test_bar_of_its_own_accord_only_on_a_terminal_and_only_when_it_takes_long(
    layers, capsys, monkeypatch, patience, terminal, shown, tqdm
):
    if tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(_progress, "PATIENCE", patience)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    fastcka.cka_matrix(layers)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("cka_matrix: 100" in err) == shown
    assert shown or err == ""


def test_no_standard_error_no_bar(layers, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    fastcka.cka_matrix(layers)


def test_line_without_tqdm(layers, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fastcka.cka_matrix(layers, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("\rcka_matrix: ")
    assert err.endswith("\rcka_matrix: 100 %\n")


@pytest.mark.parametrize("progress", [1, "yes"])
def test_what_is_no_progress(layers, progress):
    with pytest.raises(TypeError, match="progress must be None, True, False or a function"):
        fastcka.cka_matrix(layers, progress=progress)
