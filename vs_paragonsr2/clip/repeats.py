"""Equal planes give equal results: those of the latest frames are kept for the frames that repeat them."""

import zlib
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from ..backends.base import Plane

MAX_BYTES = 256 << 20
"""The most bytes that are kept, unless a single frame takes more."""

SAMPLED = 16
"""One of so many rows is looked at first, which tells nearly all frames apart. Only then are all rows compared."""

COMPARED_ROWS = 64
"""How many rows are compared at once: few enough to stay in the processor's cache. The first rows that differ end it."""


@dataclass(slots=True, eq=False)
class _Entry[Result]:
    meaning: Hashable
    sampled: int
    planes: Sequence[Plane]
    result: Future[Result] = field(default_factory=Future)


class Repeats[Result]:
    """The results of the latest computations, by the planes that went in.

    Planes are equal where all their bits are, so a result never depends on what was asked for before. Where equal planes come while
    the first ones are computed, they wait for that result. What computes waits for nobody here, so waiting always ends.

    Args:
        most: results to keep at most. Twice as many as are computed at once are enough to find a frame that repeats the one before.
        result_bytes: that a result takes; fewer are kept where they would take more than ``MAX_BYTES`` together with the planes
            that they are for, but always the latest.
    """

    def __init__(self, most: int, result_bytes: int) -> None:
        self._most = most
        self._result_bytes = result_bytes
        self._entries: deque[_Entry[Result]] = deque()
        self._lock = Lock()
        self._answered = 0

    def get(
        self,
        meaning: Hashable,
        planes: Sequence[Plane],
        compute: Callable[[], Result],
        meanwhile: Callable[[Future[Result]], object] = lambda done: wait([done]),
    ) -> tuple[Result, int]:
        """The result for all planes that go into a computation, from any thread.

        Args:
            meaning: what else the result depends on.
            planes: of any shapes and dtypes; nobody may write to them any more. They are kept beside the result.
            compute: makes the result. What it raises is raised to all who wait for it, and is not kept.
            meanwhile: called with the result while another thread computes it; it returns when that is done.

        Returns:
            The result, and how many were given so far without being computed, if this is one of them, else 0.
        """
        entry, is_new = self._entry(meaning, planes)
        try:
            if is_new:
                try:
                    entry.result.set_result(compute())
                except BaseException as error:
                    with self._lock:
                        if entry in self._entries:
                            self._entries.remove(entry)
                    entry.result.set_exception(error)
                return entry.result.result(), 0
            if not entry.result.done():
                meanwhile(entry.result)
            result = entry.result.result()
            with self._lock:
                self._answered += 1
                return result, self._answered
        finally:
            del entry  # it holds an error, if there is one, whose traceback holds this frame

    def _entry(self, meaning: Hashable, planes: Sequence[Plane]) -> tuple[_Entry[Result], bool]:
        """The entry for these planes, and whether it is new. It becomes the latest one."""
        sampled = _checksum(planes)
        with self._lock:
            for entry in reversed(self._entries):
                if (entry.sampled, entry.meaning) == (sampled, meaning) and _are_equal(entry.planes, planes):
                    self._entries.remove(entry)
                    is_new = False
                    break
            else:
                entry, is_new = _Entry(meaning, sampled, planes), True
            self._entries.append(entry)
            kept = MAX_BYTES // (self._result_bytes + sum(plane.nbytes for plane in planes))
            while len(self._entries) > max(1, min(self._most, kept)):
                self._entries.popleft()
        return entry, is_new


def _checksum(planes: Sequence[Plane]) -> int:
    """A checksum over some rows of all planes."""
    checksum = 0
    for plane in planes:
        checksum = zlib.crc32(np.ascontiguousarray(plane[SAMPLED // 2 :: SAMPLED]), checksum)
    return checksum


def _are_equal(some: Sequence[Plane], others: Sequence[Plane]) -> bool:
    """Whether all bits are, so that 0.0 and -0.0 differ and a NaN equals itself."""
    return len(some) == len(others) and all(
        a.dtype == b.dtype
        and a.shape == b.shape
        and all(
            np.array_equal(_bits(a[top : top + COMPARED_ROWS]), _bits(b[top : top + COMPARED_ROWS]))
            for top in range(0, len(a), COMPARED_ROWS)
        )
        for a, b in zip(some, others, strict=True)
    )


def _bits(plane: Plane) -> Plane:
    return plane.view(f"u{plane.itemsize}")
