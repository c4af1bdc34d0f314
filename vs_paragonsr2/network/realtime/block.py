"""Realtime's block in PyTorch."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..block import Block, Nonlinearity
from ..layers import LayerScale, depthwise
from ..variant import BlockOptions


class NanoBlock(Block):
    """An inverted bottleneck. Versions 9 and 10 have no LayerScale."""

    radius = 1

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        channels, hidden = options.channels, 2 * options.channels
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.dw = depthwise(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        self.scale: LayerScale | nn.Identity = LayerScale(channels) if options.version == 11 else nn.Identity()

    @property
    def nonlinearity(self) -> Nonlinearity:
        return Nonlinearity(before=self.dw, after=self.conv2, scale=self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale(self.conv2(F.gelu(self.dw(self.conv1(x)))))
