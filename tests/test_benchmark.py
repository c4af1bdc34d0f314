"""The comparison with vs-mlrt and with another checkout, and the stages of a frame, on a few frames of a small real clip."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import benchmark
import pytest
from benchmarks import comparison, peer, processes, stages
from bootstrap import ROOT
from conftest import CLIPS

MODEL = "tests/golden/realtime_x2.safetensors"


@pytest.fixture(scope="module")
def clip(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corner of a real clip."""
    path = tmp_path_factory.mktemp("clip") / "corner.mkv"
    corner = ["-vf", "crop=160:96:0:0", "-frames:v", "12", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
    line = [ffmpeg, "-v", "error", "-i", str(CLIPS / "flower_960x540.mp4"), *corner, str(path)]
    subprocess.run(line, check=True)
    return path


def compared(clip: Path, out: Path, *arguments: object) -> tuple[dict[str, object], str]:
    """The only result of the command in f32, and what it prints. The model's path counts from here; vspipe runs elsewhere."""
    options = ["--clip", clip, "--frames", "12", "--precisions", "f32", "--json", out, *arguments]
    line = [sys.executable, "scripts/benchmark.py", "--models", MODEL, *options]
    said = subprocess.run([*map(str, line)], cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["machine"]["processors"] == os.cpu_count()
    (row,) = found["rows"]
    assert (row["model"], row["precision"]) == ("realtime_x2", "f32")
    return row, said


def check_runs(measured: dict[str, object], rounds: int) -> None:
    """That the figures are those of the runs."""
    runs, start = measured["runs"], measured["start"]
    assert [run["frames"] for run in runs] == [12] * rounds and start["frames"] == 4
    milliseconds = [1000 * (run["processor"] - start["processor"]) / 8 for run in runs]
    assert min(run["fps"] for run in runs) <= measured["fps"] <= max(run["fps"] for run in runs)
    assert min(milliseconds) <= measured["processor_ms"] <= max(milliseconds)
    assert 40 < measured["peak_mib"] < 4000


@pytest.mark.usefixtures("peer_plugin")
def test_the_comparison_with_the_peer(clip: Path, tmp_path: Path) -> None:
    row, said = compared(clip, tmp_path / "figures.json", "--rounds", 1)
    ours, *peers = row["programs"]
    assert [measured["name"] for measured in row["programs"]] == ["upscale", "vs-mlrt", "vs-mlrt, folded"]
    assert all(measured["name"] in said for measured in row["programs"])
    assert ours["streams"] is None
    for measured in row["programs"]:
        check_runs(measured, rounds=1)
    assert all(measured["streams"] >= 1 for measured in peers)


def test_the_comparison_with_another_checkout(clip: Path, tmp_path: Path) -> None:
    """A copy of the package that says which it is in a file, and is named as it was given."""
    other = tmp_path / "other"
    shutil.copytree(ROOT / "vs_paragonsr2", other / "vs_paragonsr2")
    told = tmp_path / "told"
    init = other / "vs_paragonsr2/__init__.py"
    init.write_text(init.read_text(encoding="utf-8") + f"\nopen({str(told)!r}, 'a').write(__file__ + chr(10))\n", encoding="utf-8")
    row, said = compared(clip, tmp_path / "figures.json", "--rounds", 2, "--against", other)
    ours, theirs = row["programs"]
    assert (ours["name"], theirs["name"]) == ("upscale", str(other))
    for measured in row["programs"]:
        check_runs(measured, rounds=2)
    assert row["fps_ratios"] == [1, ours["fps"] / theirs["fps"]]
    assert row["processor_ratios"] == [1, theirs["processor_ms"] / ours["processor_ms"]]
    assert str(other) in said
    # Once to warm the caches, once for the start, and once a round.
    assert told.read_text(encoding="utf-8").splitlines() == [str(init)] * 4


def test_ratios_are_medians_by_medians() -> None:
    def measured(name: str, fps: list[float], processor: list[float]) -> processes.Measured:
        start = processes.Run(frames=10, fps=1, processor=1.0, peak_mib=1)
        runs = [processes.Run(110, *pair, peak_mib=2) for pair in zip(fps, processor, strict=True)]
        return processes.Measured(name, 1, start, runs)

    ours, other = measured("a", [10, 5, 8], [3.0, 2.0, 2.0]), measured("b", [5, 2, 8], [7.0, 5.0, 2.0])
    assert (ours.fps, ours.processor_ms, ours.peak_mib) == (8, pytest.approx(10), 2)
    compared = comparison.Comparison("model", "f32", [ours, other])
    assert compared.fps_ratios == [1, 8 / 5]
    assert compared.processor_ratios == [1, pytest.approx(4)]
    first, second = comparison.lines(compared)
    assert (first.program, first.fps, first.fps_ratio) == ("a", 8, 1)
    assert (second.program, second.fps, second.fps_ratio) == ("b", 5, 8 / 5)


@pytest.mark.parametrize("place", ["file", "file/venv"])
def test_a_peer_that_cannot_be_set_up_is_said(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Because the environment cannot be made, or nothing written beside it."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(peer, "PEER", tmp_path / place)
    monkeypatch.setattr(sys, "argv", ["benchmark.py"])
    with pytest.raises(SystemExit, match=f"the peer cannot be set up in .*{place}, so there is nothing to compare with:\n.*file"):
        benchmark.main()


def test_the_stages_of_a_frame_make_the_whole(clip: Path) -> None:
    found = stages.measure("realtime", "f32", clip, frames=6, rounds=1)
    assert min(found.whole, found.decode, found.padding, found.graph, found.copies) > 0
    assert found.decode + found.padding + found.graph + found.copies + found.rest == pytest.approx(found.whole)
    assert sum(layer.milliseconds for layer in found.layers) == pytest.approx(found.graph)
    assert sum(layer.milliseconds for layer in found.layers if "Convolution" in layer.kind) > 0.3 * found.graph
    # What the graph computes cannot be done in less than its arithmetic takes.
    assert 1e9 < found.attainable < 1e12
    assert 160 * 96 * 5000 < found.multiply_adds < 160 * 96 * 20000
    assert found.limit < found.graph
    shown = {line.stage: line for line in stages.lines(found)}
    assert shown["whole"].percent == pytest.approx(100)
    assert shown["graph"].milliseconds == found.graph
