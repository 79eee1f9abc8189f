# SPDX-License-Identifier: BSD-3-Clause
"""Trained against untrained, over depth: where in a network does training show?

A single CKA says little. Two baselines frame it: the same network before training, and two networks
that were never trained.
"""

from __future__ import annotations

from itertools import combinations

import digits
import numpy as np

import fastcka
import fastcka.torch

QUESTIONS = ("trained, two seeds", "after and before training", "untrained, two seeds")


def main() -> None:
    """Train, compare, print a table and draw a figure."""
    arguments = digits.arguments(__doc__)
    seeds, epochs = (2, 1) if arguments.quick else (4, 20)
    data = digits.load()
    held_out = digits.batches(data.images, data.labels)

    found: dict[str, list[list[fastcka.CKAMatrix]]] = {}
    rows = []
    for kind, layers in digits.LAYERS.items():
        before = [digits.network(kind, seed) for seed in range(seeds)]
        after = [digits.train(digits.network(kind, seed), data, epochs, seed) for seed in range(seeds)]
        old, new = (
            [fastcka.torch.extract(network, held_out, layers, progress=False) for network in networks]
            for networks in (before, after)
        )
        pairs = (combinations(new, 2), zip(new, old, strict=True), combinations(old, 2))
        found[kind] = [
            [fastcka.cka_matrix(a, b, estimator="unbiased").with_models(kind, question) for a, b in which]
            for question, which in zip(QUESTIONS, pairs, strict=True)
        ]
        same = [np.mean([np.diag(m) for m in matrices], axis=0).tolist() for matrices in found[kind]]
        rows += [[name, *values] for name, *values in zip(found[kind][0][0].rows, *same, strict=True)]
    digits.table(["layer", *QUESTIONS], rows)
    digits.save(draw(found), arguments.out, "depth.png")


def draw(found: dict[str, list[list[fastcka.CKAMatrix]]]) -> digits.Figure:
    """Draw three curves for each network: the mean over pairs, in a band from the lowest to the highest."""
    figure = digits.figure(8.4, 3.4)
    for ax, (kind, questions) in zip(figure.subplots(1, 2, sharey=True), found.items(), strict=True):
        ax.set_prop_cycle(color=digits.COLORS)
        for first, *others in questions:
            first.plot_curve(ax, others=others, label=first.models[1])
        ax.set_title(kind)
        ax.set_xlabel("")  # the title says it
        ax.set_ylim(0, 1.03)
        ax.label_outer()
    return figure


if __name__ == "__main__":
    main()
