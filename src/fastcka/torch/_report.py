# SPDX-License-Identifier: BSD-3-Clause
"""Say what was left out and what is not finite, once for each layer."""

from __future__ import annotations

import warnings

import torch

from ._capture import Capture
from ._rows import Rows


def warn_left_out(capture: Capture, what: str = "") -> None:
    """Warn of layers that ran and gave tensors, but not of a form that can be used."""
    if capture.unfit:
        named = "; ".join(f"layer {layer!r}: {reason}" for layer, reason in list(capture.unfit.items())[:5])
        more = len(capture.unfit) - 5
        rest = f"; and {more} more" if more > 0 else ""
        warnings.warn(f"left out{what}: {named}{rest}", UserWarning, stacklevel=3)


class NonFinite:
    """Layers in which NaN or infinity was found, each with the words for it."""

    def __init__(self, what: str = "") -> None:
        self.what = what
        self.found: dict[str, str] = {}

    def look(self, rows: Rows, start: int) -> None:
        """Look through the rows of a batch whose first sample is number `start`; warn of what is found."""
        new = {}
        for layer, X in rows.layers.items():
            if layer in self.found or not X.is_floating_point():
                continue
            finite = torch.isfinite(X)
            if not finite.all():
                row, feature = (~finite).nonzero()[0].tolist()
                kind = "NaN" if torch.isnan(X[row, feature]) else "infinity"
                new[layer] = f"{kind}, first at sample {start + rows.sample_of(row)}, feature {feature}"
        if new:
            self.found |= new
            named = "; ".join(f"layer {layer!r}{self.what} has {words}" for layer, words in new.items())
            warnings.warn(named, UserWarning, stacklevel=3)
