"""Realtime's block of checkpoint versions 7 and 8 in PyTorch."""

from torch import Tensor, nn

from ..block import ResidualBlock
from ..layers import depthwise


class LegacyNanoBlock(ResidualBlock):
    """Hardswish on both sides of the depthwise convolution."""

    radius = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.net = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.Hardswish(), depthwise(hidden), nn.Hardswish(), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)
