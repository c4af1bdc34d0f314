"""Whether frames are what they are when each is computed alone, and how many came."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock

import vapoursynth as vs

from .films import Film, digest_of

PATIENCE_S = 300
"""Seconds after which a frame that was asked for by ``get_frame_async`` counts as one that never comes."""

MOST_FAULTS = 20
"""Faults that are kept in words; all are counted."""


@dataclass(slots=True)
class Counts:
    """What came of the frames of one act."""

    times: int = 0
    """How often the act was played."""
    asked: int = 0
    wrong: int = 0
    """Frames that differ, that failed or never came, and processes that ended as they should not have."""
    late: int = 0
    """Frames that came after the time of their display."""


class Checker:
    """Compares frames with their digests from when they were computed alone, and counts, from any thread."""

    def __init__(self) -> None:
        self.counts: dict[str, Counts] = {}
        self.faults: list[str] = []
        self._act = ""
        self._expected: dict[tuple[Film, int, int], str] = {}
        self._lock = Lock()

    def begin(self, act: str) -> None:
        """What comes from now on belongs to this act."""
        self._act = act
        self.counts.setdefault(act, Counts()).times += 1

    def prepare(self, film: Film, temporal: int, numbers: Iterable[int] | None = None) -> None:
        """Compute the frames that are not known yet, one after the other, while nothing else is computed.

        Args:
            numbers: of the frames that will be asked for; None for all.
        """
        wanted = range(film.length) if numbers is None else numbers
        missing = [n for n in dict.fromkeys(wanted) if (film, temporal, n) not in self._expected]
        if missing:
            alone = film.upscaled(temporal, repeats=False)
            for n in missing:
                with alone.get_frame(n) as frame:
                    self._expected[film, temporal, n] = digest_of(frame)

    def frame(self, film: Film, temporal: int, n: int, get: Callable[[], vs.VideoFrame], *, late: bool = False) -> None:
        """Get a frame, and check its samples and its number."""
        try:
            with get() as frame:
                number, found = frame.props.get("number"), digest_of(frame)
        except (vs.Error, TimeoutError) as error:
            self._count(late, f"{film}, temporal {temporal}: frame {n}: {type(error).__name__}: {error}")
            return
        if number == n:
            self.digest(film, temporal, n, found, late=late)
        else:
            self._count(late, f"{film}, temporal {temporal}: frame {n} says that it is {number}")

    def digest(self, film: Film, temporal: int, n: int, found: str, *, late: bool = False) -> None:
        """Check the samples of a frame by their digest."""
        differs = found != self._expected[film, temporal, n]
        self._count(late, f"{film}, temporal {temporal}: frame {n} differs" if differs else None)

    def fault(self, words: str) -> None:
        """Count what went wrong with something else than a frame."""
        with self._lock:
            self._fault(words)

    def _count(self, late: bool, fault: str | None) -> None:
        with self._lock:
            counts = self.counts[self._act]
            counts.asked += 1
            counts.late += late
            if fault is not None:
                self._fault(fault)

    def _fault(self, words: str) -> None:
        self.counts[self._act].wrong += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(f"{self._act}: {words}")
