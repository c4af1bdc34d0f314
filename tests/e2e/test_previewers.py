"""The samples for previewers and notebooks in the real ones: vsview without a screen, and Jupyter's kernel."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import prepare_vsview
import pytest
import vapoursynth as vs
from bootstrap import ROOT
from conftest import CLIPS
from PIL import Image
from route import planes_at

from vs_paragonsr2 import upscale

SAMPLES = ROOT / "scripts/samples"
MPEG2 = CLIPS / "city_720x405.mpg"
DRIVER = Path(__file__).with_name("previewer.py")


def rgb(clip: vs.VideoNode) -> np.ndarray:
    """Its first frame, (height, width, 3)."""
    return np.stack(planes_at(clip.resize.Bicubic(format=vs.RGB24, matrix_in=vs.MATRIX_ST170_M)), axis=-1)


@pytest.fixture(scope="module")
def enlarged() -> list[np.ndarray]:
    """By bicubic, and upscaled."""
    clip = vs.core.bs.VideoSource(str(MPEG2), cachemode=0, showprogress=False)
    upscaled = upscale(clip)
    return [rgb(each) for each in (clip.resize.Bicubic(upscaled.width, upscaled.height), upscaled)]


def test_vsview_shows_the_original_beside_the_result(tmp_path: Path, enlarged: list[np.ndarray]) -> None:
    """A clip that does not say its colours: each output is in its tab, and the last has the middle of both."""
    command = [sys.executable, DRIVER, tmp_path, SAMPLES / "preview.vpy", "--no-settings", "-a", f"source={MPEG2}"]
    environment = {"QT_QPA_PLATFORM": "offscreen", "LD_LIBRARY_PATH": prepare_vsview.library_path()}
    done = subprocess.run([*map(str, command)], env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr, done.stderr
    bicubic, upscaled = enlarged
    middle = slice(360, 1080)
    expected = [bicubic, upscaled, np.hstack([bicubic[:, middle], upscaled[:, middle]])]
    places = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert len(places) == len(expected)
    for output, (left, top, width, height) in enumerate(places):
        with Image.open(tmp_path / f"{output}.png") as window:
            shown = np.asarray(window.convert("RGB"), np.int16)[top : top + height, left : left + width]
        assert width > 720 + 100  # so that something of both halves is seen
        away = [np.abs(shown - picture[:height, :width]).mean() for picture in expected]
        assert min(away) == away[output] < 1
