"""The real mpv without a display, with our script as its filter, driven as a user's hands would."""

import random
import signal
import statistics
import time
from pathlib import Path

import av
import numpy as np
import pytest
import vapoursynth as vs
from bootstrap import ROOT
from films import FLOWER, decoded
from mpv import Mpv, Player
from route import planes_at

from vs_paragonsr2 import upscale
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.speed import Speed, keep_speed

pytest_plugins = ["players"]

SCRIPT = ROOT / "scripts/samples/mpv/vapoursynth/paragonsr2.vpy"
FILTER = ("--no-config", "--vo=null", f"--vf=vapoursynth={SCRIPT}")


def assert_planes(frame: av.VideoFrame, clip: vs.VideoNode, n: int) -> None:
    """That an 8-bit 4:2:0 frame holds what the clip's frame n does."""
    expected = np.concatenate([np.asarray(plane).ravel() for plane in planes_at(clip, n)])
    assert np.array_equal(frame.to_ndarray().ravel(), expected), f"frame {n}"


def test_a_real_clip_to_the_end_into_a_file(player: Player, tmp_path: Path) -> None:
    """Every frame is there, at its time, with the tags of the source and the planes that VapourSynth gives without mpv."""
    out = tmp_path / "out.mkv"
    mpv = player("--no-config", "--idle=no", f"--vf=vapoursynth={SCRIPT}", f"--o={out}", "--ovc=ffv1", FLOWER)
    assert mpv.process.wait(600) == 0
    assert mpv.trouble() == []
    before, after = decoded(FLOWER), decoded(out)
    assert len(after) == len(before)
    for a, b in zip(before, after, strict=True):
        assert (b.width, b.height, b.format.name) == (2 * a.width, 2 * a.height, a.format.name)
        assert (b.colorspace, b.color_range) == (a.colorspace, a.color_range)
        assert abs((b.time - after[0].time) - (a.time - before[0].time)) < 2e-3  # the container's clock ticks in milliseconds
    clip = upscale(vs.core.bs.VideoSource(str(FLOWER), cachemode=0, showprogress=False))
    for n in (0, 1, len(after) - 1):
        assert_planes(after[n], clip, n)


def test_seeks_cost_little_and_leave_nothing(player: Player, small: Path, tmp_path: Path) -> None:
    """Fifty of them: each runs the script again, in less than 50 ms, shows its own frame, and memory stays what it was."""
    mpv, rng = player(*FILTER, "--pause"), random.Random(6)
    mpv.load(small)
    memory, shots = [], list[tuple[int, Path]]()
    for seek in range(50):
        n = rng.randrange(30)
        mpv.seek((n - 0.25) * 1001 / 30000 if n else 0)
        assert mpv.get("time-pos") == pytest.approx(n * 1001 / 30000, abs=2e-3)
        assert mpv.get("video-out-params")["w"] == 512
        if seek % 10 == 0:
            shots.append((n, tmp_path / f"{seek}.png"))
            mpv.command("screenshot-to-file", str(shots[-1][1]), "video")
        memory.append(mpv.resident())
    assert memory[-1] - memory[4] < 32 << 20  # a core, a clip or a session that each leaves would be more
    assert mpv.quit() == 0
    assert mpv.trouble() == []
    again = script_seconds(mpv)[1:]
    assert len(again) >= 50
    assert statistics.median(again) < 0.05
    clip = upscale(vs.core.bs.VideoSource(str(small), cachemode=0, showprogress=False))
    frames = [(planes_at(clip, n)[0] - 16.0) * 255 / 219 for n in range(30)]
    for n, shot in shots:
        (picture,) = decoded(shot)
        shown = picture.to_ndarray(format="gray")
        away = [np.abs(shown - luma).mean() for luma in frames]
        assert min(away) == away[n]


def script_seconds(mpv: Mpv) -> list[float]:
    """How long each run of the script took, by the filter's own words in the log."""
    clock = {"initializing...": list[float](), "initialized.": list[float]()}
    for line in mpv.log():
        for words, times in clock.items():
            if line.endswith(f"[vapoursynth] {words}"):
                times.append(float(line[1:].split("]")[0]))
    return [end - start for start, end in zip(*clock.values(), strict=True)]


def test_pause_speed_loop_and_a_screenshot(player: Player, small: Path, tmp_path: Path) -> None:
    mpv = player(*FILTER, "--pause", "--screenshot-format=png", "--hr-seek=yes")
    mpv.load(small)
    mpv.set("speed", 4)
    mpv.set("ab-loop-a", 0.2)
    mpv.set("ab-loop-b", 0.6)
    mpv.set("pause", False)
    for _ in range(2):
        mpv.wait_for_loop()
    mpv.set("pause", True)
    assert 0.1 < mpv.get("time-pos") < 0.7
    for name, value in (("ab-loop-a", "no"), ("ab-loop-b", "no"), ("loop-file", "inf")):
        mpv.set(name, value)
    mpv.seek(0.8)
    mpv.set("pause", False)
    mpv.wait_for_loop()  # from the end to the first frame
    mpv.set("pause", True)
    at = mpv.get("time-pos")
    assert at < 0.8
    time.sleep(0.2)
    assert mpv.get("time-pos") == at
    mpv.seek(0.5)
    mpv.command("frame-back-step")
    mpv.wait("playback-restart")
    shot = tmp_path / "shot.png"
    mpv.command("screenshot-to-file", str(shot), "video")
    (picture,) = decoded(shot)
    assert (picture.width, picture.height) == (512, 288)
    assert mpv.quit() == 0
    assert mpv.trouble() == []


def test_temporal_mode(player: Player, small: Path, tmp_path: Path) -> None:
    """The frames that mpv keeps are enough for it, with a buffer as small as on one processor too."""
    script, out = tmp_path / "temporal.vpy", tmp_path / "out.mkv"
    script.write_text("from vs_paragonsr2 import upscale\nupscale(video_in, temporal=5).set_output()\n", encoding="utf-8")
    by = f"--vf=vapoursynth={script}:concurrent-frames=1"
    mpv = player("--no-config", "--idle=no", by, f"--o={out}", "--ovc=ffv1", small)
    assert mpv.process.wait(600) == 0
    assert mpv.trouble() == []
    clip, found = upscale(vs.core.bs.VideoSource(str(small), cachemode=0, showprogress=False), temporal=5), decoded(out)
    assert len(found) == 30
    for n in (0, 3, 14, 29):
        assert_planes(found[n], clip, n)
    seeks = player("--no-config", "--vo=null", by, "--pause")
    seeks.load(small)
    for n in (20, 3, 27, 11):
        seeks.seek((n - 0.25) * 1001 / 30000)
    assert seeks.quit() == 0
    assert seeks.trouble() == []


def test_the_next_file_and_the_script_again(player: Player, small: Path, other: Path) -> None:
    """Another size and format in the same process, and the filter taken away and put back while it plays."""
    mpv = player(*FILTER, "--pause")
    for path, size, pixels in ((small, (512, 288), "yuv420p"), (other, (320, 192), "yuv422p10"), (small, (512, 288), "yuv420p")):
        mpv.load(path)
        shown = mpv.get("video-out-params")
        assert (shown["w"], shown["h"], shown["pixelformat"]) == (*size, pixels)
    mpv.command("vf", "remove", f"vapoursynth={SCRIPT}")
    mpv.wait_until("video-out-params/w", 256)
    mpv.command("vf", "add", f"vapoursynth={SCRIPT}")
    mpv.wait_until("video-out-params/w", 512)
    mpv.set("pause", False)
    assert mpv.wait("end-file")["reason"] == "eof"
    assert mpv.quit() == 0
    assert mpv.trouble() == []


def test_auto_knows_the_rate_and_what_the_doctor_measured(player: Player, small: Path, tmp_path: Path) -> None:
    """The rate is mpv's container_fps: the clip itself has none in VapourSynth."""
    keep_speed(find_model("stream", 2), None, {}, Speed(256 * 144 * 30000 / 1001 / 1.5))
    mpv = player("--no-config", "--vo=null", f"--vf=vapoursynth={SCRIPT}:user-data=auto", "--pause")
    mpv.load(small)
    assert mpv.get("video-out-params")["w"] == 512
    assert mpv.quit() == 0
    assert mpv.trouble() == []
    assert "model 'realtime' ('stream' would be 150% busy with 256x144 at 29.97 fps)" in (tmp_path / "player0/said.txt").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGKILL])
def test_an_end_while_the_filter_is_set_up(player: Player, small: Path, tmp_path: Path, end: signal.Signals | None) -> None:
    """Nothing lives on, nothing is left on disk, and the next start is like any other."""
    cache = tmp_path / "cache"
    mpv = player(*FILTER, VS_PARAGONSR2_CACHE=str(cache))
    mpv.command("loadfile", str(small))
    time.sleep(0.2)
    children = Path(f"/proc/{mpv.process.pid}/task/{mpv.process.pid}/children").read_text(encoding="utf-8").split()
    if end is None:
        assert mpv.quit() == 0
    else:
        mpv.process.send_signal(end)
        mpv.process.wait(240)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    again = player(*FILTER, "--pause", VS_PARAGONSR2_CACHE=str(cache))
    again.load(small)
    assert again.get("video-out-params")["w"] == 512
    assert again.quit() == 0
    assert again.trouble() == []
    assert not cache.exists()
