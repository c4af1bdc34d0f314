"""What cannot be used is refused by name, and what is odd is taken as VapourSynth takes it."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from conftest import golden
from route import clip_of, equal, noise, planes_at

from vs_paragonsr2 import upscale
from vs_paragonsr2.clip.frames import samples_of

MODEL = golden("realtime_x2")


@pytest.mark.parametrize("field", [1, 2])
def test_interlaced_frames_are_refused_when_they_come(field: int) -> None:
    pieces = [clip_of(noise(1), vs.YUV420P8, _FieldBased=value) for value in (0, field)]
    result = upscale(vs.core.std.Splice(pieces), MODEL, num_streams=2)
    result.get_frame(0)
    with pytest.raises(vs.Error, match=rf"upscale: frame 1: _FieldBased is {field}.*deinterlace.*allow_interlaced=True"):
        result.get_frame(1)
    assert upscale(pieces[1], MODEL, allow_interlaced=True).get_frame(0).props["_FieldBased"] == field


def refused(match: str, clip: object = None, model: object = MODEL, **arguments: object) -> None:
    if clip is None:
        clip = clip_of(noise(1), vs.YUV420P8)
    with pytest.raises(vs.Error, match=match):
        upscale(clip, model, **arguments)


@pytest.mark.parametrize("name", ["_Matrix", "_ColorSpace", "_Range", "_ChromaLocation", "_FieldBased"])
@pytest.mark.parametrize("value", ["709", b"\xff", [1, 1], 1.5])
def test_properties_of_another_kind_are_named(name: str, value: object) -> None:
    clip = clip_of(noise(1), vs.YUV420P8, **{name: value})
    kind = r"frame 0: _\w+ is .*: expected a whole number"
    if vs.core.std.BlankClip(length=1).std.SetFrameProps(**{name: value}).get_frame(0).props[name] == 1:
        return  # VapourSynth made a whole number of it
    with pytest.raises(vs.Error, match=kind):
        upscale(clip, MODEL).get_frame(0)


def test_refuses_variable_formats_and_sizes() -> None:
    a, b = (vs.core.std.BlankClip(format=f, width=16, height=16) for f in (vs.YUV420P8, vs.RGB24))
    refused("upscale: clip has a variable format", vs.core.std.Splice([a, b], mismatch=True))
    wide = vs.core.std.BlankClip(format=vs.YUV420P8, width=32, height=16)
    refused("upscale: clip has a variable size", vs.core.std.Splice([a, wide], mismatch=True))


def test_refuses_what_is_no_clip() -> None:
    refused("clip is 'video.mkv': expected a video clip", "video.mkv")
    refused("clip is .*AudioNode.*: expected a video clip", vs.core.std.BlankAudio())
    refused("clip's format is Gray32", vs.core.std.BlankClip(format=vs.GRAY32))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"model": "unreal"}, r"model is 'unreal': expected a shipped model \(.*'realtime'.*\) or the path"),
        ({"model": "none.safetensors"}, "model is 'none.safetensors': there is no such file"),
        ({"model": "nul\0.pth"}, "there is no such file"),
        ({"model": "long" * 2000 + ".pth"}, "there is no such file"),
        ({"alpha": 10**400}, "alpha is 1000.*: expected a number"),
        ({"model": 3}, "model is 3: expected a name or the path"),
        ({"model": "realtime", "scale": 5}, "scale is 5: the model 'realtime' has 2"),
        ({"scale": 3}, "scale is 3: the checkpoint's own is 2"),
        ({"scale": 10**6}, "scale is 1000000: the checkpoint's own is 2"),
        ({"scale": 0}, "scale is 0: expected a whole number of 2 or more"),
        ({"scale": "2"}, "scale is '2': expected a whole number"),
        ({"scale": True}, "scale is True: expected a whole number"),
        ({"backend": "fastest"}, "backend is 'fastest': expected one of 'tensorrt', 'torch', 'openvino'"),
        ({"device": "tpu", "backend": "reference"}, "device is 'tpu': backend 'reference' has 'cuda', 'cpu'"),
        ({"device": "tpu", "backend": "openvino"}, "device is 'tpu': backend 'openvino' has 'CPU', 'GPU', 'NPU'"),
        ({"precision": "f8", "backend": "openvino"}, "precision is 'f8': backend 'openvino' has 'f32', 'bf16', 'f16'"),
        ({"precision": "bf16", "backend": "reference"}, "precision is 'bf16': backend 'reference' has 'f32'"),
        ({"precision": 16}, "precision is 16: expected a word"),
        ({"device": ["cpu"]}, r"device is \['cpu'\]: expected a word, or None to choose"),
        ({"backend": ["reference"]}, r"backend is \['reference'\]: expected one of"),
        ({"device": "cuda", "device_index": 99}, "device_index 99, but PyTorch finds"),
        ({"device": "cpu", "device_index": 1}, "device_index is 1: there"),
        ({"device_index": -1}, "device_index is -1: expected a whole number of 0"),
        ({"device_index": []}, r"device_index is \[\]: expected a number from 0, or several"),
        ({"device_index": (1, 1)}, r"device_index is \(1, 1\): expected a number from 0, or several different"),
        ({"backend": "openvino", "device_index": (0, 1)}, "backend 'openvino' takes one"),
        ({"memory_limit": 0}, "memory_limit is 0: expected a whole number of 1"),
        ({"tile_size": -1}, r"tile_size is -1: expected \(width, height\) in pixels, 0 for"),
        ({"tile_size": (1, 2, 3)}, r"tile_size is \(1, 2, 3\): expected \(width, height\)"),
        ({"tile_size": (8, -5)}, r"tile_size is \(8, -5\): expected \(width, height\)"),
        ({"tile_size": "64"}, r"tile_size is '64': expected \(width, height\)"),
        ({"wait": 1}, "wait is 1: expected True or False"),
        ({"repeats": 1}, "repeats is 1: expected True or False"),
        ({"backend": "openvino", "torch_compile": True}, "torch_compile is True: backend 'openvino' has no such option, only "),
        ({"backend": "openvino", "memory_limit": 1}, "memory_limit is 1: backend 'openvino' has no such option"),
        ({"backend": "reference", "tile_size": 64}, "tile_size is 64: backend 'reference' has no such option"),
        ({"device": "cpu", "torch_compile": True}, "no backend can do this .*not 'openvino': torch_compile is True"),
        ({"device": "TPU"}, r"no backend can do this \(none has the device 'TPU'\)"),
        ({"num_steams": 2}, r"num_steams is no argument of upscale\(\) and no option of a backend: those are device, "),
        ({"num_streams": 0}, "num_streams is 0: expected a whole number from 1 to 256"),
        ({"num_streams": 1.5}, "num_streams is 1.5: expected a whole number"),
        ({"output_format": vs.GRAY32, "clip": vs.core.std.BlankClip(format=vs.GRAY8)}, "output_format is Gray32: expected"),
        ({"output_format": vs.RGB24}, "output_format is RGB24: expected one of the clip's own colour family, YUV"),
        ({"output_format": 12345}, "output_format is 12345: expected a format such as vs.YUV420P10"),
        ({"output_format": "YUV420P10"}, "output_format is 'YUV420P10': expected a format"),
        ({"output_format": 10**30}, "output_format is 1000.*: expected a format"),
        ({"matrix": "rec709"}, "matrix is 'rec709': expected one of '709'"),
        ({"color_range": "tv"}, "color_range is 'tv': expected one of 'limited'"),
        ({"chroma_location": 9}, "chroma_location is 9: expected one of 'left'"),
        ({"alpha": -1}, "alpha is -1: expected a number from 0 to 100"),
        ({"alpha": "0"}, "alpha is '0': expected a number from 0"),
        ({"allow_interlaced": "no"}, "allow_interlaced is 'no': expected True or False"),
    ],
)
def test_refuses_nonsense_in_any_argument(arguments: dict[str, object], match: str) -> None:
    refused(f"upscale: .*{match}", **arguments)


def test_refuses_an_output_that_has_no_whole_chroma() -> None:
    clip = vs.core.std.BlankClip(format=vs.YUV444P8, width=15, height=12)
    fmt = vs.core.query_video_format(vs.YUV, vs.INTEGER, 8, 2, 0)
    refused("output_format subsamples chroma by 4x1, which does not divide 30x24", clip, output_format=fmt)


def test_refuses_a_bad_checkpoint_at_script_time(tmp_path: object) -> None:
    path = f"{tmp_path}/bad.safetensors"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"nothing")
    refused("upscale: .*bad.safetensors: truncated", model=path)


@pytest.mark.parametrize("fmt", [vs.YUV420P10, vs.GRAY12, vs.YUV444P9])
@pytest.mark.parametrize("temporal", [0, 2])
def test_samples_above_the_peak_are_the_peak(fmt: int, temporal: int) -> None:
    """As resize.Bicubic takes them."""
    peak = (1 << vs.core.get_video_format(fmt).bits_per_sample) - 1
    above = [plane.astype(np.uint16) for plane in noise(1, fmt)[0]]
    for plane in above:
        plane[2:6, 1:5] = 65535
        plane[5, 6] = peak + 1
    within = [np.minimum(plane, np.uint16(peak)) for plane in above]
    for backend in ("openvino", "reference"):
        results = (
            planes_at(upscale(clip_of([planes] * 2, fmt), MODEL, backend=backend, temporal=temporal), 1)
            for planes in (above, within)
        )
        assert equal(*results)


@pytest.mark.parametrize("fmt", [vs.GRAYS, vs.GRAYH])
def test_floats_have_no_peak(fmt: int) -> None:
    clip = clip_of([[np.full((4, 6), np.inf, np.float32 if fmt == vs.GRAYS else np.float16)]], fmt)
    (plane,) = samples_of(clip.get_frame(0))
    assert np.isposinf(plane).all()


def test_the_longest_clip_has_a_temporal_mode_and_the_shortest() -> None:
    endless = vs.core.std.BlankClip(format=vs.GRAY8, width=16, height=8, length=2**31 - 1, keep=True)
    result = upscale(endless, MODEL, temporal=5)
    assert result.num_frames == 2**31 - 1
    assert result.get_frame(2**31 - 2).width == 32
    for length in (1, 3, 6):
        clip = clip_of(noise(length, vs.GRAY8), vs.GRAY8, _SceneChangePrev=0)
        result = upscale(clip, MODEL, temporal=5)
        assert result.num_frames == length
        assert equal(planes_at(result, length - 1), planes_at(upscale(clip.std.Loop(2), MODEL, temporal=5), length - 1))


def test_more_streams_than_threads_are_as_many_as_threads() -> None:
    clip = clip_of(noise(2), vs.YUV420P8)
    began = time.monotonic()
    assert upscale(clip, MODEL, num_streams=256).get_frame(0).width == 32
    assert time.monotonic() - began < 20
    refused("num_streams is 257: expected a whole number from 1 to 256", num_streams=257)
    refused("num_streams is 1000000000: expected a whole number from 1 to 256", num_streams=10**9)


def test_a_chroma_location_of_minus_one_says_nothing() -> None:
    frames = noise(1)
    unset, left = (planes_at(upscale(clip_of(frames, vs.YUV420P8, **props), MODEL)) for props in ({"_ChromaLocation": -1}, {}))
    assert equal(unset, left)


@pytest.mark.filterwarnings("ignore:The _ColorRange frame property")
@pytest.mark.parametrize("value", ["full", 1.5])
def test_a_property_that_no_frame_can_carry_is_named(value: object) -> None:
    clip = clip_of(noise(1), vs.YUV420P8, _ColorRange=value)
    with pytest.raises(vs.Error, match=r"frame 0: _ColorRange is text, data or a fraction: expected a whole number"):
        upscale(clip, MODEL).get_frame(0)


def test_a_field_order_that_is_none_is_named() -> None:
    with pytest.raises(vs.Error, match=r"frame 0: _FieldBased is -1: expected 0 \(progressive\), or 1 or 2"):
        upscale(clip_of(noise(1), vs.YUV420P8, _FieldBased=-1), MODEL).get_frame(0)


class Broken:
    """A path of another program, which does not work."""

    def __fspath__(self) -> str:
        raise RuntimeError("no path today")


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (np.array([]), "model is array.*: expected a name or the path of a checkpoint"),
        (Broken(), "model is a Broken whose path cannot be had .no path today"),
        ("%s%n%d.pth", "model is '%s%n%d.pth': there is no such file"),
        ("~/nobody has this.pth", "model is '~/nobody has this.pth': there is no such file .*nobody has this.pth"),
        ("a\ud800.pth", r"model is 'a\\ud800.pth': the system's encoding, utf-8, has no such characters"),
    ],
)
def test_models_that_are_none_are_named(model: object, match: str) -> None:
    refused(f"upscale: {match}", model=model)


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    shutil.copy(MODEL, tmp_path / "mine.safetensors")
    assert upscale(clip_of(noise(1), vs.YUV420P8), "~/mine.safetensors").get_frame(0).width == 32


@pytest.mark.parametrize("variable", ["VS_PARAGONSR2_CACHE_MIB", "VS_PARAGONSR2_CACHE_ENTRIES"])
@pytest.mark.parametrize("arguments", [{}, {"backend": "openvino"}, {"model": "auto"}])
def test_a_bad_variable_of_the_environment_is_named(
    variable: str, arguments: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no reason to try another backend."""
    monkeypatch.setenv(variable, "lots")
    refused(f"^upscale: the environment's {variable} is 'lots': expected a whole number", **arguments)


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_link_to_a_checkpoint_has_the_suffix_of_its_own_name(tmp_path: Path) -> None:
    """As Hugging Face's cache has them."""
    (tmp_path / "blobs").mkdir()
    shutil.copy(MODEL, tmp_path / "blobs/abc123")
    (tmp_path / "model.safetensors").symlink_to("blobs/abc123")
    assert upscale(clip_of(noise(1), vs.YUV420P8), tmp_path / "model.safetensors").get_frame(0).width == 32
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    refused("upscale: model is .*loop.pth': there is no such file", model=tmp_path / "loop.pth")
    os.mkfifo(tmp_path / "pipe.pth")
    refused("upscale: model is .*pipe.pth': expected a regular file", model=tmp_path / "pipe.pth")
    (tmp_path / "lies.pth").symlink_to("/proc/self/status")
    refused("upscale: model is .*lies.pth': the file is empty", model=tmp_path / "lies.pth")
