"""Degradations: what each step keeps and loses, that codecs really are at work, and that chance is the generator's alone."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
import yaml
from bootstrap import ROOT
from conftest import random_planes, smooth_picture
from hypothesis import given
from hypothesis import strategies as st
from tiny import CPU, config_file, sampler

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.program.colour import Colorimetry, Matrix, Range, Siting
from vs_paragonsr2.training.config import load_config
from vs_paragonsr2.training.degradation_config import Codec, Degradation
from vs_paragonsr2.training.degradations import SequencePool, camera_path, degrade, encode_and_decode, to_420, to_rgb
from vs_paragonsr2.training.shards import Tiles, reduce_bicubic
from vs_paragonsr2.training.trainer import Trainer

SPOTLESS = {"libx264": [0.0, 0.0], "mpeg2video": [2.0, 2.0], "mjpeg": [2.0, 2.0]}
POOR = {"libx264": [45.0, 45.0], "mpeg2video": [25.0, 25.0], "mjpeg": [25.0, 25.0]}


def options(name: str = "libx264", quality: dict[str, list[float]] = SPOTLESS, **changes: object) -> Degradation:
    small = Degradation(codecs=[Codec(type=name, quality=quality[name])], frame_size=32, frames=4, resize_prob=0, pool_size=3)
    return replace(small, **changes)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 40), st.integers(0, 40))
def test_windows_lie_in_the_picture(seed: int, count: int, more_rows: int, more_columns: int) -> None:
    rng = np.random.default_rng(seed)
    shown, side = seed % count, 64
    size = (side + more_rows, side + more_columns)
    boxes = camera_path(size, side, count, shown, rng)
    assert boxes.shape == (count, 4)
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= size[1]
    assert boxes[:, 3].max() <= size[0]
    assert np.array_equal(boxes[shown], boxes[shown].round())
    assert np.array_equal(boxes[shown, 2:] - boxes[shown, :2], [side, side])


def test_the_camera_moves_by_fractions_of_a_pixel_and_sometimes_stands_still() -> None:
    paths = [camera_path((96, 96), 64, 5, 2, np.random.default_rng(seed)) for seed in range(40)]
    steps = np.array([np.diff(path, axis=0) for path in paths])
    still = (steps == 0).all((1, 2))
    assert 0 < still.sum() < 30
    assert (np.abs(steps[~still] % 1) > 1e-6).any((1, 2)).all()


@pytest.mark.parametrize("name", SPOTLESS)
def test_low_and_high_resolution_are_aligned(name: str) -> None:
    """A grey still at the best quality loses little: the frame is what its high resolution reduces to."""
    still = smooth_picture(96, 0)[..., :1].repeat(3, -1)
    inside = (slice(2, -2), slice(2, -2))
    for seed in range(4):
        low, high = degrade(still, 2, options(name), np.random.default_rng(seed))
        assert low.shape == (32, 32, 3)
        assert high.shape == (64, 64, 3)
        expected, shifted = (reduce_bicubic(np.roll(high, by, 1), 2) for by in (0, 1))
        assert psnr(low[inside], expected[inside]) > 38
        assert psnr(low[inside], shifted[inside]) < 30


@pytest.mark.parametrize("name", SPOTLESS)
def test_quality_is_heeded(name: str) -> None:
    still = smooth_picture(96, 1)
    good, poor = (degrade(still, 2, options(name, q), np.random.default_rng(3)) for q in (SPOTLESS, POOR))
    assert np.array_equal(good.high, poor.high)
    clean = reduce_bicubic(np.ascontiguousarray(good.high), 2)
    assert psnr(good.low, clean) > psnr(poor.low, clean) + 3


@pytest.mark.parametrize("name", ["libx264", "mpeg2video"])
def test_frames_are_predicted_from_each_other(name: str) -> None:
    """What a frame looks like depends on the one before it, unless each stands alone."""
    colour = Colorimetry(Matrix.ST170_M, Range.LIMITED, Siting.LEFT)
    first, other, second = (smooth_picture(48, seed)[None] for seed in range(3))
    coarse = {"crf": "40"} if name == "libx264" else {"qmin": "20", "qmax": "20"}

    def last(before: np.ndarray, gop: int) -> np.ndarray:
        near = (0.9 * before + 0.1 * second).astype(np.uint8)
        planes = to_420(np.concatenate([before, near]), colour)
        return encode_and_decode(name, planes, coarse, gop, 0)[1] - planes[1].astype(float)

    alone = encode_and_decode(name, to_420((0.9 * first + 0.1 * second).astype(np.uint8), colour), coarse, 1, 0)
    assert alone.shape == (1, 72, 48)
    assert not np.array_equal(last(first, 12), last(first, 1))
    assert not np.array_equal(last(first, 12), last(other, 12))


@pytest.mark.parametrize(("name", "b_frames"), [("libx264", 0), ("libx264", 3), ("mpeg2video", 0), ("mpeg2video", 3), ("mjpeg", 0)])
def test_frames_come_back_in_their_order(name: str, b_frames: int) -> None:
    levels = np.arange(20, 220, 25, dtype=np.uint8)
    planes = np.broadcast_to(levels[:, None, None], (len(levels), 48, 32)).copy()
    finest = {"crf": "10"} if name == "libx264" else {"qmin": "2", "qmax": "2"}
    back = encode_and_decode(name, planes, finest, 5, b_frames)
    assert np.abs(back.mean((1, 2)) - levels).max() < 3


@pytest.mark.parametrize("siting", [Siting.LEFT, Siting.CENTER])
@pytest.mark.parametrize("full", [Range.LIMITED, Range.FULL])
@pytest.mark.parametrize("matrix", [Matrix.BT709, Matrix.ST170_M])
def test_planes_are_those_of_the_resizer(matrix: Matrix, full: Range, siting: Siting) -> None:
    """VapourSynth's own conversion, both ways, to one code value."""
    rgb = np.stack(random_planes(vs.RGB24, 32, 24), -1)
    clip = vs.core.std.BlankClip(format=vs.RGB24, width=32, height=24, length=1)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(3):
            np.asarray(frame[plane])[...] = rgb[..., plane]
        return frame

    source = clip.std.ModifyFrame(clip, fill)
    yuv = source.resize.Bicubic(format=vs.YUV420P8, matrix=int(matrix), range=int(full), chromaloc=int(siting), dither_type="none")
    back = yuv.resize.Bicubic(
        format=vs.RGB24, matrix_in=int(matrix), range_in=int(full), chromaloc_in=int(siting), dither_type="none"
    )
    colour = Colorimetry(matrix, full, siting)
    with yuv.get_frame(0) as frame:
        expected = [np.asarray(frame[plane]).copy() for plane in range(3)]
    with back.get_frame(0) as frame:
        picture = np.stack([np.asarray(frame[plane]) for plane in range(3)], -1)
    packed = np.concatenate([plane.ravel() for plane in expected]).reshape(36, 32)
    luma, u, v = np.split(to_420(rgb[None], colour)[0], [24, 30])
    # At the borders the resizer has another rule.
    inside = (slice(2, -2), slice(2, -2))
    for plane, other in zip((luma, u.reshape(12, 16), v.reshape(12, 16)), expected, strict=True):
        assert np.abs(plane.astype(int) - other)[inside].max() <= 1
    further = (slice(4, -4), slice(4, -4))
    assert np.abs(to_rgb(packed, colour).astype(int) - picture)[further].max() <= 1


def test_earlier_resizes_change_the_picture() -> None:
    still = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    plain, resized = (
        degrade(still, 2, options(resize_prob=p, resize_range=[0.7, 0.7]), np.random.default_rng(1)) for p in (0.0, 1.0)
    )
    assert resized.low.std() < 0.9 * plain.low.std()


def test_a_sample_depends_on_seed_and_number_alone(shard: Path) -> None:
    tiles = Tiles([shard], scale=2, side=64, memory_bytes=0)

    def pool(seed: int) -> SequencePool:
        return SequencePool(tiles, options(refresh=2), lambda picture, number: picture, seed)

    walked, jumped, other = pool(0), pool(0), pool(1)
    for step in range(5):
        walked.move_to(step)
    jumped.move_to(4)
    other.move_to(4)
    assert list(walked.samples) == list(jumped.samples) == [8, 9, 10]
    for number, sample in walked.samples.items():
        assert all(np.array_equal(a, b) for a, b in zip(sample, jumped.samples[number], strict=True))
        assert not np.array_equal(sample.low, other.samples[number].low)


@pytest.mark.parametrize(("clean", "differing"), [(1.0, 0), (0.0, 8)])
def test_the_share_of_clean_patches(shard: Path, clean: float, differing: int) -> None:
    batch = sampler(shard, degradation=options(quality=POOR, clean_prob=clean)).sample(0)
    assert batch.low.shape == (8, 3, 16, 16)
    reduced = [reduce_bicubic(high.permute(1, 2, 0).contiguous().numpy(), 2)[2:-2, 2:-2].astype(int) for high in batch.high]
    lows = [low.permute(1, 2, 0).numpy()[2:-2, 2:-2] for low in batch.low]
    assert sum(np.abs(a - b).max() > 2 for a, b in zip(lows, reduced, strict=True)) == differing


def with_degradation(tmp_path: Path, shard: Path, **changes: object) -> Path:
    path = config_file(tmp_path, shard, 12)
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    codecs = [{"type": "libx264", "quality": [18, 34]}, {"type": "mjpeg", "quality": [2, 12], "weight": 0.5}]
    tree["datasets"]["train"]["degradation"] = {"codecs": codecs, "frame_size": 32, "frames": 3, "pool_size": 4, **changes}
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="no allocator with MALLOC_PERTURB_")
def test_what_memory_held_before_changes_no_frame() -> None:
    child = """
import hashlib
import numpy as np
from vs_paragonsr2.training.degradations import encode_and_decode
rng, digest = np.random.default_rng(0), hashlib.sha256()
wide = rng.integers(0, 256, (144, 112)).cumsum(1).cumsum(0) // 2048 % 256
for crf in range(18, 38):
    planes = np.stack([wide[:, 2 * i : 2 * i + 96] for i in range(6)]).astype(np.uint8)
    digest.update(encode_and_decode("libx264", planes, {"crf": str(crf), "preset": "medium"}, 12, 3))
print(digest.hexdigest())
"""
    answers = [
        subprocess.run(
            [sys.executable, "-c", child],
            env={**os.environ, "MALLOC_PERTURB_": filling},
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for filling in ("50", "200")
    ]
    assert answers[0] == answers[1] != ""


def test_a_degraded_run_resumes_to_the_same_weights(tmp_path: Path, shard: Path) -> None:
    config = load_config(with_degradation(tmp_path, shard))
    whole, stopped = (Trainer(config, tmp_path / name, CPU) for name in ("whole", "parts"))
    whole.run(lambda progress: None)
    stopped.run(lambda progress: stopped.stop())
    resumed = Trainer(config, tmp_path / "parts", CPU)
    assert resumed.step == 5
    resumed.run(lambda progress: None)
    for name, tensor in whole.network.state_dict().items():
        assert tensor.equal(resumed.network.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"clean_prob": 1.5}, "degradation.clean_prob is 1.5: expected 0 to 1"),
        ({"resize_prob": -1}, "degradation.resize_prob is -1.0: expected 0 to 1"),
        ({"frames": 0}, "degradation.frames is 0: expected 1 or more"),
        ({"frame_size": 30}, "degradation.frame_size is 30: expected a multiple of 4, from 16 up"),
        ({"resize_range": [1.2, 0.8]}, r"degradation.resize_range is \[1.2, 0.8\]: expected two rising numbers from 0.25 to 4"),
        ({"codecs": []}, "degradation.codecs is empty"),
        ({"codecs": [{"type": "vp9", "quality": [1, 2]}]}, r"codecs\[0\].type is 'vp9': expected libx264 or mpeg2video or mjpeg"),
        ({"codecs": [{"type": "mjpeg", "quality": [1, 5]}]}, r"codecs\[0\].quality is \[1.0, 5.0\]: .* from 2 to 31"),
        ({"codecs": [{"type": "libx264"}]}, r"codecs\[0\] lacks the key 'quality'"),
        (
            {"codecs": [{"type": "libx264", "quality": [18, 34], "weight": 0}]},
            r"codecs\[0\].weight is 0.0: expected a number above 0",
        ),
    ],
)
def test_faults_in_a_degradation_are_named(tmp_path: Path, shard: Path, change: dict[str, object], match: str) -> None:
    with pytest.raises(ParagonSR2Error, match=match):
        load_config(with_degradation(tmp_path, shard, **change))


def test_the_shipped_web_model_sees_every_codec() -> None:
    degradation = load_config(ROOT / "models/stream_2x_web.yml").datasets.train.degradation
    assert degradation is not None
    assert {codec.type for codec in degradation.codecs} == set(Codec.NAMES)
