# SPDX-License-Identifier: BSD-3-Clause
"""The scripts for two models of Hugging Face, on tiny random models of several families."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers_models", exc_type=ImportError)
from transformers_models import model  # noqa: E402

import fastcka  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples"


def script(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tokenize(lines):
    """Split at spaces, pad to the longest: as a tokeniser does."""
    words = [[3 + hash_of(word) % 47 for word in line.split()] for line in lines]
    longest = max(map(len, words))
    ids = torch.tensor([w + [0] * (longest - len(w)) for w in words])
    mask = torch.tensor([[1] * len(w) + [0] * (longest - len(w)) for w in words])
    return {"input_ids": ids, "attention_mask": mask}


def hash_of(word):
    return sum(map(ord, word))


def with_decoder(lines):
    inputs = tokenize(lines)
    targets = {f"decoder_{name}": value for name, value in inputs.items()}
    return {**inputs, **targets}


TEXTS = [" ".join(f"word{k * j}" for j in range(2 + k % 5)) for k in range(24)]
FAMILIES = {"bert": 3, "gpt2": 3, "llama": 3, "t5": 6}  # hidden states


@pytest.mark.parametrize("family", FAMILIES)
def test_two_text_models(family, capsys):
    example = script("text_models")
    inputs = with_decoder if family == "t5" else tokenize
    a, b = model("bert"), model(family)
    loaders = example.loader(TEXTS, tokenize), example.loader(TEXTS, inputs)
    matrix = example.compare(a, b, *loaders)
    capsys.readouterr()  # the bar
    assert matrix.values.shape == (3, FAMILIES[family])
    assert np.isfinite(matrix.values[1:]).all()
    # Padding makes no difference: the same as text by text.
    rows = fastcka.torch.extract(
        b, example.loader(TEXTS, inputs, batch_size=1), "hidden_states", pool="mean", progress=False
    )
    left = fastcka.torch.extract(
        a, example.loader(TEXTS, tokenize, batch_size=1), "hidden_states", pool="mean", progress=False
    )
    np.testing.assert_allclose(matrix.values, fastcka.cka_matrix(left, rows).values, atol=1e-4)


@pytest.mark.parametrize("family", ["clip vision", "swin"])
def test_two_image_models(family, capsys):
    example = script("image_models")
    generator = torch.Generator().manual_seed(0)
    images = [(f"{k}.png", torch.randn(3, 32, 32, generator=generator)) for k in range(24)]
    loaders = [example.loader(images, torch.stack) for _ in range(2)]
    matrix = example.compare(model("convnext"), model(family), *loaders)
    capsys.readouterr()
    assert matrix.values.shape == (3, 3)
    assert np.isfinite(matrix.values).all()
    assert len(set(matrix.models)) == 2
