# SPDX-License-Identifier: BSD-3-Clause
"""Layers are chosen by name, glob, regular expression or type, and what fits nothing is explained."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import Encoder, Repeated, mlp, samples, texts  # noqa: E402

import fastcka  # noqa: E402


def chosen(model, batches, layers):
    return list(fastcka.torch.extract(model, batches, layers, pool="mean", progress=False))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("embed", ["embed"]),
        ("blocks.*.linear1", ["blocks.0.linear1", "blocks.1.linear1"]),
        ("blocks.?", ["blocks.0", "blocks.1"]),
        ("blocks.[1-9]", ["blocks.1"]),
        ("re:blocks\\.\\d", ["blocks.0", "blocks.1"]),
        ("re:(?:embed|pooler)", ["embed", "pooler"]),
        (nn.Embedding, ["embed"]),
        (nn.TransformerEncoderLayer, ["blocks.0", "blocks.1"]),
        (["pooler", nn.Embedding, "blocks.1"], ["embed", "blocks.1", "pooler"]),  # as they ran
        (("embed", "embed", "emb*"), ["embed"]),
        ("output:pooler_output", ["output:pooler_output"]),
        ("re:output:pooler.*", ["output:pooler_output"]),
    ],
)
def test_choice(layers, expected):
    assert chosen(Encoder(), texts(), layers) == expected


def test_calls_are_chosen_by_globs_and_regular_expressions_that_speak_of_them():
    assert chosen(Repeated(), [samples()], "re:ac.*#[02]") == ["act#0", "act#2"]
    assert chosen(Repeated(), [samples()], "re:ac.*") == ["act"]
    assert chosen(Repeated(), [samples()], ["a*#1"]) == ["act#1"]


def test_a_star_chooses_all_modules_that_give_tensors_and_not_the_output_again():
    found = chosen(Encoder(), texts(), "*")
    assert found[0] == "embed"
    assert found[-1] == "pooler"
    assert {"blocks.0.self_attn", "blocks.1.norm2", "blocks.1"} < set(found)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("poler", "layers: no layer fits 'poler'; near matches: 'pooler'"),
        ("layer1", "layers: no layer fits 'layer1'; the model has: 'embed', 'blocks', .* in all"),
        ("blocks.*.linear7", r"no layer fits 'blocks.\*.linear7'; near matches: 'blocks.0.linear"),
        ("re:linear", "no layer fits 're:linear'; near matches: 'blocks.0.linear1'"),
        (["embed", "poler"], "no layer fits 'poler'"),
        ("embed#1", "no layer fits 'embed#1'; near matches: 'embed'"),
        ("output:logits", "no layer fits 'output:logits'; near matches: 'output:"),
        (nn.Conv2d, "no module of type Conv2d; it has Dropout, Embedding, LayerNorm, Linear, ModuleList"),
    ],
)
def test_what_fits_nothing_is_an_error_with_near_matches(layers, message):
    with pytest.raises(ValueError, match=message):
        chosen(Encoder(), texts(), layers)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (3, TypeError, "layers must be a layer name, a glob such as .*, got int"),
        ([], TypeError, r"layers must be .*, got \[\]"),
        (["0", 1], TypeError, "layers has an entry that is neither a name nor a module type: 1"),
        ([int], TypeError, "neither a name nor a module type"),
        ({"0": 1}, TypeError, "layers must be .*, got dict"),
        ("re:(", ValueError, r"'re:\(' is not a regular expression"),
    ],
)
def test_what_is_no_choice(layers, error, message):
    with pytest.raises(error, match=message):
        chosen(mlp(), [samples()], layers)
