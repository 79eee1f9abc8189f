# SPDX-License-Identifier: BSD-3-Clause
"""Centered kernel alignment (CKA) and HSIC: how similar two representations of the same samples are.

>>> import numpy as np, fastcka
>>> X = np.random.default_rng(0).normal(size=(500, 64))
>>> round(fastcka.cka(X, 3 * X[:, ::-1] + 1), 12)  # features in another order, scaled, shifted
1.0

:func:`cka` compares two arrays, :func:`cka_matrix` all pairs of layers; ``fastcka.reference`` is the same in
plain NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# First, because it reads the processor affinity before the core, and OpenMP with it, is loaded.
from .threads import get_num_threads, set_num_threads

# isort: split
from . import _core
from ._columns import columns
from ._plan import Plan, plan
from .config import release_buffers, show_config
from .kernels import RBF, Correlation, Cosine, Distance, Kernel, Laplacian, Linear, Polynomial
from .layers import open_layers
from .models import cka_models
from .results import BestMatch, CKAMatrix, CKAModels, DegenerateWarning, ModelSummary, plot_grid
from .similarity import center, cka, cka_matrix, gram, hsic
from .store import Store, open_store

if TYPE_CHECKING:
    from . import dask as dask
    from . import reference as reference
    from . import torch as torch
    from ._partial import Partial as Partial
    from .calibration import CalibratedMax as CalibratedMax
    from .calibration import calibrated_max as calibrated_max
    from .inference import CKATest as CKATest
    from .inference import cka_test as cka_test
    from .store.creating import create_store as create_store
    from .store.writing import StoreWriter as StoreWriter
    from .streaming import StreamingCKA as StreamingCKA
    from .sweep import Sweep as Sweep

__version__: str = _core.config()["version"]

__all__ = [
    "RBF",
    "BestMatch",
    "CKAMatrix",
    "CKAModels",
    "CKATest",
    "CalibratedMax",
    "Correlation",
    "Cosine",
    "DegenerateWarning",
    "Distance",
    "Kernel",
    "Laplacian",
    "Linear",
    "ModelSummary",
    "Partial",
    "Plan",
    "Polynomial",
    "Store",
    "StoreWriter",
    "StreamingCKA",
    "Sweep",
    "calibrated_max",
    "center",
    "cka",
    "cka_matrix",
    "cka_models",
    "cka_test",
    "columns",
    "create_store",
    "get_num_threads",
    "gram",
    "hsic",
    "open_layers",
    "open_store",
    "plan",
    "plot_grid",
    "reference",
    "release_buffers",
    "set_num_threads",
    "show_config",
]


# Imported when they are first asked for: most do without. Streams took a quarter of the time of the import.
_LATE = {
    "CKATest": "inference",
    "CalibratedMax": "calibration",
    "calibrated_max": "calibration",
    "cka_test": "inference",
    "Partial": "_partial",
    "StoreWriter": "store.writing",
    "StreamingCKA": "streaming",
    "Sweep": "sweep",
    "create_store": "store.creating",
    "reference": "reference",
    "dask": "dask",
    "torch": "torch",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_LATE[name]}")
    # A module may have imported another one of its own name, as fastcka.dask has.
    globals()[name] = found = module if _LATE[name] == name else getattr(module, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
