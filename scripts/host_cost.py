"""Time the frame path without any network against the colour conversions that the RGB route needs on the host: the way of a frame
from the source to the device and back, which is what a fast device waits for.

    python scripts/host_cost.py [--frames 200] [--rounds 5] [--json FILE]

YUV420P8 is doubled by the filter itself with a session that repeats samples, and nothing is computed. The RGB route is
resize.Bicubic to RGBS at the source's size and, of a constant RGBS clip, back at twice that; both are timed alone and their times
added, so that whatever would be between them costs nothing. All in turn, medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import vapoursynth as vs
from rich.console import Console
from rich.table import Table

from vs_paragonsr2.backends import Options, Session
from vs_paragonsr2.backends.base import Plane
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.colorimetry import ColorimetryReader, plane_format
from vs_paragonsr2.clip.upscaler import Upscaler, in_lanes
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, PlaneFormat
from vs_paragonsr2.support.processors import cores


class RepeatSession(Session[None]):
    """Repeats each 8-bit sample twice in both directions, which costs as little as a session can."""

    def _run(self, slot: None, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        for plane, result in zip(planes, out, strict=True):
            # A sample and its repetition are one number of 16 bits. All in one call: each takes and leaves the interpreter's lock.
            pairs = result.view(np.uint16).reshape(len(plane), 2, -1)
            np.multiply(plane[:, None], np.uint16(0x0101), out=pairs, dtype=np.uint16)


class RepeatUpscaler(Upscaler):
    """What the filter does with a frame, with a session that repeats samples whatever they mean."""

    def __init__(self, clip: vs.VideoNode, target: PlaneFormat, streams: int) -> None:
        source = plane_format(clip.format, clip.width, clip.height)
        reader = ColorimetryReader.for_clip(source, matrix=None, color_range=None, chroma_location=None)
        self.repeats = RepeatSession(ClipSpec(source, target, reader.read({})), [None] * streams)
        options = Options(backend="repeat", device="CPU", num_streams=streams)
        super().__init__(find_model("realtime", 2), source, target, clip.format, options, reader, False)

    def session(self, colour: Colorimetry) -> Session[None]:  # type: ignore[override]
        return self.repeats


@dataclass(frozen=True)
class Run:
    """One clip from its first frame to its last, seconds a frame."""

    elapsed: float
    processor: float
    """Of all threads together, which neither other processes nor the number of cores change much."""


@dataclass(frozen=True)
class HostCost:
    """All rounds."""

    frame_path: list[Run]
    to_rgb: list[Run]
    from_rgb: list[Run]

    def ratio(self, measure: Callable[[Run], float]) -> float:
        """How many times as much as the frame path both conversions take; median over the rounds."""
        rounds = zip(self.frame_path, self.to_rgb, self.from_rgb, strict=True)
        return statistics.median((measure(b) + measure(c)) / measure(a) for a, b, c in rounds)


def elapsed(run: Run) -> float:
    return run.elapsed


def processor(run: Run) -> float:
    return run.processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=cores())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cost = measure(arguments.width, arguments.height, arguments.frames, arguments.rounds, arguments.streams)
    size = f"{arguments.width}x{arguments.height} -> {2 * arguments.width}x{2 * arguments.height} YUV420P8"
    table = Table(title=f"{size}, {arguments.frames} frames, medians of {arguments.rounds} rounds in turn")
    table.add_column("path")
    for column in ("fps", "processor ms a frame"):
        table.add_column(column, justify="right")
    for name, runs in (("frame path", cost.frame_path), ("to RGBS", cost.to_rgb), ("from RGBS", cost.from_rgb)):
        fps, milliseconds = 1 / statistics.median(map(elapsed, runs)), 1000 * statistics.median(map(processor, runs))
        table.add_row(name, f"{fps:.1f}", f"{milliseconds:.2f}")
    table.add_row("times faster than both", f"{cost.ratio(elapsed):.2f}", f"{cost.ratio(processor):.2f}")
    Console().print(table)
    if arguments.json:
        ratios = {"fps_ratio": cost.ratio(elapsed), "processor_ratio": cost.ratio(processor)}
        arguments.json.write_text(json.dumps({**asdict(cost), **ratios}, indent=1) + "\n")


def measure(width: int, height: int, frames: int, rounds: int, streams: int) -> HostCost:
    """All three in turn, in every round anew, since VapourSynth keeps what a node has made. The first round is not counted: memory
    that is new to the process costs extra.
    """
    source = vs.core.std.BlankClip(
        format=vs.YUV420P8, width=width, height=height, length=frames, keep=True, color=[90, 100, 150]
    ).std.SetFrameProps(_Matrix=1)
    rgb = vs.core.std.BlankClip(format=vs.RGBS, width=2 * width, height=2 * height, length=frames, keep=True, color=[0.3, 0.4, 0.5])
    found = []
    for _ in range(1 + rounds):
        clips = doubled(source, streams), source.resize.Bicubic(format=vs.RGBS), rgb.resize.Bicubic(format=vs.YUV420P8, matrix=1)
        found.append([run(clip) for clip in clips])
    return HostCost(*map(list, zip(*found[1:], strict=True)))


def doubled(clip: vs.VideoNode, streams: int) -> vs.VideoNode:
    """A clip of 8 bits twice as large through the filter's own nodes."""
    target = plane_format(clip.format, 2 * clip.width, 2 * clip.height)
    return in_lanes(clip, target, clip.format, RepeatUpscaler(clip, target, streams), min(streams, vs.core.num_threads))


def run(clip: vs.VideoNode) -> Run:
    """Ask for all frames."""
    begin, worked = time.perf_counter(), time.process_time()
    for _ in clip.frames(close=True):
        pass
    return Run((time.perf_counter() - begin) / clip.num_frames, (time.process_time() - worked) / clip.num_frames)


if __name__ == "__main__":
    main()
