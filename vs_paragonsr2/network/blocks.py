"""The residual blocks of the four variants. All map (N, C, H, W) to the same shape.

Every block has ``radius``, how far its convolutions reach in pixels.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AttentionMode = Literal["sdpa", "flex"]

FLOAT16_MAX = 65504.0


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32, or as it is in float64: half precision is too coarse for squares and products."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def guarded_product(a: Tensor, b: Tensor) -> Tensor:
    """a * b within what float16 holds, multiplied in float32 at least."""
    product = at_least_float32(a) * at_least_float32(b)
    return product.clamp(-FLOAT16_MAX, FLOAT16_MAX).to(a.dtype)


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


class NanoBlock(nn.Module):
    """Realtime's block: an inverted bottleneck. ``layer_scale`` is False for versions 9 and 10."""

    radius: ClassVar[int] = 1

    def __init__(self, channels: int, layer_scale: bool = True) -> None:
        super().__init__()
        hidden = 2 * channels
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.dw = depthwise(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        self.scale: nn.Module = LayerScale(channels) if layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale(self.conv2(F.gelu(self.dw(self.conv1(x)))))


class StreamBlock(nn.Module):
    """Stream's block: two depthwise scales, fused, then a product of two halves as the nonlinearity.

    ``layer_scale`` is False for versions 9 and 10, which also multiply without the guard against overflow.
    """

    radius: ClassVar[int] = 4

    def __init__(self, channels: int, layer_scale: bool = True) -> None:
        super().__init__()
        hidden = 2 * channels
        self.dw1 = depthwise(channels)
        self.dw3 = depthwise(channels, dilation=3)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)
        self.proj = nn.Conv2d(channels, 2 * hidden, 1)
        self.gate = depthwise(2 * hidden)
        self.out = nn.Conv2d(hidden, channels, 1)
        self.scale: nn.Module = LayerScale(channels) if layer_scale else nn.Identity()
        self.product: Callable[[Tensor, Tensor], Tensor] = guarded_product if layer_scale else torch.mul

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two halves whose product is the block's nonlinearity, (N, 2 * C, H, W) each."""
        context = self.fuse(torch.cat((self.dw1(x), self.dw3(x)), 1))
        a, b = self.gate(self.proj(context)).chunk(2, 1)
        return a, b

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.factors(x)
        return x + self.scale(self.out(self.product(a, b)))


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


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation: a gain for each channel from the mean over the whole picture."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.GELU(),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class TokenDictionaryAttention(nn.Module):
    """Cross-attention, one head, from each pixel to a learned dictionary of tokens."""

    tokens: ClassVar[int] = 64
    width: ClassVar[int] = 16

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token_dict = nn.Parameter(torch.randn(1, self.tokens, channels) * 0.02)
        self.q_proj = nn.Linear(channels, self.width)
        self.k_proj = nn.Linear(channels, self.width)
        self.v_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        q = self.q_proj(x.flatten(2).transpose(1, 2))
        k, v = (proj(self.token_dict).expand(n, -1, -1) for proj in (self.k_proj, self.v_proj))
        # The head has an axis of its own: exporters know attention over four axes alone.
        out = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return self.out_proj(out).transpose(1, 2).reshape(n, c, height, width)


class PhotoBlock(nn.Module):
    """Photo's block: a normalised inverted bottleneck, then window attention unless ``attention`` is None.

    Both steps share one LayerScale.
    """

    radius: ClassVar[int] = 1

    def __init__(self, channels: int, window: int, shifted: bool, attention: AttentionMode | None) -> None:
        super().__init__()
        hidden = 2 * channels
        self.norm = RMSNorm(channels)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.dw = depthwise(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        self.scale = LayerScale(channels)
        self.attn: WindowAttention | None = None
        if attention is not None:
            self.attn_norm = RMSNorm(channels)
            self.attn = WindowAttention(channels, window, shifted, attention)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale(self.conv2(F.gelu(self.dw(self.conv1(self.norm(x))))))
        if self.attn is not None:
            x = x + self.scale(self.attn(self.attn_norm(x)))
        return x


class ProBlock(nn.Module):
    """Pro's block: bottleneck, channel attention, window attention unless ``attention`` is None, token dictionary."""

    radius: ClassVar[int] = 1

    def __init__(self, channels: int, window: int, shifted: bool, attention: AttentionMode | None) -> None:
        super().__init__()
        hidden = 2 * channels
        self.norm1 = RMSNorm(channels)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.dw = depthwise(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        self.scale1 = LayerScale(channels)
        self.channel_attn = ChannelAttention(channels)
        self.scale2 = LayerScale(channels)
        self.window_attn: WindowAttention | None = None
        if attention is not None:
            self.norm3 = RMSNorm(channels)
            self.window_attn = WindowAttention(channels, window, shifted, attention)
            self.scale3 = LayerScale(channels)
        self.norm4 = RMSNorm(channels)
        self.token_ca = TokenDictionaryAttention(channels)
        self.scale4 = LayerScale(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale1(self.conv2(F.gelu(self.dw(self.conv1(self.norm1(x))))))
        x = x + self.scale2(self.channel_attn(x))
        if self.window_attn is not None:
            x = x + self.scale3(self.window_attn(self.norm3(x)))
        return x + self.scale4(self.token_ca(self.norm4(x)))


Block = NanoBlock | StreamBlock | PhotoBlock | ProBlock
