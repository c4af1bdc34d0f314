"""The frame path without any network, against the colour conversions that the RGB route needs on the host.

The frame path is the way of a frame from the source to the device and back, which is what a fast device waits for: YUV420P8 is
doubled by the filter itself with a session that repeats samples, and nothing is computed. The RGB route is resize.Bicubic to RGBS
at the source's size and, from a constant RGBS clip, back at twice that size; both are timed alone and their times added, so that
whatever would be between them costs nothing.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import vapoursynth as vs

from vs_paragonsr2.backends import Options, Request, Session
from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.colorimetry import ColorimetryReader, plane_format
from vs_paragonsr2.clip.lanes import in_lanes
from vs_paragonsr2.clip.renderer import Renderer
from vs_paragonsr2.clip.sessions import ClipSessions
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry
from vs_paragonsr2.support.processors import cores

from .harness import Spent, exhaust, in_turn, median, report, spent


class RepeatSession(Session[None]):
    """A session that repeats each 8-bit sample twice in both directions, which costs as little as a session can."""

    def _run(self, slot: None, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        for plane, result in zip(planes, out, strict=True):
            # A sample and its repetition are one number of 16 bits. All in one call: each takes and leaves the interpreter's lock.
            pairs = result.view(np.uint16).reshape(len(plane), 2, -1)
            np.multiply(plane[:, None], np.uint16(0x0101), out=pairs, dtype=np.uint16)


class RepeatSessions(ClipSessions):
    """One session that repeats samples, whatever those mean."""

    def __init__(self, spec: ClipSpec, streams: int) -> None:
        super().__init__(Request(find_model("realtime", 2), spec, Options(), "repeat"))
        self._repeat = RepeatSession(spec, [None] * streams)

    def session(self, colour: Colorimetry) -> RepeatSession:
        return self._repeat


@dataclass(frozen=True)
class HostCost:
    """What each path spent on a frame, round by round."""

    frame_path: list[Spent]
    to_rgb: list[Spent]
    from_rgb: list[Spent]

    @property
    def fps_ratio(self) -> float:
        """How many times as long both conversions take as the frame path, on the clock: medians by medians."""
        return (median(self.to_rgb, elapsed) + median(self.from_rgb, elapsed)) / median(self.frame_path, elapsed)

    @property
    def processor_ratio(self) -> float:
        """The same for processor time."""
        return (median(self.to_rgb, processor) + median(self.from_rgb, processor)) / median(self.frame_path, processor)


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    path: str
    fps: float
    processor_ms: float
    """Processor time of a frame, in milliseconds."""


def lines(cost: HostCost) -> list[Line]:
    """The table: the paths, then how many times the frame path is better than both conversions."""
    paths = (("frame path", cost.frame_path), ("to RGBS", cost.to_rgb), ("from RGBS", cost.from_rgb))
    listed = [Line(name, 1 / median(runs, elapsed), 1000 * median(runs, processor)) for name, runs in paths]
    return [*listed, Line("times better than both", cost.fps_ratio, cost.processor_ratio)]


def elapsed(one: Spent) -> float:
    return one.elapsed


def processor(one: Spent) -> float:
    return one.processor


def run(arguments: argparse.Namespace) -> None:
    """Measure, and report."""
    width, height = arguments.size
    cost = measure(width, height, arguments.frames, arguments.rounds, arguments.streams or cores())
    size = f"{width}x{height} -> {2 * width}x{2 * height} YUV420P8"
    title = f"{size}, {arguments.frames} frames, medians of {arguments.rounds} rounds in turn"
    report(title, [cost], arguments.json, lines(cost))


def measure(width: int, height: int, frames: int, rounds: int, streams: int) -> HostCost:
    """All three in turn. Each round makes its clips anew, since VapourSynth keeps what a node has made.

    The first round does not count: memory that is new to the process costs extra.
    """
    source = vs.core.std.BlankClip(
        format=vs.YUV420P8, width=width, height=height, length=frames, keep=True, color=[90, 100, 150]
    ).std.SetFrameProps(_Matrix=1)
    rgb = vs.core.std.BlankClip(format=vs.RGBS, width=2 * width, height=2 * height, length=frames, keep=True, color=[0.3, 0.4, 0.5])
    works = (
        lambda: spent_on(doubled(source, streams)),
        lambda: spent_on(source.resize.Bicubic(format=vs.RGBS)),
        lambda: spent_on(rgb.resize.Bicubic(format=vs.YUV420P8, matrix=1)),
    )
    return HostCost(*in_turn(works, rounds, warm_ups=1))


def spent_on(clip: vs.VideoNode) -> Spent:
    """What a frame takes, over all frames of a clip."""
    whole = spent(partial(exhaust, clip))
    return Spent(whole.elapsed / clip.num_frames, whole.processor / clip.num_frames)


def doubled(clip: vs.VideoNode, streams: int) -> vs.VideoNode:
    """A clip of 8 bits twice as large, through the filter's own nodes."""
    source = plane_format(clip.format, clip.width, clip.height)
    target = replace(source, width=2 * source.width, height=2 * source.height)
    reader = ColorimetryReader.for_clip(source, matrix=None, color_range=None, chroma_location=None)
    sessions = RepeatSessions(ClipSpec(source, target, reader.read({})), streams)
    render = Renderer(reader, sessions, target, clip.format, temporal=False, repeats=None)
    return in_lanes(clip, target, clip.format, render, min(streams, vs.core.num_threads))
