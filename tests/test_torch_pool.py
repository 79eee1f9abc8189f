# SPDX-License-Identifier: BSD-3-Clause
"""How activations become rows: each pooling against a loop over samples and positions."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import Encoder, Residual, mlp, samples, texts  # noqa: E402

import fastcka  # noqa: E402

# Means of a few float32 numbers in two orders of summation.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def extract(model, loader, layers="*", pool="flatten", **options):
    if isinstance(model, Masked):  # nothing in it says what the axes of its input are
        options.setdefault("axes", {"*": "npf"})
    return fastcka.torch.extract(model, loader, layers, pool=pool, **{"progress": False, **options})


class Masked(nn.Module):
    """Passes its input on; what the mask hides is NaN, so that nothing of it may get into a result."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x):
        return self.layer(x)


def masked_batch():
    x = samples(6, 5, 4)
    mask = torch.tensor(
        [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0] * 4 + [1]]
    )
    return x.masked_fill(mask[:, :, None] == 0, float("nan")), mask


def kept(x, mask):
    return [rows[m == 1].numpy() for rows, m in zip(x, mask, strict=True)]


EXPECTED = {
    "mean": lambda samples: np.stack([rows.mean(0) for rows in samples]),
    "last": lambda samples: np.stack([rows[-1] for rows in samples]),
    "tokens": np.concatenate,
}


@pytest.mark.parametrize("pool", EXPECTED)
@pytest.mark.parametrize("key", ["attention_mask", "src_key_padding_mask"])
@pytest.mark.parametrize("takes_mask", [False, True])
def test_masked_positions_do_not_count(pool, key, takes_mask):
    x, mask = masked_batch()
    model = Masked()
    if takes_mask:
        model.forward = {
            "attention_mask": lambda x, attention_mask: model.layer(x),
            "src_key_padding_mask": lambda x, src_key_padding_mask: model.layer(x),
        }[key]
    batch = {"x": x, key: mask if key == "attention_mask" else mask == 0}
    found = extract(model, [batch], pool=pool)
    np.testing.assert_allclose(found["layer"], EXPECTED[pool](kept(x, mask)), **CLOSE)


def test_a_mask_given_by_position_counts_too():
    x, mask = masked_batch()
    model = Masked()
    model.forward = lambda x, attention_mask: model.layer(x)
    np.testing.assert_allclose(
        extract(model, [(x, mask)], pool="mean")["layer"], EXPECTED["mean"](kept(x, mask)), **CLOSE
    )


@pytest.mark.parametrize("pool", EXPECTED)
def test_without_a_mask_all_positions_count(pool):
    x = samples(6, 5, 4)
    found = extract(Masked(), [x], pool=pool)["layer"]
    np.testing.assert_allclose(found, EXPECTED[pool](kept(x, torch.ones(6, 5))), **CLOSE)


def test_cls_gap_flatten():
    x, maps = samples(6, 5, 4), samples(6, 3, 4, 2)
    np.testing.assert_array_equal(extract(Masked(), [x], pool="cls")["layer"], x[:, 0])
    np.testing.assert_allclose(
        extract(Masked(), [maps], pool="gap", axes={"*": "ncpp"})["layer"], maps.numpy().mean((2, 3)), **CLOSE
    )
    np.testing.assert_array_equal(extract(Masked(), [maps], axes=None)["layer"], maps.reshape(6, 24))
    channels_last = maps.to(memory_format=torch.channels_last)
    np.testing.assert_array_equal(extract(Masked(), [channels_last], axes=None)["layer"], maps.reshape(6, 24))


@pytest.mark.parametrize("pool", ["flatten", "mean", "gap", "cls", "last"])
def test_activations_without_positions_stay_as_they_are(pool):
    x = samples()
    np.testing.assert_array_equal(extract(mlp(), [x], "0", pool)["0"], extract(mlp(), [x], "0")["0"])
    np.testing.assert_array_equal(extract(Masked(), [x[:, 0]], pool=pool, axes=None)["layer"], x[:, :1])


def test_means_of_half_precision_are_made_in_float32():
    x = samples(3, 4000, 2).to(torch.bfloat16) + 8  # in bfloat16 a sum of 4000 would stand still at 2048
    found = extract(Masked(), [x], pool="mean")["layer"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, x.double().mean(1), rtol=1e-5)


def test_functions_get_the_mask_if_they_ask_for_it():
    x, mask = masked_batch()
    batch = {"x": x, "attention_mask": mask}
    found = extract(Masked(), [batch], pool=lambda a, mask: mask.sum(1, keepdim=True).double())
    np.testing.assert_array_equal(found["layer"], mask.sum(1, keepdim=True))
    x = samples(6, 5, 4)
    np.testing.assert_array_equal(extract(Masked(), [x], pool=lambda a: a[:, 0].numpy())["layer"], x[:, 0])
    with pytest.raises(
        ValueError, match=r"pool: the function returned shape \(5, 4\) for layer 'layer', from"
    ):
        extract(Masked(), [x], pool=lambda a: a[0])


def test_a_mapping_pools_each_layer_by_the_first_pattern_that_fits():
    x = samples(4, 3, 6, 6)
    found = extract(Residual(), [x], pool={"conv": "gap", "n*": "flatten", "*": "gap"})
    assert {name: X.shape[1] for name, X in found.items()} == {"conv": 3, "norm": 108, "relu": 3}
    with pytest.raises(ValueError, match="pool has no entry for layer 'norm': add one, or '"):
        extract(Residual(), [x], pool={"conv": "gap"})


def test_tokens_are_named_by_sample_and_position():
    batches = texts(4, 3, batch_size=2)
    found = extract(Encoder(), batches, "blocks.*", "tokens", ids="sample")
    expected = [
        f"{s}:{k}"
        for b in batches
        for s, m in zip(b["sample"], b["attention_mask"], strict=True)
        for k in range(3)
        if m[k]
    ]
    assert found.ids == tuple(expected)
    assert found.n_samples == len(expected) == len(found["blocks.0"])
    assert extract(Encoder(), batches, "embed", "tokens").ids[-1] == "3:2"
    cut = extract(Encoder(), batches, "blocks.*", "tokens", ids="sample", max_samples=3)
    assert cut.ids == tuple(i for i in expected if not i.startswith("103"))


def test_layers_whose_positions_are_others_are_left_out():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse, self.pooled = nn.Identity(), nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.pooled(self.coarse(self.fine(x)[:, ::2])[:, 0])

    axes = {"fine": "npf", "coarse": "npf"}
    with pytest.warns(UserWarning, match="'coarse': it has 3 positions, other layers 5; layer 'pooled'"):
        assert list(extract(Pyramid(), [samples(4, 5, 6)], pool="tokens", axes=axes)) == ["fine"]
    batch = {"x": samples(4, 5, 6), "attention_mask": torch.ones(4, 5)}
    with pytest.warns(UserWarning, match="'coarse': it has 3 positions, the mask of the batch 5"):
        assert list(extract(Pyramid(), [batch], pool="mean", axes=axes)) == ["fine", "pooled"]


@pytest.mark.parametrize("pool", ["cls", "last", "tokens"])
def test_convolution_maps_have_no_order_of_positions(pool):
    with pytest.raises(ValueError, match=rf"layer 'conv': '{pool}' needs one axis of positions, it has 2"):
        extract(Residual(), [samples(4, 3, 6, 6)], "conv", pool)


@pytest.mark.parametrize("pool", ["mean", "last", "tokens"])
def test_a_sample_without_any_position_is_named(pool):
    batch = {"x": samples(2, 3, 4), "attention_mask": torch.tensor([[1, 1, 0], [0, 0, 0]])}
    with pytest.raises(ValueError, match="the mask leaves no position of sample 1 of the batch"):
        extract(Masked(), [batch], pool=pool)


@pytest.mark.parametrize(
    ("pool", "error", "message"),
    [
        ("avg", ValueError, "unknown pool 'avg': known are 'cls', 'flatten'"),
        (3, TypeError, "pool must be one of 'cls'"),
        ({}, ValueError, "pool is an empty mapping"),
        ({"a": "tokens", "*": "mean"}, ValueError, "pool mixes 'tokens'"),
    ],
)
def test_unknown_poolings(pool, error, message):
    with pytest.raises(error, match=message):
        extract(mlp(), [samples()], pool=pool)


# -------------------------------------------------------------------------------------------- named axes

X3, MAP = samples(6, 3, 8, 8), samples(6, 8, 8, 3)


class Swin(nn.Module):
    """Channels last, as in Swin Transformers and inside of ConvNeXt blocks."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.mlp = nn.Conv2d(3, 4, 2, 2), nn.LayerNorm(4), nn.Linear(4, 4)
        self.block = nn.Identity()
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        x = self.block(x + self.mlp(self.norm(x)))
        return self.depthwise(x.permute(0, 3, 1, 2))


@pytest.mark.parametrize("pool", ["gap", "mean"])
def test_positions_of_maps_are_averaged_wherever_they_are(pool):
    model, outputs = Swin(), {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda m, a, y, name=name: outputs.update({name: y.detach().numpy()}))
    found = extract(model, [X3], pool=pool)
    for name, y in outputs.items():
        axes = (2, 3) if name in ("stem", "depthwise") else (1, 2)
        np.testing.assert_allclose(found[name], y.mean(axes), **CLOSE)


class Tokens(nn.Module):
    """A ViT: patches, a class token, blocks; the tokens are positions."""

    def __init__(self):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 6, 2, 2), nn.Parameter(torch.zeros(1, 1, 6))
        self.block = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.block(torch.cat([self.token.expand(len(x), -1, -1), x], 1))


def test_tokens_of_a_vision_transformer_are_positions():
    y = extract(Tokens(), [X3], "block", lambda x: x.flatten(1))["block"].reshape(6, 17, 6)
    model = Tokens()
    y = model.eval()(X3).detach().numpy()
    for pool in ("gap", "mean"):
        np.testing.assert_allclose(extract(model, [X3], "block", pool)["block"], y.mean(1), **CLOSE)
    np.testing.assert_allclose(extract(model, [X3], "block", "cls")["block"], y[:, 0], **CLOSE)
    assert extract(model, [X3], "*", "mean")["patch"].shape == (6, 6)


@pytest.mark.parametrize("pool", ["mean", "gap", "last", "tokens"])
def test_convolutions_over_time_have_their_channels_first(pool):
    x = samples(6, 5, 9)
    model = nn.Sequential(nn.Conv1d(5, 4, 3), nn.BatchNorm1d(4), nn.GELU(), nn.MaxPool1d(2))
    found = extract(model, [x], ["0", "2", "3"] if pool != "tokens" else ["0", "1", "2"], pool)
    y = model[0](x).detach().numpy()
    rows = {
        "mean": y.mean(2),
        "gap": y.mean(2),
        "last": y[:, :, -1],
        "tokens": y.swapaxes(1, 2).reshape(-1, 4),
    }
    np.testing.assert_allclose(found["0"], rows[pool], **CLOSE)
    assert {X.shape[1] for X in found.values()} == {4}


class PositionsFirst(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.layer = {
            "lstm": lambda: nn.LSTM(4, 6),
            "gru": lambda: nn.GRU(4, 6),
            "attention": lambda: nn.MultiheadAttention(4, 2),
            "encoder": lambda: nn.TransformerEncoderLayer(4, 2, 8),
        }[kind]()

    def forward(self, x):
        x = x.transpose(0, 1)
        found = self.layer(x, x, x) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(x)
        return found[0][-1] if isinstance(found, tuple) else found[-1]


@pytest.mark.parametrize("kind", ["lstm", "gru", "attention", "encoder"])
@pytest.mark.parametrize("length", [8, 5])
def test_positions_first_gives_the_rows_of_samples(kind, length):
    model, x = PositionsFirst(kind).eval(), samples(16, length, 4)
    found = extract(model, x.split(8), "layer", "mean")["layer"]
    rows = [[] for _ in range(16)]
    for i in range(16):  # one by one, no sample can be mixed with another
        layer, one = model.layer, x[i : i + 1].transpose(0, 1)
        y = layer(one, one, one) if kind == "attention" else layer(one)
        rows[i] = (y[0] if isinstance(y, tuple) else y)[:, 0].mean(0).detach().numpy()
    np.testing.assert_allclose(found, rows, rtol=1e-4, atol=1e-5)
    if kind in ("lstm", "gru"):
        part = "layer:1.0" if kind == "lstm" else "layer:1"
        assert extract(model, x.split(8), part)[part].shape == (16, 6)


def test_a_module_that_takes_the_samples_for_positions_is_an_error():
    x = samples(8, 8, 4)
    model = nn.Sequential(nn.LSTM(4, 6))
    with pytest.raises(ValueError, match=r"layer '0': batch_first=False, but the samples .*axes="):
        extract(model, [x], "0", "mean")
    assert extract(model, [x], "0", "mean", axes={"0": "npf"})["0"].shape == (8, 6)


@pytest.mark.parametrize(
    ("axes", "error", "message"),
    [
        ("npf", TypeError, "axes must be a mapping"),
        ({"layer": "nqf"}, ValueError, "axes: 'nqf' for 'layer'"),
        ({"layer": "npp" + "n"}, ValueError, "axes: 'nppn' for 'layer'"),
        (
            {"layer": "nf"},
            ValueError,
            r"layer 'layer': its shape is \(6, 5, 4\), which does not fit its axes 'nf'",
        ),
    ],
)
def test_axes_that_are_none(axes, error, message):
    with pytest.raises(error, match=message):
        extract(Masked(), [samples(6, 5, 4)], "layer", axes=axes)
