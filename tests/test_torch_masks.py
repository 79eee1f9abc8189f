# SPDX-License-Identifier: BSD-3-Clause
"""Each layer is pooled by the mask of its own sequence, also where another one has as many positions."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import Encoder, Seq2Seq, samples, texts  # noqa: E402

import fastcka  # noqa: E402

# Means of a few float32 numbers in two orders of summation.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
N, LENGTH = 6, 5
SOURCE = torch.tensor([[1] * (5 - k % 3) + [0] * (k % 3) for k in range(N)])
TARGET = torch.tensor([[1] * (2 + k % 4) + [0] * (3 - k % 4) for k in range(N)])


def extract(model, loader, layers="*", pool="flatten", **options):
    return fastcka.torch.extract(model, loader, layers, pool=pool, **{"progress": False, **options})


def batch(**masks):
    ids = torch.randint(1, 30, (2, N, LENGTH), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids[0], "decoder_input_ids": ids[1], **masks}


def pooled(x, mask, pool):
    rows = [part[m == 1].detach().numpy() for part, m in zip(x, mask, strict=True)]
    return {
        "mean": lambda: np.stack([row.mean(0) for row in rows]),
        "last": lambda: np.stack([row[-1] for row in rows]),
        "tokens": lambda: np.concatenate(rows),
    }[pool]()


def whole(model, inputs, layer):
    """All positions of a layer."""
    return torch.from_numpy(extract(model, [inputs], layer, lambda x: x.flatten(1))[layer]).reshape(
        N, LENGTH, -1
    )


BOTH = {"attention_mask": SOURCE, "decoder_attention_mask": TARGET}


@pytest.mark.parametrize("pool", ["mean", "last", "tokens"])
@pytest.mark.parametrize(
    ("layer", "masks", "mask"),
    [
        ("encoder.block.0", BOTH, SOURCE),
        ("decoder.block.0", BOTH, TARGET),
        ("decoder.block.0", {"attention_mask": SOURCE}, torch.ones(N, LENGTH)),
        ("encoder.block.0", {"decoder_attention_mask": TARGET}, torch.ones(N, LENGTH)),
        ("encoder.layer.0", BOTH, SOURCE),  # of the hidden states
        ("decoder.embeddings", BOTH, TARGET),
        ("output", BOTH, TARGET),
        ("output:encoder_last_hidden_state", BOTH, SOURCE),
    ],
)
def test_encoder_and_decoder_have_masks_of_their_own(layer, masks, mask, pool):
    model, inputs = Seq2Seq(), batch(**masks)
    found = extract(model, [inputs], layer, pool)[layer]
    np.testing.assert_allclose(found, pooled(whole(model, inputs, layer), mask, pool), **CLOSE)


@pytest.mark.parametrize(
    ("layer", "given"),
    [
        ("encoder.layers.0", {"src": SOURCE, "tgt": TARGET}),
        ("encoder.layers.0", {"memory": SOURCE, "tgt": TARGET}),
        ("encoder.layers.0", {"src": SOURCE, "memory": TARGET}),
        ("decoder.layers.0", {"src": SOURCE, "tgt": TARGET, "memory": SOURCE}),
        ("decoder.layers.0.multihead_attn", {"src": SOURCE, "tgt": TARGET, "memory": SOURCE}),
        ("decoder.layers.0", {"src": SOURCE}),
        ("output", {"src": SOURCE, "tgt": TARGET}),
    ],
)
def test_masks_of_the_transformer_of_torch(layer, given):
    torch.manual_seed(0)
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    inputs = {"src": samples(N, LENGTH, 8), "tgt": samples(N, LENGTH, 8, seed=2)}
    inputs |= {f"{name}_key_padding_mask": mask == 0 for name, mask in given.items()}
    own = given.get("tgt") if layer[0] in "do" else given.get("src", given.get("memory"))
    own = torch.ones(N, LENGTH) if own is None else own
    found = extract(model, [inputs], layer, "mean")[layer]
    np.testing.assert_allclose(found, pooled(whole(model, inputs, layer), own, "mean"), **CLOSE)


def test_classes_of_torch_tell_the_side_where_names_do_not():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.write = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)

        def forward(self, src, tgt):
            return self.write(tgt, self.read(src))

    model = Parts()
    inputs = {"src": samples(N, LENGTH, 8), "tgt": samples(N, LENGTH, 8, seed=2)}
    inputs |= {"src_key_padding_mask": SOURCE == 0, "tgt_key_padding_mask": TARGET == 0}
    found = extract(model, [inputs], ["read.linear1", "write.linear1"], "mean")
    for layer, mask in (("read.linear1", SOURCE), ("write.linear1", TARGET)):
        np.testing.assert_allclose(found[layer], pooled(whole(model, inputs, layer), mask, "mean"), **CLOSE)


def test_layers_between_encoder_and_decoder_have_the_mask_of_what_came_in():
    model, inputs = Seq2Seq(), batch(**BOTH)
    layers = {"decoder.cross_attn.k_proj": SOURCE, "lm_head": TARGET, "shared": TARGET, "shared#0": SOURCE}
    found = extract(model, [inputs], list(layers), "mean")
    for layer, mask in layers.items():
        expected = pooled(whole(model, inputs, layer), mask, "mean")
        np.testing.assert_allclose(found[layer], expected, **CLOSE)


class Wrapped(nn.Module):
    """Its decoder reads `input_ids`, too."""

    def __init__(self):
        super().__init__()
        self.net = Seq2Seq()

    def forward(self, input_ids):
        return self.net(input_ids)


def test_a_decoder_that_reads_the_inputs_of_the_encoder_has_their_mask():
    inputs = {"input_ids": batch()["input_ids"], "attention_mask": SOURCE}
    layers = ["net.encoder.block.0", "net.decoder.block.0"]
    found = extract(Wrapped(), [inputs], layers, "mean")
    for layer in layers:
        expected = pooled(whole(Wrapped(), inputs, layer), SOURCE, "mean")
        np.testing.assert_allclose(found[layer], expected, **CLOSE)


class TwoInputs(nn.Module):
    """What nothing follows: an einsum."""

    def __init__(self):
        super().__init__()
        self.text, self.image, self.mixed = nn.Embedding(30, 8), nn.Conv2d(3, 8, 8, 8), nn.Identity()

    def forward(self, input_ids, pixel_values):
        self.image(pixel_values)
        return self.mixed(torch.einsum("npf,fg->npg", self.text(input_ids), torch.eye(8)))


def test_mask_says_whose_mask_is_for_whom():
    pictures = {"pixel_values": samples(N, 3, 8, 40)}  # as many patches as tokens
    inputs = {**batch(attention_mask=SOURCE), **pictures}
    found = extract(TwoInputs(), [inputs], ["text", "image"], "mean")
    expected = pooled(whole(TwoInputs(), inputs, "text"), SOURCE, "mean")
    assert found["text"].shape == expected.shape
    image = TwoInputs().image
    model = TwoInputs()
    model.image = image
    found = extract(model, [inputs], "image", "mean")["image"]
    expected = image(pictures["pixel_values"]).mean((2, 3)).detach()
    np.testing.assert_allclose(found, expected, **CLOSE)
    with pytest.raises(ValueError, match=r"'mixed': .*from which input its positions come.* mask="):
        extract(model, [inputs], "mixed", "mean", axes={"mixed": "npf"})
    x = whole(model, inputs, "mixed")
    for key, mask in (("attention_mask", SOURCE), (None, torch.ones(N, LENGTH))):
        found = extract(model, [inputs], "mixed", "mean", axes={"mixed": "npf"}, mask={"mix*": key})["mixed"]
        np.testing.assert_allclose(found, pooled(x, mask, "mean"), **CLOSE)
    own = {**inputs, "which": TARGET}
    found = extract(model, [own], "mixed", "mean", axes={"mixed": "npf"}, mask={"mixed": "which"})["mixed"]
    np.testing.assert_allclose(found, pooled(x, TARGET, "mean"), **CLOSE)
    with pytest.raises(ValueError, match="mask: a batch has no mask 'other'"):
        extract(model, [inputs], "mixed", "mean", axes={"mixed": "npf"}, mask={"mixed": "other"})
    with pytest.raises(TypeError, match="mask must be a mapping"):
        extract(model, [inputs], "mixed", "mean", mask="attention_mask")


@pytest.mark.parametrize("layer", ["encoder.block.0", "decoder.layer.0"])
def test_padding_is_never_flattened(layer):
    with pytest.raises(
        ValueError, match=rf"layer '{layer}': pool='flatten' .*'mean', 'last', 'cls', 'tokens'"
    ):
        extract(Seq2Seq(), [batch(**BOTH)], layer)
    ones = {name: torch.ones(N, LENGTH) for name in BOTH}  # nothing is padded
    assert extract(Seq2Seq(), [batch(**ones)], layer)[layer].shape == (N, LENGTH * 8)


def test_a_decoder_by_itself_has_the_only_mask():
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = nn.Embedding(30, 8)

        def forward(self, input_ids, attention_mask=None):
            return self.decoder(input_ids)

    model, inputs = Decoder(), {"input_ids": batch()["input_ids"]}
    x = whole(model, inputs, "decoder")
    other = {"decoder_attention_mask": TARGET}  # of another model that gets the same batches
    for masks, mask in (({"attention_mask": SOURCE}, SOURCE), (BOTH, SOURCE), (other, torch.ones(N, LENGTH))):
        found = extract(model, [{**inputs, **masks}], "decoder", "mean")["decoder"]
        np.testing.assert_allclose(found, pooled(x, mask, "mean"), **CLOSE)


def test_a_head_that_is_called_decoder_is_none():
    class MaskedLanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.ModuleDict({"embeddings": nn.Embedding(30, 8), "encoder": nn.Linear(8, 8)})
            self.head = nn.ModuleDict({"decoder": nn.Linear(8, 30)})

        def forward(self, input_ids, attention_mask=None):
            return self.head["decoder"](self.body["encoder"](self.body["embeddings"](input_ids)))

    model, inputs = MaskedLanguageModel(), {"input_ids": batch()["input_ids"], "attention_mask": SOURCE}
    layers = ["body.embeddings", "body.encoder", "head.decoder", "output"]
    found = extract(model, [inputs], layers, "mean")
    for layer in layers:
        np.testing.assert_allclose(found[layer], pooled(whole(model, inputs, layer), SOURCE, "mean"), **CLOSE)


def test_functions_get_the_mask_of_their_layer():
    found = extract(
        Seq2Seq(), [batch(**BOTH)], ["encoder.block.0", "decoder.block.0"], lambda x, mask: mask.float()
    )
    np.testing.assert_array_equal(found["encoder.block.0"], SOURCE)
    np.testing.assert_array_equal(found["decoder.block.0"], TARGET)


def test_tokens_of_encoder_and_decoder_are_not_the_same_samples():
    with pytest.warns(UserWarning, match="'decoder.block.0': its positions are those of the decoder, in oth"):
        found = extract(Seq2Seq(), [batch()], ["encoder.block.0", "decoder.*"], "tokens")
    assert list(found) == ["encoder.block.0", "decoder.cross_attn.k_proj"]
    found = extract(Seq2Seq(), [batch(**BOTH)], "decoder.layer.*", "tokens", ids=list("abcdef"))
    assert found.ids == tuple(f"{'abcdef'[i]}:{k}" for i, k in TARGET.nonzero().tolist())


def test_tokens_of_an_encoder_are_not_compared_with_those_of_a_decoder():
    layers = {"layers_a": "encoder.block.0", "layers_b": "decoder.block.0"}
    options = {"pool": "tokens", "progress": False}
    with pytest.raises(ValueError, match="of model_a are of the encoder and those of model_b of the decoder"):
        fastcka.torch.compare(Seq2Seq(), Seq2Seq(1), [batch()], **layers, **options)
    matrix = fastcka.torch.compare(
        Encoder(), Seq2Seq(), [batch()], layers_a="blocks.0", layers_b="decoder.block.0", **options
    )
    assert matrix.n_samples == N * LENGTH


def test_one_batch_for_an_encoder_and_for_an_encoder_with_a_decoder():
    inputs = [{**part, **BOTH, "decoder_input_ids": part["input_ids"]} for part in texts(12, LENGTH, N)]
    layers = {"layers_a": "blocks.0", "layers_b": ["encoder.block.0", "decoder.block.0"]}
    matrix = fastcka.torch.compare(Encoder(), Seq2Seq(), inputs, pool="mean", progress=False, **layers)
    a, b = (
        extract(m, inputs, k, "mean") for m, k in zip((Encoder(), Seq2Seq()), layers.values(), strict=True)
    )
    np.testing.assert_array_equal(matrix, fastcka.cka_matrix(a, b))
