"""What the check of a card goes through, and the sessions that it opens."""

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from vs_paragonsr2.backends import Request, load_backend
from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.backends.pytorch.slots import TorchSession
from vs_paragonsr2.backends.switch import SwitchingSession
from vs_paragonsr2.checkpoints.models import Model, find_model
from vs_paragonsr2.network import VARIANTS, ParagonSR2
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting
from vs_paragonsr2.support.errors import ParagonSR2Error

TIMED = ("realtime", "stream")
"""Variants that are timed. The others, whose frames take long, are only compared, and not when it is to be quick."""

SECONDS = 420
"""When this much time is over, nothing new is begun."""

NO_TIME = "no time left"


@dataclass(frozen=True)
class Plan:
    """What is gone through."""

    device: str
    """``"cuda"`` or ``"cpu"``."""
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of the sources that are timed."""
    compared: tuple[int, int]
    """(height, width) of the source whose result is compared."""
    lanes: tuple[int, ...]
    frames: int
    """How many frames are timed at most, where they take little time."""
    backends: tuple[str, ...]
    deadline: float
    """A moment of ``time.monotonic``."""
    quick: bool

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A row of a table: what was timed."""

    model: str
    source: str
    """WIDTHxHEIGHT."""
    way: str
    """A backend, or ``"naive"``."""


@dataclass(frozen=True, kw_only=True)
class Fault(Timed):
    """A row of what could not be timed."""

    lanes: int | None = None
    fault: str


def plan_of(device: str, quick: bool) -> Plan:
    """All of it, or little enough for a test."""
    backends = ("torch", *(("tensorrt",) if device == "cuda" and find_spec("torch_tensorrt") else ()))
    deadline = time.monotonic() + SECONDS
    if quick:
        return Plan(device, ((32, 48),), (24, 32), (1, 2), 6, backends, deadline, quick)
    return Plan(device, ((720, 1280), (1080, 1920)), (96, 128), (1, 2, 3, 4, 6, 8), 300, backends, deadline, quick)


def models(folder: Path) -> dict[str, Model]:
    """All variants at 2x: what ships and can be read; else random weights in the folder, which take the same time."""
    found: dict[str, Model] = {}
    for name in VARIANTS:
        try:
            found[name] = find_model(name if find_spec("safetensors") else folder / "none.pth", 2)
        except ParagonSR2Error:
            torch.manual_seed(0)
            path = folder / f"{name}.pth"
            torch.save(ParagonSR2(name, 2).state_dict(), path)
            found[name] = find_model(path, 2)
    return found


def clip_spec(size: tuple[int, int], bits: int = 8) -> ClipSpec:
    """YUV 4:2:0 in BT.709, (height, width), enlarged twice."""
    height, width = size
    source = PlaneFormat("YUV", bits, False, 1, 1, width, height)
    target = PlaneFormat("YUV", bits, False, 1, 1, 2 * width, 2 * height)
    return ClipSpec(source, target, Colorimetry(Matrix.BT709, Range.LIMITED, Siting.LEFT))


def opened(
    plan: Plan, backend: str, model: Model, spec: ClipSpec, streams: int = 1, precision: str | None = None
) -> SwitchingSession:
    """A session of a backend, its engine built."""
    runtime = load_backend(backend)
    given: dict[str, object] = {"device": plan.device, "num_streams": streams, "wait": True}
    options = runtime.settle(given | ({"precision": precision} if precision else {}), streams)
    session = runtime.open_session(Request(model, spec, options, backend))
    assert isinstance(session, SwitchingSession)
    return session


def session_of(session: SwitchingSession) -> TorchSession:
    """The session that serves."""
    assert isinstance(session.current, TorchSession)
    return session.current


def blank(spec: ClipSpec) -> list[Plane]:
    """Planes for a result."""
    return [np.zeros(shape, spec.target.dtype) for shape in spec.target.shapes]


def fault_of(error: Exception) -> str:
    """What went wrong, in one short line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
