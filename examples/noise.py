# SPDX-License-Identifier: BSD-3-Clause
"""Clean against noisy and rotated images: how far do they drift apart, layer by layer, in one network?

Each image is compared with its own disturbed copy: the same network, two loaders. The accuracy on the copies
stands beside it, for CKA says how alike the representations are, not whether they still serve.
"""

from __future__ import annotations

import math

import digits
import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor
from torch.nn import functional

import fastcka
import fastcka.torch


def noisy(images: Tensor, deviation: float) -> Tensor:
    """Add normal noise, the same at every call."""
    return images + deviation * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


def rotated(images: Tensor, degrees: float) -> Tensor:
    """Turn each image about its centre."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0]]).expand(len(images), 2, 3)
    grid = functional.affine_grid(turn, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


DISTURBED = {
    "noise": {f"σ = {d}": (noisy, d) for d in (0.1, 0.2, 0.4)},
    "rotation": {f"{d}°": (rotated, d) for d in (10, 20, 40)},
}


def main() -> None:
    """Train, compare, print tables and draw a figure."""
    arguments = digits.arguments(__doc__)
    epochs = 1 if arguments.quick else 20
    data = digits.load()
    clean = digits.batches(data.images, data.labels)

    found: dict[tuple[str, str], list[fastcka.CKAMatrix]] = {}
    rows = []
    for kind, layers in digits.LAYERS.items():
        network = digits.train(digits.network(kind, 0), data, epochs, 0)
        accuracies = []
        for how, levels in DISTURBED.items():
            for level, (disturb, amount) in levels.items():
                images = disturb(data.images, amount)
                matrix = fastcka.torch.compare(
                    network,
                    network,
                    clean,
                    digits.batches(images, data.labels),
                    layers_a=layers,
                    layers_b=layers,
                    estimator="unbiased",
                    progress=False,
                ).with_models(kind, level)
                found.setdefault((kind, how), []).append(matrix)
                accuracies.append(digits.accuracy(network, images, data.labels))
        same = [np.diag(matrix).tolist() for how in DISTURBED for matrix in found[kind, how]]
        rows += [[name, *values] for name, *values in zip(matrix.rows, *same, strict=True)]
        rows.append([f"{kind}, recognised", *accuracies])
    digits.table(["layer", *(level for levels in DISTURBED.values() for level in levels)], rows)
    digits.save(draw(found), arguments.out, "noise.png")


def draw(found: dict[tuple[str, str], list[fastcka.CKAMatrix]]) -> digits.Figure:
    """Draw a curve for each amount, in a panel for each network and disturbance."""
    figure = digits.figure(8.4, 6)
    for ax, ((kind, how), matrices) in zip(figure.subplots(2, 2).flat, found.items(), strict=True):
        ax.set_prop_cycle(color=colormaps["viridis"]([0.75, 0.45, 0.1]))  # the darker, the more disturbed
        for matrix in matrices:
            matrix.plot_curve(ax, label=matrix.models[1])
        ax.set_title(f"{kind}: {how}")
        ax.set_xlabel("")  # the title says it
        ax.set_ylim(0, 1.03)
    return figure


if __name__ == "__main__":
    main()
