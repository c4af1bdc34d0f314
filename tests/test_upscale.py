"""upscale as scripts see it: properties, timing, refusals, lanes."""

import gc
import random
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import vapoursynth as vs
from conftest import golden, random_planes
from route import Planes, clip_of, planes_at

from vs_paragonsr2 import upscale
from vs_paragonsr2.clip.upscaler import log_once

MODEL = golden("realtime_x2")


def noise(length: int = 1, fmt: int = vs.YUV420P8, width: int = 16, height: int = 12) -> list[Planes]:
    return [random_planes(fmt, width, height, seed) for seed in range(length)]


def equal(a: Planes, b: Planes) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_format_size_length_and_rate_are_kept() -> None:
    clip = clip_of(noise(7), vs.YUV420P8).std.AssumeFPS(fpsnum=30000, fpsden=1001)
    result = upscale(clip, MODEL, scale=2, num_streams=3)
    assert result.format.id == vs.YUV420P8
    assert (result.width, result.height) == (32, 24)
    assert result.num_frames == 7
    assert result.fps == Fraction(30000, 1001)


def test_every_property_comes_out_on_its_own_frame() -> None:
    clip = clip_of(noise(9), vs.YUV420P8, _Matrix=1, _Primaries=9, _Transfer=16, _FieldBased=0, _PictType="B")

    def tag(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        out.props.update(number=n, data=bytes([0, 255, n]), ratio=n / 3, many=[n, n + 1], none_yet="", _AbsoluteTime=n / 25)
        return out

    tagged = clip.std.ModifyFrame(clip, tag)
    result = upscale(tagged, MODEL, num_streams=2)
    for n in (5, 0, 8, 3):
        before, after = dict(tagged.get_frame(n).props), dict(result.get_frame(n).props)
        assert after == before
        assert after["number"] == n


def test_variable_frame_rate_is_kept() -> None:
    clip = clip_of(noise(5), vs.YUV420P8)
    clip = clip.std.AssumeFPS(fpsnum=25)
    durations = [Fraction(1, 24), Fraction(1, 30), Fraction(5, 60), Fraction(1, 24), Fraction(1, 60)]

    def stretch(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        out.props.update(_DurationNum=durations[n].numerator, _DurationDen=durations[n].denominator)
        return out

    blank = vs.core.std.BlankClip(clip, fpsnum=0, fpsden=1)
    variable = blank.std.ModifyFrame(clip, stretch)
    result = upscale(variable, MODEL, num_streams=2)
    assert result.fps == 0
    got = [Fraction(f.props["_DurationNum"], f.props["_DurationDen"]) for f in result.frames()]
    assert got == durations


def test_colour_may_change_in_mid_clip() -> None:
    frames = noise(4)
    pieces = [
        clip_of([frame], vs.YUV420P8, _Matrix=matrix, _Range=color_range)
        for frame, matrix, color_range in zip(frames, (1, 6, 9, 1), (0, 0, 1, 0), strict=True)
    ]
    together = upscale(vs.core.std.Splice(pieces), MODEL)
    for n in (3, 1, 0, 2):
        assert equal(planes_at(together, n), planes_at(upscale(pieces[n], MODEL)))


def test_results_depend_neither_on_lanes_nor_on_order() -> None:
    frames = noise(12)
    clip = clip_of(frames, vs.YUV420P8)
    expected = [planes_at(upscale(clip, MODEL, num_streams=1), n) for n in range(12)]
    for streams in (1, 2, 3, 5, 64):
        result = upscale(clip, MODEL, num_streams=streams)
        order = list(range(12)) * 2
        random.Random(streams).shuffle(order)
        for n in order:
            assert equal(planes_at(result, n), expected[n])


def test_requests_from_many_threads_and_clips_at_once() -> None:
    frames = noise(8)
    clips = [clip_of(frames, vs.YUV420P8), clip_of(frames[::-1], vs.YUV420P8)]
    results = [upscale(clip, MODEL, num_streams=2) for clip in clips]
    expected = [planes_at(upscale(clips[0], MODEL, num_streams=1), n) for n in range(8)]

    def ask(task: tuple[int, int]) -> bool:
        which, n = task
        return equal(planes_at(results[which], n), expected[n if which == 0 else 7 - n])

    tasks = [(which, n) for which in (0, 1) for n in range(8)] * 4
    random.Random(0).shuffle(tasks)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, tasks))


def test_a_thousand_seeks() -> None:
    frames = noise(50, vs.GRAY8, 8, 8)
    result = upscale(clip_of(frames, vs.GRAY8), MODEL, num_streams=2)
    rng = random.Random(1)
    first: dict[int, Planes] = {}
    for _ in range(1000):
        n = rng.randrange(50)
        planes = planes_at(result, n)
        assert equal(planes, first.setdefault(n, planes))


def test_a_clip_as_long_as_a_player_has_it() -> None:
    """mpv does not know the length and says INT_MAX / 16."""
    clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=16, height=16, length=(2**31 - 1) // 16, keep=True)
    result = upscale(clip, MODEL, num_streams=2)
    assert result.num_frames == clip.num_frames
    assert result.get_frame(100_000_001).width == 32


def test_closing_a_script_frees_its_clips() -> None:
    class Witness:
        pass

    def clip_with(witness: Witness) -> vs.VideoNode:
        blank = vs.core.std.BlankClip(format=vs.GRAY8, width=8, height=8, length=4)

        def look(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
            assert witness is not None
            return f

        return blank.std.ModifyFrame(blank, look)

    witness = Witness()
    gone = weakref.ref(witness)
    result = upscale(clip_with(witness), MODEL, num_streams=2)
    result.get_frame(3)
    del witness, result
    gc.collect()
    assert gone() is None


def test_no_frame_is_asked_for_at_script_time() -> None:
    blank = vs.core.std.BlankClip(format=vs.YUV420P8, width=16, height=16, length=4)
    asked: list[int] = []

    def count(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        asked.append(n)
        return f

    upscale(blank.std.ModifyFrame(blank, count), MODEL)
    assert asked == []


def test_input_frames_are_left_as_they_were() -> None:
    clip = clip_of(noise(1), vs.YUV420P8)
    before = planes_at(clip)
    kept = clip.get_frame(0)
    planes_at(upscale(kept_clip := clip, MODEL))
    assert equal([np.asarray(kept[p]) for p in range(3)], before)
    assert equal(planes_at(kept_clip), before)


@pytest.mark.parametrize("field", [1, 2])
def test_interlaced_frames_are_refused_when_they_come(field: int) -> None:
    pieces = [clip_of(noise(1), vs.YUV420P8, _FieldBased=value) for value in (0, field)]
    result = upscale(vs.core.std.Splice(pieces), MODEL, num_streams=2)
    result.get_frame(0)
    with pytest.raises(vs.Error, match=rf"upscale: frame 1: _FieldBased is {field}.*deinterlace.*allow_interlaced=True"):
        result.get_frame(1)
    assert upscale(pieces[1], MODEL, allow_interlaced=True).get_frame(0).props["_FieldBased"] == field


def test_a_fault_names_its_frame() -> None:
    frames = noise(6)
    pieces = [clip_of([f], vs.YUV420P8, _Matrix=14 if n == 4 else 1) for n, f in enumerate(frames)]
    result = upscale(vs.core.std.Splice(pieces), MODEL, num_streams=2)
    with pytest.raises(vs.Error, match="upscale: frame 4: _Matrix is 14, ICtCp"):
        result.get_frame(4)
    result.get_frame(5)  # nothing is lost for the others


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


def test_numbers_of_numpy_are_numbers() -> None:
    clip = clip_of(noise(1), vs.YUV420P8)
    result = upscale(clip, MODEL, scale=np.int64(2), num_streams=np.int32(1), alpha=np.float32(0.25))
    assert equal(planes_at(result), planes_at(upscale(clip, MODEL, alpha=0.25)))


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
        ({"device": "tpu", "backend": "reference"}, "device is 'tpu': backend 'reference' has 'cpu' and 'cuda'"),
        ({"device": "tpu", "backend": "openvino"}, "device is 'tpu': OpenVINO finds .*'CPU'"),
        ({"precision": "f8", "backend": "openvino"}, "precision is 'f8': expected one of 'f32', 'bf16', 'f16'"),
        ({"precision": "bf16", "backend": "reference"}, "precision is 'bf16': the reference backend has 'f32'"),
        ({"precision": 16}, "precision is 16: expected a word"),
        ({"device": ["cpu"]}, r"device is \['cpu'\]: expected a kind of device"),
        ({"backend": ["reference"]}, r"backend is \['reference'\]: expected one of"),
        ({"device": "cuda", "device_index": 99}, "device_index 99, but PyTorch finds"),
        ({"device": "cpu", "device_index": 1}, "device_index is 1: there"),
        ({"device_index": -1}, "device_index is -1: expected a whole number of 0"),
        ({"device_index": []}, r"device_index is \[\]: expected a number from 0, or several"),
        ({"device_index": (1, 1)}, r"device_index is \(1, 1\): expected a number from 0, or several different"),
        ({"backend": "openvino", "device_index": (0, 1)}, "backend 'openvino' takes one; 'torch' and 'tensorrt' take several"),
        ({"memory_limit": 0}, "memory_limit is 0: expected a whole number of 1"),
        ({"tile_size": -1}, r"tile_size is -1: expected \(width, height\) in pixels, 0 for"),
        ({"tile_size": (1, 2, 3)}, r"tile_size is \(1, 2, 3\): expected \(width, height\)"),
        ({"tile_size": (8, -5)}, r"tile_size is \(8, -5\): expected \(width, height\)"),
        ({"tile_size": "64"}, r"tile_size is '64': expected \(width, height\)"),
        ({"wait": 1}, "wait is 1: expected True or False"),
        ({"num_streams": 0}, "num_streams is 0: expected a whole number of 1"),
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


def test_a_guessed_matrix_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    log_once.cache_clear()
    handle = vs.core.add_log_handler(lambda kind, message: logged.append(message))
    try:
        for _ in range(2):
            for _frame in upscale(clip_of(noise(3), vs.YUV420P8), MODEL).frames():
                pass
    finally:
        vs.core.remove_log_handler(handle)
    said = [m for m in logged if "matrix" in m]
    assert len(said) == 1
    assert "16x12 without a colour matrix are taken as ST170_M; matrix= says otherwise" in said[0]


def test_import_is_light_and_silent() -> None:
    code = (
        "import sys, vs_paragonsr2; "
        "heavy = {'torch', 'vapoursynth', 'numpy', 'openvino', 'tensorrt'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
