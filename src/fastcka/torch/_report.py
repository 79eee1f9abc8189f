# SPDX-License-Identifier: BSD-3-Clause
"""Say what was left out, and which layers are not finite."""

from __future__ import annotations

import torch

from ._capture import Capture
from ._rows import Rows


def left_out(captures: list[Capture]) -> list[str]:
    """Return the layers that gave tensors of no use, each with the reason."""
    return [
        f"layer {layer!r}{capture.owner}: {reason}"
        for capture in captures
        for layer, reason in capture.unfit.items()
    ]


def in_one_line(texts: list[str]) -> str:
    """Join texts, the first five of them."""
    more = len(texts) - 5
    return "; ".join(texts[:5]) + (f"; and {more} more" if more > 0 else "")


class NonFinite:
    """Layers in which NaN or infinity was found, each with the words for it."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def look(self, rows: Rows, start: int) -> list[str]:
        """Look through the rows of a batch, from sample `start` on; return the layers found now."""
        new = []
        for layer, X in rows.layers.items():
            if layer in self.found or not X.is_floating_point():
                continue
            if torch.isfinite(X.sum()):  # then all are: ten times as fast as to look at each
                continue
            finite = torch.isfinite(X)
            if not finite.all():  # else the sum has overflowed
                row, feature = (~finite).nonzero()[0].tolist()
                kind = "NaN" if torch.isnan(X[row, feature]) else "infinity"
                where = f"first at sample {start + rows.sample_of(row)}, feature {feature}"
                self.found[layer] = f"it has {kind}, {where}"
                new.append(layer)
        return new
