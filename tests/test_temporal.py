"""Temporal mode: the published recursion as a pure function of a few frames, on every backend, in any order, cut at scenes."""

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import vapoursynth as vs
from conftest import CLIPS, golden, shared
from route import clip_of, equal, noise, planes_at
from test_openvino import RUN
from test_refusals import refused
from test_route import assert_same

from vs_paragonsr2 import load_network, upscale
from vs_paragonsr2.backends.sessions import SESSIONS
from vs_paragonsr2.clip.colorimetry import plane_format
from vs_paragonsr2.clip.temporal import CHUNK, CUT, MOST_FRAMES, averages, begins_scene, difference
from vs_paragonsr2.network import ParagonSR2

MODEL = golden("realtime_x2")
VIDEO = golden("realtime_x2_video")


@cache
def decoded(path: Path) -> vs.VideoNode:
    return vs.core.bs.VideoSource(str(path), cachemode=0, showprogress=False)


def flower(width: int = 48, height: int = 32, length: int = 8) -> vs.VideoNode:
    """A part of the camera clip in which petals move."""
    return decoded(CLIPS / "flower_960x540.mp4").std.CropAbs(width, height, 400, 200)[:length]


def city(width: int = 48, height: int = 32) -> vs.VideoNode:
    return decoded(CLIPS / "city_720x405.mpg").std.CropAbs(width, height, 300, 200)


def fast(clip: vs.VideoNode, temporal: int, **arguments: object) -> vs.VideoNode:
    return upscale(clip, MODEL, backend="openvino", precision="f32", temporal=temporal, **arguments)


def golden_video() -> tuple[torch.Tensor, torch.Tensor]:
    pair = safetensors.torch.load_file(golden("realtime_x2_video.io"))
    return pair["input"], pair["output"]


@pytest.mark.parametrize("numbers", [np.float64, np.float32])
@pytest.mark.parametrize(("frames", "tolerance"), [(4, 1e-4), (5, 1e-5), (7, 1e-5), (MOST_FRAMES, 1e-5)])
def test_the_published_recursion_is_an_average_of_frames(frames: int, tolerance: float, numbers: type[np.floating]) -> None:
    network = load_network(VIDEO).to(torch.float64 if numbers is np.float64 else torch.float32)
    assert isinstance(network, ParagonSR2)
    inputs, outputs = golden_video()
    pictures = inputs.numpy().astype(numbers)
    worst = []
    for n, expected in enumerate(outputs):
        scene = pictures[max(n - frames, 0) : n + 1][::-1]
        state = torch.from_numpy(np.stack(averages([list(picture) for picture in scene], numbers)))[None]
        with torch.inference_mode():
            found = network(torch.from_numpy(pictures[n])[None], state)[0]
        worst.append(float((found - expected).abs().max()))
    assert max(worst) < tolerance
    if frames == 4:
        assert max(worst) > 1e-5  # or K would not matter


@pytest.mark.parametrize("backend", ["reference", "openvino", "torch"])
def test_the_golden_video_through_the_filter(backend: str) -> None:
    """Inside the border that a network which pads with zeros darkens."""
    inputs, outputs = golden_video()
    clip = clip_of([list(picture) for picture in inputs.numpy()], vs.RGBS, _SceneChangePrev=0)
    result = upscale(clip, VIDEO, backend=backend, device="cpu", precision="f32", temporal=5)
    rim = 2 * load_network(VIDEO).radius
    for n in (5, 0, 3, 1, 4, 2):
        off = np.abs(np.stack(planes_at(result, n)) - outputs[n].numpy())
        assert off[:, rim:-rim, rim:-rim].max() < 1e-5


SAMPLES = [("openvino", fmt) for fmt in (vs.YUV420P8, vs.YUV420P16, vs.YUV444PS, vs.RGB24)]
SAMPLES += [("torch", fmt) for fmt in (vs.YUV420P8, vs.YUV422P10, vs.YUV420P16, vs.GRAYH)]


@pytest.mark.parametrize(("backend", "fmt"), SAMPLES)
def test_every_kind_of_sample_equals_the_reference(backend: str, fmt: int) -> None:
    clip = clip_of(noise(4, fmt, 48, 36), fmt, _SceneChangePrev=0)
    by = {"device": "cpu", "precision": "f32"}
    found = planes_at(upscale(clip, MODEL, backend=backend, temporal=3, **by), 3)
    assert_same(found, planes_at(upscale(clip, MODEL, backend="reference", temporal=3, **by), 3), fmt)
    assert not equal(found, planes_at(upscale(clip, MODEL, backend="reference", **by), 3))


# photo_x2 needs shared/golden.
@pytest.mark.parametrize("model", ["stream_x2", "v7_realtime_x2", "photo_x2"])
def test_other_networks(model: str) -> None:
    clip = flower()
    ways = [{"backend": "openvino", "precision": "f32"}, {"backend": "reference"}]
    found, expected = (planes_at(upscale(clip, golden(model), temporal=3, **way), 5) for way in ways)
    assert_same(found, expected, vs.YUV420P8)


def test_results_depend_neither_on_lanes_nor_on_order() -> None:
    clip = flower(length=12)
    expected = [planes_at(fast(clip, 3, num_streams=1), n) for n in range(12)]
    for streams in (1, 2, 5):
        result = fast(clip, 3, num_streams=streams)
        order = list(range(12)) * 2
        random.Random(streams).shuffle(order)
        for n in order:
            assert equal(planes_at(result, n), expected[n])


def test_a_frame_is_made_of_itself_and_the_few_before_it() -> None:
    clip = flower()
    result = fast(clip, 3)
    for n in (0, 2, 3, 7):
        part = fast(clip[max(n - 3, 0) : n + 1], 3)
        assert equal(planes_at(result, n), planes_at(part, part.num_frames - 1))
    assert equal(planes_at(result, 0), planes_at(fast(clip, 0), 0))
    assert not equal(planes_at(result, 7), planes_at(fast(clip[5:], 3), 2))


def test_a_still_picture_stays_as_it_is() -> None:
    clip = clip_of(noise(1) * 6, vs.YUV420P8)
    assert equal(planes_at(fast(clip, 5), 5), planes_at(fast(clip, 0), 5))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("chunk", [CHUNK, 100])
def test_averages_are_those_of_the_formula(dtype: type, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes of more rows than are averaged at once, or whose rows alone are too long; rows that lie apart, as in a frame."""
    monkeypatch.setattr("vs_paragonsr2.clip.temporal.CHUNK", chunk)
    rng = np.random.default_rng(0)
    frames = [(200 * rng.random((300, 400))).astype(dtype)[:, :350] for _ in range(4)]
    state = frames[3].astype(np.float64)
    for frame in frames[2::-1]:
        state = 0.8 * frame.astype(np.float64) + 0.2 * state
    (found,) = averages([[frame] for frame in frames])
    assert found.dtype == np.float32
    assert np.abs(found - state).max() < 1e-4


def tagged(clip: vs.VideoNode, **values: list[object]) -> vs.VideoNode:
    """The clip with the n-th value of each property on frame n, and no property where that is None."""

    def tag(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        out.props.update({name: each[n] for name, each in values.items() if each[n] is not None})
        return out

    return clip.std.ModifyFrame(clip, tag)


def test_a_scene_begins_where_a_filter_says_so() -> None:
    clip = flower()
    result = fast(tagged(clip, _SceneChangePrev=[0, 0, 0, 0, 1, 0, 0, 0]), 5)
    alone = fast(clip[4:], 5)
    for n in range(8):
        expected = planes_at(alone, n - 4) if n >= 4 else planes_at(fast(clip, 5), n)
        assert equal(planes_at(result, n), expected)


def cut() -> vs.VideoNode:
    """From the flower to the street behind frame 3."""
    return flower(length=4) + city()[:4]


def test_a_scene_begins_at_a_real_cut() -> None:
    result, second = fast(cut(), 5), fast(cut()[4:], 5)
    for n in range(4):
        assert equal(planes_at(result, n), planes_at(fast(flower(length=4), 5), n))
        assert equal(planes_at(result, 4 + n), planes_at(second, n))


def test_what_a_filter_says_of_a_frame_comes_first() -> None:
    """It has said that frame 4 begins nothing; of the others it says nothing."""
    clip = tagged(cut(), _SceneChangePrev=[None] * 4 + [0] + [None] * 3)
    assert not equal(planes_at(fast(clip, 5), 4), planes_at(fast(cut(), 5), 4))
    assert equal(planes_at(fast(clip, 5), 3), planes_at(fast(cut(), 5), 3))


def lumas(clip: vs.VideoNode) -> list[np.ndarray]:
    return [np.asarray(frame[0]).copy() for frame in clip.frames(close=True)]


def test_motion_is_no_cut() -> None:
    for path in sorted(CLIPS.glob("*_*x*.m*")):
        assert max(difference(b, a) for a, b in pairwise(lumas(decoded(path)))) < CUT * 255 / 2


def test_a_pan_and_noise_are_no_cut() -> None:
    """A fortieth of the width a frame, which takes the eye a second and a half to cross; and a new pattern of grain everywhere."""
    still = lumas(decoded(CLIPS / "flower_960x540.mp4")[0])[0]
    assert difference(still[:, 24:], still[:, :-24]) < CUT * 255
    rng = np.random.default_rng(0)
    grain = [np.clip(still + rng.normal(0, 20, still.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    assert difference(*grain) < CUT * 255


def test_other_pictures_are_a_cut() -> None:
    size = (720, 405)
    pictures = [lumas(clip.resize.Bicubic(*size, format=vs.GRAY8)[0])[0] for clip in map(decoded, sorted(CLIPS.glob("*_*x*.m*")))]
    assert len(pictures) == 2
    for a, b in ((pictures[0], pictures[1]), (pictures[0], pictures[0][:, ::-1]), (pictures[1], pictures[1][::-1])):
        assert difference(a, b) > CUT * 255


def test_brightness_is_compared_in_sixteen_blocks_along_each_side() -> None:
    board = np.kron(np.indices((16, 16)).sum(0) % 2, np.ones((9, 12), int)).astype(np.uint8)
    assert difference(100 * board, 100 - 100 * board) == 100


def test_the_cut_in_a_real_film() -> None:
    """Frame 116 of the clip of the street begins another view. Needs shared/data."""
    found = lumas(decoded(shared("data/video/city_720x405.mpg"))[100:130])
    assert [n for n, (a, b) in enumerate(pairwise(found), 101) if difference(b, a) > CUT * 255] == [116]


@pytest.mark.parametrize("fmt", [vs.YUV420P8, vs.YUV420P16, vs.YUV444PS, vs.RGB24, vs.RGBH, vs.GRAY10])
def test_cuts_are_seen_in_every_kind_of_sample(fmt: int) -> None:
    clip = cut().resize.Bicubic(format=fmt, **({"matrix_in": 6} if vs.core.get_video_format(fmt).color_family == vs.RGB else {}))
    source = plane_format(clip.format, clip.width, clip.height)
    found = [planes_at(clip, n) for n in range(8)]
    assert [begins_scene(b, a, source) for a, b in pairwise(found)] == [n == 3 for n in range(7)]


@pytest.mark.parametrize(
    ("name", "before", "since"),
    [("_Matrix", 1, 6), ("_Range", 0, 1), ("_ChromaLocation", 0, 1), ("_Matrix", 14, 6), ("_FieldBased", 1, 0)],
)
def test_frames_of_another_meaning_are_left_out(name: str, before: int, since: int) -> None:
    """Even if they themselves cannot be upscaled."""
    clip = tagged(flower(), **{name: [before] * 4 + [since] * 4})
    result, alone = fast(clip, 5), fast(clip[4:], 5)
    for n in range(4):
        assert equal(planes_at(result, 4 + n), planes_at(alone, n))


def test_every_property_comes_from_its_own_frame() -> None:
    clip = tagged(flower(), number=list(range(8)), _MP_IMAGE=[bytes([0, 255, n]) for n in range(8)])
    result = fast(clip, 5, num_streams=2)
    for n in (6, 0, 7, 3):
        assert dict(result.get_frame(n).props) == dict(clip.get_frame(n).props)


@pytest.fixture
def counted() -> Iterator[tuple[Callable[[vs.VideoNode], vs.VideoNode], list[int]]]:
    """What makes a clip note which of its frames are computed, and the list."""
    asked: list[int] = []

    def look(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        asked.append(n)
        return f

    yield lambda clip: clip.std.ModifyFrame(clip, look), asked


def test_a_clip_as_long_as_a_player_has_it(counted: tuple[Callable[[vs.VideoNode], vs.VideoNode], list[int]]) -> None:
    """A player has but the last few frames: no others are asked for, and played through each is asked for once."""
    watch, asked = counted
    clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=16, height=16, length=(2**31 - 1) // 16, keep=True)
    result = fast(watch(clip), 3, num_streams=2)
    assert asked == []
    assert result.num_frames == clip.num_frames
    for n in range(100_000_001, 100_000_021):
        result.get_frame(n)
    assert sorted(asked) == list(range(99_999_998, 100_000_021))


def test_a_clip_shorter_than_the_window() -> None:
    assert fast(flower(length=1), MOST_FRAMES).num_frames == 1
    assert equal(planes_at(fast(flower(length=3), MOST_FRAMES), 2), planes_at(fast(flower(length=3), 2), 2))


@pytest.mark.parametrize("temporal", [-1, 11, 1.5, "5", True, None])
def test_refuses_nonsense(temporal: object) -> None:
    refused(f"upscale: temporal is {temporal!r}: expected a whole number from 0 to 10", temporal=temporal)


def test_sessions_are_shared_whatever_the_window() -> None:
    SESSIONS.clear()
    for temporal in (3, 5, 0, 0, 1):
        fast(flower(), temporal)
    assert [request.spec.temporal for request in SESSIONS._sessions] == [False, True]


def test_a_process_needs_no_pytorch_for_it() -> None:
    code = RUN.format(model=str(MODEL)).replace('backend="openvino"', 'backend="openvino", temporal=5')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.split()[0] == "False"


def test_it_costs_less_than_15_percent_of_a_frame() -> None:
    """The share of the time that all processors work, the filter and VapourSynth included: realtime, 960x540, five frames back."""
    clip = decoded(CLIPS / "flower_960x540.mp4")
    frames = clip_of([planes_at(clip, n) for n in range(10)], vs.YUV420P8)  # decoding is not within what is measured
    ratios = []
    for _ in range(3):
        plain, smoothed = (worked(upscale(frames, backend="openvino", precision="f32", temporal=temporal)) for temporal in (0, 5))
        ratios.append(smoothed / plain)
    assert statistics.median(ratios) < 1.15


def worked(clip: vs.VideoNode) -> float:
    """Seconds of processor time for the last four frames, all of whose window lies before; the source's nodes keep those."""
    clip.get_frame(clip.num_frames - 5)
    begin = time.process_time()
    for n in range(clip.num_frames - 4, clip.num_frames):
        clip.get_frame(n)
    return time.process_time() - begin
