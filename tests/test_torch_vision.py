# SPDX-License-Identifier: BSD-3-Clause
"""Image models that have their channels last inside, written as torchvision and timm write them.

Neither of the two packages loads beside every build of torch, so what matters of their modules is written
down here: the order of their operations on axes.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import fastcka  # noqa: E402

N, SIDE = 6, 16


class Permute(nn.Module):
    def __init__(self, *dims):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return torch.permute(x, self.dims)


class ShiftedWindowAttention(nn.Module):
    """Of torchvision.models.swin_transformer: windows are samples for a while."""

    def __init__(self, dim, window, shift):
        super().__init__()
        self.window, self.shift = window, shift
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        B, H, W, C = x.shape
        w, count = self.window, (H // self.window) * (W // self.window)
        x = F.pad(x, (0, 0, 0, 0, 0, 0))
        x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))
        x = x.view(B, H // w, w, W // w, w, C).permute(0, 1, 3, 2, 4, 5).reshape(B * count, w * w, C)
        qkv = F.linear(x, self.qkv.weight, self.qkv.bias)
        q, k, v = qkv.reshape(x.size(0), x.size(1), 3, 2, C // 2).permute(2, 0, 3, 1, 4)
        attention = F.softmax((q * (C // 2) ** -0.5).matmul(k.transpose(-2, -1)), dim=-1)
        x = attention.matmul(v).transpose(1, 2).reshape(x.size(0), x.size(1), C)
        x = F.linear(x, self.proj.weight, self.proj.bias)
        x = x.view(B, H // w, W // w, w, w, C).permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, C)
        return torch.roll(x, shifts=(self.shift, self.shift), dims=(1, 2))


class SwinBlock(nn.Module):
    def __init__(self, dim, shift):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = ShiftedWindowAttention(dim, 2, shift)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim), nn.Dropout(0.0))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x):
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = torch.cat(
            [x[..., 0::2, 0::2, :], x[..., 1::2, 0::2, :], x[..., 0::2, 1::2, :], x[..., 1::2, 1::2, :]], -1
        )
        return self.reduction(self.norm(x))


class TorchvisionSwin(nn.Module):
    def __init__(self):
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, 4, 2, 2), Permute(0, 2, 3, 1), nn.LayerNorm(4))
        self.features = nn.Sequential(
            stem,
            nn.Sequential(SwinBlock(4, 0), SwinBlock(4, 1)),
            PatchMerging(4),
            nn.Sequential(SwinBlock(8, 0)),
        )
        self.norm, self.permute = nn.LayerNorm(8), Permute(0, 3, 1, 2)
        self.avgpool, self.flatten, self.head = nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.permute(self.norm(self.features(x)))
        return self.head(self.flatten(self.avgpool(x)))


class ConvNeXtBlock(nn.Module):
    """Of torchvision.models.convnext: to channels last and back."""

    def __init__(self, dim):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim),
            Permute(0, 2, 3, 1),
            nn.LayerNorm(dim),
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
            Permute(0, 3, 1, 2),
        )
        self.layer_scale = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x):
        return x + self.layer_scale * self.block(x)


class LayerNorm2d(nn.LayerNorm):
    """Of torchvision and timm: normalises the channels of (n, c, h, w)."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class TorchvisionConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 2, 2), LayerNorm2d(4), ConvNeXtBlock(4), LayerNorm2d(4), nn.Conv2d(4, 8, 2, 2)
        )

    def forward(self, x):
        return self.features(x)


class PatchEmbed(nn.Module):
    """Of timm: patches as positions."""

    def __init__(self):
        super().__init__()
        self.proj, self.norm = nn.Conv2d(3, 8, 4, 4), nn.Identity()

    def forward(self, x):
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class TimmAttention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.qkv, self.q_norm, self.k_norm = nn.Linear(dim, 3 * dim), nn.Identity(), nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, n, C = x.shape
        q, k, v = self.qkv(x).reshape(B, n, 3, 2, C // 2).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return self.proj(x.transpose(1, 2).reshape(B, n, C))


class TimmBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(dim), TimmAttention(dim), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 16), nn.GELU(), nn.Linear(16, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TimmViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed, self.pos_drop = PatchEmbed(), nn.Dropout(0.0)
        self.cls_token, self.pos_embed = (
            nn.Parameter(torch.randn(1, 1, 8)),
            nn.Parameter(torch.randn(1, 17, 8)),
        )
        self.blocks, self.norm = nn.Sequential(TimmBlock(8), TimmBlock(8)), nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.norm(self.blocks(self.pos_drop(x + self.pos_embed)))
        return self.head(x[:, 0])


def channels_first(net, name, module):
    """Whether maps that a module gives have their channels along the second axis."""
    if isinstance(module, Permute):
        return module.dims == (0, 3, 1, 2)
    if isinstance(module, nn.Conv2d | nn.AdaptiveAvgPool2d):
        return True
    whole = isinstance(module, LayerNorm2d | ConvNeXtBlock) or name == "features" or name.endswith(".block")
    return whole and isinstance(net, TorchvisionConvNeXt)


@pytest.mark.parametrize(
    ("make", "layers"),
    [(TorchvisionSwin, 42), (TorchvisionConvNeXt, 14), (TimmViT, 31)],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("pool", ["gap", "mean"])
def test_positions_are_averaged_wherever_they_are(make, layers, pool):
    torch.manual_seed(0)
    net, seen = make().eval(), {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda m, a, y, name=name: seen.update({name: y.detach()}))
    x = torch.randn(N, 3, SIDE, SIDE)
    found = fastcka.torch.extract(net, [x], pool=pool, progress=False)
    assert len(found) == layers
    for name, X in found.items():
        module, y = net.get_submodule(name), seen[name]
        maps = y.ndim == 4 and channels_first(net, name, module)
        if y.ndim == 4 and not maps and y.shape[1] == 2:  # heads of attention: (samples, heads, positions, p)
            wanted = y.mean(2).flatten(1)
        elif y.ndim > 2:
            wanted = y.mean((2, 3)) if maps else y.flatten(1, -2).mean(1)
        else:
            wanted = y
        np.testing.assert_allclose(X, wanted, atol=1e-6, err_msg=name)
