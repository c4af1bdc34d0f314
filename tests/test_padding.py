"""Padded planes: the host and a device make the same ones, and a slot uploads no more than the planes as they come."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from plain import SUBSAMPLINGS, make_spec, module_of, random_network
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.backends.pytorch.devices import CPUQueue
from vs_paragonsr2.backends.pytorch.slots import FrameSlot
from vs_paragonsr2.backends.switch import test_picture as picture_of
from vs_paragonsr2.backends.tiles import Layout, Padding
from vs_paragonsr2.program.colour import ClipSpec, ColourFamily
from vs_paragonsr2.program.operations import Margin
from vs_paragonsr2.program.tiling import tile_spec

MARGIN = Margin(8, 12, 4, 16)
FORMS: list[tuple[ColourFamily, str]] = [*(("YUV", name) for name in SUBSAMPLINGS), ("RGB", "444"), ("GRAY", "444")]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bits", "is_float"), [(8, False), (16, False), (16, True), (32, True)])
def test_host_and_device_repeat_the_same_edges(form: tuple[ColourFamily, str], bits: int, is_float: bool) -> None:
    """Margins are luma's; chroma's are smaller by its ratios."""
    spec = make_spec(2, (16, 24), *form, bits, is_float=is_float, temporal=True)
    padding, planes = Padding(spec, MARGIN), picture_of(spec)
    by_host = [np.zeros(shape, plane.dtype) for plane, shape in zip(planes, padding.shapes, strict=True)]
    padding.on_host(planes, by_host)
    for plane, group, (rows, columns), found in zip(planes, spec.input_planes, padding.indices(), by_host, strict=True):
        down, across = group.ratios
        sides = (MARGIN.top // down, MARGIN.bottom // down), (MARGIN.left // across, MARGIN.right // across)
        assert np.array_equal(found, np.pad(plane, sides, mode="edge"))
        assert np.array_equal(found, plane[rows[:, None], columns])


@pytest.mark.parametrize(
    "form", [("YUV", "420", 8, False), ("YUV", "422", 16, False), ("RGB", "444", 16, True), ("GRAY", "444", 10, False)]
)
def test_a_lane_gives_what_its_program_makes_of_planes_padded_by_the_host(form: tuple[ColourFamily, str, int, bool]) -> None:
    *samples, is_float = form
    spec = make_spec(2, (20, 28), *samples, is_float=is_float)  # type: ignore[misc]
    module = module_of(random_network("realtime", 2, blocks=1), spec, padded=True)
    layout, planes = Layout(spec, spec.source.size, module.geometry.source_margin), picture_of(spec)
    out: list[Plane] = [np.zeros(shape, spec.target.dtype) for shape in spec.target.shapes]
    FrameSlot(CPUQueue(torch.device("cpu")), layout, module).run(planes, out)
    padded = [np.zeros(shape, plane.dtype) for plane, shape in zip(planes, layout.padding.shapes, strict=True)]
    layout.padding.on_host(planes, padded)
    with torch.inference_mode():
        expected = module(*(torch.from_numpy(bits(plane))[None, None] for plane in padded))
    for plane, tensor in zip(out, expected, strict=True):
        assert np.array_equal(bits(plane), tensor[0, 0].numpy())


def bits(plane: Plane) -> Plane:
    """Samples as a module takes and gives them: unsigned 16-bit integers as int16."""
    return plane.view(np.int16) if plane.dtype == np.uint16 else plane


class RecordedQueue(CPUQueue):
    """A queue whose device has no samples, but knows by shape and dtype what it would be asked to do; nothing is run beforehand."""

    def __init__(self) -> None:
        super().__init__(torch.device("meta"))

    def record(self, work: Callable[[], None]) -> None:
        self._work = work


class BusTraffic(TorchDispatchMode):
    """Counts the bytes that are copied from the host to the device and back; fails where the host's memory is used otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.up = self.down = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if all(tensor.is_meta for tensor in tensors):
            return func(*args, **(kwargs or {}))
        assert func is torch.ops.aten.copy_.default, func
        to, samples = args[:2]
        assert to.is_meta != samples.is_meta
        self.up += 0 if samples.is_meta else samples.nbytes
        self.down += 0 if to.is_meta else to.nbytes
        return to


@pytest.mark.parametrize("size", [(32, 48), (16, 24)])
@pytest.mark.parametrize(
    "spec",
    [
        make_spec(2, (32, 48)),
        make_spec(2, (32, 48), subsampling="422", bits=10, to_bits=16),
        make_spec(2, (32, 48), "RGB", bits=16, is_float=True),
        make_spec(2, (32, 48), "GRAY", temporal=True),
    ],
)
def test_a_frame_uploads_the_bytes_of_its_planes(spec: ClipSpec, size: tuple[int, int]) -> None:
    """In one tile or in several, the device pads. All else that it reads has been there since before the recording."""
    module = module_of(random_network("realtime", 2, blocks=1), tile_spec(spec, size), padded=True).to("meta")
    layout = Layout(spec, size, module.geometry.source_margin)
    slot, planes = FrameSlot(RecordedQueue(), layout, module), picture_of(spec)
    out: list[Plane] = [np.zeros(shape, spec.target.dtype) for shape in spec.target.shapes]
    with BusTraffic() as traffic:
        slot.run(planes, out)
    assert traffic.up == sum(plane.nbytes for plane in planes)
    assert traffic.down == sum(plane.nbytes for plane in out)
