# SPDX-License-Identifier: BSD-3-Clause
"""What the examples share: handwritten digits, two small networks, their training, a style for the figures.

Everything is drawn from seeds and computed on one thread: the same machine gives the same numbers again.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

DEPTH = 6
LAYERS = {"convolutional": "conv?", "Transformer": "block?"}  # the layers of each network to be compared
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # Okabe and Ito: for all eyes

Batches = list[tuple[Tensor, Tensor]]


class Digits(NamedTuple):
    """Images (n, 1, 8, 8) with values from 0 to 1, and the digits they show."""

    train_images: Tensor
    images: Tensor
    train_labels: Tensor
    labels: Tensor


def load() -> Digits:
    """Return the 1797 digits that scikit-learn ships: 1197 to train on, 600 held out."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 1, 8, 8)
    parts = train_test_split(images, labels, test_size=600, stratify=labels, random_state=0)
    return Digits(*map(torch.from_numpy, parts))


def batches(images: Tensor, labels: Tensor) -> Batches:
    """Return what a data loader would give: batches of images and labels, always in the same order."""
    return list(zip(images.split(200), labels.split(200), strict=True))


# ------------------------------------------------------------------------------------------------ networks


def network(kind: str, seed: int) -> nn.Module:
    """Return an untrained network, "convolutional" or "Transformer", drawn from a seed."""
    torch.manual_seed(seed)
    return (_convolutional() if kind == "convolutional" else _transformer()).eval()


def _convolutional(channels: int = 24) -> nn.Module:
    """Six 3 x 3 convolutions, two of 8 x 8 pixels, four of 4 x 4."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, DEPTH + 1):
        layers[f"conv{i}"] = nn.Sequential(
            nn.Conv2d(1 if i == 1 else channels, channels, 3, stride=2 if i == 3 else 1, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
    layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    layers["classify"] = nn.Linear(channels, 10)
    return nn.Sequential(layers)


def _transformer(width: int = 32) -> nn.Module:
    """Sixteen patches of 2 x 2 pixels, and six blocks of attention and a two-layer network."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(embed=Embedding(width))
    for i in range(1, DEPTH + 1):
        layers[f"block{i}"] = Block(width)
    layers["classify"] = Classifier(width)
    return nn.Sequential(layers)


class Embedding(nn.Module):
    """Images to tokens (n, 16, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.positions = nn.Parameter(0.2 * torch.randn(16, width))

    def forward(self, images: Tensor) -> Tensor:
        return self.patches(images).flatten(2).mT + self.positions


class Block(nn.Module):
    """Attention and a two-layer network, each behind a normalisation and added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads=4, batch_first=True)
        self.network = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.before_attention(tokens)
        tokens = tokens + self.attention(h, h, h, need_weights=False)[0]
        return tokens + self.network(self.before_network(tokens))


class Classifier(nn.Module):
    """Scores of the ten digits from the mean token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.scores = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scores(self.norm(tokens.mean(dim=1)))


# ------------------------------------------------------------------------------------------------ training


def train(model: nn.Module, digits: Digits, epochs: int, seed: int) -> nn.Module:
    """Train a network, in place, on batches whose order is drawn from a seed."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)
    n, size = len(digits.train_images), 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * -(-n // size))
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(n, generator=order).split(size):
            optimizer.zero_grad()
            scores = model(digits.train_images[batch])
            nn.functional.cross_entropy(scores, digits.train_labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that a network recognises."""
    return (model(images).argmax(dim=1) == labels).double().mean().item()


# ----------------------------------------------------------------------------------------- scripts, figures


def arguments(description: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line of an example and prepare the machine."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="for the figure")
    parser.add_argument("--quick", action="store_true", help="hardly any training: see that it runs")
    chosen = parser.parse_args(argv)
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums over threads depend on their number
    torch.use_deterministic_algorithms(True)
    return chosen


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: the first column to the left, numbers with three digits."""
    cells = [list(header), *([f"{c:.3f}" if isinstance(c, float) else str(c) for c in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        numbers = (cell.rjust(width + 2) for cell, width in zip(others, widths[1:], strict=True))
        print(first.ljust(widths[0]) + "".join(numbers))


def figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches; no screen is needed."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, out: Path, name: str) -> None:
    """Write a figure and say where."""
    figure.savefig(out / name, dpi=160, pil_kwargs={"optimize": True})
    print(f"\nWrote {out / name}")
