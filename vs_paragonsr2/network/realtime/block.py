"""Realtime's block in PyTorch."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import LayerScale, depthwise


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
