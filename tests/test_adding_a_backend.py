"""The backend in ``docs/adding-a-backend.md``: taken out of the page, installed as a package of its own, and used.

Each test runs in a process of its own, since the backends of a process are found once.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TESTS, golden

PAGE = TESTS.parent / "docs/adding-a-backend.md"

USE = """
import numpy as np
import vapoursynth as vs
from vs_paragonsr2 import upscale
messages = []
vs.core.add_log_handler(lambda kind, message: messages.append(message))
clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=24, height=16, length=2, color=[90, 100, 150])
ours, plain = (upscale(clip, {model!r}, **how) for how in (dict(backend="numpy", progress=True), dict(backend="reference")))
for n in range(2):
    for plane in range(3):
        a, b = (np.asarray(result.get_frame(n)[plane]).astype(int) for result in (ours, plain))
        assert np.abs(a - b).max() <= 1, (n, plane)
assert upscale(clip, {model!r}).get_frame(0).width == 48
print(messages)
for arguments in (dict(tile_size=64), dict(precision="f16"), dict(progress=1), dict(device="cuda")):
    try:
        upscale(clip, {model!r}, backend="numpy", **arguments)
    except vs.Error as error:
        print(error)
try:
    upscale(clip, {model!r}, backend="openvino", progress=True)
except vs.Error as error:
    print(error)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the page's package is installed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    code, metadata = (
        re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S) for language in ("python", "toml")
    )
    assert len(code) == len(metadata) == 1
    (source / "numpy_backend.py").write_text(code[0], encoding="utf-8")
    (source / "pyproject.toml").write_text(metadata[0], encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", target, source]
    subprocess.run(pip, check=True)
    return target


def run(installed: Path, *arguments: str) -> str:
    """The standard output of Python with the package on its path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH"))))}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_upscales_and_refuses(installed: Path) -> None:
    said = run(installed, "-c", USE.format(model=str(golden("realtime_x2"))))
    assert "'upscale: NumPy has computed a frame'" in said
    assert re.search("upscale: backend '(?!numpy)", said), "taken by name alone"
    for refusal in (
        "upscale: tile_size is 64: backend 'numpy' has no such option, only device, device_index, num_streams, ",
        "upscale: precision is 'f16': backend 'numpy' has 'f32', 'f64'",
        "upscale: progress is 1: expected True or False",
        "upscale: device is 'cuda': backend 'numpy' has 'cpu'",
        "upscale: progress is True: backend 'openvino' has no such option",
    ):
        assert refusal in said


def test_the_doctor_knows_it(installed: Path) -> None:
    code = "from vs_paragonsr2.cli import doctor, main\ndoctor.TIMED = 64, 36\nmain(['doctor', '--seconds', '0.1'])"
    assert re.search("^ .* numpy: cpu: ", run(installed, "-c", code), re.MULTILINE)


BROKEN = """
from importlib import metadata
from vs_paragonsr2 import ParagonSR2Error, backends
for name in ("lost", "wrong", "openvino"):
    try:
        print(backends.load_backend(name).name)
    except ParagonSR2Error as error:
        print(error)
print(sorted(backends.backends()))
print(backends.candidates("cpu")[0])
"""


def test_a_backend_that_is_broken_says_so_and_breaks_nothing(tmp_path: Path) -> None:
    """Entry points of a package that cannot be imported, that name no backend, or that take a name that is taken."""
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[vs_paragonsr2.backends]\nlost = stranger_lost:BACKEND\nwrong = math:pi\n"
        "openvino = vs_paragonsr2.backends.openvino:BACKEND\n",
        encoding="utf-8",
    )
    lost, wrong, openvino, names, chosen = run(tmp_path, "-c", BROKEN).splitlines()
    assert lost.startswith("backend is 'lost': entry point 'stranger_lost:BACKEND' of stranger cannot be imported (Module")
    assert wrong.startswith("backend is 'wrong': entry point 'math:pi' of stranger is 3.14159")
    assert openvino == "openvino"
    assert "\"openvino of entry point 'vs_paragonsr2.backends.openvino:BACKEND' of stranger\"" in names
    assert chosen == "['openvino', 'reference']"
