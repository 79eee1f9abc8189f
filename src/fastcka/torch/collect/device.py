# SPDX-License-Identifier: BSD-3-Clause
"""CKA on the device where the activations are: kept there, as sums, or in mini-batches.

Only sums leave the device. Other kernels than the linear one, and devices without float64, are the core's, in
CPU memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from ..._arguments import ESTIMATORS
from ..._pairwise import Reasons, reason
from ...kernels import Kernel, Linear
from ...results import CKAMatrix
from .._common import Tensor
from ..layers.rows import NonFinite, Rows, is_double
from .centred import Sums, Unit, block_sums, centred, centred_products, full_precision, products, squared
from .core import Outcome, Settings, found_in

_MASSIVE = 2**10  # the squared norm of a massive sample, in the typical one


def computes(device: torch.device, kernel: Kernel) -> bool:
    """Return whether CKA is computed on this device; otherwise it is the core's, in CPU memory."""
    return device.type in _WITH_FLOAT64 and isinstance(kernel, Linear)


_WITH_FLOAT64 = {"cuda", "xpu"}  # not "mps"


class _OnDevice:
    """What the ways have in common."""

    def __init__(self, kernel: Kernel, settings: Settings, device: torch.device, words: str) -> None:
        self.kernel, self.settings, self.device = kernel, settings, device
        self.unbiased = settings["estimator"] == "unbiased"
        self.words = f"{words}, on {device}"
        self.names: list[tuple[str, ...]] = []
        self.non_finite: list[NonFinite] = []
        self.double = False
        self.n = 0  # rows so far

    def _begin(self, batch: Sequence[Rows]) -> None:
        if not self.names:
            self.double = is_double(batch, self.settings["dtype"])
            self.names = [tuple(rows.layers) for rows in batch]
            self.non_finite = [NonFinite() for _ in batch]
        self.n += len(batch[0])

    def _finite(self, batch: Sequence[Rows]) -> list[list[Tensor]]:
        """Return the layers of a batch, zeros for those in which a value that is not finite was found."""
        return [
            [torch.zeros_like(X) if layer in bad.found else X for layer, X in rows.layers.items()]
            for bad, rows in zip(self.non_finite, batch, strict=True)
        ]

    def _look(self, batch: Sequence[Rows], start: int) -> None:
        for bad, rows in zip(self.non_finite, batch, strict=True):
            bad.look(rows, start)

    def _units(self, batch: Sequence[Rows], start: int) -> list[list[Unit]]:
        """Return layers in their units, those with massive samples in float64; one wait for the device."""
        while True:
            found = [[centred(X, self.double) for X in side] for side in self._finite(batch)]
            flags = [torch.stack([layer.norms.amax(), layer.unit]) for side in found for layer in side]
            norms, units = torch.stack(flags).T.tolist()
            if all(map(math.isfinite, units)):
                break
            self._look(batch, start)
        if not self.double:
            flat = [X for side in self._finite(batch) for X in side]
            layers = [layer for side in found for layer in side]
            layers = [
                centred(X, True) if norm > _MASSIVE else layer
                for X, layer, norm in zip(flat, layers, norms, strict=True)
            ]
            found = [layers[: len(found[0])], layers[len(found[0]) :]][: len(found)]
        return found

    def outcome(self, method: str, sums: Sums) -> Outcome:
        """Return CKA of the sums."""
        fewest = ESTIMATORS["unbiased" if self.unbiased else "biased"]
        if self.n < fewest:
            raise ValueError(f"CKA of {self.n} samples: the estimator needs at least {fewest}")
        reasons: Reasons = {}
        roots, traces = [], []
        part = 2.0**-40 if self.double else 8 * np.finfo(np.float32).eps
        for side, names in enumerate(self.names):
            own = sums.selves[side].copy()
            constant = sums.traces[side] == 0
            vanishes = own <= part * sums.magnitudes[side] * self.unbiased
            for k, layer in enumerate(names):
                if constant[k] or vanishes[k]:
                    status = "nonpositive" if self.unbiased and not constant[k] else "constant"
                    reasons[side, layer] = reason(status, self.kernel)
                    own[k] = np.nan
            roots.append(np.sqrt(own))
            with np.errstate(invalid="ignore", divide="ignore"):  # constant layers
                chance = sums.traces[side] / sums.norms[side] / math.sqrt(self.n - 1)
            traces.append(np.where(np.isnan(own), np.nan, 0.0 if self.unbiased else chance))
        pairs = sums.pairs
        if len(self.names) == 1:  # rounding knows a left and a right operand, CKA does not
            pairs = np.triu(pairs) + np.triu(pairs, 1).T
        matrix = CKAMatrix(
            pairs / np.outer(roots[0], roots[-1]),
            self.names[0],
            self.names[-1],
            str(self.kernel),
            "unbiased" if self.unbiased else "biased",
            self.n,
            method=method,
            chance=np.outer(traces[0], traces[-1]),
        )
        return Outcome(matrix, reasons | found_in(self.non_finite))


class Batches(_OnDevice):
    """The mini-batch estimator of Nguyen et al.: a ratio of sums of HSIC within batches."""

    def __init__(self, kernel: Kernel, settings: Settings, device: torch.device) -> None:
        super().__init__(kernel, settings, device, "mini-batch")
        self.sums: Sums | None = None

    def add(self, batch: Sequence[Rows], start: int, left: int | None) -> None:
        """Add a batch."""
        self._begin(batch)
        with full_precision(self.device):
            sides = self._units(batch, start)
            sums = centred_products(sides, unbiased=True)
            units = [torch.stack([layer.unit for layer in side]).cpu().numpy() for side in sides]
        n = len(batch[0])
        hsic = 1 / (n * (n - 3))
        sound = [
            own > 8 * np.finfo(np.float32).eps * magnitude
            for own, magnitude in zip(sums.selves, sums.magnitudes, strict=True)
        ]
        sums = Sums(
            hsic * sums.pairs * np.outer(units[0], units[-1]),
            [hsic * own * unit**2 for own, unit in zip(sums.selves, units, strict=True)],
            [np.where(good, 0.0, np.inf) for good in sound],  # no value until one batch has one
            sums.traces,
            sums.norms,
        )
        self.sums = sums if self.sums is None else self.sums.plus(sums)

    def result(self) -> Outcome:
        """Return CKA of all batches."""
        assert self.sums is not None  # a batch came, or nobody would ask
        return self.outcome("minibatch", self.sums)


class AllRows(_OnDevice):
    """Keeps all activations on the device, and compares them at the end."""

    def __init__(self, kernel: Kernel, settings: Settings, device: torch.device, words: str) -> None:
        super().__init__(kernel, settings, device, words)
        self.parts: list[dict[str, list[Tensor]]] = []

    def add(self, batch: Sequence[Rows], start: int, left: int | None) -> None:
        """Add a batch."""
        self._begin(batch)
        self.parts = self.parts or [{layer: [] for layer in rows.layers} for rows in batch]
        for side, rows in zip(self.parts, batch, strict=True):
            for layer, X in rows.owned().layers.items():
                side[layer].append(X)
        if batch[0].positions is not None:  # in the end, there are rows but no samples
            self._look(batch, start)

    def result(self) -> Outcome:
        """Return CKA of all batches."""
        batch = [
            Rows({layer: torch.cat(side.pop(layer)) for layer in list(side)}, self.n) for side in self.parts
        ]
        with full_precision(self.device):
            sums = centred_products(self._units(batch, 0), self.unbiased)
        return self.outcome("exact", sums)


class CrossMoments(_OnDevice):
    """Sums over samples of products of features, of which linear CKA of all samples follows.

    Of z, a sample less the mean of the first batch and in its units, and of r = |z|^2: sums of z z', z r,
    r r, z and r. Massive samples are multiplied in float64.
    """

    def __init__(self, kernel: Kernel, settings: Settings, device: torch.device, words: str) -> None:
        super().__init__(kernel, settings, device, words)
        self.origin: list[list[tuple[Tensor, Tensor]]] = []  # of each layer: the mean, and the unit
        self.sums: list[Tensor] = []

    def add(self, batch: Sequence[Rows], start: int, left: int | None) -> None:
        """Add a batch."""
        self._begin(batch)
        with full_precision(self.device):
            if not self.origin:
                sides = self._units(batch, start)  # which finds what is not finite
                dtype = torch.float64 if self.double else torch.float32
                self.origin = [
                    [
                        (X.mean(0, dtype=torch.float64).to(dtype).double(), layer.unit.sqrt())
                        for X, layer in zip(*both, strict=True)
                    ]
                    for both in zip(self._finite(batch), sides, strict=True)
                ]
            while True:
                z = [
                    list(map(self._moved, *both))
                    for both in zip(self._finite(batch), self.origin, strict=True)
                ]
                r = torch.stack([squared(x) for side in z for x in side], 1)  # (n, layers)
                largest = r.amax().item()
                if math.isfinite(largest):
                    break
                self._look(batch, start)
            massive = (r > _MASSIVE).any(1) if largest > _MASSIVE and not self.double else None
            if massive is not None:
                few = [[X[massive] for X in side] for side in self._finite(batch)]
                wide = [
                    [self._moved(X, origin, True) for X, origin in zip(*both, strict=True)]
                    for both in zip(few, self.origin, strict=True)
                ]
                for side in z:
                    for x in side:
                        x[massive] = 0
                r[massive] = 0
                self._add(wide, torch.stack([squared(x) for side in wide for x in side], 1))
            self._add(z, r)

    def _moved(self, X: Tensor, origin: tuple[Tensor, Tensor], double: bool = False) -> Tensor:
        dtype = torch.float64 if double or self.double else torch.float32
        mean, unit = origin
        return (X.to(dtype) - mean.to(dtype)) / torch.where(unit > 0, unit, 1.0).to(dtype)

    def _add(self, z: list[list[Tensor]], r: Tensor) -> None:
        whole = [torch.cat(side, 1) for side in z]
        layers = [x for side in z for x in side]
        sums = [products(whole[0].mT, whole[-1])]  # of all pairs
        if len(z) == 2:
            sums += [products(x.mT, x) for x in layers]
        sums += [r.sum(0), *(x.sum(0, dtype=torch.float64) for x in layers)]
        if self.unbiased:
            sums += [r.mT @ r, *(x.double().mT @ r for x in layers)]
        if self.sums:
            for mine, more in zip(self.sums, sums, strict=True):
                mine += more
        else:
            self.sums = sums

    def result(self) -> Outcome:
        """Return CKA of what was added: sums about the mean follow from those about the origin."""
        n, first, two = self.n, len(self.names[0]), len(self.names) == 2
        layers = sum(map(len, self.names))
        rest = iter(self.sums)
        cross = next(rest)
        own = list(islice(rest, layers if two else 0))
        r = next(rest)
        means = [z / n for z in islice(rest, layers)]
        side_a, side_b = slice(0, first), slice(first if two else 0, None)
        widths = [len(m) for m in means]
        mean_a, mean_b = torch.cat(means[side_a]), torch.cat(means[side_b])
        cross = cross - n * torch.outer(mean_a, mean_b)
        inner = block_sums(cross.square(), widths[side_a], widths[side_b])
        own = [zz - n * torch.outer(m, m) for zz, m in zip(own, means, strict=False)]
        selves = torch.stack([zz.square().sum() for zz in own]) if two else inner.diagonal()
        lengths = torch.stack([m @ m for m in means])
        traces = r - n * lengths
        traces = torch.where(traces <= 2.0**-40 * r, 0.0, traces)  # rounding is no variation
        pairs, magnitudes, norms = inner, selves, selves.clamp(min=0).sqrt()
        if self.unbiased:
            rr = next(rest)
            at = torch.stack([m @ zr for m, zr in zip(means, rest, strict=True)])  # mean' sum z r
            # sum |x - mean|^2 |y - mean|^2, of all pairs that are wanted and of each layer with itself
            bilinear = block_sums(cross * mean_a[:, None] * mean_b, widths[side_a], widths[side_b])
            own_bilinear = (
                torch.stack([m @ zz @ m for m, zz in zip(means, own, strict=True)])
                if two
                else bilinear.diagonal()
            )
            base = (
                rr
                - 2 * (at + at.mT)
                + lengths * r[:, None]
                + r * lengths[:, None]
                + n * torch.outer(lengths, lengths)
            )
            d = base[side_a, side_b] + 4 * bilinear
            own_d = base.diagonal() + 4 * own_bilinear
            rows, totals = n / (n - 2), 1 / ((n - 1) * (n - 2))
            pairs = inner - rows * d + totals * torch.outer(traces[side_a], traces[side_b])
            magnitudes = selves + rows * own_d + totals * traces.square()
            selves = selves - rows * own_d + totals * traces.square()

        def split(values: Tensor) -> list[Any]:
            array = values.cpu().numpy()
            return [array[:first], array[first:]][: len(self.names)]

        return self.outcome(
            "exact", Sums(pairs.cpu().numpy(), *map(split, (selves, magnitudes, traces, norms)))
        )
