"""What a clip is taken for: defaults, properties, overrides."""

import pytest
import vapoursynth as vs

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.clip.colorimetry import ColorimetryReader, plane_format
from vs_paragonsr2.program.colour import Colorimetry, Matrix, PlaneFormat, Range, Siting


def source(fmt: int = vs.YUV420P8, height: int = 720) -> PlaneFormat:
    return plane_format(vs.core.get_video_format(fmt), 1280, height)


def read(props: dict[str, object], fmt: int = vs.YUV420P8, height: int = 720, **overrides: object) -> Colorimetry:
    arguments = {"matrix": None, "color_range": None, "chroma_location": None, **overrides}
    return ColorimetryReader.for_clip(source(fmt, height), **arguments).read(props)


@pytest.mark.parametrize(("height", "matrix"), [(576, Matrix.ST170_M), (578, Matrix.BT709), (1080, Matrix.BT709)])
def test_defaults_go_by_the_height(height: int, matrix: Matrix) -> None:
    assert read({}, height=height) == Colorimetry(matrix, Range.LIMITED, Siting.LEFT)
    assert read({"_Matrix": 2}, height=height).matrix is matrix


def test_rgb_is_full_range_by_default_and_ignores_the_matrix() -> None:
    assert read({"_Matrix": 0}, vs.RGB24).range is Range.FULL
    assert read({"_Range": 0}, vs.RGB24).range is Range.LIMITED
    assert read({"_Matrix": 14}, vs.RGB24) == read({}, vs.RGB24)


def test_gray_takes_an_rgb_matrix_for_none() -> None:
    assert read({"_Matrix": 0}, vs.GRAY8).matrix is Matrix.BT709


@pytest.mark.parametrize("matrix", Matrix)
def test_properties_are_read(matrix: Matrix) -> None:
    props = {"_Matrix": int(matrix), "_Range": 1, "_ChromaLocation": 3}
    assert read(props) == Colorimetry(matrix, Range.FULL, Siting.TOP)


def test_mpv_says_the_matrix_by_another_name() -> None:
    assert read({"_ColorSpace": 9}).matrix is Matrix.BT2020_NCL
    assert read({"_Matrix": 2, "_ColorSpace": 5}).matrix is Matrix.BT470_BG
    assert read({"_Matrix": 1, "_ColorSpace": 9}).matrix is Matrix.BT709
    assert read({"_ColorSpace": 2}).matrix is Matrix.BT709
    assert read({"_ColorSpace": 0}).matrix is Matrix.BT709


def test_arguments_override_properties() -> None:
    props = {"_Matrix": 10, "_Range": 0, "_ChromaLocation": 99}
    overridden = read(props, matrix="2020ncl", color_range="full", chroma_location="top_left")
    assert overridden == Colorimetry(Matrix.BT2020_NCL, Range.FULL, Siting.TOP_LEFT)
    by_number = read(props, matrix=vs.MATRIX_BT2020_NCL, color_range=vs.RANGE_FULL, chroma_location=vs.CHROMA_TOP_LEFT)
    assert by_number == overridden


@pytest.mark.parametrize(
    ("matrix", "name"), [(0, "RGB"), (3, "reserved"), (10, "2020cl"), (12, "chromaticity"), (13, "chromaticity"), (14, "ICtCp")]
)
def test_refuses_matrices_that_are_not_linear_by_name(matrix: int, name: str) -> None:
    with pytest.raises(ParagonSR2Error, match=rf"_Matrix is {matrix}, {name}.*expected 1 \(BT709\).*matrix= overrides it"):
        read({"_Matrix": matrix})


def test_refuses_properties_that_mean_nothing() -> None:
    with pytest.raises(ParagonSR2Error, match=r"_Range is 7: expected 0 \(LIMITED\)"):
        read({"_Range": 7})
    with pytest.raises(ParagonSR2Error, match="_ChromaLocation is 6: expected 0 .*chroma_location= overrides"):
        read({"_ChromaLocation": 6})


@pytest.mark.parametrize("name", ["matrix", "color_range", "chroma_location"])
@pytest.mark.parametrize("value", ["rec709", "", 99, -1, True, 1.5])
def test_refuses_arguments_that_mean_nothing(name: str, value: object) -> None:
    with pytest.raises(ParagonSR2Error, match=f"{name} is .*: expected one of '"):
        read({}, **{name: value})


@pytest.mark.parametrize("fmt", [vs.GRAY32, vs.core.query_video_format(vs.YUV, vs.INTEGER, 32, 0, 0).id])
def test_refuses_integers_of_32_bits(fmt: int) -> None:
    with pytest.raises(ParagonSR2Error, match="clip's format is .*expected YUV, RGB or GRAY with integer samples of 8 to 16 bits"):
        source(fmt)


def test_refuses_chroma_of_one_sample_in_eight() -> None:
    with pytest.raises(ParagonSR2Error, match="at most four luma samples for one of chroma"):
        source(vs.core.query_video_format(vs.YUV, vs.INTEGER, 8, 3, 0).id)
