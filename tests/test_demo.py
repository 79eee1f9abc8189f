# SPDX-License-Identifier: BSD-3-Clause
"""The demo: its networks are what it says they are, and what it prints and draws follows from them."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from tolerances import TOLERANCE

import fastcka
from fastcka import CKAMatrix, cli, demo


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    """The demo with three networks instead of five and a third of the training: two seconds."""
    monkeypatch.setattr(demo, "SEEDS", (0, 1, 2))
    monkeypatch.setattr(demo, "EPOCHS", 12)


@pytest.fixture(scope="module")
def digits():
    return demo.load_digits()


def matrix(values):
    names = [f"hidden {k + 1}" for k in range(len(values))]
    return CKAMatrix(values, names, names, "linear", "unbiased", 600, ("trained, seed 0", "trained, seed 1"))


def test_no_image_is_both_seen_and_held_out(digits):
    assert len(digits.images) == len(digits.labels) == 600
    assert len(digits.train_images) == len(digits.train_labels) == 1197
    images = {image.tobytes() for image in digits.images}
    assert not images & {image.tobytes() for image in digits.train_images}
    assert digits.images.dtype == np.float32
    assert (digits.images.min(), digits.images.max()) == (0, 1)
    counts = np.bincount(digits.labels)
    assert counts.max() - counts.min() <= 3  # each digit equally often, within what there is


def test_untrained_network_is_where_training_starts(digits, monkeypatch):
    """Its weights are the Glorot draws of this seed, to the bit, and an epoch of training stays near them."""
    network = demo.initial(3, digits)
    draw = np.random.RandomState(3).uniform
    sizes = [64, *demo.HIDDEN, 10]
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        bound = np.sqrt(6 / (inputs + outputs))
        weights, offsets = draw(-bound, bound, (inputs, outputs)), draw(-bound, bound, outputs)
        np.testing.assert_array_equal(network.coefs_[i], weights.astype(np.float32))
        np.testing.assert_array_equal(network.intercepts_[i], offsets.astype(np.float32))

    monkeypatch.setattr(demo, "EPOCHS", 1)
    trained = demo.train(3, digits)
    moved = [np.abs(a - b).max() for a, b in zip(trained.coefs_, network.coefs_, strict=True)]
    # Adam moves a weight by about the step size, 3e-4, with each of the six batches of an epoch.
    assert 1e-4 < min(moved) <= max(moved) < 5e-3


def test_forward_pass_is_that_of_the_network(digits, monkeypatch):
    """The last hidden layer, sent through the output layer, gives the probabilities of scikit-learn."""
    monkeypatch.setattr(demo, "EPOCHS", 1)
    network = demo.train(0, digits)
    hidden = demo.hidden_activations(network, digits.images)
    assert list(hidden) == [f"hidden {k}" for k in (1, 2, 3, 4, 5)]
    assert all(h.shape == (600, 256) and h.dtype == np.float32 and h.min() == 0 for h in hidden.values())
    scores = hidden["hidden 5"] @ network.coefs_[-1] + network.intercepts_[-1]
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected = network.predict_proba(digits.images)
    tolerance = TOLERANCE["float32", "gram"]  # both are chains of inner products of 256 terms
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), expected, rtol=0, atol=tolerance)


def test_comparisons_pair_the_right_networks():
    rng = np.random.default_rng(4)
    trained, untrained = ([{"hidden 1": rng.normal(size=(30, 3))} for _ in range(3)] for _ in range(2))
    found = demo.compare(trained, untrained)
    models = [[m.models for m in matrices] for matrices in found]
    assert models == [
        [(f"trained, seed {i}", f"trained, seed {j}") for i, j in ((0, 1), (0, 2), (1, 2))],
        [(f"untrained, seed {i}", f"untrained, seed {j}") for i, j in ((0, 1), (0, 2), (1, 2))],
        [(f"trained, seed {i}", f"untrained, seed {i}") for i in range(3)],
    ]

    def expected(a, b):
        return fastcka.reference.cka(a["hidden 1"], b["hidden 1"], estimator="unbiased")

    tolerance = {"rtol": 0, "atol": TOLERANCE["float64", "cka"]}
    np.testing.assert_allclose(found.seeds[1].values, [[expected(trained[0], trained[2])]], **tolerance)
    np.testing.assert_allclose(found.seeds_before[2].values, [[expected(*untrained[1:])]], **tolerance)
    np.testing.assert_allclose(found.training[1].values, [[expected(trained[1], untrained[1])]], **tolerance)


def test_share_of_identified_layers_looks_both_ways():
    """Rows: 1 of 2 finds its counterpart, columns: both do."""
    assert demo.identified([matrix([[0.9, 0.1], [0.8, 0.7]])]) == 3 / 4
    assert demo.identified([matrix([[0.9, 0.1], [0.8, 0.7]]), matrix([[0.1, 0.9], [0.9, 0.1]])]) == 3 / 8


def test_whole_demo(digits, tmp_path, monkeypatch, capsys):
    """What is printed is what was found, and what was found is what theory expects of it."""
    seen = []
    report = demo.report
    monkeypatch.setattr(demo, "report", lambda found: seen.append(found) or report(found))
    assert cli.main(["demo", "--out", str(tmp_path / "a" / "b")]) == 0
    printed, warned = capsys.readouterr()
    assert warned == ""
    (found,) = seen

    # Training makes layers that other seeds have, too; without it, the first layer is always the best match.
    assert demo.identified(found.seeds) > 0.55
    assert demo.identified(found.seeds_before) == pytest.approx(1 / 5)
    assert demo.counterparts(found.seeds).mean() > demo.counterparts(found.training).mean() + 0.05
    assert all(m.estimator == "unbiased" and m.n_samples == 600 for matrices in found for m in matrices)

    assert "1197 images of handwritten digits to train on, 600 held out." in printed
    assert f"  6 ordered pairs, trained    {demo.identified(found.seeds):4.0%}\n" in printed
    assert f"  rows of the table above     {found.seeds[0].identification_accuracy():4.0%}\n" in printed
    assert str(found.seeds[0]) in printed
    assert str(found.training[0]) in printed
    last = demo.counterparts(found.training)[:, 4]
    assert f"{last.mean():.3f} ({last.min():.3f} to {last.max():.3f})" in printed.split("hidden 5")[-1]
    accuracies = [float(line.split()[3]) for line in printed.splitlines() if "networks recognise" in line]
    assert accuracies[0] > 90
    assert accuracies[1] < 20  # ten digits: about a tenth by chance

    for name in ("overview.png", "seeds.png", "training.png", "depth.png"):
        assert f"{tmp_path / 'a' / 'b' / name}\n" in printed
        image = matplotlib.image.imread(tmp_path / "a" / "b" / name)
        assert min(image.shape[:2]) > 500
        assert image.std() > 0.05  # not blank
    assert "seeds.html\n" in printed
    assert "trained, seed 1" in (tmp_path / "a" / "b" / "seeds.html").read_text()


def test_axes_say_which_network_is_which_and_frames_the_best_matches():
    ax = Figure().subplots()
    demo._heatmap(ax, matrix([[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.1, np.nan, 0.3]]), "Two seeds")
    assert ax.get_ylabel() == "trained, seed 0"
    assert ax.get_xlabel() == "trained, seed 1"
    frames = [patch for patch in ax.patches if not patch.get_fill()]
    assert [(round(p.get_x()), round(p.get_y())) for p in frames] == [(0, 0), (0, 1), (2, 2)]
    assert ax.get_title() == "Two seeds"


def test_curves_are_means_over_depth():
    identity, half = matrix(np.eye(5)), matrix(np.eye(5) / 2)
    ax = Figure().subplots()
    demo._curves(ax, demo.Comparisons([identity, half], [half], [identity]))
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["two seeds, trained"].get_ydata(), [0.75] * 5)
    np.testing.assert_array_equal(lines["two seeds, untrained"].get_ydata(), [0.5] * 5)
    np.testing.assert_array_equal(lines["after and before training"].get_ydata(), [1.0] * 5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(lines)
