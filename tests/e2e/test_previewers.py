"""The samples for previewers and notebooks in the real ones: vsview without a screen, and Jupyter's kernel."""

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import prepare_vsview
import vapoursynth as vs
from bootstrap import ROOT
from conftest import CLIPS
from nbclient import NotebookClient
from PIL import Image
from route import planes_at

from vs_paragonsr2 import upscale

SAMPLES = ROOT / "scripts/samples"
H264 = CLIPS / "flower_960x540.mp4"
MPEG2 = CLIPS / "city_720x405.mpg"
DRIVER = Path(__file__).with_name("previewer.py")


def enlarged(path: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame n of a clip of standard definition by bicubic and upscaled, both RGB of 8 bits, (height, width, 3)."""
    clip = vs.core.bs.VideoSource(str(path), cachemode=0, showprogress=False)
    upscaled = upscale(clip)
    bicubic, ours = (
        np.stack(planes_at(each.resize.Bicubic(format=vs.RGB24, matrix_in=vs.MATRIX_ST170_M), n), axis=-1)
        for each in (clip.resize.Bicubic(upscaled.width, upscaled.height), upscaled)
    )
    return bicubic, ours


def middles(bicubic: np.ndarray, upscaled: np.ndarray) -> np.ndarray:
    quarter = bicubic.shape[1] // 4
    return np.hstack([each[:, quarter:-quarter] for each in (bicubic, upscaled)])


def test_vsview_shows_the_original_beside_the_result(tmp_path: Path) -> None:
    """A clip that does not say its colours: each output is in its tab, and the last has the middle of both."""
    command = [sys.executable, DRIVER, tmp_path, SAMPLES / "preview.vpy", "--no-settings", "-a", f"source={MPEG2}"]
    environment = {"QT_QPA_PLATFORM": "offscreen", "LD_LIBRARY_PATH": prepare_vsview.library_path()}
    done = subprocess.run(
        [*map(str, command)], env=os.environ | environment, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr, done.stderr
    both = enlarged(MPEG2, 0)
    expected = [*both, middles(*both)]
    places = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert len(places) == len(expected)
    for output, (left, top, width, height) in enumerate(places):
        with Image.open(tmp_path / f"{output}.png") as window:
            shown = np.asarray(window.convert("RGB"), np.int16)[top : top + height, left : left + width]
        assert width > 720 + 100  # so that something of both halves is seen
        away = [np.abs(shown - picture[:height, :width]).mean() for picture in expected]
        assert min(away) == away[output] < 1


def test_the_notebook_shows_the_original_beside_the_result() -> None:
    """As it ships, and nothing else is printed into it."""
    notebook = nbformat.read(SAMPLES / "notebook.ipynb", as_version=nbformat.NO_CONVERT)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(SAMPLES)}}).execute()
    (shown,) = (output for cell in notebook.cells for output in cell.get("outputs", []))
    with Image.open(io.BytesIO(base64.b64decode(shown["data"]["image/png"]))) as picture:
        assert np.array_equal(np.asarray(picture), middles(*enlarged(H264, 10)))
