"""Whether frames come too late to be shown, and what would help.

An encoder is never in time and does not mind: only a script of a player asks.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock
from time import perf_counter

from ..backends import Options
from ..checkpoints.models import Model, shipped_models

FRAMES = 48
"""In a row: what passes sooner, such as the first frames or another program's start, is not worth a word."""

LATE = 1.05
"""Times as long as they are shown, which a player's own clock never reaches."""

SATURATED = 0.75
"""Of the lanes at work, on the average. Fewer wait for the player or the decoder, and no setting of ours would help."""


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


def remedy(model: Model, options: Options) -> str:
    """The setting that helps most where a model is too slow."""
    if options.backend == "reference":
        return "a faster backend, 'openvino' or 'torch',"
    shipped = shipped_models()
    fastest = shipped.get(("realtime", model.scale))
    if fastest and fastest != model.path:
        return 'model="realtime"'
    own = {name for name, scale in shipped if shipped[name, scale] == model.path}
    smaller = [scale for name, scale in shipped if name in own and scale < model.scale]
    if smaller:
        return f"scale={max(smaller)}"
    return "a smaller clip, by resize.Bicubic before,"
