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
class PlaneGroup:
    """The planes of a picture that have one size and one meaning: luma; both of chroma; R, G and B."""

    format: "PlaneFormat"
    """Format of the picture."""
    indices: range
    """Which of the picture's planes they are."""
    is_chroma: bool

    @property
    def ratios(self) -> tuple[int, int]:
        """Luma samples for one sample of these planes, along the (rows, columns)."""
        return self.format.chroma_ratios if self.is_chroma else (1, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of each plane in samples."""
        rows, columns = self.ratios
        return self.format.height // rows, self.format.width // columns


@dataclass(frozen=True, slots=True)
class PlaneFormat:
    """Format and size of a clip: the part that is known when a script runs."""

    family: ColourFamily
    bits: int
    """Bits of a sample: 8 to 16 for integers, 16 (half) or 32 (single) for floats."""
    is_float: bool
    subsampling_w: int
    """log2 of the luma samples for one sample of chroma in a row."""
    subsampling_h: int
    """log2 of the luma samples for one sample of chroma in a column."""
    width: int
    """Samples in a row of the first plane."""
    height: int
    """Rows of the first plane."""

    @property
    def chroma_ratios(self) -> tuple[int, int]:
        """Luma samples for one sample of chroma, along the (rows, columns); (1, 1) where there is no chroma."""
        return 1 << self.subsampling_h, 1 << self.subsampling_w

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Dtype of a sample in memory."""
        if self.is_float:
            return np.dtype(np.float16 if self.bits == 16 else np.float32)
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of luma, or of every plane where there is no chroma."""
        return self.height, self.width

    @property
    def groups(self) -> list[PlaneGroup]:
        """All planes, those of one size and meaning together."""
        if self.family == "YUV":
            return [PlaneGroup(self, range(1), is_chroma=False), PlaneGroup(self, range(1, 3), is_chroma=True)]
        return [PlaneGroup(self, range(1 if self.family == "GRAY" else 3), is_chroma=False)]

    @property
    def planes(self) -> list[PlaneGroup]:
        """For each plane, in order, the group that says what it is."""
        return [group for group in self.groups for _ in group.indices]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(rows, columns) of each plane in samples."""
        return [plane.shape for plane in self.planes]


@dataclass(frozen=True, slots=True)
class Colorimetry:
    """What the samples of a frame mean: the part that its properties say."""

    matrix: Matrix
    """The matrix between YUV and RGB, which also says what the luma of GRAY is; without meaning for RGB."""
    range: Range
    """The range of integer samples; without meaning for floats."""
    siting: Siting
    """Where subsampled chroma sits."""


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What a session is made for."""

    source: PlaneFormat
    target: PlaneFormat
    """The format of the result: of the source's colour family, and ``scale`` times as high and as wide."""
    colour: Colorimetry
    """What the samples of source and target mean."""
    temporal: bool = False
    """Whether the learned path reads averages over earlier frames; the base path reads the frame alone."""

    @property
    def scale(self) -> int:
        """How many times as high and as wide as the source the target is."""
        return self.target.height // self.source.height

    @property
    def inputs(self) -> list[PlaneFormat]:
        """Formats of the pictures that a session is given: the source, and in temporal mode the averages, floats in its codes."""
        averages = replace(self.source, bits=32, is_float=True)
        return [self.source, averages] if self.temporal else [self.source]

    @property
    def input_planes(self) -> list[PlaneGroup]:
        """For each plane that a session is given, picture by picture, the group that says what it is in its picture."""
        return [plane for fmt in self.inputs for plane in fmt.planes]


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


def sample_scale(planes: PlaneGroup, colour: Colorimetry) -> tuple[float, float]:
    """(scale, offset) of planes: a sample is value * scale + offset, the value nominally 0..1, or -0.5..0.5 for chroma."""
    fmt = planes.format
    if fmt.is_float:
        return 1.0, 0.0
    if colour.range is Range.FULL:
        return float((1 << fmt.bits) - 1), float(1 << (fmt.bits - 1)) if planes.is_chroma else 0.0
    step = float(1 << (fmt.bits - 8))
    if not planes.is_chroma:
        return 219 * step, 16 * step
    # YCgCo is a transform of the integer R, G, B, so its chroma keeps their step.
    return (219 if colour.matrix is Matrix.YCGCO else 224) * step, 128 * step


def siting_offsets(siting: Siting, ratios: tuple[int, int]) -> tuple[float, float]:
    """Position of the first chroma sample among the luma samples, (vertical, horizontal), in luma samples.

    Args:
        siting: of the chroma.
        ratios: luma samples for one sample of chroma, along the (rows, columns); with (1, 1) the position is (0, 0).
    """
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
