"""The folded graph equals the plain route in float64, borders included."""

import itertools

import numpy as np
import pytest
import torch
from plain import NETWORKS, SUBSAMPLINGS, make_spec, plain_route, random_inputs, random_network, sums

from vs_paragonsr2.colour import ClipSpec, ColourFamily, Matrix, Range, Siting
from vs_paragonsr2.errors import ParagonSR2Error
from vs_paragonsr2.fold import fold
from vs_paragonsr2.graph import PlanesCore
from vs_paragonsr2.network import SCALES, Network, ParagonSR2
from vs_paragonsr2.polyphase import Polyphase

COLOURS = list(itertools.product(Matrix, Range))
PLACES = list(itertools.product(SUBSAMPLINGS, Siting))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def deviation(network: Network, spec: ClipSpec) -> float:
    """The largest difference between the folded graph and the plain route, in parts of the target's range."""
    network = network.double()
    planes = random_inputs(spec)
    with torch.inference_mode():
        expected = plain_route(network, spec, planes)
        found = sums(PlanesCore(network, spec, dtype=torch.float64), planes)
    span = 1.0 if spec.target.is_float else float(1 << spec.target.bits)
    assert [a.shape for a in found] == [b.shape for b in expected]
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) / span


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith(("photo", "pro"))])
def test_every_network_and_scale(name: str, scale: int) -> None:
    index = list(NETWORKS).index(name) * len(SCALES) + scale
    subsampling, siting = PLACES[index * 5 % len(PLACES)]
    matrix, range_ = COLOURS[index * 3 % len(COLOURS)]
    spec = make_spec(scale, (8, 12), subsampling=subsampling, bits=10, matrix=matrix, range_=range_, siting=siting)
    assert deviation(random_network(name, scale, blocks=1), spec) < 1e-12


@pytest.mark.parametrize("name", ["realtime", "stream", "realtime 8", "stream 7"])
def test_networks_of_full_depth(name: str) -> None:
    assert deviation(random_network(name, 2), make_spec(2, (8, 12))) < 1e-12


@pytest.mark.parametrize("name", ["photo", "photo without attention", "pro"])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_networks_that_see_the_whole_picture(name: str, subsampling: str) -> None:
    """Their zeros and windows about the picture are part of what they compute."""
    assert deviation(random_network(name, 2, blocks=2), make_spec(2, (10, 14), subsampling=subsampling)) < 1e-11


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "form", [("YUV", "420", 10, False), ("YUV", "411", 32, True), ("RGB", "444", 8, False), ("GRAY", "444", 16, False)]
)
def test_the_learned_path_reads_averages(name: str, form: tuple[ColourFamily, str, int, bool]) -> None:
    *samples, is_float = form
    spec = make_spec(2, (8, 12), *samples, is_float=is_float, siting=Siting.TOP, temporal=True)
    assert deviation(random_network(name, 2, blocks=1), spec) < 1e-11


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_every_matrix_range_and_siting(scale: int, subsampling: str) -> None:
    """The full product; the body is left out, since it knows nothing of colour."""
    networks = [random_network("realtime", scale, blocks=0), random_network("realtime 10", scale, blocks=0)]
    sitings = list(Siting) if subsampling != "444" else [Siting.LEFT]
    for index, (siting, (matrix, range_)) in enumerate(itertools.product(sitings, COLOURS)):
        spec = make_spec(scale, (4, 4), subsampling=subsampling, matrix=matrix, range_=range_, siting=siting)
        assert deviation(networks[index % 2], spec) < 1e-12, (siting, matrix, range_)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("subsampling", "to"), [("420", "444"), ("444", "420"), ("411", "422"), ("422", "410")])
def test_other_subsampling_and_bits_in_the_target(scale: int, subsampling: str, to: str) -> None:
    for bits in (16, 32):
        spec = make_spec(scale, (8, 8), subsampling=subsampling, to_subsampling=to, to_bits=bits, siting=Siting.TOP)
        assert deviation(random_network("realtime", scale, blocks=1), spec) < 1e-12


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("range_", Range)
def test_rgb_and_gray(scale: int, range_: Range) -> None:
    for bits, matrix in itertools.product((8, 16), Matrix):
        for family in ("RGB", "GRAY"):
            spec = make_spec(scale, (5, 7), family, bits=bits, matrix=matrix, range_=range_)
            assert deviation(random_network("realtime", scale, blocks=0), spec) < 1e-12
    for family in ("RGB", "GRAY", "YUV"):
        spec = make_spec(scale, (6, 8), family, bits=32, is_float=True, range_=range_)
        assert deviation(random_network("stream", scale, blocks=1), spec) < 1e-12


@pytest.mark.parametrize("family", ["YUV", "RGB", "GRAY"])
def test_centred_planes_change_nothing(family: ColourFamily) -> None:
    network = random_network("realtime", 2, blocks=1).double()
    spec = make_spec(2, (8, 8), family, bits=10)
    raw, centred = fold(network, spec), fold(network, spec, centred=True)
    x = torch.rand(1, len(raw.feeds), 8, 8, dtype=torch.float64) * 1023
    fed = torch.cat([(plane - zero) * one for plane, (zero, one) in zip(x.split(1, 1), centred.feeds, strict=True)], 1)
    inside = (..., slice(1, -1), slice(1, -1))
    assert torch.allclose(raw.head(x)[inside], centred.head(fed)[inside], atol=1e-12)
    assert raw.feeds == [(0.0, 1.0)] * len(raw.feeds)
    assert fed.abs().max() < 0.7
    for plain, other in zip(raw.groups, centred.groups, strict=True):
        zero, one = centred.feeds[plain.planes.start]
        assert 900 * plain.gain + plain.offset == pytest.approx((900 - zero) * one * other.gain + other.offset)


def test_shapes_of_the_tails() -> None:
    """At 2x, chroma of 4:2:0 comes out at the low resolution: nothing is made for it at the high one."""
    luma, chroma = fold(random_network("realtime", 2), make_spec(2, (8, 8))).groups
    # 5x5 for 2x2 outputs, and 7x7 for one; sixteen outputs at once.
    assert luma.tail.weight.shape == (1, 4, 4, 16, 6, 6)
    assert chroma.tail.weight.shape[:3].numel() == 16
    assert sorted(chroma.tail.weight.shape[-2:]) == [8, 10]
    (both,) = fold(random_network("stream", 4), make_spec(4, (8, 8), "RGB")).groups
    assert both.tail.weight.shape == (3, 4, 4, 32, 5, 5)


def test_the_network_is_left_as_it_is() -> None:
    network = random_network("photo", 2, blocks=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fold(network, make_spec(2, (16, 16)))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert before.keys() == network.state_dict().keys()


def test_products_of_polyphase_filters() -> None:
    """Against the matrices of the filters on a row of samples."""

    def matrix(filter_: Polyphase, inputs: range, outputs: range) -> np.ndarray:
        dense = np.zeros((len(outputs), len(inputs)))
        for row, i in enumerate(outputs):
            cell, phase = divmod(i, filter_.phases)
            for t, tap in enumerate(filter_.taps[phase]):
                dense[row, inputs.index(filter_.step * cell + filter_.first + t)] += tap
        return dense

    rng = np.random.default_rng(0)
    for phases, step, outer_phases, outer_step in itertools.product((1, 2, 3, 4), repeat=4):
        inner = Polyphase(rng.standard_normal((phases, 3)), -1, step)
        outer = Polyphase(rng.standard_normal((outer_phases, 4)), -2, outer_step)
        inputs, between, outputs = range(-200, 200), range(-44, 45), range(-8, 9)
        expected = matrix(outer, between, outputs) @ matrix(inner, inputs, between)
        assert np.allclose(matrix(inner.then(outer), inputs, outputs), expected)


def test_errors_say_what_would_be_right() -> None:
    network = random_network("realtime", 2, blocks=0)
    with pytest.raises(ParagonSR2Error, match="target is 24x24: expected 16x16, the source 2x"):
        fold(network, make_spec(3, (8, 8)))
    with pytest.raises(ParagonSR2Error, match="source is 7x8: expected multiples of 2x2"):
        fold(network, make_spec(2, (8, 7)))
    with pytest.raises(ParagonSR2Error, match="target is GRAY: expected the source's colour family, YUV"):
        spec = make_spec(2, (8, 8))
        fold(network, ClipSpec(spec.source, make_spec(2, (8, 8), "GRAY").target, spec.colour))
    assert isinstance(network, ParagonSR2)
    network.base.blur.h.weight.data[1] *= 2
    with pytest.raises(ParagonSR2Error, match="differ between R, G and B"):
        fold(network, make_spec(2, (8, 8)))
