"""The folded graph for RGB in floats, of any size: for programs that convert colours themselves."""

from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from .fold import Convolution, fold
from .network import Network
from .polyphase import PlaneFilter
from .stencil import PlaneStencil, Tail
from .tiling import border


class RGBGraph(nn.Module):
    """(1, 3, H, W) RGB, nominally 0..1, to (1, 3, H * scale, W * scale), the edges replicated within.

    Nothing depends on H and W, which an exporter may leave open.

    Args:
        network: any variant, scale and version, in eval mode; left as it is.
        dtype: of what comes and goes and of the learned path: float32 or float16. The base path and the last sum are float32
            always; with float64 everything is float64.
    """

    def __init__(self, network: Network, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        # A picture of one pixel, so that each pixel is a cell of its own.
        source, target = (PlaneFormat("RGB", 32, True, 0, 0, side, side) for side in (1, network.scale))
        spec = ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.FULL, Siting.LEFT))
        folded = fold(network, spec, centred=dtype is torch.float16)
        (group,) = folded.groups
        self.border = border(network, spec)
        self.zero, self.unit = folded.feeds[0]
        self.dtype = dtype
        self.wide = torch.promote_types(dtype, torch.float32)
        resolution = prod(stage.factor for stage in folded.stages)
        self.body = nn.Sequential(folded.head, *folded.stages).to(dtype)
        self.base = PlaneStencil(group.base, Inside.of_filter(group.base, self.border), group.gain, group.offset).to(self.wide)
        self.tail = Tail(group.tail, Inside.of_filter(group.tail, self.border * resolution)).to(dtype)
        self.shuffles = [nn.PixelShuffle(part.phases[0]) for part in (self.base, self.tail)]
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        x = (F.pad(x, [self.border] * 4, mode="replicate").to(self.wide) - self.zero) * self.unit
        parts = (self.base(x), self.tail(self.body(x.to(self.dtype))).to(self.wide))
        base, detail = (shuffle(part) for shuffle, part in zip(self.shuffles, parts, strict=True))
        return (base + detail).to(self.dtype)


class Inside(NamedTuple):
    """What is left of (N, C, H, W) without so many rows and columns at the edges."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, x: Tensor) -> Tensor:
        """Cut it out."""
        return x[:, :, self.top : x.shape[2] - self.bottom, self.left : x.shape[3] - self.right]

    @staticmethod
    def of_filter(filter_: Convolution | PlaneFilter, border: int) -> "Inside":
        """What a filter reads to compute a picture, of one that has a border."""
        (top, left), (rows, columns), (step_y, step_x) = filter_.first, filter_.taps, filter_.step
        return Inside(border + top, border + left, border - (top + rows - step_y), border - (left + columns - step_x))
