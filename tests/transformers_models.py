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
PATCHES = 16
IMAGE_TOKEN = 55  # in the texts of models that are given images, once for each patch
SEEN = {
    "input_ids": torch.cat([torch.full((N, PATCHES), IMAGE_TOKEN), IDS], 1),
    "attention_mask": torch.cat([torch.ones(N, PATCHES, dtype=torch.long), MASK], 1),
}
IMAGES = {"pixel_values": torch.randn(N, 3, 32, 32, generator=torch.Generator().manual_seed(1))}
WITH_DECODER = ("t5", "mt5", "switch", "encoder-decoder")
SEEING = ("llava", "paligemma")


def model(name):
    torch.manual_seed(0)
    gpt2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 64}
    t5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": 50}
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    seeing = {**TEXT, "vocab_size": 60, "pad_token_id": 0}
    swin = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    makers = {
        "bert": lambda: hf.BertModel(hf.BertConfig(**TEXT)),
        "gpt2": lambda: hf.GPT2Model(hf.GPT2Config(**gpt2, **ends)),
        "llama": lambda: hf.LlamaModel(hf.LlamaConfig(**TEXT, num_key_value_heads=2)),
        "t5": lambda: hf.T5Model(hf.T5Config(**t5)),
        "mt5": lambda: hf.MT5ForConditionalGeneration(hf.MT5Config(**t5)),
        "switch": lambda: hf.SwitchTransformersForConditionalGeneration(
            hf.SwitchTransformersConfig(**t5, num_experts=2, num_sparse_encoder_layers=1)
        ),
        "encoder-decoder": lambda: hf.EncoderDecoderModel(
            hf.EncoderDecoderConfig.from_encoder_decoder_configs(
                hf.BertConfig(**TEXT), hf.BertConfig(**TEXT, is_decoder=True, add_cross_attention=True)
            )
        ),
        "llava": lambda: hf.LlavaForConditionalGeneration(
            hf.LlavaConfig(
                vision_config=hf.CLIPVisionConfig(**VISION),
                text_config=hf.LlamaConfig(**seeing, num_key_value_heads=2),
                image_token_index=IMAGE_TOKEN,
                vision_feature_layer=-1,
            )
        ),
        "paligemma": lambda: hf.PaliGemmaForConditionalGeneration(
            hf.PaliGemmaConfig(
                vision_config=hf.SiglipVisionConfig(**VISION),
                text_config=hf.GemmaConfig(**seeing, num_key_value_heads=1, head_dim=16),
                image_token_index=IMAGE_TOKEN,
                projection_dim=32,
                hidden_size=32,
            )
        ),
        "siglip": lambda: hf.SiglipModel(
            hf.SiglipConfig(
                text_config={**SIZE, "vocab_size": 50, "max_position_embeddings": 17}, vision_config=VISION
            )
        ),
        "clip vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**VISION)),
        "clip": lambda: hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=VISION)),
        "swin": lambda: hf.SwinModel(hf.SwinConfig(**swin, window_size=4)),
        "convnext": lambda: hf.ConvNextModel(
            hf.ConvNextConfig(hidden_sizes=[6, 12], depths=[1, 1], num_stages=2)
        ),
    }
    return makers[name]().eval()


def batch(name):
    images = {} if name in ("bert", "gpt2", "llama", *WITH_DECODER) else IMAGES
    texts = {} if name in ("clip vision", "swin", "convnext") else SEEN if name in SEEING else TEXTS
    decoder = {"decoder_input_ids": IDS.flip(0)} if name in WITH_DECODER else {}
    return {**texts, **images, **decoder}
