"""Upscalers measured on video: clips, still scenes, rates."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLIPS
from PIL import Image
from torch import Tensor

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.evaluation.figures import MOST_PSNR, Measured, SetFigures
from vs_paragonsr2.evaluation.upscalers import open_upscalers
from vs_paragonsr2.evaluation.video import Frame, Scene, encoded, measure_scene, read_encoded, read_scene, still_scene
from vs_paragonsr2.program.colour import Colorimetry, Matrix, Range, Siting

CPU = torch.device("cpu")
BT601 = Colorimetry(Matrix.ST170_M, Range.LIMITED, Siting.LEFT)


class Nearest:
    """Repeats pixels: an upscaler whose result is known."""

    scale, radius, window = 2, 1, None

    def __call__(self, rgb: Tensor) -> Tensor:
        return rgb.repeat_interleave(2, 2).repeat_interleave(2, 3)


def flat(luma: int, side: int) -> Frame:
    return [np.full((side, side), luma, np.uint8), *(np.full((side // 2, side // 2), 128, np.uint8) for _ in range(2))]


def scene_of(high: list[Frame], low: list[Frame], colour: Colorimetry = BT601) -> Scene:
    return Scene("made", colour, Fraction(25), lambda: iter(high), lambda: iter(low))


def means(measured: Iterator[Measured], upscaler: str) -> dict[str, float]:
    figures = SetFigures("any", "clip", {upscaler: {item.name: item.figures[upscaler] for item in measured}})
    return figures.as_json()["means"][upscaler]


@pytest.mark.parametrize("range_", Range)
@pytest.mark.parametrize("matrix", [Matrix.BT709, Matrix.ST170_M])
def test_luma_of_video_is_compared_as_it_is(matrix: Matrix, range_: Range) -> None:
    """Neither matrix nor range, nor colours that RGB does not have, lie between the planes and their figures."""
    rng = np.random.default_rng(0)
    low = [rng.integers(1, 255, shape, np.uint8) for shape in ((24, 32), (12, 16), (12, 16))]
    low[1][:], low[2][:] = 60, 200
    high = [plane.repeat(2, 0).repeat(2, 1) for plane in low]
    scene = scene_of([high], [low], Colorimetry(matrix, range_, Siting.LEFT))
    (measured,) = measure_scene(scene, scene.low(), {"nearest": Nearest()}, 2, CPU)
    assert measured.figures["nearest"]["psnr"] == MOST_PSNR
    assert measured.figures["nearest"]["ssim"] == pytest.approx(1)


def test_flicker_is_the_change_of_the_error() -> None:
    lows = [flat(luma, 24) for luma in (100, 103, 100, 103)]
    upscalers = {"nearest": Nearest()}
    still = scene_of([flat(100, 48)] * 4, lows)
    assert means(measure_scene(still, still.low(), upscalers, 2, CPU), "nearest")["flicker"] == pytest.approx(3)
    moving = scene_of([flat(luma, 48) for luma in (110, 113, 110, 113)], lows)
    assert means(measure_scene(moving, moving.low(), upscalers, 2, CPU), "nearest")["flicker"] == 0
    first = next(measure_scene(still, still.low(), upscalers, 2, CPU))
    assert "flicker" not in first.figures["nearest"]


def test_a_still_scene_has_noise_and_an_original_without() -> None:
    scene = still_scene(scene_of([flat(100, 48), flat(200, 48)], [flat(100, 24), flat(200, 24)]), 3)
    highs, lows = list(scene.high()), list(scene.low())
    assert len(highs) == len(lows) == 3
    assert all(np.array_equal(frame[0], flat(100, 48)[0]) for frame in highs)
    spread = np.std([frame[0] for frame in lows])
    assert 1.7 < spread < 2.3
    assert not np.array_equal(lows[0][0], lows[1][0])


def test_rates_cost_quality_and_save_bits() -> None:
    scene = read_scene(CLIPS / "flower_960x540.mp4", 2, 3)
    upscalers = {"bicubic": open_upscalers([], 2, CPU)["bicubic"]}
    psnr, rate = [means(measure_scene(scene, scene.low(), upscalers, 2, CPU), "bicubic")["psnr"]], [float("inf")]
    for crf in (20, 35):
        path, kilobits = encoded(scene, crf)
        frames = list(read_encoded(path))
        path.unlink()
        assert [plane.shape for plane in frames[0]] == [(270, 480), (135, 240), (135, 240)]
        psnr.append(means(measure_scene(scene, iter(frames), upscalers, 2, CPU), "bicubic")["psnr"])
        rate.append(kilobits)
    assert psnr[0] > psnr[1] > psnr[2]
    assert rate[1] > 2 * rate[2] > 0


def test_clips_say_what_they_are_and_are_cropped_to_whole_pixels() -> None:
    scene = read_scene(CLIPS / "city_720x405.mpg", 4, 2)
    assert scene.colour.matrix == Matrix.ST170_M
    frames = list(zip(scene.high(), scene.low(), strict=True))
    assert len(frames) == 2
    assert [plane.shape for plane in frames[0][0]] == [(400, 720), (200, 360), (200, 360)]
    assert [plane.shape for plane in frames[0][1]] == [(100, 180), (50, 90), (50, 90)]
    with pytest.raises(ParagonSR2Error, match="README.md: no clip that can be decoded"):
        read_scene(CLIPS / "README.md", 2, 1)


def test_a_folder_of_frames_is_a_clip(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((34, 50, 3), 30 * number, np.uint8)).save(tmp_path / f"{number}.png")
    scene = read_scene(tmp_path, 2, 2)
    assert [frame[0].shape for frame in scene.high()] == [(32, 48)] * 2
    assert [int(frame[0][0, 0]) for frame in scene.low()] == [16, round(16 + 30 * 219 / 255)]
    for number in (9, 10):  # whatever the number of digits
        Image.fromarray(np.full((34, 50, 3), 10 * number, np.uint8)).save(tmp_path / f"{number}.png")
    lumas = [int(frame[0][0, 0]) for frame in read_scene(tmp_path, 2, 5).high()]
    assert lumas == sorted(lumas) and len(set(lumas)) == 5
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParagonSR2Error, match="no .png is there"):
        next(read_scene(tmp_path / "empty", 2, 2).high())
