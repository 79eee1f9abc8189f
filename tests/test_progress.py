# SPDX-License-Identifier: BSD-3-Clause
"""Progress of a long call: silent, a bar, or the caller's function."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import fastcka


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


def test_line_without_tqdm(layers, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fastcka.cka_matrix(layers, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("\rcka_matrix: ")
    assert err.endswith("\rcka_matrix: 100 %\n")


@pytest.mark.parametrize("progress", [None, 1, "yes"])
def test_what_is_no_progress(layers, progress):
    with pytest.raises(TypeError, match="progress must be False, True or a function"):
        fastcka.cka_matrix(layers, progress=progress)
