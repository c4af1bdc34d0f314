"""What a clip is: its format and size when a script runs, and what its samples mean from the properties of each frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import vapoursynth as vs

from ..program.colour import Colorimetry, ColourFamily, Matrix, PlaneFormat, Range, Siting, parse_matrix, parse_range, parse_siting
from ..support.errors import ParagonSR2Error

FAMILIES: dict[vs.ColorFamily, ColourFamily] = {vs.YUV: "YUV", vs.RGB: "RGB", vs.GRAY: "GRAY"}

LARGEST_601_HEIGHT = 576
"""Lines of the largest standard-definition picture; larger ones are BT.709 where nothing says otherwise."""

UNSPECIFIED = 2
"""The matrix of H.273 that says nothing."""

UNSET_SITING = -1
"""The chroma location that says nothing, as the resizer takes it."""

NOT_LINEAR = {
    10: "2020cl (constant luminance)",
    12: "chromaticity-derived, non-constant luminance",
    13: "chromaticity-derived, constant luminance",
    14: "ICtCp",
}
"""Matrices of H.273 that VapourSynth names and that have no fixed linear form on R'G'B'."""


def plane_format(fmt: vs.VideoFormat, width: int, height: int, parameter: str = "clip's format") -> PlaneFormat:
    """A VapourSynth format and size in our terms.

    Raises ParagonSR2Error, naming the parameter, for samples that are neither integers of 8 to 16 bits nor floats, and for chroma
    that is subsampled by more than four, as the resizer does.
    """
    is_float = fmt.sample_type == vs.FLOAT
    if fmt.color_family not in FAMILIES or (fmt.bits_per_sample > 16 and not is_float):
        raise ParagonSR2Error(
            f"{parameter} is {fmt.name}: expected YUV, RGB or GRAY with integer samples of 8 to 16 bits, half or single floats"
        )
    if max(fmt.subsampling_w, fmt.subsampling_h) > 2:
        raise ParagonSR2Error(f"{parameter} is {fmt.name}: expected at most four luma samples for one of chroma along each axis")
    return PlaneFormat(
        family=FAMILIES[fmt.color_family],
        bits=fmt.bits_per_sample,
        is_float=is_float,
        subsampling_w=fmt.subsampling_w,
        subsampling_h=fmt.subsampling_h,
        width=width,
        height=height,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorimetryReader:
    """What frames of one clip mean: the arguments where given, else the properties, else the defaults of the format."""

    source: PlaneFormat
    matrix: Matrix | None
    color_range: Range | None
    siting: Siting | None
    allow_interlaced: bool = False
    """Whether interlaced frames are read as if they were progressive."""

    @classmethod
    def for_clip(
        cls,
        source: PlaneFormat,
        *,
        matrix: str | int | None,
        color_range: str | int | None,
        chroma_location: str | int | None,
        allow_interlaced: bool = False,
    ) -> "ColorimetryReader":
        """Check the arguments; None leaves each to the frames. Raises ParagonSR2Error for a value that means nothing."""
        return cls(
            source=source,
            matrix=None if matrix is None else parse_matrix(matrix),
            color_range=None if color_range is None else parse_range(color_range),
            siting=None if chroma_location is None else parse_siting(chroma_location),
            allow_interlaced=allow_interlaced,
        )

    def read(self, props: Mapping[str, Any]) -> Colorimetry:
        """The meaning of a frame with these properties; without any, that of a frame that says nothing.

        Raises ParagonSR2Error for a matrix, range or siting that cannot be worked with, and for an interlaced frame.
        """
        if not self.allow_interlaced and (field := whole_property(props, "_FieldBased", 0)):
            if field not in (1, 2):
                raise ParagonSR2Error(f"_FieldBased is {field}: expected 0 (progressive), or 1 or 2 (interlaced)")
            raise ParagonSR2Error(
                f"_FieldBased is {field}, interlaced: deinterlace the clip first (with "
                "bwdif or QTGMC), or pass allow_interlaced=True if its frames are progressive in truth"
            )
        return Colorimetry(
            matrix=self.default_matrix if self.source.family == "RGB" else self._matrix(props),
            range=self._range(props),
            siting=self._siting(props),
        )

    def lacks_matrix(self, props: Mapping[str, Any]) -> bool:
        """Whether the matrix is a guess from the size of the picture."""
        return self.source.family == "YUV" and self.matrix is None and _said_matrix(props) == UNSPECIFIED

    @property
    def default_matrix(self) -> Matrix:
        """By the size of the picture: BT.601 up to 576 lines, BT.709 above."""
        return Matrix.ST170_M if self.source.height <= LARGEST_601_HEIGHT else Matrix.BT709

    def _matrix(self, props: Mapping[str, Any]) -> Matrix:
        if self.matrix is not None:
            return self.matrix
        said = _said_matrix(props)
        if said == UNSPECIFIED or (said == 0 and self.source.family == "GRAY"):
            return self.default_matrix
        if said in set(Matrix):
            return Matrix(said)
        name = NOT_LINEAR.get(said, "RGB" if said == 0 else "reserved or unknown")
        supported = ", ".join(f"{m.value} ({m.name})" for m in Matrix)
        raise ParagonSR2Error(
            f"_Matrix is {said}, {name}, in a {self.source.family} clip: expected {supported}; matrix= overrides it"
        )

    def _range(self, props: Mapping[str, Any]) -> Range:
        if self.color_range is not None:
            return self.color_range
        default = Range.FULL if self.source.family == "RGB" else Range.LIMITED
        return _property(props, "_Range", Range, default, "color_range")

    def _siting(self, props: Mapping[str, Any]) -> Siting:
        if self.source.family != "YUV":
            return Siting.LEFT
        if self.siting is not None:
            return self.siting
        if props.get("_ChromaLocation") == UNSET_SITING:
            return Siting.LEFT
        return _property(props, "_ChromaLocation", Siting, Siting.LEFT, "chroma_location")


def _said_matrix(props: Mapping[str, Any]) -> int:
    """``_Matrix``, or where it says nothing mpv's ``_ColorSpace``, which has the same numbers and 0 for what is no YUV."""
    said = whole_property(props, "_Matrix", UNSPECIFIED)
    return whole_property(props, "_ColorSpace", UNSPECIFIED) or UNSPECIFIED if said == UNSPECIFIED else said


def check_readable(props: Mapping[str, Any]) -> None:
    """Raise ParagonSR2Error for a property that is there and that VapourSynth cannot give, so that no frame could carry it."""
    for name in list(props):
        if name not in props:  # as a _ColorRange that is no whole number, which would be _Range otherwise
            raise ParagonSR2Error(
                f'{name} is text, data or a fraction: expected a whole number; std.RemoveFrameProps("{name}") drops it'
            )


def whole_property(props: Mapping[str, Any], name: str, default: int) -> int:
    """A frame property as an int. Raises ParagonSR2Error where it is something else: data, text or several numbers."""
    value = props.get(name, default)
    if not isinstance(value, int):
        raise ParagonSR2Error(f"{name} is {value!r}: expected a whole number")
    return int(value)


def _property[T: (Range, Siting)](props: Mapping[str, Any], name: str, kind: type[T], default: T, override: str) -> T:
    value = whole_property(props, name, default)
    if value not in set(kind):
        expected = ", ".join(f"{m.value} ({m.name})" for m in kind)
        raise ParagonSR2Error(f"{name} is {value}: expected {expected}; {override}= overrides it")
    return kind(value)
