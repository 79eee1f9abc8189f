# SPDX-License-Identifier: BSD-3-Clause
"""Activations of PyTorch models: from a model and a data loader to matrices, or straight to CKA.

>>> import torch, fastcka
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
>>> batches = torch.randn(100, 4).split(32)
>>> layers = fastcka.torch.extract(model, batches, progress=False)
>>> layers["1"].shape
(100, 8)

:func:`extract` keeps activations, in memory or on disk; :func:`compare`, :func:`compare_loaders` and
:func:`compare_models` give CKA of the layers of two models, or more, without keeping more than they must;
:func:`cka` and :func:`cka_loss` are differentiable. All of it needs ``pip install "fastcka[torch]"``;
``import fastcka`` alone never imports torch.

Five tiers, each of which imports only itself and those above it::

    _common   types of activations, names of types, the log
    data      what goes into models: loaders and their order, a batch as the call of a model, its masks
    layers    from modules to rows: which layers, what their axes are, which positions count, pooling, hooks
    collect   where rows go: kept in memory or on disk, or into CKA, by the core or on a device
    _extract, _compare (two models), _models (any number), _loss: the public functions

The gradients of the loss are in _gradients. The __init__.py of each folder has its map.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ImportError('fastcka.torch needs PyTorch: pip install "fastcka[torch]"')

# isort: split
from ._compare import compare, compare_loaders
from ._extract import extract
from ._loss import cka, cka_loss
from ._models import compare_models
from .collect.memory import Extracted

__all__ = ["Extracted", "cka", "cka_loss", "compare", "compare_loaders", "compare_models", "extract"]
