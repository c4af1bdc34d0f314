"""The real mpv on a display without a screen, with the sample's folder as its configuration."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import prepare_mpv
import pytest
from bootstrap import ROOT
from conftest import golden
from films import encoded
from mpv import Mpv, Player

from vs_paragonsr2 import shipped_models

pytest_plugins = ["players"]

SAMPLES = ROOT / "scripts/samples/mpv"
LARGE = (3840, 2160)


@pytest.fixture
def display(request: pytest.FixtureRequest) -> Iterator[str]:
    """A display of the size that the test asks for, by its name."""
    width, height = request.param
    options = ["-displayfd", "1", "-listen", "tcp", "-ac", "-screen", "0", f"{width}x{height}x24"]
    with subprocess.Popen(
        [*prepare_mpv.xvfb_command(), *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
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
    (installed / "models/SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    mpv = on_display(player, display, PYTHONPATH=str(tmp_path))
    mpv.load(small)
    mpv.wait_until("video-out-params/w", 256 * scale)
    assert mpv.quit() == 0
    assert mpv.trouble() == []


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(prepare_mpv.Unavailable, match="on PATH, or to build one: apt-get, dpkg-deb"):
        prepare_mpv._debian_mirror()
