"""Programs in PyTorch against the reference backend, from frames' samples to frames' samples, borders included."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from plain import (
    NETWORKS,
    SUBSAMPLINGS,
    folded_route,
    make_spec,
    module_of,
    parts_of,
    random_inputs,
    random_network,
    random_samples,
    sums,
)

from vs_paragonsr2.backends.pytorch.modules import ProgramModule, narrow, storage_dtype, widen
from vs_paragonsr2.backends.reference.session import ReferenceSession
from vs_paragonsr2.checkpoints.network import Network, load_network
from vs_paragonsr2.program.bands import in_bands
from vs_paragonsr2.program.colour import ClipSpec, ColourFamily, Matrix, PlaneFormat, Range, Siting
from vs_paragonsr2.program.fold import fold
from vs_paragonsr2.support.errors import ParagonSR2Error

Planes = list[NDArray[np.generic]]

TRAINED = Path(__file__).parents[1] / "models" / "realtime_2x.safetensors"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def smooth_samples(fmt: PlaneFormat) -> Planes:
    """Gradients and waves with a little noise: a picture, more or less, that fills the range."""
    rng = np.random.default_rng(0)
    planes: Planes = []
    for number, plane in enumerate(fmt.planes):
        height, width = plane.shape
        y, x = np.mgrid[:height, :width] / max(height, width)
        picture = 0.5 + 0.3 * np.sin(9 * x + 5 * y * y + number) + 0.2 * np.cos(17 * y) + 0.05 * rng.standard_normal(x.shape)
        if fmt.is_float:
            planes.append((picture - (0.5 if plane.is_chroma else 0)).astype(fmt.dtype))
        else:
            peak = (1 << fmt.bits) - 1
            planes.append((picture * peak).round().clip(0, peak).astype(fmt.dtype))
    return planes


def noise(fmt: PlaneFormat) -> Planes:
    return [plane[0, 0].numpy().astype(fmt.dtype) for plane in random_samples(fmt)]


def by_reference(network: Network, spec: ClipSpec, planes: Planes) -> Planes:
    out: Planes = [np.empty(shape, spec.target.dtype) for shape in spec.target.shapes]
    ReferenceSession(network, spec, torch.device("cpu"), 1).run(planes, out)
    return out


def tensors(planes: Planes) -> list[torch.Tensor]:
    """Samples as the module takes them: the bits of unsigned 16-bit integers as int16."""
    return [torch.from_numpy(plane.view(np.int16) if plane.dtype == np.uint16 else plane)[None, None] for plane in planes]


@torch.inference_mode()
def by_module(module: ProgramModule, planes: Planes) -> Planes:
    found = module(*tensors(planes))
    assert all(plane.dtype is storage_dtype(module.spec.target) for plane in found)
    arrays = [plane[0, 0].numpy() for plane in found]
    return [array.view(np.uint16) if array.dtype == np.int16 else array for array in arrays]


def assert_alike(found: Planes, expected: Planes, fmt: PlaneFormat) -> None:
    """Equal but for what another order of the same sums in float32 explains."""
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        off = np.abs(a.astype(np.float64) - b.astype(np.float64))
        if fmt.is_float:
            assert off.max() <= (1e-4 if fmt.bits == 32 else 2e-3)
        elif fmt.bits <= 10:
            assert off.max() <= 1
            assert np.mean(off == 0) >= 0.995
        else:
            assert off.max() <= 2


DEPTHS = [(8, False), (10, False), (16, False), (16, True), (32, True)]


@pytest.mark.parametrize(("bits", "is_float"), DEPTHS)
@pytest.mark.parametrize("form", [*(("YUV", name) for name in SUBSAMPLINGS), ("RGB", "444"), ("GRAY", "444")])
def test_every_format_equals_the_reference(form: tuple[ColourFamily, str], bits: int, is_float: bool) -> None:
    family, subsampling = form
    network = random_network("realtime", 2)
    spec = make_spec(2, (20, 28), family, subsampling, bits, is_float=is_float, range_=Range(bits == 10))
    for planes in (noise(spec.source), smooth_samples(spec.source)):
        assert_alike(by_module(module_of(network, spec), planes), by_reference(network, spec, planes), spec.target)


@pytest.mark.parametrize("name", ["stream", "realtime 8", "photo", "pro"])
@pytest.mark.parametrize("scale", [2, 3])
def test_other_networks_equal_the_reference(name: str, scale: int) -> None:
    network = random_network(name, scale, blocks=2)
    spec = make_spec(scale, (12, 16), matrix=Matrix.BT2020_NCL, siting=Siting.TOP_LEFT)
    planes = smooth_samples(spec.source)
    assert_alike(by_module(module_of(network, spec), planes), by_reference(network, spec, planes), spec.target)


@pytest.mark.parametrize("to_bits", [10, 16, 32])
def test_more_bits_out_than_in(to_bits: int) -> None:
    network = random_network("realtime", 2)
    spec = make_spec(2, (20, 28), to_bits=to_bits)
    planes = smooth_samples(spec.source)
    assert_alike(by_module(module_of(network, spec), planes), by_reference(network, spec, planes), spec.target)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bits", [8, 10, 16])
def test_narrow_dtypes_are_close(dtype: torch.dtype, bits: int) -> None:
    """The trained network: what is coarse is its detail, a few steps of 8 bits at an edge."""
    network = load_network(TRAINED)
    spec = make_spec(2, (32, 48), bits=bits)
    planes = smooth_samples(spec.source)
    expected = by_reference(network, spec, planes)
    digits = 1 if dtype is torch.bfloat16 else 8
    for a, b in zip(by_module(module_of(network, spec, dtype), planes), expected, strict=True):
        off = np.abs(a.astype(np.float64) - b.astype(np.float64)) / (1 << (bits - 8))
        # Of 8 bits, all that is seen of errors are the samples that fall to the other side of a half.
        assert off.mean() < 0.25 / digits
        assert off.max() <= (3 if dtype is torch.bfloat16 else 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", [("YUV", "420", 8, False), ("YUV", "422", 16, False), ("RGB", "444", 16, True)])
def test_exports_with_static_shapes(form: tuple[ColourFamily, str, int, bool], dtype: torch.dtype) -> None:
    family, subsampling, bits, is_float = form
    spec = make_spec(2, (12, 16), family, subsampling, bits, is_float=is_float)
    module = module_of(random_network("realtime", 2, blocks=1), spec, dtype)
    planes = tuple(tensors(noise(spec.source)))
    program = torch.export.export(module, planes, strict=True)
    assert not program.range_constraints
    found, expected = program.module()(*planes), module(*planes)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["stream", "stream 8", "photo"])
def test_every_kind_of_body_exports(name: str) -> None:
    spec = make_spec(2, (12, 16))
    module = module_of(random_network(name, 2, blocks=1), spec)
    planes = tuple(tensors(noise(spec.source)))
    found = torch.export.export(module, planes, strict=True).module()(*planes)
    assert all(torch.equal(a, b) for a, b in zip(found, module(*planes), strict=True))


def test_every_16_bit_sample_survives_the_seams() -> None:
    fmt = make_spec(2, (256, 256), bits=16).source
    codes = np.arange(65536, dtype=np.uint16).reshape(1, 1, 256, 256)
    numbers = widen(torch.from_numpy(codes.view(np.int16)), fmt, torch.float32)
    assert np.array_equal(numbers.numpy(), codes.astype(np.float32))
    assert np.array_equal(narrow(numbers, fmt).numpy().view(np.uint16), codes)


def test_integers_are_clamped() -> None:
    network = random_network("realtime", 2, blocks=1)
    assert network.variant == "realtime"
    network.conv_out.weight.data *= 1000
    spec = make_spec(2, (16, 16), bits=10)
    for plane in by_module(module_of(network, spec), noise(spec.source)):
        assert plane.min() == 0 and plane.max() == 1023


@pytest.mark.parametrize("name", [*NETWORKS])
@pytest.mark.parametrize("temporal", [False, True])
def test_every_operation_equals_the_interpreter(name: str, temporal: bool) -> None:
    network, spec = random_network(name, 2, blocks=2), make_spec(2, (12, 20), siting=Siting.BOTTOM, temporal=temporal)
    planes = random_inputs(spec)
    found = sums(module_of(network, spec, torch.float64), planes)
    for a, b in zip(found, folded_route(network, spec, planes), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_values_that_nothing_needs_any_more_are_let_go() -> None:
    """At no time are more of them held than a block, its input and the planes need."""
    module = module_of(random_network("realtime", 2), make_spec(2, (12, 16)))
    held: set[int] = set()
    most = 0
    for index, forgotten in enumerate(module.forgotten):
        held.add(index)
        most = max(most, len(held))
        held -= set(forgotten)
    assert most <= 6
    assert held == set(module.outputs)


def test_errors_say_what_would_be_right() -> None:
    network, spec = random_network("realtime", 2, blocks=1), make_spec(2, (8, 8))
    with pytest.raises(ParagonSR2Error, match=r"dtype is torch.int8: expected torch.float32, float16, bfloat16"):
        module_of(network, spec, torch.int8)
    with pytest.raises(ParagonSR2Error, match="PyTorch runs no Keep: expected a program that is not in bands"):
        ProgramModule(in_bands(fold(parts_of(network), spec)))


def test_copies_for_several_devices_share_the_program() -> None:
    """A program never changes; only weights in PyTorch's own tensors are copied."""
    module = module_of(random_network("realtime", 2, blocks=1), make_spec(2, (8, 8)))
    copy = deepcopy(module)
    assert copy.program is module.program
    assert all(a.operation is b.operation for a, b in zip(copy.steps, module.steps, strict=True))  # type: ignore[union-attr]
    assert all(a is not b and torch.equal(a, b) for a, b in zip(copy.parameters(), module.parameters(), strict=True))
