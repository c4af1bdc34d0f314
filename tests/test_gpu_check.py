"""The check of a card, on CPU tensors: that it goes through, and refuses where there is no card."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gpu_check
import pytest
import torch
from benchmarks.card.check import times
from benchmarks.card.device import Ceilings, device_times
from benchmarks.card.plan import Fault, Timed, clip_spec, opened, plan_of, session_of
from benchmarks.count_operations import count

from vs_paragonsr2.backends.pytorch.modules import ProgramModule, program_for
from vs_paragonsr2.checkpoints import load_checkpoint
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.checkpoints.network import load_network
from vs_paragonsr2.network import ParagonSR2


def test_it_goes_through_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--device", "cpu", "--quick", "--out", str(tmp_path)])
    gpu_check.main()
    found = json.loads((tmp_path / "CPU.json").read_text(encoding="utf-8"))
    assert len(found["correctness"]) == 8 and all(row["right"] for row in found["correctness"])
    assert all(value > 0 for value in found["ceilings"].values())
    for name in ("realtime", "stream"):
        naive, torch_row = (row for row in found["device"] if row["model"] == name)
        assert naive["way"] == "naive" and naive["device_ms"] > 0
        figures = {"device_ms", "up_ms", "compute_ms", "down_ms", "up_share", "arithmetic_share", "traffic_share", "down_share"}
        assert all(torch_row[figure] > 0 for figure in {*figures, "ratio"})
        frames = [row for row in found["frames"] if row["model"] == name]
        assert [row.get("lanes") for row in frames] == [None, 1, 2]
        assert all(row["fps"] > 0 for row in frames)
        assert all(row[figure] > 0 for row in frames[1:] for figure in ("filter_fps", "host_share", "ratio"))


def test_multiply_adds_and_bytes_are_those_of_the_program() -> None:
    """On a device that does a TFLOP and a GB a second: between those of the body without its surroundings, and a few times that."""
    spec, model = clip_spec((24, 32)), find_model("realtime", 2)
    session = session_of(opened(plan_of("cpu", True), "torch", model, spec))
    what = Timed(model="realtime", source="32x24", way="torch")
    row = device_times(what, session, model, Ceilings(up=1.0, down=1.0, copy=1.0, half_tflops=1.0), naive_ms=None)
    network = load_network(model.path)
    assert isinstance(network, ParagonSR2)
    pixels = (24 + 2 * network.radius) * (32 + 2 * network.radius)
    weights = sum(p.numel() for key, p in network.named_parameters() if "body" in key and "weight" in key)
    counted = row.arithmetic_share * row.compute_ms * 1e9 / 2
    assert weights * 24 * 32 < counted < 4 * weights * pixels
    # As much as PyTorch runs, which moves more: conversions of samples, and repeated edges, are passes of their own.
    module = ProgramModule(program_for(load_checkpoint(model.path).parts, spec, torch.float16), dtype=torch.float16)
    planes = [torch.empty(1, 1, *shape, dtype=torch.uint8, device="meta") for shape in spec.source.shapes]
    run = count(lambda: module.to("meta")(*planes))
    assert counted == pytest.approx(run.multiply_adds, rel=1e-3)  # which filters planes' rows farther than they are needed
    assert 0.8 < row.traffic_share * row.compute_ms * 1e6 / run.bytes_moved < 1
    assert row.down_share * row.down_ms * 1e6 == pytest.approx(4 * 24 * 32 * 1.5)


def test_what_there_is_no_time_for_says_so() -> None:
    late, limits = replace(plan_of("cpu", True), deadline=0), Ceilings(up=1.0, down=1.0, copy=1.0, half_tflops=1.0)
    assert list(times(late, "realtime", find_model("realtime", 2), (64, 96), limits)) == [
        ("frames", Fault(model="realtime", source="96x64", way="naive", fault="no time left"))
    ]


def test_a_session_that_fails_is_not_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("the card\nis gone")

    monkeypatch.setattr("benchmarks.card.correctness.opened", fail)
    monkeypatch.setattr("benchmarks.card.check.opened", fail)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--device", "cpu", "--quick", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="a session is not right, or did not open"):
        gpu_check.main()
    found = json.loads((tmp_path / "CPU.json").read_text(encoding="utf-8"))
    assert {row["fault"] for row in found["correctness"]} == {"RuntimeError: the card"}
    assert [(row["way"], row.get("fault")) for row in found["frames"]] == [("naive", None), ("torch", "RuntimeError: the card")] * 2


def test_without_a_card_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    with pytest.raises(SystemExit, match="PyTorch finds no CUDA device here"):
        gpu_check.main()


BARE = """
import sys
sys.modules.update(dict.fromkeys(("safetensors", "filelock", "packaging", "platformdirs", "rich", "openvino", "vapoursynth")))
import gpu_check
import torch
from benchmarks.card.check import errors, times
from benchmarks.card.device import ceilings
from benchmarks.card.plan import models, plan_of
from pathlib import Path
found = models(Path(sys.argv[1]))
assert [model.path.suffix for model in found.values()] == [".pth"] * 4
plan = plan_of("cpu", True)
assert all(row.right for row in errors(plan, "realtime", found["realtime"]))
rows = dict(times(plan, "realtime", found["realtime"], (32, 48), ceilings(torch.device("cpu"), True)))
assert rows["frames"].fps > 0 and rows["frames"].filter_fps is None
"""


def test_pytorch_and_numpy_suffice(tmp_path: Path) -> None:
    """Where nothing else is installed, with random weights."""
    subprocess.run([sys.executable, "-c", BARE, str(tmp_path)], cwd=Path(gpu_check.__file__).parent, check=True)
