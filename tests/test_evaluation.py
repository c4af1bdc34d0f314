"""Upscalers measured on pictures, and the command that does it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import golden, shared
from onnx import helper
from pictures import clip_picture, noise
from PIL import Image

from vs_paragonsr2 import ParagonSR2Error, load_network
from vs_paragonsr2.cli import main
from vs_paragonsr2.evaluation.figures import compare_pictures
from vs_paragonsr2.evaluation.pairs import read_pictures
from vs_paragonsr2.evaluation.pictures import measure_pictures
from vs_paragonsr2.evaluation.upscalers import open_upscalers, upscale_picture

CPU = torch.device("cpu")


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


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vs_paragonsr2.cli", "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def test_the_command_writes_all_that_a_card_needs(tmp_path: Path) -> None:
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
    figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    assert (figures["scale"], figures["half"]) == (2, True)
    names = [one["name"] for one in figures["sets"]]
    assert names == ["data", "frames", "frames, CRF 30", "frames, still", "frames, still, CRF 30"]
    assert figures["sets"][1]["means"]["realtime"].keys() == {"psnr", "ssim", "ssimulacra2", "flicker"}
    assert "| data | " in (out / "figures.md").read_text(encoding="utf-8")
    for name in ("card.png", "gains.png", "curves_frames.png", "crops/data/flower_0.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100
    failed = evaluate("--data", tmp_path / "data", "--card-picture", "rose", "--out", out)
    assert failed.returncode == 1
    assert "--card-picture is 'rose'" in failed.stderr and "Traceback" not in failed.stderr
    assert not (out / "card.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure on: give --data, --video, or both"),
        (["--data", "a", "--frames", "0"], "--frames is 0: expected a whole number of 1 or more"),
        (["--data", "a", "--still-frames", "-1"], "--still-frames is -1: expected a whole number of 0 or more"),
        (["--data", "a", "--card-picture", "b"], "--card-picture is 'b': it needs --out"),
        (["--data", "nowhere", "--device", "tpu"], "device is 'tpu': PyTorch has 'cpu' and 'cuda' here"),
        (["--data", "nowhere"], "nowhere: no picture is there"),
    ],
)
def test_the_command_refuses(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as said:
        main(["evaluate", *arguments])
    assert str(said.value).startswith("vs-paragonsr2: ") and message in str(said.value)
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_realtime_model_is_as_good_as_its_card_says(tmp_path: Path) -> None:
    """Needs shared/data/test. Bicubic on Set5 is 33.67 dB in the literature, or the measurement is wrong."""
    folders = [shared(f"data/test/{name}/x2") for name in ("Set5", "Set14")]
    done = evaluate("--data", *folders, "--models", "realtime", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    set5, set14 = (one["means"] for one in json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["sets"])
    assert round(set5["bicubic"]["psnr"], 2) == 33.67
    assert set5["realtime"]["psnr"] >= 36.7
    assert set14["realtime"]["psnr"] >= 32.4
    assert len(list((tmp_path / "crops").rglob("*.png"))) == 5 + 14
