# SPDX-License-Identifier: BSD-3-Clause
"""Two language models of Hugging Face, layer by layer, on the same texts.

    pip install "fastcka[torch,plot]" transformers
    python examples/text_models.py --a bert-base-uncased --b gpt2 texts.txt

Each model has a tokeniser of its own, so each has its own loader; the ids of the texts say that row i of the
one and row i of the other are the same text. Padding does not count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import fastcka


def loader(texts, tokenize, batch_size=16):
    """Give batches of token ids, masks and the ids of the texts."""

    def collate(items):
        numbers, lines = zip(*items, strict=True)
        return {**tokenize(list(lines)), "text": list(numbers)}

    return DataLoader(list(enumerate(texts)), batch_size=batch_size, shuffle=False, collate_fn=collate)


def compare(model_a, model_b, loader_a, loader_b):
    """Compare the hidden states of two models, averaged over the tokens of each text."""
    return fastcka.torch.compare(
        model_a,
        model_b,
        loader_a,
        loader_b,
        layers_a="hidden_states",
        layers_b="hidden_states",
        pool="mean",
        ids="text",
    )


def load(name):
    """Return a model and the function that turns a list of texts into its inputs."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name)
    if tokenizer.pad_token is None:  # as GPT-2; what it is does not matter, for the mask leaves it out
        tokenizer.pad_token = tokenizer.eos_token

    def tokenize(lines):
        return tokenizer(lines, padding=True, truncation=True, max_length=128, return_tensors="pt")

    model = AutoModel.from_pretrained(name)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenize


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, help="a text file, one text a line")
    parser.add_argument("--a", default="bert-base-uncased")
    parser.add_argument("--b", default="gpt2")
    parser.add_argument("--out", type=Path, default=Path("text_models.png"))
    arguments = parser.parse_args()
    texts = [line for line in arguments.texts.read_text().splitlines() if line.strip()]
    (model_a, tokenize_a), (model_b, tokenize_b) = load(arguments.a), load(arguments.b)
    matrix = compare(model_a, model_b, loader(texts, tokenize_a), loader(texts, tokenize_b))
    print(matrix)
    matrix.plot().figure.savefig(arguments.out, dpi=200)


if __name__ == "__main__":
    main()
