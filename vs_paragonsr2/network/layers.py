"""Layers that blocks of several variants have, in PyTorch."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AttentionMode = Literal["sdpa", "flex"]


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32, or as it is in float64: half precision is too coarse for squares and products."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def depthwise(channels: int, dilation: int = 1) -> nn.Conv2d:
    """A 3x3 convolution of each channel alone, same size out."""
    return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)


class LayerScale(nn.Module):
    """A learned gain for each channel, small at the start."""

    def __init__(self, channels: int, initial: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the channels of each pixel, with scale and bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        wide = at_least_float32(x)
        root = torch.sqrt(wide.square().mean(1, keepdim=True) + 1e-6)
        return (wide / root).to(x.dtype) * self.scale + self.bias


class WindowAttention(nn.Module):
    """Multi-head self-attention within square windows, shifted by half a window on every second block.

    There is no mask: a shifted window joins opposite borders of the picture, and the zeros that fill the picture up to whole
    windows take part. So every output depends on the size of the picture.
    """

    heads: ClassVar[int] = 4

    def __init__(self, channels: int, window: int, shifted: bool, mode: AttentionMode) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2 if shifted else 0
        self.mode = mode
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        w, heads = self.window, self.heads
        x = F.pad(x, (0, -width % w, 0, -height % w)).permute(0, 2, 3, 1)
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        rows, columns = x.shape[1] // w, x.shape[2] // w
        x = x.reshape(n, rows, w, columns, w, c).transpose(2, 3).reshape(n * rows * columns, w * w, c)
        q, k, v = self.qkv(x).reshape(-1, w * w, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
        x = self.attend(q, k, v).transpose(1, 2).reshape(-1, w * w, c)
        x = self.proj(x).reshape(n, rows, columns, w, w, c).transpose(2, 3).reshape(n, rows * w, columns * w, c)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :height, :width].permute(0, 3, 1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(d)) v for (windows, heads, pixels, d) each."""
        if self.mode == "flex":
            from torch.nn.attention.flex_attention import flex_attention

            out = flex_attention(q, k, v)
            assert isinstance(out, Tensor)
            return out
        return F.scaled_dot_product_attention(q, k, v)
