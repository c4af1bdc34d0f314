"""What every backend is to the rest: a session that turns planes into planes."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.models import Model
from ..program.colour import ClipSpec
from ..support.errors import ParagonSR2Error

Plane = NDArray[np.generic]
"""A plane as it lies in a frame: (height, width) samples, rows possibly further apart than they are long."""


class NonFiniteError(Exception):
    """Half precision did not hold a frame's numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a session runs; equal options share one."""

    # Hardware
    backend: str
    """Name of the backend."""
    device: str
    """Kind of device, in the backend's own word, such as ``"cpu"`` or ``"cuda"``."""
    device_index: tuple[int, ...] = (0,)
    """Which devices of that kind, from 0; frames are spread over several."""
    num_streams: int = 1
    """Frames in flight at once, on all devices together."""
    memory_limit: int | None = None
    """MiB of each device's memory at most; None takes what is there."""

    tile_size: tuple[int, int] = (0, 0)
    """(rows, columns) of the source's luma computed at once at most; 0 for the picture's own."""

    # Compilation
    wait: bool = False
    """Whether the first frame waits until all is compiled, where it could be served another way meanwhile."""
    torch_compile: bool = False
    """Whether PyTorch's compiler is tried too, and taken where it is faster."""

    # Precision
    precision: str | None = None
    """Of the arithmetic, in the backend's own word, such as ``"f32"`` or ``"bf16"``; None chooses."""

    # Network
    alpha: float | None = None
    """Blend of the base path's low-pass; None takes the checkpoint's own."""

    def only_device(self) -> int:
        """The number of the one device. Raises ParagonSR2Error where there are several."""
        if len(self.device_index) > 1:
            raise ParagonSR2Error(
                f"device_index is {self.device_index}: backend {self.backend!r} takes one; 'torch' and 'tensorrt' take several"
            )
        return self.device_index[0]


def check_scale(scale: int, spec: ClipSpec) -> None:
    """Raise ParagonSR2Error where a checkpoint's scale is not the one between the formats of a spec."""
    if spec.source.width * scale != spec.target.width:
        raise ParagonSR2Error(f"scale is {spec.target.width // spec.source.width}: the checkpoint's own is {scale}")


class Session[Slot](ABC):
    """A program for one model, one kind of clip and one device, shared by all clips that ask for the same.

    It holds no node, frame or core of VapourSynth. A slot is what one frame in flight needs (buffers, a stream, a request); the
    session lends its few slots to the frames that come.
    """

    device_bytes = 0
    """Memory of devices that the session holds, where it is not the host's."""

    def __init__(self, spec: ClipSpec, slots: Iterable[Slot]) -> None:
        self.spec = spec
        self.notes: deque[str] = deque()
        """What users should know of what happened inside."""
        self._slots: SimpleQueue[Slot] = SimpleQueue()
        for slot in slots:
            self._slots.put(slot)

    def run(self, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        """Compute one frame, from any thread; waits while all slots are lent.

        Args:
            planes: of ``spec.inputs``, one after the other, with their shapes and dtypes; only read.
            out: of the target, with the shapes and dtype of ``spec.target``; every sample is written.
        """
        slot = self._slots.get()
        try:
            self._run(slot, planes, out)
        finally:
            self._slots.put(slot)

    def help(self) -> bool:
        """Compute a part of what another thread is at, if a slot is free; False where there is nothing to take over."""
        return False

    def take_notes(self) -> Iterator[str]:
        """What users should know and nobody has taken yet, from any thread."""
        while self.notes:
            try:
                yield self.notes.popleft()
            except IndexError:  # another thread took it
                return

    @abstractmethod
    def _run(self, slot: Slot, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        """Compute one frame with the slot, which nobody else has meanwhile."""


@dataclass(frozen=True, slots=True)
class Request:
    """All that decides what a session computes, and how."""

    model: Model
    spec: ClipSpec
    options: Options
