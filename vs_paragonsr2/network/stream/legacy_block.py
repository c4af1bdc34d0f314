"""Stream's block of checkpoint versions 7 and 8 in PyTorch."""

import torch
from torch import Tensor, nn

from ..block import ResidualBlock
from ..layers import depthwise


class SplitContext(nn.Module):
    """Version 8's context: five eighths of the channels pass as they are, the other three are filtered 3x3, 1x21 and 21x1."""

    radius = 10

    def __init__(self, channels: int) -> None:
        super().__init__()
        g = channels // 8
        self.split = [channels - 3 * g, g, g, g]
        self.dwconv_hw = depthwise(g)
        self.dwconv_w = nn.Conv2d(g, g, (1, 21), padding=(0, 10), groups=g)
        self.dwconv_h = nn.Conv2d(g, g, (21, 1), padding=(10, 0), groups=g)

    def forward(self, x: Tensor) -> Tensor:
        same, square, row, column = torch.split(x, self.split, 1)
        return torch.cat((same, self.dwconv_hw(square), self.dwconv_w(row), self.dwconv_h(column)), 1)


class LegacyStreamBlock(ResidualBlock):
    """A context, which is 3x3 in version 7 and split in version 8, then a product of two halves."""

    def __init__(self, channels: int, version: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.context = depthwise(channels) if version == 7 else SplitContext(channels)
        self.radius = 1 + (1 if version == 7 else SplitContext.radius)
        self.proj_in = nn.Conv2d(channels, 2 * hidden, 1)
        self.dw_gate = depthwise(2 * hidden)
        self.proj_out = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.dw_gate(self.proj_in(self.context(x))).chunk(2, 1)
        return x + self.proj_out(a * b)
