# SPDX-License-Identifier: BSD-3-Clause
"""What examples of the pages take for granted: small models, data and files of the names that they use.

`TAKEN_FOR_GRANTED` names a line of an example, and the function that makes what it needs. The function gets
the names that the examples above it on the page have made.
"""

from __future__ import annotations

import importlib
import itertools
import runpy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import fastcka

Names = dict[str, Any]
RNG = np.random.default_rng(0)


def arrays(**_: Any) -> Names:
    """Layers of two networks."""
    x = RNG.normal(size=(300, 40))
    layers_a = {"conv": x, "fc": x[:, :8]}
    return {"fastcka": fastcka, "layers_a": layers_a, "layers_b": {"block": x[:, 20:], "head": x**2}}


def activations_file(**_: Any) -> Names:
    """An HDF5 file of two layers, one of them in compressed chunks."""
    import h5py

    with h5py.File("activations.h5", "w") as file:
        file["conv1"] = RNG.normal(size=(300, 40))
        file.create_dataset("conv2", data=RNG.normal(size=(300, 20)), chunks=(100, 20), compression="gzip")
    return {"fastcka": fastcka}


def gallery(**_: Any) -> Names:
    """Untrained networks of the gallery, and a few of its images."""
    from matplotlib.figure import Figure

    import fastcka.torch

    digits = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "examples" / "digits.py")))
    data = digits.load()
    images, labels = data.images[:100], data.labels[:100]
    held_out = digits.batches(images, labels)
    networks = [digits.network("convolutional", seed) for seed in (0, 1)]
    layers = [fastcka.torch.extract(network, held_out, "conv?", progress=False) for network in networks]
    return {
        "fastcka": fastcka,
        "itertools": itertools,
        "np": np,
        "ax": Figure().subplots(),
        "networks": networks,
        "network": networks[0],
        "convolutional": networks[0],
        "transformer": digits.network("Transformer", 0),
        "layers": "conv?",
        "kernel": "linear",
        "held_out": held_out,
        "clean": held_out,
        "noisy": digits.batches(1 - images, labels),
        "trained": layers,
        "untrained": layers[::-1],
    }


def resnet_and_transformer(torch: Any, nn: Any, **_: Any) -> Names:
    """A model with the names of a ResNet's blocks, and one with those of torchvision's vision Transformer."""
    blocks = OrderedDict((f"layer{i}", nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))) for i in (1, 2, 3, 4))

    class Vit(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, stride=4)
            layers: OrderedDict[str, Any] = OrderedDict()
            for i in (0, 1):
                layers[f"encoder_layer_{i}"] = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder = nn.ModuleDict({"layers": nn.Sequential(layers)})

        def forward(self, images):
            return self.encoder["layers"](self.patches(images).flatten(2).transpose(1, 2))

    def resize(images):
        return nn.functional.interpolate(images, size=(16, 16))

    return {"resnet": nn.Sequential(blocks), "vit": Vit(), "resize": resize}


def checkpoints(torch: Any, Net: Any, **_: Any) -> Names:
    """Two files of weights."""
    for epoch in (1, 90):
        torch.save(Net().state_dict(), f"epoch{epoch}.pt")
    return {}


def text_models(torch: Any, **_: Any) -> Names:
    """Two small text models, each with a tokeniser of its own: one of words, one of letters."""
    from transformers import BertConfig, BertModel

    def encoded(texts):
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    def tokenizer_b(texts, *, padding, return_tensors):
        assert (padding, return_tensors) == (True, "pt")
        return encoded([[ord(letter) for letter in text] for text in texts])

    texts = ["a cat sat", "it rained for days", "why", "the train was late"]
    batch = {"text": texts, **encoded([[len(word) for word in text.split()] for text in texts])}
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model_a, model_b = (BertModel(BertConfig(vocab_size=200, **size)) for _ in "ab")
    return {"model_a": model_a, "model_b": model_b, "tokenizer_b": tokenizer_b, "loader": [batch, batch]}


def module(name: str) -> Callable[..., Names]:
    """The names of a module, to which a fragment on the page would belong."""
    return lambda **_: vars(importlib.import_module(name))


TAKEN_FOR_GRANTED = {
    'matrix = fastcka.cka_matrix(layers_a, kernel="rbf", max_bytes="8GiB")': arrays,
    'layers = fastcka.open_layers("activations.h5")': activations_file,
    'matrix = fastcka.cka_matrix(layers_a, layers_b, kernel="rbf", checkpoint="sums.npz")': arrays,
    "activations = [fastcka.torch.extract(": gallery,
    "first, *others = ": gallery,
    "across = fastcka.torch.compare(": gallery,
    "    network, network, clean, noisy,": gallery,
    "    resnet, vit, loader,": resnet_and_transformer,
    'before.load_state_dict(torch.load("epoch1.pt"))': checkpoints,
    "def batch_b(batch):": text_models,
    "def cauchy(X: Array": module("fastcka.reference.kernels"),
    "class Cauchy(_Bandwidth):": module("fastcka.kernels"),
}
