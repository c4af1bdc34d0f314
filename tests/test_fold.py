"""The folded program equals the plain route in float64, borders included."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from plain import NETWORKS, SUBSAMPLINGS, folded_route, make_spec, parts_of, plain_route, random_inputs, random_network

from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.network import SCALES, ParagonSR2
from vs_paragonsr2.program.colour import ClipSpec, ColourFamily, Matrix, Range, Siting
from vs_paragonsr2.program.fold import fold
from vs_paragonsr2.program.interpreter import run
from vs_paragonsr2.program.operations import (
    Activation,
    Affine,
    ChannelAttention,
    Concatenation,
    Convolution,
    Operation,
    Planes,
    Product,
    Resample,
    RMSNorm,
    Round,
    Shuffle,
    Softmax,
    Sum,
    WindowAttention,
)
from vs_paragonsr2.program.polyphase import Polyphase
from vs_paragonsr2.program.program import Program
from vs_paragonsr2.support.errors import ParagonSR2Error

COLOURS = list(itertools.product(Matrix, Range))
PLACES = list(itertools.product(SUBSAMPLINGS, Siting))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def deviation(network: Network, spec: ClipSpec) -> float:
    """The largest difference between the program and the plain route, in parts of the target's range."""
    network = network.double()
    planes = random_inputs(spec)
    with torch.inference_mode():
        expected = plain_route(network, spec, planes)
    found = folded_route(network, spec, planes)
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


@pytest.mark.parametrize("name", ["photo", "photo without attention", "pro", "pro without attention"])
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
    parts = parts_of(random_network("realtime", 2, blocks=1))
    spec = make_spec(2, (8, 8), family, bits=10, to_bits=32)
    raw, centred = fold(parts, spec), fold(parts, spec, centred=True)
    planes = [plane[0, 0].numpy() for plane in random_inputs(spec)]
    for a, b in zip(run(raw, planes), run(centred, planes), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    assert not kinds(raw)[Affine]
    for operation in centred.operations:
        if isinstance(operation, Affine):
            codes = np.array([[0.0, 1023.0]] * operation.channels)
            assert np.abs((codes - operation.zero[:, None]) * operation.unit[:, None]).max() < 0.7


def kinds(program: Program) -> Counter[type[Operation]]:
    """How many operations of each kind there are."""
    return Counter(map(type, program.operations))


def shape_of(operation: Operation) -> tuple[int, ...]:
    assert isinstance(operation, Convolution)
    return operation.weight.shape


def test_shapes_of_the_tails() -> None:
    """At 2x, chroma of 4:2:0 comes out at the low resolution: nothing is made for it at the high one."""
    luma, chroma = fold(parts_of(random_network("realtime", 2)), make_spec(2, (8, 8))).tails
    # 5x5 for 2x2 outputs, and 7x7 for one; sixteen outputs at once.
    assert shape_of(luma) == (16, 16, 6, 6)
    assert shape_of(chroma)[0] == 16
    assert sorted(shape_of(chroma)[-2:]) == [8, 10]
    (both,) = fold(parts_of(random_network("stream", 4)), make_spec(4, (8, 8), "RGB")).tails
    assert shape_of(both) == (48, 32, 5, 5)


def test_a_conversion_that_does_nothing_builds_no_step() -> None:
    """The plan of a few clips: what is there, and what is not."""
    parts = parts_of(random_network("realtime", 2, blocks=1))
    yuv420, yuv444, rgb, gray = (
        kinds(fold(parts, make_spec(2, (8, 8), *form)))
        for form in (("YUV", "420"), ("YUV", "444"), ("RGB", "444"), ("GRAY", "444"))
    )
    body = 5  # the head, three layers of a block, conv_mid
    # Luma, and chroma enlarged to luma's positions; base path and tail of each.
    expected = {Planes: 2, Resample: 3, Shuffle: 3, Concatenation: 1, Activation: 1, Convolution: body + 2, Sum: 3, Round: 2}
    assert yuv420 == Counter(expected)
    # Chroma lies where luma does.
    assert yuv444[Resample] == 2 and yuv444[Shuffle] == 2
    for single in (rgb, gray):
        assert single == Counter({Planes: 1, Resample: 1, Shuffle: 1, Activation: 1, Convolution: body + 1, Sum: 2, Round: 1})
    # Nothing is rounded in floats, and codes are used as they come.
    floats = kinds(fold(parts, make_spec(2, (8, 8), to_bits=32)))
    assert not floats[Round] and not floats[Affine]
    # In temporal mode the averages go to the head alone.
    temporal = kinds(fold(parts, make_spec(2, (8, 8), temporal=True)))
    assert temporal == yuv420 + Counter({Planes: 2})


def test_weights_of_a_norm_and_of_attention_are_not_doubled() -> None:
    """LayerScale is in the layers before it, and the dictionary of tokens is two small convolutions about a softmax."""
    photo = kinds(fold(parts_of(random_network("photo", 2, blocks=1)), make_spec(2, (16, 16))))
    assert photo[RMSNorm] == 2 and photo[WindowAttention] == 1 and not photo[Product]
    pro = kinds(fold(parts_of(random_network("pro", 2, blocks=1)), make_spec(2, (16, 16))))
    assert pro[Softmax] == pro[ChannelAttention] == pro[WindowAttention] == 1 and not pro[Product]


def test_the_network_is_left_as_it_is() -> None:
    network = random_network("photo", 2, blocks=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fold(parts_of(network), make_spec(2, (16, 16)))
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
    parts = parts_of(network)
    with pytest.raises(ParagonSR2Error, match="target is 24x24: expected 16x16, the source 2x"):
        fold(parts, make_spec(3, (8, 8)))
    with pytest.raises(ParagonSR2Error, match="source is 7x8: expected multiples of 2x2"):
        fold(parts, make_spec(2, (8, 7)))
    with pytest.raises(ParagonSR2Error, match="target is GRAY: expected the source's colour family, YUV"):
        spec = make_spec(2, (8, 8))
        fold(parts, ClipSpec(spec.source, make_spec(2, (8, 8), "GRAY").target, spec.colour))
    assert isinstance(network, ParagonSR2)
    network.base.blur.h.weight.data[1] *= 2
    with pytest.raises(ParagonSR2Error, match="differ between R, G and B"):
        parts_of(network)
