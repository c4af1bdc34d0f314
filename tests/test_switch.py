"""Taking over between frames. The sessions here are doubles that fail on cue."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from plain import make_spec

from vs_paragonsr2.backends.base import NonFiniteError, Plane, Session
from vs_paragonsr2.backends.switch import SwitchingSession, disagreement
from vs_paragonsr2.program.colour import ClipSpec

SPEC = make_spec(2, (8, 8), "GRAY")


class DoubleSession(Session[None]):
    """Answers with one value, or fails."""

    def __init__(self, value: float, fault: Exception | None = None, spec: ClipSpec = SPEC) -> None:
        super().__init__(spec, [None] * 4)
        self.value, self.fault = value, fault

    def _run(self, slot: None, planes: object, out: list[Plane]) -> None:  # type: ignore[override]
        if self.fault:
            raise self.fault
        out[0][...] = self.value


def answer(session: Session[None]) -> int:
    out: list[Plane] = [np.zeros((16, 16), np.uint8)]
    session.run([np.zeros((8, 8), np.uint8)], out)
    assert out[0].min() == out[0].max()
    return int(out[0][0, 0])


def test_frames_come_meanwhile_and_the_new_session_takes_over() -> None:
    ready = threading.Event()

    def build() -> Session[None]:
        ready.wait()
        return DoubleSession(101)

    session = SwitchingSession(DoubleSession(100), 4)
    thread = session.build_meanwhile(build, "an engine")
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: answer(session), range(20))) == {100}
        ready.set()
        thread.join()
        assert set(pool.map(lambda _: answer(session), range(20))) == {101}
    notes = list(session.take_notes())
    assert notes[0] == "an engine is being built; the first frames come another way"
    assert notes[1].startswith("an engine takes over after ")
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("built", "why"),
    [
        (DoubleSession(0, RuntimeError("no kernel")), "RuntimeError: no kernel"),
        (DoubleSession(103), "its picture differs by 3.00 steps of 8 bits"),
        (ValueError("no engine"), "ValueError: no engine"),
    ],
)
def test_what_cannot_be_built_or_differs_does_not_take_over(built: Session[None] | Exception, why: str) -> None:
    def build() -> Session[None]:
        if isinstance(built, Exception):
            raise built
        return built

    session = SwitchingSession(DoubleSession(100), 1)
    session.build_meanwhile(build, "an engine").join()
    assert answer(session) == 100
    assert list(session.take_notes())[1:] == [f"an engine is not taken, and all stays as it is: {why}"]


@pytest.mark.parametrize(
    ("bits", "apart", "expected"),
    [
        (8, 1, None),
        (8, 2, "its picture differs by 2.00 steps of 8 bits"),
        (10, 1, None),
        (10, 2, "100.0% of its samples differ by more than a step of 10 bits"),
        (10, 5, "its picture differs by 1.25 steps of 8 bits"),
        (16, 64, None),
        (16, 65, "100.0% of its samples differ by more than a step of 10 bits"),
        (32, 1 / 1021, None),
        (32, float("nan"), "its picture differs by nan steps of 8 bits"),
        (32, 1 / 1000, "100.0% of its samples differ by more than a step of 10 bits"),
    ],
)
def test_what_counts_as_the_same_picture(bits: int, apart: float, expected: str | None) -> None:
    spec = make_spec(2, (8, 8), "GRAY", bits=bits, is_float=bits == 32)
    one, other = (DoubleSession(value, spec=spec) for value in (0, apart))
    assert disagreement(one, other) == expected


def test_numbers_that_overflow_bring_the_exact_session_once() -> None:
    opened = []

    def exact() -> Session[None]:
        opened.append(1)
        time.sleep(0.02)
        return DoubleSession(7)

    session = SwitchingSession(DoubleSession(0, NonFiniteError()), 4, exact)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: answer(session), range(8))) == {7}
    assert len(opened) == 1
    session.take_over(DoubleSession(9), "half precision again")
    assert answer(session) == 7


def test_notes_of_the_session_that_takes_over_are_kept() -> None:
    second = DoubleSession(2)
    second.notes.append("smaller tiles")
    session = SwitchingSession(DoubleSession(1), 1)
    session.take_over(second, "second")
    second.notes.append("later")
    assert list(session.take_notes()) == ["smaller tiles", "second", "later"]


def test_a_session_that_is_closed_meanwhile_is_freed() -> None:
    ready = threading.Event()

    def build() -> Session[None]:
        ready.wait()
        return DoubleSession(1)

    first = DoubleSession(1)
    session = SwitchingSession(first, 1)
    thread = session.build_meanwhile(build, "an engine")
    freed = [weakref.ref(first), weakref.ref(session)]
    del first, session
    gc.collect()
    assert [reference() for reference in freed] == [None, None]
    ready.set()
    thread.join()


def test_what_served_before_is_freed() -> None:
    session = SwitchingSession(first := DoubleSession(1), 1)
    freed = weakref.ref(first)
    del first
    session.take_over(DoubleSession(1), "second")
    gc.collect()
    assert freed() is None


class PartlyOff(Session[None]):
    """A session of 10 bits in which the first ``off`` samples differ by two steps of 10 bits from another one's."""

    def __init__(self, off: int) -> None:
        super().__init__(make_spec(2, (10, 20), "GRAY", bits=10), [None])
        self.off = off

    def _run(self, slot: None, planes: list[Plane], out: list[Plane]) -> None:
        out[0][...] = 500
        out[0].reshape(-1)[: self.off] += 2


@pytest.mark.parametrize(("off", "same"), [(0, True), (1, True), (8, True), (9, False), (12, False)])
def test_one_sample_in_a_hundred_may_differ_by_more_than_a_step_of_10_bits(off: int, same: bool) -> None:
    """The picture has 800 samples, so that 8 may differ."""
    assert (disagreement(PartlyOff(0), PartlyOff(off)) is None) == same
