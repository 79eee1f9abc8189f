# SPDX-License-Identifier: BSD-3-Clause
"""cka_matrix(checkpoint=): a killed run resumes with the same bits, and never from something else."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

import fastcka
from fastcka import _checkpoint

KILLED = """
import os, signal, sys
import numpy as np, fastcka
from fastcka import _checkpoint

_checkpoint.SECONDS = 0.0  # write after each block

def kill(done, total):
    if done >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

layers = {name: X for name, X in np.load(sys.argv[1]).items()}
fastcka.cka_matrix(layers, kernel=sys.argv[3], checkpoint=sys.argv[4], progress=kill)
"""


@pytest.fixture
def layers(rng):
    shared = rng.normal(size=(700, 6))
    return {f"l{p}": shared @ rng.normal(size=(6, p)) + rng.normal(size=(700, p)) for p in (30, 8, 300)}


@pytest.mark.parametrize("kernel", ["linear", "rbf", "distance"])
def test_a_killed_run_resumes_with_the_same_bits(tmp_path, layers, kernel, made_blocks):
    np.savez(tmp_path / "layers.npz", **layers)
    path = tmp_path / "sums.npz"
    arguments = [str(tmp_path / "layers.npz"), "3", kernel, str(path)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    whole = fastcka.cka_matrix(layers, kernel=kernel)
    blocks = len(fastcka.Sweep(layers, kernel=kernel).blocks())
    made_blocks.update(statistics=0, products=0)
    resumed = fastcka.cka_matrix(layers, kernel=kernel, checkpoint=path)
    assert resumed.equals(whole)
    assert made_blocks["products"] == blocks - 3
    made_blocks["products"] = 0
    assert fastcka.cka_matrix(layers, kernel=kernel, checkpoint=path).equals(whole)
    assert made_blocks["products"] == 0  # all of it is in the file


def test_a_run_from_the_start_has_the_bits_of_the_plain_call(tmp_path, layers):
    other = {name: X[:, ::2].astype(np.float32) for name, X in layers.items()}
    found = fastcka.cka_matrix(layers, other, estimator="unbiased", checkpoint=tmp_path / "sums.npz")
    assert found.equals(fastcka.cka_matrix(layers, other, estimator="unbiased"))


def test_an_interrupted_run_keeps_what_is_done(tmp_path, layers, monkeypatch):
    monkeypatch.setattr(_checkpoint, "SECONDS", 0.0)

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastcka.cka_matrix(layers, checkpoint=tmp_path / "sums.npz", progress=interrupt)
    done = _checkpoint._read(tmp_path / "sums.npz", None)
    assert done["products"].covered == (range(2),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda layers: {**layers, "l8": layers["l8"] * 2}, "layer 'l8' of layers_a has other values"),
        (lambda layers: {name: X[:-1] for name, X in layers.items()}, "another number of samples"),
        (lambda layers: {"x" + name: X for name, X in layers.items()}, "other layers"),
        (lambda layers: {name: X[:, 1:] for name, X in layers.items()}, "other numbers of features"),
    ],
)
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_other_data_is_refused_with_what_differs(tmp_path, layers, change, words, kernel):
    path = tmp_path / "sums.npz"
    fastcka.cka_matrix(layers, kernel=kernel, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"sums\.npz belongs to another comparison: .*{words}"):
        fastcka.cka_matrix(change(layers), kernel=kernel, checkpoint=path)
    assert path.read_bytes() == before


def test_other_settings_are_refused(tmp_path, layers):
    path = tmp_path / "sums.npz"
    fastcka.cka_matrix(layers, kernel=fastcka.RBF(0.5), checkpoint=path)
    with pytest.raises(ValueError, match="another kernel"):
        fastcka.cka_matrix(layers, kernel="rbf", checkpoint=path)
    with pytest.raises(ValueError, match="another dtype"):
        fastcka.cka_matrix(layers, kernel=fastcka.RBF(0.5), dtype="float32", checkpoint=path)


def test_samples_in_another_order_are_refused(tmp_path, layers):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "sums.npz"
    frames = {name: pandas.DataFrame(X, index=[f"s{i}" for i in range(700)]) for name, X in layers.items()}
    fastcka.cka_matrix(frames, checkpoint=path)
    with pytest.raises(ValueError, match="other samples"):
        fastcka.cka_matrix({name: frame[::-1] for name, frame in frames.items()}, checkpoint=path)


def test_what_is_no_checkpoint_is_refused(tmp_path, layers):
    for path, words in (("sums.bin", r"ends in \.npz"), ("no/folder.npz", "no such folder")):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            fastcka.cka_matrix(layers, checkpoint=tmp_path / path)
    with pytest.raises(TypeError, match="checkpoint: expected the name of a file, got True"):
        fastcka.cka_matrix(layers, checkpoint=True)
    fastcka.cka_matrix(layers).save(tmp_path / "matrix.npz")
    with pytest.raises(ValueError, match="not a Checkpoint"):
        fastcka.cka_matrix(layers, checkpoint=tmp_path / "matrix.npz")
    path = tmp_path / "sums.npz"
    fastcka.cka_matrix(layers, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"sums\.npz"):
        fastcka.cka_matrix(layers, checkpoint=path)
    with pytest.raises(ValueError, match="nan_policy"):
        fastcka.cka_matrix(layers, checkpoint=tmp_path / "new.npz", nan_policy="propagate")


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_inference_after_a_kill_has_the_same_bits(tmp_path, layers, kernel, made_blocks):
    np.savez(tmp_path / "layers.npz", **layers)
    path = tmp_path / "sums.npz"
    arguments = [str(tmp_path / "layers.npz"), "3", kernel, str(path)]
    assert subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False).returncode != 0
    whole = fastcka.cka_matrix(layers, kernel=kernel, inference=True)
    blocks = len(fastcka.Sweep(layers, kernel=kernel).blocks())
    made_blocks["products"] = 0
    resumed = fastcka.cka_matrix(layers, kernel=kernel, inference=True, checkpoint=path)
    assert resumed.equals(whole)
    assert made_blocks["products"] < blocks


def test_a_checkpoint_of_other_groups_is_refused(tmp_path, layers):
    path, labels = tmp_path / "sums.npz", np.arange(700) % 7
    whole = fastcka.cka_matrix(layers, inference=True, groups=labels)
    assert fastcka.cka_matrix(layers, inference=True, groups=labels, checkpoint=path).equals(whole)
    with pytest.raises(ValueError, match=r"belongs to another comparison: .*other groups"):
        fastcka.cka_matrix(layers, inference=True, groups=labels // 2, checkpoint=path)
    with pytest.raises(ValueError, match=r"belongs to another comparison: .*other groups"):
        fastcka.cka_matrix(layers, checkpoint=path)
