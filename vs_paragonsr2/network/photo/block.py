"""Photo's block in PyTorch."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..block import Block, Nonlinearity
from ..layers import LayerScale, RMSNorm, WindowAttention, depthwise
from ..variant import BlockOptions


class PhotoBlock(Block):
    """A normalised inverted bottleneck, then window attention unless it is left out. Both share one LayerScale."""

    radius = 1

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        channels, hidden = options.channels, 2 * options.channels
        self.norm = RMSNorm(channels)
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.dw = depthwise(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        self.scale = LayerScale(channels)
        self.attn: WindowAttention | None = None
        if options.attention is not None:
            self.attn_norm = RMSNorm(channels)
            self.attn = WindowAttention(channels, options.shifted, options.attention)

    @property
    def nonlinearity(self) -> Nonlinearity:
        return Nonlinearity(before=self.dw, after=self.conv2, scale=self.scale)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale(self.conv2(F.gelu(self.dw(self.conv1(self.norm(x))))))
        if self.attn is not None:
            x = x + self.scale(self.attn(self.attn_norm(x)))
        return x
