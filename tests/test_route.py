"""The filter against the route by VapourSynth's own resizer, for every format, matrix, range and siting."""

import itertools

import numpy as np
import pytest
import vapoursynth as vs
from conftest import golden, random_planes
from hypothesis import given, settings
from hypothesis import strategies as st
from route import Planes, clip_of, planes_at, upscaled_by_hand

from vs_paragonsr2 import load_network, upscale
from vs_paragonsr2.program.colour import Matrix

SUBSAMPLINGS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
INTEGERS = {str(bits): (vs.INTEGER, bits) for bits in (8, 10, 16)}
SAMPLES = {**INTEGERS, "half": (vs.FLOAT, 16), "float": (vs.FLOAT, 32)}
MODEL = golden("realtime_x2")
BORDER = 32
"""More than any filter or network of these tests sees."""


def yuv(subsampling: str, samples: str) -> int:
    return int(vs.core.query_video_format(vs.YUV, *SAMPLES[samples], *SUBSAMPLINGS[subsampling]).id)


def assert_same(got: Planes, expected: Planes, fmt: int) -> None:
    """The tolerance of each kind of sample: 8 bits 99.5% identical and the rest one off; more bits two; floats 1e-4."""
    video = vs.core.get_video_format(fmt)
    errors = []
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        errors.append(np.abs(a.astype(np.float64) - b.astype(np.float64)).ravel())
    error = np.concatenate(errors)
    if video.sample_type == vs.FLOAT:
        # Half floats near 1 are 2**-11 apart, and a rounding may fall to the other side.
        assert error.max() <= (1e-4 if video.bits_per_sample == 32 else 2**-10)
        assert np.mean(error > 1e-4) <= 0.005
    elif video.bits_per_sample == 8:
        assert error.max() <= 1
        assert np.mean(error > 0) <= 0.005
    else:
        assert error.max() <= 2


def check(fmt: int, size: tuple[int, int] = (32, 24), model: str = "realtime_x2", **colour: int) -> None:
    """Compare on noise, which shows every fault."""
    planes = random_planes(fmt, *size)
    props = {"_Matrix": colour["matrix"], "_Range": colour["range"], "_ChromaLocation": colour["chromaloc"]}
    if vs.core.get_video_format(fmt).color_family == vs.RGB:
        del props["_Matrix"]
    network = load_network(golden(model))
    border = BORDER if network.window is None else 48 if network.variant == "pro" else 32
    expected = upscaled_by_hand(planes, fmt, network, border, **colour)
    got = planes_at(upscale(clip_of([planes], fmt, **props), golden(model), backend="reference"))
    assert_same(got, expected, fmt)


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("matrix", Matrix)
def test_yuv(matrix: Matrix, subsampling: str, samples: str) -> None:
    sitings = range(6) if subsampling != "444" else (0,)
    for color_range, siting in itertools.product((0, 1), sitings):
        check(yuv(subsampling, samples), matrix=matrix, range=color_range, chromaloc=siting)


@pytest.mark.parametrize("color_range", [0, 1])
@pytest.mark.parametrize("fmt", [vs.RGB24, vs.RGB30, vs.RGB48, vs.RGBH, vs.RGBS])
def test_rgb(fmt: int, color_range: int) -> None:
    check(fmt, matrix=1, range=color_range, chromaloc=0)


@pytest.mark.parametrize("matrix", Matrix)
@pytest.mark.parametrize("fmt", [vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS])
def test_gray(fmt: int, matrix: Matrix) -> None:
    for color_range in (0, 1):
        check(fmt, matrix=matrix, range=color_range, chromaloc=0)


@pytest.mark.parametrize("bits", [9, 11, 12, 13, 14, 15])
def test_every_depth(bits: int) -> None:
    check(int(vs.core.query_video_format(vs.YUV, vs.INTEGER, bits, 1, 1).id), matrix=9, range=0, chromaloc=2)


# All but realtime and stream need shared/golden.
@pytest.mark.parametrize("model", ["realtime_x4", "stream_x2", "v7_stream_x2", "photo_x2", "photo_x2_exportsafe", "pro_x2"])
@pytest.mark.parametrize("fmt", [vs.YUV420P8, vs.YUV444P16, vs.RGBS])
def test_other_networks(model: str, fmt: int) -> None:
    """Photo and pro see the whole picture, so theirs has the border that the filter gives them."""
    check(fmt, size=(48, 36), model=model, matrix=1, range=0, chromaloc=0)


@pytest.mark.parametrize(
    ("fmt", "output_format"),
    [
        (vs.YUV420P8, vs.YUV420P10),
        (vs.YUV420P8, vs.YUV444P16),
        (vs.YUV444P16, vs.YUV420P8),
        (vs.YUV420P10, vs.YUV420PS),
        (vs.RGB24, vs.RGB48),
        (vs.GRAY8, vs.GRAYS),
    ],
)
def test_output_format(fmt: int, output_format: int) -> None:
    planes = random_planes(fmt, 32, 24)
    family = vs.core.get_video_format(fmt).color_family
    color_range = 1 if family == vs.RGB else 0
    clip = clip_of([planes], fmt, _Matrix=0 if family == vs.RGB else 1)
    expected = upscaled_by_hand(planes, fmt, load_network(MODEL), BORDER, output_format, matrix=1, range=color_range, chromaloc=0)
    by_id = upscale(clip, MODEL, output_format=output_format, backend="reference")
    assert by_id.format.id == output_format
    assert_same(planes_at(by_id), expected, output_format)
    fmt_object = vs.core.get_video_format(output_format)
    by_format = upscale(clip, MODEL, output_format=fmt_object, backend="reference")
    assert_same(planes_at(by_format), planes_at(by_id), output_format)


@settings(max_examples=60, deadline=None)
@given(
    subsampling=st.sampled_from(sorted(SUBSAMPLINGS)),
    samples=st.sampled_from(sorted(SAMPLES)),
    columns=st.integers(1, 12),
    rows=st.integers(1, 12),
    matrix=st.sampled_from(list(Matrix)),
    color_range=st.sampled_from([0, 1]),
    siting=st.integers(0, 5),
)
def test_any_size(subsampling: str, samples: str, columns: int, rows: int, matrix: Matrix, color_range: int, siting: int) -> None:
    """From a single chroma sample up, odd numbers of them, and odd luma sizes where the format has no subsampling."""
    ss_w, ss_h = SUBSAMPLINGS[subsampling]
    planes = random_planes(yuv(subsampling, samples), columns << ss_w, rows << ss_h)
    fmt = yuv(subsampling, samples)
    clip = clip_of([planes], fmt, _Matrix=matrix, _Range=color_range, _ChromaLocation=siting)
    expected = upscaled_by_hand(planes, fmt, load_network(MODEL), BORDER, matrix=matrix, range=color_range, chromaloc=siting)
    got = planes_at(upscale(clip, MODEL, backend="reference"))
    error = np.concatenate([np.abs(a.astype(float) - b.astype(float)).ravel() for a, b in zip(got, expected, strict=True)])
    # A handful of samples makes no percentage: here only the largest error is bounded.
    assert error.max() <= {"8": 1, "10": 2, "16": 2, "half": 2**-10, "float": 1e-4}[samples]


def test_a_flat_picture_keeps_its_borders() -> None:
    """Zero padding would darken them: every pixel of a flat picture must become the same block of 2x2."""
    planes = [np.full((24, 32), 120, np.uint8)]
    (result,) = planes_at(upscale(clip_of([planes], vs.GRAY8), MODEL, backend="reference"))
    assert np.array_equal(result, np.tile(result[:2, :2], (24, 32)))
