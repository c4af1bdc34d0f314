"""The package with what it needs alone, in an environment of its own: small, without PyTorch, and with the same frames."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch
import vapoursynth as vs
from bootstrap import BIN, ROOT, SUFFIX
from conftest import golden
from plain import random_network
from route import planes_at
from test_shipped_models import copy_of_the_checkout

from vs_paragonsr2 import load_network, upscale
from vs_paragonsr2.support import cache_folder
from vs_paragonsr2.training.trainer import save_checkpoint

CLIP = """
import vapoursynth as vs
blank = vs.core.std.BlankClip(format=vs.YUV420P8, width=24, height=40, length=1)
clip = vs.core.std.StackHorizontal([blank.std.BlankClip(color=[luma, 250 - luma, 128]) for luma in (30, 200, 90)])
clip = vs.core.std.StackVertical([clip, clip.std.FlipHorizontal()])
"""
"""Flat parts with edges between them."""

UPSCALED = """
import sys
from vs_paragonsr2 import upscale
result = upscale(clip, {model!r}, scale=2, backend="openvino", precision="f32")
result.get_frame(0)
assert "torch" not in sys.modules
result.set_output()
"""

REFUSED = """
import sys
from vs_paragonsr2 import upscale
for arguments in ({"backend": "reference"}, {"model": sys.argv[1]}):
    try:
        upscale(clip, **arguments)
    except vs.Error as error:
        print(error)
try:
    from vs_paragonsr2 import load_network
except ImportError as error:
    print(error)
"""

DOCTOR = """
from vs_paragonsr2.cli import doctor, main
doctor.TIMED = 64, 36
main(["doctor", "--seconds", "0.1"])
"""


class Environment:
    """Programs in an environment, and a folder for what VapourSynth writes of it, which else is the user's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = folder / BIN.name
        self._settings = folder / "settings"

    def run(self, program: str, *arguments: object) -> bytes:
        """What a program writes. Raises AssertionError where it fails."""
        done = self.ended(program, *arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def ended(self, program: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        """How a program ends."""
        settings = {} if program == "pip" else {"XDG_CONFIG_HOME": str(self._settings), "APPDATA": str(self._settings)}
        line = [self._programs / f"{program}{SUFFIX}", *arguments]
        return subprocess.run([*map(str, line)], env=os.environ | settings, capture_output=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """With the versions that are here where they decide about samples."""
    same = [f"{name}=={metadata.version(name)}" for name in ("numpy", "openvino", "vapoursynth")]
    with tempfile.TemporaryDirectory() as folder:
        place, source = Path(folder, "environment"), Path(folder, "source")
        source.mkdir()
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        made = Environment(place)
        made.run("pip", "install", "--quiet", "--no-compile", copy_of_the_checkout(source), *same)
        made.run("vapoursynth", "config")
        yield made


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a script calls them, by the names in this file."""
    folder = tmp_path_factory.mktemp("checkpoints")
    found = {name: str(golden(name)) for name in ("realtime_x2", "stream_x2", "v8_stream_x2")}
    for name in ("photo", "pro"):
        found[name] = str(folder / f"{name}.safetensors")
        save_checkpoint(random_network(name, 2), Path(found[name]))
    found["pickled"] = str(folder / "pickled.pth")
    torch.save(load_network(golden("realtime_x2")).state_dict(), found["pickled"])
    return found


def test_it_is_small_and_whole(environment: Environment) -> None:
    files = [path for path in environment.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < 400e6
    (package,) = (path.parent for path in files if path.parts[-2:] == ("vs_paragonsr2", "__init__.py"))
    assert not any((package.parent / name).exists() for name in ("torch", "triton", "nvidia"))
    missing = [
        path for path in (ROOT / "vs_paragonsr2").rglob("*.py") if not (package / path.relative_to(ROOT / "vs_paragonsr2")).exists()
    ]
    assert not missing


@pytest.mark.parametrize("model", ["realtime", "stream", "realtime_x2", "stream_x2", "v8_stream_x2", "photo", "pickled"])
def test_vspipe_gives_the_same_frames(model: str, environment: Environment, checkpoints: dict[str, str], tmp_path: Path) -> None:
    path = checkpoints.get(model, model)
    script = tmp_path / "script.vpy"
    script.write_text(CLIP + UPSCALED.format(model=path), encoding="utf-8")
    names: dict[str, vs.VideoNode] = {}
    exec(CLIP, names)
    expected = upscale(names["clip"], path, scale=2, backend="openvino", precision="f32")
    assert environment.run("vspipe", script, "-") == b"".join(plane.tobytes() for plane in planes_at(expected))


def test_what_needs_pytorch_says_who_brings_it(environment: Environment, checkpoints: dict[str, str]) -> None:
    said = environment.run("python", "-c", CLIP + REFUSED, checkpoints["pro"]).decode().splitlines()
    for line, start in zip(
        said, ("upscale: backend is 'reference', ", "upscale: no backend can do this (", "load_network "), strict=True
    ):
        assert line.startswith(start)
        assert "pip install 'vs_paragonsr2[reference]' brings " in line
    assert "not 'openvino': backend is 'openvino', which has no " in said[1]


@pytest.mark.parametrize(
    ("word", "arguments", "extra"),
    [
        ("evaluate", ["--data", "."], "evaluation"),
        ("export", ["realtime", "--out", "a.onnx"], "export"),
        ("train", ["a.yml", "--out", "a"], "training"),
    ],
)
def test_a_word_without_pytorch_says_who_brings_it(word: str, arguments: list[str], extra: str, environment: Environment) -> None:
    assert b"usage: vs-paragonsr2" in environment.run("vs-paragonsr2", word, "--help")
    done = environment.ended("vs-paragonsr2", word, *arguments)
    assert done.returncode == 1
    words = f"vs-paragonsr2: {word}: No module named 'torch'; pip install 'vs_paragonsr2[{extra}]' brings it"
    assert done.stderr.decode().splitlines() == [words]


def test_the_command_works(environment: Environment) -> None:
    assert b"--num-streams" in environment.run("vs-paragonsr2", "doctor", "--help")
    assert b"backend 'openvino'" in environment.run("python", "-c", DOCTOR)
    assert os.environ[cache_folder.FOLDER_VARIABLE].encode() in environment.run("vs-paragonsr2", "cache").replace(b"\n", b"")
