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


def extract(*args, **options):
    return fastcka.torch.extract(*args, **{"progress": False, **options})


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
        extract(Masked(), [maps], pool="gap")["layer"], maps.numpy().mean((2, 3)), **CLOSE
    )
    np.testing.assert_array_equal(extract(Masked(), [maps])["layer"], maps.reshape(6, 24))
    channels_last = maps.to(memory_format=torch.channels_last)
    np.testing.assert_array_equal(extract(Masked(), [channels_last])["layer"], maps.reshape(6, 24))


@pytest.mark.parametrize("pool", ["flatten", "mean", "gap", "cls", "last"])
def test_activations_without_positions_stay_as_they_are(pool):
    x = samples()
    np.testing.assert_array_equal(extract(mlp(), [x], "0", pool)["0"], extract(mlp(), [x], "0")["0"])
    np.testing.assert_array_equal(extract(Masked(), [x[:, 0]], pool=pool)["layer"], x[:, :1])


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
    cut = extract(Encoder(), batches, "blocks.*", "tokens", ids="sample", n_samples=3)
    assert cut.ids == tuple(i for i in expected if not i.startswith("103"))


def test_layers_whose_positions_are_others_are_left_out():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse, self.pooled = nn.Identity(), nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.pooled(self.coarse(self.fine(x)[:, ::2])[:, 0])

    with pytest.warns(UserWarning, match="'coarse': it has 3 positions, earlier layers 5; layer 'pooled'"):
        assert list(extract(Pyramid(), [samples(4, 5, 6)], pool="tokens")) == ["fine"]
    batch = {"x": samples(4, 5, 6), "attention_mask": torch.ones(4, 5)}
    with pytest.warns(UserWarning, match="'coarse': it has 3 positions, the mask of the batch 5"):
        assert list(extract(Pyramid(), [batch], pool="mean")) == ["fine", "pooled"]


@pytest.mark.parametrize("pool", ["mean", "cls", "last", "tokens"])
def test_convolution_maps_have_no_positions(pool):
    with pytest.raises(
        ValueError, match=rf"layer 'conv': '{pool}' needs activations \(batch, positions, features\)"
    ):
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
