"""A program in bands gives the picture that it gives in one piece, whatever the rows of a band."""

import numpy as np
import pytest
from numpy.typing import NDArray
from plain import SUBSAMPLINGS, make_spec, parts_of, random_inputs, random_network, unrounded

from vs_paragonsr2.backends.tiles import Padding
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.program.bands import in_bands, largest_overlap, priming
from vs_paragonsr2.program.colour import ClipSpec, ColourFamily, Siting
from vs_paragonsr2.program.fold import fold
from vs_paragonsr2.program.geometry import Geometry, place
from vs_paragonsr2.program.interpreter import Values, compute, run
from vs_paragonsr2.program.operations import Keep, Margin
from vs_paragonsr2.program.program import Program
from vs_paragonsr2.program.tiling import tile_spec
from vs_paragonsr2.support.errors import ParagonSR2Error


def banded(network: Network, spec: ClipSpec, rows: int, *, centred: bool = False) -> Program:
    return unrounded(in_bands(fold(parts_of(network), tile_spec(spec, (rows, spec.source.width)), centred=centred)))


def placed(program: Program) -> Geometry:
    """As a backend has it that computes bands: planes come padded, and rows are never zero-padded."""
    return place(program, padded=True, zero_padded=(False, True))


def keeps(program: Program) -> list[Keep]:
    return [operation for operation in program.operations if isinstance(operation, Keep)]


def bands_of(program: Program, spec: ClipSpec, planes: list[NDArray[np.float64]], fill: float) -> list[Values]:
    """The planes of a whole picture, band by band; ``fill`` is what is kept before there is anything to keep."""
    rows, geometry = program.spec.source.height, placed(program)
    first, (top, left, bottom, right) = priming(geometry), geometry.source_margin
    count = -(-spec.source.height // rows)
    padding = Padding(spec, Margin(first * rows + top, left, count * rows - spec.source.height + bottom, right))
    padded = [np.empty(shape) for shape in padding.shapes]
    padding.on_host(planes, padded)
    kept = {keep: np.full((keep.channels, geometry.kept(keep), geometry.size(keep)[1]), fill) for keep in keeps(program)}
    found: list[list[Values]] = []
    for band in range(first + count):
        parts = [
            plane[band * rows // group.ratios[0] :][:height]
            for plane, group, (height, _) in zip(padded, spec.input_planes, geometry.input_shapes, strict=True)
        ]
        groups = compute(geometry, parts, kept)
        if band >= first:
            found.append([plane for group in groups for plane in group])
    whole = [np.concatenate(bands) for bands in zip(*found, strict=True)]
    return [plane[:height] for plane, (height, _) in zip(whole, spec.target.shapes, strict=True)]


def assert_same(network: Network, spec: ClipSpec, rows: int, centred: bool = False) -> None:
    planes = [plane[0, 0].numpy() for plane in random_inputs(spec)]
    expected = run(unrounded(fold(parts_of(network), spec)), planes)
    span = (1 << spec.target.bits) - 1 if not spec.target.is_float else 1
    for fill in (0.0, float("nan")):
        for a, b in zip(bands_of(banded(network, spec, rows, centred=centred), spec, planes, fill), expected, strict=True):
            np.testing.assert_allclose(a / span, b / span, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["realtime", "stream", "realtime 10", "stream 10", "realtime 7", "stream 8", "photo without attention"]
)
@pytest.mark.parametrize(("scale", "rows"), [(2, 4), (2, 14), (3, 8), (4, 6)])
def test_every_network_equals_the_whole_picture(name: str, scale: int, rows: int) -> None:
    assert_same(random_network(name, scale, blocks=2), make_spec(scale, (22, 12)), rows)


@pytest.mark.parametrize("form", [*(("YUV", name) for name in SUBSAMPLINGS), ("RGB", "444"), ("GRAY", "444")])
@pytest.mark.parametrize("siting", [Siting.LEFT, Siting.BOTTOM])
def test_every_format_equals_the_whole_picture(form: tuple[ColourFamily, str], siting: Siting) -> None:
    assert_same(random_network("realtime", 2, blocks=1), make_spec(2, (24, 16), *form, siting=siting), 8)


def test_a_full_depth_stream_equals_the_whole_picture() -> None:
    assert_same(random_network("stream", 2), make_spec(2, (40, 16)), 16)


@pytest.mark.parametrize("name", ["realtime", "stream", "stream 8"])
@pytest.mark.parametrize("form", [("YUV", "420"), ("YUV", "411"), ("RGB", "444"), ("GRAY", "444")])
def test_averages_for_the_learned_path_equal_the_whole_picture(name: str, form: tuple[ColourFamily, str]) -> None:
    assert_same(random_network(name, 2, blocks=1), make_spec(2, (24, 16), *form, siting=Siting.BOTTOM, temporal=True), 8)


@pytest.mark.parametrize("form", [("YUV", "420"), ("RGB", "444"), ("GRAY", "444")])
def test_centred_samples_equal_the_whole_picture(form: tuple[ColourFamily, str]) -> None:
    assert_same(random_network("realtime", 2), make_spec(2, (24, 16), *form, temporal=True), 8, centred=True)


@pytest.mark.parametrize(("name", "kept"), [("realtime", [2, 2, 2, 6]), ("stream", [8] * 5 + [2, 6]), ("realtime 7", [12, 2, 6])])
def test_rows_are_kept_where_all_goes_through_one_value(name: str, kept: list[int]) -> None:
    """Twice the reach of each block or group, of the convolution behind them and of the tails. The head of Realtime and Stream
    computes again what the first block needs.
    """
    program = banded(random_network(name, 2), make_spec(2, (64, 16)), 32)
    geometry = placed(program)
    assert [geometry.kept(keep) for keep in keeps(program)] == kept
    assert priming(geometry) == -(-sum(kept) // 32)


def test_the_head_computes_rows_again_where_bands_are_high_enough() -> None:
    network, spec = random_network("realtime", 2), make_spec(2, (64, 16))
    assert [len(keeps(banded(network, spec, rows))) for rows in (4, 6, 8, 32)] == [5, 5, 4, 4]


def test_deep_parts_are_known() -> None:
    spec = make_spec(2, (64, 16))
    names = ("realtime", "stream", "realtime 8", "stream 8")
    overlaps = [largest_overlap(fold(parts_of(random_network(name, 2)), spec)) for name in names]
    assert overlaps == [6, 8, 12, 72]


def test_what_cannot_be_cut_into_bands_is_refused() -> None:
    for name in ("photo", "pro", "pro without attention"):
        with pytest.raises(ParagonSR2Error, match="sees the whole picture"):
            banded(random_network(name, 2, blocks=1), make_spec(2, (32, 32)), 16)
    with pytest.raises(ParagonSR2Error, match="source is 32x5: expected multiples of 2x2"):
        banded(random_network("realtime", 2, blocks=1), make_spec(2, (32, 32)), 5)
