"""What a frame costs on the host, whatever the device does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import vapoursynth as vs
from benchmarks import host_cost
from bootstrap import ROOT
from conftest import random_planes
from route import clip_of, planes_at


def test_the_frame_path_that_is_timed_repeats_samples() -> None:
    frames = [random_planes(vs.YUV420P8, 70, 46, seed) for seed in range(5)]
    result = host_cost.doubled(clip_of(frames, vs.YUV420P8, number=3), streams=2)
    for n in (3, 0, 4):
        for plane, found in zip(frames[n], planes_at(result, n), strict=True):
            assert np.array_equal(found, plane.repeat(2, 0).repeat(2, 1))
        assert result.get_frame(n).props["number"] == 3


def test_the_frame_path_costs_far_less_than_the_conversions_of_the_rgb_route(tmp_path: Path) -> None:
    """The benchmark says how much; this much less would be a fault. It runs in a process of its own, whose memory is its own."""
    out = tmp_path / "cost.json"
    command = [sys.executable, ROOT / "scripts/benchmark.py", "host_cost", "--frames", "60", "--rounds", "5", "--json", out]
    said = subprocess.run([*map(str, command)], check=True, capture_output=True, encoding="utf-8").stdout
    (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert row["processor_ratio"] > 6
    assert len(row["frame_path"]) == len(row["to_rgb"]) == len(row["from_rgb"]) == 5
    assert "frame path" in said and "times better than both" in said
