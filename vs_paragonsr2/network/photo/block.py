"""Photo's block in PyTorch."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import AttentionMode, LayerScale, RMSNorm, WindowAttention, depthwise


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
