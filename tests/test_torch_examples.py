# SPDX-License-Identifier: BSD-3-Clause
"""The examples run as scripts, hardly trained, and what they print can be true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

EXAMPLES = Path(__file__).parents[1] / "examples"
DEPTH = 6
CONVOLUTIONS = [f"conv{i + 1}" for i in range(DEPTH)]
BLOCKS = [f"block{i + 1}" for i in range(DEPTH)]
LAYERS = CONVOLUTIONS + BLOCKS


def run(name: str, out: Path) -> tuple[list[str], list[list[str]]]:
    """Run an example; return the header of its table and its rows, cell by cell."""
    script = [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", "--quick", "--out", out]
    one = {**os.environ, "OMP_NUM_THREADS": "1"}  # tiny networks, for which threads only wait
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, env=one)
    assert (done.returncode, done.stderr) == (0, "")
    figure = out / f"{name}.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    *lines, empty, last = done.stdout.splitlines()
    assert (empty, last) == ("", f"Wrote {figure}")
    header, *rows = (re.split(r" {2,}", line) for line in lines)
    assert all(len(row) == len(header) for row in rows)
    return header, rows


def by_layer(rows: list[list[str]]) -> dict[str, list[str]]:
    return {first: others for first, *others in rows}


def numbers(cells: list[str]) -> list[float]:
    return [float(cell) for cell in cells]


def test_seeds(tmp_path):
    header, rows = run("seeds", tmp_path)
    assert header == ["network", "kernel", "identified", "CKA of counterparts", "recognised, from", "to"]
    kinds = ("convolutional", "Transformer")
    assert [row[:2] for row in rows] == [[kind, kernel] for kind in kinds for kernel in ("linear", "RBF")]
    for _, _, *cells in rows:
        identified, same, low, high = numbers(cells)
        # Two ordered pairs of six layers each; the table has three digits.
        assert identified * 2 * DEPTH == pytest.approx(round(identified * 2 * DEPTH), abs=0.0005 * 2 * DEPTH)
        assert 0 <= identified <= 1
        assert 0 < same <= 1
        assert 0 <= low <= high <= 1


def test_depth(tmp_path):
    header, cells = run("depth", tmp_path)
    rows = by_layer(cells)
    assert header == ["layer", "trained, two seeds", "after and before training", "untrained, two seeds"]
    assert list(rows) == LAYERS
    assert all(0 < value <= 1 for values in rows.values() for value in numbers(values))
    for kind in (CONVOLUTIONS, BLOCKS):  # training moves the last layer further than the first
        assert float(rows[kind[-1]][1]) < float(rows[kind[0]][1])


def test_architectures(tmp_path):
    header, cells = run("architectures", tmp_path)
    rows = by_layer(cells)
    assert header == ["layer", "best in the other kind", "CKA", "best in its own kind", "CKA"]
    assert list(rows) == LAYERS
    for layer, (other, value, own, own_value) in rows.items():
        same, different = (CONVOLUTIONS, BLOCKS) if layer in CONVOLUTIONS else (BLOCKS, CONVOLUTIONS)
        assert other in different
        assert own in same
        assert 0 < float(value) <= 1
        assert 0 < float(own_value) <= 1


def test_noise(tmp_path):
    header, cells = run("noise", tmp_path)
    rows = by_layer(cells)
    assert header == ["layer", "σ = 0.1", "σ = 0.2", "σ = 0.4", "10°", "20°", "40°"]
    recognised = ["convolutional, recognised", "Transformer, recognised"]
    assert list(rows) == [*CONVOLUTIONS, recognised[0], *BLOCKS, recognised[1]]
    for layer in LAYERS:
        for mild, middle, strong in (numbers(rows[layer][:3]), numbers(rows[layer][3:])):
            assert 1 > mild > middle > strong > 0  # the more an image is disturbed, the less alike
    for name in recognised:
        assert all(0 <= value <= 1 for value in numbers(rows[name]))
