# SPDX-License-Identifier: BSD-3-Clause
"""Small models that do what real ones do to those who watch them."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(widths=(6, 8, 5), seed=0):
    torch.manual_seed(seed)
    steps = []
    for p, q in pairwise(widths):
        steps += [nn.Linear(p, q), nn.Tanh()]
    return nn.Sequential(*steps)


def samples(n=20, *shape, seed=1):
    return torch.randn(n, *(shape or (6,)), generator=torch.Generator().manual_seed(seed))


def labelled(x, batch_size=8, **options):
    """A loader of (inputs, labels)."""
    return DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=batch_size, **options)


class Residual(nn.Module):
    """Convolution, batch norm, in-place ReLU, and a sum in place: what a ResNet block does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.norm(self.conv(x))
        out += x
        return self.relu(out)


class Repeated(nn.Module):
    """One activation for all layers, called three times; a module that never runs; one without tensors."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.act = nn.Tanh()
        self.unused = nn.Linear(6, 6)
        self.describe = Describe()
        self.blocks = nn.ModuleList([nn.Linear(6, 6)])
        self.alias = self.first

    def forward(self, x):
        self.describe(x)
        return self.act(self.blocks[0](self.act(self.second(self.act(self.first(x))))))


class Describe(nn.Module):
    def forward(self, x):
        return f"{len(x)} samples"


class ModelOutput(OrderedDict):
    """As Hugging Face has it: an ordered dict whose entries are attributes too; tuples of hidden states."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Config:
    output_hidden_states = False


class Encoder(nn.Module):
    """A transformer with the interface of Hugging Face models."""

    def __init__(self, seed=0, vocabulary=30, width=8, depth=2):
        super().__init__()
        torch.manual_seed(seed)
        self.config = Config()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 16, batch_first=True) for _ in range(depth)
        )
        self.pooler = nn.Linear(width, width)

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        states = [self.embed(input_ids)]
        padding = None if attention_mask is None else attention_mask == 0
        for block in self.blocks:
            states.append(block(states[-1], src_key_padding_mask=padding))
        result = ModelOutput()
        if labels is not None:
            result["loss"] = states[-1].mean()
        result["last_hidden_state"] = states[-1]
        result["pooler_output"] = self.pooler(states[-1][:, 0])
        if self.config.output_hidden_states:
            result["hidden_states"] = tuple(states)
        return result


class Seq2Seq(nn.Module):
    """An encoder and a decoder with shared embeddings, with the interface of Hugging Face models."""

    class Stack(nn.Module):
        def __init__(self, embed, cross):
            super().__init__()
            self.embed_tokens = embed
            self.block = nn.ModuleList([nn.Linear(8, 8)])
            if cross:
                self.cross_attn = nn.ModuleDict({"k_proj": nn.Linear(8, 8)})

        def forward(self, ids, other=None):
            states = [self.embed_tokens(ids)]
            states.append(self.block[0](states[0]).tanh())
            if other is not None:
                states[-1] = states[-1] + self.cross_attn["k_proj"](other).mean(1, keepdim=True)
            return tuple(states)

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.shared = nn.Embedding(30, 8)
        self.encoder, self.decoder = Seq2Seq.Stack(self.shared, False), Seq2Seq.Stack(self.shared, True)
        self.lm_head = nn.Linear(8, 30)

    def forward(self, input_ids, attention_mask=None, decoder_input_ids=None, decoder_attention_mask=None):
        encoded = self.encoder(input_ids)
        decoded = self.decoder(input_ids if decoder_input_ids is None else decoder_input_ids, encoded[-1])
        return ModelOutput(
            logits=self.lm_head(decoded[-1]),
            decoder_hidden_states=decoded,
            encoder_last_hidden_state=encoded[-1],
            encoder_hidden_states=encoded,
        )


def texts(n=12, length=5, batch_size=4, seed=3):
    """Batches of token ids, padded to the right or, every other sample, to the left."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 30, (n, length), generator=generator)
    mask = torch.ones(n, length, dtype=torch.long)
    for i in range(n):
        mask[i, length - i % 3 :] = 0
        if i % 2:
            mask[i] = mask[i].flip(0)
    entries = {"input_ids": ids * mask, "attention_mask": mask, "sample": torch.arange(100, 100 + n)}
    return [{k: v[i : i + batch_size] for k, v in entries.items()} for i in range(0, n, batch_size)]


class Broken(Exception):
    pass


def breaking(batches, after):
    """A loader that fails, as a file server does, after some batches."""
    for k, batch in enumerate(batches):
        if k == after:
            raise Broken
        yield batch
