"""Frames a second: of a session with some lanes, through VapourSynth, and the naive way."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch

from vs_paragonsr2.backends.pytorch.slots import TorchSession
from vs_paragonsr2.backends.switch import test_picture
from vs_paragonsr2.checkpoints.models import Model
from vs_paragonsr2.checkpoints.network import load_network
from vs_paragonsr2.program.colour import ClipSpec

from ..harness import exhaust, spent
from .device import milliseconds
from .plan import Plan, Timed, blank


@dataclass(frozen=True, kw_only=True)
class FrameRates(Timed):
    """What some lanes of a session give."""

    lanes: int
    tiles: int
    mib: float
    """The lanes' memory of the device."""
    host_ms: float
    """Time of the copies on the host, for a frame."""
    fps: float
    """Frames a second of the session alone."""
    host_share: float
    """How much of a lane's time goes into the copies on the host."""
    filter_fps: float | None
    """Frames a second through VapourSynth; None where it is not installed."""
    ratio: float | None
    """How many times as many frames a second as the naive way's, through VapourSynth where it is; None where that way failed."""


def frame_rates(
    plan: Plan, what: Timed, session: TorchSession, lanes: int, device_ms: float, naive_fps: float | None
) -> FrameRates:
    """Time some of a session's lanes, whose frames take about ``device_ms`` on the device, next to the naive way's."""
    some, mib = iter(session.slots), session.device_bytes / 2**20 * lanes / len(session.slots)
    session = TorchSession(session.layout, lambda device: next(some), [slot.queue.device for slot in session.slots[:lanes]])
    frames = max(2 * lanes, min(plan.frames, int(1500 / device_ms)))
    planes, out, slot = test_picture(session.spec), blank(session.spec), session.slots[0]

    def copy() -> None:
        for _ in range(5):
            slot.take_in(planes)
            slot.hand_out(out)

    host_ms = spent(copy).elapsed / 5 * 1000
    fps = frames_per_second(frames, session, lanes)
    through_filter = filter_fps(frames, session, lanes) if find_spec("vapoursynth") else None
    return FrameRates(
        **vars(what),
        lanes=lanes,
        tiles=len(session.layout.tiles),
        mib=mib,
        host_ms=host_ms,
        fps=fps,
        host_share=host_ms / 1000 * fps / lanes,
        filter_fps=through_filter,
        ratio=(through_filter or fps) / naive_fps if naive_fps else None,
    )


def frames_per_second(frames: int, session: TorchSession, threads: int) -> float:
    """As VapourSynth's threads ask for frames, into planes of their own."""
    planes, mine = test_picture(session.spec), threading.local()

    def one(_: int) -> None:
        if not hasattr(mine, "out"):
            mine.out = blank(session.spec)
        session.run(planes, mine.out)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(threads * 4)))
        began = time.perf_counter()
        list(pool.map(one, range(frames)))
        return frames / (time.perf_counter() - began)


def filter_fps(frames: int, session: TorchSession, lanes: int) -> float:
    """Through VapourSynth and the filter's own lanes, from a clip that costs nothing."""
    import vapoursynth as vs

    from vs_paragonsr2.clip.frames import new_frame, planes_of, with_properties
    from vs_paragonsr2.clip.lanes import in_lanes

    spec = session.spec
    source = vs.core.std.BlankClip(format=vs.YUV420P8, width=spec.source.width, height=spec.source.height, length=frames, keep=True)

    def render(n: int, frame: vs.VideoFrame) -> vs.VideoFrame:
        out = new_frame(source.format, spec.target.width, spec.target.height)
        session.run(planes_of(frame), planes_of(out))
        return with_properties(out, frame)

    lanes = min(lanes, vs.core.num_threads)
    clip = in_lanes(source, spec.target, source.format, render, lanes)
    return frames / spent(lambda: exhaust(clip, 2 * lanes)).elapsed


@dataclass(frozen=True, kw_only=True)
class Naive(Timed):
    """What the field does: RGB floats up, the plain network in half precision, RGB floats down, and wait, frame by frame."""

    mib: float
    """Memory of the device, 0 on a CPU."""
    device_ms: float
    compute_ms: float
    fps: float


def naive_way(plan: Plan, what: Timed, model: Model, spec: ClipSpec) -> Naive:
    """Time the naive way; on a CPU in single precision."""
    device = torch.device(plan.device)
    dtype = torch.float16 if plan.device == "cuda" else torch.float32
    if plan.device == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    network = load_network(model.path).to(device, dtype)
    rgb = np.random.default_rng(0).random((3, spec.source.height, spec.source.width), np.float32)
    out = np.empty((3, spec.target.height, spec.target.width), np.float32)

    @torch.inference_mode()
    def one() -> None:
        result = network(torch.from_numpy(rgb)[None].to(device).to(dtype))
        out[...] = result[0].float().cpu().numpy()

    device_ms = milliseconds(device, one, 5)
    x = torch.from_numpy(rgb)[None].to(device).to(dtype)
    compute_ms = milliseconds(device, torch.inference_mode()(lambda: network(x)), 5)
    frames = max(3, min(plan.frames, int(1500 / device_ms)))
    seconds = spent(lambda: [one() for _ in range(frames)]).elapsed
    mib = (torch.cuda.max_memory_allocated(device) - before) / 2**20 if plan.device == "cuda" else 0.0
    return Naive(**vars(what), mib=mib, device_ms=device_ms, compute_ms=compute_ms, fps=frames / seconds)
