"""Linear filters between grids of different density, and their products: what resamplers and the base path are made of.

One-dimensional arrays alone; a picture's two axes are filtered one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from .colour import Array, Resampler

NEGLIGIBLE = 1e-14
"""Taps below this, rounding errors of sums that cancel, are no taps."""


@dataclass(frozen=True, slots=True, eq=False)
class Polyphase:
    """out[phases * k + p] is the sum over t of taps[p, t] * in[step * k + first + t], for every k.

    An output cell is ``phases`` outputs, and stands where ``step`` inputs do.
    """

    taps: Array
    """(phases, n)."""
    first: int
    step: int

    @property
    def phases(self) -> int:
        """Outputs of a cell."""
        return len(self.taps)

    def then(self, outer: "Polyphase") -> "Polyphase":
        """The one filter that equals this one followed by ``outer``."""
        # The pattern repeats where both filters begin a cell at once.
        repeats = self.phases // gcd(outer.step, self.phases)
        rows: list[dict[int, float]] = []
        for k in range(repeats):
            for taps in outer.taps:
                row: dict[int, float] = {}
                for t, weight in enumerate(taps):
                    cell, phase = divmod(outer.step * k + outer.first + t, self.phases)
                    for i, tap in enumerate(self.taps[phase], self.step * cell + self.first):
                        row[i] = row.get(i, 0.0) + float(weight * tap)
                rows.append(row)
        used = [i for row in rows for i, tap in row.items() if abs(tap) > NEGLIGIBLE]
        first = min(used)
        taps = np.array([[row.get(i, 0.0) for i in range(first, max(used) + 1)] for row in rows])
        return Polyphase(taps, first, self.step * repeats * outer.step // self.phases)

    def grouped(self, cells: int) -> "Polyphase":
        """The same filter, whose cell is ``cells`` of this one's."""
        phases, n = self.taps.shape
        taps = np.zeros((phases * cells, n + (cells - 1) * self.step))
        for cell in range(cells):
            taps[cell * phases : (cell + 1) * phases, cell * self.step : cell * self.step + n] = self.taps
        return Polyphase(taps, self.first, self.step * cells)


IDENTITY = Polyphase(np.ones((1, 1)), 0, 1)


def fir(taps: Array) -> Polyphase:
    """A filter of an odd number of taps around each sample."""
    return Polyphase(taps[None], -(len(taps) // 2), 1)


def nearest(ratio: int) -> Polyphase:
    """Every sample ``ratio`` times."""
    return Polyphase(np.ones((ratio, 1)), 0, 1)


def upsampling(resampler: Resampler) -> Polyphase:
    """A resampler that makes ``phases`` samples of one."""
    return Polyphase(resampler.taps, resampler.first, 1)


def downsampling(resampler: Resampler, ratio: int) -> Polyphase:
    """A resampler that makes one sample of ``ratio``."""
    return Polyphase(resampler.taps, resampler.first, ratio)


@dataclass(frozen=True, slots=True, eq=False)
class PlaneFilter:
    """A filter of a picture: the sum of a few separable terms."""

    vertical: Array
    """(terms, phases, n)."""
    horizontal: Array
    """(terms, phases, n)."""
    first: tuple[int, int]
    """Offsets of the taps, vertical and horizontal, relative to the first sample of a cell."""
    step: tuple[int, int]
    """Input samples of a cell."""

    @property
    def phases(self) -> tuple[int, int]:
        """Output samples of a cell."""
        return self.vertical.shape[1], self.horizontal.shape[1]

    @property
    def taps(self) -> tuple[int, int]:
        """Rows and columns of inputs that a cell is made of."""
        return self.vertical.shape[2], self.horizontal.shape[2]

    def dense(self) -> Array:
        """(vertical phases, horizontal phases, rows, columns): the same as one kernel."""
        return np.einsum("tiy,tjx->ijyx", self.vertical, self.horizontal)

    def grouped(self, cells: tuple[int, int]) -> "PlaneFilter":
        """The same filter, whose cell is so many (rows, columns) of this one's."""
        axes = [
            np.stack([Polyphase(term, first, step).grouped(count).taps for term in taps])
            for taps, first, step, count in zip((self.vertical, self.horizontal), self.first, self.step, cells, strict=True)
        ]
        return PlaneFilter(axes[0], axes[1], self.first, (self.step[0] * cells[0], self.step[1] * cells[1]))

    def times(self, gain: float) -> "PlaneFilter":
        """The same filter with its outputs multiplied."""
        return PlaneFilter(self.vertical, self.horizontal * gain, self.first, self.step)

    @property
    def is_separated(self) -> bool:
        """Whether one axis after the other is cheaper than the dense kernel.

        Counted in multiply-adds for each cell; an intermediate sample that is written and read again costs as much as 16.
        """
        terms, rows = self.vertical.shape[:2]
        columns = self.horizontal.shape[1]
        between = rows * terms * self.step[1]
        separated = between * (self.taps[0] + 16) + rows * columns * terms * self.taps[1]
        return separated < rows * columns * self.taps[0] * self.taps[1]


def plane_filter(terms: Sequence[tuple[float, Polyphase, Polyphase]]) -> PlaneFilter:
    """The sum of terms (weight, vertical filter, horizontal filter), all of the same phases and steps."""
    vertical, top = _aligned([term[1] for term in terms])
    horizontal, left = _aligned([term[2] for term in terms])
    weights = np.array([weight for weight, _, _ in terms])
    return PlaneFilter(weights[:, None, None] * vertical, horizontal, (top, left), (terms[0][1].step, terms[0][2].step))


def _aligned(filters: Sequence[Polyphase]) -> tuple[Array, int]:
    """The taps of all filters over one range of inputs, and its first."""
    first = min(f.first for f in filters)
    last = max(f.first + f.taps.shape[1] for f in filters)
    return np.stack([np.pad(f.taps, ((0, 0), (f.first - first, last - f.first - f.taps.shape[1]))) for f in filters]), first
