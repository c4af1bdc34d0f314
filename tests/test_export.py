"""ONNX of the plain network, and other ways in which PyTorch runs it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bootstrap import ROOT
from conftest import golden

from vs_paragonsr2 import load_network


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("model", ["realtime_x2", "stream_x2"])
def test_onnx_gives_the_same_picture(model: str, half: bool, tmp_path: Path) -> None:
    """The command itself compares with PyTorch, and fails where they differ."""
    command = [sys.executable, ROOT / "scripts/export_onnx.py", golden(model), "--out", tmp_path / "a.onnx"]
    done = subprocess.run([*map(str, command), *(["--half"] if half else [])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "differs from PyTorch by at most" in done.stdout
    assert (tmp_path / "a.onnx").stat().st_size > 50_000


@pytest.mark.parametrize("model", ["realtime_x2", "stream_x2", "v8_realtime_x2"])
@pytest.mark.filterwarnings("ignore")
def test_tracing_gives_the_same_picture(model: str) -> None:
    network, x = load_network(golden(model)), torch.rand(1, 3, 20, 28)
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.trace(network, x)(x), network(x))
