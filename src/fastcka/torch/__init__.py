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

The way of a batch, module by module::

    _loaders, _order   what a loader is, how many samples it gives, and whether always in the same order
    _inputs            a batch becomes the call of a model; masks and ids are found in it
    _select            which layers were asked for;  _outputs  the tensors in what a module returns
    _axes, _masks      what the axes of a layer are, and which mask is for it
    _pool              activations become rows
    _capture, _state   the model runs with hooks, and is left as it was
    _rows, _report     the rows of one batch, and what is wrong with them
    _extract           keeps them: _kept in memory, _written on disk
    _compare, _pairs   two models on the same samples;  _collect  from their batches to CKA
    _loss, _alignment  CKA of two tensors with gradients
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
