"""A player as mpv is one: it asks for frames ahead, decodes into a bounded buffer, and shows frames by a clock."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass

import vapoursynth as vs

ENDLESS = (2**31 - 1) // 16
"""The number of frames that mpv's video_in says it has."""

BUFFERED = 4
"""mpv's default of buffered-frames, as a multiple of concurrent-frames."""


@dataclass(frozen=True)
class Section:
    """What happened between two seeks. Times are seconds since the seek, or since the start of the script."""

    fps: float
    asked: list[float]
    """When each frame was asked for; the first one counts as asked for at the seek."""
    came: list[float]
    """When each frame was there."""

    @property
    def latencies(self) -> list[float]:
        """Seconds from the request to the frame."""
        return [came - asked for asked, came in zip(self.asked, self.came, strict=True)]

    @property
    def lateness(self) -> list[float]:
        """By how many seconds each frame missed its display, whose time the first one decides; frames below 0 were in time."""
        return [came - (self.came[0] + n / self.fps) for n, came in enumerate(self.came)]


class Buffer:
    """mpv's side of the filter: a thread that decodes, and the last frames that it has decoded.

    Args:
        clip: what is decoded, from its frame ``first`` on, which is frame 0 of ``node``.
        size: how many frames are kept. The oldest one goes when a frame is asked for that has no place yet, and cannot be had then.
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
        """End the thread, and let go of the clips. No frame may be in flight then.

        VapourSynth holds this object as long as the node lives, so that one of the two has to let go of the other.
        """
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join()
        self._frames.clear()
        del self.node, self._clip

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
"""A user's script, from mpv's video_in to what is shown."""


def play(
    script: Script, clip: vs.VideoNode, first: int, frames: int, fps: float, concurrent: int, began: float
) -> tuple[Section, float]:
    """Run a script on a clip from its frame ``first`` on, show so many frames, and leave.

    Args:
        concurrent: how many frames are asked for ahead, counting the one that is shown next.
        began: the moment of the seek that led here, by ``time.perf_counter``.

    Returns:
        What happened, and the moment of leaving. Frames that were asked for ahead are still in flight then; they are waited for.
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
