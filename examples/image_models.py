# SPDX-License-Identifier: BSD-3-Clause
"""Two image models of Hugging Face, layer by layer, on the same images.

    pip install "fastcka[torch,plot]" transformers torchvision
    python examples/image_models.py --a facebook/convnext-tiny-224 --b google/vit-base-patch16-224 folder/

A convolutional network has maps of channels, a Vision Transformer has tokens, a Swin Transformer has maps
with the channels last: "mean" averages over the positions of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import fastcka


def loader(images, process, batch_size=16):
    """Give batches of pixels, and the names of the images; `images` are (name, image) pairs."""

    def collate(items):
        names, pictures = zip(*items, strict=True)
        return {"pixel_values": process(list(pictures)), "image": list(names)}

    return DataLoader(images, batch_size=batch_size, shuffle=False, collate_fn=collate)


def compare(model_a, model_b, loader_a, loader_b):
    """Compare the hidden states of two models, averaged over positions."""
    return fastcka.torch.compare(
        model_a,
        model_b,
        loader_a,
        loader_b,
        layers_a="hidden_states",
        layers_b="hidden_states",
        pool="mean",
        ids="image",
    )


class Folder(torch.utils.data.Dataset):
    """The images of a folder, by name."""

    def __init__(self, folder):
        self.paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".jpeg", ".png"))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, k):
        from PIL import Image

        return self.paths[k].name, Image.open(self.paths[k]).convert("RGB")


def load(name):
    """Return a model and the function that turns a list of images into its pixels."""
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(name)

    def process(pictures):
        return processor(pictures, return_tensors="pt")["pixel_values"]

    model = AutoModel.from_pretrained(name)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), process


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of images")
    parser.add_argument("--a", default="facebook/convnext-tiny-224")
    parser.add_argument("--b", default="google/vit-base-patch16-224")
    parser.add_argument("--out", type=Path, default=Path("image_models.png"))
    arguments = parser.parse_args()
    images = Folder(arguments.folder)
    (model_a, process_a), (model_b, process_b) = load(arguments.a), load(arguments.b)
    matrix = compare(model_a, model_b, loader(images, process_a), loader(images, process_b))
    print(matrix)
    matrix.plot().figure.savefig(arguments.out, dpi=200)


if __name__ == "__main__":
    main()
