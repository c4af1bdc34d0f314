"""The linear end of the learned path as one convolution before a pixel shuffle."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .colour import Array
from .operations import Convolution, Operation
from .parts import NetworkParts
from .polyphase import Polyphase


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """A strided convolution whose outputs are the samples of a cell, float64."""

    weight: Array
    """(planes, vertical phases, horizontal phases, inputs, rows, columns)."""
    bias: Array
    """(planes, vertical phases, horizontal phases)."""
    first: tuple[int, int]
    """Offsets of the taps, relative to the first input pixel of a cell."""
    step: tuple[int, int]
    """Input pixels of a cell."""

    @property
    def taps(self) -> tuple[int, int]:
        """Rows and columns of inputs that a cell is made of."""
        rows, columns = self.weight.shape[-2:]
        return rows, columns

    @property
    def phases(self) -> tuple[int, int]:
        """Outputs of a cell for each plane."""
        rows, columns = self.bias.shape[1:]
        return rows, columns

    def grouped(self, cells: tuple[int, int]) -> "Tail":
        """The same convolution, whose cell is so many (rows, columns) of this one's."""
        planes, rows, columns, inputs, height, width = self.weight.shape
        (down, across), (y, x) = cells, self.step
        weight = np.zeros((planes, rows * down, columns * across, inputs, height + (down - 1) * y, width + (across - 1) * x))
        for i in range(down):
            for j in range(across):
                part = weight[:, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
                part[..., i * y : i * y + height, j * x : j * x + width] = self.weight
        return Tail(weight, np.tile(self.bias, (1, down, across)), self.first, (y * down, x * across))

    def convolution(self, features: Operation) -> Convolution:
        """The operation: (inputs, rows, columns) to (planes * phases, cells of the rows, cells of the columns)."""
        weight = self.weight.reshape(-1, *self.weight.shape[3:])
        return Convolution(sources=(features,), weight=weight, bias=self.bias.flatten(), first=self.first, step=self.step)


def fold_tail(network: NetworkParts, from_rgb: Array, reduce: tuple[Polyphase, Polyphase]) -> Tail:
    """The last upsampling convolution and all behind it, for planes that are rows of ``from_rgb`` reduced."""
    up, out, factor = network.up, network.out, network.factor
    rows, columns = (behind_shuffle(axis, factor) for axis in reduce)
    weight, bias = tail_product(
        np, up.weight, up.bias, network.gain * np.einsum("pc,cmyx->pmyx", from_rgb, out.weight), rows.taps, columns.taps
    )
    bias = bias + (network.gain * from_rgb @ out.bias)[:, None, None]
    return Tail(weight, bias, (rows.first - 1, columns.first - 1), (rows.step, columns.step))


def tail_product(xp: Any, up: Any, up_bias: Any, out: Any, rows: Any, columns: Any) -> tuple[Any, Any]:
    """Weight and bias, without that of ``out``, of a tail, in NumPy or in PyTorch, where gradients reach what is given.

    Args:
        xp: the module ``numpy`` or ``torch``, whose arrays the others are, of one dtype.
        up: weight of the convolution before the shuffle, (middle * factor^2, inputs, 3, 3), and ``up_bias`` its bias.
        out: weight of the convolution behind the shuffle, (planes, middle, 3, 3).
        rows, columns: taps of :class:`BehindShuffle`.
    """
    factor = rows.shape[3]
    # A pixel shuffle's input channels are (middle, row in the cell, column in the cell).
    up = up.reshape(-1, factor, factor, *up.shape[1:])
    up_bias = up_bias.reshape(-1, factor, factor)
    # p planes, i j phases, m middle channels, e f cells, q r phases of the shuffle, n inputs, y x taps of up, a b taps of out.
    # Two arrays at a time: NumPy would go through the indices of all three at once.
    contract = partial(np.einsum, optimize=True) if xp is np else xp.einsum
    behind = contract("pmajfr,iaeq->pijefmqr", contract("pmab,jbfr->pmajfr", out, columns), rows)
    products = contract("pijefmqr,mqrnyx->pijnefyx", behind, up)
    cells, kernel = products.shape[4:6], up.shape[-2:]
    weight = xp.zeros((*products.shape[:4], cells[0] + kernel[0] - 1, cells[1] + kernel[1] - 1), dtype=products.dtype)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            weight[..., y : y + cells[0], x : x + cells[1]] += products[..., y, x]
    return weight, contract("pijefmqr,mqr->pij", behind, up_bias)


@dataclass(frozen=True, slots=True, eq=False)
class BehindShuffle:
    """One axis of what lies behind a pixel shuffle: a 3-tap convolution at the high resolution, then a reduction."""

    taps: Array
    """(phases, tap of the convolution, cell, phase of the shuffle): what of the reduction falls there."""
    first: int
    """The first cell, relative to that of the first output."""
    step: int
    """Cells of the shuffle for one of the output."""


def behind_shuffle(reduce: Polyphase, factor: int) -> BehindShuffle:
    """What a reduction, behind which there is one phase, makes of a shuffle by ``factor``."""
    assert reduce.phases == 1
    # Outputs after which both grids begin anew: 3 for 2 cells where 3x is reduced by 2.
    step = int(np.lcm(reduce.step, factor)) // factor
    phases = step * factor // reduce.step
    ends = reduce.first - 1, reduce.step * (phases - 1) + reduce.first + reduce.taps.shape[1]
    first, last = (position // factor for position in ends)
    taps = np.zeros((phases, 3, last - first + 1, factor))
    for phase in range(phases):
        for t, weight in enumerate(reduce.taps[0]):
            for tap in range(3):
                cell, within = divmod(reduce.step * phase + reduce.first + t + tap - 1, factor)
                taps[phase, tap, cell - first, within] += float(weight)
    return BehindShuffle(taps, first, step)
