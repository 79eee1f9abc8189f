# SPDX-License-Identifier: BSD-3-Clause
"""Any number of models in one pass: the values of each pair are those of `compare`."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import mlp, samples  # noqa: E402

import fastcka  # noqa: E402
from fastcka.torch.collect import device  # noqa: E402


def three():
    return {"small": mlp((6, 4, 3)), "org/large": mlp((6, 20, 9), seed=1), "conv": Conv()}


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv1d(1, 4, 3)

    def forward(self, x):
        return self.conv(x)


def transform(x):
    return x[:, None]


def together(**options):
    options = {"transforms": {"conv": transform}, "progress": False, **options}
    return fastcka.torch.compare_models(three(), samples(50).split(13), **options)


@pytest.mark.parametrize("there", [False, True], ids=["core", "device"])
@pytest.mark.parametrize("options", [{}, {"estimator": "unbiased"}, {"method": "minibatch"}], ids=str)
def test_each_pair_is_that_of_compare(options, there, monkeypatch):
    monkeypatch.setattr(device, "computes", lambda where, kernel: there)
    found = together(**options)
    nets = three()
    for a in nets:
        for b in nets:
            if a == "conv" or (a, b) == ("small", "small"):
                continue
            pair = fastcka.torch.compare(
                nets[a],
                nets[b],
                samples(50).split(13),
                transform_b=transform if b == "conv" else None,
                progress=False,
                **options,
            )
            np.testing.assert_allclose(found.pair(a, b), pair, rtol=0, atol=1e-6)
            np.testing.assert_allclose(found.pair(a, b).chance, pair.chance, rtol=0, atol=1e-6)
            assert (found.pair(a, b).rows, found.pair(a, b).columns) == (pair.rows, pair.columns)
            assert found.pair(a, b).models == (a, b)
            np.testing.assert_array_equal(found.pair(b, a).values, found.pair(a, b).values.T)
    assert found.pair("conv", "conv").values == pytest.approx(1)


def test_every_model_runs_once_for_each_batch():
    calls = []

    class Counting(nn.Linear):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    nets = {name: nn.Sequential(Counting(6, 3)) for name in "abcd"}
    fastcka.torch.compare_models(nets, samples(30).split(15), progress=False)
    assert calls == [15] * 8


def test_layers_of_each_model_and_what_is_wrong_with_them():
    found = together(layers={"small": "0", "org/large": nn.Linear})
    assert found.pair("small", "org/large").shape == (1, 2)
    dead = {"a": nn.Sequential(nn.Linear(6, 3), nn.Threshold(1e9, 1.0)), "b": mlp()}
    with pytest.warns(fastcka.DegenerateWarning, match="layer '1' of a: "):
        found = fastcka.torch.compare_models(dead, samples(30).split(10), progress=False)
    assert np.isnan(found.pair("b", "a").values).all(0).tolist() == [False, True]
    assert np.isfinite(found.pair("b", "b").values).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"models": [mlp()]}, TypeError, "models must be a mapping of names to models, got list"),
        ({"models": {}}, TypeError, "models must be a mapping"),
        ({"models": {"a": 3}}, TypeError, "a must be a torch.nn.Module, got int"),
        ({"layers": {"c": "*"}}, ValueError, "layers: 'c' is none of the models a"),
        ({"transforms": {"c": len}}, ValueError, "transforms: 'c' is none of the models a"),
        (
            {"transforms": {"b": lambda x: x[1:]}},
            ValueError,
            r"8 samples from loader but 7 from transforms\['b'\]",
        ),
    ],
)
def test_bad_arguments(change, error, message):
    arguments = {"models": {"a": mlp(), "b": mlp()}, "loader": [samples(8)], "progress": False, **change}
    with pytest.raises(error, match=message):
        fastcka.torch.compare_models(arguments.pop("models"), arguments.pop("loader"), **arguments)
