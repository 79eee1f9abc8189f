# SPDX-License-Identifier: BSD-3-Clause
"""Labels of layers: told apart wherever the names are, short, with every digit; tables fit the terminal."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcka import CKAMatrix
from fastcka.results.labels import LONGEST_NAME, axis_title, short_names
from fastcka.results.table import _width, aligned


def blocks(template, counts, modules):
    """Names of `modules` in every block; `template` has one {} for each of `counts`."""
    places = [template.format(*at) for at in np.ndindex(*counts)]
    return [f"{place}{module}" for place in places for module in modules.split()]


BERT = "attention.self.query attention.self.key attention.self.value attention.output.dense \
    attention.output.LayerNorm intermediate.dense intermediate.intermediate_act_fn \
    output.dense output.LayerNorm"
LLAMA = "input_layernorm self_attn self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj \
    self_attn.rotary_emb.inv_freq post_attention_layernorm mlp mlp.gate_proj mlp.up_proj mlp.down_proj"
CLIP = "self_attn.k_proj self_attn.v_proj self_attn.q_proj self_attn.out_proj layer_norm1 mlp.fc1 mlp.fc2"
SELF = "layer.0.SelfAttention.q layer.0.SelfAttention.relative_attention_bias layer.0.layer_norm"

NETWORKS = {
    "ResNet-50": ["conv1", *blocks("layer{}.{}.", (4, 6), "conv1 bn1 conv2 conv3 downsample.0 relu"), "fc"],
    "ViT (timm)": ["patch_embed.proj", *blocks("blocks.{}.", (12,), "attn.qkv attn.proj mlp.fc1 mlp.act")],
    "ViT": [
        *blocks("vit.encoder.layer.{}.", (12,), "attention.attention.query attention.output.dense"),
        "classifier",
    ],
    "ViT, queries": [*blocks("vit.encoder.layer.{}.attention.attention.", (12,), "query"), "classifier"],
    "Swin": [
        *blocks(
            "swin.encoder.layers.{}.blocks.{}.",
            (4, 18),
            "attention.self.query attention.output.dense layernorm_before",
        ),
        *blocks("swin.encoder.layers.{}.downsample.", (3,), "reduction norm"),
        "swin.layernorm",
    ],
    "ConvNeXt": [
        "convnext.embeddings.patch_embeddings",
        *blocks("convnext.encoder.stages.{}.layers.{}.", (4, 9), "dwconv layernorm pwconv1 act pwconv2"),
    ],
    "BERT": [
        *blocks("bert.embeddings.", (), "word_embeddings position_embeddings LayerNorm"),
        *blocks("bert.encoder.layer.{}.", (24,), BERT),
        "bert.pooler.dense",
        "classifier",
    ],
    "BERT, one kind": blocks("bert.encoder.layer.{}.attention.self.", (12,), "query"),
    "GPT-2": [
        "transformer.wte",
        *blocks("transformer.h.{}.", (48,), "ln_1 attn.c_attn attn.attn_dropout mlp.c_fc mlp.c_proj"),
        "lm_head",
    ],
    "Llama": [*blocks("model.layers.{}.", (80,), LLAMA), "lm_head"],
    "Llama, LoRA": [
        *blocks(
            "base_model.model.model.layers.{}.self_attn.",
            (32,),
            "q_proj.base_layer q_proj.lora_A.default q_proj.lora_B.default v_proj.lora_A.default",
        ),
        "base_model.model.lm_head",
    ],
    "T5": [
        *blocks("encoder.block.{}.", (12,), f"{SELF} layer.1.DenseReluDense.wi layer.1.layer_norm"),
        *blocks("decoder.block.{}.", (12,), f"{SELF} layer.1.EncDecAttention.q layer.2.DenseReluDense.wi"),
    ],
    "CLIP": [
        *blocks("text_model.encoder.layers.{}.", (12,), CLIP),
        *blocks("vision_model.encoder.layers.{}.", (24,), CLIP),
        "vision_model.post_layernorm",
        "visual_projection",
    ],
    "Whisper": [
        *blocks("model.encoder.layers.{}.", (32,), CLIP),
        *blocks("model.decoder.layers.{}.", (32,), f"{CLIP} encoder_attn.k_proj encoder_attn_layer_norm"),
    ],
    "Mixtral": blocks("model.layers.{}.block_sparse_moe.experts.{}.", (8, 8), "w1 w2 w3 act_fn"),
    "DDP, compiled": blocks("module._orig_mod.backbone.features.{}.block.{}.", (8, 4), "conv norm act"),
    "files": [f"/data/run_07/activations/layer_{i:03}/features.npy" for i in range(12)],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_of_real_networks_are_told_apart(name):
    names = NETWORKS[name]
    labels, prefix = short_names(names)
    assert len(set(labels)) == len(set(names)) == len(names)
    assert max(map(len, labels)) <= LONGEST_NAME
    for full, label in zip(names, labels, strict=True):
        assert re.findall(r"\d", prefix + label) == re.findall(r"\d", full)
        assert full.rsplit(".", 1)[-1][-8:] in label  # what kind of layer it is


def test_what_is_shared_and_what_is_between_goes_first():
    assert short_names(NETWORKS["BERT, one kind"])[0][10:] == [
        "10.attention.self.query",
        "11.attention.self.query",
    ]
    labels, prefix = short_names(NETWORKS["BERT"])
    assert prefix == ""
    assert {"11.attention.self.query", "11.output.LayerNorm", "11.attention.output.LayerNorm"} <= {*labels}
    assert "vision_model.7.k_proj" in short_names(NETWORKS["CLIP"])[0]
    assert {label.split(".")[0] for label in short_names(NETWORKS["T5"])[0]} == {"encoder", "decoder"}
    assert short_names(NETWORKS["ResNet-50"]) == (NETWORKS["ResNet-50"], "")
    assert axis_title("BERT", "bert.encoder.layer.") == "BERT (bert.encoder.layer.*)"


def test_long_words_lose_letters_unless_these_tell_them_apart():
    long = "convolution" * 4
    (first, second), _ = short_names([f"{long}_1", f"{long}_2"])
    assert (first[-2:], second[-2:], first.count("…")) == ("_1", "_2", 1)
    assert len(first) == LONGEST_NAME
    apart = [f"{'x' * 20}{letter}{'x' * 20}" for letter in "ab"]
    assert short_names(apart)[0] == apart
    assert short_names(["1" * 50])[0] == ["1" * 50]


def test_odd_names_have_labels_too():
    assert short_names([]) == ([], "")
    assert short_names(["", "a"])[0] == ["", "a"]
    assert short_names(["a\nb", "\udcff"])[0] == [r"a\nb", r"\udcff"]
    assert len(set(short_names(["\udcff", r"\udcff", "a." * 30, "a." * 30 + "/"])[0])) == 4


@given(st.lists(st.text(st.sampled_from("ab1./\\\udcff") | st.characters(), max_size=60), unique=True))
def test_labels_of_any_names_are_distinct(names):
    labels, prefix = short_names(names)
    assert len(set(labels)) == len(names)
    "".join([prefix, *labels]).encode()


# Tables -----------------------------------------------------------------------------------------------------


def printed(monkeypatch, columns, rows, columns_of=None, **settings):
    monkeypatch.setenv("COLUMNS", str(columns))
    columns_of = rows if columns_of is None else columns_of
    values = np.arange(len(rows) * len(columns_of)).reshape(len(rows), -1) / 1000
    return str(CKAMatrix(values, rows, columns_of, "linear", "biased", 9, **settings)).splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("name", ["BERT", "CLIP", "BERT, one kind", "ResNet-50"])
def test_tables_fit_the_terminal(monkeypatch, name, width):
    names = NETWORKS[name]
    lines = printed(monkeypatch, width, names)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    n, last = len(names), 4 if len(names) > 12 else len(names) - 1
    shown = [i for i in range(n) if n <= 12 or i < 5 or i >= n - 5]
    for value in (shown[i] * n + shown[last] for i in range(len(shown))):
        assert f"{value / 1000:.3f}" in text


def test_long_columns_have_numbers(monkeypatch):
    lines = printed(monkeypatch, 100, NETWORKS["BERT, one kind"])
    assert "columns: B (bert.encoder.layer.*)" in lines[0]
    assert lines[1].split() == [f"[{j}]" for j in range(1, 12)]
    assert lines[2].split() == ["0.attention.self.query", *(f"{j / 1000:.3f}" for j in range(11))]
    assert "[12] 11.attention.self.query" in " ".join(" ".join(lines).split())


def test_short_columns_keep_their_names_and_wrap(monkeypatch):
    lines = printed(monkeypatch, 40, ["a", "b"], [f"layer{j}" for j in range(6)])
    assert [line.split() for line in lines if "layer" in line] == [
        ["layer0", "layer1", "layer2", "layer3"],
        ["layer4", "layer5"],
    ]


def test_wide_and_odd_characters_keep_columns_aligned(monkeypatch):
    lines = printed(monkeypatch, 80, ["名前", "a\nb", "\udcff"])
    assert len({_width(line) for line in lines[1:]}) == 1
    assert aligned([["", "x"], ["名", "1"]]) == ["    x", "名  1"]


def test_chance_and_provenance_are_printed(monkeypatch):
    provenance = {"version": "0.1.0", "sigma": {"a": 0.5}, "pooling": "mean"}
    lines = printed(monkeypatch, 120, ["a", "b"], chance=[[0.25, 0.5], [0.75, np.nan]], provenance=provenance)
    assert lines[0].endswith("; 9 samples; chance level in parentheses")
    assert lines[2] == "a  0.000 (0.250)  0.001 (0.500)"
    assert lines[3] == "b  0.002 (0.750)    0.003 (nan)"
    assert lines[4:] == ["fastcka 0.1.0, pooling mean"]
