"""A clip against a clock: which frames come too late, before and after a seek.

As in mpv, a few frames after the one on display are asked for ahead, a thread decodes into a bounded buffer from which the filter
gets its frames, and a seek waits for what is in flight and runs the script again. The clock starts with the first frame, and waits
for no other. Each run begins without sessions and with whatever is kept on disk, as a player's process does. The frames that mpv's
display itself queues are left out, so that a real player has a little more time.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import vapoursynth as vs

from vs_paragonsr2 import upscale
from vs_paragonsr2.backends.sessions import SESSIONS
from vs_paragonsr2.support.processors import processors

from .comparison import checkpoint
from .harness import report
from .player import Section, play


@dataclass(frozen=True)
class Row:
    """One model at one rate, before or after the seek. Times are in milliseconds."""

    model: str
    fps: float
    seek: str
    """``"before"`` or ``"after"``."""
    frames: int
    missed: int
    """Frames that came after the time of their display."""
    first: float
    """From the seek, or the start of the script, to the first frame."""
    p50: float
    """Median latency: half of the frames came sooner after they were asked for."""
    p95: float
    p99: float
    worst: float
    behind: float
    """By how much the latest frame missed its display; 0 where none did."""
    latencies: tuple[float, ...]
    """Latencies of all frames, in order."""
    lateness: tuple[float, ...]
    """By how much each frame missed its display; frames below 0 were in time."""


def row(model: str, seek: str, section: Section) -> Row:
    """The figures of a section."""
    latencies, lateness = ([1000 * seconds for seconds in times] for times in (section.latencies, section.lateness))
    p50, p95, p99 = map(float, np.percentile(latencies, (50, 95, 99)))
    late = [milliseconds for milliseconds in lateness if milliseconds > 0]
    return Row(
        *(model, section.fps, seek, len(latencies), len(late)),
        first=1000 * section.came[0],
        p50=p50,
        p95=p95,
        p99=p99,
        worst=max(latencies),
        behind=max(late, default=0.0),
        latencies=tuple(latencies),
        lateness=tuple(lateness),
    )


def run(arguments: argparse.Namespace) -> None:
    """Play each model at each rate, and report."""
    concurrent = arguments.concurrent_frames or len(processors())
    # One thread waits for the buffer and never decodes; mpv's decoder has threads of its own.
    vs.core.num_threads = max(2, vs.core.num_threads)
    clip = vs.core.bs.VideoSource(str(arguments.clip.resolve()), cachemode=0, showprogress=False)
    if arguments.size:
        clip = clip.resize.Bicubic(*arguments.size)
    rows = [
        row
        for model in map(checkpoint, arguments.models)
        for fps in arguments.fps
        for row in played(model, clip, fps, arguments.frames, concurrent)
    ]
    title = f"{arguments.clip.name} at {clip.width}x{clip.height}, {concurrent} frames asked for ahead; times in ms"
    report(title, rows, arguments.json)
    if arguments.plot:
        plot(title, rows, arguments.plot)


def played(model: str, clip: vs.VideoNode, fps: float, frames: int, concurrent: int) -> list[Row]:
    """Play from the beginning, then seek to the middle of the clip."""

    def script(video_in: vs.VideoNode) -> vs.VideoNode:
        return upscale(video_in, model, playback_fps=fps)

    script(clip)  # so that what is kept on disk is there
    SESSIONS.clear()
    before, left = play(script, clip, 0, frames, fps, concurrent, time.perf_counter())
    after, _ = play(script, clip, clip.num_frames // 2, frames, fps, concurrent, left)
    return [row(Path(model).stem, seek, section) for seek, section in (("before", before), ("after", after))]


def plot(title: str, rows: Sequence[Row], picture: Path) -> None:
    """Plot how late each frame was into a PNG, with a row of axes for each model."""
    from matplotlib.figure import Figure

    models, seeks = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("model", "seek"))
    figure = Figure(figsize=(9, 1 + 3 * len(models)), layout="constrained")
    grid = figure.subplots(len(models), len(seeks), sharex=True, sharey="row", squeeze=False)
    for row in rows:
        axes = grid[models.index(row.model), seeks.index(row.seek)]
        axes.plot(np.arange(row.frames) / row.fps, row.lateness, ".-", markersize=3, linewidth=0.8, label=f"{row.fps:g} fps")
        axes.set_title(f"{row.model}, {row.seek} the seek")
    for axes in grid.flat:
        axes.axhline(0, color="black", linewidth=0.8)
        axes.grid(alpha=0.3)
    grid[0, 0].legend()
    figure.suptitle(title)
    figure.supxlabel("seconds since the first frame")
    figure.supylabel("ms after the time of display")
    figure.savefig(picture, format="png", dpi=120)
