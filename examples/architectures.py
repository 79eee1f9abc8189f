# SPDX-License-Identifier: BSD-3-Clause
"""Convolutional network against Transformer: which layers of one are like which layers of the other?

The comparison of Raghu et al. (2021), in small. Two seeds of each architecture show how similar two networks
can be expected to be at all.
"""

from __future__ import annotations

import digits

import fastcka
import fastcka.torch

CONVOLUTIONAL, TRANSFORMER = digits.LAYERS
PAIRS = ((CONVOLUTIONAL, CONVOLUTIONAL), (CONVOLUTIONAL, TRANSFORMER), (TRANSFORMER, TRANSFORMER))


def main() -> None:
    """Train, compare, print a table and draw a figure."""
    arguments = digits.arguments(__doc__)
    epochs = 1 if arguments.quick else 20
    data = digits.load()
    held_out = digits.batches(data.images, data.labels)
    networks = {
        (kind, seed): digits.train(digits.network(kind, seed), data, epochs, seed)
        for kind in digits.LAYERS
        for seed in (0, 1)
    }
    within_a, across, within_b = matrices = [
        fastcka.torch.compare(
            networks[a, 0],
            networks[b, 1],
            held_out,
            layers_a=digits.LAYERS[a],
            layers_b=digits.LAYERS[b],
            kernel=fastcka.RBF(bandwidth=0.5),
            estimator="unbiased",
            progress=False,
        ).with_models(f"{a}, seed 0", f"{b}, seed 1")
        for a, b in PAIRS
    ]
    rows = [
        [layer, other, value, own, own_value]
        for there, here in ((across, within_a), (across.T, within_b))
        for (layer, other, value), (_, own, own_value) in zip(
            there.best_matches(), here.best_matches(), strict=True
        )
    ]
    digits.table(["layer", "best in the other kind", "CKA", "best in its own kind", "CKA"], rows)
    digits.save(draw(matrices), arguments.out, "architectures.png")


def draw(matrices: list[fastcka.CKAMatrix]) -> digits.Figure:
    """Draw the three heat maps."""
    figure = digits.figure(12.6, 3.9)
    for ax, matrix, (a, b) in zip(figure.subplots(1, 3), matrices, PAIRS, strict=True):
        title = f"two {a} networks" if a == b else f"{a}, {b}"
        matrix.plot(ax, colorbar=matrix is matrices[-1], title=title, vmin=0.6, highlight="best")
    figure.get_layout_engine().set(wspace=0.06)
    return figure


if __name__ == "__main__":
    main()
