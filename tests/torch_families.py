# SPDX-License-Identifier: BSD-3-Clause
"""Families of architectures, and what the axes of each of their layers are: written down, not found out.

Where a class of transformers exists, it is the real one with random weights. A family says of every layer
which letters its axes have (n samples, p positions, c or f features) and which positions count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers_models import IDS, IMAGES, MASK, SIZE, TEXTS, N, hf, model


@dataclass(frozen=True)
class Family:
    """A model, its batch, and the truth about the output `y` of the module called `name`."""

    name: str
    make: Callable[[], nn.Module]
    batch: dict[str, torch.Tensor] | torch.Tensor
    axes: Callable[[str, nn.Module, torch.Tensor], str | None]  # None: no rows of samples
    mask: Callable[[str], torch.Tensor | None] = lambda name: None


def text(name, module, y):
    """Return what the outputs of text models are: (samples, positions, features), or pooled."""
    if len(y) != N:
        return None  # position embeddings, the same for all samples
    return {2: "nf", 3: "npf"}.get(y.ndim)


def image(name, module, y):
    """Return what the outputs of a ViT are: patches after the first convolution."""
    if isinstance(module, nn.AdaptiveAvgPool1d):
        return "ncp"
    return "ncpp" if isinstance(module, nn.Conv2d) else text(name, module, y)


def convnext(name, module, y):
    last = isinstance(module, nn.Linear | nn.LayerNorm) or name.endswith(("act", "activation_fn"))
    return "ncpp"[: y.ndim] if y.ndim < 4 or not (last and y.shape[1] == y.shape[2]) else "nppf"


def resnet(name, module, y):
    return {2: "nc", 4: "ncpp"}[y.ndim]


def audio(name, module, y):
    """Return what the outputs of an audio model are: channels first in its convolutions."""
    if len(y) != N:
        return None
    if isinstance(module, nn.Conv1d | nn.GroupNorm) or "pos_conv_embed." in name:
        return "ncp"
    if "feature_extractor" in name and y.shape[1] == 32:
        return "ncp"
    return {2: "nf", 3: "npf"}.get(y.ndim)


class Recurrent(nn.Module):
    """Positions first, torch's default, and as many of them as samples."""

    def __init__(self, kind, batch_first):
        super().__init__()
        torch.manual_seed(0)
        self.batch_first = batch_first
        self.layer = kind(6, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = x if self.batch_first else x.transpose(0, 1)
        return self.head(self.layer(x)[0])


class Encoder(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        torch.manual_seed(0)
        self.batch_first = batch_first
        layer = nn.TransformerEncoderLayer(6, 2, 12, batch_first=batch_first, dropout=0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x, src_key_padding_mask=None):
        x = x if self.batch_first else x.transpose(0, 1)
        return self.encoder(x, src_key_padding_mask=src_key_padding_mask)


class Time(nn.Module):
    """Convolutions over time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.steps = nn.Sequential(
            nn.Conv1d(6, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 4, 3)
        )

    def forward(self, x):
        return self.steps(x.transpose(1, 2))


def first_or_not(batch_first):
    def axes(name, module, y):
        return None if y.ndim != 3 else "npf" if batch_first else "pnf"

    return axes


SERIES = torch.randn(N, N, 6, generator=torch.Generator().manual_seed(2))
PADDING = torch.arange(N)[None] > 3 + torch.arange(N)[:, None] % 4
SPEECH = {"input_values": torch.randn(N, 200, generator=torch.Generator().manual_seed(3))}
MEL = {
    "input_features": torch.randn(N, 10, 40, generator=torch.Generator().manual_seed(4)),
    "decoder_input_ids": IDS,
    "decoder_attention_mask": MASK,
}


def wav2vec2():
    torch.manual_seed(0)
    sizes = {"conv_dim": (32, 32), "conv_stride": (3, 2), "conv_kernel": (4, 3), "num_conv_pos_embeddings": 4}
    groups = {"num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2}
    return hf.Wav2Vec2Model(hf.Wav2Vec2Config(**SIZE, **sizes, **groups)).eval()


def whisper():
    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    more = {"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 10}
    ends = {"vocab_size": 50, "max_source_positions": 20, "max_target_positions": 20, "pad_token_id": 0}
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return hf.WhisperModel(hf.WhisperConfig(**sizes, **more, **ends, **tokens)).eval()


def hf_resnet():
    torch.manual_seed(0)
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    return hf.ResNetModel(config).eval()


def masked(name: str) -> torch.Tensor:
    return MASK


CROSS = (
    "EncDecAttention.k",
    "EncDecAttention.v",
    "encoder_attn.k_proj",
    "encoder_attn.v_proj",
)  # of the encoder's


def two_towers(name, module, y):
    return image(name, module, y) if name.startswith("vision") else text(name, module, y)


def of_text(name):
    return MASK if name.startswith("text") else None


def of_decoder(name):
    return MASK if name.startswith("decoder") and not name.endswith(CROSS) else None


def of_encoder(name):
    return MASK if name.startswith("encoder") or name.endswith(CROSS) else None


def sequence_to_sequence(name, module, y):
    return audio(name, module, y) if name.startswith("encoder") else text(name, module, y)


FAMILIES = [
    Family("BERT", lambda: model("bert"), TEXTS, text, masked),
    Family("GPT-2", lambda: model("gpt2"), TEXTS, text, masked),
    Family("Llama", lambda: model("llama"), TEXTS, text, masked),
    Family("T5", lambda: model("t5"), {**TEXTS, "decoder_input_ids": IDS.flip(0)}, text, of_encoder),
    Family("CLIP", lambda: model("clip"), {**TEXTS, **IMAGES}, two_towers, of_text),
    Family("SigLIP", lambda: model("siglip"), {**TEXTS, **IMAGES}, two_towers, of_text),
    Family("ViT (CLIP's)", lambda: model("clip vision"), IMAGES, image),
    Family("Swin", lambda: model("swin"), IMAGES, image),
    Family("ConvNeXt", lambda: model("convnext"), IMAGES, convnext),
    Family("ResNet", hf_resnet, IMAGES, resnet),
    Family("wav2vec 2.0", wav2vec2, SPEECH, audio),
    Family("Whisper", whisper, MEL, sequence_to_sequence, of_decoder),
    Family("LSTM, positions first", lambda: Recurrent(nn.LSTM, False), SERIES, first_or_not(False)),
    Family("GRU, samples first", lambda: Recurrent(nn.GRU, True), SERIES, first_or_not(True)),
    Family(
        "Transformer, positions first",
        lambda: Encoder(False).eval(),
        {"x": SERIES, "src_key_padding_mask": PADDING},
        first_or_not(False),
        lambda name: ~PADDING,
    ),
    Family(
        "Transformer, samples first",
        lambda: Encoder(True).eval(),
        {"x": SERIES, "src_key_padding_mask": PADDING},
        first_or_not(True),
        lambda name: ~PADDING,
    ),
    Family("Conv1d over time", lambda: Time().eval(), SERIES, lambda name, module, y: "ncp"),
]


def pooled(y: Any, letters: str, mask: Any, how: str) -> Any:
    """Return the rows of one layer, sample by sample."""
    y, letters = y.movedim(letters.index("n"), 0), letters.replace("n", "")
    rows = []
    for i, x in enumerate(y.double()):
        places = [k for k, letter in enumerate(letters) if letter == "p"]
        if how == "flatten" or not places:
            rows.append(x.flatten())
            continue
        x = x.movedim(places, list(range(len(places)))).flatten(0, len(places) - 1).flatten(1)
        x = x if mask is None else x[mask[i].bool()]
        if how == "tokens":
            rows += list(x)
        else:
            rows.append({"mean": x.mean(0), "gap": x.mean(0), "cls": x[0], "last": x[-1]}[how])
    return torch.stack(rows)
