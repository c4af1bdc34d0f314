"""The linear ends of the graph as modules: filters of planes and the tails, each exact from what lies about the picture.

All geometry is settled when a module is made: ``forward`` is slices, convolutions without padding and shuffles.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .fold import Convolution, PlaneGroup
from .polyphase import PlaneFilter

Size = NDArray[np.int64]
"""Two numbers, of the rows and of the columns."""


class Part(Protocol):
    """A rectangle of (N, C, H, W)."""

    def of(self, x: Tensor) -> Tensor:
        """Cut it out."""
        ...


class Window(NamedTuple):
    """A rectangle of (N, C, H, W), in plain integers, which every exporter can follow."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor) -> Tensor:
        """Cut it out; nothing is done where it is the whole."""
        if (self.height, self.width) == tuple(x.shape[2:]):
            return x
        return x[:, :, self.top : self.top + self.height, self.left : self.left + self.width]


def window(start: Size, size: Size) -> Window:
    """The rectangle of ``size`` from ``start`` on."""
    return Window(*start.tolist(), *size.tolist())


def cells_window(filter_: Convolution | PlaneFilter, origin: Size, begin: Size, cells: Size) -> Window:
    """What a filter reads to compute cells from ``begin`` on; ``origin`` is where the first pixel of cell 0 lies."""
    first, taps, step = _geometry(filter_)
    return window(origin + begin * step + first, (cells - 1) * step + taps)


def reach_of(filter_: Convolution | PlaneFilter) -> Size:
    """Input pixels that the outputs of a picture need on each side of it."""
    first, taps, step = _geometry(filter_)
    return np.maximum(np.maximum(-first, first + taps - step), 0)


def _geometry(filter_: Convolution | PlaneFilter) -> tuple[Size, Size, Size]:
    return np.array(filter_.first), np.array(filter_.taps), np.array(filter_.step)


def replicate(x: Tensor, rows: int, columns: int) -> Tensor:
    """Repeat the edges of (N, C, H, W); written with what every runtime knows."""
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
        reads: the part of the planes that it computes from.
        gain: of the filter, and
        offset: what is added behind it.
        dense: whether it is to be one convolution, even where one axis after the other costs less.
    """

    def __init__(self, filter_: PlaneFilter, reads: Part, gain: float = 1.0, offset: float = 0.0, *, dense: bool = False) -> None:
        super().__init__()
        self.reads = reads
        self.phases = filter_.phases
        (rows, columns), height, (step_y, step_x) = filter_.phases, filter_.taps[0], filter_.step
        self.rows: nn.Conv2d | None = None
        if filter_.is_separated and not dense:
            terms = len(filter_.vertical)
            # Each phase of the rows has its terms side by side, and the columns are filtered phase by phase.
            vertical = filter_.vertical.swapaxes(0, 1).reshape(rows * terms, 1, height, 1)
            horizontal = np.tile(filter_.horizontal.swapaxes(0, 1), (rows, 1, 1))[:, :, None]
            self.rows = _convolution(torch.from_numpy(vertical.copy()), None, (step_y, 1))
            weight, step, groups = torch.from_numpy(horizontal), (1, step_x), rows
        else:
            weight, step, groups = torch.from_numpy(filter_.dense()).flatten(0, 1)[:, None], (step_y, step_x), 1
        bias = torch.full((rows * columns,), offset, dtype=weight.dtype) if offset else None
        self.last = _convolution(weight * gain, bias, step, groups)

    def forward(self, planes: Tensor) -> Tensor:
        x = self.reads.of(planes)
        # Planes as a batch: all of them have the same filter.
        x = x.reshape(x.shape[1], 1, *x.shape[2:])
        if self.rows is not None:
            x = self.rows(x)
        x = self.last(x)
        return x.reshape(1, -1, *x.shape[2:])


class Tail(nn.Module):
    """A Convolution: (1, F, H, W) to (1, planes * phases, cells of the rows, cells of the columns)."""

    def __init__(self, convolution: Convolution, reads: Part) -> None:
        super().__init__()
        self.reads = reads
        _, rows, columns = convolution.bias.shape
        self.phases = (rows, columns)
        self.conv = _convolution(convolution.weight.flatten(0, 2), convolution.bias.flatten(), convolution.step)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(self.reads.of(features))


def _convolution(weight: Tensor, bias: Tensor | None, step: tuple[int, int], groups: int = 1) -> nn.Conv2d:
    outputs, inputs, *taps = weight.shape
    conv = nn.Conv2d(inputs * groups, outputs, (taps[0], taps[1]), step, groups=groups, bias=bias is not None)
    conv = conv.to(weight.dtype)
    conv.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return conv


class About(NamedTuple):
    """Luma samples that surround a picture or are cut off it (negative): above and to the left, below and to the right."""

    before: Size
    after: Size


def need_of(group: PlaneGroup, chroma: PlaneFilter | None, ratio: Size, about: About) -> About:
    """Samples of a group's planes about the picture that a :class:`PlanePath` needs to reach ``about`` it."""
    reach = np.zeros(2, np.int64) if chroma is None else reach_of(chroma)
    before, after = (np.maximum(-(-side // ratio) + reach, reach_of(group.base)) for side in about)
    return About(before, after)


class PlanePath(nn.Module):
    """All of one group of planes but what the body does: replication, positions of luma, base path, tail and sum.

    Args:
        group: what was folded for these planes.
        chroma: filter to luma's positions; None where the planes are there already.
        ratio: luma samples for one of the group.
        given: samples before the picture that the planes bring with them, and behind it.
        missing: samples to replicate on each side besides.
        size: of the source's luma.
        head: luma samples about the picture that the head is to get.
        left: pixels before the picture that the features have.
        resolution: features for a luma sample, along each axis.
        detail_unit: target samples for what the tail gives as 1.
        dense: for runtimes that round what lies between two layers to few digits: filters of planes are one layer each.

    Attributes:
        phases: (rows, columns) of the cells that ``cells`` gives.
    """

    def __init__(
        self,
        group: PlaneGroup,
        chroma: PlaneFilter | None,
        ratio: Size,
        given: Size,
        missing: Size,
        *,
        size: Size,
        head: About,
        left: Size,
        resolution: int,
        detail_unit: float,
        dense: bool = False,
    ) -> None:
        super().__init__()
        nothing = np.zeros(2, np.int64)
        self.missing = (int(missing[0]), int(missing[1]))
        origin, own = given + missing, size // ratio
        before, after = (-(-side // ratio) for side in head)
        self.chroma: PlaneStencil | None = None
        if chroma is None:
            self.head_reads = window(origin - before, own + before + after)
        else:
            reads = cells_window(chroma, origin, -before, own + before + after)
            self.chroma = PlaneStencil(chroma, reads, dense=dense)
            self.head_reads = window(before * ratio - head.before, size + head.before + head.after)
        base, tail = group.base, group.tail
        reads = cells_window(base, origin, nothing, own // np.array(base.step))
        self.base = PlaneStencil(base, reads, group.gain, group.offset, dense=dense)
        self.tail = Tail(tail, cells_window(tail, left, nothing, size * resolution // np.array(tail.step)))
        self.phases = base.phases if base.phases == tail.phases else (1, 1)
        self.detail_unit = detail_unit

    def surround(self, planes: Tensor) -> Tensor:
        """Replicate the edges of (1, planes, H, W) by what is missing."""
        return replicate(planes, *self.missing)

    def at_luma(self, planes: Tensor) -> Tensor:
        """The surrounded planes at luma's positions, ``margin`` about the picture."""
        if self.chroma is not None:
            planes = shuffle(self.chroma(planes), self.chroma.phases)
        return self.head_reads.of(planes)

    def forward(self, planes: Tensor, features: Tensor) -> Tensor:
        """Sum both paths: (1, planes, H, W) of the target, from the surrounded planes and the body's features."""
        return shuffle(self.cells(planes, features), self.phases)

    def cells(self, planes: Tensor, features: Tensor) -> Tensor:
        """What ``forward`` gives, before the shuffle: (1, planes * phases, cells of the rows, cells of the columns)."""
        base = self.base(planes)
        detail = self.tail(features).to(base.dtype)
        if self.detail_unit != 1:
            detail = detail * self.detail_unit
        if self.base.phases == self.tail.phases:
            return base + detail
        return shuffle(base, self.base.phases) + shuffle(detail, self.tail.phases)
