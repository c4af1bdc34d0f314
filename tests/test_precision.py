"""What fewer digits than float32's do to OpenVINO's pictures, and what happens where they do not hold a model's numbers."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
import vapoursynth as vs
from conftest import CLIPS, golden, shared
from numpy.typing import NDArray
from plain import make_spec
from route import Planes, clip_of, equal, noise, planes_at
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import vs_paragonsr2.backends.openvino.session as openvino_session
from vs_paragonsr2 import shipped_models, upscale
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.log import log_once
from vs_paragonsr2.evaluation.metrics import psnr_luma
from vs_paragonsr2.evaluation.pairs import read_pairs
from vs_paragonsr2.network import ParagonSR2
from vs_paragonsr2.training.trainer import save_checkpoint

MODEL = golden("realtime_x2")
SHIPPED = [path for (_, scale), path in shipped_models().items() if scale == 2]

with_bf16 = pytest.mark.skipif(
    "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"), reason="the processor does not compute in bf16"
)


def real_frame(fmt: int) -> vs.VideoNode:
    """A detail of a real clip with edges, foliage and a face of flat colour."""
    clip = vs.core.bs.VideoSource(str(CLIPS / "flower_960x540.mp4"), showprogress=False).std.SetFrameProps(_Matrix=1)
    return clip.std.Crop(left=320, right=320, top=140, bottom=140)[5].resize.Bicubic(format=fmt)


def by_openvino(clip: vs.VideoNode, model: Path, precision: str | None, n: int = 0) -> Planes:
    return planes_at(upscale(clip, model, backend="openvino", precision=precision), n)


def off(a: Planes, b: Planes) -> NDArray[np.int64]:
    """How many codes all samples of two frames are apart."""
    return np.concatenate([np.abs(x.astype(np.int64) - y.astype(np.int64)).ravel() for x, y in zip(a, b, strict=True)])


@with_bf16
@pytest.mark.parametrize("model", SHIPPED, ids=lambda path: path.stem)
def test_bf16_is_within_a_code_at_8_bits(model: Path) -> None:
    exact, coarse = (by_openvino(real_frame(vs.YUV420P8), model, precision) for precision in ("f32", "bf16"))
    error = off(coarse, exact)
    assert (error <= 1).mean() >= 0.99
    assert 0 < error.max() <= 3  # it is another arithmetic, and yet the same picture


@with_bf16
@pytest.mark.parametrize("model", SHIPPED, ids=lambda path: path.stem)
def test_bf16_keeps_the_quality_on_set5(model: Path) -> None:
    """Needs shared/data/test/Set5. One session for all pictures: on a canvas, their edges repeated."""
    pairs = list(read_pairs(shared("data/test/Set5/x2"), 2))
    side = max(max(pair.low.shape) for pair in pairs)
    canvases = []
    for pair in pairs:
        height, width = pair.low.shape[:2]
        canvas = np.pad(pair.low, ((0, side - height), (0, side - width), (0, 0)), mode="edge")
        canvases.append([np.ascontiguousarray(canvas[..., plane]) for plane in range(3)])
    clip = clip_of(canvases, vs.RGB24)
    found = {}
    for precision in ("f32", "bf16"):
        pictures = [np.stack(by_openvino(clip, model, precision, n), -1) for n in range(len(pairs))]
        sizes = [pair.high.shape[:2] for pair in pairs]
        cut = [picture[:height, :width] for picture, (height, width) in zip(pictures, sizes, strict=True)]
        found[precision] = np.mean([psnr_luma(picture, pair.high, 2) for picture, pair in zip(cut, pairs, strict=True)])
    assert len(pairs) == 5
    assert found["f32"] > 36
    assert abs(found["bf16"] - found["f32"]) <= 0.02


@pytest.mark.parametrize(("gains", "expected"), [(False, "f32"), (True, "bf16")])
def test_the_default_at_8_bits_is_what_the_processor_gains_by(
    gains: bool, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openvino_session, "gains_by_bf16", lambda root: gains)
    target = make_spec(2, (8, 8)).target
    assert openvino_session.default_precision("CPU", target, find_model(MODEL, 2)) == expected
    # Where attention sums over many pixels, too many samples are off by more than a code.
    for name in ("photo.safetensors", "photo.pth"):
        photo = ParagonSR2("photo", 2)
        torch.save(photo.state_dict(), tmp_path / name) if name.endswith("pth") else save_checkpoint(photo, tmp_path / name)
        assert openvino_session.default_precision("CPU", target, find_model(tmp_path / name, 2)) == "f32"


@pytest.mark.parametrize(("fmt", "output_format"), [(vs.YUV420P10, None), (vs.YUV420P8, vs.YUV420P10), (vs.GRAYS, None)])
def test_above_8_bits_float32_is_the_default(fmt: int, output_format: int | None) -> None:
    """Bands of colour are worse than waiting."""
    clip = real_frame(fmt)
    chosen, exact = (
        upscale(clip, MODEL, backend="openvino", precision=precision, output_format=output_format) for precision in (None, "f32")
    )
    assert equal(planes_at(chosen), planes_at(exact))


@pytest.mark.parametrize(("device", "at_8_bits", "above"), [("GPU.1", "f16", "f32"), ("NPU", "f16", "f16")])
def test_the_defaults_of_devices_that_are_not_here(device: str, at_8_bits: str, above: str) -> None:
    for bits, expected in ((8, at_8_bits), (10, above), (16, above)):
        target = make_spec(2, (8, 8), bits=bits).target
        assert openvino_session.default_precision(device, target, find_model(MODEL, 2)) == expected


@with_bf16
def test_bf16_is_too_coarse_above_8_bits() -> None:
    """Why float32 is the default there: once bf16 is within a code at 10 bits, it need not be."""
    clip = real_frame(vs.YUV420P10)
    assert (off(by_openvino(clip, MODEL, "bf16"), by_openvino(clip, MODEL, "f32")) <= 1).mean() < 0.99


@pytest.fixture
def overflowing(tmp_path: Path) -> Path:
    """A checkpoint whose products are past float32 too, and so past whatever OpenVINO computes f16 in on this processor."""
    tensors = load_file(MODEL)
    for key in ("conv_in.weight", "body.0.blocks.0.conv1.weight"):
        tensors[key] = tensors[key] * np.float32(1e25)
    with safe_open(MODEL, "numpy") as file:
        save_file(tensors, tmp_path / "overflowing.safetensors", file.metadata())
    return tmp_path / "overflowing.safetensors"


@pytest.mark.parametrize("fmt", [vs.YUV420P8, vs.RGBS])
def test_f16_that_overflows_is_replaced_by_f32_and_said_once(overflowing: Path, fmt: int) -> None:
    clip = clip_of(noise(4), vs.YUV420P8).std.SetFrameProps(_Matrix=1).resize.Bicubic(format=fmt)
    log_once.cache_clear()
    logged: list[str] = []
    handle = vs.core.add_log_handler(lambda kind, message: logged.append(message))
    try:
        upscaled = upscale(clip, overflowing, backend="openvino", precision="f16")
        found = [planes_at(upscaled, n) for n in range(4)]
    finally:
        vs.core.remove_log_handler(handle)
    said = [message for message in logged if "half precision does not hold this model's numbers: float32" in message]
    assert len(said) == 1
    exact = upscale(clip, overflowing, backend="openvino", precision="f32")
    for n in (0, 3):
        assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(found[n], planes_at(exact, n), strict=True))


def test_f16_that_holds_the_numbers_stays() -> None:
    log_once.cache_clear()
    logged: list[str] = []
    handle = vs.core.add_log_handler(lambda kind, message: logged.append(message))
    try:
        upscaled = upscale(real_frame(vs.YUV420PH) * 3, MODEL, backend="openvino", precision="f16")
        found = [planes_at(upscaled, n) for n in range(3)]
    finally:
        vs.core.remove_log_handler(handle)
    assert not any("half precision" in message for message in logged)
    assert all(np.isfinite(plane.astype(np.float32)).all() for planes in found for plane in planes)
