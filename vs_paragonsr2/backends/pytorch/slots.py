"""Slots: planes up and padded, tiles through a program, planes down, all recorded once for each slot."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...support.errors import ParagonSR2Error
from ..base import NonFiniteError, Plane, Session
from ..tiles import Layout
from .devices import DeviceMemoryError, Queue, give_back, is_lost, is_out_of_memory, memory_errors, used_bytes
from .modules import storage_dtype

CHECKED_FRAMES = 3
"""Frames of each slot whose numbers are looked at before they are rounded: a network that overflows half precision does so soon."""

type Check = Callable[[Sequence[Tensor]], bool]
"""Whether all numbers behind a tile's result are finite."""


class TileProgram(Protocol):
    """A tile's source planes with their margin on the device, (1, 1, rows, columns) in their seam dtypes, to the target's."""

    def __call__(self, *planes: Tensor) -> Sequence[Tensor]: ...


class FrameSlot:
    """A queue with the memory of one frame in flight.

    The planes go to the device as they come, and it is the device that pads them.
    """

    def __init__(self, queue: Queue, layout: Layout, program: TileProgram) -> None:
        self.queue = queue
        self._layout = layout
        self._program = program
        spec = layout.spec
        # The host's part first: no memory of the host may be pinned while anything is recorded.
        self._source_host = [queue.host((1, 1, *plane.shape), storage_dtype(plane.format)).zero_() for plane in spec.input_planes]
        self._target_host = [queue.host((1, 1, *shape), storage_dtype(spec.target)) for shape in spec.target.shapes]
        self._source = [torch.empty_like(plane, device=queue.device) for plane in self._source_host]
        self._indices = [
            (torch.from_numpy(rows)[:, None].to(queue.device), torch.from_numpy(columns).to(queue.device))
            for rows, columns in layout.padding.indices()
        ]
        self._target: list[Tensor] = []
        if len(layout.tiles) > 1:
            self._target = [torch.empty_like(plane, device=queue.device) for plane in self._target_host]
        self._sources = [_array(plane) for plane in self._source_host]
        self._targets = [_array(plane) for plane in self._target_host]
        queue.record(self._work)

    def _work(self) -> None:
        self.upload()
        self.download(self.compute())

    def upload(self) -> None:
        """The host's planes to the device."""
        for device, host in zip(self._source, self._source_host, strict=True):
            device.copy_(host, non_blocking=True)

    def download(self, planes: Sequence[Tensor]) -> None:
        """The device's planes to the host."""
        for host, device in zip(self._target_host, planes, strict=True):
            host.copy_(device, non_blocking=True)

    def compute(self) -> Sequence[Tensor]:
        """The target's planes, of what has been uploaded."""
        if not self._target:
            (tile,) = self._tiles()
            return self._program(*tile)
        for place, tile in zip(self._layout.tiles, self._tiles(), strict=True):
            for plane, own, (rows, columns) in zip(self._target, self._program(*tile), place.target, strict=True):
                plane[:, :, rows, columns].copy_(own)
        return self._target

    def _tiles(self) -> Iterable[list[Tensor]]:
        """What each tile reads of the planes that have been uploaded, once these are padded."""
        # A gather, because it is one kernel for samples of any dtype.
        padded = [plane[:, :, rows, columns] for plane, (rows, columns) in zip(self._source, self._indices, strict=True)]
        for place in self._layout.tiles:
            yield [plane[:, :, rows, columns] for plane, (rows, columns) in zip(padded, place.source, strict=True)]

    def run(self, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        """Compute a frame. The copies on the host go on while other slots have the device."""
        self.take_in(planes)
        self.queue.launch()
        self.queue.wait()
        self.hand_out(out)

    def take_in(self, planes: Sequence[Plane]) -> None:
        """Copy a frame's planes to where the device fetches them."""
        for plane, samples in zip(planes, self._sources, strict=True):
            samples[...] = plane

    def hand_out(self, out: Sequence[Plane]) -> None:
        """Copy the result that lies on the host into a frame's planes."""
        for plane, samples in zip(out, self._targets, strict=True):
            plane[...] = samples.view(plane.dtype)

    def passes(self, check: Check) -> bool:
        """Whether the frame that was run last stands a check of each tile."""
        return self.queue.now(lambda: all(check(tile) for tile in self._tiles()))


def _array(plane: Tensor) -> NDArray[np.generic]:
    """(height, width), over the same memory, in the dtype of a frame's samples."""
    array: NDArray[np.generic] = plane.numpy()[0, 0]
    return array.view(np.uint16) if array.dtype == np.int16 else array


class TorchSession(Session[FrameSlot]):
    """Frames through whichever slot is free.

    Args:
        layout: how a frame is cut, the same for all slots.
        make: a slot on a device, with its program.
        devices: one for each slot.
        check: of the first frames; None where nothing can overflow.
        memory_limit: MiB of each device that all slots may take; None for what there is.

    Raises:
        DeviceMemoryError: there is too little memory, or more was taken than is allowed.
    """

    def __init__(
        self,
        layout: Layout,
        make: Callable[[torch.device], FrameSlot],
        devices: Sequence[torch.device],
        *,
        check: Check | None = None,
        memory_limit: int | None = None,
    ) -> None:
        before = {device: used_bytes(device) for device in devices}
        with memory_errors():
            slots = [make(device) for device in devices]
        taken = {device: used_bytes(device) - bytes_ for device, bytes_ in before.items()}
        if memory_limit is not None and max(taken.values()) > memory_limit << 20:
            raise DeviceMemoryError(f"{max(taken.values()) >> 20} MiB were taken")
        super().__init__(layout.spec, slots)
        self.layout = layout
        self.slots = slots
        self.device_bytes = sum(taken.values())
        self._check = check
        self._unchecked = CHECKED_FRAMES * len(slots) if check else 0
        self._lost: str | None = None

    def __del__(self) -> None:
        if not sys.is_finalizing():
            vars(self).clear()  # to PyTorch first, which gives back what it has
            give_back()

    def _run(self, slot: FrameSlot, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        if self._lost:
            raise ParagonSR2Error(self._lost)
        try:
            slot.run(planes, out)
            if self._unchecked > 0:
                self._look_at(slot)
        except RuntimeError as error:
            if is_lost(error):
                self._lost = f"the CUDA device was lost, and only a new process can use it again ({str(error).splitlines()[0]})"
                raise ParagonSR2Error(self._lost) from error
            raise

    def _look_at(self, slot: FrameSlot) -> None:
        assert self._check is not None
        self._unchecked -= 1
        try:
            finite = slot.passes(self._check)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._unchecked = 0
            self.notes.append("too little device memory is left to check the half-precision result of the first frames")
            finite = True
        if self._unchecked <= 0:
            self._check = None
            give_back()
        if not finite:
            raise NonFiniteError


def open_fitting[S: Session](  # type: ignore[type-arg]
    sizes: Iterable[tuple[int, int]], build: Callable[[tuple[int, int]], S], memory_limit: int | None
) -> S:
    """The session for the first of the tile sizes that fits into the device's memory; it notes where that is not the first.

    Raises ParagonSR2Error where not even the last one fits.
    """
    fault: DeviceMemoryError | None = None
    for size in sizes:
        try:
            session = build(size)
        except DeviceMemoryError as error:
            fault = error.with_traceback(None)  # its frames hold what was allocated
            fault.__cause__ = fault.__context__ = None
            continue
        if fault is not None:
            session.notes.append(f"tiles of {size[1]}x{size[0]}, since larger ones do not fit into the device's memory ({fault})")
        return session
    what = "the device has too little memory" if memory_limit is None else f"memory_limit is {memory_limit} MiB: too little"
    raise ParagonSR2Error(f"{what} even for the smallest tiles ({fault}); fewer num_streams take less")


def slot_devices(devices: Sequence[torch.device], num_streams: int) -> list[torch.device]:
    """The device of each slot, all devices in turn; every device gets one slot at least."""
    return [devices[slot % len(devices)] for slot in range(max(num_streams, len(devices)))]


def smaller_sizes(size: tuple[int, int], step: tuple[int, int], least: int = 64) -> Iterator[tuple[int, int]]:
    """(rows, columns) of tiles: the whole, and then the longer side halved again and again, less by multiples of ``step``."""
    sides = list(size)
    while True:
        yield sides[0], sides[1]
        longer = 0 if sides[0] >= sides[1] else 1
        half = size[longer] - (size[longer] - math.ceil(sides[longer] / 2)) // step[longer] * step[longer]
        if half < least or half == sides[longer]:
            return
        sides[longer] = half
