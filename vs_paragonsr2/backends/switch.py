"""A session whose frames go to another session, which can be replaced between frames."""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from ..program.colour import ClipSpec
from .base import AnySession, NonFiniteError, Plane, Session


class SwitchingSession(Session[None]):
    """One session serves, until another takes over: a faster one once it is ready, an exact one when half precision fails.

    Args:
        first: serves at once.
        num_streams: frames in flight.
        exact: opens the session in float32 that serves where another one raises NonFiniteError.
    """

    def __init__(self, first: AnySession, num_streams: int, exact: Callable[[], AnySession] | None = None) -> None:
        super().__init__(first.spec, [None] * num_streams)
        self._current = first
        self._exact = exact
        self._is_exact = False
        self._lock = threading.Lock()
        self.notes = first.notes

    @property
    def current(self) -> AnySession:
        """Who serves the next frame."""
        return self._current

    @property
    def device_bytes(self) -> int:  # type: ignore[override]
        return self._current.device_bytes

    def help_until(self, done: Future[Any]) -> None:
        self._current.help_until(done)

    def _run(self, slot: None, planes: Sequence[Plane], out: Sequence[Plane]) -> None:
        session = self._current
        try:
            session.run(planes, out)
        except NonFiniteError:
            self._go_exact(session)
            self._current.run(planes, out)

    def _go_exact(self, failed: AnySession) -> None:
        with self._lock:
            if self._current is failed:
                if self._exact is None:
                    raise NonFiniteError
                self._replace(self._exact(), "half precision does not hold this model's numbers: float32 takes its place")
                self._is_exact = True

    def take_over(self, session: AnySession, note: str) -> None:
        """Give all further frames to another session; frames in flight end where they are. Not where half precision failed."""
        with self._lock:
            if not self._is_exact:
                self._replace(session, note)

    def _replace(self, session: AnySession, note: str) -> None:
        notes = session.notes
        session.notes = self.notes
        self.notes.extend(notes)
        self.notes.append(note)
        self._current = session

    def build_meanwhile(self, build: Callable[[], AnySession], name: str) -> threading.Thread:
        """Build a session in a thread, which then takes over; where that fails, or its picture differs, all stays as it is."""
        self.notes.append(f"{name} is being built; the first frames come another way")
        thread = threading.Thread(target=_build, args=(weakref.ref(self), build, name), name=f"build {name}", daemon=True)
        thread.start()
        return thread


def _build(reference: "weakref.ref[SwitchingSession]", build: Callable[[], AnySession], name: str) -> None:
    """Holds nothing of the session that waits, which may be closed meanwhile."""
    began = time.monotonic()
    fault = None
    session = None
    try:
        session = build()
    except Exception as error:  # whatever a runtime makes of a card, a driver or a graph
        fault = f"{type(error).__name__}: {error}"
    waiting = reference()
    if waiting is None:
        return
    if session is not None:
        try:
            fault = disagreement(waiting.current, session)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
    if session is None or fault:
        waiting.notes.append(f"{name} is not taken, and all stays as it is: {fault}")
    else:
        waiting.take_over(session, f"{name} takes over after {time.monotonic() - began:.1f} s")


def disagreement(one: AnySession, other: AnySession) -> str | None:
    """How two sessions differ in a picture of all kinds of detail; None where the picture is the same.

    It is where no sample is off by more than a step of 8 bits, and 99% are within one of 10 bits: no more than that do two runtimes
    of half precision agree. For 8 bits that is one code value.
    """
    fmt = one.spec.target
    unit = 1 / 255 if fmt.is_float else float(1 << (fmt.bits - 8))
    planes = test_picture(one.spec)
    results = []
    for session in (one, other):
        out: list[Plane] = [np.zeros(shape, fmt.dtype) for shape in fmt.shapes]
        session.run(planes, out)
        results.append(out)
    off = [np.abs(a.astype(np.float64) - b) for a, b in zip(*results, strict=True)]
    worst = max(float(plane.max()) for plane in off) / unit
    if not worst <= 1:  # no number is no picture
        return f"its picture differs by {worst:.2f} steps of 8 bits"
    fine = unit / 4 if fmt.is_float else max(unit / 4, 1)
    beyond = sum(int(np.count_nonzero(plane > fine)) for plane in off) / sum(plane.size for plane in off)
    return f"{beyond:.1%} of its samples differ by more than a step of 10 bits" if beyond > 0.01 else None


def test_picture(spec: ClipSpec) -> list[Plane]:
    """Waves of growing frequency over most of the range, the same every time; what the averages are is turned round."""
    fmt = spec.source
    planes: list[Plane] = []
    for number, plane in enumerate(fmt.planes):
        height, width = plane.shape
        y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(max(height, width))
        wave = 0.5 + 0.25 * np.sin(40 * x * x + 9 * y + number) + 0.2 * np.cos(60 * y * y)
        if fmt.is_float:
            planes.append((wave - (0.5 if plane.is_chroma else 0)).astype(fmt.dtype))
        else:
            planes.append((wave * ((1 << fmt.bits) - 1)).round().astype(fmt.dtype))
    return planes + [plane[::-1].astype(np.float32) for plane in planes] if spec.temporal else planes
