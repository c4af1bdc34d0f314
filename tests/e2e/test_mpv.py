"""The real mpv, with our script as its filter, driven as a user's hands would."""

import hashlib
import random
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import prepare_mpv
import pytest
import vapoursynth as vs
from bootstrap import ROOT
from conftest import CLIPS, golden
from mpv import Mpv
from route import planes_at

from vs_paragonsr2 import shipped_models, upscale
from vs_paragonsr2.backends import Options
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.speed import Speed, keep_speed

SAMPLES = ROOT / "scripts/samples/mpv"
SCRIPT = SAMPLES / "vapoursynth/paragonsr2.vpy"
FILTER = ("--no-config", "--vo=null", f"--vf=vapoursynth={SCRIPT}")
FLOWER = CLIPS / "flower_960x540.mp4"
LARGE = (3840, 2160)

type Player = Callable[..., Mpv]


@pytest.fixture(scope="session")
def program() -> list[str]:
    return prepare_mpv.mpv_command()


@pytest.fixture
def player(program: list[str], tmp_path: Path) -> Iterator[Player]:
    players: list[Mpv] = []

    def start(*options: object, **environment: str) -> Mpv:
        folder = tmp_path / f"player{len(players)}"
        folder.mkdir()
        players.append(Mpv(program, folder, *options, environment=environment))
        return players[-1]

    yield start
    for each in players:
        each.close()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flower, smaller: 30 frames of 256x144, at 30000/1001 a second, every fifth a key frame."""
    return encoded(tmp_path_factory.mktemp("small") / "small.mp4", "libx264", "yuv420p", (256, 144), 30)


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of another size and format."""
    return encoded(tmp_path_factory.mktemp("other") / "other.mkv", "ffv1", "yuv422p10le", (160, 96), 8)


def encoded(path: Path, codec: str, pixels: str, size: tuple[int, int], frames: int) -> Path:
    """The flower's first frames, scaled to the size and encoded."""
    with av.open(str(FLOWER)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size = 5  # an exact seek sends all frames since the last key frame through the filter
        for _, frame in zip(range(frames), source.decode(video=0), strict=False):
            scaled = frame.reformat(*size, format=pixels)
            scaled.pts, scaled.time_base = frame.pts, frame.time_base
            out.mux(stream.encode(scaled))
        out.mux(stream.encode())
    return path


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as source:
        return list(source.decode(video=0))


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
    script.write_text("from vs_paragonsr2 import upscale\nupscale(video_in, temporal=5).set_output()\n")
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
    keep_speed(find_model("stream", 2), Options(backend="", device="", num_streams=0), Speed(256 * 144 * 30000 / 1001 / 1.5))
    mpv = player("--no-config", "--vo=null", f"--vf=vapoursynth={SCRIPT}:user-data=auto", "--pause")
    mpv.load(small)
    assert mpv.get("video-out-params")["w"] == 512
    assert mpv.quit() == 0
    assert mpv.trouble() == []
    assert "model 'realtime' ('stream' would be 150% busy with 256x144 at 29.97 fps)" in (tmp_path / "player0/said.txt").read_text()


@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGKILL])
def test_an_end_while_the_filter_is_set_up(player: Player, small: Path, tmp_path: Path, end: signal.Signals | None) -> None:
    """Nothing lives on, nothing is left on disk, and the next start is like any other."""
    cache = tmp_path / "cache"
    mpv = player(*FILTER, VS_PARAGONSR2_CACHE=str(cache))
    mpv.command("loadfile", str(small))
    time.sleep(0.2)
    children = Path(f"/proc/{mpv.process.pid}/task/{mpv.process.pid}/children").read_text().split()
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


@pytest.fixture
def display(request: pytest.FixtureRequest) -> Iterator[str]:
    """A display of the size that the test asks for, by its name."""
    width, height = request.param
    options = ["-displayfd", "1", "-listen", "tcp", "-ac", "-screen", "0", f"{width}x{height}x24"]
    with subprocess.Popen(
        [*prepare_mpv.xvfb_command(), *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        yield f"127.0.0.1:{int(server.stdout.readline())}"
        server.terminate()


def on_display(player: Player, display: str, *options: object, **environment: str) -> Mpv:
    """mpv with the sample's folder as its configuration, as a user has it who copied it."""
    return player(f"--config-dir={SAMPLES}", "--vo=x11", "--hwdec=no", "--pause", *options, DISPLAY=display, **environment)


@pytest.mark.parametrize("display", [(1280, 720)], indirect=True)
def test_the_configuration_as_pasted(player: Player, display: str, small: Path, tmp_path: Path) -> None:
    """Small pictures are upscaled, the key switches that off and on, and 4K is left alone."""
    large = encoded(tmp_path / "large.mp4", "mpeg4", "yuv420p", LARGE, 2)
    wide = 256 * max(scale for name, scale in shipped_models() if name == "realtime")  # the display is five times as wide
    mpv = on_display(player, display)
    for path, width in ((small, wide), (large, LARGE[0]), (small, wide)):
        mpv.load(path)
        mpv.wait_until("video-out-params/w", width)
    for width in (256, wide):
        mpv.command("keypress", "Ctrl+u")
        mpv.wait_until("video-out-params/w", width)
    assert mpv.get("display-width") == 1280
    assert mpv.quit() == 0
    assert mpv.trouble() == []


@pytest.mark.parametrize(("display", "scale"), [((400, 240), 2), ((1280, 720), 4)], indirect=["display"])
def test_the_scale_is_the_display_s(player: Player, display: str, scale: int, small: Path, tmp_path: Path) -> None:
    """With models of two scales, as an installed package has them: enough for the display, and no more."""
    installed = shutil.copytree(ROOT / "vs_paragonsr2", tmp_path / "vs_paragonsr2")
    (installed / "models").mkdir()
    sums = []
    for factor, checkpoint in ((2, shipped_models()["realtime", 2]), (4, golden("realtime_x4"))):
        model = Path(shutil.copy(checkpoint, installed / f"models/realtime_{factor}x.safetensors"))
        sums.append(f"{hashlib.sha256(model.read_bytes()).hexdigest()}  {model.name}\n")
    (installed / "models/SHA256SUMS").write_text("".join(sums))
    mpv = on_display(player, display, PYTHONPATH=str(tmp_path))
    mpv.load(small)
    mpv.wait_until("video-out-params/w", 256 * scale)
    assert mpv.quit() == 0
    assert mpv.trouble() == []


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(prepare_mpv.Unavailable, match="on PATH, or to build one: apt-get, dpkg-deb"):
        prepare_mpv._debian_mirror()
