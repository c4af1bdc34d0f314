"""What planes mean, with the names of ITU-T H.273, and the linear operators between them and RGB.

Nothing here computes on pictures: the operators are small arrays that a backend applies.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..support.errors import ParagonSR2Error

Array = NDArray[np.float64]
ColourFamily = Literal["YUV", "RGB", "GRAY"]


class Matrix(IntEnum):
    """MatrixCoefficients of H.273 that have a linear, constant form."""

    BT709 = 1
    FCC = 4
    BT470_BG = 5
    ST170_M = 6
    ST240_M = 7
    YCGCO = 8
    BT2020_NCL = 9


class Range(IntEnum):
    """VideoFullRangeFlag of H.273, as the frame property ``_Range`` has it."""

    LIMITED = 0
    FULL = 1


class Siting(IntEnum):
    """ChromaSampleLocType of H.273: where a chroma sample sits among its luma samples."""

    LEFT = 0
    CENTER = 1
    TOP_LEFT = 2
    TOP = 3
    BOTTOM_LEFT = 4
    BOTTOM = 5


# KR and KB of H.273, table 4.
LUMA_WEIGHTS = {
    Matrix.BT709: (0.2126, 0.0722),
    Matrix.FCC: (0.30, 0.11),
    Matrix.BT470_BG: (0.299, 0.114),
    Matrix.ST170_M: (0.299, 0.114),
    Matrix.ST240_M: (0.212, 0.087),
    Matrix.BT2020_NCL: (0.2627, 0.0593),
}


@dataclass(frozen=True, slots=True)
class PlaneFormat:
    """Format and size of a clip: the part that is known when a script runs."""

    family: ColourFamily
    bits: int
    """Of a sample: 8 to 16 for integers, 16 (half) or 32 (single) for floats."""
    is_float: bool
    subsampling_w: int
    """log2 of the luma samples for a chroma sample in a row."""
    subsampling_h: int
    width: int
    """Of the first plane, in samples."""
    height: int

    @property
    def ratios(self) -> tuple[int, int]:
        """Luma samples for a chroma sample along the height and along the width."""
        return 1 << self.subsampling_h, 1 << self.subsampling_w

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of a sample in memory."""
        if self.is_float:
            return np.dtype(np.float16 if self.bits == 16 else np.float32)
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Height and width of each plane in samples."""
        luma = (self.height, self.width)
        if self.family == "GRAY":
            return [luma]
        chroma = (self.height >> self.subsampling_h, self.width >> self.subsampling_w)
        return [luma, chroma, chroma]


@dataclass(frozen=True, slots=True)
class Colorimetry:
    """What the samples of a frame mean: the part that its properties say."""

    matrix: Matrix
    """Between YUV and RGB, and the luma of GRAY; without meaning for RGB."""
    range: Range
    """Of integer samples; without meaning for floats."""
    siting: Siting
    """Of subsampled chroma."""


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What a session is made for."""

    source: PlaneFormat
    target: PlaneFormat
    """Of the source's family, larger by the scale on each side."""
    colour: Colorimetry
    """Of source and target alike."""
    temporal: bool = False
    """Whether the learned path reads averages over earlier frames (:mod:`.temporal`); the base path reads the frame alone."""

    @property
    def inputs(self) -> list[PlaneFormat]:
        """Of the pictures that a session is given: the source, and in temporal mode the averages, floats in the source's codes."""
        averages = replace(self.source, bits=32, is_float=True)
        return [self.source, averages] if self.temporal else [self.source]


@cache
def rgb_to_yuv(matrix: Matrix) -> Array:
    """(3, 3): rows Y, U, V from columns R, G, B, nominally 0..1, chroma -0.5..0.5 (H.273, MatrixCoefficients)."""
    if matrix is Matrix.YCGCO:
        return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])
    kr, kb = LUMA_WEIGHTS[matrix]
    y = np.array([kr, 1.0 - kr - kb, kb])
    u = (np.array([0.0, 0.0, 1.0]) - y) / (2 * (1 - kb))
    v = (np.array([1.0, 0.0, 0.0]) - y) / (2 * (1 - kr))
    return np.stack([y, u, v])


@cache
def yuv_to_rgb(matrix: Matrix) -> Array:
    """(3, 3): the inverse of :func:`rgb_to_yuv`."""
    return np.linalg.inv(rgb_to_yuv(matrix))


def sample_scale(fmt: PlaneFormat, colour: Colorimetry) -> list[tuple[float, float]]:
    """For each plane (scale, offset): sample = value * scale + offset, value nominally 0..1, or -0.5..0.5 for chroma."""
    planes = len(fmt.shapes)
    if fmt.is_float:
        return [(1.0, 0.0)] * planes
    chroma_planes = 2 if fmt.family == "YUV" else 0
    if colour.range is Range.FULL:
        peak = float((1 << fmt.bits) - 1)
        first, chroma = (peak, 0.0), (peak, float(1 << (fmt.bits - 1)))
    else:
        step = float(1 << (fmt.bits - 8))
        # YCgCo is a transform of the integer R, G, B, so its chroma keeps their step.
        chroma_codes = 219 if fmt.family == "YUV" and colour.matrix is Matrix.YCGCO else 224
        first, chroma = (219 * step, 16 * step), (chroma_codes * step, 128 * step)
    return [first] * (planes - chroma_planes) + [chroma] * chroma_planes


def siting_offsets(siting: Siting, ratios: tuple[int, int]) -> tuple[float, float]:
    """Position of the first chroma sample among the luma samples, (vertical, horizontal), in luma samples."""
    rows, columns = ratios
    if siting in (Siting.TOP_LEFT, Siting.TOP):
        vertical = 0.0
    elif siting in (Siting.BOTTOM_LEFT, Siting.BOTTOM):
        vertical = rows - 1.0
    else:
        vertical = (rows - 1) / 2
    left = siting in (Siting.LEFT, Siting.TOP_LEFT, Siting.BOTTOM_LEFT)
    return vertical, 0.0 if left else (columns - 1) / 2


def bicubic(x: Array) -> Array:
    """The cubic of Mitchell and Netravali with b = 0, c = 0.5 (Catmull-Rom), which ``resize.Bicubic`` has by default."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


@dataclass(frozen=True, slots=True)
class Resampler:
    """A one-dimensional polyphase filter.

    Upsampling by r: output i = r * k + phase is the sum over t of taps[phase, t] * input[k + first + t]. Downsampling by r, one
    phase: output k is the sum over t of taps[0, t] * input[r * k + first + t]. Inputs past an edge repeat the edge.
    """

    taps: Array
    """(phases, n), each row's sum 1."""
    first: int
    """Index of the first tap relative to the sample that the output belongs to."""


def chroma_upsampler(ratio: int, offset: float) -> Resampler:
    """From chroma to luma positions; ``ratio`` luma samples for one of chroma, the first of which sits at luma ``offset``."""
    positions = (np.arange(ratio) - offset) / ratio
    first = int(np.floor(positions.min())) - 1
    n = int(np.floor(positions.max())) + 2 - first + 1
    return _normalised(bicubic(positions[:, None] - (first + np.arange(n))), first)


def chroma_downsampler(ratio: int, offset: float) -> Resampler:
    """From luma to chroma positions, with the kernel widened by the ratio against aliasing."""
    first = int(np.floor(offset - 2 * ratio)) + 1
    last = int(np.ceil(offset + 2 * ratio)) - 1
    return _normalised(bicubic((first + np.arange(last - first + 1) - offset)[None] / ratio), first)


def _normalised(taps: Array, first: int) -> Resampler:
    """Trim taps that are zero in every phase and make each phase sum to 1."""
    used = np.flatnonzero(np.abs(taps).max(0) > 1e-12)
    taps = taps[:, used[0] : used[-1] + 1]
    return Resampler(taps / taps.sum(1, keepdims=True), first + int(used[0]))


def parse_matrix(value: str | int) -> Matrix:
    """A matrix by its number in H.273 or by the name that VapourSynth's resizer has for it."""
    names = {
        "709": Matrix.BT709,
        "fcc": Matrix.FCC,
        "470bg": Matrix.BT470_BG,
        "170m": Matrix.ST170_M,
        "240m": Matrix.ST240_M,
        "ycgco": Matrix.YCGCO,
        "2020ncl": Matrix.BT2020_NCL,
    }
    return _parse(value, names, Matrix, "matrix")


def parse_range(value: str | int) -> Range:
    """A range by its number in H.273 or by name."""
    return _parse(value, {"limited": Range.LIMITED, "full": Range.FULL}, Range, "color_range")


def parse_siting(value: str | int) -> Siting:
    """A chroma location by its number in H.273 or by name."""
    return _parse(value, {s.name.lower(): s for s in Siting}, Siting, "chroma_location")


def _parse[T: IntEnum](value: str | int, names: dict[str, T], kind: type[T], parameter: str) -> T:
    if isinstance(value, str) and value in names:
        return names[value]
    if isinstance(value, int) and not isinstance(value, bool) and value in set(kind):
        return kind(value)
    numbers = ", ".join(f"{name!r} ({number.value})" for name, number in names.items())
    raise ParagonSR2Error(f"{parameter} is {value!r}: expected one of {numbers}")
