"""Layers that the blocks of several variants have, in PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import HEADS, WINDOW
from .variant import AttentionMode


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is in float64: half precision is too coarse for squares and products."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def depthwise(channels: int, dilation: int = 1) -> nn.Conv2d:
    """A 3x3 convolution of each channel alone, whose output is as large as its input."""
    return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)


def dilated_depthwise(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """The dilated :func:`depthwise` convolution ``layer`` of a channels-last tensor; faster to train on a CPU.

    With dilation d, it is computed as d * d convolutions without dilation, each of every d-th row and column. For the gradient of
    a dilated convolution, PyTorch takes ten times as long as for that of one without dilation.
    """
    n, channels, height, width = x.shape
    (d, _) = layer.dilation
    if height % d or width % d:
        return layer(x)
    rows, columns = height // d, width // d
    apart = x.permute(0, 2, 3, 1).reshape(n, rows, d, columns, d, channels).permute(0, 2, 4, 1, 3, 5)
    apart = apart.reshape(n * d * d, rows, columns, channels).permute(0, 3, 1, 2)
    apart = F.conv2d(apart, layer.weight, layer.bias, padding=1, groups=channels)
    together = apart.permute(0, 2, 3, 1).reshape(n, d, d, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    return together.reshape(n, height, width, channels).permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    """A learned gain for each channel, which is small at first."""

    def __init__(self, channels: int, initial: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the channels of each pixel, with a learned scale and bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        wide = at_least_float32(x)
        root = torch.sqrt(wide.square().mean(1, keepdim=True) + 1e-6)
        return (wide / root).to(x.dtype) * self.scale + self.bias


class WindowAttention(nn.Module):
    """Multi-head self-attention within square windows, which are shifted by half their side where ``shifted`` is True.

    There is no mask: a shifted window joins opposite borders of the picture, and the zeros that fill the picture up to whole
    windows take part. So every output depends on the size of the picture.
    """

    def __init__(self, channels: int, shifted: bool, mode: AttentionMode) -> None:
        super().__init__()
        self.shift = WINDOW // 2 if shifted else 0
        self.mode = mode
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        w, heads = WINDOW, HEADS
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
        """softmax(q k^T / sqrt(d)) v, where q, k, v and the result are (windows, heads, pixels, d)."""
        if self.mode == "flex":
            from torch.nn.attention.flex_attention import flex_attention

            out = flex_attention(q, k, v)
            assert isinstance(out, Tensor)
            return out
        return F.scaled_dot_product_attention(q, k, v)
