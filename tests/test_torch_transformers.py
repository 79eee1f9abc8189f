# SPDX-License-Identifier: BSD-3-Clause
"""Real architectures of transformers: hidden states, masks and axes against the models' own output."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers_models", exc_type=ImportError)
from torch import nn  # noqa: E402
from torch_families import SPEECH, wav2vec2  # noqa: E402
from transformers_models import IDS, MASK, SEEING, WITH_DECODER, batch, model  # noqa: E402

import fastcka  # noqa: E402

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ONE = ["bert", "gpt2", "llama", "clip vision"]


def extract(net, batches, layers="*", pool="mean", **options):
    return fastcka.torch.extract(net, batches, layers, pool=pool, **{"progress": False, **options})


def masked_mean(x, mask):
    return ((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).detach().numpy()


def expected(output, prefix="", mask=None):
    names = ["embeddings", *(f"layer.{k}" for k in range(len(output) - 1))]
    masks = torch.ones(output[0].shape[:2]) if mask is None else mask
    return {f"{prefix}{name}": masked_mean(x, masks) for name, x in zip(names, output, strict=True)}


def equal(found, wanted):
    assert set(found) == set(wanted)
    for name, X in wanted.items():
        np.testing.assert_allclose(found[name], X, **CLOSE)


@pytest.mark.parametrize("name", ONE)
def test_hidden_states_of_one_stack(name):
    net = model(name)
    states = net(**batch(name), output_hidden_states=True).hidden_states
    equal(
        extract(net, [batch(name)], "hidden_states"), expected(states, mask=None if "clip" in name else MASK)
    )
    assert not net.config.output_hidden_states


@pytest.mark.parametrize("name", WITH_DECODER)
def test_hidden_states_of_an_encoder_and_a_decoder(name):
    net = model(name)
    output = net(**batch(name), output_hidden_states=True)
    wanted = expected(output.encoder_hidden_states, "encoder.", MASK)
    wanted |= expected(output.decoder_hidden_states, "decoder.")  # its inputs have no mask
    equal(extract(net, [batch(name)], "hidden_states"), wanted)
    given = {**batch(name), "decoder_attention_mask": MASK.flip(0)}
    output = net(**given, output_hidden_states=True)
    wanted = expected(output.encoder_hidden_states, "encoder.", MASK)
    wanted |= expected(output.decoder_hidden_states, "decoder.", MASK.flip(0))
    equal(extract(net, [given], "hidden_states"), wanted)
    assert not any(m.config.output_hidden_states for m in net.modules() if hasattr(m, "config"))


@pytest.mark.parametrize("name", SEEING)
def test_hidden_states_of_models_that_see(name):
    net, given = model(name), batch(name)
    output = net(**given, output_hidden_states=True)
    wanted = expected(output.hidden_states, mask=given["attention_mask"])
    seen = net.model.vision_tower(given["pixel_values"], output_hidden_states=True)
    wanted |= expected(seen.hidden_states, "image_outputs.")
    equal(extract(net, [given], "hidden_states"), wanted)


def test_hidden_states_of_two_towers_without_a_mask_for_patches():
    net, given = model("siglip"), batch("siglip")
    output = net(**given, output_hidden_states=True)
    wanted = expected(output.text_model_output.hidden_states, "text_model.", MASK)
    wanted |= expected(output.vision_model_output.hidden_states, "vision_model.")
    equal(extract(net, [given], "hidden_states"), wanted)


def test_two_towers_with_as_many_tokens_as_patches():
    net = model("clip")
    found = extract(net, [batch("clip")], "hidden_states")
    text, vision = net.text_model, net.vision_model
    inputs = {k: v for k, v in batch("clip").items() if k != "pixel_values"}
    wanted = expected(text(**inputs, output_hidden_states=True).hidden_states, "text_model.", MASK)
    output = vision(batch("clip")["pixel_values"], output_hidden_states=True)
    equal(found, wanted | expected(output.hidden_states, "vision_model."))
    layers = ["text_model.encoder.layers.1", "vision_model.encoder.layers.1"]
    modules = extract(net, [batch("clip")], layers)
    for layer, state in zip(layers, ("text_model.layer.1", "vision_model.layer.1"), strict=True):
        np.testing.assert_allclose(modules[layer], found[state], **CLOSE)


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = model("bert"), nn.Linear(32, 2)

    def forward(self, batch):
        return self.head(self.backbone(**batch).last_hidden_state[:, 0])


def test_hidden_states_of_a_backbone_inside_of_a_model_that_takes_one_dict():
    net = Head().eval()
    states = net.backbone(**batch("bert"), output_hidden_states=True).hidden_states
    equal(extract(net, [batch("bert")], "hidden_states"), expected(states, mask=MASK))


@pytest.mark.filterwarnings("ignore:skipped:UserWarning")  # windows of the Swin Transformer
@pytest.mark.parametrize("name", ["swin", "convnext"])
def test_maps_and_tokens_of_image_models_are_averaged_over_positions(name):
    net, shapes = model(name), {}
    for layer, module in net.named_modules():
        module.register_forward_hook(
            lambda m, a, y, layer=layer: shapes.update({layer: y}) if isinstance(y, torch.Tensor) else None
        )
    found = extract(net, [batch(name)], "*", "gap")
    assert len(found) > 12
    for layer, X in found.items():
        if layer not in shapes:  # an output of several tensors
            continue
        y = shapes[layer].detach()
        assert len(y) == len(IDS)
        if y.ndim == 4 and (isinstance(net.get_submodule(layer), nn.Conv2d) or y.shape[1] in (6, 12)):
            y = y.mean((2, 3))
        elif y.ndim == 3 and isinstance(net.get_submodule(layer), nn.AdaptiveAvgPool1d):
            y = y.mean(2)
        elif y.ndim > 2:
            y = y.flatten(1, -2).mean(1)
        np.testing.assert_allclose(X, y, **CLOSE)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_every_layer_of_a_text_model_is_pooled_with_its_mask(name):
    net, seen = model(name), {}
    for layer, module in net.named_modules():
        module.register_forward_hook(
            lambda m, a, y, layer=layer: seen.update({layer: y[0] if isinstance(y, tuple) else y})
        )
    found = extract(net, [batch(name)])
    assert len(found) > 20
    for layer, X in found.items():
        y = seen[layer]
        if isinstance(y, torch.Tensor):
            np.testing.assert_allclose(X, masked_mean(y, MASK) if y.ndim == 3 else y.detach(), **CLOSE)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_padding_is_an_error_where_all_is_flattened(name):
    with pytest.raises(ValueError, match="'flatten' would count padding"):
        extract(model(name), [batch(name)], "hidden_states", "flatten")


def test_frames_of_audio_need_a_mask_of_their_own():
    net = wav2vec2()
    samples = torch.ones(len(IDS), 200, dtype=torch.long)
    samples[:4, 150:] = 0
    given = {**SPEECH, "attention_mask": samples}
    with pytest.raises(ValueError, match="no longer those of input_values, so that attention_mask does not"):
        extract(net, [given], "hidden_states")
    with pytest.raises(ValueError, match=r"no layer returns usable .*no longer those of input_values"):
        extract(net, [given])
    states = net(**given, output_hidden_states=True).hidden_states
    frames = torch.ones(states[0].shape[:2])
    frames[:4, 24:] = 0
    found = extract(net, [{**given, "frames": frames}], "hidden_states", mask={"*": "frames"})
    equal(found, expected(states, mask=frames))
    equal(extract(net, [given], "hidden_states", mask={"*": None}), expected(states))
