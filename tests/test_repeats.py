"""Frames that repeat others: computed once, and each with its own properties."""

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, partial

import numpy as np
import pytest
import vapoursynth as vs
from conftest import CLIPS, golden, random_planes, request_of
from numpy.typing import NDArray
from plain import make_spec
from route import Planes, clip_of, planes_at
from test_modules import smooth_samples

import vs_paragonsr2.clip.repeats as repeats_module
from vs_paragonsr2 import upscale
from vs_paragonsr2.backends import Session, load_backend
from vs_paragonsr2.backends.openvino.session import OpenVINOSession
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.repeats import Repeats

MODEL = golden("realtime_x2")
COUNT = "ParagonSR2Repeats"


def plane(seed: int, dtype: str = "u1", shape: tuple[int, int] = (40, 24)) -> NDArray[np.generic]:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


class Computing:
    """A computation that counts how often it is done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


def is_repeat(first: list[NDArray[np.generic]], second: list[NDArray[np.generic]], meanings: str = "aa") -> bool:
    store, compute = Repeats[int](8, 1), Computing()
    store.get(meanings[0], first, compute)
    result, count = store.get(meanings[1], second, compute)
    assert (result, count) in {(1, 1), (2, 0)}
    return count == 1


def test_every_bit_of_all_planes_counts() -> None:
    first = [plane(0), plane(1)]
    assert is_repeat(first, [p.copy() for p in first])
    for which in (0, 1):
        for y in range(40):  # in rows that are looked at first and in others
            other = [p.copy() for p in first]
            other[which][y, y % 24] ^= 1
            assert not is_repeat(first, other)


def test_more_planes_other_shapes_types_and_meanings_are_no_repeats() -> None:
    zeros = np.zeros((4, 4), np.uint8)
    assert not is_repeat([zeros], [zeros, zeros])  # temporal mode gives more planes than the frame's own
    assert not is_repeat([zeros], [zeros.reshape(2, 8)])
    assert not is_repeat([zeros], [zeros.view(np.uint16)])
    assert not is_repeat([zeros], [zeros], "ab")


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_floats_are_compared_by_their_bits(dtype: str) -> None:
    zero, nan = np.zeros((32, 8), dtype), np.full((32, 8), np.nan, dtype)
    assert is_repeat([nan], [nan.copy()])
    assert not is_repeat([zero], [-zero])


def test_what_lies_between_rows_is_no_matter() -> None:
    wide, other = plane(0, "u2", (40, 32)), plane(1, "u2", (40, 32))
    other[:, :24] = wide[:, :24]
    assert is_repeat([wide[:, :24]], [other[:, :24]])


def test_equal_planes_at_once_are_computed_once() -> None:
    store, compute, helped = Repeats[str](4, 1), Computing(), threading.Event()

    def slow() -> str:
        compute()
        assert helped.wait(10)  # until another one waits
        return "result"

    def waiting(done: Future[str]) -> None:
        helped.set()
        done.result(10)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.get("", [plane(0)], slow, waiting), range(8)))
    assert compute.times == 1
    assert {result for result, _ in found} == {"result"}
    assert sorted(count for _, count in found) == list(range(8))


def test_who_waits_sleeps_until_there_is_something_to_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real session: it is asked again when a frame begins or a slot comes back, and not otherwise."""
    session = load_backend("openvino").open_session(
        request_of("openvino", find_model(MODEL, 2), make_spec(2, (64, 64)), num_streams=2, precision="f32")
    )
    asked, done = [0], Future[None]()
    help_ = OpenVINOSession._help

    def counted(self: OpenVINOSession) -> bool:
        asked[0] += 1
        return help_(self)

    monkeypatch.setattr(OpenVINOSession, "_help", counted)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.help_until, done)
        time.sleep(0.3)
        assert asked == [1]
        fmt = session.spec.target
        out = [np.empty(shape, fmt.dtype) for shape in fmt.shapes]
        session.run(smooth_samples(session.spec.source), out)
        deadline = time.monotonic() + 10
        while asked[0] < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert asked[0] >= 2
        assert not waiting.done()
        done.set_result(None)
        waiting.result(10)


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    store, waits = Repeats[str](4, 1), threading.Event()

    def failing() -> str:
        assert waits.wait(10)
        raise MemoryError("for now")

    def ask(_: int) -> str:
        with pytest.raises(MemoryError, match="for now"):
            store.get("", [plane(0)], failing, lambda done: (waits.set(), wait([done])))
        return "raised"

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, range(2))) == ["raised"] * 2
    assert store.get("", [plane(0)], lambda: "good") == ("good", 0)
    assert store.get("", [plane(0)], lambda: "unasked") == ("good", 1)


def test_what_is_kept_is_bounded_in_number_and_in_bytes() -> None:
    size = plane(0).nbytes

    def kept(most: int, result_bytes: int) -> list[int]:
        store, alive = Repeats[int](most, result_bytes), {}
        for seed in range(6):
            planes = [plane(seed)]
            alive[seed] = weakref.ref(planes[0])
            store.get("", planes, lambda seed=seed: seed)  # type: ignore[misc]
        del planes
        return [seed for seed, reference in alive.items() if reference() is not None]

    assert kept(3, 1) == [3, 4, 5]
    assert kept(9, repeats_module.MAX_BYTES // 2 - size) == [4, 5]
    assert kept(9, repeats_module.MAX_BYTES) == [5]


def test_what_still_repeats_stays_longest() -> None:
    store, compute = Repeats[int](2, 1), Computing()
    for seed in (0, 1, 0, 2, 0, 3, 0):
        store.get("", [plane(seed)], compute)
    assert compute.times == 4


@cache
def decoded() -> vs.VideoNode:
    """Part of a real clip, of which no frame repeats. It is high enough for bands that two threads share."""
    clip = vs.core.bs.VideoSource(str(CLIPS / "flower_960x540.mp4"), cachemode=0, showprogress=False)
    return clip.std.CropAbs(64, 300, 400, 120)[:8]


def on_twos() -> vs.VideoNode:
    """Every frame twice."""
    return vs.core.std.Interleave([decoded()] * 2)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The real session, which says when it computes a frame."""
    computed: list[int] = []
    run = Session.run

    def noted(self: Session[object], *arguments: object) -> None:
        computed.append(threading.get_ident())
        run(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "run", noted)
    yield computed


def counts(clip: vs.VideoNode) -> list[int]:
    return sorted(int(frame.props.get(COUNT, 0)) for frame in clip.frames())


def test_a_clip_on_twos_takes_half_the_work(runs: list[int]) -> None:
    assert counts(upscale(on_twos(), MODEL, backend="openvino")) == [0] * 8 + list(range(1, 9))
    assert len(runs) == 8


def test_a_telecined_clip_takes_four_fifths_of_the_work(runs: list[int]) -> None:
    clip = decoded().std.SelectEvery(4, [0, 1, 2, 3, 3])
    assert len(counts(upscale(clip, MODEL, backend="openvino"))) == 10
    assert len(runs) == 8


def test_a_still_is_computed_once(runs: list[int]) -> None:
    assert counts(upscale(decoded()[0] * 60, MODEL)) == list(range(60))
    assert len(runs) == 1


def test_nothing_is_said_where_nothing_repeats(runs: list[int]) -> None:
    assert counts(upscale(decoded(), MODEL)) == [0] * 8
    assert len(runs) == 8


def test_repeats_may_be_switched_off(runs: list[int]) -> None:
    assert counts(upscale(on_twos(), MODEL, repeats=False)) == [0] * 16
    assert len(runs) == 16
    with pytest.raises(vs.Error, match="upscale: repeats is 1: expected True or False"):
        upscale(on_twos(), MODEL, repeats=1)  # type: ignore[arg-type]


def equal(a: Planes, b: Planes) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_pictures_are_the_same_in_any_order(streams: int) -> None:
    clip = on_twos()
    expected = [planes_at(upscale(clip, MODEL, repeats=False, num_streams=1), n) for n in range(16)]
    result = upscale(clip, MODEL, num_streams=streams)
    tasks = list(range(16)) * 3
    random.Random(streams).shuffle(tasks)
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda n: equal(planes_at(result, n), expected[n]), tasks))


def tagged(clip: vs.VideoNode) -> vs.VideoNode:
    def tag(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        out.props.update(_MP_IMAGE=bytes([0, 255, n, 0]), number=n, _DurationNum=n + 1)
        if n % 2:
            out.props["odd"] = "yes"
        return out

    return clip.std.ModifyFrame(clip, tag)


def test_each_frame_has_its_own_properties_and_no_others() -> None:
    clip = tagged(on_twos())
    with_, without = upscale(clip, MODEL), upscale(clip, MODEL, repeats=False)
    repeated = 0
    for n, (frame, other) in enumerate(zip(with_.frames(), without.frames(), strict=True)):
        props = dict(frame.props)
        repeated += props.pop(COUNT, 0) > 0
        assert props == dict(other.props) == dict(clip.get_frame(n).props)
        assert props["_MP_IMAGE"] == bytes([0, 255, n, 0])
    assert repeated == 8


def test_equal_samples_of_other_colours_are_no_repeats() -> None:
    picture = random_planes(vs.YUV420P8, 16, 12)
    pieces = [clip_of([picture], vs.YUV420P8, _Matrix=matrix) for matrix in (1, 6, 1)]
    together = upscale(vs.core.std.Splice(pieces), MODEL, backend="reference", num_streams=1)
    found = [planes_at(together, n) for n in range(3)]
    assert equal(found[0], planes_at(upscale(pieces[0], MODEL, backend="reference")))
    assert equal(found[1], planes_at(upscale(pieces[1], MODEL, backend="reference")))
    assert equal(found[2], found[0])
    assert not equal(found[1], found[0])


def test_who_writes_to_a_frame_writes_to_that_one_alone() -> None:
    result = upscale(on_twos(), MODEL)
    expected = planes_at(result, 1)

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        np.asarray(out[0])[...] = 7
        return out

    painted = result.std.ModifyFrame(result, paint)
    for n in (0, 1, 0):
        assert (planes_at(painted, n)[0] == 7).all()
        assert equal(planes_at(result, 1), expected)
    assert equal(planes_at(upscale(on_twos(), MODEL), 1), expected)


def test_a_frame_that_failed_can_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run: Callable[..., None] = Session.run
    failing = [True]

    def run_later(self: Session[object], *arguments: object) -> None:
        if failing[0]:
            raise MemoryError("for now")
        run(self, *arguments)

    monkeypatch.setattr(Session, "run", run_later)
    result = upscale(on_twos(), MODEL)
    for n in (0, 1):
        with pytest.raises(vs.Error, match=f"upscale: frame {n}: MemoryError: for now"):
            result.get_frame(n)
    failing[0] = False
    assert [COUNT in result.get_frame(n).props for n in (1, 0)] == [False, True]


def test_memory_is_bounded_and_goes_with_the_clip() -> None:
    def used() -> int:
        gc.collect()
        vs.core.clear_cache()
        return vs.core.used_cache_size

    blank = vs.core.std.BlankClip(format=vs.GRAY8, width=256, height=256, length=60, keep=True)
    clip = blank.std.ModifyFrame(blank, lambda n, f: number_in(f, n))
    before = used()
    result = upscale(clip, MODEL, num_streams=2)
    for _ in result.frames(close=True):
        pass
    kept = used() - before
    frame_bytes = 5 * 256 * 256
    assert frame_bytes <= kept <= 12 * frame_bytes  # twice as many as there are lanes, and what slots still hold
    del result
    assert used() - before <= 4 * frame_bytes  # of the slots of the session, which lives on


def number_in(frame: vs.VideoFrame, n: int) -> vs.VideoFrame:
    out = frame.copy()
    np.asarray(out[0])[8, :8] = n
    return out


def test_who_waits_for_a_frame_computes_some_of_its_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is the same to the bit."""
    expected = [planes_at(upscale(on_twos(), MODEL, backend="openvino", repeats=False), n) for n in range(16)]
    helped: list[bool] = []
    help_ = OpenVINOSession._help

    def noted(self: OpenVINOSession) -> bool:
        helped.append(help_(self))
        return helped[-1]

    monkeypatch.setattr(OpenVINOSession, "_help", noted)
    for _ in range(50):  # the second of two frames may come too late to be of help
        result = upscale(on_twos(), MODEL, backend="openvino")
        with ThreadPoolExecutor(2) as pool:
            for n in range(0, 16, 2):
                for m, planes in zip((n, n + 1), pool.map(partial(planes_at, result), (n, n + 1)), strict=True):
                    assert equal(planes, expected[m])
        if any(helped):
            return
    assert vs.core.num_threads == 1
