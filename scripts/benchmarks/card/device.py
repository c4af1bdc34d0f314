"""What a frame takes on the device, and how near that comes to what the card can do."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vs_paragonsr2.backends.pytorch.devices import Queue, driver_version, queue_on
from vs_paragonsr2.backends.pytorch.modules import program_for
from vs_paragonsr2.backends.pytorch.slots import TorchSession
from vs_paragonsr2.backends.switch import test_picture
from vs_paragonsr2.checkpoints import load_checkpoint
from vs_paragonsr2.checkpoints.models import Model
from vs_paragonsr2.program.geometry import place
from vs_paragonsr2.program.program import Program
from vs_paragonsr2.program.tiling import tile_spec

from ..harness import spent
from .plan import Timed


@dataclass(frozen=True)
class Card:
    """What ran the check."""

    name: str
    driver: str
    torch: str
    cuda: str | None


def card(device: str) -> Card:
    """The card that is here, or the CPU."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return Card(name, driver_version(), torch.__version__, torch.version.cuda)


@dataclass(frozen=True)
class Ceilings:
    """What was measured of the card, which no session exceeds."""

    copy: float
    """Copies within the device, GB/s read and written together."""
    up: float
    """Copies over the bus to the device, GB/s."""
    down: float
    """Copies over the bus from the device, GB/s."""
    half_tflops: float
    """Products of half-precision matrices, TFLOP/s."""


def ceilings(device: torch.device, quick: bool) -> Ceilings:
    """Measure them."""
    n, side = (1 << 20, 128) if quick else (1 << 28, 8192)
    a, b = (torch.empty(n, dtype=torch.uint8, device=device) for _ in range(2))
    host = queue_on(device).host((n,), torch.uint8)
    x = torch.randn(side, side, device=device).half()
    return Ceilings(
        copy=2 * n / milliseconds(device, lambda: b.copy_(a)) / 1e6,
        up=n / milliseconds(device, lambda: a.copy_(host, non_blocking=True)) / 1e6,
        down=n / milliseconds(device, lambda: host.copy_(a, non_blocking=True)) / 1e6,
        half_tflops=2 * side**3 / milliseconds(device, lambda: x @ x) / 1e9,
    )


def milliseconds(device: torch.device, work: Callable[[], object], runs: int = 10) -> float:
    """The median of some runs, by the card's events; on a CPU by the clock."""

    def on_card() -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    def on_cpu() -> float:
        return 1000 * spent(work).elapsed

    taken = [on_card() if device.type == "cuda" else on_cpu() for _ in range(runs + 3)]
    return statistics.median(taken[3:])


@dataclass(frozen=True, kw_only=True)
class DeviceTimes(Timed):
    """What one frame takes on the device, whole and in stages that were timed alone, and what share of the ceilings that is."""

    tiles: int
    mib: float
    """The session's memory of the device."""
    device_ms: float
    up_ms: float
    up_share: float
    """Share of the bus."""
    compute_ms: float
    arithmetic_share: float
    """Share of the rate of half-precision products."""
    traffic_share: float
    """Share of the card's own copies."""
    down_ms: float
    down_share: float
    """Share of the bus."""
    ratio: float | None
    """How many times faster it is than the naive way; None where that failed."""


def device_times(what: Timed, session: TorchSession, model: Model, limits: Ceilings, naive_ms: float | None) -> DeviceTimes:
    """Time the first slot of a session, next to what the naive way takes, in milliseconds."""
    slot, spec, layout = session.slots[0], session.spec, session.layout
    slot.take_in(test_picture(spec))
    results: list[torch.Tensor] = []

    def compute() -> None:
        results[:] = slot.compute()

    stages: dict[str, tuple[Queue, float]] = {}
    for name, work in (("up", slot.upload), ("compute", compute), ("down", lambda: slot.download(results))):
        queue = queue_on(slot.queue.device)
        queue.record(work)
        stages[name] = queue, queue.milliseconds(20)  # the queue keeps what its recording wrote
    up, compute_ms, down = (ms for _, ms in stages.values())
    program = program_for(load_checkpoint(model.path).parts, tile_spec(spec, layout.size), torch.float16)
    (multiply_adds, bytes_moved), tiles = tile_cost(program), len(layout.tiles)
    up_bytes, down_bytes = (
        sum(math.prod(plane.shape) * plane.format.dtype.itemsize for plane in planes)
        for planes in (spec.input_planes, spec.target.planes)
    )
    device_ms = slot.queue.milliseconds(20)
    return DeviceTimes(
        **vars(what),
        tiles=tiles,
        mib=session.device_bytes / 2**20,
        device_ms=device_ms,
        up_ms=up,
        up_share=up_bytes / up / 1e6 / limits.up,
        compute_ms=compute_ms,
        arithmetic_share=2 * multiply_adds * tiles / compute_ms / 1e9 / limits.half_tflops,
        traffic_share=bytes_moved * tiles / compute_ms / 1e6 / limits.copy,
        down_ms=down,
        down_share=down_bytes / down / 1e6 / limits.down,
        ratio=naive_ms / device_ms if naive_ms else None,
    )


def tile_cost(program: Program) -> tuple[int, int]:
    """Multiply-adds and bytes of a tile and its margins, with features in half precision.

    Every operation counts as one that reads its sources and writes its result once.
    """
    geometry = place(program, padded=True, zero_padded=(True, True))
    area = {operation: math.prod(geometry.size(operation)) for operation in program.operations}
    size = {value: value.channels * area[value] * (4 if value.holds_samples else 2) for value in program.operations}
    return (
        sum(operation.multiply_adds * area[operation] for operation in program.operations),
        sum(size[value] for operation in program.operations for value in (operation, *operation.sources)),
    )
