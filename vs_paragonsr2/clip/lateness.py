"""Whether frames come too late to be shown, and what would help.

An encoder is never in time and does not mind: only a script of a player asks.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock
from time import perf_counter

import vapoursynth as vs

from ..backends import find_backend
from ..backends.sessions import AnyRequest
from ..checkpoints.models import shipped_models
from .lanes import Render
from .log import log_once

FRAMES = 48
"""How many frames in a row are late before anything is said. The first frames, or another program's start, pass sooner."""

LATE = 1.05
"""Frames are late where they take this many times as long as they are shown. A player's own clock is never so far off."""

SATURATED = 0.75
"""The share of lanes at work, on the average, from which on a faster model would help. Fewer wait for the player or the decoder."""


class Lateness:
    """Watches frames that are computed in several threads, each inside ``with``.

    Args:
        fps: at which they are shown.
        lanes: frames that are computed at once at most.
        tell: called once, when FRAMES frames in a row took longer than they are shown while the lanes were saturated.
    """

    def __init__(self, fps: float, lanes: int, tell: Callable[[], None]) -> None:
        self._shown = FRAMES / fps
        self._lanes = lanes
        self._tell = tell
        self._lock = Lock()
        self._told = False
        self._running = 0
        self._now = 0.0
        self._work = 0.0  # seconds of all lanes together
        self._ends: deque[tuple[float, float]] = deque(maxlen=FRAMES + 1)

    def __enter__(self) -> None:
        self.begin(perf_counter())

    def __exit__(self, *_: object) -> None:
        if self.end(perf_counter()):
            self._tell()

    def begin(self, now: float) -> None:
        """A frame begins, at this second."""
        with self._lock:
            self._pass(now)
            self._running += 1

    def end(self, now: float) -> bool:
        """A frame ends; whether it is time to tell."""
        with self._lock:
            self._pass(now)
            self._running -= 1
            self._ends.append((self._now, self._work))
            if self._told or len(self._ends) <= FRAMES:
                return False
            elapsed, work = (last - first for first, last in zip(self._ends[0], self._ends[-1], strict=True))
            self._told = elapsed > LATE * self._shown and work > SATURATED * self._lanes * elapsed
            return self._told

    def _pass(self, now: float) -> None:
        now = max(now, self._now)  # threads come to the lock in any order
        self._work += self._running * (now - self._now)
        self._now = now


def watched(render: Render, fps: float, lanes: int, request: AnyRequest) -> Render:
    """A rendering that does the same, and logs once where frames come too late to be shown at a rate, and what would help."""
    size = f"{request.spec.source.width}x{request.spec.source.height}"
    message = f"upscale: frames of {size} come too late to be shown at {fps:.4g} fps: {remedy(request)} would help"
    watch = Lateness(fps, lanes, partial(log_once, message))

    def render_watched(n: int, *frames: vs.VideoFrame) -> vs.VideoFrame:
        with watch:
            return render(n, *frames)

    return render_watched


def remedy(request: AnyRequest) -> str:
    """The setting that helps most where a model is too slow."""
    backend, model = find_backend(request.backend), request.model
    if backend.remedy is not None:
        return backend.remedy
    shipped = shipped_models()
    fastest = shipped.get(("realtime", model.scale))
    if fastest and fastest != model.path:
        return 'model="realtime"'
    own = {name for name, scale in shipped if shipped[name, scale] == model.path}
    smaller = [scale for name, scale in shipped if name in own and scale < model.scale]
    if smaller:
        return f"scale={max(smaller)}"
    return "a smaller clip, by resize.Bicubic before,"
