# SPDX-License-Identifier: BSD-3-Clause
"""Published packages on the same arrays as fastcka: an adapter each, which says what it computes.

Where a package has a function of arrays, that is called. torch-cka takes models and a loader only: it gets
models that hand out the arrays as their layers, and a loader of one batch with all samples.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import itertools
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arguments import Estimator
from .._arrays import Array


@dataclass(frozen=True)
class Peer:
    """A package that is installed.

    Attributes
    ----------
    name : str
        On PyPI.
    computes : str
        What, in which type, for the report.
    kernel, estimator : str
        In the words of fastcka, for its share of the case.
    all_pairs : callable
        Layers, (n, p) float32 arrays, to the matrix of their CKA.
    """

    name: str
    computes: str
    kernel: str
    estimator: Estimator
    all_pairs: Callable[[Sequence[Array]], Array]


def load() -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that can be imported, and for the others the reason why not."""
    found: list[Peer] = []
    missing: dict[str, str] = {}
    for name, adapter in ADAPTERS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other people's code
                found += adapter()
        except Exception as error:  # any error while other people's code is imported
            missing[name] = f"{type(error).__name__}: {error}"
    return found, missing


def _torch_cka() -> list[Peer]:
    import torch

    package = importlib.import_module("torch_cka")

    class Layers(torch.nn.Module):  # type: ignore[misc]
        """A model whose layers put out the arrays that it was given."""

        def __init__(self, arrays: Sequence[Array]) -> None:
            super().__init__()
            self.tensors = [torch.from_numpy(array) for array in arrays]
            self.steps = torch.nn.ModuleList(torch.nn.Identity() for _ in arrays)

        def forward(self, samples: Any) -> Any:
            for step, tensor in zip(self.steps, self.tensors, strict=True):
                step(tensor)
            return samples

    def all_pairs(layers: Sequence[Array]) -> Array:
        n = len(layers[0])
        names = [f"steps.{i}" for i in range(len(layers))]
        models = [Layers(layers), Layers(layers)]
        batch = torch.utils.data.TensorDataset(torch.zeros(n, 1))
        loader = torch.utils.data.DataLoader(batch, batch_size=n)
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            warnings.simplefilter("ignore")
            cka = package.CKA(*models, model1_layers=names, model2_layers=names)
            with torch.no_grad():
                cka.compare(loader, loader)
        values: Array = cka.export()["CKA"].numpy()
        return values

    return [
        Peer(
            "torch-cka",
            "unbiased linear CKA, float32, a batch of all samples",
            "linear",
            "unbiased",
            all_pairs,
        )
    ]


def _pytorch_cka() -> list[Peer]:
    import torch

    package = importlib.import_module("cka")

    def all_pairs(layers: Sequence[Array]) -> Array:
        features = [torch.from_numpy(layer) for layer in layers]
        values: Array = package.cka_from_features(features, features).numpy()
        return values

    return [
        Peer(
            "pytorch-cka", "unbiased linear CKA, float32, all pairs at once", "linear", "unbiased", all_pairs
        )
    ]


def _ckatorch() -> list[Peer]:
    import torch

    package = importlib.import_module("ckatorch")

    def all_pairs(kernel: str) -> Callable[[Sequence[Array]], Array]:
        def pair(X: Array, Y: Array) -> float:
            return float(package.cka_base(torch.from_numpy(X), torch.from_numpy(Y), kernel=kernel))

        return lambda layers: _pair_by_pair(pair, layers)

    return [
        Peer("ckatorch", f"biased {words} CKA, float64, pair by pair", kernel, "biased", all_pairs(kernel))
        for kernel, words in (("linear", "linear"), ("rbf", "RBF"))
    ]


def _repsim() -> list[Peer]:
    package = importlib.import_module("repsim")

    def all_pairs(layers: Sequence[Array]) -> Array:
        values: Array = package.cka(list(layers), kernel_type="linear", estimator="gretton")
        return values

    computes = "biased linear CKA, float64, C++ on one thread (it has no others)"
    return [Peer("repsim", computes, "linear", "biased", all_pairs)]


def _thingsvision() -> list[Peer]:
    # The package itself imports TensorFlow and more, to extract features; its CKA is a separate folder.
    name = "thingsvision_cka"
    package_spec = importlib.util.find_spec("thingsvision")
    if package_spec is None or not package_spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'thingsvision'")
    folder = f"{package_spec.submodule_search_locations[0]}/core/cka"
    spec = importlib.util.spec_from_file_location(
        name, f"{folder}/__init__.py", submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    package = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)

    def all_pairs(estimator: Estimator) -> Callable[[Sequence[Array]], Array]:
        def pair(X: Array, Y: Array) -> float:
            cka = package.get_cka("numpy", m=len(X), kernel="linear", unbiased=estimator == "unbiased")
            return float(cka.compare(X, Y))

        return lambda layers: _pair_by_pair(pair, layers)

    return [
        Peer(
            "thingsvision",
            f"{estimator} linear CKA, float32, NumPy, pair by pair",
            "linear",
            estimator,
            all_pairs(estimator),
        )
        for estimator in ("biased", "unbiased")
    ]


def _pair_by_pair(pair: Callable[[Array, Array], float], layers: Sequence[Array]) -> Array:
    """Compare each layer with each other one, once; the diagonal is known to be 1 and not computed."""
    values = np.eye(len(layers))
    for i, j in itertools.combinations(range(len(layers)), 2):
        values[i, j] = values[j, i] = pair(layers[i], layers[j])
    return values


ADAPTERS: dict[str, Callable[[], list[Peer]]] = {
    "torch-cka": _torch_cka,
    "pytorch-cka": _pytorch_cka,
    "ckatorch": _ckatorch,
    "repsim": _repsim,
    "thingsvision": _thingsvision,
}
