"""Tiles with a margin of exactly what a program needs give the whole picture."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain import SUBSAMPLINGS, make_spec, module_of, random_network, random_samples, sums
from torch import Tensor

from vs_paragonsr2.backends.pytorch.modules import ProgramModule
from vs_paragonsr2.backends.pytorch.slots import smaller_sizes
from vs_paragonsr2.backends.reference.session import padding
from vs_paragonsr2.backends.tiles import Layout
from vs_paragonsr2.checkpoints.network import Network
from vs_paragonsr2.program.colour import ClipSpec, ColourFamily
from vs_paragonsr2.program.operations import Margin
from vs_paragonsr2.program.tiling import tile_places, tile_size, tile_spec, unit
from vs_paragonsr2.support.errors import ParagonSR2Error


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def in_tiles(network: Network, spec: ClipSpec, planes: list[Tensor], most: tuple[int, int], dtype: torch.dtype) -> list[Tensor]:
    """The picture from tiles of at most a size, as a backend does it."""
    size = tile_size(spec, most)
    module = module_of(network, tile_spec(spec, size), dtype, padded=True)
    layout = Layout(spec, size, module.geometry.source_margin)
    padded = [np.empty(shape, plane.numpy().dtype) for shape, plane in zip(layout.padding.shapes, planes, strict=True)]
    layout.padding.on_host([plane[0, 0].numpy() for plane in planes], padded)
    out = [torch.full((1, 1, *shape), torch.nan, dtype=dtype) for shape in spec.target.shapes]
    for part in layout.tiles:
        tile = [torch.from_numpy(plane[slices])[None, None] for plane, slices in zip(padded, part.source, strict=True)]
        for whole, own, (rows, columns) in zip(out, sums(module, tile), part.target, strict=True):
            assert whole[:, :, rows, columns].shape == own.shape
            whole[:, :, rows, columns] = own
    return out


CASES = [
    ("realtime", 2, "420", (34, 46), (16, 20)),
    ("realtime", 3, "420", (34, 46), (13, 0)),
    ("realtime", 4, "411", (21, 44), (8, 24)),
    ("realtime 8", 4, "422", (21, 24), (8, 9)),
    ("realtime 7", 8, "440", (22, 15), (9, 6)),
    ("stream", 2, "444", (37, 23), (16, 0)),
    ("stream", 3, "410", (24, 36), (16, 16)),
    ("stream 10", 2, "420", (22, 40), (0, 14)),
    ("stream 7", 2, "420", (30, 20), (16, 16)),
]


@pytest.mark.parametrize(("name", "scale", "subsampling", "size", "most"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@torch.inference_mode()
def test_tiles_equal_the_whole(
    name: str,
    scale: int,
    subsampling: str,
    size: tuple[int, int],
    most: tuple[int, int],
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    network = random_network(name, scale, blocks=1)
    spec = make_spec(scale, size, subsampling=subsampling, bits=32, is_float=True)
    planes = [plane.to(dtype) for plane in random_samples(spec.source)]
    whole = sums(module_of(network, spec, dtype), planes)
    for a, b in zip(in_tiles(network, spec, planes, most, dtype), whole, strict=True):
        assert float((a - b).abs().max()) <= tolerance


@torch.inference_mode()
def test_strips_of_the_full_networks_in_codes() -> None:
    for name in ("realtime", "stream"):
        network, spec = random_network(name, 2), make_spec(2, (30, 16))
        planes = [plane.float() for plane in random_samples(spec.source)]
        whole = sums(module_of(network, spec, torch.float32), planes)
        for a, b in zip(in_tiles(network, spec, planes, (8, 0), torch.float32), whole, strict=True):
            assert float((a - b).abs().max()) <= 255e-6


@torch.inference_mode()
def test_a_network_that_sees_the_whole_picture_in_one_tile() -> None:
    """More tiles are approximate; one is the whole."""
    for name in ("photo", "pro"):
        network, spec = random_network(name, 2, blocks=1).double(), make_spec(2, (10, 14))
        planes = random_samples(spec.source)
        whole = module_of(network, spec, torch.float64)
        assert whole.geometry.halo == (padding(network, spec),) * 2
        for a, b in zip(in_tiles(network, spec, planes, (0, 0), torch.float64), sums(whole, planes), strict=True):
            assert torch.allclose(a, b, rtol=0, atol=1e-9)


def changed_span(core: ProgramModule, planes: list[Tensor], plane: int, at: int, axis: int) -> list[tuple[int, int] | None]:
    """For each target plane, first and last row or column that change with one row or column of a source plane."""
    poked = [samples.clone() for samples in planes]
    poked[plane].select(axis + 2, at)[:] += 1.0
    spans = []
    for a, b in zip(sums(core, planes), sums(core, poked), strict=True):
        touched = (a != b).any(3 - axis).flatten().nonzero().flatten()
        spans.append((int(touched[0]), int(touched[-1])) if len(touched) else None)
    return spans


def make_averages(network: Network) -> None:
    """Positive weights that add up to 1: nothing cancels or saturates, and the farthest influence is no rounding error."""
    for key, parameter in network.named_parameters():
        if not key.startswith("base") and parameter.dim() > 1:
            weights = parameter.data.abs() + 0.05
            parameter.data = weights / weights.flatten(1).sum(1).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["realtime", "stream", "realtime 7", "stream 8", "stream 7"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.inference_mode()
def test_the_halo_is_the_receptive_field(name: str, scale: int, axis: int) -> None:
    """One luma sample changes the outputs within the halo, and the farthest of them too."""
    network = random_network(name, scale, blocks=1).double()
    make_averages(network)
    length = 90
    spec = make_spec(scale, (length, 4) if axis == 0 else (4, length), "GRAY", bits=32, is_float=True)
    core = module_of(network, spec, torch.float64)
    halo = core.geometry.halo[axis]
    assert halo == network.radius
    planes = random_samples(spec.source)
    (span,) = changed_span(core, planes, 0, 45, axis)
    assert span is not None
    # An output of the cell of luma sample k sees k - halo to k + halo.
    assert (span[0] // scale, span[1] // scale) == (45 - halo, 45 + halo)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("axis", [0, 1])
@torch.inference_mode()
def test_the_halo_covers_chroma_and_no_more(subsampling: str, axis: int) -> None:
    """Whichever plane is poked, no output beyond the halo changes; the last whole chroma sample of the halo is needed."""
    network = random_network("realtime", 2).double()
    make_averages(network)
    spec = make_spec(2, (64, 8) if axis == 0 else (8, 64), subsampling=subsampling, bits=32, is_float=True)
    core = module_of(network, spec, torch.float64)
    planes = random_samples(spec.source)
    step, reach = unit(spec)[axis], 0
    for plane, ratio in enumerate(group.ratios[axis] for group in spec.source.planes):
        spans = changed_span(core, planes, plane, 32 // ratio, axis)
        for span, group in zip(spans, spec.target.planes, strict=True):
            assert span is not None
            first, last = span[0] * group.ratios[axis] // 2, ((span[1] + 1) * group.ratios[axis] - 1) // 2
            # From the edge of a tile that begins or ends with this output to the poked sample, in luma samples.
            reach = max(reach, 32 + ratio - (first // step + 1) * step, last // step * step - 32)
    # Luma's reach is rounded up to whole chroma samples before chroma's own is added, which can be one sample more than needed.
    halo = core.geometry.halo[axis]
    assert halo - 2 * step < reach <= halo


def test_the_padding_of_the_reference_covers_the_halo() -> None:
    """But for chroma that is replicated beyond it, which the reference does of itself."""
    for scale in (2, 3, 4, 8):
        network, spec = random_network("realtime", scale, blocks=1), make_spec(scale, (8, 8), "RGB")
        assert max(module_of(network, spec, torch.float32).geometry.halo) <= padding(network, spec)


@pytest.mark.parametrize("length", range(1, 40))
def test_tiles_cover_the_picture_once_asked_for_any_size(length: int) -> None:
    spec = make_spec(2, (length, 40), "GRAY")
    for side in range(1, length + 5):
        size = tile_size(spec, (side, 0))
        assert size[0] <= side and size[1] == 40
        places = tile_places(spec, size)
        rows = np.zeros(length, int)
        for top, left in places:
            assert left == 0 and top + size[0] <= length
            rows[top : top + size[0]] += 1
        assert rows.min() == 1
        assert len(places) == -(-length // size[0]) == -(-length // min(side, length))


@pytest.mark.parametrize("length", [64, 90, 100, 540, 1080])
def test_tiles_begin_where_attention_windows_of_the_picture_do(length: int) -> None:
    spec = make_spec(2, (length, 64))
    for size in smaller_sizes((length, 64), (16, 16)):
        rows = np.zeros(length, int)
        for top, left in tile_places(spec, size, (16, 16)):
            assert top % 16 == left % 16 == 0
            rows[top : top + size[0]] += 1
        assert rows.min() == 1
    if length > 80:
        with pytest.raises(ParagonSR2Error, match=rf"expected \({length}, 64\) less multiples of \(16, 16\)"):
            tile_places(spec, (length - 8, 64), (16, 16))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_tiles_keep_chroma_whole(subsampling: str) -> None:
    """What is read and written of each plane is what is read and written of luma, by its ratios."""
    for scale in (2, 3):
        spec = make_spec(scale, (28, 52), subsampling=subsampling)
        for part in Layout(spec, tile_size(spec, (9, 17)), Margin(8, 12, 4, 8)).tiles:
            for fmt, (luma, *chroma) in ((spec.source, part.source), (spec.target, part.target)):
                for plane in chroma:
                    for own, whole, ratio in zip(plane, luma, fmt.chroma_ratios, strict=True):
                        assert (own.start * ratio, own.stop * ratio) == (whole.start, whole.stop)


@pytest.mark.parametrize("family", ["YUV", "RGB"])
def test_tile_spec_differs_in_size_alone(family: ColourFamily) -> None:
    spec = make_spec(3, (30, 40), family, bits=10)
    small = tile_spec(spec, (10, 8))
    assert (small.source.height, small.source.width, small.target.height, small.target.width) == (10, 8, 30, 24)
    assert small.colour == spec.colour
    assert dataclasses.replace(small.target, height=90, width=120) == spec.target


def test_errors_say_what_would_be_right() -> None:
    spec = make_spec(2, (30, 40))
    with pytest.raises(ParagonSR2Error, match="tile_size is 1 high: expected 0, for the picture's own, or 2 or more"):
        tile_size(spec, (1, 0))
    with pytest.raises(ParagonSR2Error, match="tile_size is -4 wide"):
        tile_size(spec, (0, -4))
    with pytest.raises(ParagonSR2Error, match=r"size is \(7, 8\) \(rows, columns\): expected multiples of \(2, 2\)"):
        tile_places(spec, (7, 8))
    with pytest.raises(ParagonSR2Error, match=r"size is \(32, 8\) .* up to \(30, 40\)"):
        tile_places(spec, (32, 8))


@given(st.integers(1, 200), st.integers(0, 220), st.sampled_from([1, 8, 16, 24]))
def test_sizes_fit_windows(length: int, most: int, window: int) -> None:
    """Such that :func:`tile_places` takes them, and no larger than was asked for."""
    spec = make_spec(2, (length, 64), "GRAY", "444")
    align = (window, window)
    try:
        size = tile_size(spec, (most, 0), align)
    except ParagonSR2Error as error:
        assert "high: expected 0, for the picture's own, or" in str(error)
        assert most < 2 * window
        return
    assert 0 < size[0] <= (most or length)
    places = sorted({top for top, _ in tile_places(spec, size, align)})
    assert all(place % window == 0 for place in places)
    assert all(b - a <= size[0] for a, b in zip(places, [*places[1:], length], strict=True))
