"""One session for equal requests, within bounds. The sessions here are doubles: only the cache is looked at."""

import gc
import os
import statistics
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import vapoursynth as vs
from conftest import golden, random_planes, request_of
from route import clip_of, noise

from vs_paragonsr2 import upscale
from vs_paragonsr2.backends import Session
from vs_paragonsr2.backends.base import AnySession, Plane
from vs_paragonsr2.backends.sessions import SESSIONS, AnyRequest, SharedSessions, _open
from vs_paragonsr2.checkpoints.models import Model
from vs_paragonsr2.program.colour import ClipSpec, Colorimetry, Matrix, PlaneFormat, Range, Siting

FORMAT = PlaneFormat(family="GRAY", bits=8, is_float=False, subsampling_w=0, subsampling_h=0, width=8, height=8)
SPEC = ClipSpec(FORMAT, replace(FORMAT, width=16, height=16), Colorimetry(Matrix.BT709, Range.LIMITED, Siting.LEFT))


def request(name: str) -> AnyRequest:
    return request_of("reference", Model(Path(name), name, 2), SPEC, device="cpu")


class DoubleSession(Session[int]):
    """Counts who is inside at once."""

    def __init__(self, slots: int = 2) -> None:
        super().__init__(SPEC, range(slots))
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def _run(self, slot: int, planes: object, out: object) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.005)
        with self.lock:
            self.inside -= 1


def test_equal_requests_share_a_session_and_build_it_once() -> None:
    built: list[AnyRequest] = []

    def build(asked: AnyRequest) -> Session[int]:
        time.sleep(0.05)
        built.append(asked)
        return DoubleSession()

    cache = SharedSessions(build)
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(cache.get, [request("a")] * 8))
    assert len({id(s) for s in sessions}) == 1
    assert cache.get(request("b")) is not sessions[0]
    assert built == [request("a"), request("b")]


def test_the_least_recently_asked_for_is_dropped() -> None:
    cache = SharedSessions(lambda asked: DoubleSession(), max_sessions=2)
    a, _ = cache.get(request("a")), cache.get(request("b"))
    assert cache.get(request("a")) is a
    cache.get(request("c"))
    assert cache.get(request("a")) is a  # b went
    cache.clear()
    assert cache.get(request("a")) is not a


def test_what_takes_too_much_of_a_device_is_dropped_before_the_next_is_built() -> None:
    freed: list[str] = []

    def build(asked: AnyRequest) -> DoubleSession:
        session = DoubleSession()
        session.device_bytes = 3 if asked.model.sha256 == "large" else 1
        weakref.finalize(session, freed.append, asked.model.sha256)
        return session

    cache = SharedSessions(build, max_device_bytes=3)
    used = cache.get(request("large"))
    cache.get(request("a"))
    assert freed == []  # within the bound
    cache.get(request("b"))
    gc.collect()
    assert freed == []  # dropped, but a clip uses it
    del used
    gc.collect()
    assert freed == ["large"]
    cache.get(request("c"))
    assert freed == ["large"]


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    works, all_ask = threading.Event(), threading.Barrier(3)

    def build(asked: AnyRequest) -> Session[int]:
        time.sleep(0.02)
        if works.is_set():
            return DoubleSession()
        raise RuntimeError("no memory")

    def ask() -> AnySession:
        all_ask.wait()
        return cache.get(request("a"))

    cache = SharedSessions(build)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(ask) for _ in range(3)]
    assert [str(f.exception()) for f in futures] == ["no memory"] * 3
    works.set()
    assert cache.get(request("a")) is cache.get(request("a"))


def test_no_more_frames_at_once_than_slots() -> None:
    session = DoubleSession(slots=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: session.run([], []), range(24)))
    assert session.most == 2


def test_a_slot_comes_back_after_a_fault() -> None:
    class Failing(Session[None]):
        def _run(self, slot: None, planes: list[Plane], out: list[Plane]) -> None:
            raise RuntimeError("lost")

    session = Failing(SPEC, [None])
    for _ in range(3):
        with pytest.raises(RuntimeError, match="lost"):
            session.run([], [])


def test_clips_that_ask_for_the_same_share_a_session() -> None:
    SESSIONS.clear()
    clips = [clip_of(noise(2), vs.YUV420P8, _Matrix=6) for _ in range(3)]
    for clip in clips:
        for _frame in upscale(clip, golden("realtime_x2")).frames():
            pass
    assert len(SESSIONS._sessions) == 1


def test_a_session_is_freed_when_no_clip_uses_it_and_room_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one, in a cache of one."""
    opened: list[weakref.ref[AnySession]] = []

    def build(asked: AnyRequest) -> AnySession:
        session = _open(asked)
        opened.append(weakref.ref(session))
        return session

    monkeypatch.setattr("vs_paragonsr2.clip.sessions.SESSIONS", SharedSessions(build, max_sessions=1))
    clip = clip_of(noise(2), vs.YUV420P8, _Matrix=6)
    one, other = (upscale(clip, golden("realtime_x2"), backend="openvino", num_streams=streams) for streams in (1, 2))
    gc.collect()
    one.get_frame(0).close()  # no longer kept, but in use, and so not built again
    other.get_frame(0).close()
    assert [session() is None for session in opened] == [False, False]
    del one
    gc.collect()
    assert [session() is None for session in opened] == [True, False]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_a_script_that_runs_again_costs_little_and_leaves_nothing() -> None:
    """As at each seek in a player: under 50 ms more than a frame, its first frame included, and no memory."""
    clip = clip_of([random_planes(vs.YUV420P8, 480, 272, seed) for seed in range(20)], vs.YUV420P8, _Matrix=6)
    playing = upscale(clip, golden("realtime_x2"))

    def again() -> None:
        upscale(clip, golden("realtime_x2")).get_frame(0).close()

    # One after the other, so that whatever else the machine does weighs on both.
    both = [(seconds(lambda n=n: playing.get_frame(n).close()), seconds(again)) for n in range(20)]
    assert statistics.median(run - frame for frame, run in both) < 0.05
    # Apart from that: what plays fills VapourSynth's caches.
    before = resident()
    for _ in range(45):
        again()
    frame_bytes = 4 * 480 * 272 * 3 // 2
    assert resident() - before < 15 * frame_bytes  # were each run to leave a frame, it would be 45


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGESIZE")
