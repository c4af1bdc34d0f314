"""The OpenVINO backend: the reference's picture, at once and without PyTorch, and what it refuses."""

import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
import vapoursynth as vs
from conftest import golden, random_planes, request_of
from openvino import opset15
from plain import make_spec, parts_of, random_inputs, random_network
from route import Planes, clip_of, equal, noise, planes_at
from test_route import assert_same

import vs_paragonsr2.backends.openvino.session as openvino_session
from vs_paragonsr2 import ParagonSR2Error, backends, load_network, upscale
from vs_paragonsr2.backends.openvino.gelu import coarse_gelu
from vs_paragonsr2.backends.openvino.lowering import lower
from vs_paragonsr2.backends.sessions import SESSIONS, AnyRequest
from vs_paragonsr2.backends.tiles import place_cells
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.log import log_once
from vs_paragonsr2.program.bands import in_bands, priming
from vs_paragonsr2.program.colour import Siting
from vs_paragonsr2.program.fold import fold
from vs_paragonsr2.program.geometry import place
from vs_paragonsr2.program.interpreter import run
from vs_paragonsr2.support import cache, cache_folder
from vs_paragonsr2.training.trainer import save_checkpoint

MODEL = golden("realtime_x2")
YUV = [vs.YUV420P8, vs.YUV422P8, vs.YUV411P8, vs.YUV444P10, vs.YUV420P16, vs.YUV444PS, vs.YUV420PH]


def both(planes: Planes, fmt: int, model: Path = MODEL) -> tuple[Planes, Planes]:
    """By OpenVINO and by the reference."""
    clip = clip_of([planes], fmt)
    fast = upscale(clip, model, backend="openvino", precision="f32")
    return planes_at(fast), planes_at(upscale(clip, model, backend="reference"))


@pytest.mark.parametrize("fmt", [*YUV, vs.RGB24, vs.RGBS, vs.GRAY8, vs.GRAY16])
def test_every_kind_of_sample_equals_the_reference(fmt: int) -> None:
    assert_same(*both(random_planes(fmt, 48, 36), fmt), fmt)


@pytest.mark.parametrize("size", [(2, 2), (70, 46), (20, 300), (300, 20)])
def test_any_size_and_several_strips(size: tuple[int, int]) -> None:
    """300 rows are three strips; rows of 20 samples lie apart in memory."""
    for a, b in zip(*both(random_planes(vs.YUV420P8, *size), vs.YUV420P8), strict=True):
        error = np.abs(a.astype(int) - b.astype(int))
        assert error.max() <= 1
        assert np.count_nonzero(error) <= max(1, 0.005 * error.size)


# photo_x2 needs shared/golden.
@pytest.mark.parametrize("model", ["realtime_x4", "stream_x2", "v10_stream_x2", "v7_realtime_x2", "v8_stream_x2", "photo_x2"])
def test_other_networks(model: str) -> None:
    assert_same(*both(random_planes(vs.YUV420P8, 32, 24), vs.YUV420P8, golden(model)), vs.YUV420P8)


def test_lanes_and_order_do_not_matter() -> None:
    clip = clip_of(noise(6), vs.YUV420P8)
    expected = [planes_at(upscale(clip, MODEL, backend="openvino", num_streams=1), n) for n in range(6)]
    for streams in (2, 5):
        result = upscale(clip, MODEL, backend="openvino", num_streams=streams)
        for n in (5, 0, 3, 3, 1, 4, 2):
            assert equal(planes_at(result, n), expected[n])


RUN = """
import os, sys, vapoursynth as vs
from vs_paragonsr2 import upscale
clip = vs.core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=1, color=[90, 100, 150])
frame = upscale(clip, {model!r}, backend="openvino").get_frame(0)
times = os.times()
print("torch" in sys.modules, bytes(frame[0])[:4].hex(), times.user + times.system)
"""


def run_in_a_process(folder: Path, model: str = "realtime") -> tuple[bool, str, float]:
    """Whether PyTorch was imported, a few samples, and the seconds that the processors worked for the process."""
    line = [sys.executable, "-c", RUN.format(model=model)]
    environment = os.environ | {cache_folder.FOLDER_VARIABLE: str(folder)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True, encoding="utf-8")
    imported, samples, seconds = done.stdout.split()
    return imported == "True", samples, float(seconds)


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as PyTorch keeps them, whose scale no header says."""
    path = tmp_path_factory.mktemp("pickled") / "a.pth"
    torch.save(load_network(MODEL).state_dict(), path)
    return path


@pytest.mark.parametrize("kind", ["name", "path", "pickled"])
def test_script_and_first_frame_need_no_pytorch_and_take_less_than_two_seconds(kind: str, pickled: Path, tmp_path: Path) -> None:
    """Processor time, which other processes do not lengthen; nothing is kept from one process to the next."""
    model = {"name": "realtime", "path": str(MODEL), "pickled": str(pickled)}[kind]
    runs = [run_in_a_process(tmp_path, model) for _ in range(3)]
    assert not any(imported for imported, _, _ in runs)
    assert len({samples for _, samples, _ in runs}) == 1
    assert statistics.median(seconds for _, _, seconds in runs) < 2
    assert not list(tmp_path.iterdir())


def test_compiling_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's own tools report their use to its makers, from a process of its own."""
    monkeypatch.setattr("os.fork", lambda: pytest.fail("a process was started"))
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("a process was started"))
    SESSIONS.clear()
    upscale(clip_of(noise(1, width=20, height=14), vs.YUV420P8), MODEL, backend="openvino").get_frame(0)


SIZES = """
import resource, vapoursynth as vs
from vs_paragonsr2 import upscale
from vs_paragonsr2.clip.log import log_once

def play(number):
    size = {"width": 120 + 2 * (number * 37 % 60), "height": 32 + 2 * (number // 60)}
    clip = vs.core.std.BlankClip(format=vs.YUV420P8, length=1, **size)
    upscale(clip, "realtime", backend="openvino", num_streams=1).get_frame(0).close()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

sizes = [play(number) for number in range(70)]
print(max(sizes[20:30]), max(sizes[60:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_forty_sizes_in_turn_do_not_grow_a_process() -> None:
    """MiB after some thirty sizes, when as many sessions and kernels are kept as ever are, and after forty more."""
    done = subprocess.run([sys.executable, "-c", SIZES], capture_output=True, text=True, check=True, encoding="utf-8")
    before, after = map(float, done.stdout.split())
    assert after - before < 20


def test_the_key_holds_all_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    code = ["vs_paragonsr2.program"]
    assert cache.entry_path("engine", "a", 1, code=code) == cache.entry_path("engine", "a", 1, code=code)
    keys = {cache.entry_path("engine", *decides, code=code) for decides in (("a", 1), ("a", 2), ("a",), ("b", 1))}
    keys.add(cache.entry_path("engine", "a", 1, code=["vs_paragonsr2.network"]))
    monkeypatch.setattr(cache, "code_digest", lambda *_: "another version")
    assert len(keys | {cache.entry_path("engine", "a", 1, code=code)}) == 6


def test_openvino_comes_first_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vs_paragonsr2.backends.pytorch.missing_cuda", lambda device: "there is no CUDA device")
    assert backends.candidates(None) == (["openvino", "reference"], "there is no CUDA device")
    assert backends.candidates("cpu") == (["openvino", "reference"], "")


def test_without_openvino_the_error_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "vs_paragonsr2.backends.openvino.session", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)  # what a failed import leaves
    monkeypatch.setattr(backends.find_backend("openvino"), "_is_loaded", False)
    with pytest.raises(ParagonSR2Error, match="'openvino', which cannot be imported here "):
        backends.load_backend("openvino")


def test_what_openvino_does_not_take_falls_back() -> None:
    """Needs shared/golden/pro_x2_exportsafe."""
    model = golden("pro_x2_exportsafe")
    clip = clip_of(noise(1), vs.YUV420P8)
    with pytest.raises(vs.Error, match="'openvino', which has no ChannelAttention: expected 'reference'"):
        upscale(clip, model, backend="openvino")
    assert equal(planes_at(upscale(clip, model, device="cpu")), planes_at(upscale(clip, model, backend="reference")))


def test_what_cannot_be_folded_falls_back(tmp_path: Path) -> None:
    """A base path whose filters differ between R, G and B, which no training makes."""
    network = load_network(MODEL)
    network.base.blur.h.weight.data[1] *= 1.01  # type: ignore[union-attr]
    save_checkpoint(network, tmp_path / "a.safetensors")  # type: ignore[arg-type]
    clip = clip_of(noise(1), vs.YUV420P8)
    with pytest.raises(vs.Error, match=r"a.safetensors: the base path's filters differ between R, G and B"):
        upscale(clip, tmp_path / "a.safetensors", backend="openvino")
    by_itself, plain = (upscale(clip, tmp_path / "a.safetensors", backend=name, device="cpu") for name in (None, "reference"))
    assert equal(planes_at(by_itself), planes_at(plain))


def test_a_backend_that_breaks_falls_back_and_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of a runtime that is half installed."""

    def broken(request: object) -> None:
        raise ModuleNotFoundError("No module named 'something'")

    SESSIONS.clear()
    log_once.cache_clear()
    monkeypatch.setattr(openvino_session, "open_session", broken)
    logged: list[str] = []
    handle = vs.core.add_log_handler(lambda kind, message: logged.append(message))
    clip = clip_of(noise(1), vs.YUV420P8)
    try:
        result = planes_at(upscale(clip, MODEL, device="cpu"))
    finally:
        vs.core.remove_log_handler(handle)
    assert equal(result, planes_at(upscale(clip, MODEL, backend="reference", device="cpu")))
    assert any(
        "backend 'reference' (not 'openvino': ModuleNotFoundError: No module named 'something'" in message for message in logged
    )
    with pytest.raises(vs.Error, match="upscale: ModuleNotFoundError: No module named 'something'"):
        upscale(clip, MODEL, backend="openvino")


@pytest.mark.parametrize(
    ("arguments", "first", "second"),
    [
        ({"device": "cpu", "device_index": 1}, "device_index is 1: there are 1 of 'cpu'", "device_index is 1"),
        (
            {"device": "cpu", "precision": "f24"},
            "precision is 'f24': backend 'openvino' has 'f32'",
            "backend 'reference' has 'f32'",
        ),
    ],
)
def test_where_no_backend_can_the_error_says_why_of_each(arguments: dict[str, object], first: str, second: str) -> None:
    with pytest.raises(vs.Error) as raised:
        upscale(clip_of(noise(1), vs.YUV420P8), MODEL, **arguments)  # type: ignore[arg-type]
    found = re.search(r"no backend can do this \(not 'openvino': (.*); not 'reference': (.*)\)", str(raised.value))
    assert found is not None and first in found[1] and second in found[2]


def test_where_one_backend_has_the_device_its_error_is_the_error() -> None:
    with pytest.raises(vs.Error, match="^upscale: device is 'GPU': OpenVINO finds 'CPU' here$"):
        upscale(clip_of(noise(1), vs.YUV420P8), MODEL, device="GPU")


def test_a_scale_that_differs_is_refused() -> None:
    with pytest.raises(vs.Error, match="scale is 3: the checkpoint's own is 2"):
        upscale(clip_of(noise(1), vs.YUV420P8), MODEL, scale=3, backend="openvino")


def test_the_error_for_a_missing_backend_is_ours() -> None:
    with pytest.raises(ParagonSR2Error, match="backend is 'tensorflow': expected one of 'tensorrt'"):
        backends.load_backend("tensorflow")


@pytest.mark.parametrize(("frames", "threads", "streams"), [(1, 8, 1), (3, 8, 3), (20, 8, 4), (20, 2, 2)])
def test_no_more_streams_than_frames_are_asked_for_at_once(
    frames: int, threads: int, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the cores are shared by those that have something to do. A processor of four cores is made up."""
    asked: list[int] = []

    def open_session(request: AnyRequest) -> None:
        asked.append(request.num_streams)
        raise ParagonSR2Error("enough")

    monkeypatch.setattr("vs_paragonsr2.backends.openvino.cores", lambda: 4)
    monkeypatch.setattr(openvino_session, "open_session", open_session)
    before = vs.core.num_threads
    try:
        vs.core.num_threads = threads
        clip = clip_of(noise(1), vs.YUV420P8).std.Loop(frames)
        with pytest.raises(vs.Error, match="enough"):
            upscale(clip, MODEL, backend="openvino")
        with pytest.raises(vs.Error, match="enough"):
            upscale(clip, MODEL, backend="openvino", num_streams=7)
    finally:
        vs.core.num_threads = before
    assert asked == [streams, min(7, frames, threads)]


@pytest.mark.parametrize(("name", "streams"), [("photo", 2), ("stream", 9)])
def test_networks_with_attention_have_few_streams(name: str, streams: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stream of theirs holds whole pictures of features."""
    found: list[int] = []

    def programs(device: str, num_streams: int) -> None:
        found.append(num_streams)
        raise ParagonSR2Error("enough")

    monkeypatch.setattr(openvino_session, "_programs", programs)
    save_checkpoint(random_network(name, 2, blocks=1), tmp_path / "a.safetensors")
    model = find_model(tmp_path / "a.safetensors", 2)
    with pytest.raises(ParagonSR2Error, match="enough"):
        openvino_session.open_session(request_of("openvino", model, make_spec(2, (24, 16)), num_streams=9))
    assert found == [streams]


def test_bands_as_low_as_was_asked_for() -> None:
    yuv, gray = make_spec(2, (24, 16)), make_spec(2, (24, 16), "GRAY", "444")
    for spec, asked, expected in (
        *((yuv, (0, 0), 24), (yuv, (9, 0), 8), (yuv, (0, 9), 24), (yuv, (3, 0), 2)),
        *((gray, (3, 0), 3), (gray, (1, 0), 1)),
    ):
        request = request_of("openvino", find_model(MODEL, 2), spec, tile_size=asked)
        program = openvino_session.geometry_of(request, centred=False).program
        assert program.spec.source.height == expected
    clip = clip_of(noise(1, width=16, height=24), vs.YUV420P8)
    with pytest.raises(vs.Error, match="tile_size is 1 high: expected 0, for the picture's own, or 2 or more"):
        upscale(clip, MODEL, backend="openvino", tile_size=1)
    chosen, lower = (upscale(clip, MODEL, backend="openvino", precision="f32", tile_size=size) for size in (None, (0, 9)))
    assert_same(planes_at(lower), planes_at(chosen), vs.YUV420P8)


@pytest.mark.parametrize("fmt", [vs.GRAYS, vs.YUV444PS])
def test_bands_of_any_height_give_the_same_floats(fmt: vs.PresetVideoFormat) -> None:
    """Nothing is rounded there: what a runtime makes of a band differs by its own order of sums alone."""
    clip = clip_of(noise(1, fmt, width=48, height=150), fmt)
    whole, *bands = (planes_at(upscale(clip, MODEL, backend="openvino", precision="f32", tile_size=(0, n))) for n in (0, 8, 20))
    for planes in bands:
        for plane, expected in zip(planes, whole, strict=True):
            np.testing.assert_allclose(plane, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 4, 4), (2, 2, 4), (2, 1, 1), (3, 8, 8)])
def test_cells_come_to_their_places(dtype: type[np.generic], count: int, rows: int, columns: int) -> None:
    down, across, height = 3, 5, 3 * rows - rows // 2
    cells = (np.arange(down * across * count * rows * columns) % 251).astype(dtype).reshape(down, across, -1)
    # As a frame's, planes have bytes to spare behind each row, and more rows than the cells reach.
    planes = [np.zeros((height + 2, across * columns + 7), dtype)[:, :-7] for _ in range(count)]
    place_cells(cells, [plane[:height] for plane in planes])
    whole = cells.reshape(down, across, count, rows, columns).transpose(2, 0, 3, 1, 4).reshape(count, down * rows, -1)
    for plane, expected in zip(planes, whole, strict=True):
        np.testing.assert_array_equal(plane[:height], expected[:height])
        assert not plane[height:].any()
    place_cells(cells[:1], planes)
    assert not any(plane[max(rows, height) :].any() for plane in planes)


def test_the_gelu_of_few_digits_is_near_the_exact_one() -> None:
    x = np.concatenate([np.linspace(-12, 12, 100_001), [-1e6, -1e3, 1e3, 1e6]]).astype(np.float32)
    given = opset15.parameter([len(x)], np.float32)
    exact = torch.nn.functional.gelu(torch.from_numpy(x).double()).numpy()
    model = ov.Model([opset15.result(coarse_gelu(given))], [given])
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    error = np.abs(compiled([x])[0] - exact)
    assert 0.0005 < error[:-4].max() < 0.0012
    assert (error[-4:] <= 2e-6 * np.abs(x[-4:])).all()


@pytest.mark.parametrize("name", ["realtime", "stream", "realtime 8", "stream 8", "photo", "photo without attention"])
@pytest.mark.parametrize("temporal", [False, True])
def test_every_operation_equals_the_interpreter(name: str, temporal: bool) -> None:
    """In floats, where nothing is rounded, within what the order of sums in float32 explains."""
    network = random_network(name, 2, blocks=2)
    spec = make_spec(2, (24, 20), bits=32, is_float=True, siting=Siting.BOTTOM, temporal=temporal)
    program = fold(parts_of(network), spec)
    planes = [plane[0, 0].numpy().astype(np.float32) for plane in random_inputs(spec)]
    expected = run(program, planes)
    geometry = place(program if program.windows else in_bands(program), padded=True, zero_padded=(False, True))
    compiled = ov.Core().compile_model(lower(geometry, "f32"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    bands = openvino_session.BandProgram([compiled], 24, priming(geometry), geometry.source_margin)
    session = openvino_session.OpenVINOSession(spec, bands, 1)
    out: Planes = [np.empty(shape, np.float32) for shape in spec.target.shapes]
    session.run(planes, out)
    for a, b in zip(out, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-4 * max(1.0, np.abs(b).max()))
