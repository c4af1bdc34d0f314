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
from conftest import golden
from route import Planes, clip_of, equal, noise, planes_at

from vs_paragonsr2 import upscale
from vs_paragonsr2.clip.log import log_once

MODEL = golden("realtime_x2")


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


def test_a_fault_names_its_frame() -> None:
    frames = noise(6)
    pieces = [clip_of([f], vs.YUV420P8, _Matrix=14 if n == 4 else 1) for n, f in enumerate(frames)]
    result = upscale(vs.core.std.Splice(pieces), MODEL, num_streams=2)
    with pytest.raises(vs.Error, match="upscale: frame 4: _Matrix is 14, ICtCp"):
        result.get_frame(4)
    result.get_frame(5)  # nothing is lost for the others


def test_numbers_of_numpy_are_numbers() -> None:
    clip = clip_of(noise(1), vs.YUV420P8)
    result = upscale(clip, MODEL, scale=np.int64(2), num_streams=np.int32(1), alpha=np.float32(0.25))
    assert equal(planes_at(result), planes_at(upscale(clip, MODEL, alpha=0.25)))


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
