# SPDX-License-Identifier: BSD-3-Clause
"""CKA by torch operations, as on the device of the activations, on the CPU against the core."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import samples  # noqa: E402

import fastcka  # noqa: E402
from fastcka.torch.collect import centred, device  # noqa: E402

WITHIN = {"rtol": 0, "atol": 1e-6}  # what DESIGN.md promises for float32 arithmetic
WAYS = [("exact", "biased"), ("exact", "unbiased"), ("minibatch", None)]
each_way = pytest.mark.parametrize(("method", "estimator"), WAYS, ids=lambda x: str(x))


class Features(nn.Module):
    """Gives columns of its inputs as layers, changed by functions."""

    def __init__(self, **functions):
        super().__init__()
        self.functions = functions
        for name in functions:
            self.add_module(name, nn.Identity())

    def forward(self, x):
        for name, function in self.functions.items():
            getattr(self, name)(function(x))
        return x


MIX = samples(27, 40, seed=2)
ORDINARY = {"narrow": lambda x: x[:, :5], "mixed": lambda x: x[:, 3:30] @ MIX, "wide": lambda x: x.tanh()}
DATA = {
    "ordinary": ORDINARY,
    "far from zero": {"far": lambda x: x[:, :20] + 1e4, "near": lambda x: x[:, 10:40] + 1},
    "in other units": {"large": lambda x: x[:, :20] * 2.0**70, "small": lambda x: x[:, 10:40] * 2.0**-70},
    "float64": {"twice": lambda x: x[:, :20].double() + 1e6, "once": lambda x: x[:, 10:40]},
    "half precision": {"bf16": lambda x: x[:, :20].bfloat16(), "fp16": lambda x: x[:, 10:40].half()},
    "integers": {"counts": lambda x: (3 * x[:, :20]).int(), "flags": lambda x: x[:, :20] > 0},
}


@pytest.fixture
def on_device(monkeypatch):
    """Make `compare` compute with torch on any device."""
    used = []

    def computes(where, kernel):
        used.append(where)
        return True

    def force(wanted=True):
        monkeypatch.setattr(device, "computes", computes if wanted else lambda where, kernel: False)

    force()
    yield force
    assert used


def both(on_device, net, other, batches, **options):
    """Return CKA by torch and by the core."""
    found = []
    for there in (True, False):
        on_device(there)
        found.append(fastcka.torch.compare(net, other, batches, progress=False, **options))
    return found


def batches(n=61, p=70, size=20):
    return samples(n, p).split(size)


@each_way
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kept", [False, True], ids=["sums", "kept"])
def test_values_are_those_of_the_core(on_device, method, estimator, data, kept):
    a, b = Features(**DATA[data]), Features(**ORDINARY)
    loader = batches(
        61 if kept else 1500, size=20 if kept else 300
    )  # sums take less memory than many samples, and more than few
    there, core = both(on_device, a, b, loader, method=method, estimator=estimator)
    np.testing.assert_allclose(there, core, **WITHIN)
    np.testing.assert_allclose(there.chance, core.chance, **WITHIN)
    assert (there.method, there.estimator, there.n_samples) == (core.method, core.estimator, core.n_samples)
    assert np.isfinite(there.values).all()


@each_way
def test_massive_samples_keep_what_is_to_be_seen_beside_them(on_device, method, estimator):
    """In float32 products of features, 5e-4 of the unbiased value are lost here, in tiles nothing."""
    x = samples(257, 70)
    x[100, 0] = 3000
    a, b = Features(all=lambda x: x), Features(**ORDINARY)
    for size in (257, 60):
        there, core = both(on_device, a, b, x.split(size), method=method, estimator=estimator)
        np.testing.assert_allclose(there, core, **WITHIN)
    if method == "exact":  # by sums: an iterator does not say how many samples there are
        on_device()
        there = fastcka.torch.compare(
            a, b, iter(x.split(60)), method=method, estimator=estimator, progress=False
        )
        np.testing.assert_allclose(there, core, **WITHIN)


@each_way
def test_two_ways_to_exact_values_are_both_taken(on_device, method, estimator, capsys):
    a, b = Features(**ORDINARY), Features(**ORDINARY)
    words = []
    for n in (61, 2000):
        fastcka.torch.compare(a, b, batches(n), method=method, estimator=estimator, progress=True)
        words.append(capsys.readouterr().err)
    kinds = ("kept activations", "sums of") if method == "exact" else ("mini-batch", "mini-batch")
    for text, kind in zip(words, kinds, strict=True):
        assert kind in text
        assert "on cpu" in text


@each_way
def test_more_features_than_samples(on_device, method, estimator):
    """What is to be seen of the unbiased estimator is a small part of what it is made of."""
    a, b = (
        Features(wide=lambda x: x, some=lambda x: x[:, ::3] + x[:, :1]),
        Features(part=lambda x: x[:, :1500].relu(), noise=lambda x: x.sin()),
    )
    there, core = both(on_device, a, b, batches(40, 3000), method=method, estimator=estimator)
    np.testing.assert_allclose(there, core, **WITHIN)


@each_way
def test_layers_that_have_no_cka_are_named_as_by_the_core(on_device, method, estimator):
    bad = {
        "constant": lambda x: torch.full_like(x[:, :7], 1e4 / 3),
        "zero": lambda x: 0 * x,
        "infinite": lambda x: x.masked_fill(x == x.max(), float("inf")),
        "late": lambda x: x.masked_fill(x == LARGEST, float("nan")),
        "good": lambda x: x,
    }
    LARGEST = samples(61, 70).max()
    with pytest.warns(fastcka.DegenerateWarning):
        there, core = both(
            on_device, Features(**bad), Features(**ORDINARY), batches(), method=method, estimator=estimator
        )
    np.testing.assert_allclose(there, core, **WITHIN)
    assert sorted(there.warnings) == sorted(core.warnings)
    assert np.isnan(there.values).all(1).tolist() == [True, True, True, True, False]


def test_noise_is_no_variation_for_the_unbiased_estimator(on_device):
    """Of an HSIC below zero there is no root: such layers are named, too."""
    a, b = (Features(one=lambda x: x[:, :1] * torch.tensor([1.0])), Features(**ORDINARY))
    x = torch.ones(8, 70)
    x[0] = 2  # one sample differs, and all others are equal: U-centred, nothing is left
    with pytest.warns(fastcka.DegenerateWarning):
        there, core = both(on_device, a, b, [x], method="exact", estimator="unbiased")
    assert there.warnings == core.warnings
    assert there.warnings


def test_tiles_of_samples_and_pieces_of_features(on_device, monkeypatch):
    monkeypatch.setattr(centred, "TILES", 2**15)
    monkeypatch.setattr(centred, "_PIECE", 16)
    a, b = Features(**ORDINARY), Features(**ORDINARY)
    for method, estimator in WAYS:
        there, core = both(on_device, a, b, batches(size=50), method=method, estimator=estimator)
        np.testing.assert_allclose(there, core, **WITHIN)


def test_the_model_may_write_to_what_its_layers_gave(on_device):
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(70, 9), nn.ReLU(inplace=True)

        def forward(self, x):
            return self.second(self.first(x)).mul_(3)

    torch.manual_seed(0)
    net = InPlace()
    there, core = both(on_device, net, Features(**ORDINARY), batches(), method="exact")
    np.testing.assert_allclose(there, core, **WITHIN)
    rows = fastcka.torch.extract(net, batches(), "first", progress=False)["first"]
    alone = fastcka.cka(rows, samples(61, 70)[:, :5].numpy())
    assert there["first", "narrow"] == pytest.approx(alone, abs=1e-6)


def test_products_keep_all_digits_and_settings_come_back(on_device, monkeypatch):
    products, seen = centred.products, []

    def watched(a, b):
        seen.append((torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu")))
        return products(a, b)

    for module in (centred, device):
        monkeypatch.setattr(module, "products", watched)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            a, b = Features(**ORDINARY), Features(**ORDINARY)
            there, core = both(on_device, a, b, batches(), method="exact")
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(seen) == {("highest", False)}
    np.testing.assert_allclose(there, core, **WITHIN)


def test_devices_without_float64_and_other_kernels_take_the_core():
    from fastcka.kernels import resolve_kernel

    linear, rbf = resolve_kernel("linear"), resolve_kernel("rbf")
    assert device.computes(torch.device("cuda"), linear)
    assert not device.computes(torch.device("cuda"), rbf)
    assert not device.computes(torch.device("mps"), linear)
    assert not device.computes(torch.device("cpu"), linear)
