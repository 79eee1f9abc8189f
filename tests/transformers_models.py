# SPDX-License-Identifier: BSD-3-Clause
"""Tiny models of transformers with random weights, one of each kind of architecture."""

from __future__ import annotations

import sys

import torch

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):  # one that does not fit torch; transformers can do without
    sys.modules["torchvision"] = None
import transformers as hf

N, LENGTH = 8, 17
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TEXT = {**SIZE, "vocab_size": 50, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2}
VISION = {**SIZE, "image_size": 32, "patch_size": 8}  # 16 patches and a class token: as many as LENGTH
IDS = torch.randint(3, 50, (N, LENGTH), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(LENGTH) < 5 + torch.arange(N)[:, None]).long()
TEXTS = {"input_ids": IDS, "attention_mask": MASK}
IMAGES = {"pixel_values": torch.randn(N, 3, 32, 32, generator=torch.Generator().manual_seed(1))}


def model(name):
    torch.manual_seed(0)
    gpt2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 64}
    t5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": 50}
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    swin = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    makers = {
        "bert": lambda: hf.BertModel(hf.BertConfig(**TEXT)),
        "gpt2": lambda: hf.GPT2Model(hf.GPT2Config(**gpt2, **ends)),
        "llama": lambda: hf.LlamaModel(hf.LlamaConfig(**TEXT, num_key_value_heads=2)),
        "t5": lambda: hf.T5Model(hf.T5Config(**t5)),
        "clip vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**VISION)),
        "clip": lambda: hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=VISION)),
        "swin": lambda: hf.SwinModel(hf.SwinConfig(**swin, window_size=4)),
        "convnext": lambda: hf.ConvNextModel(
            hf.ConvNextConfig(hidden_sizes=[6, 12], depths=[1, 1], num_stages=2)
        ),
    }
    return makers[name]().eval()


def batch(name):
    images = {} if name in ("bert", "gpt2", "llama", "t5") else IMAGES
    texts = {} if name in ("clip vision", "swin", "convnext") else TEXTS
    decoder = {"decoder_input_ids": IDS.flip(0)} if name == "t5" else {}
    return {**texts, **images, **decoder}
