# SPDX-License-Identifier: BSD-3-Clause
"""Activations of PyTorch models: from a model and a data loader to matrices, or straight to CKA.

>>> import torch, fastcka
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
>>> batches = torch.randn(100, 4).split(32)
>>> layers = fastcka.torch.extract(model, batches, progress=False)
>>> layers["1"].shape
(100, 8)

:func:`extract` keeps activations, in memory or on disk; :func:`compare` and :func:`compare_models` give CKA
of the layers of two models, or more, without keeping more than they must; :func:`cka` and :func:`cka_loss`
are differentiable. All of it needs ``pip install "fastcka[torch]"``; ``import fastcka`` alone never imports
torch.

The way of a batch, module by module::

    _loaders    what a loader is, how many samples it gives, in which order, and how they are called
    _inputs     a batch becomes the call of a model; masks and ids are found in it
    _select     which layers were asked for, and the tensors in what a module returns
    _axes       what the axes of a layer are;  _masks  which positions count, and for whom
    _pool       activations become rows
    _capture    the model runs with hooks;  _state  and is restored;  _rows  what one batch gave
    _extract    keeps the rows: _kept  in memory, _written  on disk
    _compare    two models, _models  any number of them: _runs  on the same samples, _collect  batch by batch,
                _ways  to CKA by the core, _device  or on the device where the activations are
    _loss       CKA of two tensors, _gradients  with gradients in closed form
    _common     what several of these share
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
from ._models import compare_models

__all__ = ["Extracted", "cka", "cka_loss", "compare", "compare_models", "extract"]
