# SPDX-License-Identifier: BSD-3-Clause
"""Seed against seed: does each layer find itself in a network that was trained from another seed?

The sanity check of Kornblith et al. (2019, section 6.1). The share of layers whose best match is their own
counterpart, over ordered pairs of networks, is the identification accuracy.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import digits
import numpy as np

import fastcka
import fastcka.torch

KERNELS = {"linear": "linear", "RBF": fastcka.RBF(bandwidth=0.5)}


def main() -> None:
    """Train, compare, print a table and draw a figure."""
    arguments = digits.arguments(__doc__)
    seeds, epochs = (2, 1) if arguments.quick else (4, 20)
    data = digits.load()
    held_out = digits.batches(data.images, data.labels)

    found: dict[tuple[str, str], list[fastcka.CKAMatrix]] = {}
    rows = []
    for kind, layers in digits.LAYERS.items():
        networks = [digits.train(digits.network(kind, s), data, epochs, s) for s in range(seeds)]
        activations = [fastcka.torch.extract(m, held_out, layers, progress=False) for m in networks]
        accuracies = [digits.accuracy(m, data.images, data.labels) for m in networks]
        for name, kernel in KERNELS.items():
            pairs = [
                fastcka.cka_matrix(a, b, kernel=kernel, estimator="unbiased").with_models(
                    f"{kind}, one seed", "another seed"
                )
                for a, b in itertools.permutations(activations, 2)
            ]
            found[kind, name] = pairs
            identified = float(np.mean([pair.identification_accuracy() for pair in pairs]))
            same = float(np.mean([np.diag(pair) for pair in pairs]))
            rows.append([kind, name, identified, same, min(accuracies), max(accuracies)])
    header = ["network", "kernel", "identified", "CKA of counterparts", "recognised, from", "to"]
    digits.table(header, rows)
    digits.save(draw(found), arguments.out, "seeds.png")


def draw(found: dict[tuple[str, str], list[fastcka.CKAMatrix]]) -> digits.Figure:
    """Draw the mean over all pairs, for each network and kernel."""
    figure = digits.figure(8.4, 8)
    for ax, ((_, kernel), pairs) in zip(figure.subplots(2, 2).flat, found.items(), strict=True):
        mean = replace(pairs[0], values=np.mean(pairs, axis=0))
        identified = np.mean([pair.identification_accuracy() for pair in pairs])
        title = f"{kernel} kernel: {identified:.0%} identified"
        mean.plot(ax, colorbar=kernel == "RBF", label="unbiased CKA", title=title)
    figure.suptitle(f"Two seeds, mean of {len(pairs)} ordered pairs")
    figure.get_layout_engine().set(wspace=0.04)
    return figure


if __name__ == "__main__":
    main()
