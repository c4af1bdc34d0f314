"""The comparison with vs-mlrt and the stages of a frame, on a few frames of a small real clip."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import benchmark
import pytest
import stages
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


@pytest.mark.usefixtures("peer_plugin")
def test_the_comparison_with_the_peer(clip: Path, tmp_path: Path) -> None:
    """A checkpoint by a path that counts from here; vspipe runs elsewhere."""
    out = tmp_path / "figures.json"
    options = ["--clip", str(clip), "--frames", "12", "--rounds", "1", "--precisions", "f32", "--json", str(out)]
    line = [sys.executable, "scripts/benchmark.py", "--models", MODEL, *options]
    said = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (result,) = json.loads(out.read_text())
    assert (result["model"], result["precision"]) == (str(ROOT / MODEL), "f32")
    ours, plain, folded = result["programs"]
    assert [program["program"] for program in result["programs"]] == ["upscale", "vs-mlrt", "vs-mlrt, folded"]
    assert all(program["program"] in said for program in result["programs"])
    assert (ours["streams"], ours["fps_ratio"], ours["processor_ratio"]) == (None, 1, 1)
    for program in (ours, plain, folded):
        (run,) = program["runs"]
        assert run["frames"] == 12 and program["start"]["frames"] == 4
        assert program["fps"] == run["fps"] > 0
        assert program["processor_ms"] == pytest.approx(1000 * (run["processor"] - program["start"]["processor"]) / 8)
        assert 40 < program["peak_mib"] < 4000
    for peer in (plain, folded):
        assert peer["streams"] >= 1
        assert peer["fps_ratio"] == pytest.approx(ours["fps"] / peer["fps"])


def test_ratios_are_of_neighbouring_runs() -> None:
    def measured(name: str, fps: list[float], processor: list[float]) -> benchmark.Measured:
        start = benchmark.Run(frames=10, fps=1, processor=1.0, peak_mib=1)
        runs = [benchmark.Run(110, *pair, peak_mib=2) for pair in zip(fps, processor, strict=True)]
        return benchmark.Measured(name, 1, start, runs)

    ours, peer = measured("a", [10, 5, 8], [3.0, 2.0, 2.0]), measured("b", [5, 2, 8], [7.0, 5.0, 2.0])
    result = benchmark.Result("model", "f32", [ours, peer])
    assert ours.median(ours.milliseconds) == pytest.approx(10)
    assert result.fps_ratio(peer) == 2
    assert result.processor_ratio(peer) == pytest.approx(3)


@pytest.mark.parametrize("place", ["file", "file/venv"])
def test_a_peer_that_cannot_be_set_up_is_said(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Because the environment cannot be made, or nothing written beside it."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(benchmark, "PEER", tmp_path / place)
    monkeypatch.setattr(sys, "argv", ["benchmark.py"])
    with pytest.raises(SystemExit, match=f"the peer cannot be set up in .*{place}, so there is nothing to compare with:\n.*file"):
        benchmark.main()


def test_the_stages_of_a_frame_make_the_whole(clip: Path) -> None:
    arguments = argparse.Namespace(clip=clip, frames=6, rounds=1)
    found = stages.measure("realtime", "f32", arguments)
    assert min(found.whole, found.decode, found.padding, found.graph, found.copies) > 0
    assert found.decode + found.padding + found.graph + found.copies + found.rest == pytest.approx(found.whole)
    assert sum(milliseconds for _, milliseconds in found.layers.values()) == pytest.approx(found.graph)
    assert sum(ms for kind, (_, ms) in found.layers.items() if "Convolution" in kind) > 0.3 * found.graph
    # What the graph computes cannot be done in less than its arithmetic takes.
    assert 1e9 < found.attainable < 1e12
    assert 160 * 96 * 5000 < found.multiply_adds < 160 * 96 * 20000
    assert found.limit < found.graph
