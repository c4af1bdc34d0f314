"""Pro's block in PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..block import Block, Nonlinearity
from ..layers import LayerScale, RMSNorm, WindowAttention, depthwise
from ..variant import BlockOptions
from . import REDUCTION, TOKENS, WIDTH


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation: a gain for each channel, computed from the channels' means over the whole picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // REDUCTION, bias=False),
            nn.GELU(),
            nn.Linear(channels // REDUCTION, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class TokenDictionaryAttention(nn.Module):
    """Cross-attention with one head from each pixel to a learned dictionary of tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token_dict = nn.Parameter(torch.randn(1, TOKENS, channels) * 0.02)
        self.q_proj = nn.Linear(channels, WIDTH)
        self.k_proj = nn.Linear(channels, WIDTH)
        self.v_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        q = self.q_proj(x.flatten(2).transpose(1, 2))
        k, v = (proj(self.token_dict).expand(n, -1, -1) for proj in (self.k_proj, self.v_proj))
        # The head has an axis of its own, since exporters only know attention over four axes.
        out = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return self.out_proj(out).transpose(1, 2).reshape(n, c, height, width)


class ProBlock(Block):
    """A normalised inverted bottleneck, channel attention, window attention unless it is left out, and a dictionary of tokens."""

    radius = 1

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        channels, hidden = options.channels, 2 * options.channels
        self.norm1 = RMSNorm(channels)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.dw = depthwise(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        self.scale1 = LayerScale(channels)
        self.channel_attn = ChannelAttention(channels)
        self.scale2 = LayerScale(channels)
        self.window_attn: WindowAttention | None = None
        if options.attention is not None:
            self.norm3 = RMSNorm(channels)
            self.window_attn = WindowAttention(channels, options.shifted, options.attention)
            self.scale3 = LayerScale(channels)
        self.norm4 = RMSNorm(channels)
        self.token_ca = TokenDictionaryAttention(channels)
        self.scale4 = LayerScale(channels)

    @property
    def nonlinearity(self) -> Nonlinearity:
        return Nonlinearity(before=self.dw, after=self.conv2, scale=self.scale1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale1(self.conv2(F.gelu(self.dw(self.conv1(self.norm1(x))))))
        x = x + self.scale2(self.channel_attn(x))
        if self.window_attn is not None:
            x = x + self.scale3(self.window_attn(self.norm3(x)))
        return x + self.scale4(self.token_ca(self.norm4(x)))
