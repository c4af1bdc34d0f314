"""What a machine can play: measured by the doctor, kept on disk, and read for model="auto"."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import vapoursynth as vs
from conftest import golden
from test_openvino import run_in_a_process

from vs_paragonsr2 import ParagonSR2Error, shipped_models, upscale
from vs_paragonsr2.checkpoints import models as weights
from vs_paragonsr2.cli import doctor, main
from vs_paragonsr2.clip.log import log_once
from vs_paragonsr2.clip.speed import HEADROOM, Speed, choose_model, keep_speed, known_speed, verdict
from vs_paragonsr2.support import cache_folder


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    """Before a test and after it; compiled graphs are shared."""
    forget()
    yield
    forget()


def forget() -> None:
    for entry in cache_folder.cache_folder().glob("*.speed"):
        entry.unlink()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What the filter logs from now on."""
    messages: list[str] = []
    log_once.cache_clear()
    handle = vs.core.add_log_handler(lambda kind, message: messages.append(message))
    yield messages
    vs.core.remove_log_handler(handle)


def keep(pixels: float, model: str = "stream") -> None:
    keep_speed(weights.find_model(model, 2), None, {}, Speed(pixels))


def known(model: str = "stream", backend: str | None = None, **given: object) -> Speed | None:
    return known_speed(weights.find_model(model, 2), backend, given)


def test_speed_is_by_pixels() -> None:
    speed = Speed(40 * 640 * 360)
    assert speed.fps(640, 360) == 40
    assert speed.fps(1280, 720) == 10
    assert speed.busy(640, 360, 24) == pytest.approx(0.6)
    assert speed.busy(1280, 720, 24) == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("busy", "words"),
    [
        (0.61, "yes, 61% busy"),
        (0.8, "yes, 80% busy"),
        (0.81, "barely, 81% busy"),
        (1.0, "barely, 100% busy"),
        (2, "no, 12 fps"),
        (100, "no, 0.24 fps"),
    ],
)
def test_verdicts(busy: float, words: str) -> None:
    assert verdict(busy, 24) == words


@pytest.mark.parametrize(("share", "chosen"), [(0.99, "stream"), (1.01, "realtime")])
def test_auto_is_stream_up_to_the_headroom(share: float, chosen: str) -> None:
    keep(640 * 360 * 24 / (HEADROOM * share))
    name, scale, why = choose_model(640, 360, 24, None, None, {})
    assert (name, scale) == (chosen, 2)
    assert why == f"'stream' would be {HEADROOM * share:.0%} busy with 640x360 at 24 fps"
    assert choose_model(640, 360, 12, None, None, {})[0] == "stream"
    assert choose_model(640, 720, 24, None, None, {})[0] == "realtime"


def test_auto_without_a_measurement_is_realtime_and_says_what_would_help() -> None:
    name, scale, why = choose_model(16, 16, 24, None, None, {})
    assert (name, scale) == ("realtime", 2)
    assert "vs-paragonsr2 doctor measures it" in why


@pytest.fixture
def two_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if realtime shipped at 2x and 4x, and stream at 2x alone."""
    models = tmp_path / "models"
    models.mkdir()
    sums = []
    for name in ("realtime_x2", "realtime_x4", "stream_x2"):
        model = Path(shutil.copy(golden(name), models / f"{name.replace('_x', '_')}x.safetensors"))
        sums.append(f"{hashlib.sha256(model.read_bytes()).hexdigest()}  {model.name}\n")
    (models / weights.SUMS).write_text("".join(sums), encoding="utf-8")
    monkeypatch.setattr(weights, "models_folder", lambda: models)


@pytest.mark.usefixtures("two_scales")
def test_auto_takes_the_scale_that_is_asked_for() -> None:
    keep(1e12)
    assert choose_model(16, 16, 24, None, None, {})[:2] == ("stream", 2)
    assert choose_model(16, 16, 24, 2, None, {})[:2] == ("stream", 2)
    assert choose_model(16, 16, 24, 4, None, {}) == ("realtime", 4, "no other ships at 4x")
    with pytest.raises(ParagonSR2Error, match="scale is 3: the model 'auto' has 2, 4; other scales need a file"):
        choose_model(16, 16, 24, 3, None, {})


def test_what_is_kept_is_of_this_model_device_and_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(1e6)
    assert known() == Speed(1e6)
    keep(2e6)
    assert known() == Speed(2e6)
    assert known(wait=True, memory_limit=100, tile_size=(64, 0)) == Speed(2e6)
    assert known(model="realtime") is None
    for change in ({"precision": "bf16"}, {"num_streams": 1}, {"backend": "reference"}, {"device": "CPU"}):
        assert known(**change) is None  # type: ignore[arg-type]
    monkeypatch.setattr("vs_paragonsr2.clip.speed.processors", lambda: set(range(1000)))
    assert known() is None


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"pixels_per_second": -1}', b'{"pixels_per_second": NaN}', b"\xff" * 100])
def test_a_damaged_measurement_is_none(damage: bytes) -> None:
    keep(1e6)
    (entry,) = cache_folder.cache_folder().glob("*.speed")
    entry.write_bytes(damage)
    assert known() is None
    keep(1e6)
    assert known() == Speed(1e6)


def test_auto_in_a_script(logged: list[str]) -> None:
    """A clip without a rate is taken at 24, the player's rate comes first, and seeks say nothing more."""
    clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=36, length=2, fpsnum=0, fpsden=1)
    keep(64 * 36 * 24 / 0.5)
    for _ in range(2):
        assert upscale(clip, "auto").get_frame(0).width == 128
        upscale(clip, "auto", playback_fps=60)
        upscale(clip.std.AssumeFPS(fpsnum=30), "auto", playback_fps=0)
    assert [message for message in logged if "model" in message] == [
        "upscale: model 'stream' ('stream' would be 50% busy with 64x36 at 24 fps)",
        "upscale: model 'realtime' ('stream' would be 125% busy with 64x36 at 60 fps)",
        "upscale: model 'stream' ('stream' would be 62% busy with 64x36 at 30 fps)",
    ]
    with pytest.raises(vs.Error, match="upscale: scale is 7: the model 'auto' has 2"):
        upscale(clip, "auto", scale=7)


def test_auto_needs_no_pytorch(tmp_path: Path) -> None:
    assert not run_in_a_process(tmp_path, "auto")[0]


def test_the_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], logged: list[str]) -> None:
    """The whole command on small frames; auto then knows."""
    monkeypatch.setattr(doctor, "TIMED", (64, 36))
    monkeypatch.setenv("COLUMNS", "200")
    main(["doctor", "--seconds", "0.2", "--device", "CPU"])
    said = capsys.readouterr()
    assert said.err == ""
    models = ", ".join(f"{name} {scale}x" for name, scale in sorted(shipped_models()))
    timed = sum(name in ("realtime", "stream") for name, _ in shipped_models())
    for words in ("openvino: CPU: ", "openvino 20", models, "backend 'openvino'", str(cache_folder.cache_folder())):
        assert words in said.out
    for size in ("640x360", "854x480", "960x540", "1280x720", "1920x1080"):
        assert said.out.count(size) == timed
    assert said.out.count("busy") + said.out.count("no, ") == timed * 5 * 3
    speeds = known("stream", device="CPU"), known("realtime", device="CPU")
    assert all(speed is not None and speed.pixels > 0 for speed in speeds)
    assert "is not known" not in choose_model(64, 36, 24, None, None, {"device": "CPU"})[2]


def test_frames_that_are_timed_differ() -> None:
    frames = [bytes(doctor.moving(16, 16).get_frame(n)[0]) for n in (*range(220), 5000)]
    assert len(set(frames[:220])) == 220
    assert frames[220] in frames[:220]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--seconds", "0"], "--seconds is 0.0: expected a number of 0.1 or more"),
        (["--num-streams", "0"], "--num-streams is 0: expected a whole number of 1 or more"),
        (["--backend", "best"], "backend is 'best': expected one of"),
        (["--device", "TPU", "--backend", "openvino"], "device is 'TPU': backend 'openvino' has 'CPU'"),
    ],
)
def test_the_doctor_refuses(arguments: list[str], match: str) -> None:
    with pytest.raises(SystemExit, match=match):
        main(["doctor", *arguments])


def test_a_cache_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(cache_folder.FOLDER_VARIABLE, str(tmp_path / "file/folder"))
    monkeypatch.setattr(doctor, "TIMED", (64, 36))
    main(["doctor", "--seconds", "0.1"])
    assert "cannot be written, so that model='auto' will not know of this" in " ".join(capsys.readouterr().out.split())
