"""A clip against a clock, as mpv asks for it, and the word about frames that come too late."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import vapoursynth as vs
from benchmarks import playback, player
from bootstrap import ROOT
from conftest import golden, request_of
from plain import make_spec

from vs_paragonsr2 import upscale
from vs_paragonsr2.checkpoints.models import Model, find_model
from vs_paragonsr2.clip.lateness import FRAMES, Lateness, remedy
from vs_paragonsr2.clip.log import log_once

STREAM = golden("stream_x2")


def numbered(length: int) -> vs.VideoNode:
    """Frames that say which they are."""
    blank = vs.core.std.BlankClip(format=vs.YUV420P8, width=16, height=16, length=length, keep=True)

    def tag(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        out.props.update(number=n, _Matrix=1)
        return out

    return blank.std.ModifyFrame(blank, tag)


def test_a_section_s_figures() -> None:
    """At 10 a second from 0.5 s on: the second is in time, the third 100 ms late, the fourth to the very moment."""
    section = player.Section(10, asked=[0, 0.1, 0.5, 0.6], came=[0.5, 0.55, 0.8, 0.8])
    assert section.latencies == pytest.approx([0.5, 0.45, 0.3, 0.2])
    assert section.lateness == pytest.approx([0, -0.05, 0.1, 0])
    row = playback.row("a", "before", section)
    assert (row.model, row.fps, row.seek, row.frames, row.missed) == ("a", 10, "before", 4, 1)
    assert (row.first, row.worst, row.behind) == pytest.approx((500, 500, 100))
    assert row.p50 == pytest.approx(375)
    assert row.p50 < row.p95 < row.p99 < row.worst


@pytest.fixture
def buffer() -> Iterator[player.Buffer]:
    buffer = player.Buffer(numbered(10), first=7, size=4)
    yield buffer
    buffer.close()


def test_the_buffer_begins_at_the_seek_and_keeps_the_last_frames(buffer: player.Buffer) -> None:
    assert buffer.node.num_frames == player.ENDLESS
    assert buffer.node.fps == 0
    for n in (0, 1, 2, 3, 9, 6, 8):
        assert buffer.node.get_frame(n).props["number"] == (7 + n) % 10
    with pytest.raises(vs.Error, match="frame 5 was asked for, and the oldest one that is kept is 6"):
        buffer.node.get_frame(5)


def test_the_buffer_is_not_filled_beyond_its_size() -> None:
    decoded: list[int] = []
    clip = numbered(50)

    def count(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        decoded.append(n)
        return f

    buffer = player.Buffer(clip.std.ModifyFrame(clip, count), 0, 8)
    buffer.node.get_frame(20)
    buffer.close()
    assert max(decoded) <= 21  # the last one that has a place, and one in the decoder's hands


@pytest.mark.parametrize("concurrent", [1, 3])
def test_playing_keeps_the_pace_and_asks_ahead_no_further(concurrent: int) -> None:
    asked: list[int] = []

    def script(video_in: vs.VideoNode) -> vs.VideoNode:
        def note(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
            asked.append(n)
            return f

        return video_in.std.ModifyFrame(video_in, note)

    began = time.perf_counter()
    section, left = player.play(script, numbered(10), 3, 6, 50, concurrent, began)
    assert left - began >= section.came[0] + 5 / 50
    assert section.asked[0] == 0
    assert sorted(asked) == list(range(6 + concurrent))
    for n, moment in enumerate(section.asked[concurrent:]):  # when frame n was on display, and not sooner
        assert moment >= section.came[0] + n / 50 or n == 0
    assert all(latency > 0 for latency in section.latencies)


def test_a_fault_in_a_frame_ends_the_play() -> None:
    interlaced = numbered(10).std.SetFrameProps(_FieldBased=1)
    with pytest.raises(vs.Error, match="frame 0: _FieldBased is 1"):
        player.play(lambda clip: upscale(clip, STREAM), interlaced, 0, 3, 24, 2, time.perf_counter())


def test_the_benchmark_with_a_real_clip(tmp_path: Path) -> None:
    """A rate that every machine holds, and one that none does."""
    out, picture = tmp_path / "playback.json", tmp_path / "playback.png"
    command = [sys.executable, ROOT / "scripts/benchmark.py", "playback", "--models", "realtime", "--size", "64x36"]
    command += ["--fps", "0.5", "1000000", "--frames", "3", "--concurrent-frames", "3"]
    subprocess.run([*map(str, command), "--json", str(out), "--plot", str(picture)], check=True, capture_output=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [(row["fps"], row["seek"]) for row in rows] == [(fps, seek) for fps in (0.5, 1e6) for seek in ("before", "after")]
    for row in rows:
        assert row["frames"] == len(row["latencies"]) == 3
        assert row["first"] == row["latencies"][0]
        assert row["worst"] == max(row["latencies"])
    assert [row["missed"] for row in rows[:2]] == [0, 0]


class Clock:
    """What a Lateness is told, in seconds that nobody waits for."""

    def __init__(self, fps: float, lanes: int) -> None:
        self.late = Lateness(fps, lanes, lambda: None)

    def play(self, frames: int, takes: float, every: float, lanes: int = 1) -> list[int]:
        """Frames of ``takes`` seconds, one begun every so often, ``lanes`` at once; the numbers of those at whose end it told."""
        events = [(n * every, n, "begin") for n in range(frames)] + [(n * every + takes, n, "end") for n in range(frames)]
        told = []
        for moment, n, what in sorted(events):
            if what == "begin":
                self.late.begin(moment)
            elif self.late.end(moment):
                told.append(n)
        return told


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_frames_that_come_too_late_are_told_once(lanes: int) -> None:
    """At 24 a second, each lane at work all the time, and the whole takes a tenth longer."""
    assert Clock(24, lanes).play(200, takes=lanes * 1.1 / 24, every=1.1 / 24) == [FRAMES]


@pytest.mark.parametrize(
    ("takes", "every"),
    [
        (2 / 24, 1 / 24),  # fast enough, with nothing to spare
        (2 / 30, 1 / 24),  # it waits for its clock
        (1 / 24, 2 / 24),  # a player at half the speed
        (0.01, 1),  # a pause between all frames, a decoder that is slow
    ],
)
def test_frames_in_time_or_not_asked_for_are_not_told(takes: float, every: float) -> None:
    assert Clock(24, 2).play(200, takes, every) == []


def test_a_slow_start_is_not_told() -> None:
    clock = Clock(24, 1)
    assert clock.play(FRAMES, takes=1, every=1) == []


def late_words(logged: list[str]) -> list[str]:
    return [message for message in logged if "too late" in message]


@pytest.mark.parametrize(("fps", "said"), [(1e6, 1), (0.001, 0), (None, 0)])
def test_too_late_with_a_real_session(fps: float | None, said: int) -> None:
    """Once for two clips, as after a seek; never for who does not play."""
    logged: list[str] = []
    log_once.cache_clear()
    handle = vs.core.add_log_handler(lambda kind, message: logged.append(message))
    clip = numbered(3 * FRAMES).resize.Point(64, 64)  # all frames are equal, and each is to be computed
    try:
        for _ in range(2):
            for _frame in upscale(clip, STREAM, playback_fps=fps, repeats=False).frames(prefetch=8, close=True):
                pass
    finally:
        vs.core.remove_log_handler(handle)
    words = 'upscale: frames of 64x64 come too late to be shown at 1e+06 fps: model="realtime" would help'
    assert late_words(logged) == [words] * said


def test_what_would_help() -> None:
    """The very model that is fastest, else a smaller scale, else a smaller clip; and before all a faster backend."""

    def said(model: Model, backend: str = "openvino") -> str:
        return remedy(request_of(backend, model, make_spec(2, (16, 16))))

    realtime = find_model("realtime", 2)
    assert said(find_model("stream", 2)) == 'model="realtime"'
    assert said(find_model(STREAM, None)) == 'model="realtime"'
    assert said(realtime) == "a smaller clip, by resize.Bicubic before,"
    assert said(Model(STREAM, "", 7)) == "a smaller clip, by resize.Bicubic before,"
    assert "'openvino'" in said(realtime, "reference")


def test_a_smaller_scale_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {("realtime", scale): Path(f"/realtime_{scale}x.safetensors") for scale in (2, 3, 4)}
    monkeypatch.setattr("vs_paragonsr2.clip.lateness.shipped_models", lambda: paths)
    assert remedy(request_of("openvino", Model(paths["realtime", 4], "", 4), make_spec(4, (16, 16)))) == "scale=3"


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 10**400, "24", True])
def test_refuses_a_rate_that_is_none(value: object) -> None:
    with pytest.raises(vs.Error, match="upscale: playback_fps is .*: expected a number of 0 or more"):
        upscale(numbered(1), STREAM, playback_fps=value)
