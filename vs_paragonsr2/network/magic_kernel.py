"""The base path: a fixed, classical upsampler that works on each colour channel alone."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .description import BINOMIAL, HALF_BAND


def row_and_column_filters(taps: tuple[float, ...]) -> tuple[nn.Conv2d, nn.Conv2d]:
    """The two convolutions of a separable filter with the same taps for each of three channels.

    Their weights are parameters, so that they are saved and counted, but they are never trained.
    """
    n = len(taps)
    h = nn.Conv2d(3, 3, (1, n), padding=(0, n // 2), groups=3, bias=False)
    v = nn.Conv2d(3, 3, (n, 1), padding=(n // 2, 0), groups=3, bias=False)
    for convolution in (h, v):
        convolution.weight.data = torch.tensor(taps).expand(3, n).reshape(convolution.weight.shape).clone()
        convolution.requires_grad_(False)
    return h, v


class SeparableFilter(nn.Module):
    """A symmetric filter along the rows, then along the columns. Its weights count; the buffer ``kernel`` only repeats the taps."""

    def __init__(self, taps: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.tensor(taps))
        self.h, self.v = row_and_column_filters(taps)

    def forward(self, x: Tensor) -> Tensor:
        return self.v(self.h(x))


class MagicKernelBase(nn.Module):
    """The published "Magic Kernel Sharp 2021": (N, 3, H, W) to (N, 3, H * scale, W * scale).

    First, ``alpha`` blends a half-band low-pass into the picture. (Its name ``sharp`` is historical: a low-pass does not sharpen,
    but checkpoints depend on the name.) Nearest-neighbour upsampling and a binomial blur follow.
    """

    window: ClassVar[None] = None
    """There is no attention, so the receptive field is finite."""

    def __init__(self, scale: int, alpha: float) -> None:
        super().__init__()
        self.scale = scale
        self.alpha = alpha
        self.add_filters()

    def add_filters(self) -> None:
        """Make the two filters under the names that checkpoints have for them."""
        self.sharp = SeparableFilter(HALF_BAND)
        self.blur = SeparableFilter(BINOMIAL)

    def filters(self) -> tuple[nn.Module, nn.Module]:
        """The low-pass at the low resolution and the blur at the high one."""
        return self.sharp, self.blur

    def forward(self, x: Tensor) -> Tensor:
        low_pass, blur = self.filters()
        if self.alpha > 0:
            x = x + self.alpha * (low_pass(x) - x)
        return blur(F.interpolate(x, scale_factor=float(self.scale), mode="nearest"))

    @property
    def radius(self) -> int:
        """How far an output pixel sees, in input pixels."""
        blur = -(-(len(BINOMIAL) // 2) // self.scale)
        return blur + (len(HALF_BAND) // 2 if self.alpha > 0 else 0)
