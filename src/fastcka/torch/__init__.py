# SPDX-License-Identifier: BSD-3-Clause
"""CKA for PyTorch (extra: ``torch``): as a loss, differentiable.

``import fastcka`` never imports torch; this package does.
"""

from __future__ import annotations

from ._loss import cka, cka_loss

__all__ = ["cka", "cka_loss"]
