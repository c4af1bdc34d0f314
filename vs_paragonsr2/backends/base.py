"""What every backend is to the rest: a session that turns planes into planes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from ..colour import ClipSpec
from ..errors import ParagonSR2Error
from ..weights import Model

Plane = NDArray[np.generic]
"""A plane as it lies in a frame: (height, width) samples, rows possibly further apart than they are long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a session runs; equal options share one."""

    # Hardware
    backend: str
    """Name of the backend."""
    device: str
    """Kind of device, in the backend's own word, such as ``"cpu"`` or ``"cuda"``."""
    device_index: int = 0
    """Which device of that kind, from 0."""
    num_streams: int = 1
    """Frames in flight at once."""

    # Precision
    precision: str | None = None
    """Of the arithmetic, in the backend's own word, such as ``"f32"`` or ``"bf16"``; None chooses."""

    # Network
    alpha: float | None = None
    """Blend of the base path's low-pass; None takes the checkpoint's own."""


def check_scale(scale: int, spec: ClipSpec) -> None:
    """Raise ParagonSR2Error where a checkpoint's scale is not the one between the formats of a spec."""
    if spec.source.width * scale != spec.target.width:
        raise ParagonSR2Error(f"scale is {spec.target.width // spec.source.width}: the checkpoint's own is {scale}")


class Session[Slot](ABC):
    """A program for one model, one kind of clip and one device, shared by all clips that ask for the same.

    It holds no node, frame or core of VapourSynth. A slot is what one frame in flight needs (buffers, a stream, a request); the
    session lends its few slots to the frames that come.
    """

    def __init__(self, spec: ClipSpec, slots: Iterable[Slot]) -> None:
        self.spec = spec
        self._slots: SimpleQueue[Slot] = SimpleQueue()
        for slot in slots:
            self._slots.put(slot)

    def run(self, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        """Compute one frame, from any thread; waits while all slots are lent.

        Args:
            planes: of the source, with the shapes and dtype of ``spec.source``; only read.
            out: of the target, with the shapes and dtype of ``spec.target``; every sample is written.
        """
        slot = self._slots.get()
        try:
            self._run(slot, planes, out)
        finally:
            self._slots.put(slot)

    @abstractmethod
    def _run(self, slot: Slot, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        """Compute one frame with the slot, which nobody else has meanwhile."""


@dataclass(frozen=True, slots=True)
class Request:
    """All that decides what a session computes, and how."""

    model: Model
    spec: ClipSpec
    options: Options
