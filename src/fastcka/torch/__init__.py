# SPDX-License-Identifier: BSD-3-Clause
"""Activations of PyTorch models: from a model and a data loader to matrices, or straight to CKA.

>>> import torch, fastcka
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
>>> batches = torch.randn(100, 4).split(32)
>>> layers = fastcka.torch.extract(model, batches, progress=False)
>>> layers["1"].shape
(100, 8)

:func:`extract` keeps activations, in memory or on disk; :func:`compare` gives CKA of the layers of two models
without keeping more than it must; :func:`cka` and :func:`cka_loss` are differentiable. All of it needs
``pip install "fastcka[torch]"``; ``import fastcka`` alone never imports torch.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ImportError('fastcka.torch needs PyTorch: pip install "fastcka[torch]"')

# isort: split
from ._compare import compare
from ._extract import extract
from ._kept import Extracted
from ._loss import cka, cka_loss

__all__ = ["Extracted", "cka", "cka_loss", "compare", "extract"]
