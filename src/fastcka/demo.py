# SPDX-License-Identifier: BSD-3-Clause
"""``fastcka demo``: compare small networks, trained on real handwritten digits, layer by layer.

Three questions, asked of the hidden activations of images that no network saw in training:

(a) Do two networks that differ only in their seed have the same layers? The sanity check of Kornblith et al.
    (2019, section 6.1): the best match of a layer should be the same layer of the other network.
(b) What does training change? Each network is compared with itself before training.
(c) How does similarity change over depth?

What was chosen, and why:

* Unbiased CKA. The biased estimator rises with the number of features over that of samples, here 256 over
  600, for unrelated data as well; the unbiased one does not.
* Wide layers, a small step size and strong weight decay (``alpha``): they leave little in a layer that comes
  from its seed alone. With scikit-learn's default step size and decay the networks recognise digits as well,
  but fewer layers are identified: about 70 of 100.
* Five hidden layers. Later ones have little to add to so easy a task and look alike: with seven, and all else
  equal, about half of the layers are identified.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._arrays import Array
from .results import CKAMatrix
from .similarity import cka_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sklearn.neural_network import MLPClassifier

HIDDEN = (256,) * 5
SEEDS = tuple(range(5))
EPOCHS = 40
HELD_OUT = 600
COLORS = ("#0072B2", "#D55E00", "#009E73")  # of Okabe and Ito: for all eyes


class Digits(NamedTuple):
    """Images (n, 64) of 8 x 8 grey values between 0 and 1, float32, and the digits that they show."""

    train_images: NDArray[np.float32]
    images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    labels: NDArray[np.int64]


class Comparisons(NamedTuple):
    """The layers of the networks compared: matrices of unbiased linear CKA."""

    seeds: list[CKAMatrix]  # each pair of trained networks
    seeds_before: list[CKAMatrix]  # the same pairs before training
    training: list[CKAMatrix]  # each trained network with itself before training


def run(out: Path) -> None:
    """Train, compare, print tables, and write figures into the directory `out`."""
    _require_extras()
    out.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    print(
        f"{len(digits.train_images)} images of handwritten digits to train on, {len(digits.images)} held out."
    )
    print(
        f"Training {len(SEEDS)} networks with {len(HIDDEN)} hidden layers of {HIDDEN[0]} units ...",
        flush=True,
    )
    trained = [train(seed, digits) for seed in SEEDS]
    untrained = [initial(seed, digits) for seed in SEEDS]
    for name, networks in (("Trained", trained), ("Untrained", untrained)):
        right = [100 * network.score(digits.images, digits.labels) for network in networks]
        print(f"{name} networks recognise {min(right):.1f} to {max(right):.1f} % of the held-out images.")

    found = compare(
        [hidden_activations(network, digits.images) for network in trained],
        [hidden_activations(network, digits.images) for network in untrained],
    )
    print("\n" + "\n".join(report(found)))
    print("\nWrote:")
    for path in (*draw(found, out), page(found, out)):
        print(f"  {path}")


# ------------------------------------------------------------------------------------------------- networks


def load_digits() -> Digits:
    """Return the handwritten digits of scikit-learn, split evenly over the ten digits."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    return Digits(*train_test_split(images, labels, test_size=HELD_OUT, stratify=labels, random_state=0))


def train(seed: int, digits: Digits) -> MLPClassifier:
    """Return a trained network."""
    return _fit(seed, digits, EPOCHS, step=3e-4)


def initial(seed: int, digits: Digits) -> MLPClassifier:
    """Return the network that `train` starts from with this seed.

    scikit-learn draws the weights when training begins. One epoch with steps too small to change a bit of
    them leaves them as they were drawn.
    """
    return _fit(seed, digits, epochs=1, step=1e-300)


def _fit(seed: int, digits: Digits, epochs: int, step: float) -> MLPClassifier:
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    network = MLPClassifier(HIDDEN, alpha=1.0, learning_rate_init=step, random_state=seed)
    # Products this small gain nothing from a second BLAS thread, and wait for it on a busy machine.
    with threadpool_limits(1, user_api="blas"):
        for _ in range(epochs):
            network.partial_fit(digits.train_images, digits.train_labels, classes=range(10))
    return network


def hidden_activations(network: MLPClassifier, images: Array) -> dict[str, Array]:
    """Return what the hidden layers answer to `images`: the forward pass, ``h = max(h W + b, 0)``."""
    h = images
    activations = {}
    hidden = zip(
        network.coefs_[:-1], network.intercepts_[:-1], strict=True
    )  # the last are the output layer's
    for k, (weights, offsets) in enumerate(hidden, start=1):
        h = np.maximum(h @ weights + offsets, 0)
        activations[f"hidden {k}"] = h
    return activations


# ---------------------------------------------------------------------------------------------- comparisons


def compare(trained: Sequence[dict[str, Array]], untrained: Sequence[dict[str, Array]]) -> Comparisons:
    """Compare the activations of trained and untrained networks; the same position is the same seed."""

    def cka(a: dict[str, Array], b: dict[str, Array], *models: str) -> CKAMatrix:
        return cka_matrix(a, b, estimator="unbiased").with_models(*models)

    pairs = list(itertools.combinations(range(len(trained)), 2))
    return Comparisons(
        [cka(trained[i], trained[j], f"trained, seed {i}", f"trained, seed {j}") for i, j in pairs],
        [cka(untrained[i], untrained[j], f"untrained, seed {i}", f"untrained, seed {j}") for i, j in pairs],
        [
            cka(after, before, f"trained, seed {i}", f"untrained, seed {i}")
            for i, (after, before) in enumerate(zip(trained, untrained, strict=True))
        ],
    )


def counterparts(matrices: Iterable[CKAMatrix]) -> NDArray[np.float64]:
    """Return the similarity of each layer with its counterpart: (comparisons, layers)."""
    return np.array([np.diag(matrix.values) for matrix in matrices])


def identified(matrices: Iterable[CKAMatrix]) -> float:
    """Return the share of layers whose best match is their counterpart, looked for in both directions."""
    return float(np.mean([m.identification_accuracy() for matrix in matrices for m in (matrix, matrix.T)]))


def report(found: Comparisons) -> list[str]:
    """Return the tables of the three questions as lines."""
    pairs = f"{2 * len(found.seeds)} ordered pairs"
    shares = {
        f"{pairs}, trained": identified(found.seeds),
        f"{pairs}, untrained": identified(found.seeds_before),
        "by chance": 1 / len(HIDDEN),
        "rows of the table above": found.seeds[0].identification_accuracy(),
    }
    questions = {label: counterparts(matrices) for label, matrices in _questions(found).items()}
    return [
        "(a) Two trained networks that differ only in their seed",
        str(found.seeds[0]),
        "",
        "Share of layers whose best match is their own counterpart:",
        *(f"  {name:<28}{share:4.0%}" for name, share in shares.items()),
        "",
        "(b) A network after and before training",
        str(found.training[0]),
        "",
        "(c) Similarity of each layer to its counterpart: mean (lowest to highest)",
        " " * 8 + "".join(f"{label:>26}" for label in questions),
        *(
            f"hidden {k + 1}"
            + "".join(f"{_mean_and_range(values[:, k]):>26}" for values in questions.values())
            for k in range(len(HIDDEN))
        ),
    ]


def _questions(found: Comparisons) -> dict[str, list[CKAMatrix]]:
    return {
        "two seeds, trained": found.seeds,
        "after and before training": found.training,
        "two seeds, untrained": found.seeds_before,
    }


def _mean_and_range(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


# ------------------------------------------------------------------------------------- figures and page


def draw(found: Comparisons, out: Path) -> list[Path]:
    """Draw what `report` prints; return the files."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    seeds, training = (Figure(figsize=(6.4, 4.6), layout="compressed") for _ in range(2))
    depth = Figure(figsize=(5.6, 4.2), layout="constrained")
    _heatmap(seeds.subplots(), found.seeds[0], "Two seeds")
    _heatmap(training.subplots(), found.training[0], "After and before training")
    _curves(depth.subplots(), found)

    overview = Figure(figsize=(13.5, 4.2), layout=ConstrainedLayoutEngine(wspace=0.05))
    left, middle, right = overview.subplots(1, 3)
    _heatmap(left, found.seeds[0], "Two seeds", colorbar=False)  # the colours are those of the next
    _heatmap(middle, found.training[0], "After and before training")
    _curves(right, found)
    right.set_box_aspect(1)

    figures = {"overview": overview, "seeds": seeds, "training": training, "depth": depth}
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=150)
    return [out / f"{name}.png" for name in figures]


def page(found: Comparisons, out: Path) -> Path:
    """Write the first answer as an interactive page; return the file."""
    found.seeds[0].to_html(out / "seeds.html")
    return out / "seeds.html"


def _heatmap(ax: Axes, matrix: CKAMatrix, title: str, *, colorbar: bool = True) -> None:
    """Draw a heat map with the best match of each row in a frame."""
    matrix.plot(ax, vmin=0.5, highlight="best", title=title, colorbar=colorbar)


def _curves(ax: Axes, found: Comparisons) -> None:
    """Draw similarity over depth: the mean of all comparisons as a line, their range as a band."""
    ax.set_prop_cycle(color=COLORS)
    for label, (first, *others) in _questions(found).items():
        first.plot_curve(ax, others=others, label=label)
    ax.set(xlabel="", ylim=(0, 1.03), title="Over depth: mean, lowest to highest")
    ax.legend(loc="lower left", fontsize="small")


def _require_extras() -> None:
    if find_spec("sklearn") is None or find_spec("matplotlib") is None:
        raise ImportError('the demo needs scikit-learn and matplotlib: pip install "fastcka[demo]"')
