# SPDX-License-Identifier: BSD-3-Clause
"""Two models and a loader, and how each package is called to compare all layers of the one with the other's.

Both models normalise what they compare, with the statistics of the samples. Without that, activations of
networks that are not trained have means far above their spread, and a package that does not centre loses its
digits in float32: pytorch-cka gave 0.97 for 0.02.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import fastcka

SAMPLES, SHAPE = 2048, (3, 16, 16)
LAYERS = (
    ["stem", *(f"blocks.{i}.{part}" for i in range(8) for part in ("first", "second"))],
    [f"layers.{i}" for i in range(17)],
)
Models = tuple[nn.Module, nn.Module]
Layers = tuple[list[str], list[str]]
Compare = Callable[[Models, Layers, DataLoader], np.ndarray]


# -------------------------------------------------------------------------------------- models and samples


class Convolutions(nn.Module):
    """The 17 convolutions of a ResNet-18, a quarter as wide: maps of 4096, 2048, 1024, 512."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 16)
        channels = (16, 16, 16, 32, 32, 64, 64, 128, 128)
        self.blocks = nn.Sequential(*(Block(p, q) for p, q in pairwise(channels)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(torch.relu(self.stem(x)))


class Block(nn.Module):
    def __init__(self, p: int, q: int) -> None:
        super().__init__()
        self.first = convolution(p, q, stride=q // p)
        self.second = convolution(q, q)
        self.shortcut = nn.Identity() if p == q else nn.Conv2d(p, q, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.second(torch.relu(self.first(x))))


class Perceptron(nn.Module):
    """17 residual layers of 1024 units."""

    def __init__(self) -> None:
        super().__init__()
        widths = [int(np.prod(SHAPE)), *[1024] * 17]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(p, q), nn.BatchNorm1d(q, momentum=None)) for p, q in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x.flatten(1))
        for layer in self.layers[1:]:
            x = x + layer(torch.relu(x))
        return x


class Stub(nn.Module):
    """Layers whose forward costs nothing, so that only the comparison is timed; all follow the same factors.

    Unrelated layers would have negative values, which pytorch-cka replaces by zero.
    """

    def __init__(self, widths: tuple[int, ...], factors: Tensor) -> None:
        super().__init__()
        n, common = factors.shape
        self.layers = nn.ModuleList(
            Given(factors @ torch.randn(common, p) + torch.randn(n, p) + 1) for p in widths
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            y = layer(x)
        return y


class Given(nn.Module):
    """Returns what it was made with."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        return self.rows[: len(x)]


def stubs(widths: tuple[int, ...], batch_size: int) -> Models:
    """Return two models of such layers, the same in every run."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        factors = torch.randn(batch_size, 8)
        return Stub(widths, factors), Stub(widths, factors)


def convolution(p: int, q: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(p, q, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(q, momentum=None),  # the mean of all batches seen
    )


def models() -> Models:
    """Return the models, the same in every run."""
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(0)
        both = Convolutions(), Perceptron()
        for model in both:
            model.train()(samples())  # takes the statistics
            model.eval()
    return both


def samples() -> Tensor:
    return torch.randn(SAMPLES, *SHAPE, generator=torch.Generator().manual_seed(1))


def loader(batch_size: int, n_samples: int = SAMPLES) -> DataLoader:
    return DataLoader(TensorDataset(samples()[:n_samples]), batch_size=batch_size)


# ---------------------------------------------------------------------------------------- forward and fastcka


@torch.no_grad()
def forward(models: Models, layers: Layers, loader: DataLoader) -> None:
    """Run the models, and nothing else."""
    for (x,) in loader:
        for model in models:
            model(x)


def by_fastcka(method: str) -> Compare:
    def compare(models: Models, layers: Layers, loader: DataLoader) -> np.ndarray:
        a, b = layers
        return fastcka.torch.compare(
            *models, loader, layers_a=a, layers_b=b, method=method, estimator="unbiased", progress=False
        ).values

    return compare


# ------------------------------------------------------------------------------------------------- packages


def by_pytorch_cka(models: Models, layers: Layers, loader: DataLoader) -> np.ndarray:
    package = importlib.import_module("cka")
    a, b = layers
    (values,) = package.compute_cka(*models, loader, layers=a, model2_layers=b, device="cpu", progress=False)
    return values.numpy()


def by_torch_cka(models: Models, layers: Layers, loader: DataLoader) -> np.ndarray:
    package = importlib.import_module("torch_cka")
    a, b = layers
    with without_hooks(models), quiet(), torch.no_grad():
        cka = package.CKA(*models, model1_layers=a, model2_layers=b)
        cka.compare(loader, loader)
    return cka.export()["CKA"].numpy()


def by_ckatorch(models: Models, layers: Layers, loader: DataLoader) -> np.ndarray:
    """Give each layer as one sequence of samples, (1, n, p): of (n, ...) it would compare the positions."""
    package = importlib.import_module("ckatorch")

    class OfSamples(package.CKA):
        def _hook(self, model: str, name: str, module: nn.Module, given: object, output: Tensor) -> None:
            super()._hook(model, name, module, given, output.flatten(1)[None])

    a, b = layers
    with without_hooks(models), quiet():
        return OfSamples(*models, layers=a, second_layers=b)(loader, epochs=1).numpy()


@contextlib.contextmanager
def without_hooks(models: Models) -> Iterator[None]:
    """Take away the hooks that a package leaves in the models."""
    try:
        yield
    finally:
        for model in models:
            for module in model.modules():
                module._forward_hooks.clear()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, no warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


PACKAGES: dict[str, tuple[str, Compare]] = {
    "pytorch-cka": ("unbiased, float32, all pairs at once", by_pytorch_cka),
    "torch-cka": ("unbiased, float32, pair by pair; reads the loader twice", by_torch_cka),
    "ckatorch": ("unbiased, float64, pair by pair; of the last batch only", by_ckatorch),
}
