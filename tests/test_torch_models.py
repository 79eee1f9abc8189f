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


class Folded(nn.Module):
    """Has a layer without a row for each sample."""

    def __init__(self):
        super().__init__()
        self.fold = nn.Identity()

    def forward(self, x):
        return self.fold(x.reshape(3, -1)).reshape(x.shape)


class Named(nn.Module):
    """Linear layers of these names, one after the other."""

    def __init__(self, *names):
        super().__init__()
        self.layers = [nn.Linear(6, 6) for _ in names]
        for name, layer in zip(names, self.layers, strict=True):
            self.add_module(name, layer)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


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


def test_names_are_texts_and_each_pair_knows_where_it_comes_from():
    nets = {0: mlp((6, 4)), 1: mlp((6, 5, 3))}
    found = fastcka.torch.compare_models(
        nets, samples(30).split(10), kernel="rbf", layers={0: "*"}, max_samples=30, progress=False
    )
    assert found.models == ("0", "1")
    pair = found.pair("0", "1")
    assert (pair.rows, pair.columns) == (found.layers("0"), found.layers("1"))
    alone = fastcka.torch.compare(nets[0], nets[1], samples(30).split(10), kernel="rbf", max_samples=30)
    for side in ("rows", "columns"):
        assert pair.provenance[side]["widths"] == alone.provenance[side]["widths"]
        assert pair.provenance[side]["sigma"] == pytest.approx(alone.provenance[side]["sigma"])


def test_layers_of_each_model_and_what_is_wrong_with_them():
    found = together(layers={"small": "0", "org/large": nn.Linear})
    assert found.pair("small", "org/large").shape == (1, 2)
    dead = {"a": nn.Sequential(nn.Linear(6, 3), nn.Threshold(1e9, 1.0)), "b": mlp()}
    dead["c"] = nn.Sequential(Folded(), mlp())
    with pytest.warns() as caught:
        found = fastcka.torch.compare_models(dead, samples(30).split(10), progress=False)
    assert [warning.category for warning in caught] == [UserWarning, fastcka.DegenerateWarning]
    assert "layer '1' of model 'a': no variation" in str(caught[1].message)
    assert [text.partition(": no")[0] for text in found.pair("a", "b").warnings] == ["layer '1' of model 'a'"]
    (left_out,) = found.pair("b", "c").warnings
    assert left_out.startswith("skipped: layer '0.fold' of model 'c': its first dimension is not the batch")
    assert np.isnan(found.pair("b", "a").values).all(0).tolist() == [False, True]
    assert np.isfinite(found.pair("b", "b").values).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"models": [mlp()]}, TypeError, "models must be a mapping of names to modules, got list"),
        ({"models": {}}, ValueError, "models: expected at least two models, got none; compare takes two"),
        ({"models": {"a": mlp()}}, ValueError, "models: expected at least two models, got only 'a'"),
        ({"models": {1: mlp(), "1": mlp()}}, ValueError, "models has two models of the same name"),
        ({"models": {"a": 3, "b": mlp()}}, TypeError, "model 'a' must be a torch.nn.Module, got int"),
        (
            {"models": {"a": Named("b/c", "x"), "a/b": Named("c", "x")}},
            ValueError,
            "layer 'b/c' of model 'a' and layer 'c' of model 'a/b' are both 'a/b/c': rename a model",
        ),
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
