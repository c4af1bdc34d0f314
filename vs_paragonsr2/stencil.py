"""The linear ends of the graph as modules: filters of planes and the tails, each exact from what lies about the picture.

Sizes are static, and everything is a slice, a convolution without padding and a shuffle.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .fold import Convolution, PlaneGroup
from .polyphase import PlaneFilter

Size = NDArray[np.int64]
"""Two numbers, of the rows and of the columns."""


def reach_of(filter_: Convolution | PlaneFilter) -> Size:
    """Input pixels that the outputs of a picture need on each side of it."""
    first, taps, step = (np.array(pair) for pair in (filter_.first, filter_.taps, filter_.step))
    return np.maximum(np.maximum(-first, first + taps - step), 0)


def window(x: Tensor, start: Size, size: Size) -> Tensor:
    """Cut (N, C, H, W) to a rectangle."""
    (top, left), (height, width) = start.tolist(), size.tolist()
    if (height, width) == tuple(x.shape[2:]):
        return x
    return x[:, :, top : top + height, left : left + width]


def replicate(x: Tensor, by: Size) -> Tensor:
    """Repeat the edges of (N, C, H, W); written with what every runtime knows."""
    rows, columns = by.tolist()
    if rows:
        top, bottom = x[:, :, :1], x[:, :, -1:]
        x = torch.cat((top.expand(-1, -1, rows, -1), x, bottom.expand(-1, -1, rows, -1)), 2)
    if columns:
        left, right = x[..., :1], x[..., -1:]
        x = torch.cat((left.expand(-1, -1, -1, columns), x, right.expand(-1, -1, -1, columns)), 3)
    return x


def shuffle(x: Tensor, phases: tuple[int, int]) -> Tensor:
    """A pixel shuffle whose cells need not be square: (1, C * rows * columns, H, W) to (1, C, H * rows, W * columns)."""
    rows, columns = phases
    if rows == columns:
        return F.pixel_shuffle(x, rows) if rows > 1 else x
    _, channels, height, width = x.shape
    x = x.reshape(channels // (rows * columns), rows, columns, height, width)
    return x.permute(0, 3, 1, 4, 2).reshape(1, -1, height * rows, width * columns)


class PlaneStencil(nn.Module):
    """A PlaneFilter of each plane: (1, planes, H, W) to (1, planes * phases, cells of the rows, cells of the columns).

    Args:
        filter_: what to compute.
        gain: of the filter, and
        offset: what is added behind it.
    """

    def __init__(self, filter_: PlaneFilter, gain: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.phases = filter_.phases
        self.first, self.taps, self.step = (np.array(pair) for pair in (filter_.first, filter_.taps, filter_.step))
        rows, columns = filter_.phases
        self.rows: nn.Conv2d | None = None
        step_y, step_x = filter_.step
        if filter_.is_separated:
            terms = len(filter_.vertical)
            self.rows = nn.Conv2d(1, rows * terms, (self.taps[0], 1), (step_y, 1), bias=False)
            # Each phase of the rows has its terms side by side, and the columns are filtered phase by phase.
            vertical = filter_.vertical.swapaxes(0, 1).reshape(rows * terms, 1, -1, 1)
            self.rows.weight.data = torch.from_numpy(vertical.copy())
            self.last = nn.Conv2d(rows * terms, rows * columns, (1, self.taps[1]), (1, step_x), groups=rows)
            horizontal = np.tile(filter_.horizontal.swapaxes(0, 1), (rows, 1, 1))
            weight = torch.from_numpy(horizontal)[:, :, None]
        else:
            self.last = nn.Conv2d(1, rows * columns, tuple(self.taps.tolist()), filter_.step)
            weight = torch.from_numpy(filter_.dense()).flatten(0, 1)[:, None]
        self.last.weight.data = weight * gain
        self.last.bias = nn.Parameter(torch.full((rows * columns,), offset, dtype=torch.float64)) if offset else None

    def forward(self, planes: Tensor, origin: Size, begin: Size, cells: Size) -> Tensor:
        """Compute the cells from ``begin`` on; ``origin`` is where the first sample of cell 0 lies in the planes."""
        x = window(planes, origin + begin * self.step + self.first, (cells - 1) * self.step + self.taps)
        count = x.shape[1]
        # Planes as a batch: all of them have the same filter.
        x = x.reshape(count, 1, *x.shape[2:])
        if self.rows is not None:
            x = self.rows(x)
        x = self.last(x)
        return x.reshape(1, -1, *x.shape[2:])


class Tail(nn.Module):
    """A Convolution: (1, F, H, W) to (1, planes * phases, cells of the rows, cells of the columns)."""

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        self.first, self.taps, self.step = (
            np.array(pair) for pair in (convolution.first, convolution.taps, convolution.step)
        )
        _, rows, columns = convolution.bias.shape
        self.phases = (rows, columns)
        weight = convolution.weight.flatten(0, 2)
        self.conv = nn.Conv2d(weight.shape[1], weight.shape[0], convolution.taps, convolution.step)
        self.conv.weight.data = weight
        assert self.conv.bias is not None
        self.conv.bias.data = convolution.bias.flatten()

    def forward(self, features: Tensor, origin: Size, cells: Size) -> Tensor:
        """Compute the cells from 0 on; ``origin`` is where the first pixel of cell 0 lies in the features."""
        return self.conv(window(features, origin + self.first, (cells - 1) * self.step + self.taps))


class PlanePath(nn.Module):
    """All of one group of planes but what the body does: replication, positions of luma, base path, tail and sum.

    Args:
        group: what was folded for these planes.
        chroma: filter to luma's positions; None where the planes are there already.
        ratio: luma samples for one of the group.
        size: of the source's luma.
        margin: luma samples about the picture that the head is to get.
        left: pixels about the picture that the body leaves of the features.
        resolution: features for a luma sample, along each axis.
        detail_unit: target samples for what the tail gives as 1.

    Attributes:
        need: samples of the group about the picture that :meth:`forward` and :meth:`at_luma` need.
    """

    def __init__(
        self,
        group: PlaneGroup,
        chroma: PlaneFilter | None,
        ratio: Size,
        *,
        size: Size,
        margin: Size,
        left: Size,
        resolution: int,
        detail_unit: float,
    ) -> None:
        super().__init__()
        self.ratio = ratio
        self.size = size // ratio
        self.margin = margin
        self.left = left
        self.detail_unit = detail_unit
        self.base = PlaneStencil(group.base, group.gain, group.offset)
        self.base_cells = self.size // self.base.step
        self.tail = Tail(group.tail)
        self.tail_cells = size * resolution // self.tail.step
        self.chroma = None if chroma is None else PlaneStencil(chroma)
        self.about = -(-margin // ratio)
        into = self.about if chroma is None else self.about + reach_of(chroma)
        self.need: Size = np.maximum(into, reach_of(group.base))
        self.place(np.zeros(2, int))

    def place(self, given: Size) -> None:
        """Say how many samples about the picture the planes bring with them."""
        self.pad = np.maximum(self.need - given, 0)
        self.origin = given + self.pad

    def surround(self, planes: Tensor) -> Tensor:
        """Replicate the edges by what is missing."""
        return replicate(planes, self.pad)

    def at_luma(self, planes: Tensor) -> Tensor:
        """The surrounded planes at luma's positions, ``margin`` about the picture."""
        about, size = self.about, self.size
        if self.chroma is None:
            return window(planes, self.origin - about, size + 2 * about)
        x = shuffle(self.chroma(planes, self.origin, -about, size + 2 * about), self.chroma.phases)
        return window(x, about * self.ratio - self.margin, size * self.ratio + 2 * self.margin)

    def forward(self, planes: Tensor, features: Tensor) -> Tensor:
        """Sum both paths: (1, planes, H, W) of the target, from the surrounded planes and the body's features."""
        base = self.base(planes, self.origin, np.zeros(2, int), self.base_cells)
        detail = self.tail(features, self.left, self.tail_cells).to(base.dtype)
        if self.detail_unit != 1:
            detail = detail * self.detail_unit
        if self.base.phases == self.tail.phases:
            return shuffle(base + detail, self.base.phases)
        return shuffle(base, self.base.phases) + shuffle(detail, self.tail.phases)
