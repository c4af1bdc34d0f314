"""Play a clip against a clock, and ask for frames the way mpv does: which come too late, before and after a seek.

    python scripts/benchmark.py playback [--models realtime stream] [--fps 24 30 60] [--json FILE] [--plot FILE]

As in mpv, a few frames after the one on display are asked for ahead, a thread decodes into a bounded buffer from which the filter
gets its frames, and a seek waits for what is in flight and runs the script again. The clock starts with the first frame, and does
not wait for any other. Each run begins without sessions, with the graph on disk, as a player's process does. The frames that
mpv's display itself queues are left out, so that a real player has a little more time.
"""

import argparse
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs
from bootstrap import ROOT
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from vs_paragonsr2 import upscale
from vs_paragonsr2.backends.sessions import SESSIONS
from vs_paragonsr2.support.processors import processors

ENDLESS = (2**31 - 1) // 16
"""Frames that mpv's video_in says it has."""

BUFFERED = 4
"""Times concurrent-frames, the default of mpv's buffered-frames."""


@dataclass(frozen=True)
class Section:
    """What happened between two seeks; times in seconds from the seek, or from the start of the script."""

    fps: float
    asked: list[float]
    """When each frame was asked for; the first one at the seek."""
    came: list[float]
    """When it was there."""

    @property
    def latencies(self) -> list[float]:
        """From the request to the frame."""
        return [came - asked for asked, came in zip(self.asked, self.came, strict=True)]

    @property
    def lateness(self) -> list[float]:
        """By how much each frame missed the time of its display, which the first one decides; less than 0 was in time."""
        return [came - (self.came[0] + n / self.fps) for n, came in enumerate(self.came)]

    def figures(self) -> dict[str, float]:
        """Times in milliseconds."""
        p50, p95, p99 = np.percentile(self.latencies, (50, 95, 99))
        late = [seconds for seconds in self.lateness if seconds > 0]
        times = {"first": self.came[0], "p50": p50, "p95": p95, "p99": p99, "worst": max(self.latencies)}
        times |= {"behind": max(late, default=0.0)}
        return {"frames": len(self.came), "missed": len(late), **{name: round(1000 * value, 2) for name, value in times.items()}}


class Buffer:
    """mpv's side of the filter: a thread that decodes, and the last frames that it has decoded.

    Args:
        clip: what is decoded, from its frame ``first`` on, which is frame 0 of ``node``.
        size: frames that are kept. The oldest goes when one is asked for that has no place yet; what has gone cannot be had.
    """

    def __init__(self, clip: vs.VideoNode, first: int, size: int) -> None:
        self._clip, self._first, self._size = clip, first, size
        self._frames: deque[vs.VideoFrame] = deque()
        self._oldest = 0
        self._open = True
        self._changed = threading.Condition()
        blank = clip.std.BlankClip(length=ENDLESS, fpsnum=0, fpsden=1, keep=True)
        self.node = blank.std.ModifyFrame(blank, self._take)
        self._thread = threading.Thread(target=self._decode, name="decoder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread. No frame may be in flight."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join()

    def _decode(self) -> None:
        number = self._first
        while True:
            frame = self._clip.get_frame(number % self._clip.num_frames)
            number += 1
            with self._changed:
                self._changed.wait_for(lambda: len(self._frames) < self._size or not self._open)
                if not self._open:
                    return
                self._frames.append(frame)
                self._changed.notify_all()

    def _take(self, n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        with self._changed:
            if n < self._oldest:
                raise RuntimeError(f"frame {n} was asked for, and the oldest one that is kept is {self._oldest}")
            while n >= self._oldest + len(self._frames):
                if n >= self._oldest + self._size and self._frames:
                    self._frames.popleft()
                    self._oldest += 1
                    self._changed.notify_all()
                else:
                    self._changed.wait()
            return self._frames[n - self._oldest]


type Script = Callable[[vs.VideoNode], vs.VideoNode]
"""From mpv's video_in to what is shown."""


def play(
    script: Script, clip: vs.VideoNode, first: int, frames: int, fps: float, concurrent: int, began: float
) -> tuple[Section, float]:
    """Run a script on a clip from its frame ``first`` on, show so many frames, and leave.

    Args:
        concurrent: frames that are asked for ahead, the one that is shown next included.
        began: the moment of the seek that led here, by ``time.perf_counter``.

    Returns:
        What happened, and the moment of leaving, when those asked for ahead are still in flight; they are waited for.
    """
    asked: list[float] = []
    came: dict[int, float] = {}
    buffer = Buffer(clip, first, BUFFERED * concurrent)
    shown = script(buffer.node)

    def ask() -> Future[None]:
        n, future = len(asked), Future[None]()

        def done(frame: vs.VideoFrame | None, error: Exception | None) -> None:
            came[n] = time.perf_counter() - began
            if frame is None:
                future.set_exception(error)
            else:
                future.set_result(None)

        asked.append(time.perf_counter() - began if n else 0.0)
        shown.get_frame_async(n, done)
        return future

    requests = deque(ask() for _ in range(concurrent))
    try:
        for n in range(frames):
            requests.popleft().result()
            if n:
                time.sleep(max(0.0, came[0] + n / fps - (time.perf_counter() - began)))
            requests.append(ask())
        left = time.perf_counter()
    finally:
        wait(requests)
        buffer.close()
    return Section(fps, asked[:frames], [came[n] for n in range(frames)]), left


@dataclass(frozen=True)
class Run:
    """One model at one rate."""

    model: str
    before: Section
    after: Section

    def sections(self) -> dict[str, Section]:
        """By where they are to the seek."""
        return {"before": self.before, "after": self.after}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("benchmark.py playback", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["realtime", "stream"], help="names of shipped models, or checkpoints")
    parser.add_argument("--fps", nargs="+", type=float, default=[24, 30, 60])
    parser.add_argument("--clip", type=Path, default=ROOT / "tests/clips/flower_960x540.mp4", help="repeated if it is too short")
    parser.add_argument("--size", metavar="WxH", help="resize the clip first")
    parser.add_argument("--frames", type=int, default=120, help="of each part, before and after the seek")
    parser.add_argument("--concurrent-frames", type=int, default=len(processors()), help="as mpv's; the number of processors")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="a PNG")
    parsed = parser.parse_args(arguments)
    # One waits for the buffer, and decodes in no case; mpv's decoder has threads of its own.
    vs.core.num_threads = max(2, vs.core.num_threads)
    clip = vs.core.bs.VideoSource(str(parsed.clip.resolve()), cachemode=0, showprogress=False)
    if parsed.size:
        width, height = map(int, parsed.size.split("x"))
        clip = clip.resize.Bicubic(width, height)
    runs = [played(model, clip, fps, parsed.frames, parsed.concurrent_frames) for model in parsed.models for fps in parsed.fps]
    title = f"{parsed.clip.name} at {clip.width}x{clip.height}, {parsed.concurrent_frames} frames asked for ahead"
    show(title, runs)
    if parsed.plot:
        plot(title, runs, parsed.plot)
    if parsed.json:
        parsed.json.write_text(json.dumps({"what": title, "runs": list(map(as_json, runs))}, indent=1) + "\n")


def played(model: str, clip: vs.VideoNode, fps: float, frames: int, concurrent: int) -> Run:
    """Play from the beginning, then seek to the middle of the clip."""

    def script(video_in: vs.VideoNode) -> vs.VideoNode:
        return upscale(video_in, model, playback_fps=fps)

    script(clip)  # so that the graph is on disk
    SESSIONS.clear()
    before, left = play(script, clip, 0, frames, fps, concurrent, time.perf_counter())
    after, _ = play(script, clip, clip.num_frames // 2, frames, fps, concurrent, left)
    return Run(Path(model).stem, before, after)


def as_json(run: Run) -> dict[str, Any]:
    """Figures and, in milliseconds, the latency of every frame."""
    sections = {
        name: {**section.figures(), "latencies": [round(1000 * seconds, 2) for seconds in section.latencies]}
        for name, section in run.sections().items()
    }
    return {"model": run.model, "fps": run.before.fps, **sections}


def show(title: str, runs: Sequence[Run]) -> None:
    table = Table(title=f"{title}; latencies in ms")
    names = list(runs[0].before.figures())
    for column in ("model", "fps", "seek", *names):
        table.add_column(column, justify="right" if column in names else "left")
    for run in runs:
        for place, section in run.sections().items():
            table.add_row(run.model, f"{section.fps:g}", place, *(f"{value:.0f}" for value in section.figures().values()))
    Console(width=120).print(table)


def plot(title: str, runs: Sequence[Run], picture: Path) -> None:
    """How late each frame was, a row of axes for a model, as a PNG."""
    models = list(dict.fromkeys(run.model for run in runs))
    figure = Figure(figsize=(9, 1 + 3 * len(models)), layout="constrained")
    rows = figure.subplots(len(models), 2, sharex=True, sharey="row", squeeze=False)
    for run in runs:
        for axes, (place, section) in zip(rows[models.index(run.model)], run.sections().items(), strict=True):
            times = np.arange(len(section.came)) / section.fps
            axes.plot(times, 1000 * np.array(section.lateness), ".-", markersize=3, linewidth=0.8, label=f"{section.fps:g} fps")
            axes.set_title(f"{run.model}, {place} the seek")
    for axes in rows.flat:
        axes.axhline(0, color="black", linewidth=0.8)
        axes.grid(alpha=0.3)
    rows[0, 0].legend()
    figure.suptitle(title)
    figure.supxlabel("seconds since the first frame")
    figure.supylabel("ms after the time of display")
    figure.savefig(picture, format="png", dpi=120)
