"""Which backends there are without PyTorch; and the OpenVINO backend beside vs-mlrt's plugin, which brings a library of OpenVINO
of its own: real processes.
"""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import peer
from bootstrap import program
from conftest import golden

from vs_paragonsr2 import ParagonSR2Error, backends, load_network
from vs_paragonsr2.backends import pytorch
from vs_paragonsr2.backends.pytorch.onnx import export_rgb, plain

MODEL = golden("realtime_x2")

BOTH = """
import vapoursynth as vs
{first}
from vs_paragonsr2 import upscale
clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=6, color=[90, 100, 150])
ours = upscale(clip, {model!r}, backend="openvino", precision="f32", matrix="709")
{then}
rgb = clip.resize.Bicubic(format=vs.RGBS, matrix_in=1)
rgb = vs.core.ov.Model([rgb], {onnx!r}, device="CPU", config=lambda: dict(INFERENCE_PRECISION_HINT="f32"))
theirs = rgb.resize.Bicubic(format=vs.YUV420P8, matrix=1)
vs.core.std.StackVertical([ours, theirs]).set_output()
"""

ALONE = """
import sys
import numpy as np
import vapoursynth as vs
from vs_paragonsr2 import upscale
vs.core.add_log_handler(lambda kind, message: print(message))
clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=1, color=[90, 100, 150])
chosen, plain = (upscale(clip, {model!r}, backend=backend).get_frame(0) for backend in (None, "reference"))
print("equal", all(np.array_equal(chosen[plane], plain[plane]) for plane in range(3)))
try:
    upscale(clip, {model!r}, backend="openvino")
except vs.Error as error:
    print("refused", error)
"""


def test_a_driver_without_pytorch_is_said_and_openvino_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "_has_driver", lambda: True)
    monkeypatch.setitem(sys.modules, "torch", None)  # what a failed import leaves
    names, why = backends.candidates(None)
    assert names == ["openvino", "reference"]
    assert why.startswith("there is an NVIDIA driver, but PyTorch cannot be imported (")
    assert why.endswith("; pip install 'vs_paragonsr2[cuda]' brings PyTorch")


@pytest.mark.parametrize(
    ("name", "extras"), [("reference", ["reference"]), ("torch", ["cuda"]), ("tensorrt", ["tensorrt-rtx", "tensorrt"])]
)
def test_a_backend_without_pytorch_says_who_brings_it(name: str, extras: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = backends.find_backend(name).__module__
    monkeypatch.setattr(backends.find_backend(name), "_is_loaded", False)
    monkeypatch.delitem(sys.modules, f"{folder}.session", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ParagonSR2Error, match=f"backend is '{name}', which cannot be imported here ") as raised:
        backends.load_backend(name)
    assert re.findall(r"'vs_paragonsr2\[(.*?)\]'", str(raised.value)) == extras


@pytest.fixture(scope="module")
def clashing_openvino(peer_plugin: Path) -> Path:
    """A folder with the Python package of the very OpenVINO that the plugin brings."""
    (library,) = peer_plugin.glob("libopenvino.so.*")
    year, minor, patch = re.fullmatch(r"\.(\d\d)(\d)(\d)", library.suffix).groups()  # type: ignore[union-attr]
    version = f"20{year}.{minor}.{patch}"
    folder = peer.PEER / f"openvino-{version}"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", f"{folder}.part"]
        subprocess.run([*pip, f"openvino=={version}"], check=True)
        Path(f"{folder}.part").rename(folder)
    return folder


@pytest.mark.parametrize("when", ["with the core", "before", "after"])
def test_both_live_in_one_process(when: str, peer_plugin: Path, tmp_path: Path) -> None:
    onnx, script = tmp_path / "a.onnx", tmp_path / "both.vpy"
    export_rgb(partial(plain, load_network(MODEL)), onnx, torch.float32)
    load = f"vs.core.std.LoadPlugin({str(next(peer_plugin.glob('libvsov.*')))!r})"
    first, then = (load if when == moment else "" for moment in ("before", "after"))
    script.write_text(BOTH.format(model=str(MODEL), onnx=str(onnx), first=first, then=then), encoding="utf-8")
    plugins = {"VAPOURSYNTH_EXTRA_PLUGIN_PATH": str(peer_plugin)} if when == "with the core" else {}
    done = subprocess.run([program("vspipe"), script, "-"], env=os.environ | plugins, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    lumas = np.frombuffer(done.stdout, np.uint8).reshape(6, -1)[:, : 192 * 128].reshape(6, 2, 96, 128).astype(int)
    # At the edges, where the plain network sees zeros, they differ.
    ours, theirs = lumas[:, 0, 32:-32, 32:-32], lumas[:, 1, 32:-32, 32:-32]
    assert np.abs(ours - theirs).max() <= 1


def test_a_clash_is_named_and_the_next_backend_goes_on(peer_plugin: Path, clashing_openvino: Path) -> None:
    environment = os.environ | {
        "VAPOURSYNTH_EXTRA_PLUGIN_PATH": str(peer_plugin),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(clashing_openvino), os.environ.get("PYTHONPATH")))),
        "CUDA_VISIBLE_DEVICES": "",
    }
    line = [sys.executable, "-c", ALONE.format(model=str(MODEL))]
    said = subprocess.run(line, env=environment, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    version = clashing_openvino.name.removeprefix("openvino-")
    clash = rf"the Python package openvino {re.escape(version)} clashes with {re.escape(str(peer_plugin))}/libopenvino\.so\.\d+"
    assert re.search(rf"^upscale: backend 'reference' .*{clash}", said, re.MULTILINE | re.DOTALL), said
    assert "equal True" in said
    assert re.search(
        rf"^refused upscale: backend is 'openvino', which cannot be imported here .*{clash}", said, re.MULTILINE | re.DOTALL
    )
