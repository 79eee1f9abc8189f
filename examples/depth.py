# SPDX-License-Identifier: BSD-3-Clause
"""Trained against untrained, over depth: where in a network does training show?

A single CKA says little. Two baselines frame it: the same network before training, and two networks
that were never trained.
"""

from __future__ import annotations

import digits
import numpy as np

import fastcka
import fastcka.torch

PAIRS = ("trained, two seeds", "after and before training", "untrained, two seeds")


def main() -> None:
    """Train, compare, print a table and draw a figure."""
    arguments = digits.arguments(__doc__)
    epochs = 1 if arguments.quick else 20
    data = digits.load()
    held_out = digits.batches(data.images, data.labels)

    found: dict[str, list[fastcka.CKAMatrix]] = {}
    rows = []
    for kind, layers in digits.LAYERS.items():
        before = [digits.network(kind, seed) for seed in (0, 1)]
        after = [digits.train(digits.network(kind, seed), data, epochs, seed) for seed in (0, 1)]
        found[kind] = [
            fastcka.torch.compare(
                a, b, held_out, layers_a=layers, layers_b=layers, progress=False
            ).with_models(kind, pair)
            for pair, (a, b) in zip(PAIRS, (after, (after[0], before[0]), before), strict=True)
        ]
        same = [np.diag(matrix).tolist() for matrix in found[kind]]
        rows += [[name, *values] for name, *values in zip(found[kind][0].rows, *same, strict=True)]
    digits.table(["layer", *PAIRS], rows)
    digits.save(draw(found), arguments.out, "depth.png")


def draw(found: dict[str, list[fastcka.CKAMatrix]]) -> digits.Figure:
    """Draw three curves for each network."""
    figure = digits.figure(8.4, 3.4)
    for ax, (kind, matrices) in zip(figure.subplots(1, 2, sharey=True), found.items(), strict=True):
        ax.set_prop_cycle(color=digits.COLORS)
        for matrix in matrices:
            matrix.plot_curve(ax, label=matrix.models[1])
        ax.set_title(kind)
        ax.set_xlabel("")  # the title says it
        ax.set_ylim(0, 1.03)
        ax.label_outer()
    return figure


if __name__ == "__main__":
    main()
