"""Stream's block in PyTorch."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..layers import LayerScale, at_least_float32, depthwise
from . import PRODUCT_LIMIT


def guarded_product(a: Tensor, b: Tensor) -> Tensor:
    """a * b within what float16 holds, multiplied in float32 at least."""
    product = at_least_float32(a) * at_least_float32(b)
    return product.clamp(-PRODUCT_LIMIT, PRODUCT_LIMIT).to(a.dtype)


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
