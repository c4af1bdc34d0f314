"""The check of a card, on CPU tensors: that it goes through, and refuses where there is no card."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gpu_check
import pytest
import torch


def test_it_goes_through_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--device", "cpu", "--quick", "--out", str(tmp_path)])
    gpu_check.main()
    found = json.loads((tmp_path / "CPU.json").read_text())
    assert len(found["correctness"]) == 8 and all(row["right"] for row in found["correctness"])
    assert {row["model"] for row in found["speed"]} == {"realtime", "stream"}
    for row in found["speed"]:
        assert row["fps"] > 0
        if row["way"] == "torch":
            assert row["filter_fps"] > 0 and row["ratio"] > 0 and "device_ms" not in row  # no card, no time of a card


def test_what_there_is_no_time_for_says_so() -> None:
    plan = gpu_check.plan_of("cpu", True)
    late = replace(plan, deadline=0)
    assert list(gpu_check.times(late, "realtime", gpu_check.find_model("realtime", 2), (64, 96), {})) == [
        {"model": "realtime", "source": "96x64", "fault": "no time left"}
    ]


def test_without_a_card_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    with pytest.raises(SystemExit, match="PyTorch finds no CUDA device here"):
        gpu_check.main()


def test_it_needs_neither_filelock_nor_platformdirs_nor_rich() -> None:
    """On a machine that has PyTorch, numpy and safetensors alone."""
    code = "import sys; sys.modules.update(dict.fromkeys(('filelock', 'platformdirs', 'rich', 'openvino'))); import gpu_check"
    scripts = Path(gpu_check.__file__).parent
    subprocess.run([sys.executable, "-c", code], cwd=scripts, check=True)
