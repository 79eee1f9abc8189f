# SPDX-License-Identifier: BSD-3-Clause
"""Many models: which networks are alike, and is it the seed, the shape or the training that counts?

Nine networks of scikit-learn on its handwritten digits: three seeds, trained and before training, a narrow
and a deep one, and one trained on shuffled labels. One call compares all layers of all of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits  # comes with scikit-learn

import fastcka
from fastcka import demo

SHAPE = (256,) * 5
COLORS = {"seed": "#0072B2", "untrained": "#E69F00", "other": "#009E73"}  # Okabe and Ito: for all eyes
GROUPS = {"seed": "trained, three seeds", "untrained": "untrained, three seeds"}


def main() -> None:
    """Train, compare, print a table and draw a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("figures"))
    parser.add_argument("--quick", action="store_true", help="one epoch: a check that all runs")
    options = parser.parse_args()
    data = demo.load_digits()
    epochs = 1 if options.quick else demo.EPOCHS

    models = fastcka.cka_models(activations(data, epochs), estimator="unbiased")
    print(models)
    options.out.mkdir(parents=True, exist_ok=True)
    draw(models).savefig(options.out / "many-models.png", dpi=150)
    models.to_html(options.out / "many-models.html")
    print(f"wrote {options.out}/many-models.png and .html")


def activations(data: demo.Digits, epochs: int) -> dict[str, dict[str, np.ndarray]]:
    """Return the hidden activations of each network on the images held out."""
    shuffled = np.random.default_rng(0).permutation(data.train_labels)
    trained = {f"seed {s}": fit(data, s, SHAPE, epochs) for s in range(3)}
    untrained = {f"untrained {s}": fit(data, s, SHAPE, 1, step=1e-300) for s in range(3)}
    others = {
        "narrow": fit(data, 3, (32,) * 5, epochs),
        "deep": fit(data, 3, (256,) * 10, epochs),
        "shuffled labels": fit(data._replace(train_labels=shuffled), 0, SHAPE, epochs),
    }
    networks = {**trained, **untrained, **others}
    return {name: demo.hidden_activations(network, data.images) for name, network in networks.items()}


def fit(
    data: demo.Digits, seed: int, shape: tuple[int, ...], epochs: int, step: float = 3e-4
) -> MLPClassifier:
    """Return a network after some epochs; with steps too small to change a bit of it, as it was drawn."""
    network = MLPClassifier(shape, alpha=1.0, learning_rate_init=step, random_state=seed)
    with threadpool_limits(1, user_api="blas"):
        for _ in range(epochs):
            network.partial_fit(data.train_images, data.train_labels, classes=range(10))
    return network


def draw(models: fastcka.CKAModels) -> Figure:
    """Draw the summary, the tree of models, and a map of them."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    models.plot_summary(left, title="Mean best match of the layers")
    left.set(xlabel="", ylabel="")
    models.plot_dendrogram(middle)
    middle.set_title("Dendrogram")

    # Classical scaling: the plane that keeps most of the squared angles.
    strengths, directions = np.linalg.eigh(fastcka.center(-(models.distance() ** 2) / 2))
    places = directions[:, -2:] * np.sqrt(strengths[-2:])
    middle_x = places[:, 1].mean()
    legend = dict(GROUPS)  # one entry for each group
    for name, (y, x) in zip(models.models, places, strict=True):
        group = name.split()[0]
        if group in GROUPS:  # three points that may lie on one another: named in the legend
            right.plot(x, y, "o", color=COLORS[group], label=legend.pop(group, None))
            continue
        right.plot(x, y, "o", color=COLORS["other"])
        side, shift = ("right", -6) if x > middle_x else ("left", 6)
        right.annotate(name, (x, y), (shift, 0), textcoords="offset points", ha=side, va="center")
    right.set(title="Distances in a plane (MDS)", aspect="equal", adjustable="datalim")
    right.margins(0.1)
    right.legend(loc="lower right")
    right.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    return figure


if __name__ == "__main__":
    main()
