"""Upscalers measured on pictures and on video."""

import json
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import CLIPS, golden, shared
from onnx import helper
from PIL import Image
from torch import Tensor

from vs_paragonsr2 import ParagonSR2Error, load_network
from vs_paragonsr2.evaluation.crops import detailed_place, side_by_side
from vs_paragonsr2.evaluation.figures import MOST_PSNR, Measured, SetFigures, compare_luma, compare_pictures, ssimulacra2
from vs_paragonsr2.evaluation.metrics import Picture, psnr_luma
from vs_paragonsr2.evaluation.pairs import read_pictures
from vs_paragonsr2.evaluation.pictures import measure_pictures
from vs_paragonsr2.evaluation.report import rows
from vs_paragonsr2.evaluation.upscalers import open_upscalers, upscale_picture
from vs_paragonsr2.evaluation.video import Frame, Scene, encoded, measure_scene, read_encoded, read_scene, still_scene, to_rgb
from vs_paragonsr2.program.colour import Colorimetry, Matrix, Range, Siting

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
BT601 = Colorimetry(Matrix.ST170_M, Range.LIMITED, Siting.LEFT)


class Nearest:
    """Repeats pixels: an upscaler whose result is known."""

    scale, radius, window = 2, 1, None

    def __call__(self, rgb: Tensor) -> Tensor:
        return rgb.repeat_interleave(2, 2).repeat_interleave(2, 3)


def noise(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def flat(luma: int, side: int) -> Frame:
    return [np.full((side, side), luma, np.uint8), *(np.full((side // 2, side // 2), 128, np.uint8) for _ in range(2))]


def scene_of(high: list[Frame], low: list[Frame], colour: Colorimetry = BT601) -> Scene:
    return Scene("made", colour, Fraction(25), lambda: iter(high), lambda: iter(low))


def means(measured: Iterator[Measured], upscaler: str) -> dict[str, float]:
    figures = SetFigures("any", "clip", {upscaler: {item.name: item.figures[upscaler] for item in measured}})
    return figures.as_json()["means"][upscaler]


def test_psnr() -> None:
    grey = np.full((20, 20, 3), 100, np.uint8)
    brighter = grey + np.uint8(1)
    # A step of one in R, G and B is 219/255 in limited-range luma.
    assert psnr_luma(grey, brighter, 2) == pytest.approx(20 * np.log10(255 / (219 / 255)), abs=1e-6)
    assert psnr_luma(grey, grey, 0) == float("inf")
    edge = grey.copy()
    edge[:2] = 0
    assert psnr_luma(grey, edge, 2) == float("inf")
    with pytest.raises(ValueError, match="equal shapes"):
        psnr_luma(grey, grey[:10], 2)
    with pytest.raises(ValueError, match="crop is 10"):
        psnr_luma(grey, grey, 10)


def test_ssim_is_that_of_its_authors() -> None:
    """On 11x11 samples the window lies inside at one place, where the definition can be written down."""
    a, b = (noise(11, 11, seed)[..., 0].astype(np.float64) for seed in (0, 1))
    b = 0.7 * a + 0.3 * b
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
    covariance = (window * a * b).sum() - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    assert compare_luma(a, b)["ssim"] == pytest.approx(expected, abs=1e-5)


def test_the_perceptual_figure_falls_with_blur_and_with_false_edges() -> None:
    original = clip_picture()
    picture = Image.fromarray(original)

    def reduced(factor: int, kernel: Image.Resampling) -> Picture:
        small = picture.resize((picture.width // factor, picture.height // factor), Image.Resampling.BICUBIC)
        return np.asarray(small.resize(picture.size, kernel))

    blur, blocks = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
    scores = [
        ssimulacra2(x, original) for x in (original, reduced(2, blur), reduced(4, blur), reduced(8, blur), reduced(8, blocks))
    ]
    assert 99 < scores[0] <= 100
    assert all(better > worse + 10 for better, worse in pairwise(scores))


def clip_picture(side: int = 192) -> Picture:
    """The most detailed part of the committed clip's first frame."""
    scene = read_scene(CLIPS / "flower_960x540.mp4", 2, 1)
    picture = to_rgb(next(scene.high()), scene.colour)
    return picture[detailed_place(picture, side, side)]


def test_pictures_keep_their_borders() -> None:
    """A flat picture comes out flat, the outermost pixels too."""
    grey = np.full((16, 12, 3), 90, np.uint8)
    result = upscale_picture(load_network(golden("realtime_x2")), grey, CPU)
    assert result.shape == (32, 24, 3)
    assert np.array_equal(result, np.tile(result[:2, :2], (16, 12, 1)))


def test_the_base_path_is_measured_alone_with_the_blend_of_each_model() -> None:
    upscalers = open_upscalers([str(golden("realtime_x2")), str(golden("realtime_x2_alpha0"))], 2, CPU)
    assert list(upscalers) == ["bicubic", "lanczos", "magic kernel", "magic kernel, alpha 0.3", "realtime_x2", "realtime_x2_alpha0"]
    x = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    for name, model in (("magic kernel", "realtime_x2_alpha0"), ("magic kernel, alpha 0.3", "realtime_x2")):
        assert torch.equal(upscalers[name](x), load_network(golden(model)).base(x))


@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16])
def test_an_onnx_network_is_run_in_its_own_precision(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(repeating_onnx(kind).SerializeToString())
    upscalers = open_upscalers([str(path)], 2, CPU)
    low = noise(20, 28)
    assert np.array_equal(upscale_picture(upscalers["other"], low, CPU), low.repeat(2, 0).repeat(2, 1))
    with pytest.raises(ParagonSR2Error, match="other.onnx: makes .* expected 4 times"):
        open_upscalers([str(path)], 4, CPU)
    path.write_bytes(b"nothing")
    with pytest.raises(ParagonSR2Error, match="other.onnx: expected an ONNX network"):
        open_upscalers([str(path)], 2, CPU)


def repeating_onnx(kind: int) -> onnx.ModelProto:
    """A network that repeats pixels."""
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    graph = helper.make_graph(
        [helper.make_node("Resize", ["rgb", "", "factors"], ["out"], **nearest)],
        "repeat",
        [helper.make_tensor_value_info("rgb", kind, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("out", kind, None)],
        [helper.make_tensor("factors", onnx.TensorProto.FLOAT, [4], [1, 1, 2, 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_models_that_cannot_be_told_apart_or_have_another_scale_are_refused() -> None:
    with pytest.raises(ParagonSR2Error, match="another one is called 'realtime'"):
        open_upscalers(["realtime", "realtime"], 2, CPU)
    with pytest.raises(ParagonSR2Error, match="scale is 2: .*realtime_x4.safetensors has 4"):
        open_upscalers([str(golden("realtime_x4"))], 2, CPU)


def test_half_precision_is_asked_of_networks() -> None:
    low = noise(24, 24)
    pictures = [upscale_picture(open_upscalers(["realtime"], 2, CPU, half=half)["realtime"], low, CPU) for half in (False, True)]
    difference = np.abs(pictures[0].astype(int) - pictures[1]).max()
    assert 1 <= difference <= 3


def test_originals_are_reduced_and_pairs_are_taken(tmp_path: Path) -> None:
    Image.fromarray(noise(33, 41)).save(tmp_path / "one.png")
    (pair,) = read_pictures(tmp_path, 4)
    assert (pair.name, pair.high.shape, pair.low.shape) == ("one", (32, 40, 3), (8, 10, 3))
    assert np.array_equal(pair.low, np.asarray(Image.fromarray(pair.high).resize((10, 8), Image.Resampling.BICUBIC)))
    Image.fromarray(pair.high).save(tmp_path / "two_hr.png")
    Image.fromarray(pair.low).save(tmp_path / "two_lr.png")
    (pair,) = read_pictures(tmp_path, 4)
    assert (pair.name, pair.low.shape) == ("two", (8, 10, 3))
    with pytest.raises(ParagonSR2Error, match="scale is 2: the pictures of .*two have 10x8 and 40x32"):
        list(read_pictures(tmp_path, 2))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParagonSR2Error, match="no picture is there"):
        list(read_pictures(tmp_path / "empty", 2))


def test_pictures_are_measured_by_every_upscaler(tmp_path: Path) -> None:
    picture = clip_picture(64)
    Image.fromarray(picture).save(tmp_path / "one.png")
    upscalers = open_upscalers([], 2, CPU)
    (measured,) = measure_pictures(read_pictures(tmp_path, 2), upscalers, 2, CPU)
    assert measured.figures.keys() == measured.pictures.keys() == upscalers.keys()
    small = Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC)
    bicubic = np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC))
    assert measured.figures["bicubic"] == compare_pictures(bicubic, picture, 2)


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


def test_crops_show_the_most_detailed_place_by_every_upscaler() -> None:
    picture = np.full((200, 300, 3), 128, np.uint8)
    picture[120:160, 60:110] = noise(40, 50)
    place = detailed_place(picture, 40, 50)
    assert abs(place[0].start - 120) <= 5 and abs(place[1].start - 60) <= 5
    names = ["a", "b", "c", "d"]
    measured = Measured("x", dict.fromkeys(names, picture), picture, {name: {"psnr": 30.0} for name in names})
    assert side_by_side(measured, height=40, width=50).size == (300, 2 * (80 + 26))
    assert side_by_side(measured, ["a", "b"], height=40, width=50).size == (300, 80 + 26)


def test_tables_have_means_and_the_mean_of_what_was_encoded() -> None:
    def one(name: str, kilobits: float | None, psnr: float) -> SetFigures:
        return SetFigures(name, "clip", {"bicubic": {"0": {"psnr": psnr}, "1": {"psnr": psnr + 1, "flicker": 1.0}}}, kilobits)

    sets = [one("clean", None, 40), one("low", 100.4, 30), one("high", 200, 33)]
    assert list(rows(sets, "psnr")) == [
        ["clean", "40.50"],
        ["low (100 kbit/s)", "30.50"],
        ["high (200 kbit/s)", "33.50"],
        ["encoded clips", "32.00"],
    ]
    assert next(rows(sets, "flicker")) == ["clean", "1.000"]
    assert list(rows(sets, "ssim")) == []


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/evaluate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_writes_all_that_a_card_needs(tmp_path: Path) -> None:
    for folder in ("data", "frames"):
        (tmp_path / folder).mkdir()
        for number in range(1 if folder == "data" else 3):
            Image.fromarray(clip_picture(96 + number)[number:, :96]).save(tmp_path / folder / f"flower_{number}.png")
    out = tmp_path / "out"
    pictures = ["--data", tmp_path / "data", "--card-picture", "flower_0"]
    video = ["--video", tmp_path / "frames", "--rates", "30", "--frames", "2", "--still-frames", "2"]
    done = evaluate("--models", "realtime", "--half", *pictures, *video, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "SSIMULACRA 2" in done.stdout
    figures = json.loads((out / "figures.json").read_text())
    assert (figures["scale"], figures["half"]) == (2, True)
    names = [one["name"] for one in figures["sets"]]
    assert names == ["data", "frames", "frames, CRF 30", "frames, still", "frames, still, CRF 30"]
    assert figures["sets"][1]["means"]["realtime"].keys() == {"psnr", "ssim", "ssimulacra2", "flicker"}
    assert "| data | " in (out / "figures.md").read_text()
    for name in ("card.png", "gains.png", "curves_frames.png", "crops/data/flower_0.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100
    failed = evaluate("--data", tmp_path / "data", "--card-picture", "rose", "--out", out)
    assert failed.returncode == 1
    assert "--card-picture is 'rose'" in failed.stderr


def test_the_shipped_realtime_model_is_as_good_as_its_card_says(tmp_path: Path) -> None:
    """Needs shared/data/test. Bicubic on Set5 is 33.67 dB in the literature, or the measurement is wrong."""
    folders = [shared(f"data/test/{name}/x2") for name in ("Set5", "Set14")]
    done = evaluate("--data", *folders, "--models", "realtime", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    set5, set14 = (one["means"] for one in json.loads((tmp_path / "figures.json").read_text())["sets"])
    assert round(set5["bicubic"]["psnr"], 2) == 33.67
    assert set5["realtime"]["psnr"] >= 36.7
    assert set14["realtime"]["psnr"] >= 32.4
    assert len(list((tmp_path / "crops").rglob("*.png"))) == 5 + 14
