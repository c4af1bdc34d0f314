"""BandGraph against PlanesGraph: the same picture, whatever the rows of a band."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain import SUBSAMPLINGS, make_spec, random_inputs, random_network, random_samples
from torch import Tensor

from vs_paragonsr2.backends.planes import input_ratios
from vs_paragonsr2.bands import BandGraph
from vs_paragonsr2.colour import ClipSpec, ColourFamily, Siting
from vs_paragonsr2.errors import ParagonSR2Error
from vs_paragonsr2.graph import PlanesCore, PlanesGraph
from vs_paragonsr2.network import Network
from vs_paragonsr2.stencil import shuffle


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def bands_of(graph: BandGraph, spec: ClipSpec, planes: list[Tensor], fill: float) -> list[Tensor]:
    """The groups' samples of a whole picture, band by band; ``fill`` is what is kept before there is anything to keep."""
    rows = graph.spec.source.height
    count = -(-spec.source.height // rows)
    surroundings = [
        (
            graph.before[1] // x,
            graph.after[1] // x,
            (graph.priming * rows + graph.before[0]) // y,
            (count * rows - spec.source.height + graph.after[0]) // y,
        )
        for y, x in input_ratios(spec)
    ]
    padded = [F.pad(plane, pads, mode="replicate") for plane, pads in zip(planes, surroundings, strict=True)]
    kept = [torch.full(shape, fill, dtype=graph.dtype) for shape in graph.kept_shapes]
    found: list[list[Tensor]] = []
    with torch.inference_mode():
        for band in range(graph.priming + count):
            parts = [
                plane[:, :, band * rows // y : (band * rows + graph.before[0] + rows + graph.after[0]) // y]
                for plane, (y, _) in zip(padded, input_ratios(spec), strict=True)
            ]
            cells, kept = graph.cells(parts, kept)
            if band >= graph.priming:
                found.append([shuffle(group, path.phases) for group, path in zip(cells, graph.paths, strict=True)])
    heights = [spec.target.height, *[spec.target.shapes[-1][0]]]
    return [torch.cat(group, 2)[:, :, :height] for group, height in zip(zip(*found, strict=True), heights, strict=False)]


def assert_same(network: Network, spec: ClipSpec, rows: int, centred: bool = False) -> None:
    planes = random_inputs(spec)
    with torch.inference_mode():
        expected = PlanesCore(network, spec, dtype=torch.float64).sums(*planes)
    span = (1 << spec.target.bits) - 1 if not spec.target.is_float else 1
    for fill in (0.0, float("nan")):
        for a, b in zip(
            bands_of(BandGraph(network, spec, rows, wide=True, centred=centred), spec, planes, fill), expected, strict=True
        ):
            assert a.shape == b.shape
            torch.testing.assert_close(a / span, b / span, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["realtime", "stream", "realtime 10", "stream 10", "realtime 7", "stream 8"])
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


def test_samples_in_memory_equal_the_whole_picture() -> None:
    network, spec = random_network("realtime", 2), make_spec(2, (16, 24), bits=10)
    planes = random_samples(spec.source)
    graph = BandGraph(network, spec, 16)
    kept = [torch.zeros(shape) for shape in graph.kept_shapes]
    padded = [
        F.pad(
            plane.float(),
            (graph.before[1] // x, graph.after[1] // x, (16 * graph.priming + graph.before[0]) // y, graph.after[0] // y),
            mode="replicate",
        ).to(plane.dtype)
        for plane, (y, x) in zip(planes, input_ratios(spec), strict=True)
    ]
    found: tuple[Tensor, ...] = ()
    with torch.inference_mode():
        for band in range(graph.priming + 1):
            tall = 16 + graph.before[0] + graph.after[0]
            found = graph(
                *(
                    plane[:, :, 16 * band // y : (16 * band + tall) // y]
                    for plane, (y, _) in zip(padded, input_ratios(spec), strict=True)
                ),
                *kept,
            )
            kept = list(found[2:])
        expected = PlanesGraph(network, spec)(*planes)
    luma, chroma = (shuffle(group.permute(0, 3, 1, 2), path.phases) for group, path in zip(found, graph.paths, strict=False))
    for a, b in zip((luma, *chroma.split(1, 1)), expected, strict=True):
        assert a.dtype == b.dtype
        off = np.abs(a.numpy().astype(int) - b.numpy().astype(int))
        assert off.max() <= 1
        assert (off == 0).mean() > 0.99


def test_what_cannot_be_cut_into_bands_is_refused() -> None:
    with pytest.raises(ParagonSR2Error, match="sees the whole picture"):
        BandGraph(random_network("photo", 2, blocks=1), make_spec(2, (32, 32)), 16)
    with pytest.raises(ParagonSR2Error, match="rows is 5: expected a multiple of 2"):
        BandGraph(random_network("realtime", 2, blocks=1), make_spec(2, (32, 32)), 5)
